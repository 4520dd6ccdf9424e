"""`orionfs demo`: one command, a server and its mount, which end together."""

from __future__ import annotations

import json
import os
import shlex
import signal
from pathlib import Path

import pytest

from orionfs import config, profiles
from tests.cli.processes import daemons_of, wait_for
from tests.cli.test_serve import info_at

pytestmark = pytest.mark.needs_fuse


@pytest.fixture
def data(home):
    """The demo's data folder; a server that still runs there at the end is a failure."""
    folder = config.data_folder() / "demo"
    yield folder
    wait_for(lambda: not is_served(folder))


def is_served(folder: Path) -> bool:
    try:
        os.close(os.open(folder / "alive", os.O_WRONLY | os.O_NONBLOCK))
    except OSError:
        return False
    return True


@pytest.fixture
def demo(faked, point, data):
    """The result of a first demo on `point`, unmounted at the end."""
    done = faked("demo", point)
    assert done.returncode == 0, done.stderr
    yield done
    faked("umount", point)


def test_mount_and_profile_are_there_and_commands_to_try_are_printed(demo, point, is_mounted) -> None:
    assert is_mounted()
    assert f"mounted on {point}: orion:1@fake (as demo, with a token)" in demo.stdout
    commands = [shlex.split(line) for line in demo.stdout.splitlines() if line.startswith("  ")]
    assert [words[0] for words in commands] == ["ls", "cp", "setfattr", "getfattr", "mv", "ls", "orionfs"]
    assert commands[-1] == ["orionfs", "umount", str(point)]
    profile = profiles.load_profile("demo")
    assert profile.url is not None
    assert info_at(profile.url)["server"] == "orionfs"
    assert profile.token is not None
    assert profile.token.value not in demo.stdout
    # What was there is still there.
    assert profiles.load_profile("default").token == profiles.Token("the-secret")


def test_sample_data_are_there(demo, data) -> None:
    assert (data / "token").stat().st_mode & 0o777 == 0o600
    assert data.stat().st_mode & 0o777 == 0o700
    assert any((data / "blobs").rglob("*"))


def test_server_ends_with_the_mount_even_when_that_is_killed(demo, point, data) -> None:
    (daemon,) = daemons_of(point)
    assert is_served(data)
    os.kill(daemon, signal.SIGKILL)
    wait_for(lambda: not is_served(data))
    assert daemons_of(point) == []


@pytest.mark.started
def test_second_demo_shares_the_server_which_lives_as_long_as_either(faked, demo, point, home, data) -> None:
    url = profiles.load_profile("demo").url
    other = home / "new" / "folder"
    done = faked("demo", other)
    assert done.returncode == 0, done.stderr
    assert profiles.load_profile("demo").url == url
    assert faked("umount", point).returncode == 0
    wait_for(lambda: daemons_of(point) == [])
    assert url is not None
    assert info_at(url)["server"] == "orionfs"
    assert faked("umount", other).returncode == 0


def test_demo_right_after_the_last_one_starts_a_server_on_the_same_data(faked, demo, point, data) -> None:
    instance = json.loads((data / "serving.json").read_text())["instance"]
    assert faked("umount", point).returncode == 0
    done = faked("demo", point)
    assert done.returncode == 0, done.stderr
    assert json.loads((data / "serving.json").read_text())["instance"] == instance


def test_demo_where_it_is_mounted_already_is_refused(faked, demo, point) -> None:
    done = faked("demo", point)
    assert (done.returncode, done.stdout) == (6, "")
    assert "is already mounted: orion:1@fake" in done.stderr


def test_demo_that_fails_leaves_no_folder_and_no_server(faked, home, data) -> None:
    faked.behave(start="refuse")
    done = faked("demo", home / "new" / "folder")
    assert done.returncode == 4, done.stderr
    assert not (home / "new").exists()
    wait_for(lambda: not is_served(data))


def test_server_that_does_not_start_is_told(faked, point, data, is_mounted) -> None:
    data.parent.mkdir(parents=True)
    data.mkdir()
    (data / "blobs").touch()
    done = faked("demo", point)
    assert done.returncode == 1
    assert "orionfs: " in done.stderr.splitlines()[-1]
    assert not is_mounted()


def test_profile_that_was_changed_is_written_again(faked, demo, home, data) -> None:
    url = profiles.load_profile("demo").url
    profiles.write_profile("demo", {"url": "http://127.0.0.1:9", "token": "x"})
    assert faked("demo", home / "other").returncode == 0
    assert profiles.load_profile("demo").url == url
    assert faked("umount", home / "other").returncode == 0
