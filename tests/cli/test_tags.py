"""`orionfs tag` and `tags`: which words mean what, what is changed, what is said when it can't be."""

from __future__ import annotations

import errno
import json
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner, Result

from orionfs.cli.main import cli
from orionfs.errors import ExitStatus
from tests.cli.fake_attributes import FakeMount, fake_mount, told

__all__ = ["fake_mount"]


def run(*words: str) -> Result:
    return CliRunner().invoke(cli, words)


@pytest.fixture
def mount(fake_mount: FakeMount) -> FakeMount:
    """Two items, one of them tagged."""
    fake_mount.add("a", tags="old\nkeep")
    fake_mount.add("b")
    return fake_mount


@pytest.mark.parametrize(
    ("words", "tags"),
    [
        (["a", "+lead"], ["keep", "lead", "old"]),
        (["a", "+lead", "-old"], ["keep", "lead"]),
        (["-old", "a", "+Job 4711"], ["Job 4711", "keep"]),
        (["a", "-hits", "-h2", "-keep"], ["old"]),  # neither is the option -h
        (["a", "++", "+-x"], ["+", "-x", "keep", "old"]),
        (["a", "--", "+--odd", "-keep"], ["--odd", "old"]),
        (["a", "+naïve, 🙂"], ["keep", "naïve, 🙂", "old"]),
        (["a", "-none"], ["keep", "old"]),
    ],
)
def test_signs_say_what_is_added_and_removed(mount, words, tags) -> None:
    result = run("tag", *words)
    assert (result.exit_code, result.output) == (0, "")
    assert sorted(mount.tags("a")) == tags


def test_each_change_is_one_call_and_nothing_is_asked_before(mount) -> None:
    run("tag", "a", "b", "+lead", "+x", "-old")
    assert sorted(mount.calls) == sorted(
        [
            f"{call} {name} tag.{tag}"
            for name in "ab"
            for call, tag in (("setxattr", "lead"), ("setxattr", "x"))
        ]
        + [f"removexattr {name} tag.old" for name in "ab"]
    )


def test_minus_behind_two_minuses_can_be_removed(mount) -> None:
    run("tag", "a", "--", "+--odd")
    assert run("tag", "a", "--", "---odd").exit_code == 0
    assert sorted(mount.tags("a")) == ["keep", "old"]


def test_tag_that_no_attribute_name_can_hold_goes_with_all_the_others(mount) -> None:
    long = "x" * 241
    assert run("tag", "a", f"+{long}", "-old").exit_code == 0
    assert sorted(mount.tags("a")) == ["keep", long]
    assert run("tag", "a", f"-{long}").exit_code == 0
    assert mount.tags("a") == ["keep"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["a"], "which tag?"),
        (["+x"], "which path?"),
        (["a", "+"], "a sign needs a tag"),
        (["a", "-"], "a sign needs a tag"),
        (["a", "+x", "-x"], "x can't be added and removed at once"),
        (["a", "--json"], "No such option"),
        ([], "Missing argument"),
    ],
)
def test_words_that_make_no_sense_change_nothing(mount, words, said) -> None:
    result = run("tag", *words)
    assert (result.exit_code, mount.calls) == (ExitStatus.USAGE, [])
    assert said in result.stderr


def test_path_that_fails_is_one_line_and_the_others_go_on(mount) -> None:
    mount.refusals["setxattr", "b"] = (errno.EACCES, "your account may not tag this")
    result = run("tag", "gone", "b", "a", "/elsewhere", "+lead")
    assert result.exit_code == ExitStatus.MOUNT_POINT
    assert result.stderr.splitlines() == [
        "orionfs: gone does not exist",
        "orionfs: b: your account may not tag this",
        "orionfs: /elsewhere is not in a mount of orionfs",
    ]
    assert "lead" in mount.tags("a")


def test_failures_alone_are_status_1(mount) -> None:
    assert run("tag", "gone", "+lead").exit_code == ExitStatus.FAILED


@pytest.mark.parametrize("kind", ["shard", "folder", "file"])
def test_what_can_not_be_tagged_is_told_by_its_kind(mount, kind) -> None:
    mount.items["b"]["type"] = kind
    mount.refusals["setxattr", "b"] = (errno.ENOTSUP, "")
    said = run("tag", "b", "+lead").stderr
    assert said.startswith("orionfs: b: it ")
    assert kind == "file" or f"a {kind}" in said


def test_error_of_an_earlier_call_is_not_told_as_this_ones(mount) -> None:
    old = datetime(2026, 1, 1, tzinfo=UTC)
    mount.items["b"]["error"] = told("setxattr", errno.EACCES, "long ago", old)
    mount.refusals["setxattr", "b"] = (errno.EACCES, "")
    assert run("tag", "b", "+lead").stderr == "orionfs: b: Orion does not allow you that\n"
    mount.items["b"]["error"] = told("flush", errno.EACCES, "of another call")
    assert run("tag", "b", "+lead").stderr == "orionfs: b: Orion does not allow you that\n"


def test_names_can_not_steer_the_terminal(mount) -> None:
    mount.add("c", tags="\x1b[2J")
    assert run("tags", "c").output == "\\x1b[2J\n"
    assert "\x1b" not in run("tag", "\x1b[2J", "+x").stderr


def test_tags_are_shown_one_a_line_with_the_path_if_there_are_several(mount) -> None:
    assert run("tags", "a").output == "old\nkeep\n"
    assert run("tags", "b").output == ""
    assert run("tags", "a", "b", "a").output == "a: old\na: keep\na: old\na: keep\n"


def test_tags_with_newlines_and_backslashes_are_shown_as_they_are_kept(mount) -> None:
    mount.add("c", tags="two\\nlines\na\\\\b")
    (row,) = map(json.loads, run("tags", "--json", "c").output.splitlines())
    assert row == {"path": "c", "tags": ["two\nlines", "a\\b"], "error": None}


def test_scripts_get_a_row_for_what_failed_as_well(mount) -> None:
    result = run("tags", "--json", "a", "gone", "b")
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["path"] for row in rows] == ["a", "gone", "b"]
    assert [row["tags"] for row in rows] == [["old", "keep"], None, []]
    assert [row["error"] for row in rows] == [None, "does not exist", None]
    assert (result.exit_code, result.stderr) == (ExitStatus.FAILED, "")


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("folder", "it is a folder that can't be tagged"),
        ("shard", "it is a shard, and Orion keeps no tags of shards: tag its collection"),
    ],
)
def test_what_has_no_tags_is_told_instead_of_none(mount, kind, said) -> None:
    del mount.items["b"]["tags"]
    mount.items["b"]["type"] = kind
    result = run("tags", "b")
    assert (result.exit_code, result.stderr) == (ExitStatus.FAILED, f"orionfs: b: {said}\n")
