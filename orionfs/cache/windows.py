"""How far to fetch ahead of a reader: pure; a leaf.

A read that goes on where one ended is a run, and the longer a run the more is fetched ahead of it. One
handle may have several: threads that read different places of a file share it. Anything else is a random
read, for which little is fetched.
"""

from __future__ import annotations

from dataclasses import dataclass, field

PART_BYTES = 8 * 2**20
FIRST_BYTES = 2**20
"""What is fetched of a file that is opened: small ones come whole."""

RANDOM_BYTES = 384 * 2**10
AHEAD_MAX_BYTES = 16 * PART_BYTES
_JITTER_BYTES = 2**20  # the kernel's read-ahead asks a little out of order
_RUNS_MAX = 8
_READS_MIN = 2  # one read is no run, however large
# A run so long, in bytes, has so much fetched ahead of it.
_SOME_BYTES, _SOME_AHEAD_BYTES = 256 * 2**10, PART_BYTES
_MUCH_BYTES, _AHEAD_FACTOR = 2 * 2**20, 32


@dataclass(slots=True)
class Run:
    """Reads that follow each other."""

    start: int
    next_offset: int
    ahead_to: int
    reads: int = 0

    def advance(self, end: int, most_bytes: int) -> int:
        """The run goes on to `end`; up to which offset to have bytes on their way then."""
        self.reads += 1
        self.next_offset = max(self.next_offset, end)
        goal = self._goal(most_bytes)
        self.ahead_to = max(self.ahead_to, goal, end)
        return self.ahead_to

    def _goal(self, most_bytes: int) -> int:
        length = self.next_offset - self.start
        if length <= _SOME_BYTES or self.reads < _READS_MIN:
            return 0
        ahead = _SOME_AHEAD_BYTES if length <= _MUCH_BYTES else length * _AHEAD_FACTOR
        goal = self.next_offset + min(ahead, most_bytes)
        return goal // PART_BYTES * PART_BYTES or goal


@dataclass(slots=True)
class Window:
    """The runs of one handle, the one used last at the end."""

    runs: list[Run] = field(default_factory=lambda: [Run(0, 0, FIRST_BYTES)])

    def advance(self, offset: int, size: int, most_bytes: int = AHEAD_MAX_BYTES) -> int:
        """Note a read; up to which offset to have bytes on their way. `most_bytes` bounds what is ahead."""
        end = offset + size
        for run in reversed(self.runs):
            if abs(offset - run.next_offset) <= _JITTER_BYTES:
                self.runs.remove(run)
                self.runs.append(run)
                return run.advance(end, most_bytes)
        run = Run(offset, end, max(end, offset + RANDOM_BYTES), 1)
        self.runs = [*self.runs[1 - _RUNS_MAX :], run]
        return run.ahead_to
