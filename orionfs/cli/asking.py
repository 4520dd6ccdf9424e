"""Questions to the daemons of mounts about what they show: one request, all its answers.

Must not know what is asked.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

from orionfs.cli.refresh import current_folder, find_place
from orionfs.cli.talking import answers, connect
from orionfs.errors import ExitStatus, StartupError
from orionfs.mountinfo import ORIONFS_TYPE, MountEntry, read_mountinfo

SILENCE_MAX_S = 120.0
"""Longer than a mount may look for something on Orion, retries included, by default."""


class CannotTell(StartupError):
    """The stack behind a mount has no answer to such questions."""


def asked(entry: MountEntry, request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """What the daemon of a mount answers, the last answer included. Raises StartupError."""
    point = entry.mountpoint
    silent = StartupError(f"the daemon of {point} does not answer", ExitStatus.FAILED)
    connection = connect(point, entry)
    if connection is None:
        raise silent
    with connection:
        try:
            connection.settimeout(SILENCE_MAX_S)
            connection.sendall(json.dumps(request).encode() + b"\n")
            for answer in answers(connection, SILENCE_MAX_S, is_in_all=False):
                _check(answer, point)
                yield answer
                if answer.get("done"):
                    return
        except (OSError, ValueError):
            raise silent from None
    raise silent


def _check(answer: Mapping[str, Any], point: object) -> None:
    if "error" not in answer:
        return
    if not answer.get("done"):
        raise StartupError(f"the daemon of {point} is of another version", ExitStatus.FAILED)
    if answer.get("cannot_tell"):
        raise CannotTell(str(answer["error"]), ExitStatus.FAILED)
    status = ExitStatus.UNREACHABLE if answer.get("is_away") else ExitStatus.FAILED
    raise StartupError(str(answer["error"]), status)


def mounts_here() -> list[MountEntry]:
    """All mounts of orionfs that this user may ask, that of the current directory first."""
    found = {entry.mountpoint: entry for entry in read_mountinfo() if entry.fs_type == ORIONFS_TYPE}
    mine = [entry for entry in found.values() if os.getuid() in (0, entry.owner_uid or 0)]
    here = find_place(current_folder())
    first = here.entry.mountpoint if here is not None else None
    return sorted(mine, key=lambda entry: entry.mountpoint != first)
