"""Remembered addresses of contents."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from orionfs.client.addresses import Addresses


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def never() -> str:
    raise AssertionError("asked although it is known")


def test_address_is_remembered_until_shortly_before_it_expires() -> None:
    clock = Clock()
    known = Addresses(clock)
    known.get(1, lambda: "http://b/1?expires=1100", "expires")
    clock.now = 1094
    assert known.get(1, never, "expires") == "http://b/1?expires=1100"
    clock.now = 1096
    assert known.get(1, lambda: "http://b/2?expires=1200", "expires") == "http://b/2?expires=1200"


@pytest.mark.parametrize("url", ["http://b/1", "http://b/1?expires=soon", "http://b/1?expires="])
def test_address_without_a_time_is_remembered_for_a_minute(url: str) -> None:
    clock = Clock()
    known = Addresses(clock)
    known.get(1, lambda: url, "expires")
    clock.now += 59
    assert known.get(1, never, "expires") == url
    clock.now += 2
    assert known.get(1, lambda: "new", "expires") == "new"


def test_least_recently_used_address_goes_first() -> None:
    known = Addresses(Clock(), limit=2)
    known.get(1, lambda: "http://b/1?expires=9999", "expires")
    known.get(2, lambda: "http://b/2?expires=9999", "expires")
    known.get(1, never, "expires")
    known.get(3, lambda: "http://b/3?expires=9999", "expires")
    assert len(known) == 2
    known.get(1, never, "expires")
    with pytest.raises(AssertionError):
        known.get(2, never, "expires")


def test_forgetting_leaves_a_newer_address_alone() -> None:
    known = Addresses(Clock())
    new = known.get(1, lambda: "http://b/new?expires=9999", "expires")
    known.forget(1, "http://b/old?expires=9999")
    assert known.get(1, never, "expires") == new
    known.forget(1, new)
    assert len(known) == 0


def test_threads_that_need_the_same_address_share_one_question() -> None:
    known = Addresses(Clock())
    asked: list[int] = []
    may_answer = threading.Event()

    def ask() -> str:
        asked.append(1)
        may_answer.wait(10)
        return "http://b/1?expires=9999"

    with ThreadPoolExecutor(8) as pool:
        found = [pool.submit(known.get, 1, ask, "expires") for _ in range(8)]
        may_answer.set()
        assert {each.result() for each in found} == {"http://b/1?expires=9999"}
    assert len(asked) == 1


def test_failure_to_ask_reaches_everybody_and_is_not_remembered() -> None:
    known = Addresses(Clock())

    def fail() -> str:
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        known.get(1, fail, "expires")
    assert known.get(1, lambda: "yes", "expires") == "yes"
