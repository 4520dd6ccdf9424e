"""What this mount has changed on Orion a moment ago, by Orion's paths: what a lagging replica may not know.

Whoever must know what a folder truly holds, as `relocating` does before it moves or removes, corrects an
answer by this; for what users are shown `changes` does the same by inodes. Tags that were
set or taken away are laid over every answer of `remote`. Kept for as long as an answer may be wrong, at most
some ten thousands. `remote` alone records here. Pure; must not know inodes or sessions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from math import inf

from orionfs.models import Item, Key, Kind

_ANSWER_MAX_S = 30.0  # an answer that takes longer is not corrected any more
_ITEMS_MAX = 50_000


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an item was put, or None for one that was deleted."""

    folder: str | None
    item: Item | None
    at_s: float


@dataclass(slots=True)
class _Tags:
    """Tag -> whether it was set or taken away, and when; `at_s` is when the last one was."""

    at_s: float
    tags: dict[str, tuple[bool, float]] = field(default_factory=dict)


class RecentChanges:
    """The latest changes of one mount."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._began_at_s: float | None = None
        self.read_lag_s = self.unheard_s = 10.0
        # Folders, and items whose place is not known any more -> when we last put them somewhere.
        self._moved: dict[Key, float] = {}
        self._places: dict[Key, _Place] = {}  # the latest last
        self._below: dict[str, dict[Key, Item]] = {}  # folder -> what was put there
        self._folders: dict[str, tuple[bool, float]] = {}  # path -> whether it was made or removed, and when
        self._made: dict[str, set[str]] = {}  # folder -> names of folders made in it
        self._tags: dict[Key, _Tags] = {}  # the latest last
        self._tagged_at_s = -inf  # any of them

    def know_lags(self, read_lag_s: float, unheard_s: float) -> None:
        """How far an answer may lag behind a change; how long one that shows nothing of it is no proof."""
        self.read_lag_s, self.unheard_s = read_lag_s, min(read_lag_s, unheard_s)

    @property
    def began_at_s(self) -> float:
        """When this mount began to ask; an earlier daemon may have changed something until then."""
        if self._began_at_s is None:
            self._began_at_s = self._clock()
        return self._began_at_s

    def made(self, path: str) -> None:
        """A folder was made."""
        self._note_folder(path, is_there=True)

    def removed(self, path: str) -> None:
        """A folder was removed."""
        self._note_folder(path, is_there=False)

    def placed(self, folder: str, item: Item) -> None:
        """An item, with the name that it has there, was put into a folder."""
        if item.key is not None and item.kind is Kind.FOLDER:
            self._forget_old()
            self._moved.pop(item.key, None)
            self._moved[item.key] = self._clock()
        elif item.key is not None:
            self._note_place(item.key, _Place(folder.rstrip("/"), item, self._clock()))

    def deleted(self, key: Key) -> None:
        """An item was deleted."""
        self._note_place(key, _Place(None, None, self._clock()))

    def tagged(self, key: Key, added: Iterable[str], removed: Iterable[str] = ()) -> None:
        """Tags of an item were set, or taken away."""
        self._forget_old()
        now_s = self._clock()
        told = self._tags.pop(key, None) or _Tags(now_s)
        told.tags |= {**dict.fromkeys(added, (True, now_s)), **dict.fromkeys(removed, (False, now_s))}
        told.at_s = self._tagged_at_s = now_s
        self._tags[key] = told

    def true_tags(self, key: Key | None, tags: Iterable[str], asked_at_s: float) -> tuple[str, ...]:
        """The tags of an item, sorted, where an answer asked for at this moment told these."""
        told = self._tags.get(key) if key is not None else None
        found = set(tags)
        for tag, (is_there, at_s) in (told.tags if told is not None else {}).items():
            if self._may_lack(at_s, asked_at_s):
                (found.add if is_there else found.discard)(tag)
        return tuple(sorted(found))

    def with_true_tags(self, items: Sequence[Item], asked_at_s: float) -> Sequence[Item]:
        """The items of an answer asked for at this moment with the tags that they have.

        Tags may change while more is asked, so whoever believes an answer does this last.
        """
        if not self._may_lack(self._tagged_at_s, asked_at_s):
            return items
        return [
            replace(item, tags=self.true_tags(item.key, item.tags, asked_at_s))
            if item.tags is not None and item.key in self._tags
            else item
            for item in items
        ]

    def forget(self, keys: Iterable[Key | None]) -> None:
        """Where these items are is not known any more."""
        self._forget_old()
        for key in keys:
            if key is not None and key in self._places:
                self._moved.pop(key, None)
                self._moved[key] = self._places[key].at_s
                self._drop(key)

    def last_moved_at_s(self, key: Key) -> float:
        """When this mount was last told that it has put an item somewhere; -inf if that is too long ago."""
        place = self._places.get(key)
        return place.at_s if place is not None else self._moved.get(key, -inf)

    def is_unheard_of(self, done_at_s: float, asked_at_s: float) -> bool:
        """True if an answer asked for at a moment may know nothing of what was done at another one.

        Nothing that it does not show may be believed not to have happened then.
        """
        return self.unheard_s > 0 and asked_at_s <= self.heard_of_at_s(done_at_s)

    def heard_of_at_s(self, done_at_s: float) -> float:
        """The last moment at which an answer may be asked for that knows nothing of what was done then."""
        return done_at_s + self.unheard_s

    def is_own(self, key: Key) -> bool:
        """True for an item that this mount has put somewhere or deleted: a replica may show it as it was."""
        return key in self._places

    def placed_at_s(self, key: Key, path: str) -> float | None:
        """When this mount put an item where it still is, as far as we know; None if it did not."""
        place = self._places.get(key)
        if place is None or place.item is None or f"{place.folder}/{place.item.name}" != path:
            return None
        return place.at_s

    def is_made(self, path: str, asked_at_s: float) -> bool:
        """True for a folder that an answer of this moment may not know of."""
        is_there, at_s = self._folders.get(path, (False, 0.0))
        return is_there and self._may_lack(at_s, asked_at_s)

    def is_expected(self, path: str, asked_at_s: float) -> bool:
        """The same, and for any folder of which an earlier daemon may have made a change just before this."""
        return self.is_made(path, asked_at_s) or self.is_unheard_of(self.began_at_s, asked_at_s)

    def is_outdated(self, folder: str, row: Item, asked_at_s: float) -> bool:
        """True for a row of an answer about a folder that is not, or not so, in it any more."""
        folder = folder.rstrip("/")
        if row.kind is Kind.FOLDER:
            is_there, at_s = self._folders.get(f"{folder}/{row.name}", (True, 0.0))
            return not is_there and self._may_lack(at_s, asked_at_s)
        place = self._places.get(row.key) if row.key is not None else None
        if place is None or not self._may_lack(place.at_s, asked_at_s):
            return False
        return place.item is None or place.folder != folder or place.item.name != row.name

    def corrected(self, folder: str, rows: Iterable[Item], asked_at_s: float) -> tuple[Item, ...]:
        """What a folder holds: the rows of an answer asked for at this moment, and what it may not know."""
        folder = folder.rstrip("/")
        true_rows = [row for row in rows if not self.is_outdated(folder, row, asked_at_s)]
        known = {row.key for row in true_rows if row.key is not None}
        late = [item for key, item in self._below.get(folder, {}).items() if key not in known]
        true_rows += [item for item in late if self._may_lack(self._placed_at_s(item), asked_at_s)]
        named = {row.name for row in true_rows if row.kind is Kind.FOLDER}
        made = [name for name in self._made.get(folder, ()) if self.is_made(f"{folder}/{name}", asked_at_s)]
        return (*true_rows, *(Item(Kind.FOLDER, None, name) for name in made if name not in named))

    def _may_lack(self, at_s: float, asked_at_s: float) -> bool:
        return at_s + self.read_lag_s >= asked_at_s

    def _placed_at_s(self, item: Item) -> float:
        assert item.key is not None
        return self._places[item.key].at_s

    def _note_folder(self, path: str, *, is_there: bool) -> None:
        self._forget_old()
        self._drop_folder(path)
        self._folders[path] = (is_there, self._clock())
        if is_there:
            above, _, name = path.rpartition("/")
            self._made.setdefault(above, set()).add(name)

    def _note_place(self, key: Key, place: _Place) -> None:
        self._forget_old()
        self._drop(key)
        self._places[key] = place
        if place.folder is not None and place.item is not None:
            self._below.setdefault(place.folder, {})[key] = place.item

    def _drop(self, key: Key) -> None:
        place = self._places.pop(key, None)
        if place is None or place.folder is None:
            return
        self._below[place.folder].pop(key, None)
        if not self._below[place.folder]:
            del self._below[place.folder]

    def _drop_folder(self, path: str) -> None:
        is_there, _ = self._folders.pop(path, (False, 0.0))
        above, _, name = path.rpartition("/")
        if is_there:
            self._made[above].discard(name)
            if not self._made[above]:
                del self._made[above]

    def _forget_old(self) -> None:
        """The oldest come first."""
        horizon_s = self._clock() - self.read_lag_s - _ANSWER_MAX_S
        while self._tags:
            key = next(iter(self._tags))
            if self._tags[key].at_s >= horizon_s and len(self._tags) < _ITEMS_MAX:
                break
            del self._tags[key]
        while self._moved:
            key = next(iter(self._moved))
            if self._moved[key] >= horizon_s and len(self._moved) < _ITEMS_MAX:
                break
            del self._moved[key]
        while self._places:
            key = next(iter(self._places))
            if self._places[key].at_s >= horizon_s and len(self._places) < _ITEMS_MAX:
                break
            self._drop(key)
        while self._folders:
            path = next(iter(self._folders))
            if self._folders[path][1] >= horizon_s and len(self._folders) < _ITEMS_MAX:
                break
            self._drop_folder(path)
