"""What is remembered of places and of replaced versions: the latest, and not more than there is room for."""

from __future__ import annotations

from orionfs.models import Key, Kind
from orionfs.orion.sightings import Sightings
from orionfs.tables.predecessors import Predecessors


def key(number: int) -> Key:
    return Key(Kind.FILE, number)


def test_last_place_told_counts() -> None:
    sightings = Sightings()
    sightings.note(key(1), "/project/1/team/a")
    sightings.note(key(1), "/project/1/team/b")
    assert sightings.path_of(key(1)) == "/project/1/team/b"


def test_what_tells_no_place_takes_none_away() -> None:
    sightings = Sightings()
    sightings.note(key(1), "/project/1/team/a")
    sightings.note(key(1), None)
    sightings.note(None, "/project/1/team/b")
    assert sightings.path_of(key(1)) == "/project/1/team/a"
    assert sightings.path_of(key(2)) is None


def test_places_that_were_told_first_are_forgotten_first() -> None:
    sightings = Sightings(items_max=2)
    for number in (1, 2, 1, 3):
        sightings.note(key(number), f"/{number}")
    assert [sightings.path_of(key(number)) for number in (1, 2, 3)] == ["/1", None, "/3"]


def test_each_version_knows_the_one_before() -> None:
    predecessors = Predecessors()
    predecessors.note(key(2), key(1))
    predecessors.note(key(3), key(2))
    assert [predecessors.of(key(number)) for number in (1, 2, 3)] == [None, key(1), key(2)]


def test_what_replaces_nothing_has_no_predecessor() -> None:
    predecessors = Predecessors()
    predecessors.note(key(1), key(1))
    predecessors.note(key(2), None)
    predecessors.note(None, key(3))
    assert [predecessors.of(each) for each in (key(1), key(2), key(3), None)] == [None] * 4


def test_versions_replaced_long_ago_are_forgotten() -> None:
    predecessors = Predecessors(items_max=2)
    for number in range(2, 6):
        predecessors.note(key(number), key(number - 1))
    assert [predecessors.of(key(number)) for number in range(2, 6)] == [None, None, key(3), key(4)]
