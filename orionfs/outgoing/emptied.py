"""Removes a folder that must be empty, by its path on Orion alone: nothing in it is ever taken along.

What this mount has changed a moment ago is reckoned with, since a replica may not know of it. Whether a
stack takes an item of the same name along with a folder is not public, so such a folder stays. Used by
`removals`; must not know inodes.
"""

from __future__ import annotations

import trio

from orionfs.errors import (
    Busy,
    Conflict,
    DirectoryNotEmpty,
    InvalidCall,
    NoSuchName,
    NotPermitted,
    RemoteFailure,
)
from orionfs.models import Kind
from orionfs.orion.remote import Remote
from orionfs.outgoing.assigning import BUSY_PAUSES_S


async def remove_empty(remote: Remote, path: str) -> None:
    """Remove a folder that a complete listing shows empty now. One that is gone already is no error.

    Raises DirectoryNotEmpty, NotPermitted for what has its name beside it, Busy, RemoteFailure.
    """
    for pause_s in (*BUSY_PAUSES_S, None):
        if not await _is_there_and_empty(remote, path):
            return
        await _check_alone(remote, path)
        try:
            await remote.remove_folder(path)
            return
        except InvalidCall as refused:
            raise NotPermitted(f"{path}: {refused}") from refused
        except Conflict as conflict:
            if pause_s is None:
                raise Busy(f"{path}: Orion is busy with it") from conflict
        await trio.sleep(pause_s)


async def _is_there_and_empty(remote: Remote, path: str) -> bool:
    """False for a folder that is gone. Raises DirectoryNotEmpty; waits for what a replica still shows."""
    for pause_s in (*BUSY_PAUSES_S, None):
        asked_at_s = trio.current_time()
        try:
            answer = await remote.list_folder(path, with_details=False)
        except NoSuchName:
            if not remote.recent.is_expected(path, asked_at_s):
                return False
            await trio.sleep(pause_s or 0.0)
            continue
        true_rows = remote.recent.corrected(path, answer.items, asked_at_s)
        if true_rows:
            raise DirectoryNotEmpty(f"{path} holds {true_rows[0].name!r} on Orion")
        if answer.is_complete and not answer.items:
            return True
        if pause_s is not None:
            await trio.sleep(pause_s)
    raise RemoteFailure(f"{path}: Orion does not show it, or not as empty, yet")


async def _check_alone(remote: Remote, path: str) -> None:
    if remote.facts.remove_equal == "newest":
        return
    above, _, name = path.rpartition("/")
    rows = await remote.list_named(above, name)
    if any(row.kind is not Kind.FOLDER for row in rows):
        raise NotPermitted(f"{path}: this stack may remove an item of the same name along with it")
