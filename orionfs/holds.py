"""Which folders somebody works in now: marks that are counted, and a word when they end; a leaf."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from orionfs.models import InodeNumber


class Holds:
    """Folders that are held, by number; one may be held several times at once."""

    def __init__(self) -> None:
        self._counts: Counter[InodeNumber] = Counter()
        self.on_release: list[Callable[[InodeNumber], None]] = []

    def __contains__(self, folder: InodeNumber) -> bool:
        return folder in self._counts

    def held(self, *folders: InodeNumber) -> AbstractContextManager[None]:
        """Hold folders within the block; whoever listens hears when nobody holds one any more.

        A block that is never left, since the mount ends before, releases nothing, at whatever moment it is
        collected.
        """
        return _Held(self, folders)

    def hold(self, folder: InodeNumber) -> None:
        """Hold a folder once more."""
        self._counts[folder] += 1

    def release(self, folder: InodeNumber) -> None:
        """Hold a folder once less."""
        self._counts[folder] -= 1
        if self._counts[folder] == 0:
            del self._counts[folder]
            for tell in self.on_release:
                tell(folder)


@dataclass(frozen=True, slots=True)
class _Held(AbstractContextManager[None]):
    """Folders that are held within a block."""

    holds: Holds
    folders: tuple[InodeNumber, ...]

    def __enter__(self) -> None:
        for folder in self.folders:
            self.holds.hold(folder)

    def __exit__(self, *_: object) -> None:
        for folder in self.folders:
            self.holds.release(folder)
