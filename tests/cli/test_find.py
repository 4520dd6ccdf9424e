"""`orionfs find`: what is asked, which of the answers are below PATH, how they are printed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from orionfs.cli import find, refresh
from orionfs.cli.main import cli
from orionfs.errors import ExitStatus, StartupError
from orionfs.mountinfo import MountEntry, parse_mountinfo

MOUNTINFO = """\
20 1 0:19 / / rw - ext4 /dev/sda rw
30 20 0:50 / {base}/orion rw,relatime - fuse.orionfs orion:Demo@host rw,user_id=0,group_id=0
"""
ROWS = [
    ["/my-data/a b.csv", "file", 1],
    ["/my-data/sub/set.oedb", "dataset", 2],
    ["/team-data/a", "file", 3],
    ["/team-data/sub\n2", "collection", 4],
]


class Daemon:
    """Answers a find in two pieces."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.error: StartupError | None = None

    def asked(self, _entry: MountEntry, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        self.requests.append(request)
        if self.error is not None:
            raise self.error
        yield {"rows": ROWS[:1]}
        yield {"rows": ROWS[1:]}
        yield {"done": True, "elsewhere": 0}


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Daemon:
    """A mount in the current directory, whose daemon is a fake."""
    daemon = Daemon()
    mounted = parse_mountinfo(MOUNTINFO.format(base=tmp_path))
    monkeypatch.setattr(refresh, "read_mountinfo", lambda: mounted)
    monkeypatch.setattr(find, "asked", daemon.asked)
    for folder in ("my-data/sub", "team-data"):
        (tmp_path / "orion" / folder).mkdir(parents=True)
    (tmp_path / "link").symlink_to("orion/my-data")
    monkeypatch.chdir(tmp_path)
    return daemon


def run(*words: str) -> Result:
    return CliRunner().invoke(cli, ["find", *words])


@pytest.mark.parametrize(
    ("paths", "shown"),
    [
        (
            ["orion"],
            [
                "orion/my-data/a b.csv",
                "orion/my-data/sub/set.oedb",
                "orion/team-data/a",
                "orion/team-data/sub\n2",
            ],
        ),
        (["orion/my-data"], ["orion/my-data/a b.csv", "orion/my-data/sub/set.oedb"]),
        (["orion/my-data/"], ["orion/my-data/a b.csv", "orion/my-data/sub/set.oedb"]),
        (["link"], ["link/a b.csv", "link/sub/set.oedb"]),
        (["./orion/my-data/sub/../sub"], ["./orion/my-data/sub/../sub/set.oedb"]),
        (
            ["orion/team-data", "orion/my-data/sub"],
            ["orion/team-data/a", "orion/team-data/sub\n2", "orion/my-data/sub/set.oedb"],
        ),
    ],
)
def test_paths_begin_as_the_user_named_the_start(daemon, paths, shown) -> None:
    result = run(*paths, "--tag", "lead")
    assert (result.exit_code, result.stdout) == (0, "".join(f"{path}\n" for path in shown))
    assert len(daemon.requests) == 1


def test_without_a_path_what_is_below_the_current_directory_is_found(daemon, tmp_path, monkeypatch) -> None:
    assert run("--tag", "x").stdout.startswith(f"{tmp_path}/orion/my-data/a b.csv\n")  # the only mount
    monkeypatch.chdir(tmp_path / "orion" / "my-data")
    assert run("--tag", "x").stdout == "./a b.csv\n./sub/set.oedb\n"


def test_tags_jobs_and_types_are_asked_for(daemon) -> None:
    run("orion", "--tag", "lead", "--tag", "a/b", "--job", "4711", "--type", "file", "--type", "dataset")
    assert daemon.requests == [
        {"command": "find", "tags": ["lead", "a/b", "Job 4711"], "kinds": ["file", "dataset"]}
    ]


def test_paths_for_xargs_end_with_a_nul(daemon) -> None:
    assert run("orion/team-data", "--tag", "x", "-0").stdout_bytes == (
        b"orion/team-data/a\0orion/team-data/sub\n2\0"
    )


def test_scripts_get_type_and_reference_as_well(daemon) -> None:
    rows = [json.loads(line) for line in run("orion/my-data/sub", "--tag", "x", "--json").stdout.splitlines()]
    assert rows == [{"path": "orion/my-data/sub/set.oedb", "type": "dataset", "id": 2, "uri": "dataset://2"}]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["orion"], "what is looked for?"),
        (["orion", "--tag", "x", "-0", "--json"], "one of them"),
        (["orion", "--job", "abc"], "not a valid integer"),
        (["orion", "--tag", "x", "--type", "shard"], "'shard' is not one of"),
    ],
)
def test_words_that_make_no_sense_ask_nothing(daemon, words, said) -> None:
    result = run(*words)
    assert (result.exit_code, daemon.requests) == (ExitStatus.USAGE, [])
    assert said in result.stderr


def test_start_that_is_not_there_or_in_no_mount_is_told(daemon) -> None:
    assert run("orion/none", "--tag", "x").exit_code == ExitStatus.FAILED
    assert run("/tmp", "--tag", "x").exit_code == ExitStatus.MOUNT_POINT
    assert daemon.requests == []


def test_orion_that_can_not_be_reached_has_its_status(daemon) -> None:
    daemon.error = StartupError("no answer", ExitStatus.UNREACHABLE)
    result = run("orion", "--tag", "x")
    assert (result.exit_code, result.stderr) == (ExitStatus.UNREACHABLE, "orionfs: no answer\n")
