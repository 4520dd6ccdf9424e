"""`orionfs share` and `unshare`: who is meant, what is set, what is said when it can't be."""

from __future__ import annotations

import errno

import pytest
from click.testing import CliRunner, Result

from orionfs.cli.main import cli
from orionfs.errors import ExitStatus
from tests.cli.fake_attributes import FakeMount, fake_mount

__all__ = ["fake_mount"]


def run(*words: str) -> Result:
    return CliRunner().invoke(cli, words)


@pytest.fixture
def mount(fake_mount: FakeMount) -> FakeMount:
    """Two items that nobody else has."""
    fake_mount.add("a")
    fake_mount.add("b")
    return fake_mount


def shares(mount: FakeMount, name: str) -> dict[str, str]:
    found = mount.items[name].items()
    return {key.removeprefix("share."): value for key, value in found if key.startswith("share.")}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["user:alice"], {"user.alice": "read"}),
        (["user:alice:"], {"user.alice": "read"}),
        (["user:alice:read,write"], {"user.alice": "read,write"}),
        (["user:alice:write,share,write"], {"user.alice": "write,share"}),
        (["project:12", "user:bob:delete"], {"project.12": "read", "user.bob": "delete"}),
        (["user:org:alice:read"], {"user.org:alice": "read"}),
        (["user:Ada L. <ada@example.org>:read"], {"user.Ada L. <ada@example.org>": "read"}),
    ],
)
def test_partner_and_permissions_are_set(mount, words, expected) -> None:
    result = run("share", "a", *words, "b")
    assert (result.exit_code, result.output) == (0, "")
    assert shares(mount, "a") == shares(mount, "b") == expected


def test_unshare_takes_back_what_was_shared(mount) -> None:
    run("share", "a", "user:alice:read,write", "project:12")
    assert run("unshare", "a", "user:alice").exit_code == 0
    assert shares(mount, "a") == {"project.12": "read"}


def test_unshare_of_a_stranger_is_told(mount) -> None:
    run("share", "a", "user:alice")
    result = run("unshare", "a", "b", "user:alice", "project:12")
    assert result.exit_code == ExitStatus.FAILED
    assert result.stderr.splitlines() == [
        "orionfs: a: as far as is known here it is not shared with project 12",
        "orionfs: b: as far as is known here it is not shared with user alice, project 12",
    ]
    assert shares(mount, "a") == {}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["share", "a"], "with whom?"),
        (["share", "user:alice"], "which path?"),
        (["share", "a", "user:"], "user: names nobody"),
        (["share", "a", "user::read"], "names nobody"),
        (["share", "a", "user:alice:raed"], "'raed' is no permission; there are read, write, delete, share"),
        (["unshare", "a"], "with whom?"),
    ],
)
def test_words_that_make_no_sense_change_nothing(mount, words, said) -> None:
    result = run(*words)
    assert (result.exit_code, mount.calls) == (ExitStatus.USAGE, [])
    assert said in result.stderr


def test_unknown_user_is_told_with_the_candidates_that_the_mount_names(mount) -> None:
    mount.refusals["setxattr", "a"] = (errno.EINVAL, "no user 'alic'; there are alice, alicia")
    result = run("share", "a", "b", "user:alic")
    assert result.exit_code == ExitStatus.FAILED
    assert result.stderr == "orionfs: a: no user 'alic'; there are alice, alicia\n"
    assert shares(mount, "b") == {"user.alic": "read"}


def test_path_that_looks_like_a_partner_can_be_written_otherwise(mount) -> None:
    mount.add("user:x")
    assert run("share", "./user:x", "user:alice").exit_code == 0
    assert shares(mount, "user:x") == {"user.alice": "read"}
