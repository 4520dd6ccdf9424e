"""How often something was done, how long it took, how it failed: counted where it happens, read by who asks.

A measurement costs about a microsecond and no memory that grows: sums, a maximum, and a bucket for each
doubling of a microsecond. Must not know what is measured, nor who reads it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

_NS_PER_US = 1000
_NS_PER_S = 10**9
_US_PER_S = 10**6

BUCKETS = 29
"""Upper ends of the buckets: 1 us, 2 us, 4 us ... 134 s, and what took longer."""


@dataclass(slots=True)
class Timing:
    """One thing that is done again and again."""

    count: int = 0
    total_ns: int = 0
    max_ns: int = 0
    buckets: list[int] = field(default_factory=lambda: [0] * BUCKETS)
    errors: Counter[str] = field(default_factory=Counter)  # by name

    def add(self, took_ns: int) -> None:
        """It was done once more, in so many nanoseconds."""
        self.count += 1
        self.total_ns += took_ns
        if took_ns > self.max_ns:
            self.max_ns = took_ns
        at = (took_ns // _NS_PER_US).bit_length()
        self.buckets[at if at < BUCKETS else -1] += 1

    @property
    def total_s(self) -> float:
        return self.total_ns / _NS_PER_S

    @property
    def max_s(self) -> float:
        return self.max_ns / _NS_PER_S

    def below_s(self) -> list[tuple[float, int]]:
        """How often it took less than so many seconds, for each upper end; all but the longest."""
        found, sum_ = [], 0
        for at, count in enumerate(self.buckets[:-1]):
            sum_ += count
            found.append((2**at / _US_PER_S, sum_))
        return found

    def as_json(self) -> dict[str, object]:
        """For `status --json`; times in seconds, `below` by upper end, where something is."""
        below = {
            f"{end_s:g}": count
            for (end_s, count), own in zip(self.below_s(), self.buckets, strict=False)
            if own
        }
        return {
            "count": self.count,
            "seconds": round(self.total_s, 6),
            "max_seconds": round(self.max_s, 6),
            "below": below,
            "errors": dict(self.errors),
        }


class Timings(dict[str, Timing]):
    """Timings by what was done."""

    def __missing__(self, name: str) -> Timing:
        found = self[name] = Timing()
        return found


@dataclass(slots=True)
class Traffic:
    """Calls of a session: how they went, and the bytes of contents that they moved."""

    calls: Timings = field(default_factory=Timings)
    downloaded_bytes: int = 0
    uploaded_bytes: int = 0


@dataclass(slots=True)
class Hits:
    """Reads of contents: what was here already, and what had to be waited for."""

    hits: int = 0
    misses: int = 0


@dataclass(frozen=True, slots=True)
class Queue:
    """Places for calls of one sort: how many are taken, wanted and there."""

    in_flight: int
    waiting: int
    places: int


@dataclass(frozen=True, slots=True)
class Figures:
    """All that is measured of one mount, at one moment."""

    mountpoint: str
    version: str
    is_online: bool
    operations: Timings
    traffic: Traffic
    reads: Hits
    questions: int  # about names, that nothing cached could answer
    queues: Mapping[str, Queue]
    pending: int
    inodes: int
    entries_invalidated: int

    def as_json(self) -> dict[str, object]:
        """The key `metrics` of a mount's status."""
        return {
            "operations": {name: timing.as_json() for name, timing in self.operations.items()},
            "requests": {name: timing.as_json() for name, timing in self.traffic.calls.items()},
            "downloaded_bytes": self.traffic.downloaded_bytes,
            "uploaded_bytes": self.traffic.uploaded_bytes,
            "content_reads": asdict(self.reads),
            "name_questions": self.questions,
            "queues": {name: asdict(queue) for name, queue in self.queues.items()},
            "pending": self.pending,
            "inodes": self.inodes,
            "entries_invalidated": self.entries_invalidated,
        }
