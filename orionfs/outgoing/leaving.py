"""Which bytes of a file that is being written are there from its start on, and which parts of it may leave.

Part 1 stays until the end: what formats patch when they are closed (a count of records, where the end is)
stands in their head. Numbers of parts begin at 1. Pure; knows neither files nor requests.
"""

from __future__ import annotations

from math import inf

from orionfs.cache.ranges import RangeSet

_PIECES_MAX = 64  # who writes in more places at once than that writes at random


class Leaving:
    """The parts of one file. `part_bytes` is 0 until it is known."""

    def __init__(self, start: int = 0) -> None:
        """What lies before `start` is there already, or will be before anything leaves."""
        self.start = start
        self.front = start  # every byte from `start` on before it has been written
        self.part_bytes = 0
        self.sent: set[int] = set()
        self.flying: set[int] = set()
        self._next = 2  # no part after it has left before the end, and each before it but the first has
        self._beyond = RangeSet()
        self._top = start  # nothing has been written behind it,
        self._is_forward = True  # and each write begins where the ones before it ended, or further on

    def __repr__(self) -> str:
        return f"<Leaving {len(self.sent)} parts sent, {len(self.flying)} on their way, {self.front} bytes>"

    @property
    def run_bytes(self) -> int:
        """How many bytes have been written one after the other."""
        return self.front - self.start

    @property
    def unsent_bytes(self) -> int:
        """How many of the bytes before the front have not left."""
        return self.front - len(self.sent) * self.part_bytes

    @property
    def has_gaps(self) -> bool:
        """True for a file of which too many pieces are apart from each other, in no order."""
        return not self._is_forward and self._has_many_pieces

    @property
    def _has_many_pieces(self) -> bool:
        return sum(1 for _ in self._beyond) > _PIECES_MAX

    def note_written(self, start: int, end: int) -> None:
        """`[start, end)` has been written."""
        self._is_forward = self._is_forward and start >= self._top
        self._top = max(self._top, end)
        if start > self.front:
            self._beyond.add(start, end)
            return
        self.front = max(self.front, end)
        if self._beyond:
            rest = RangeSet()
            for piece_start, piece_end in self._beyond:
                if piece_start <= self.front:
                    self.front = max(self.front, piece_end)
                else:
                    rest.add(piece_start, piece_end)
            self._beyond = rest

    def take_holes(self, unsent_max_bytes: int) -> None:
        """What a writer that only ever goes forward has left out are holes, once too much waits for them."""
        waits = self._top - len(self.sent) * self.part_bytes > unsent_max_bytes
        if self._beyond and self._is_forward and (waits or self._has_many_pieces):
            self.front = self._top
            self._beyond = RangeSet()

    def cut(self, size: int) -> None:
        """The file is only so long now; nothing beyond has left."""
        self.start = min(self.start, size)
        self.front = min(self.front, size)
        self._top = min(self._top, size)
        pieces = [(start, min(end, size)) for start, end in self._beyond]
        self._beyond = RangeSet((start, end) for start, end in pieces if start < end)

    def has_left(self, start: int, end: float) -> bool:
        """True if something of `[start, end)` is sent, or on its way."""
        if not self.part_bytes:
            return False
        last = self._next if end == inf else min(self._next, -(-int(end) // self.part_bytes))
        numbers = range(start // self.part_bytes + 1, last + 1)
        return any(number in self.sent or number in self.flying for number in numbers)

    def next_full(self) -> int | None:
        """The next part that lies before the front, for good as far as can be told."""
        while self._next in self.sent or self._next in self.flying:
            self._next += 1
        return self._next if self._next * self.part_bytes <= self.front else None

    def next_of(self, size: int) -> int | None:
        """The next part of a file that has its last length; one that failed on its way as well."""
        gone = self.sent | self.flying
        count = -(-size // self.part_bytes)
        return next((number for number in range(1, count + 1) if number not in gone), None)

    def length_of(self, number: int, size: int | None) -> int:
        """How many bytes a part has, in a file whose last length is `size` (None: it still grows)."""
        if size is None:
            return self.part_bytes
        return min(self.part_bytes, size - (number - 1) * self.part_bytes)
