"""The rows of switch values that the main scenarios run over."""

from __future__ import annotations

from itertools import combinations, product

import pytest

from orionfs.server.switches import parse_switches
from tests.covering import choices, covering_rows


@pytest.mark.parametrize("strength", [2, 3])
def test_all_values_of_so_many_switches_meet_in_some_row(strength) -> None:
    rows = covering_rows(strength)
    for names in combinations(choices(), strength):
        met = {tuple(row[name] for name in names) for row in rows}
        assert met == set(product(*(choices()[name] for name in names))), names


def test_rows_are_few_the_same_in_each_run_and_begin_with_the_habits() -> None:
    rows = covering_rows()
    assert rows == covering_rows()
    assert len(rows) <= 20
    assert parse_switches(rows[0]) == parse_switches({})
