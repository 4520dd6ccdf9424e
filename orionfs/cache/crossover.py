"""What was staged on another disk than the cache's is copied there, behind whoever has written it.

A home on a network file system has the state folder, and the cache lies on a local disk then. Used by
`content` alone; must not know keys or uploads. Blocking.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import uuid
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from orionfs.cache import presence
from orionfs.cache.presence import Presence
from orionfs.cache.ranges import RangeSet

log = logging.getLogger(__name__)

_WAITING_MAX = 64  # each holds a descriptor, and its bytes on the disk of the state
_AT_ONCE_BYTES = 2**26


@dataclass(frozen=True, slots=True)
class _Passenger:
    """A whole version: its bytes, in a file that has no name any more, and where they are to be."""

    fd: int
    size: int
    target: Path


class Crossover:
    """The versions of one cache that wait to be copied into it."""

    def __init__(self, suffix: str) -> None:
        """`suffix` ends the names of files that are not whole yet."""
        self._suffix = suffix
        self._waiting: deque[_Passenger] = deque()
        self._copying = threading.Lock()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def take(self, staged: Path, target: Path, size: int) -> None:
        """Have a version of `size` bytes copied to its place; its file may go. Not if too many wait."""
        if len(self._waiting) >= _WAITING_MAX:
            return
        with contextlib.suppress(OSError):
            self._waiting.append(_Passenger(os.open(staged, os.O_RDONLY | os.O_CLOEXEC), size, target))

    def copy(self) -> None:
        """Copy all that wait. What can't be copied is fetched when it is wanted."""
        with self._copying:
            while self._waiting:
                passenger = self._waiting.popleft()
                try:
                    self._copy(passenger)
                except OSError as error:
                    log.debug("%s is not kept: %s", passenger.target.name, error)
                finally:
                    os.close(passenger.fd)

    def close(self) -> None:
        """Copy nothing more."""
        while self._waiting:
            os.close(self._waiting.popleft().fd)

    def _copy(self, passenger: _Passenger) -> None:
        target, size = passenger.target, passenger.size
        unfinished = target.with_name(f"{uuid.uuid4().hex}{self._suffix}")
        fd = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            _copy_bytes(passenger.fd, fd, size)
            os.rename(unfinished, target)
            presence.save(target, fd, size, Presence(RangeSet([(0, size)])))
        except OSError:
            with contextlib.suppress(FileNotFoundError):
                unfinished.unlink()
            raise
        finally:
            os.close(fd)


def _copy_bytes(source_fd: int, target_fd: int, size: int) -> None:
    offset = 0
    while offset < size:
        count = os.sendfile(target_fd, source_fd, offset, min(_AT_ONCE_BYTES, size - offset))
        if count == 0:
            raise OSError("it is shorter than it was")
        offset += count
