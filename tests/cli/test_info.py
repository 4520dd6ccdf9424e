"""`orionfs info`: what is read of an item, and how it is shown to people and scripts."""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner, Result

from orionfs.cli import info
from orionfs.cli.main import cli
from orionfs.errors import ExitStatus
from tests.cli.fake_attributes import FakeMount, fake_mount
from tests.docs import readme

__all__ = ["fake_mount"]

SHARES = [
    {"with": "user", "id": 3, "name": "alice", "permissions": ["read", "write"], "told_by": "this mount"},
    {"with": "project", "id": 12, "name": "", "permissions": ["read"], "told_by": "orion"},
]
FILE = {
    "name": "a",
    "id": "135",
    "uri": "file://135",
    "path": "/project/1/team/a",
    "owner": "7",
    "project": "1",
    "created": "2026-11-23T10:55:00.000000Z",
    "state": "ready",
    "audience": "team",
    "tags": "Job 4711\nlead",
    "shares": json.dumps(SHARES),
    "sync": "clean",
}


@pytest.fixture
def mount(fake_mount: FakeMount, monkeypatch: pytest.MonkeyPatch) -> FakeMount:
    """A file with all that a file may have."""
    monkeypatch.setattr(info, "asked", asked)
    fake_mount.add("a", **FILE)
    os.utime(fake_mount.point / "a", (0, 1_764_000_000))
    return fake_mount


def asked(_entry: object, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    assert request["command"] == "previous"
    yield {"done": True, "previous": ["file://99" if path == "/a" else None for path in request["paths"]]}


def run(*words: str) -> Result:
    return CliRunner().invoke(cli, ["info", *words])


def test_people_see_a_table(mount) -> None:
    result = run("a")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "path                a",
        "name                a",
        "type                file",
        "id                  135",
        "reference           file://135",
        "previous reference  file://99",
        "path on Orion       /project/1/team/a",
        "size in bytes       5",
        "modified            2025-11-24T16:00:00Z",
        "created             2026-11-23T10:55:00.000000Z",
        "owner               7",
        "project             1",
        "state               ready",
        "tags                Job 4711",
        "                    lead",
        "read by             team",
        "shared with         user alice: read, write (as this mount knows)",
        "                    project 12: read",
        "upload              clean",
    ]


def test_scripts_get_every_value_by_its_name(mount) -> None:
    (row,) = map(json.loads, run("--json", "a").stdout.splitlines())
    assert row == {
        "path": "a",
        "name": "a",
        "type": "file",
        "id": 135,
        "uri": "file://135",
        "previous_uri": "file://99",
        "orion_path": "/project/1/team/a",
        "size": 5,
        "modified": "2025-11-24T16:00:00Z",
        "created": "2026-11-23T10:55:00.000000Z",
        "owner": 7,
        "project": 1,
        "state": "ready",
        "count": None,
        "tags": ["Job 4711", "lead"],
        "audience": "team",
        "shares": SHARES,
        "metadata": None,
        "sync": "clean",
        "error": None,
    }


def test_names_for_scripts_are_those_of_the_readme(mount) -> None:
    (row,) = map(json.loads, run("--json", "a").stdout.splitlines())
    listed = readme.text().partition("scripts get it by these names")[2].partition("\n\n")[0]
    assert list(row) == re.findall(r"`(\w+)`", listed)


def test_reading_makes_no_link(mount) -> None:
    run("a")
    assert not [call for call in mount.calls if "link" in call]


def test_reference_alone_is_for_parameters_of_jobs(mount) -> None:
    mount.add("b", uri="file://7", sync="clean")
    assert run("--uri", "a", "b").stdout == "file://135\nfile://7\n"
    assert not [call for call in mount.calls if "tags" in call]


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ({"type": "folder"}, "it is a folder, and has no reference"),
        ({"sync": "dirty"}, "what was written last is not on Orion yet (dirty): orionfs sync waits for it"),
        (
            {"uri": "file://1", "sync": "failed: quota"},
            "what was written last is not on Orion yet (failed: quota): orionfs sync waits for it",
        ),
        ({"sync": "local-only"}, "it stays on this machine because of its name, so it has no reference"),
    ],
)
def test_reference_that_there_is_not_or_not_yet_is_told(mount, attributes, said) -> None:
    mount.add("b", **attributes)
    result = run("--uri", "b", "a")
    assert (result.exit_code, result.stdout) == (ExitStatus.FAILED, "file://135\n")
    assert result.stderr == f"orionfs: b: {said}\n"


def test_metadata_and_errors_are_shown_line_by_line(mount) -> None:
    mount.add("b", type="collection", metadata='{"size_bytes": 5}', error="time: now\nmessage: \x1b[2J")
    lines = run("b").stdout.splitlines()
    assert "metadata       {" in lines
    assert '                 "size_bytes": 5' in lines
    assert "last error     time: now" in lines
    assert "               message: \\x1b[2J" in lines


def test_size_that_nobody_knows_is_not_told(mount) -> None:
    mount.add("b", type="dataset", count="100")
    (mount.point / "b").write_bytes(b"x")
    (row,) = map(json.loads, run("--json", "b").stdout.splitlines())
    assert (row["size"], row["count"]) == (None, 100)


def test_tables_of_several_paths_are_apart_and_one_that_fails_is_a_line(mount) -> None:
    mount.add("b")
    result = run("a", "gone", "b")
    assert result.exit_code == ExitStatus.FAILED
    assert result.stderr == "orionfs: gone does not exist\n"
    assert [table.split()[:2] for table in result.stdout.split("\n\n")] == [["path", "a"], ["path", "b"]]


def test_scripts_get_a_row_for_what_failed_as_well(mount) -> None:
    mount.refusals["getxattr", "a"] = (errno.ETIMEDOUT, "")
    result = run("--json", "a", "gone")
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert rows == [
        {"path": "a", "error": "Orion can't be reached"},
        {"path": "gone", "error": "does not exist"},
    ]
    assert (result.exit_code, result.stderr) == (ExitStatus.FAILED, "")
