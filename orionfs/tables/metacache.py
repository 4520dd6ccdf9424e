"""What we believe of folders and until when: one cachetools entry a folder, sized by its items.

An entry never decides how long it holds; it says when it was asked for, and `namespace` compares.
Entries outlive their validity, because an offline mount answers from them however old they are.
Losing an entry costs a request, never an inode number; a folder's number stays its own while there is one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from operator import eq
from typing import overload

from cachetools import LRUCache

from orionfs.models import Holder, InodeNumber, Item

_SINGLES_MAX = 64


class Names(Mapping[str, Item]):
    """Visible name -> item in the order of the names; a third of the memory of a dict, and never changed."""

    __slots__ = ("_items", "_names")

    def __init__(self, items: Mapping[str, Item]) -> None:
        self._names = tuple(sorted(items))
        self._items = tuple(map(items.__getitem__, self._names))

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __getitem__(self, name: str) -> Item:
        at = bisect_left(self._names, name)
        if at < len(self._names) and self._names[at] == name:
            return self._items[at]
        raise KeyError(name)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name) is not None

    def with_item(self, name: str, item: Item) -> Names:
        """The same names, of which one, that is there, means another item."""
        changed = Names({})
        at = bisect_left(self._names, name)
        changed._names = self._names
        changed._items = (*self._items[:at], item, *self._items[at + 1 :])
        return changed

    def at(self, place: int) -> tuple[str, Item]:
        """The entry at a place in the order of names."""
        return self._names[place], self._items[place]


class Entries(Sequence[tuple[str, Item]]):
    """What a folder holds, by place; nothing is copied."""

    __slots__ = ("_names",)

    def __init__(self, items: Mapping[str, Item]) -> None:
        self._names = items if isinstance(items, Names) else Names(items)

    def __len__(self) -> int:
        return len(self._names)

    @overload
    def __getitem__(self, place: int) -> tuple[str, Item]: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[tuple[str, Item]]: ...

    def __getitem__(self, place: int | slice) -> tuple[str, Item] | Sequence[tuple[str, Item]]:
        if isinstance(place, slice):
            return [self._names.at(each) for each in range(*place.indices(len(self)))]
        return self._names.at(place)


@dataclass(frozen=True, slots=True)
class Listing:
    """One answer to "what is in this folder": visible name -> item, asked for at `asked_at_s`.

    `is_complete` is False where Orion may hold more than it told: such a listing proves no absence.
    `unread` rows could not be read: it shows the others, and proves no absence either. `pages` is what it
    cost. `holds_longer_s`: for so long beyond the time to live that all listings have.
    """

    items: Mapping[str, Item]
    asked_at_s: float
    is_complete: bool = True
    pages: int = 1
    unread: int = 0
    holds_longer_s: float = 0.0

    @property
    def proves_absence(self) -> bool:
        """True if what is not in it was not there."""
        return self.is_complete and not self.unread

    def has_same_names(self, other: Listing) -> bool:
        """True if both hold the same names, whatever they mean."""
        return len(self.items) == len(other.items) and all(map(eq, sorted(self.items), sorted(other.items)))


@dataclass(frozen=True, slots=True)
class Single:
    """One answer to "what is under this name"; `item` None: nothing."""

    item: Item | None
    asked_at_s: float


@dataclass(frozen=True, slots=True)
class FolderBelief:
    """All that is believed of one folder."""

    listing: Listing | None = None
    singles: Mapping[str, Single] = field(default_factory=dict)

    @property
    def holds_longer_s(self) -> float:
        return self.listing.holds_longer_s if self.listing is not None else 0.0

    @property
    def size(self) -> int:
        return 1 + len(self.singles) + (len(self.listing.items) if self.listing else 0)


class _Beliefs(LRUCache[InodeNumber, FolderBelief]):
    """Tells of what it drops to make room."""

    def __init__(self, items_max: int) -> None:
        # The largest folder alone fits.
        super().__init__(items_max, getsizeof=lambda belief: min(belief.size, items_max))
        self.on_dropped: Callable[[InodeNumber], None] = lambda _: None

    def popitem(self) -> tuple[InodeNumber, FolderBelief]:
        number, belief = super().popitem()
        self.on_dropped(number)
        return number, belief


class MetaCache:
    """Beliefs by folder number, the least recently used dropped beyond `items_max` items.

    `holder` keeps the number of each folder that something is believed of.
    """

    def __init__(self, items_max: int) -> None:
        self._beliefs = _Beliefs(items_max)
        self._holder: Holder | None = None

    def hold_in(self, holder: Holder) -> None:
        """Whose numbers these are."""
        self._holder = holder
        self._beliefs.on_dropped = holder.release

    def get(self, folder: InodeNumber) -> FolderBelief:
        """What is believed; an empty belief if nothing is."""
        return self._beliefs.get(folder) or FolderBelief()

    def put_listing(self, folder: InodeNumber, listing: Listing) -> None:
        """A newer listing replaces the older one, and every single answer asked before it."""
        belief = self.get(folder)
        if belief.listing is not None and belief.listing.asked_at_s > listing.asked_at_s:
            return
        singles = {n: s for n, s in belief.singles.items() if s.asked_at_s > listing.asked_at_s}
        self._put(folder, FolderBelief(listing, singles))

    def put_single(self, folder: InodeNumber, name: str, single: Single) -> None:
        belief = self.get(folder)
        singles = {**belief.singles, name: single}
        while len(singles) > _SINGLES_MAX:
            del singles[next(iter(singles))]
        self._put(folder, replace(belief, singles=singles))

    def put(self, folder: InodeNumber, belief: FolderBelief) -> None:
        """Other contents for the answers that are there, whenever they were asked for."""
        self._put(folder, belief)

    def amend(self, folder: InodeNumber, name: str, item: Item) -> None:
        """Orion says something else of a version that a name means, whenever it was asked."""
        belief = self._beliefs.get(folder)
        if belief is None:
            return
        listing, single = belief.listing, belief.singles.get(name)
        if listing is not None and _means(listing.items.get(name), item):
            items = listing.items if isinstance(listing.items, Names) else Names(listing.items)
            belief = replace(belief, listing=replace(listing, items=items.with_item(name, item)))
        if single is not None and _means(single.item, item):
            belief = replace(belief, singles={**belief.singles, name: replace(single, item=item)})
        self._beliefs[folder] = belief

    def expire(self, folder: InodeNumber) -> None:
        """Believe nothing of a folder any more; offline the last answers still hold."""
        if folder not in self._beliefs:
            return
        belief = self.get(folder)
        listing = replace(belief.listing, asked_at_s=-inf) if belief.listing is not None else None
        singles = {name: replace(single, asked_at_s=-inf) for name, single in belief.singles.items()}
        self._put(folder, FolderBelief(listing, singles))

    def drop(self, folder: InodeNumber) -> None:
        if self._beliefs.pop(folder, None) is not None and self._holder is not None:
            self._holder.release(folder)

    def _put(self, folder: InodeNumber, belief: FolderBelief) -> None:
        is_new = self._beliefs.pop(folder, None) is None
        if is_new and self._holder is not None:
            self._holder.hold(folder)
        self._beliefs[folder] = belief


def _means(told: Item | None, item: Item) -> bool:
    """True if an answer is about the same version; only a folder may have got its id since."""
    return told is not None and told.is_same_version(item)
