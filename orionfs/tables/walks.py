"""Where somebody walks a tree, and which folders come next; pure.

A walk is the path of folders from its root to the one visited last, and what was listed ahead of it. A
walker goes in preorder, and within a folder in the order of its entries (find, du, tar) or of their
names (ls -R): which, the first folders that it enters show. What it has passed by is forgotten. Knows
folders and names of folders; must not know requests, clocks or who asks.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from enum import Enum

from orionfs.tables.inodes import Inode

LEAD_AT_FIRST = 3
LEAD_MAX = 256
_LEAPS_TELLING = 3  # looking for an order costs the length of a folder


class Order(Enum):
    """How a walker goes through the folders of a folder. Hidden names are last where names count."""

    ENTRIES = "entries"
    NAMES = "names"
    FOLDED = "folded"

    def sorted(self, names: Collection[str]) -> list[str]:
        """Names in this order; they come in that of the entries."""
        return list(names) if self is Order.ENTRIES else sorted(names, key=_KEYS[self])

    def after(self, last: str | None, names: Sequence[str]) -> str | None:
        """The name that is entered after `last` (None: first)."""
        if last is None:
            return names[0] if self is Order.ENTRIES else min(names, key=_KEYS[self])
        in_order = self.sorted(names)
        following = in_order.index(last) + 1 if last in in_order else len(in_order)
        return in_order[following] if following < len(in_order) else None


_KEYS: dict[Order, Callable[[str], tuple[object, ...]]] = {
    Order.NAMES: lambda name: (name.startswith("."), name),
    Order.FOLDED: lambda name: (name.startswith("."), name.casefold(), name),
}


class Visit(Enum):
    """How well a visit was foreseen."""

    AHEAD = "asked for already"
    NEXT = "would have been asked for next"
    BY_LEAP = "others would have been asked for before"
    UNKNOWN = "not known to be there, or passed by before"


@dataclass(eq=False, slots=True)
class Stop:
    """A folder of a walk.

    `ahead` are the folders in it that were asked for ahead of the walker, in its order, and `open` those of
    them that may have more in them to ask for; `waiting` are those that are to be asked for, in the order
    of `queue`, whose last one is the next; `passed` those that the walker has left out.
    """

    folder: Inode
    ahead: dict[str, Stop] = field(default_factory=dict)
    open: dict[str, Stop] = field(default_factory=dict)
    listed: Sequence[str] = ()
    waiting: set[str] = field(default_factory=set)
    queue: list[str] = field(default_factory=list)
    passed: set[str] = field(default_factory=set)
    item_count: int = 0
    is_listed: bool = False
    entered: str | None = None
    leaps: int = 0
    is_in_order: bool = True

    def take(self, name: str) -> tuple[Stop | None, list[Stop]]:
        """The walker enters `name` (None: it was not asked for), and passes by what comes before."""
        self.entered = name
        if name in self.passed:
            self._wait_for_all()
        is_there = name in self.ahead or name in self.waiting
        passed = self._pass_by(name) if self.is_in_order and is_there else []
        self.waiting.discard(name)
        self.open.pop(name, None)
        return self.ahead.pop(name, None), passed

    def next(self) -> str | None:
        """The name that is to be asked for next."""
        while self.queue and self.queue[-1] not in self.waiting:
            self.queue.pop()
        return self.queue[-1] if self.queue else None

    def sort(self, order: Order) -> None:
        """What is not asked for yet comes in this order."""
        self.queue = order.sorted([name for name in self.listed if name in self.waiting])[::-1]

    def _pass_by(self, name: str) -> list[Stop]:
        names = list(itertools.takewhile(lambda each: each != name, self.ahead))
        stops = [self.ahead.pop(earlier) for earlier in names]
        for earlier in names:
            self.open.pop(earlier, None)
        if name not in self.waiting:
            return stops
        while (earlier := self.queue.pop()) != name:
            if earlier in self.waiting:
                self.waiting.remove(earlier)
                self.passed.add(earlier)
        return stops

    def _wait_for_all(self) -> None:
        """The walker comes back to what it has passed by: its order is none that we know."""
        self.is_in_order = False
        self.queue = [*self.passed, *self.queue]
        self.waiting |= self.passed
        self.passed.clear()


class Walk:
    """One walker below one folder; `lead` is how many folders may be listed that it has not reached."""

    def __init__(self, root: Inode, folders: Sequence[str]) -> None:
        """`folders` are the names of the folders in the root, in the order of its entries."""
        self.order = Order.ENTRIES
        self.lead = LEAD_AT_FIRST
        self._path = [Stop(root)]
        self._stops = {root.number: self._path[0]}  # all of the path, and all that are ahead
        self.ahead_items = 0  # in the folders that the walker has not reached, as far as they are listed
        self.tell(root, folders, len(folders))

    def __repr__(self) -> str:
        return f"<Walk {self._path[-1].folder.local_path()}, {self.ahead_count} of {self.lead} ahead>"

    @property
    def root(self) -> Inode:
        return self._path[0].folder

    @property
    def visited(self) -> Inode:
        """The folder that the walker has reached."""
        return self._path[-1].folder

    @property
    def ahead_count(self) -> int:
        """How many folders were asked for that the walker has not reached."""
        return len(self._stops) - len(self._path)

    def expects(self, folder: Inode) -> bool:
        """True if a walker that is where this one is may go there next: into one of the folders it is in."""
        return folder is not self.root and any(stop.folder is folder.parent for stop in self._path)

    def visit(self, folder: Inode) -> Visit:
        """The walker lists a folder that was expected."""
        upcoming = self._upcoming()
        is_next = upcoming is not None and (upcoming[0].folder, upcoming[1]) == (folder.parent, folder.name)
        visit = Visit.NEXT if is_next else self._kind_of(folder)
        self._enter(folder, visit)
        if visit in (Visit.AHEAD, Visit.NEXT):
            self.lead = min(LEAD_MAX, max(1, 2 * self.lead))
        elif visit is Visit.BY_LEAP:
            self.lead //= 2
        return visit

    def begin(self, folder: Inode) -> None:
        """The visit by which the walk was recognised: it was not foreseen, and no leap."""
        self._enter(folder, Visit.UNKNOWN)

    def hold_back(self) -> None:
        """The walker may have gone elsewhere: no more than at first, until it shows up again."""
        self.lead = min(self.lead, LEAD_AT_FIRST)

    def stop(self) -> None:
        """Nothing more, until the walker was foreseen again."""
        self.lead = 0

    def is_about(self, folder: Inode) -> bool:
        """True for a folder of the walk, or ahead of it."""
        return folder.number in self._stops

    def tell(self, folder: Inode, folders: Sequence[str], item_count: int) -> None:
        """A folder was listed, by whomever: the names of the folders in it, and of how many items."""
        stop = self._stops.get(folder.number)
        if stop is None or stop.is_listed:
            return
        stop.listed, stop.item_count, stop.is_listed = folders, item_count, True
        stop.waiting = set(folders)
        stop.sort(self.order)
        if not any(each is stop for each in self._path):
            self.ahead_items += item_count

    def take_next(self) -> tuple[Stop, str] | None:
        """The folder to be listed next, by the one it is in and its name, if there may be another."""
        upcoming = self._upcoming()
        if upcoming is not None:
            upcoming[0].waiting.discard(upcoming[1])
        return upcoming

    def add(self, above: Stop, name: str, folder: Inode) -> Stop | None:
        """The folder that was to be next is being listed; None if it is in the walk already."""
        if folder.number in self._stops:
            return None
        stop = above.ahead[name] = above.open[name] = self._stops[folder.number] = Stop(folder)
        return stop

    def _kind_of(self, folder: Inode) -> Visit:
        above = next(stop for stop in self._path if stop.folder is folder.parent)
        if folder.name in above.ahead:
            return Visit.AHEAD
        return Visit.BY_LEAP if folder.name in above.waiting else Visit.UNKNOWN

    def _enter(self, folder: Inode, visit: Visit) -> None:
        while self._path[-1].folder is not folder.parent:
            self._leave(self._path.pop())
        above = self._path[-1]
        self._learn_order(above, visit, folder.name)
        stop, passed = above.take(folder.name)
        for each in passed:
            self._drop(each)
        if stop is not None and stop.folder is not folder:
            self._drop(stop)
            stop = None
        if stop is not None:
            self.ahead_items -= stop.item_count
        self._path.append(stop or Stop(folder))
        self._stops[folder.number] = self._path[-1]

    def _leave(self, stop: Stop) -> None:
        if self._stops.get(stop.folder.number) is stop:
            del self._stops[stop.folder.number]
        for child in stop.ahead.values():
            self._drop(child)

    def _drop(self, stop: Stop) -> None:
        self.ahead_items -= stop.item_count
        self._leave(stop)

    def _upcoming(self) -> tuple[Stop, str] | None:
        """In preorder, beginning where the walker is."""
        return next((found for stop in reversed(self._path) if (found := _first_queued(stop))), None)

    def _learn_order(self, above: Stop, visit: Visit, name: str) -> None:
        """The first folder entered, or one that was not expected yet, may show another order."""
        above.leaps += visit is Visit.BY_LEAP
        is_telling = above.entered is None or (visit is Visit.BY_LEAP and above.leaps <= _LEAPS_TELLING)
        if not is_telling or not above.listed or self.order.after(above.entered, above.listed) == name:
            return
        fitting = [order for order in Order if order.after(above.entered, above.listed) == name]
        if fitting:
            self.order = fitting[0]
            for stop in self._stops.values():
                stop.sort(self.order)


def _first_queued(stop: Stop) -> tuple[Stop, str] | None:
    for key, child in list(stop.open.items()):
        found = _first_queued(child)
        if found:
            return found
        if child.is_listed and not child.open:
            del stop.open[key]
    name = stop.next()
    return (stop, name) if name is not None else None
