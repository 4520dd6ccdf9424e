"""How far ahead of a reader is fetched: pure."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orionfs.cache.windows import AHEAD_MAX_BYTES, FIRST_BYTES, PART_BYTES, RANDOM_BYTES, Window

MIB = 2**20
KIB = 1024


def ahead_of(window: Window, start: int, end: int, step: int) -> list[int]:
    """How far ahead of each read of a run something is fetched."""
    return [window.advance(offset, step) - offset - step for offset in range(start, end, step)]


def test_first_read_of_a_file_asks_for_its_beginning() -> None:
    assert Window().advance(0, 4 * KIB) == FIRST_BYTES


@pytest.mark.parametrize("step", [4 * KIB, 128 * KIB, MIB])
def test_longer_run_is_fetched_further_ahead_up_to_a_limit(step: int) -> None:
    ahead = ahead_of(Window(), 0, 64 * MIB, step)
    assert ahead[0] <= FIRST_BYTES
    assert max(ahead) <= AHEAD_MAX_BYTES
    assert ahead[-1] >= AHEAD_MAX_BYTES - PART_BYTES


def test_little_that_was_read_asks_for_little() -> None:
    window = Window()
    for offset in range(0, 256 * KIB, 32 * KIB):
        assert window.advance(offset, 32 * KIB) == FIRST_BYTES


def test_run_begins_again_anywhere() -> None:
    window = Window()
    assert window.advance(100 * MIB, 4 * KIB) == 100 * MIB + RANDOM_BYTES
    assert ahead_of(window, 100 * MIB + 4 * KIB, 110 * MIB, 128 * KIB)[-1] > 4 * PART_BYTES


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=60, unique=True))
def test_random_reads_ask_for_no_more_than_a_little(places: list[int]) -> None:
    window = Window()
    for place in places:
        offset = (place + 1) * 16 * MIB
        assert window.advance(offset, 4 * KIB) == offset + RANDOM_BYTES


def test_threads_that_read_different_places_by_one_handle_are_runs_each() -> None:
    window = Window()
    starts = [0, 100 * MIB, 200 * MIB, 300 * MIB]
    for read in range(64):
        for start in starts:
            ahead_to = window.advance(start + read * 128 * KIB, 128 * KIB)
            assert start < ahead_to <= start + 8 * MIB + AHEAD_MAX_BYTES
    assert all(
        window.advance(start + 8 * MIB, 128 * KIB) >= start + 8 * MIB + 4 * PART_BYTES for start in starts
    )


@given(st.integers(0, 100 * MIB), st.integers(1, 2 * MIB), st.integers(0, AHEAD_MAX_BYTES))
def test_what_is_read_is_always_asked_for(offset: int, size: int, most: int) -> None:
    window = Window()
    for _ in range(4):
        assert window.advance(offset, size, most) >= offset + size
        offset += size
