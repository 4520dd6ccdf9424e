"""Rows of switch values in which every pair of values meets (or every three), for the main scenarios.

The rows are the same in every run: a row that fails has a number that stays. `wire` is not among them:
it renames everything and changes nothing, and has tests of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from itertools import combinations, product

from allpairspy import AllPairs

from orionfs.server.switches import Switches

_NOT_COVERED = frozenset({"wire"})
_NUMBERS = {"page_max": ("1000", "7"), "read_lag_s": ("0.0", "1.5")}

Row = dict[str, str]


def choices() -> Mapping[str, Sequence[str]]:
    """Switch -> values, of every switch that is covered."""
    words = {e.name: e.metadata["choices"] for e in fields(Switches) if "choices" in e.metadata}
    return {**{name: values for name, values in words.items() if name not in _NOT_COVERED}, **_NUMBERS}


def covering_rows(strength: int = 2) -> list[Row]:
    """Rows in which all values of any so many switches meet."""
    names, values = list(choices()), list(choices().values())
    rows = [tuple(row) for row in AllPairs(values, n=strength)]
    # For more than two the library leaves some out; a row for each of them takes others along.
    missing = dict.fromkeys(_meetings(values, strength) - _met(rows, strength))
    while missing:
        row = _row_of(values, list(missing))
        rows.append(row)
        for met in _met([row], strength):
            missing.pop(met, None)
    return [dict(zip(names, row, strict=True)) for row in rows]


Meeting = tuple[tuple[int, ...], tuple[str, ...]]  # columns, and their values


def _meetings(values: Sequence[Sequence[str]], strength: int) -> set[Meeting]:
    columns = combinations(range(len(values)), strength)
    return {(at, meeting) for at in columns for meeting in product(*(values[column] for column in at))}


def _met(rows: Sequence[tuple[str, ...]], strength: int) -> set[Meeting]:
    columns = list(combinations(range(len(rows[0])), strength))
    return {(at, tuple(row[column] for column in at)) for row in rows for at in columns}


def _row_of(values: Sequence[Sequence[str]], missing: list[Meeting]) -> tuple[str, ...]:
    """A row of as many of the missing meetings as go together, the first of them among them."""
    chosen: dict[int, str] = {}
    for columns, meeting in sorted(missing):
        wanted = dict(zip(columns, meeting, strict=True))
        if all(chosen.get(column, value) == value for column, value in wanted.items()):
            chosen.update(wanted)
    return tuple(chosen.get(column, options[0]) for column, options in enumerate(values))
