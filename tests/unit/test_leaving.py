"""Which parts of a file that is being written may leave."""

from __future__ import annotations

import random
from math import inf

from orionfs.outgoing.leaving import Leaving

PART = 10


def leaving(*written: tuple[int, int]) -> Leaving:
    made = Leaving()
    made.part_bytes = PART
    for start, end in written:
        made.note_written(start, end)
    return made


def fly(made: Leaving) -> list[int]:
    """All parts that may leave now, on their way."""
    numbers = []
    while (number := made.next_full()) is not None:
        made.flying.add(number)
        numbers.append(number)
    return numbers


def test_full_parts_before_the_front_leave_but_the_first() -> None:
    made = leaving((0, 29))
    assert fly(made) == [2]
    made.note_written(29, 50)
    assert fly(made) == [3, 4, 5]
    made.flying.clear()
    made.sent |= {2, 3, 4, 5}
    assert made.unsent_bytes == 10
    assert [made.next_of(50), made.next_of(51)] == [1, 1]
    made.sent.add(1)
    assert [made.next_of(50), made.next_of(51), made.length_of(6, 51)] == [None, 6, 1]


def test_gap_holds_back_what_is_behind_it() -> None:
    made = leaving((0, 20), (30, 60))
    assert fly(made) == [2]
    made.note_written(20, 30)
    assert (made.front, fly(made)) == (60, [3, 4, 5, 6])


def test_what_has_left_is_known_by_its_bytes() -> None:
    made = leaving((0, 45))
    assert not made.has_left(0, inf)
    assert fly(made) == [2, 3, 4]
    cases = {(0, 10): False, (9, 11): True, (39, 45): True, (40, 45): False}
    assert {case: made.has_left(*case) for case in cases} == cases
    assert [made.has_left(size, inf) for size in (0, 39, 40, 45)] == [True, True, False, False]


def test_nothing_has_left_while_nobody_knows_how_long_parts_are() -> None:
    made = Leaving()
    made.note_written(0, 100)
    assert not made.has_left(0, inf)


def test_cut_takes_the_end_away() -> None:
    made = leaving((0, 45), (50, 60), (70, 80))
    made.cut(55)
    made.note_written(45, 50)
    assert made.front == 55
    made.cut(20)
    assert made.front == 20


def test_many_pieces_apart_are_random_writes() -> None:
    made = leaving(*((start, start + 1) for start in range(2, 2 * 66, 2)))
    assert not made.has_gaps, "its writer only goes forward"
    made.note_written(4, 5)
    assert made.has_gaps
    assert not leaving((0, 10), (20, 30)).has_gaps


def test_holes_of_a_writer_that_only_goes_forward_hold_nothing_back_for_ever() -> None:
    made = leaving((0, 15), (25, 45), (50, 60))
    made.take_holes(60)
    assert (made.front, fly(made)) == (15, [])
    made.take_holes(59)
    assert (made.front, fly(made)) == (60, [2, 3, 4, 5, 6])
    assert made.has_left(45, 50)
    made.note_written(70, 80)
    made.flying.clear()
    made.sent |= {2, 3, 4, 5, 6}
    made.take_holes(30)
    assert made.front == 60, "what has left is not unsent"

    many = leaving(*((start, start + 1) for start in range(0, 2 * 66, 2)))
    many.take_holes(10**9)
    assert many.front == 2 * 65 + 1


def test_gap_of_a_writer_that_comes_back_is_waited_for() -> None:
    made = leaving((0, 15), (45, 60), (25, 45))
    made.take_holes(0)
    assert made.front == 15
    made.note_written(15, 25)
    assert made.front == 60


def test_front_and_parts_are_those_of_a_plain_model() -> None:
    dice = random.Random(1)
    for _ in range(200):
        made, written, gone = leaving(), set[int](), set[int]()
        for _ in range(40):
            start = dice.randrange(120)
            end = start + dice.randrange(1, 25)
            parts = {at // PART + 1 for at in range(start, end)}
            assert made.has_left(start, end) is bool(parts & gone)
            if dice.random() < 0.1:
                size = max([*(number * PART for number in gone), dice.randrange(120)])
                made.cut(size)
                written = {at for at in written if at < size}
                continue
            made.note_written(start, end)
            written |= set(range(start, end))
            front = next(at for at in range(200) if at not in written)
            assert made.front == front
            gone |= set(fly(made))
            assert gone == set(range(2, front // PART + 1))
