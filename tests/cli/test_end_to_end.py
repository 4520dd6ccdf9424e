"""The commands with nothing faked: what a stranger types first, and what goes wrong first."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from pathlib import Path

import pytest

from orionfs import config, profiles
from tests.cli.processes import daemons_of, wait_for

pytestmark = pytest.mark.needs_fuse


@pytest.fixture
def demo(orionfs, point):
    done = orionfs("demo", point)
    assert done.returncode == 0, done.stderr
    yield done
    orionfs("umount", point)


def secret() -> bytes:
    token = profiles.load_profile("demo").token
    assert token is not None
    return token.value.encode()


@pytest.mark.started
def test_commands_that_the_demo_prints_work_as_printed(orionfs, demo, point, is_mounted, tmp_path) -> None:
    script = tmp_path / "try.sh"
    commands = [line for line in demo.stdout.splitlines() if line.startswith("  ")]
    program = shlex.join(orionfs.command())
    script.write_text("set -e\n" + "\n".join([f'orionfs() {{ {program} "$@"; }}', *commands]))
    # Its words are for people: dates and columns are as they are everywhere.
    done = subprocess.run(
        ["bash", script], env=orionfs.environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert 'user.orion.tags="lead"' in done.stdout
    before, after = done.stdout.split("user.orion.tags")
    assert "note.txt" in after.split("team-data:")[1]
    assert "README.txt" in before
    assert not is_mounted()


def test_what_was_saved_is_there_at_the_next_demo(orionfs, demo, point) -> None:
    (point / "my-data" / "kept.txt").write_text("kept")
    assert orionfs("umount", point).returncode == 0
    assert orionfs("demo", point).returncode == 0
    assert (point / "my-data" / "kept.txt").read_text() == "kept"


def test_mount_whose_daemon_was_killed_is_mended_by_the_next(orionfs, demo, point) -> None:
    (point / "my-data" / "kept.txt").write_text("kept")
    (daemon,) = daemons_of(point)
    os.kill(daemon, signal.SIGKILL)
    wait_for(lambda: daemons_of(point) == [])
    done = orionfs("demo", point)
    assert done.returncode == 0, done.stderr
    assert (point / "my-data" / "kept.txt").read_text() == "kept"


@pytest.mark.started
def test_token_is_in_no_process_log_or_file_but_the_private_ones(orionfs, demo, point, home) -> None:
    (point / "my-data" / "x").write_text("x")
    token = secret()
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                assert token not in (process / "cmdline").read_bytes()
            except OSError:
                continue  # it has ended
    holders = [
        path
        for folder, _, names in os.walk(home)
        if not Path(folder).is_relative_to(point)
        for path in (Path(folder, name) for name in names)
        if path.is_file() and token in path.read_bytes()
    ]
    assert holders == [config.data_folder() / "demo" / "token"]
    assert holders[0].stat().st_mode & 0o777 == 0o600


def test_wrong_token_is_one_line_with_its_status(orionfs, demo, home) -> None:
    url = profiles.load_profile("demo").url
    assert url is not None
    profiles.write_profile("wrong", {"url": url, "token": "not-the-token"})
    other = home / "other"
    other.mkdir()
    done = orionfs("mount", other, "--profile", "wrong")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (4, "", 1), done.stderr
    assert "not-the-token" not in done.stderr
    assert daemons_of(other) == []
    other.rmdir()


def test_server_that_is_not_there_is_one_line_with_its_status(orionfs, point, is_mounted) -> None:
    # The profile of the fixture leads to a port where nothing listens.
    done = orionfs("mount", point)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (5, "", 1), done.stderr
    assert not is_mounted()
    assert daemons_of(point) == []
