"""A table from 63-bit numbers to whatever has them, in a fraction of the memory of a dict; pure.

The numbers are hashes, so each one is its own place. An entry costs 16 bytes and the free places beside
it, where a dict would keep 24 and the number as an object of its own.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import Generic, TypeVar

_T = TypeVar("_T")
_PLACES_MIN = 16
_FULL = 0.75  # beyond it a search passes by too many others
_GROWTH = 1.5


class NumberTable(Generic[_T]):
    """Number -> value; no value is None. Open addressing with linear probing."""

    __slots__ = ("_count", "_count_max", "_keys", "_values")

    def __init__(self) -> None:
        self._empty(_PLACES_MIN)

    def __len__(self) -> int:
        return self._count

    def __contains__(self, number: int) -> bool:
        return self._values[self._place(number)] is not None

    def __iter__(self) -> Iterator[_T]:
        """All values as they are now, in no order that means anything."""
        return iter([value for value in self._values if value is not None])

    def get(self, number: int) -> _T | None:
        """What has a number, or None."""
        return self._values[self._place(number)]

    def put(self, number: int, value: _T) -> None:
        """`value` has the number from now on."""
        if self.claim(number, value) is not value:
            self._values[self._place(number)] = value

    def claim(self, number: int, value: _T) -> _T:
        """What has the number: `value` from now on, if nothing had it."""
        keys, values = self._keys, self._values
        places = len(values)
        at = number % places  # as in `_place`, at the price of one call less: a folder may list a million
        while (there := values[at]) is not None:
            if keys[at] == number:
                return there
            at += 1
            if at == places:
                at = 0
        self._count += 1
        keys[at], values[at] = number, value
        if self._count > self._count_max:
            self._resize(int(places * _GROWTH))
        return value

    def remove(self, number: int) -> None:
        """Nothing has the number any more."""
        at = self._place(number)
        if self._values[at] is None:
            return
        self._values[at] = None
        self._count -= 1
        self._close_up(at)
        if len(self._values) > _PLACES_MIN and self._count < len(self._values) / 8:
            self._resize(max(_PLACES_MIN, len(self._values) // 4))

    def _empty(self, places: int) -> None:
        self._keys = array("Q", bytes(8 * places))
        self._values: list[_T | None] = [None] * places
        self._count = 0
        self._count_max = int(_FULL * places)

    def _place(self, number: int) -> int:
        """Where a number is, or the free place that it would get."""
        keys, values = self._keys, self._values
        places = len(values)
        at = number % places
        while values[at] is not None and keys[at] != number:
            at += 1
            if at == places:
                at = 0
        return at

    def _close_up(self, free: int) -> None:
        """Move up what a search would not find any more behind a place that became free."""
        places = len(self._values)
        at = free
        while True:
            at = (at + 1) % places
            value = self._values[at]
            if value is None:
                return
            home = self._keys[at] % places
            if (at - home) % places >= (at - free) % places:
                self._keys[free], self._values[free] = self._keys[at], value
                self._values[at] = None
                free = at

    def _resize(self, places: int) -> None:
        keys, values = self._keys, self._values
        self._empty(places)
        for number, value in zip(keys, values, strict=True):
            if value is not None:
                at = self._place(number)
                self._keys[at], self._values[at] = number, value
                self._count += 1
