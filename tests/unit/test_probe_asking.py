"""How the probe asks: what it repeats, what it waits for, what it notes on the way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from orionfs.bridge import CallFailed
from orionfs.errors import Conflict, InvalidCall, RemoteFailure, TimedOut, Unreachable
from orionfs.probe.asking import Desk, Pace


class Time:
    """A clock that goes on when somebody sleeps."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, pause_s: float) -> None:
        self.now_s += pause_s


class Scripted:
    """A session whose calls answer what a function says, and are counted."""

    ranged = False

    def __init__(self, answer: Callable[..., Any]) -> None:
        self._answer = answer
        self.calls: list[tuple[Any, ...]] = []

    def __getattr__(self, verb: str) -> Any:
        def call(*args: Any) -> Any:
            self.calls.append((verb, *args))
            return self._answer(verb, *args)

        return call


def failing(*failures: tuple[int | None, str] | None) -> Scripted:
    """A session that fails so, one call after the other, and then goes on as the last time."""
    left = list(failures)

    def answer(*_: Any) -> Any:
        failure = left.pop(0) if len(left) > 1 else left[0]
        if failure is not None:
            status, error = failure
            raise CallFailed({"error": error, "status": status, "detail": "no"})
        return {"results": []}

    return Scripted(answer)


def desk_of(calls: Any, **pace: Any) -> Desk:
    time = Time()
    return Desk(calls, Pace(sleep=time.sleep, clock=time, **pace))


CONFLICT = (409, "BadResponse")


def test_conflict_that_goes_away_is_noted_as_busy() -> None:
    calls = failing(CONFLICT, None)
    desk = desk_of(calls)
    desk.change("create_paths", ["/a"])
    assert (desk.busy, desk.changes, len(calls.calls)) == (1, 1, 2)


def test_conflict_that_stays_is_an_answer_and_not_busy() -> None:
    calls = failing(CONFLICT)
    desk = desk_of(calls, busy_pauses_s=(0.3, 1.0))
    with pytest.raises(Conflict):
        desk.change("create_paths", ["/a"])
    assert (desk.busy, desk.changes, len(calls.calls)) == (0, 0, 3)
    assert desk.now() == pytest.approx(1.3)


@pytest.mark.parametrize("failure", [(429, "RateLimitedResponse"), (503, "OrionServiceError")])
def test_change_that_certainly_did_nothing_is_sent_again(failure) -> None:
    calls = failing(failure, None)
    desk_of(calls).change("create_paths", ["/a"])
    assert len(calls.calls) == 2


@pytest.mark.parametrize("failure", [(500, "OrionServiceError"), (None, "OrionTimeout")])
def test_change_whose_end_is_not_known_is_not_sent_again(failure) -> None:
    calls = failing(failure)
    with pytest.raises((RemoteFailure, TimedOut)):
        desk_of(calls).change("create_paths", ["/a"])
    assert len(calls.calls) == 1


def test_reading_is_repeated_a_few_times() -> None:
    calls = failing((502, "OrionServiceError"), (502, "OrionServiceError"), None)
    assert desk_of(calls).ls("/a").rows == ()
    assert len(calls.calls) == 3


def test_answer_that_can_not_be_read_is_not_asked_for_again() -> None:
    calls = failing((200, "BadResponse"))
    with pytest.raises(RemoteFailure):
        desk_of(calls).ls("/a")
    assert len(calls.calls) == 1


def test_host_that_is_not_there_is_given_up_soon() -> None:
    calls = failing((None, "OrionConnectionError"))
    desk = desk_of(calls)
    with pytest.raises(Unreachable):
        desk.ask("whoami")
    assert len(calls.calls) == 3
    assert desk.now() < 1


def test_what_comes_late_is_waited_for_and_the_lag_is_known() -> None:
    desk = desk_of(failing(None))
    desk.change("create_paths", ["/a"])
    assert desk.look(lambda: desk.now() >= 0.5)
    assert desk.lag_s == pytest.approx(0.5)
    assert desk.look(lambda: True)
    assert desk.lag_s == pytest.approx(0.5)


def test_absence_is_believed_after_a_second_or_twice_the_lag() -> None:
    desk = desk_of(failing(None), absence_s=1.0)
    assert not desk.look(lambda: False)
    assert 1.0 < desk.now() < 1.2
    desk.lag_s = 3.0
    before = desk.now()
    assert not desk.look(lambda: False)
    assert 6.0 < desk.now() - before < 6.2


@pytest.mark.parametrize(("most", "asked"), [(5_000, 2_000), (1_000, 1_000), (500, 100)])
def test_stack_that_refuses_large_pages_is_asked_for_less_from_then_on(most, asked) -> None:
    def answer(_verb: str, _path: str, query: dict[str, int]) -> Any:
        if query["limit"] > most:
            raise CallFailed({"error": "ValidationError", "status": 400, "detail": "too many"})
        return {"results": [], "count": 0}

    calls = Scripted(answer)
    desk = desk_of(calls)
    desk.ls_most("/a")
    desk.ls_most("/a", 7)
    assert desk.rows_asked == asked
    assert calls.calls[-1] == ("ls_path", "/a", {"limit": asked, "offset": 7})


def test_refusal_that_is_not_for_the_number_of_rows_changes_nothing() -> None:
    desk = desk_of(failing((422, "ValidationError")))
    with pytest.raises(InvalidCall):
        desk.ls_most("/a/file")
    assert desk.rows_asked == 2_000


def test_small_folder_is_read_to_its_end_whatever_the_envelope_tells() -> None:
    rows = [{"resource_type": "file", "id": number, "name": f"f{number}"} for number in range(5)]

    def answer(_verb: str, _path: str, query: dict[str, int] | None) -> Any:
        start = (query or {}).get("offset", 0)
        return {"contents": rows[start : start + 2]}

    pages = desk_of(Scripted(answer)).ls_whole("/a")
    assert [row for page in pages for row in page.rows] == rows


def test_stack_that_ignores_the_offset_is_not_asked_for_ever() -> None:
    rows = [{"resource_type": "file", "id": 1, "name": "f"}]
    calls = Scripted(lambda *_: {"results": rows, "count": 3})
    assert len(desk_of(calls).ls_whole("/a")) == 1
    assert len(calls.calls) == 2
