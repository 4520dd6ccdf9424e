"""What the kernel was lately answered about: folders in use, and names told to be absent; pure.

`namespace` notes here what handlers ask; who looks again in the background, who tells the kernel of a
new name and who makes it forget read it. Both tables are bounded. Must not know sessions or beliefs.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from itertools import islice
from math import inf

import trio

from orionfs.models import InodeNumber, KernelView

FOLDERS_MAX = 65_536
ABSENCES_MAX = 8_192


class Uses:
    """Folders by when a handler last needed them."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._touched: OrderedDict[InodeNumber, float] = OrderedDict()  # folder -> when, oldest first
        self.news = trio.Event()
        """Set, and replaced by who waits, when another folder is used than before, or may be due."""
        self.items_max: float = inf
        self.is_full = trio.Event()
        """Set, and replaced by who waits, when the kernel knows more than `items_max` inodes."""

    def touch(self, folder: InodeNumber) -> None:
        """A handler needed a folder, or something in it."""
        if not self._touched or next(reversed(self._touched)) != folder:
            self.news.set()
        self._touched[folder] = self._clock()
        self._touched.move_to_end(folder)
        if len(self._touched) > FOLDERS_MAX:
            self._touched.popitem(last=False)

    def count(self, items: int) -> None:
        """So many inodes are known."""
        if items > self.items_max:
            self.is_full.set()

    def latest(self, count: int) -> list[tuple[InodeNumber, float]]:
        """The folders used last, latest first, and when that was (seconds)."""
        return list(islice(reversed(self._touched.items()), count))

    def oldest(self) -> Iterator[InodeNumber]:
        """All folders, the least recently used first; as they are now."""
        return iter(list(self._touched))

    def drop(self, folder: InodeNumber) -> None:
        """Nothing that the kernel knows is in a folder any more."""
        self._touched.pop(folder, None)


class Absences:
    """Names that the kernel was told are not there, while it may believe so."""

    def __init__(self, clock: Callable[[], float], kernel: KernelView, names_max: int = ABSENCES_MAX) -> None:
        self._clock = clock
        self._kernel = kernel
        self._names_max = names_max
        self._until: OrderedDict[tuple[InodeNumber, str], float] = OrderedDict()
        self._folders: dict[InodeNumber, set[str]] = {}

    def __len__(self) -> int:
        return len(self._until)

    def told(self, folder: InodeNumber, name: str, valid_s: float) -> None:
        """The kernel may believe that a name is absent. Beyond the limit it must ask again for the oldest."""
        if valid_s <= 0:
            return
        self._until[folder, name] = self._clock() + valid_s
        self._until.move_to_end((folder, name))
        self._folders.setdefault(folder, set()).add(name)
        self._tidy()

    def take(self, folder: InodeNumber, is_there: Callable[[str], bool]) -> list[str]:
        """The names of a folder that the kernel believes absent and that are there; noted no more."""
        now_s = self._clock()
        wrong = []
        for name in list(self._folders.get(folder, ())):
            if self._until[folder, name] <= now_s:
                self._drop(folder, name)
            elif is_there(name):
                self._drop(folder, name)
                wrong.append(name)
        return wrong

    def _tidy(self) -> None:
        now_s = self._clock()
        while self._until:
            (folder, name), until_s = next(iter(self._until.items()))
            if until_s > now_s and len(self._until) <= self._names_max:
                return
            self._drop(folder, name)
            if until_s > now_s:
                self._kernel.entry_changed(folder, name)

    def _drop(self, folder: InodeNumber, name: str) -> None:
        del self._until[folder, name]
        names = self._folders[folder]
        names.discard(name)
        if not names:
            del self._folders[folder]
