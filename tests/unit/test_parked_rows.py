"""Parked items in the journal: read back whole, moved with their folders, forgotten with their item."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from orionfs.durable.journal import Journal, UploadRow, UploadStep
from orionfs.durable.parked_rows import ParkedRow
from orionfs.models import Item, Key, Kind

KEY = Key(Kind.FILE, 7)
ROW = ParkedRow(
    Item(Kind.FILE, 7, "a*b", 3, 99, "File", tags=("x", "y: é\n")), "/f/home", "/f/[shown]", "a*b~"
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    made = Journal(path)
    yield made
    made.close()


def test_parked_item_is_read_back_whole_by_the_next_daemon(journal: Journal, path: Path) -> None:
    no_size = ParkedRow(Item(Kind.FILE, 8, "b", None, 0, "", tags=()), "/f", "/f", "b~")
    journal.parked.put(ROW)
    journal.parked.put(no_size)
    journal.close()
    again = Journal(path)
    assert again.parked.all() == [ROW, no_size]
    assert (again.parked.all()[0].key, again.parked.all()[0].path) == (KEY, "/f/home/a*b")
    again.close()


def test_parked_item_is_shown_under_one_name_only(journal: Journal) -> None:
    journal.parked.put(ROW)
    shown_elsewhere = replace(ROW, shown_name="a.~1~")
    journal.parked.put(shown_elsewhere)
    assert journal.parked.all() == [shown_elsewhere]
    journal.parked.drop(KEY)
    assert journal.parked.all() == []


@pytest.mark.parametrize(
    ("moved", "folders"),
    [
        ("/f", ("/new/home", "/new/[shown]")),
        ("/f/home", ("/new", "/f/[shown]")),
        ("/f/[shown]", ("/f/home", "/new")),
        ("/f/h", ("/f/home", "/f/[shown]")),
        ("/f/[s]hown", ("/f/home", "/f/[shown]")),
        ("/f/home/a*b", ("/f/home", "/f/[shown]")),
    ],
)
def test_both_places_go_along_with_their_folders(journal: Journal, moved, folders) -> None:
    journal.parked.put(ROW)
    journal.move_folder(moved, "/new")
    (found,) = journal.parked.all()
    assert (found.folder, found.shown_folder) == folders


def test_item_that_is_gone_is_not_parked_any_more(journal: Journal) -> None:
    journal.parked.put(ROW)
    journal.set_local(KEY, None)
    assert journal.parked.all() == []


def test_item_that_was_replaced_is_not_parked_any_more(journal: Journal, tmp_path: Path) -> None:
    journal.parked.put(ROW)
    upload = UploadRow("m1", "/f", "a", "staged", 0, 1, replaces=KEY)
    fd = os.open(tmp_path / "staged", os.O_RDWR | os.O_CREAT)
    journal.seal(upload, fd)
    os.close(fd)
    assert journal.parked.all() == [ROW]
    journal.placed(upload, Key(Kind.FILE, 9), None)
    assert journal.parked.all() == []


def test_parked_items_of_a_dead_daemon_are_taken_over(journal: Journal, tmp_path: Path) -> None:
    other = Journal(tmp_path / "other.db")
    other.parked.put(ROW)
    journal.absorb(other)
    other.close()
    assert journal.parked.all() == [ROW]


def test_version_that_stays_here_keeps_its_step_and_may_be_rewritten(
    journal: Journal, tmp_path: Path
) -> None:
    upload = UploadRow("m1", "/f", "a~", "staged", 0, 1, step=UploadStep.LOCAL)
    fd = os.open(tmp_path / "staged", os.O_RDWR | os.O_CREAT)
    journal.seal(upload, fd)
    os.close(fd)
    assert journal.uploads() == [upload]
    named = replace(upload, name="a", step=UploadStep.SEALED, tags=("x",), replaces=KEY)
    journal.rewrite(named)
    assert journal.uploads() == [named]
