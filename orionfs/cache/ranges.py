"""A set of byte positions as sorted, disjoint, half-open ranges; pure, a leaf."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator


class RangeSet:
    """Which bytes of a file are there. Ranges are `[start, end)`; neighbours are merged."""

    __slots__ = ("_ends", "_starts")

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        for start, end in ranges:
            self.add(start, end)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(list(self._starts), list(self._ends), strict=True)

    def __bool__(self) -> bool:
        return bool(self._starts)

    def __repr__(self) -> str:
        return f"RangeSet({list(self)})"

    def add(self, start: int, end: int) -> None:
        """Put `[start, end)` in; an empty range changes nothing."""
        if start >= end:
            return
        first = bisect_left(self._ends, start)
        last = bisect_right(self._starts, end)
        if first < last:
            start = min(start, self._starts[first])
            end = max(end, self._ends[last - 1])
        self._starts[first:last] = [start]
        self._ends[first:last] = [end]

    def covers(self, start: int, end: int) -> bool:
        """True if every byte of `[start, end)` is there; always true for an empty range."""
        if start >= end:
            return True
        at = bisect_right(self._starts, start) - 1
        return at >= 0 and self._ends[at] >= end

    def missing(self, start: int, end: int) -> list[tuple[int, int]]:
        """The parts of `[start, end)` that are not there, in order."""
        gaps = []
        at = bisect_right(self._ends, start)
        while start < end:
            begin = self._starts[at] if at < len(self._starts) else end
            if begin > start:
                gaps.append((start, min(begin, end)))
            start = self._ends[at] if at < len(self._ends) else end
            at += 1
        return gaps

    @property
    def total(self) -> int:
        """How many bytes are there."""
        return sum(end - start for start, end in self)
