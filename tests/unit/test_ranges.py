"""Ranges of bytes, against a plain set of positions."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from orionfs.ranges import RangeSet

END = 24
pairs = st.tuples(st.integers(0, END), st.integers(0, END))
steps = st.lists(st.tuples(st.booleans(), pairs), max_size=12)


def apply(changes: list[tuple[bool, tuple[int, int]]]) -> tuple[RangeSet, set[int]]:
    ranges, model = RangeSet(), set[int]()
    for is_added, (start, end) in changes:
        if is_added:
            ranges.add(start, end)
            model |= set(range(start, end))
        else:
            ranges.remove(start, end)
            model -= set(range(start, end))
    return ranges, model


@given(steps)
def test_ranges_hold_the_positions_of_the_model_sorted_disjoint_and_merged(changes) -> None:
    ranges, model = apply(changes)
    assert {at for start, end in ranges for at in range(start, end)} == model
    bounds = [bound for pair in ranges for bound in pair]
    assert bounds == sorted(set(bounds))
    assert ranges.total == len(model)
    assert bool(ranges) == bool(model)


@given(steps, pairs)
def test_covering_and_missing_agree_with_the_model(changes, asked) -> None:
    ranges, model = apply(changes)
    wanted = set(range(*asked))
    assert ranges.covers(*asked) == (wanted <= model)
    gaps = ranges.missing(*asked)
    assert {at for start, end in gaps for at in range(start, end)} == wanted - model
    assert gaps == sorted(gaps)
    assert all(start < end for start, end in gaps)
    assert all(left[1] < right[0] for left, right in zip(gaps, gaps[1:], strict=False))


@given(steps)
def test_ranges_made_from_ranges_are_equal(changes) -> None:
    ranges, _ = apply(changes)
    again = RangeSet(ranges)
    assert list(again) == list(ranges)
    assert repr(again) == repr(ranges)


def test_neighbours_become_one_range() -> None:
    assert list(RangeSet([(0, 4), (8, 12), (4, 8)])) == [(0, 12)]


def test_iterating_goes_on_over_what_was_there_at_its_start() -> None:
    ranges = RangeSet([(0, 1), (2, 3)])
    seen = []
    for pair in ranges:
        seen.append(pair)
        ranges.remove(0, 3)
    assert seen == [(0, 1), (2, 3)]
