"""`orionfs mount --ensure`: quiet and at once where all is well, mends what is dead, never waits for long."""

from __future__ import annotations

import importlib
import os
import signal
import time

import pytest

from orionfs import profiles
from tests.cli.processes import daemons_of, wait_for

pytestmark = pytest.mark.needs_fuse


def test_it_mounts_makes_the_directory_and_is_quiet_the_next_time(faked, home, point, is_mounted) -> None:
    point.rmdir()
    done = faked("mount", "--ensure", point)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"mounted on {point}: orion:1@fake (as default")
    daemons = daemons_of(point)
    for arguments in ([], ["--profile", "default"]):
        done = faked("mount", "--ensure", point, *arguments)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert daemons_of(point) == daemons


def test_dead_mount_is_mended(faked, point) -> None:
    faked("mount", point)
    (first,) = daemons_of(point)
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: daemons_of(point) == [])
    assert faked("mount", "--ensure", point).returncode == 0
    assert os.listdir(point) == []


def test_many_shells_at_once_make_one_mount(faked, point) -> None:
    shells = [faked.start("mount", "--ensure", point) for _ in range(4)]
    outcomes = [shell.communicate(timeout=60) for shell in shells]
    assert [shell.returncode for shell in shells] == [0] * 4
    assert [err for _, err in outcomes] == [""] * 4
    assert len([out for out, _ in outcomes if out]) == 1
    assert len(daemons_of(point)) == 1


def test_mount_of_another_profile_is_told(faked, point) -> None:
    profiles.write_profile("other", {"url": "http://127.0.0.1:9", "token": "another"})
    faked("mount", point)
    done = faked("mount", "--ensure", point, "--profile", "other")
    assert done.returncode == 6
    assert "is mounted with profile 'default', not 'other'" in done.stderr


def test_mount_that_hangs_is_left_alone_and_told(faked, point, is_mounted) -> None:
    faked("mount", point)
    (daemon,) = daemons_of(point)
    os.kill(daemon, signal.SIGSTOP)
    limit(faked, "_PROBE_S = 0.5")
    try:
        done = faked("mount", "--ensure", point)
    finally:
        os.kill(daemon, signal.SIGCONT)
    assert done.returncode == 6
    assert f"does not answer; it goes away with: orionfs umount --force {point}" in done.stderr
    assert is_mounted()


def test_daemon_that_does_not_come_up_is_given_up_in_time(faked, home, point, is_mounted) -> None:
    point.rmdir()
    faked.behave(start="hang")
    limit(faked, "LIMIT_S, END_S = 2.5, 0.3")
    begun = time.monotonic()
    done = faked("mount", "--ensure", point)
    assert time.monotonic() - begun < 10
    assert (done.returncode, done.stdout) == (5, "")
    assert f"{point} could not be mounted within 10 s" in done.stderr
    assert not is_mounted()
    assert not point.exists()
    assert daemons_of(point) == []


def test_what_is_wrong_is_told_as_without_it(faked, point) -> None:
    faked.behave(start="refuse")
    assert faked("mount", "--ensure", point).returncode == 4
    (point / "file").touch()
    assert "is not empty" in faked("mount", "--ensure", point).stderr
    assert faked("mount", "--ensure", "--foreground", point).returncode == 2


def test_what_is_mounted_there_by_others_is_refused(orionfs) -> None:
    done = orionfs("mount", "--ensure", "/proc")
    assert done.returncode == 6
    assert "/proc is already mounted: proc" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user, which only root can")
def test_plain_user_ensures_looks_and_forces(faked, plain_home) -> None:
    faked.become_plain_user(plain_home)
    point = plain_home / "node" / "orion"
    assert faked("mount", "--ensure", point).returncode == 0
    (first,) = daemons_of(point)
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: daemons_of(point) == [])
    done = faked("mount", "--ensure", point)
    assert (done.returncode, done.stderr) == (0, "")
    assert "to upload" in faked("status").stdout
    (second,) = daemons_of(point)
    os.kill(second, signal.SIGSTOP)
    site = faked.environment["PYTHONPATH"].split(os.pathsep)[0] + "/sitecustomize.py"
    with open(site, "a") as file:
        file.write("\nimport orionfs.cli.forcing\norionfs.cli.forcing.ANSWER_TIMEOUT_S = 0.5\n")
    done = faked("umount", "--force", point)
    assert (done.returncode, f"(pid {second}) did not answer, and was killed" in done.stderr) == (75, True)
    assert daemons_of(point) == []


def limit(faked, assignment: str) -> None:
    """Set something in the program itself, which is another process."""
    module = "orionfs.cli.ensuring"
    assert hasattr(importlib.import_module(module), assignment.partition(" =")[0].partition(",")[0])
    site = faked.environment["PYTHONPATH"].split(os.pathsep)[0] + "/sitecustomize.py"
    with open(site, "a") as file:
        file.write(f"\nimport {module}\n")
        for name, value in zip(*(each.split(", ") for each in assignment.split(" = ")), strict=True):
            file.write(f"{module}.{name} = {value}\n")
