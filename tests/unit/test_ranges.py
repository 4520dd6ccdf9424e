"""Ranges of bytes, against a plain set of positions."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from orionfs.cache.ranges import RangeSet

END = 24
pairs = st.tuples(st.integers(0, END), st.integers(0, END))
many = st.lists(pairs, max_size=12)


def positions(ranges: list[tuple[int, int]]) -> set[int]:
    return {at for start, end in ranges for at in range(start, end)}


@given(many)
def test_ranges_hold_the_positions_of_the_model_sorted_disjoint_and_merged(added) -> None:
    ranges, model = RangeSet(added), positions(added)
    assert positions(list(ranges)) == model
    bounds = [bound for pair in ranges for bound in pair]
    assert bounds == sorted(set(bounds))
    assert ranges.total == len(model)
    assert bool(ranges) == bool(model)


@given(many, pairs)
def test_covering_and_missing_agree_with_the_model(added, asked) -> None:
    ranges, wanted = RangeSet(added), set(range(*asked))
    assert ranges.covers(*asked) == (wanted <= positions(added))
    gaps = ranges.missing(*asked)
    assert positions(gaps) == wanted - positions(added)
    assert gaps == sorted(gaps)
    assert all(start < end for start, end in gaps)
    assert all(left[1] < right[0] for left, right in itertools.pairwise(gaps))


@given(many)
def test_ranges_made_from_ranges_are_equal(added) -> None:
    ranges = RangeSet(added)
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
        ranges.add(0, 3)
    assert seen == [(0, 1), (2, 3)]
