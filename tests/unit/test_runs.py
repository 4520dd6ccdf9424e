"""Which files come next for somebody who reads a folder file by file: pure decisions."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from functools import partial

import pytest

from orionfs.vfs.runs import LEAD_AT_FIRST, LEAD_MAX, File, Run, Visit, recognise


def run_of(names: list[str], before: str, opened: str, numbers: dict[str, int] | None = None) -> Run | None:
    files = [File(name, (numbers or {}).get(name, 0)) for name in sorted(names)]
    found = {file.name: file for file in files}
    return recognise(lambda: from_one_on(files, found[before]), len(files), found[before], found[opened])


def from_one_on(files: list[File], first: File) -> list[File]:
    start = files.index(first)
    return files[start:] + files[:start]


def rest(run: Run | None) -> list[str]:
    """The files that would be asked for, to the end."""
    assert run is not None
    names: list[str] = []
    while True:
        run.lead = 10**6
        name = run.next()
        if name is None:
            return names
        names.append(name)
        run.add()


NAMED = [f"f{number:02}" for number in range(10)]


def test_neighbours_in_the_listing_are_a_run_of_those_that_follow() -> None:
    assert rest(run_of(NAMED, "f03", "f04")) == NAMED[5:]


@pytest.mark.parametrize(("before", "opened"), [("f04", "f03"), ("f03", "f05"), ("f09", "f00")])
def test_other_pairs_are_none(before, opened) -> None:
    assert run_of(NAMED, before, opened) is None


def test_last_two_files_have_nothing_after_them() -> None:
    assert rest(run_of(NAMED, "f08", "f09")) == []


def test_files_of_one_suffix_are_read_among_others() -> None:
    names = [f"pose{number}.{suffix}" for number in range(5) for suffix in ("log", "pdb", "sdf")]
    assert rest(run_of(names, "pose0.sdf", "pose1.sdf")) == ["pose2.sdf", "pose3.sdf", "pose4.sdf"]
    assert run_of(names, "pose0.sdf", "pose1.pdb") is None


def test_names_as_people_sort_them() -> None:
    names = ["B.txt", "a.txt", "C.txt", "d.txt", "e_1.txt", "E-2.txt"]
    assert rest(run_of(names, "a.txt", "B.txt")) == ["C.txt", "d.txt", "e_1.txt", "E-2.txt"]


def test_names_with_numbers_as_seq_counts_them() -> None:
    names = [f"part-{number}" for number in range(1, 21)]
    assert rest(run_of(names, "part-2", "part-3")) == [f"part-{number}" for number in range(4, 21)]


def test_order_of_the_inode_numbers() -> None:
    numbers = {name: 7 * at % 10 + 1 for at, name in enumerate(NAMED)}
    by_number = sorted(NAMED, key=numbers.__getitem__)
    assert rest(run_of(NAMED, by_number[1], by_number[2], numbers)) == by_number[3:]


def test_files_whose_numbers_nobody_knows_are_in_no_order_of_numbers() -> None:
    assert run_of(NAMED, "f03", "f07") is None


def test_random_reader_of_a_large_folder_is_none_and_looks_at_few_files() -> None:
    names = [f"f{number:05}" for number in range(2_000)]
    dice = random.Random(1)
    all_files = [File(name, int(name[1:]) * 7919 % 10_007) for name in names]
    seen = 0

    def files(first: File) -> Iterator[File]:
        nonlocal seen
        for file in from_one_on(all_files, first):
            seen += 1
            yield file

    for before, opened in itertools.pairwise(dice.sample(all_files, 100)):
        assert recognise(partial(files, before), len(names), before, opened) is None
    assert seen < 99 * 100


def test_huge_folder_is_read_in_the_order_of_its_listing_alone() -> None:
    names = [f"F{number}" if number % 2 else f"f{number}" for number in range(30_000)]
    ordered = sorted(names)
    assert rest(run_of(names, ordered[7], ordered[8])) == ordered[9:]
    assert run_of(names, "f2", "F3") is None


# -- how far ahead


def ahead(run: Run) -> list[str]:
    """Ask for all that may be asked for."""
    names = []
    while (name := run.next()) is not None:
        names.append(name)
        run.add()
    return names


def test_few_are_asked_for_first_and_twice_as_many_with_each_that_was_foreseen() -> None:
    names = [f"{number:03}" for number in range(300)]
    run = Run(names)
    asked = [len(ahead(run))]
    for name in names[:7]:
        assert run.visit(name) == (Visit.AHEAD, [])
        ahead(run)
        asked.append(run.ahead_count)
    assert asked == [LEAD_AT_FIRST, 4, 8, 16, 32, LEAD_MAX, LEAD_MAX, LEAD_MAX]


def test_reader_that_goes_elsewhere_is_not_followed() -> None:
    run = Run(NAMED)
    ahead(run)
    assert run.visit("other")[0] is Visit.ELSEWHERE


def test_reader_that_was_seen_elsewhere_gets_more_when_it_goes_on() -> None:
    run = Run(NAMED)
    ahead(run)
    run.hold_back()
    run.lead = 10
    assert run.next() is None
    run.visit(NAMED[0])
    assert run.next() == NAMED[LEAD_AT_FIRST]


def test_several_readers_of_one_folder_open_its_files_out_of_order() -> None:
    names = [f"{number:03}" for number in range(100)]
    run = Run(names)
    dice = random.Random(3)
    for start in range(0, 100, 4):
        for name in dice.sample(names[start : start + 4], 4):
            assert run.visit(name)[0] is not Visit.ELSEWHERE
            ahead(run)
    assert run.ahead_count == 0


def test_what_is_passed_by_is_in_vain_and_slows_it_down() -> None:
    names = [f"{number:03}" for number in range(300)]
    run = Run(names)
    for name in names[:5]:
        ahead(run)
        run.visit(name)
    assert run.lead == LEAD_MAX
    ahead(run)
    passed = []
    for name in names[9:200:10]:
        passed += run.visit(name)[1]
        ahead(run)
    assert len(passed) > 10
    assert run.ahead_count <= 16 + 2 * LEAD_AT_FIRST


def test_leap_is_followed_and_makes_nothing_grow() -> None:
    run = Run([f"{number:03}" for number in range(300)])
    assert run.visit("003") == (Visit.BY_LEAP, [])
    assert (run.lead, run.next()) == (LEAD_AT_FIRST, "004")


def test_file_that_is_not_to_be_asked_for_is_passed_over() -> None:
    run = Run(NAMED)
    run.skip()
    assert ahead(run) == NAMED[1:3]
    assert run.visit(NAMED[0])[0] is Visit.BY_LEAP
    assert run.visit(NAMED[1])[0] is Visit.AHEAD
