"""Which mounts of orionfs this user has, and what each says of itself, asked without touching one.

A daemon is found by its control socket, which also tells of mounts in namespaces of their own, or by the
kernel's list of mounts, which also tells of dead ones.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

from orionfs.cli.mounts import Health, probe
from orionfs.cli.talking import connect, connect_to, order
from orionfs.config import control_path, runtime_folders
from orionfs.mountinfo import ORIONFS_TYPE, MountEntry, read_mountinfo

ANSWERS, DEAD, SILENT = "answers", "dead", "does not answer"
UNHEARD = "not heard of"
"""It answers, but not on a control socket where this user's sockets lie: XDG_RUNTIME_DIR was another one."""

ASK_TIMEOUT_S = 3.0
_STATES = {Health.DEAD: DEAD, Health.SILENT: SILENT, Health.ANSWERS: UNHEARD}


def survey_mounts(point: Path | None) -> list[dict[str, Any]]:
    """What each mount says (`daemon.status`), with its `state` and `source`; by mount point.

    Of one that says nothing only these are known.
    """
    entries = own_mounts()
    found = [_told_by(entry) for entry in entries if point is None or entry.mountpoint == point]
    if point is None:
        known = {control_path(Path("/"), entry.mountpoint).name for entry in entries}
        found += _unseen(known)
    return sorted(found, key=lambda mount: str(mount["mountpoint"]))


def own_mounts() -> list[MountEntry]:
    """The mounts of this user that this process sees; all of them for root."""
    return list({entry.mountpoint: entry for entry in read_mountinfo() if _is_ours(entry)}.values())


def _is_ours(entry: MountEntry) -> bool:
    is_mine = os.getuid() in (0, entry.owner_uid) or entry.owner_uid is None
    return entry.fs_type == ORIONFS_TYPE and is_mine


def _told_by(entry: MountEntry) -> dict[str, Any]:
    point = entry.mountpoint
    known = {"mountpoint": str(point), "source": entry.source}
    connection = connect(point, entry)
    told = None if connection is None else _ask(connection)
    if told is not None:
        return {"state": ANSWERS, **known, **told, "cache": _with_used(told.get("cache"))}
    return {"state": _STATES[probe(point, ASK_TIMEOUT_S)], **known}


def _unseen(known: set[str]) -> list[dict[str, Any]]:
    """What daemons say whose mounts this process can't see, since they are in other namespaces."""
    found = []
    for folder in runtime_folders(os.getuid()):
        for path in sorted(folder.glob("*.sock")) if folder.is_dir() else ():
            connection = connect_to(path) if path.name not in known else None
            told = None if connection is None else _ask(connection)
            if told is not None:
                cache = _with_used(told.get("cache"))
                found.append({"state": ANSWERS, "source": None, **told, "cache": cache})
    return found


def _ask(connection: socket.socket) -> dict[str, Any] | None:
    with connection:
        told = order(connection, "status", ASK_TIMEOUT_S)
    return None if told is None or "mountpoint" not in told else told


def _with_used(cache: object) -> dict[str, Any] | None:
    """A cache may hold very many files: they are counted here, and not where the mount is served."""
    if not isinstance(cache, dict):
        return None
    return {**cache, "used_bytes": _used_bytes(Path(str(cache.get("folder"))))}


def _used_bytes(folder: Path) -> int:
    used = 0
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                used += _used_bytes(Path(entry.path))
            else:
                with suppress(OSError):
                    used += entry.stat(follow_symlinks=False).st_blocks * 512
    return used
