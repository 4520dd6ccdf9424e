"""Which bytes of a cached version are there: the sidecar beside each file of the content cache.

A sidecar is believed for the very file that it was written for, at the length that Orion tells, and after
another boot only as far as its bytes had been synced: those of a page cache that was lost would be zeros.
Several mounts share a file, so what one knows is added to what another has written. Blocking, short; knows
no cache and no keys.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orionfs.cache.ranges import RangeSet
from orionfs.private import write_whole

SUFFIX = ".present"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(slots=True)
class Presence:
    """The ranges that are there, and those of them that would survive a power cut."""

    ranges: RangeSet = field(default_factory=RangeSet)
    synced: RangeSet = field(default_factory=RangeSet)


def boot_id() -> str:
    """The kernel's id of this boot: page-cache contents of another one may never have reached the disk."""
    return _read_boot_id(_BOOT_ID)


@functools.cache
def _read_boot_id(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def sidecar(path: Path) -> Path:
    """Where the presence of a file is written down."""
    return path.with_name(path.name + SUFFIX)


def load(path: Path, fd: int, size: int) -> Presence:
    """What is to be believed of the open file `fd`, which is or was at `path`; nothing if in doubt."""
    try:
        saved = json.loads(sidecar(path).read_text())
        if saved["size"] != size or saved["inode"] != os.fstat(fd).st_ino:
            return Presence()
        synced = _ranges(saved["synced"], size)
        is_of_this_boot = saved["boot_id"] == boot_id()
        return Presence(_ranges(saved["ranges"], size) if is_of_this_boot else synced, synced)
    except (OSError, ValueError, KeyError, TypeError):
        return Presence()


def save(path: Path, fd: int, size: int, found: Presence) -> None:
    """Write the sidecar, with what others have written there. Nothing if the file is at its path no more.

    Raises OSError.
    """
    with locked(path.parent):
        if _is_at(path, fd):
            _write(path, fd, size, _union(load(path, fd, size), found))


def sync(path: Path, size: int) -> None:
    """Have the bytes that the sidecar tells of on the disk, and note that they are. May take long.

    Raises OSError.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH)  # nobody evicts it meanwhile
        known = load(path, fd, size)
        os.fdatasync(fd)
        save(path, fd, size, Presence(known.ranges, known.ranges))
    finally:
        os.close(fd)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """The folder's sidecars are ours alone; held for moments."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _write(path: Path, fd: int, size: int, found: Presence) -> None:
    saved: dict[str, Any] = {
        "size": size,
        "inode": os.fstat(fd).st_ino,
        "boot_id": boot_id(),
        "ranges": list(found.ranges),
        "synced": list(found.synced),
    }
    write_whole(sidecar(path), json.dumps(saved))


def _is_at(path: Path, fd: int) -> bool:
    """A cache may be deleted at any time, and another mount may have made the file anew."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(fd))
    except FileNotFoundError:
        return False


def _union(one: Presence, other: Presence) -> Presence:
    return Presence(RangeSet([*one.ranges, *other.ranges]), RangeSet([*one.synced, *other.synced]))


def _ranges(saved: Any, size: int) -> RangeSet:
    """A sidecar is data: nothing beyond the end of the version is believed."""
    return RangeSet((max(0, int(start)), min(int(end), size)) for start, end in saved)
