"""Which folders somebody works in now: marks that are counted, and a word when they end; a leaf."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from orionfs.models import InodeNumber


class Holds:
    """Folders that are held, by number; one may be held several times at once."""

    def __init__(self) -> None:
        self._counts: Counter[InodeNumber] = Counter()
        self.on_release: list[Callable[[InodeNumber], None]] = []

    def __contains__(self, folder: InodeNumber) -> bool:
        return folder in self._counts

    @contextmanager
    def held(self, *folders: InodeNumber) -> Iterator[None]:
        """Hold folders within the block; whoever listens hears when nobody holds one any more."""
        self._counts.update(folders)
        try:
            yield
        finally:
            for folder in folders:
                self._release(folder)

    def _release(self, folder: InodeNumber) -> None:
        self._counts[folder] -= 1
        if self._counts[folder] == 0:
            del self._counts[folder]
            for tell in self.on_release:
                tell(folder)
