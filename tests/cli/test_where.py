"""`orionfs where`: which mounts are asked, which answer counts, what is said when none shows it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from orionfs.cli import where
from orionfs.cli.main import cli
from orionfs.errors import ExitStatus, StartupError
from orionfs.mountinfo import MountEntry

Seen = dict[str, str]


class Mounts:
    """Several mounts, each of which shows something: places by what is asked for."""

    def __init__(self) -> None:
        self.trees: dict[str, Seen] = {}
        self.views: dict[str, Seen] = {}
        self.asked_points: list[str] = []
        self.request_bytes_max = 0

    def add(self, point: str, tree: Seen, views: Seen | None = None) -> None:
        self.trees[point], self.views[point] = tree, views or {}

    def entries(self) -> list[MountEntry]:
        return [
            MountEntry("0:1", Path(point), frozenset(), "fuse.orionfs", "orion", frozenset())
            for point in self.trees
        ]

    def asked(self, entry: MountEntry, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        point = str(entry.mountpoint)
        self.asked_points.append(point)
        self.request_bytes_max = max(self.request_bytes_max, len(json.dumps(request)))
        if point == "/dead":
            raise StartupError("the daemon of /dead does not answer", ExitStatus.FAILED)
        items = [f"{kind}://{id}" for kind, id in request["items"]]
        yield {
            "done": True,
            "paths": [self.trees[point].get(path) for path in request["paths"]],
            "items": [self.trees[point].get(item) for item in items],
            "views": [self.views[point].get(item) for item in items],
        }


@pytest.fixture
def mounts(monkeypatch: pytest.MonkeyPatch) -> Mounts:
    mounts = Mounts()
    monkeypatch.setattr(where, "mounts_here", mounts.entries)
    monkeypatch.setattr(where, "asked", mounts.asked)
    return mounts


def run(*words: str) -> Result:
    return CliRunner().invoke(cli, ["where", *words])


def test_first_mount_that_shows_it_in_its_tree_is_told(mounts) -> None:
    mounts.add("/a", {"/project/1/team": "/team-data"}, {"file://3": "/.orion/by-id/file/3"})
    mounts.add("/b", {"file://3": "/my-data/x", "/project/1/team": "/"})
    mounts.add("/c", {"file://3": "/other/x"})
    result = run("file://3", "/project/1/team")
    assert (result.exit_code, result.stdout) == (0, "/b/my-data/x\n/a/team-data\n")
    assert mounts.asked_points == ["/a", "/b"]


def test_all_places_are_told_if_asked_for(mounts) -> None:
    mounts.add("/a", {"/project/1/team": "/team-data"})
    mounts.add("/b", {"/project/1/team": "/"})
    assert run("--all", "/project/1/team").stdout == "/a/team-data\n/b\n"


def test_what_is_in_no_tree_is_told_by_its_id(mounts) -> None:
    mounts.add("/a", {}, {"dataset://3": "/.orion/by-id/dataset/3"})
    assert run("dataset://3").stdout == "/a/.orion/by-id/dataset/3\n"


def test_what_is_shown_nowhere_is_one_line_and_the_others_are_told(mounts) -> None:
    mounts.add("/dead", {})
    mounts.add("/a", {"file://1": "/x"})
    result = run("file://1", "file://2", "/project/\x1b")
    assert (result.exit_code, result.stdout) == (ExitStatus.FAILED, "/a/x\n")
    assert result.stderr.splitlines() == [
        "orionfs: file://2 is shown by no mount; the daemon of /dead does not answer",
        "orionfs: /project/\\x1b is shown by no mount; the daemon of /dead does not answer",
    ]


def test_scripts_get_a_row_for_each(mounts) -> None:
    mounts.add("/a", {"file://1": "/x"})
    result = run("--json", "file://1", "file://2")
    assert [json.loads(line) for line in result.stdout.splitlines()] == [
        {"what": "file://1", "paths": ["/a/x"]},
        {"what": "file://2", "paths": []},
    ]
    assert (result.exit_code, result.stderr) == (ExitStatus.FAILED, "")


def test_more_than_one_request_holds_are_asked_for_one_after_the_other(mounts) -> None:
    paths = [f"/project/1/team/{'x' * 3000}{number}" for number in range(40)]
    mounts.add("/a", {path: f"/{number}" for number, path in enumerate(paths)})
    assert run(*paths).stdout.splitlines() == [f"/a/{number}" for number in range(40)]
    assert 2 < len(mounts.asked_points) < 10
    assert mounts.request_bytes_max < 64 * 1024


def test_nothing_mounted_has_its_status(mounts) -> None:
    assert run("file://1").exit_code == ExitStatus.MOUNT_POINT


@pytest.mark.parametrize("words", ["my-data/x", "file://", "file://x", "shard://3", "https://host/x", "3"])
def test_what_is_neither_path_nor_reference_is_wrong_usage(mounts, words) -> None:
    mounts.add("/a", {})
    result = run(words)
    assert (result.exit_code, mounts.asked_points) == (ExitStatus.USAGE, [])
    assert words in result.stderr
