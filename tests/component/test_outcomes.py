"""Several items at a time: each is tried, and what becomes of it is told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

import pytest
import trio
import trio.testing

from orionfs.errors import NoSuchName
from orionfs.orion.failures import failure_of
from orionfs.transfers.outcomes import Outcome, Status, Work, all_or_first_error, do_all

T = TypeVar("T")


class Heard:
    """What a listener was told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.under_way = self.most = 0

    def begins(self, source: str) -> None:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        self.told.append(f"+{source}")

    def goes_on(self, source: str, done: int, total: int) -> None:
        self.told.append(f"{source} {done}/{total}")

    def ends(self, outcome: Outcome) -> None:
        self.under_way -= 1
        self.told.append(f"-{outcome.source}")


def works(*failing: int) -> list[Work]:
    async def do(number: int) -> Outcome:
        await trio.sleep(10 - number)
        if number in failing:
            raise NoSuchName(f"{number} is not there") if number % 2 else OSError(13, "closed", f"/{number}")
        return Outcome(str(number), "there", Status.DONE)

    return [Work(str(number), "there", partial(do, number)) for number in range(6)]


def run(what: Callable[[], Awaitable[T]]) -> T:
    """In virtual time."""

    async def main() -> T:
        return await what()

    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def test_so_many_at_a_time_and_outcomes_in_the_order_of_the_items() -> None:
    heard = Heard()
    outcomes = run(lambda: do_all(works(), 3, heard))
    assert [outcome.source for outcome in outcomes] == list("012345")
    assert heard.most == 3
    assert heard.told[:3] == ["+0", "+1", "+2"]


def test_one_that_fails_keeps_no_other_from_being_tried() -> None:
    outcomes = run(lambda: do_all(works(1, 2), 2, Heard()))
    assert [outcome.status for outcome in outcomes].count(Status.DONE) == 4
    assert outcomes[1].words == "1 is not there"
    assert outcomes[2].words == "/2: closed"


def test_first_error_of_the_parts_ends_the_others_and_is_raised_as_itself() -> None:
    done: list[int] = []

    async def do(number: int) -> None:
        await trio.sleep(number)
        if number == 2:
            raise NoSuchName("two")
        done.append(number)

    with pytest.raises(NoSuchName, match="two"):
        run(lambda: all_or_first_error([partial(do, number) for number in range(100)]))
    assert done == [0, 1]


def test_words_are_for_people_who_know_which_item_it_was() -> None:
    async def do() -> Outcome:
        raise failure_of("upload", (".orionfs-put-1", "/tmp/x"), {"status": 422, "detail": "no: not that"})

    (outcome,) = run(lambda: do_all([Work("x", "there", do)], 1, Heard()))
    assert outcome.words == "no: not that"
