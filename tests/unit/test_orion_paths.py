"""Paths of `orion://` as text."""

from __future__ import annotations

import pytest

from orionfs.fs.paths import child_of, is_below, name_of, parent_of, stripped


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("orion://my-data/x.csv", "my-data/x.csv"),
        ("orion://", ""),
        ("/", ""),
        ("orion:///my-data//x/", "my-data/x"),
        ("orion:///project/1/team/x", "/project/1/team/x"),
        ("orion:///organization/x", "/organization/x"),
        ("organization/x", "organization/x"),
        ("my-data/100%2F.txt", "my-data/100%2F.txt"),
        ("orion::my-data", "my-data"),
    ],
)
def test_stripped_path_is_what_is_meant(given, meant) -> None:
    assert stripped(given) == meant
    assert stripped(meant) == meant


def test_parents_lead_to_the_root() -> None:
    assert [parent_of("my-data/a/b"), parent_of("my-data"), parent_of("")] == ["my-data/a", "", ""]
    assert [parent_of("/project/1"), parent_of("/project")] == ["/project", ""]
    assert name_of("my-data/a") == "a"
    assert child_of(parent_of("my-data/a"), "a") == "my-data/a"
    assert child_of("", "my-data") == "my-data"


def test_only_what_lies_in_a_folder_is_below_it() -> None:
    assert is_below("my-data/a", "my-data/a")
    assert is_below("my-data/a/b", "my-data/a")
    assert not is_below("my-data/ab", "my-data/a")
