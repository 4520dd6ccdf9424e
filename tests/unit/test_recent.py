"""What an answer about tags is corrected by: own changes that a replica may not know, and no others."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from orionfs.models import Item, Key, Kind
from orionfs.orion.recent import RecentChanges

KEY = Key(Kind.FILE, 5)


@dataclass
class Clock:
    now_s: float = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def recent(clock) -> RecentChanges:
    """Where replicas lag by ten seconds at most, and two tags were just changed."""
    made = RecentChanges(clock)
    made.read_lag_s = 10.0
    made.tagged(KEY, ["set"], ["gone"])
    return made


@pytest.mark.parametrize("asked_at_s", [90.0, 100.0, 110.0])
def test_answer_that_may_not_know_of_own_changes_gets_them(recent, asked_at_s) -> None:
    assert recent.true_tags(KEY, ("gone", "theirs"), asked_at_s) == ("set", "theirs")
    assert recent.true_tags(KEY, ("set",), asked_at_s) == ("set",)


def test_later_answer_knows_better(recent) -> None:
    assert recent.true_tags(KEY, ("gone", "theirs"), 110.1) == ("gone", "theirs")


def test_other_items_are_as_they_were_told(recent) -> None:
    items = [Item(Kind.FILE, 6, "x", tags=("gone",)), Item(Kind.DATASET, 5, "x", tags=("gone",))]
    assert recent.with_true_tags(items, 100.0) == items
    assert recent.true_tags(None, ("b", "a"), 100.0) == ("a", "b")


def test_tags_that_an_answer_does_not_tell_stay_untold(recent) -> None:
    (item,) = recent.with_true_tags([Item(Kind.FILE, 5, "x")], 100.0)
    assert item.tags is None
    (item,) = recent.with_true_tags([Item(Kind.FILE, 5, "x", tags=())], 100.0)
    assert item.tags == ("set",)


def test_of_two_changes_of_a_tag_the_last_counts(recent, clock) -> None:
    clock.now_s = 105.0
    recent.tagged(KEY, ["gone"], ["set"])
    assert recent.true_tags(KEY, ("set",), 112.0) == ("gone",)


def test_changes_are_forgotten_once_no_answer_can_lack_them(recent, clock) -> None:
    clock.now_s = 1000.0
    recent.tagged(Key(Kind.FILE, 9), ["x"])
    assert recent.true_tags(KEY, ("gone",), 100.0) == ("gone",)
