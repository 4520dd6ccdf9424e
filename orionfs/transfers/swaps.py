"""Replacements that an earlier transfer had begun when it was killed: they end before new ones begin.

An item that gave way has a name that nobody is shown, so nobody would miss it, and it would stay for ever.
"""

from __future__ import annotations

import logging
from functools import partial

from orionfs.durable.journal import Journal, Removal, Rename
from orionfs.errors import OrionFsError
from orionfs.transfers.desk import Desk

log = logging.getLogger(__name__)


async def finish_swaps(desk: Desk) -> None:
    """What can't be done now is done by the next transfer, or the next mount."""
    for rename in desk.journal.journal.renames.all():
        try:
            await _find_out(desk, rename)
        except OrionFsError as error:
            log.info("%s: how an earlier transfer left it is not known yet: %s", rename.path, error)
    for removal in desk.journal.journal.removals():
        try:
            await desk.remote.delete(removal.key)
        except OrionFsError as error:
            log.info("%s: what an earlier transfer replaced is removed later: %s", removal.path, error)
        else:
            await desk.journal.run(partial(Journal.drop_removal, key=removal.key, is_gone=True))


async def _find_out(desk: Desk, rename: Rename) -> None:
    there = await desk.remote.list_named(*rename.place)
    if not any(item.key == rename.key for item in there):
        await desk.journal.run(lambda journal: journal.renames.drop(rename))
        return
    removal = Removal(rename.replaced, rename.path) if rename.replaced is not None else None
    await desk.journal.run(lambda journal: journal.renames.happened(rename, removal))
