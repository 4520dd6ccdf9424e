"""What this machine keeps of every item that was ever written here, in a few bytes an item.

Who has written a million files in the life of an account keeps a million rows on the disk, and is not to pay
for objects of them in each mount. Rows of Files lie in sorted arrays as they were at the start; what has
changed since, and the few rows of other kinds, lie in a dict or a set before them. Pure.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, MutableMapping, MutableSet

from orionfs.models import Key, Kind, LocalAttributes

_NONE_NS = -(2**63)
_NO_MODE = -1


def _place_of(ids: array[int], id_: int) -> int | None:
    place = bisect_left(ids, id_)
    return place if place < len(ids) and ids[place] == id_ else None


class PackedLocal(MutableMapping[Key, LocalAttributes]):
    """What only this machine knows of items, by item."""

    def __init__(self, files: Iterable[tuple[int, int | None, int | None]] = ()) -> None:
        """`files`: id, mtime_ns and permissions of Files, by id upwards."""
        self._ids, self._mtimes, self._modes = array("q"), array("q"), array("i")
        self._changed: dict[Key, LocalAttributes | None] = {}
        for id_, mtime_ns, permissions in files:
            self._ids.append(id_)
            self._mtimes.append(_NONE_NS if mtime_ns is None else mtime_ns)
            self._modes.append(_NO_MODE if permissions is None else permissions)

    def __getitem__(self, key: Key) -> LocalAttributes:
        found = self._changed[key] if key in self._changed else self._packed(key)
        if found is None:
            raise KeyError(key)
        return found

    def __contains__(self, key: object) -> bool:
        if not isinstance(key, Key):
            return False
        return self._changed[key] is not None if key in self._changed else self._place(key) is not None

    def __setitem__(self, key: Key, attributes: LocalAttributes) -> None:
        self._changed[key] = attributes

    def __delitem__(self, key: Key) -> None:
        if key not in self:
            raise KeyError(key)
        if self._place(key) is None:
            del self._changed[key]
        else:
            self._changed[key] = None

    def __iter__(self) -> Iterator[Key]:
        packed = (Key(Kind.FILE, id_) for id_ in self._ids)
        yield from (key for key in packed if key not in self._changed)
        yield from (key for key, found in self._changed.items() if found is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __bool__(self) -> bool:
        return next(iter(self), None) is not None

    def _place(self, key: Key) -> int | None:
        return _place_of(self._ids, key.id) if key.kind is Kind.FILE and key.part is None else None

    def _packed(self, key: Key) -> LocalAttributes | None:
        place = self._place(key)
        if place is None:
            return None
        mtime_ns, mode = self._mtimes[place], self._modes[place]
        return LocalAttributes(None if mtime_ns == _NONE_NS else mtime_ns, None if mode == _NO_MODE else mode)


class PackedKeys(MutableSet[Key]):
    """A set of items, most of them Files that were in it from the start."""

    def __init__(self, files: Iterable[int] = ()) -> None:
        """`files`: ids of Files, upwards."""
        self._ids = array("q", files)
        self._added: set[Key] = set()
        self._gone: set[Key] = set()

    def __contains__(self, key: object) -> bool:
        return key in self._added or (key not in self._gone and self._is_packed(key))

    def __iter__(self) -> Iterator[Key]:
        packed = (Key(Kind.FILE, id_) for id_ in self._ids)
        yield from (key for key in packed if key not in self._gone)
        yield from self._added

    def __len__(self) -> int:
        return len(self._ids) - len(self._gone) + len(self._added)

    def add(self, key: Key) -> None:
        self._gone.discard(key)
        if not self._is_packed(key):
            self._added.add(key)

    def discard(self, key: Key) -> None:
        self._added.discard(key)
        if self._is_packed(key):
            self._gone.add(key)

    def _is_packed(self, key: object) -> bool:
        if not isinstance(key, Key) or key.kind is not Kind.FILE or key.part is not None:
            return False
        return _place_of(self._ids, key.id) is not None
