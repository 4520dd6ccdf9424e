"""What of the pending versions starts next, and who may have its name."""

from __future__ import annotations

import random

import pytest

from orionfs.outgoing.order import PLACES, PLACES_OF_SMALL, SMALL_BYTES, Order

ORDINARY = PLACES - PLACES_OF_SMALL
LARGE = SMALL_BYTES


def order_of(*files: tuple[str, str, int]) -> Order:
    """Versions (mark, folder, size in bytes) that were closed in this order and wait."""
    order = Order()
    for mark, folder, size_bytes in files:
        order.enter(mark, folder, size_bytes)
        order.wait(mark)
    return order


def files(prefix: str, folder: str, size_bytes: int, count: int) -> list[tuple[str, str, int]]:
    return [(f"{prefix}{number}", folder, size_bytes) for number in range(count)]


def test_files_start_in_the_order_of_close_until_all_places_are_taken() -> None:
    order = order_of(*files("s", "/a", 1, 20))
    assert list(order.start()) == [f"s{number}" for number in range(PLACES)]
    assert list(order.start()) == []
    order.sent("s3")
    assert list(order.start()) == ["s16"]


def test_large_files_leave_places_for_small_ones_of_other_folders() -> None:
    order = order_of(*files("l", "/a", LARGE, 20), ("same", "/a", 1), *files("s", "/b", 1, 6))
    started = list(order.start())
    assert started == [f"l{number}" for number in range(ORDINARY)] + ["s0", "s1", "s2", "s3"]
    order.sent("s0")
    assert list(order.start()) == ["s4"]


def test_small_file_never_overtakes_an_older_one_of_its_folder() -> None:
    order = order_of(
        *files("l", "/a", LARGE, ORDINARY), ("late", "/b", LARGE), ("done", "/b", 1), ("c", "/c", 1)
    )
    assert list(order.start())[ORDINARY:] == ["c"]
    order.sent("l0")
    order.leave("l0")
    assert list(order.start()) == []  # the small one still has a place that is not an ordinary one
    order.leave("c")
    assert list(order.start()) == ["late"]


def test_name_comes_when_all_before_it_in_the_folder_have_their_bytes() -> None:
    order = order_of(("result", "/a", LARGE), ("DONE", "/a", 1), ("other", "/b", 1))
    assert list(order.start()) == ["result", "DONE", "other"]
    order.sent("DONE")
    order.sent("other")
    assert not order.has_turn("DONE")
    assert order.has_turn("other")
    assert order.before("DONE") == ["result"]
    assert list(order.first("/a")) == []
    order.sent("result")
    assert order.has_turn("DONE")
    assert list(order.first("/a")) == ["result", "DONE"]
    order.leave("result")
    assert list(order.first("/a")) == ["DONE"]


def test_failed_version_frees_its_place_and_keeps_those_behind_it_waiting() -> None:
    order = order_of(("result", "/a", 1), ("DONE", "/a", 1))
    list(order.start())
    order.sent("DONE")
    order.rest("result")
    assert not order.has_turn("DONE")
    order.wait("result")
    assert list(order.start()) == ["result"]
    order.leave("result")  # not wanted any more
    assert order.has_turn("DONE")


def test_moved_version_keeps_its_turn_in_the_other_folder() -> None:
    order = order_of(("first", "/a", 1), ("second", "/b", 1), ("third", "/a", 1))
    list(order.start())
    for mark in ("first", "second", "third"):
        order.sent(mark)
    order.move("second", "/a")
    assert list(order.first("/a")) == ["first", "second", "third"]
    assert list(order.first("/b")) == []
    order.rest("second")
    assert order.before("third") == ["first", "second"]
    assert not order.has_turn("third")


def test_folder_whose_names_wait_for_one_file_does_not_go_on_for_ever() -> None:
    order = order_of(("large", "/a", LARGE), *files("s", "/a", 1, 1000))
    started = 0
    while marks := [mark for mark in order.start() if mark != "large"]:
        started += len(marks)
        for mark in marks:
            order.sent(mark)
    assert 200 < started < 300
    order.enter("elsewhere", "/b", 1)
    order.wait("elsewhere")
    assert list(order.start()) == ["elsewhere"]


def test_version_that_is_not_there_is_in_nobody_s_way() -> None:
    order = Order()
    for call in (order.leave, order.rest, order.sent):
        call("unknown")
    order.move("unknown", "/a")
    assert order.has_turn("unknown")
    assert order.before("unknown") == []
    assert len(order) == 0


_NEEDS = {"send": "started", "fail": "started", "fall back": "sent", "retry": "resting"}
_BECOMES = {"send": "sent", "fail": "resting", "fall back": "resting", "retry": "waiting"}


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_names_come_in_order_and_places_are_kept(seed) -> None:
    dice = random.Random(seed)
    order = Order()
    named: dict[str, list[int]] = {}
    stages: dict[str, str] = {}
    calls = {"send": order.sent, "fail": order.rest, "fall back": order.rest, "retry": order.wait}
    for number in range(1500):
        action = dice.choice(
            ["close", "send", "send", "send", "name", "retry", "fail", "fall back", "cancel"]
        )
        fit = [mark for mark, stage in stages.items() if stage == _NEEDS.get(action, stage)]
        mark = dice.choice(fit) if fit else None
        if action == "close":
            mark = f"m{number}"
            order.enter(mark, f"/{dice.randrange(3)}", dice.choice([1, LARGE]))
            order.wait(mark)
            stages[mark] = "waiting"
        elif action in calls and mark is not None:
            calls[action](mark)
            stages[mark] = _BECOMES[action]
        elif action == "cancel" and mark is not None and dice.random() < 0.1:
            order.leave(mark)
            del stages[mark]
        elif action == "name":
            for folder in ("/0", "/1", "/2"):
                for ready in list(order.first(folder)):
                    named.setdefault(folder, []).append(int(ready[1:]))
                    order.leave(ready)
                    assert stages.pop(ready) == "sent"
        for started in order.start():
            assert stages[started] == "waiting"
            stages[started] = "started"
        assert sum(stage == "started" for stage in stages.values()) <= PLACES
        assert len(order) == len(stages)
    assert sum(map(len, named.values())) > 2
    assert all(numbers == sorted(numbers) for numbers in named.values())
