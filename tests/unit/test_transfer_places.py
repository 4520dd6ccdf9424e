"""What people mean by a place on Orion, and what an item made of a local path is called."""

from __future__ import annotations

from pathlib import Path

import pytest

from orionfs.errors import ExitStatus, StartupError
from orionfs.models import Account, Key, Kind
from orionfs.transfers.places import OrionPath, read_place
from orionfs.transfers.putting import mark_for, name_for

ACCOUNT = Account("stack", "me", 1, 7, "Project")


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("/project/7/team/results/", "/project/7/team/results"),
        ("/organization", "/organization"),
        ("my-data", "/project/7/user/me"),
        ("my-data/a b/c", "/project/7/user/me/a b/c"),
        ("team-data/x", "/project/7/team/x"),
        ("organization/x", "/organization/x"),
    ],
)
def test_path_is_that_of_the_account(text, path) -> None:
    place = read_place(text)
    assert isinstance(place, OrionPath)
    assert place.of(ACCOUNT) == path


def test_reference_is_an_item() -> None:
    assert read_place(f"dataset://{2**60}") == Key(Kind.DATASET, 2**60)


@pytest.mark.parametrize(
    "text",
    ["", "/", "x", "./my-data", "my-data/../x", "/project/7/../8", "/project//x", "/etc/passwd",
     "shard://1", "file://x", "file://1/", "my-data/a\0b", "folder://1"],
)  # fmt: skip
def test_anything_else_is_refused_with_examples(text) -> None:
    with pytest.raises(StartupError, match="my-data/results") as raised:
        read_place(text)
    assert raised.value.exit_status is ExitStatus.USAGE


@pytest.mark.parametrize(
    ("source", "kind", "name"),
    [
        ("x/hits.sdf", Kind.DATASET, "hits.sdf"),
        ("hits.oedb", Kind.DATASET, "hits"),
        ("hits.oedb", Kind.FILE, "hits.oedb"),
        (".oedb", Kind.DATASET, ".oedb"),
        ("run/", Kind.COLLECTION, "run"),
    ],
)
def test_item_is_called_as_its_source(source, kind, name) -> None:
    assert name_for(Path(source), kind) == name


def test_folder_that_is_only_dots_is_called_as_it_is(tmp_path, monkeypatch) -> None:
    (tmp_path / "run" / "sub").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "run" / "sub")
    assert name_for(Path(), Kind.COLLECTION) == "sub"
    assert name_for(Path(".."), Kind.COLLECTION) == "run"


def test_mark_is_that_of_the_same_item_and_of_no_other() -> None:
    mark = mark_for(Kind.FILE, "/project/7/team/x")
    assert mark == mark_for(Kind.FILE, "/project/7/team/x")
    assert mark.startswith(".orionfs-")
    assert mark != mark_for(Kind.DATASET, "/project/7/team/x")
    assert mark != mark_for(Kind.FILE, "/project/7/team/y")
