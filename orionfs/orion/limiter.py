"""How many calls are in flight at once, and whose turn is next: one adaptive limiter, with urgencies.

It begins with half of what is allowed at most, adds places while all of them are used and no call is
told to slow down, halves when one is, and then grows back slowly. A call of lower urgency never takes
the last places. An urgency is a matter of the task that calls (a context variable), and whoever else
comes to need its answer raises it while it still waits. Must not know what calls are.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import IntEnum
from math import inf

import trio

_RESERVED_SHARE = 8  # of so many places one is the foreground's alone; one at least, two at most


class Priority(IntEnum):
    """Whom a call is for; the smaller goes first."""

    FOREGROUND = 0  # somebody waits in a system call
    PREFETCH = 1
    BACKGROUND = 2


class Urgency:
    """How urgent the calls of one piece of work are, now."""

    def __init__(self, priority: Priority = Priority.FOREGROUND) -> None:
        self.priority = priority
        self._waiting: set[_Waiter] = set()

    def raise_to(self, priority: Priority) -> None:
        """Somebody of this priority needs the work too; what waits for its turn waits no longer than that."""
        if priority >= self.priority:
            return
        self.priority = priority
        for waiter in sorted(self._waiting):
            waiter.limiter.reorder(waiter)


_URGENCY: ContextVar[Urgency | None] = ContextVar("orionfs_urgency", default=None)


def current_urgency() -> Urgency:
    """The urgency of this task; that of the foreground where nobody said."""
    return _URGENCY.get() or Urgency()


@contextmanager
def working_at(priority: Priority) -> Iterator[Urgency]:
    """What is called in the block, and by the tasks it starts, has this priority until it is raised."""
    with working_with(Urgency(priority)) as urgency:
        yield urgency


@contextmanager
def working_with(urgency: Urgency) -> Iterator[Urgency]:
    """What is called in the block, and by the tasks it starts, is as urgent as this says, at any time."""
    token = _URGENCY.set(urgency)
    try:
        yield urgency
    finally:
        _URGENCY.reset(token)


class AdaptiveLimiter:
    """Places for at most `places_max` calls at once; used in the trio thread only."""

    def __init__(self, places_max: int, places_at_first: int | None = None) -> None:
        self.places_max = places_max
        self.places = min(places_max, places_at_first or places_max)
        self.in_flight = 0
        self._queues: dict[Priority, list[tuple[int, _Waiter]]] = {priority: [] for priority in Priority}
        self._arrivals = itertools.count()
        self._was_throttled = False
        self._reduced_at_s = -inf
        self._full_at_s = -inf
        self._successes = 0

    def __repr__(self) -> str:
        return f"<AdaptiveLimiter {self.in_flight} of {self.places} places, {self.places_max} at most>"

    def slot(self, on_taken: Callable[[], None] = lambda: None) -> Slot:
        """A place for one call, taken when its turn comes; goes to `to_thread.run_sync` as its limiter."""
        return Slot(self, on_taken)

    @property
    def reserved(self) -> int:
        """How many of the places only the foreground may take."""
        return min(2, max(1, self.places // _RESERVED_SHARE)) if self.places > 1 else 0

    @property
    def waiting(self) -> int:
        """How many calls wait for their turn."""
        waiters = {waiter for queue in self._queues.values() for _, waiter in queue}
        return sum(not waiter.is_gone for waiter in waiters)

    async def acquire(self) -> None:
        """Wait for a place: first come, first served within a priority."""
        waiter = _Waiter(self, current_urgency(), next(self._arrivals))
        self._queue(waiter)
        self._admit()
        try:
            await waiter.wait()
        except trio.Cancelled:
            self._leave(waiter)
            raise

    def release(self) -> None:
        """Give a place back; whoever is next has it at once."""
        self.in_flight -= 1
        self._admit()

    def note_success(self, started_at_s: float) -> None:
        """A call that began then was answered: if all places were in use meanwhile there may be more.

        One a window, once we were throttled.
        """
        if self.places >= self.places_max or self._full_at_s < started_at_s:
            return
        self._successes += 1
        if not self._was_throttled or self._successes >= self.places:
            self._successes = 0
            self.places += 1
            self._admit()

    def note_throttled(self, started_at_s: float) -> None:
        """A call that began at `started_at_s` was told to slow down: half the places, once a round trip."""
        if started_at_s < self._reduced_at_s:
            return
        self._was_throttled, self._successes = True, 0
        self._reduced_at_s = trio.current_time()
        self.places = max(1, self.places // 2)

    def reorder(self, waiter: _Waiter) -> None:
        """The urgency of a waiter was raised."""
        self._queue(waiter)
        self._admit()

    def _queue(self, waiter: _Waiter) -> None:
        waiter.urgency._waiting.add(waiter)
        heapq.heappush(self._queues[waiter.urgency.priority], (waiter.arrival, waiter))

    def _admit(self) -> None:
        for priority in Priority:
            reserved = 0 if priority is Priority.FOREGROUND else self.reserved
            queue = self._queues[priority]
            while queue and self.in_flight < self.places - reserved:
                waiter = heapq.heappop(queue)[1]
                if not waiter.is_gone and waiter.urgency.priority is priority:
                    self.in_flight += 1
                    waiter.admit()
        if self.in_flight >= self.places - self.reserved:
            self._full_at_s = trio.current_time()

    def _leave(self, waiter: _Waiter) -> None:
        if waiter.is_admitted:
            self.release()
        waiter.go()


class _Waiter:
    """One call that waits for its turn."""

    def __init__(self, limiter: AdaptiveLimiter, urgency: Urgency, arrival: int) -> None:
        self.limiter = limiter
        self.urgency = urgency
        self.arrival = arrival
        self.is_admitted = False
        self.is_gone = False
        self._turn = trio.Event()

    def __lt__(self, other: _Waiter) -> bool:
        return self.arrival < other.arrival

    async def wait(self) -> None:
        await self._turn.wait()

    def admit(self) -> None:
        self.is_admitted = True
        self.go()
        self._turn.set()

    def go(self) -> None:
        self.is_gone = True
        self.urgency._waiting.discard(self)


class Slot:
    """The place of one call, as `trio.to_thread.run_sync` takes and gives it back."""

    def __init__(self, limiter: AdaptiveLimiter, on_taken: Callable[[], None]) -> None:
        self._limiter = limiter
        self.on_taken = on_taken
        self.started_at_s = inf
        self.is_held = False

    async def acquire_on_behalf_of(self, borrower: object) -> None:  # noqa: ARG002
        await self._limiter.acquire()
        self.started_at_s = trio.current_time()
        self.is_held = True
        self.on_taken()

    def release_on_behalf_of(self, borrower: object) -> None:  # noqa: ARG002
        self.give_back()

    def give_back(self) -> None:
        """Let another call have the place, also while the thread of this one hangs on."""
        if self.is_held:
            self.is_held = False
            self._limiter.release()

    def note_success(self) -> None:
        """The call was answered."""
        self._limiter.note_success(self.started_at_s)

    def note_throttled(self) -> None:
        """The call was told to slow down."""
        self._limiter.note_throttled(self.started_at_s)
