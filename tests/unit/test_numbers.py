"""The table of numbers, against a dict."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from orionfs.tables.numbers import NumberTable

# Few and close together, so that they get into each other's way; and as large as they get.
numbers = st.integers(0, 40) | st.sampled_from([2**63 - 1, 2**63 - 17, 2**62])


@given(st.lists(st.tuples(st.booleans(), numbers)))
def test_table_holds_what_a_dict_would_hold(steps) -> None:
    table, expected = NumberTable[str](), dict[int, str]()
    for at, (is_put, number) in enumerate(steps):
        if is_put:
            table.put(number, str(at))
            expected[number] = str(at)
        else:
            table.remove(number)
            expected.pop(number, None)
        assert table.get(number) == expected.get(number)
    assert {number: table.get(number) for number in expected} == expected
    assert len(table) == len(expected)
    assert sorted(table) == sorted(expected.values())
    assert all((number in table) == (number in expected) for number in range(50))


def test_table_grows_and_shrinks_with_what_it_holds() -> None:
    table = NumberTable[int]()
    spread = [number * 2**44 % (2**63 - 25) for number in range(1, 5000)]
    for number in spread:
        table.put(number, number)
    assert all(table.get(number) == number for number in spread)
    for number in spread[:-3]:
        table.remove(number)
    assert len(table) == 3
    assert all(table.get(number) == number for number in spread[-3:])
