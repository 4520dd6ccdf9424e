"""Whose turn is next, how many at once, and what a stack that says "slow down" changes; in virtual time."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio

from orionfs.orion.limiter import AdaptiveLimiter, Priority, Urgency, current_urgency, working_at
from tests.component.world import settle

pytestmark = pytest.mark.virtual_time

ROUND_TRIP_S = 1.0


class Work:
    """Calls through one limiter, a round trip each; `order` holds their names as they began."""

    def __init__(self, limiter: AdaptiveLimiter, nursery: trio.Nursery) -> None:
        self.limiter = limiter
        self.order: list[str] = []
        self.in_flight_max = 0
        self.is_throttled: Callable[[], bool] = lambda: False
        self._nursery = nursery

    async def start(
        self, name: str, priority: Priority = Priority.FOREGROUND, scope: trio.CancelScope | None = None
    ) -> None:
        self._nursery.start_soon(self._one, name, priority, scope or trio.CancelScope())
        await settle()

    async def _one(self, name: str, priority: Priority, scope: trio.CancelScope) -> None:
        with scope, working_at(priority):
            await self.call(name)

    async def call(self, name: str) -> None:
        slot = self.limiter.slot()
        await slot.acquire_on_behalf_of(self)
        try:
            self.order.append(name)
            self.in_flight_max = max(self.in_flight_max, self.limiter.in_flight)
            await trio.sleep(ROUND_TRIP_S)
        finally:
            slot.release_on_behalf_of(self)
        if self.is_throttled():
            slot.note_throttled()
        else:
            slot.note_success()


async def test_first_come_first_served_within_a_priority_and_the_foreground_before_all() -> None:
    async with trio.open_nursery() as nursery:
        work = Work(AdaptiveLimiter(1), nursery)
        await work.start("first")
        for number in range(2):
            for priority in reversed(Priority):
                await work.start(f"{priority.name}-{number}", priority)
    names = [f"{priority.name}-{number}" for priority in Priority for number in range(2)]
    assert work.order == ["first", *names]


async def test_lower_priorities_never_take_the_last_places() -> None:
    async with trio.open_nursery() as nursery:
        limiter = AdaptiveLimiter(16)
        work = Work(limiter, nursery)
        for number in range(40):
            await work.start(f"ahead-{number}", Priority.PREFETCH)
        assert limiter.in_flight == 14
        for number in range(3):
            await work.start(f"stat-{number}")
        assert work.order[14:] == ["stat-0", "stat-1"]
        assert limiter.in_flight == 16
    assert work.order[14:17] == ["stat-0", "stat-1", "stat-2"]
    assert limiter.in_flight == 0


@pytest.mark.parametrize(("places", "for_all"), [(1, 1), (2, 1), (3, 2), (8, 7), (16, 14), (64, 62)])
async def test_one_or_two_places_are_the_foregrounds_alone_but_the_only_one_is_not(places, for_all) -> None:
    async with trio.open_nursery() as nursery:
        work = Work(AdaptiveLimiter(places), nursery)
        for number in range(70):
            await work.start(str(number), Priority.BACKGROUND)
    assert work.in_flight_max == for_all
    assert len(work.order) == 70


async def test_raised_urgency_puts_what_waits_in_its_place_among_the_others() -> None:
    async with trio.open_nursery() as nursery:
        work = Work(AdaptiveLimiter(4), nursery)
        urgency = Urgency(Priority.FOREGROUND)

        async def joined() -> None:
            nonlocal urgency
            with working_at(Priority.PREFETCH) as urgency:
                await work.call("joined")

        for number in range(4):
            await work.start(f"stat-{number}")
        await work.start("ahead", Priority.PREFETCH)
        nursery.start_soon(joined)
        await settle()
        await work.start("late")
        urgency.raise_to(Priority.FOREGROUND)
        urgency.raise_to(Priority.BACKGROUND)  # never back
        assert urgency.priority is Priority.FOREGROUND
    # Each once, and as early as it came.
    assert work.order[4:] == ["joined", "late", "ahead"]


async def test_raised_urgency_takes_a_reserved_place_at_once() -> None:
    async with trio.open_nursery() as nursery:
        work = Work(AdaptiveLimiter(4), nursery)
        with working_at(Priority.PREFETCH) as urgency:
            for number in range(4):
                nursery.start_soon(work.call, str(number))
        await settle()
        assert len(work.order) == 3
        urgency.raise_to(Priority.FOREGROUND)
        await settle()
        assert len(work.order) == 4
        assert trio.current_time() < ROUND_TRIP_S


async def test_places_grow_while_they_are_all_used_and_no_further_than_allowed() -> None:
    async with trio.open_nursery() as nursery:
        limiter = AdaptiveLimiter(16, 8)
        work = Work(limiter, nursery)
        for number in range(100):
            await work.start(str(number))
        assert limiter.in_flight == 8
    assert work.in_flight_max == 16
    assert trio.current_time() == pytest.approx(1 + 99 // 16, abs=1)


async def test_calls_one_by_one_change_nothing() -> None:
    async with trio.open_nursery() as nursery:
        limiter = AdaptiveLimiter(16, 8)
        work = Work(limiter, nursery)
        for number in range(50):
            await work.call(str(number))
    assert limiter.places == 8


async def test_throttled_calls_halve_the_places_once_a_round_trip_and_down_to_one() -> None:
    async with trio.open_nursery() as nursery:
        limiter = AdaptiveLimiter(16)
        work = Work(limiter, nursery)
        work.is_throttled = lambda: True
        for number in range(64):
            await work.start(str(number))
        places = []
        for round_trip in range(1, 6):
            await trio.sleep(round_trip * ROUND_TRIP_S + 0.5 - trio.current_time())
            places.append(limiter.places)
        assert places == [8, 4, 2, 1, 1]


async def test_after_throttling_places_come_back_one_a_window() -> None:
    async with trio.open_nursery() as nursery:
        limiter = AdaptiveLimiter(16)
        work = Work(limiter, nursery)
        limiter.note_throttled(started_at_s=0.0)
        assert limiter.places == 8
        for number in range(500):
            nursery.start_soon(work.call, str(number))
        for window in range(1, 9):
            await trio.sleep(window * ROUND_TRIP_S + 0.5 - trio.current_time())
            assert limiter.places == 8 + window
        await trio.sleep(10)
        assert limiter.places == 16
        nursery.cancel_scope.cancel()


async def test_cancelled_calls_leave_no_place_behind() -> None:
    async with trio.open_nursery() as nursery:
        limiter = AdaptiveLimiter(2)
        work = Work(limiter, nursery)
        scopes = [trio.CancelScope() for _ in range(6)]
        for number, scope in enumerate(scopes):
            await work.start(str(number), scope=scope)
        scopes[0].cancel()  # under way
        scopes[2].cancel()  # its turn comes in the same moment
        scopes[4].cancel()  # waits
        await settle()
        assert work.order == ["0", "1", "3"]
    assert work.order == ["0", "1", "3", "5"]
    assert limiter.in_flight == 0


async def test_urgency_is_the_foregrounds_unless_somebody_says_otherwise() -> None:
    assert current_urgency().priority is Priority.FOREGROUND
    with working_at(Priority.BACKGROUND) as outer:
        with working_at(Priority.PREFETCH) as inner:
            assert current_urgency() is inner
        assert current_urgency() is outer
    assert current_urgency().priority is Priority.FOREGROUND
