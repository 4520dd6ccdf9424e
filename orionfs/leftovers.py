"""What daemons have left in state folders: those of this host that died, and those of other hosts.

Named for people, and taken over from another host where somebody says so; the next mount of the account does
the rest (`state`). What a living daemon has is locked, and is only named. A look changes nothing. Blocking.
"""

from __future__ import annotations

import fcntl
import os
import platform
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orionfs.cache.content import EXACT_SUFFIX, GAPS_SUFFIX
from orionfs.durable.glimpses import look_into
from orionfs.private import make_private
from orionfs.state import JOURNAL, KEPT, LOCK, STAGED, alone, safe_name

_NS_PER_S = 10**9
_WITH_DIGEST = re.compile(r"(?P<name>.*)-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class KeptFile:
    """Bytes that were written, and that nobody had closed when a daemon died; `has_gaps`: not all of them."""

    path: Path
    size_bytes: int
    modified_ns: int

    @property
    def has_gaps(self) -> bool:
        """True for a file of which the part that was not written then was never fetched."""
        return self.path.suffix == GAPS_SUFFIX

    def told(self) -> Mapping[str, Any]:
        """As plain data; the time is seconds since 1970."""
        return {
            "file": str(self.path),
            "bytes": self.size_bytes,
            "modified": self.modified_ns / _NS_PER_S,
            "has_gaps": self.has_gaps,
        }


@dataclass(frozen=True, slots=True)
class Leftover:
    """The state folder of one daemon. Host, stack and account are as far as folder names tell them.

    `unfinished` is how many changes wait for Orion; None while a living daemon has them.
    """

    path: Path
    host: str
    stack: str
    account: str
    is_own_host: bool
    is_locked: bool
    unfinished: int | None
    kept: tuple[KeptFile, ...] = ()

    @property
    def is_empty(self) -> bool:
        """True if nothing would be lost with it."""
        return not (self.is_locked or self.unfinished or self.kept)

    def told(self) -> Mapping[str, Any]:
        """As plain data."""
        return {
            "host": self.host,
            "is_this_host": self.is_own_host,
            "stack": self.stack,
            "account": self.account,
            "folder": str(self.path),
            "in_use": self.is_locked,
            "pending": self.unfinished,
            "kept": [each.told() for each in self.kept],
        }


@dataclass(frozen=True, slots=True)
class TakenOver:
    """What came of taking over the folders of a host: those that are ours now, those still in use there."""

    taken: tuple[Leftover, ...]
    locked: tuple[Leftover, ...]


def find_leftovers(state_dir: Path) -> list[Leftover]:
    """All state folders there are, this host's first; those of living daemons are marked as locked."""
    own = safe_name(platform.node())
    hosts = sorted(_folders(state_dir), key=lambda host: (host.name != own, host.name))
    return [_look(path, own) for host in hosts for path in _daemons_of(host)]


def hosts_named(state_dir: Path, name: str) -> list[Path]:
    """The folders of the hosts that a user may mean by a name, whole or without what tells it apart."""
    exact = [host for host in _folders(state_dir) if host.name in (name, safe_name(name))]
    return exact or [host for host in _folders(state_dir) if _plain(host) == name]


def take_over(state_dir: Path, host: Path) -> TakenOver:
    """Make the folders of another host this host's, each whole or not at all. Raises OSError."""
    own = safe_name(platform.node())
    taken, locked = [], []
    for theirs in sorted(_folders(host)):
        for top in sorted(_folders(theirs)):
            ours = state_dir / own / theirs.name / top.name
            make_private(ours)
            with ExitStack() as locks:
                # In one order: two hosts may want each other's.
                for each in sorted((top, ours)):
                    locks.enter_context(alone(each))
                for path in sorted(_folders(top, is_named=False)):
                    found = _look_at(path, own)
                    if found.is_locked:
                        locked.append(found)
                    else:
                        path.rename(ours / path.name)
                        taken.append(found)
    return TakenOver(tuple(taken), tuple(locked))


def kept_files(folder: Path) -> tuple[KeptFile, ...]:
    """What lies aside in the state folder of a daemon, the oldest first."""
    kept = folder / KEPT
    return _as_kept(kept.iterdir() if kept.is_dir() else ())


def _look(path: Path, own: str) -> Leftover:
    with alone(path.parent):  # a look holds the lock for a moment, and its owner must not find it taken
        return _look_at(path, own)


def _look_at(path: Path, own: str) -> Leftover:
    account, stack, host = path.parents[:3]
    is_locked = _is_locked(path)
    unfinished, kept = None, kept_files(path)
    if not is_locked:
        glimpse = look_into(path / JOURNAL) if (path / JOURNAL).exists() else None
        unfinished = glimpse.unfinished if glimpse is not None else 0
        kept += _unsealed(path, glimpse.staged if glimpse is not None else {})
    names = (_plain(host), _plain(stack), _plain(account))
    return Leftover(path, *names, host.name == own, is_locked, unfinished, kept)


def _unsealed(path: Path, promised: Mapping[str, int]) -> tuple[KeptFile, ...]:
    """What the next mount will keep aside: staged, and promised to nobody."""
    staged = path / STAGED
    names = staged.iterdir() if staged.is_dir() else ()
    found = (each for each in names if each.suffix != EXACT_SUFFIX and each.stat().st_size)
    return _as_kept(
        each for each in found if each.name not in promised or each.stat().st_size > promised[each.name]
    )


def _as_kept(paths: Iterator[Path] | tuple[()]) -> tuple[KeptFile, ...]:
    files = [KeptFile(path, path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    return tuple(sorted(files, key=lambda file: (file.modified_ns, file.path)))


def _is_locked(path: Path) -> bool:
    try:
        lock_fd = os.open(path / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock_fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock_fd)
    return False


def _daemons_of(host: Path) -> Iterator[Path]:
    for stack in sorted(_folders(host)):
        for account in sorted(_folders(stack)):
            yield from sorted(_folders(account, is_named=False))


def _folders(above: Path, *, is_named: bool = True) -> list[Path]:
    """The folders in a folder; those with a name and a digest, unless any will do."""
    if not above.is_dir():
        return []
    return [
        path
        for path in above.iterdir()
        if path.is_dir() and (not is_named or _WITH_DIGEST.fullmatch(path.name) is not None)
    ]


def _plain(folder: Path) -> str:
    """A name without its digest."""
    found = _WITH_DIGEST.fullmatch(folder.name)
    return found["name"] if found is not None else folder.name
