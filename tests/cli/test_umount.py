"""`orionfs umount`: everything goes up first, a mount in use stays, a dead one goes at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from orionfs import config
from tests.cli.processes import daemons_of, wait_for

pytestmark = pytest.mark.needs_fuse


def patch(faked, module: str, assignment: str) -> None:
    """Set something in the program itself, which is another process."""
    site = faked.environment["PYTHONPATH"].split(os.pathsep)[0] + "/sitecustomize.py"
    with open(site, "a") as file:
        file.write(f"\nimport {module}\n{module}.{assignment}\n")


def test_mount_is_gone_and_the_daemon_has_ended_when_it_returns(faked, point, is_mounted) -> None:
    faked.behave(linger_s=0.5, drain=[{"pending": 2}, {"done": True, "pending": 0, "failed": []}])
    faked("mount", point)
    done = faked("umount", point)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not is_mounted()
    assert not config.control_path(config.runtime_folder(), point).exists()
    wait_for(lambda: daemons_of(point) == [])


def test_changes_that_could_not_be_uploaded_are_named(faked, point, is_mounted) -> None:
    failed = [f"/project/1/team/f{number}\x1b" for number in range(7)]
    faked.behave(drain=[{"pending": 9}, {"done": True, "pending": 7, "failed": failed}])
    faked("mount", point)
    done = faked("umount", point)
    assert done.returncode == 75
    assert done.stderr.splitlines() == [
        *(f"  not uploaded: /project/1/team/f{number}\\x1b" for number in range(5)),
        "  and 2 more",
        f"orionfs: {point} is unmounted, but 7 changes could not be uploaded; nothing is lost: the bytes are"
        " kept on this machine, and the next mount of the same account finishes it",
    ]
    assert not is_mounted()


@pytest.mark.parametrize(
    ("drain", "count"),
    [([{"pending": 3}], "3"), ([], "an unknown number of"), (["nonsense"], "an unknown number of")],
)
def test_uploads_that_take_too_long_are_left_to_the_next_mount(
    faked, point, is_mounted, drain, count
) -> None:
    faked.behave(drain=drain)
    faked("mount", point)
    done = faked("umount", point, "--timeout", "0.5")
    assert done.returncode == 75
    assert f"unmounted, but {count} changes could not be uploaded" in done.stderr
    assert not is_mounted()


def test_daemon_is_told_how_patient_it_may_be(faked, point, asked) -> None:
    faked("mount", point)
    faked("umount", point, "--timeout", "20")
    drain, leave = asked()
    assert (drain["command"], drain["offline_s"]) == ("drain", 3.0)
    assert 0 < drain["timeout_s"] <= 20
    assert leave["command"] == "leave"
    assert 0 < leave["timeout_s"] <= drain["timeout_s"]


def test_what_was_not_uploaded_in_time_is_not_waited_for_again(faked, point, asked) -> None:
    faked.behave(drain=[{"done": True, "pending": 1, "failed": []}])
    faked("mount", point)
    assert faked("umount", point).returncode == 75
    assert asked()[-1] == {"command": "leave", "timeout_s": 0.0}


def test_refused_unmount_leaves_the_patience_of_the_daemon_as_it_was(faked, point, asked) -> None:
    faked("mount", point)
    folder = os.open(point, os.O_RDONLY)
    try:
        assert faked("umount", point).returncode == 16
    finally:
        os.close(folder)
    assert asked()[-1] == {"command": "leave", "timeout_s": 60.0}


@pytest.mark.parametrize(("pending", "status"), [(0, 0), (2, 75)])
def test_force_unmounts_what_is_in_use_and_waits_for_no_upload(
    faked, point, is_mounted, asked, pending, status
) -> None:
    faked.behave(drain=[{"done": True, "pending": pending, "failed": []}])
    faked("mount", point)
    folder = os.open(point, os.O_RDONLY)
    try:
        done = faked("umount", "--force", point)
    finally:
        os.close(folder)
    assert (done.returncode, done.stdout) == (status, "")
    assert ("2 changes could not be uploaded; nothing is lost" in done.stderr) == bool(pending)
    assert not is_mounted()
    wait_for(lambda: daemons_of(point) == [])
    assert [request["command"] for request in asked()] == ["drain", "leave", "stop"]
    assert [request.get("timeout_s") for request in asked()] == [0.0, 0.0, None]


def test_force_kills_a_daemon_that_hangs(faked, point, is_mounted) -> None:
    faked("mount", point)
    (daemon,) = daemons_of(point)
    os.kill(daemon, signal.SIGSTOP)
    patch(faked, "orionfs.cli.forcing", "ANSWER_TIMEOUT_S = 0.5")
    done = faked("umount", "--force", point)
    assert done.returncode == 75
    assert f"(pid {daemon}) did not answer, and was killed" in done.stderr
    assert "an unknown number of changes could not be uploaded" in done.stderr
    assert not is_mounted()
    assert daemons_of(point) == []


@pytest.mark.started
def test_mount_in_use_stays_and_the_user_is_named(faked, point, is_mounted) -> None:
    faked("mount", point)
    program = "import os, sys; os.chdir(sys.argv[1]); print('there', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", program, str(point)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "there\n"
        done = faked("umount", point)
        process.communicate("")
    assert done.returncode == 16
    assert f"(pid {process.pid}): close what is open there" in done.stderr
    assert is_mounted()
    assert faked("umount", point).returncode == 0


def test_mount_whose_daemon_died_goes_at_once_even_in_use(faked, point, is_mounted) -> None:
    faked("mount", point)
    folder = os.open(point, os.O_RDONLY)
    try:
        (daemon,) = daemons_of(point)
        os.kill(daemon, signal.SIGKILL)
        wait_for(lambda: daemons_of(point) == [])
        done = faked("umount", point)
    finally:
        os.close(folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"the daemon of {point} had died; the mount is taken away\n"
    assert not is_mounted()


def test_daemon_that_hangs_does_not_hang_the_command(faked, point, is_mounted) -> None:
    faked("mount", point)
    (daemon,) = daemons_of(point)
    os.kill(daemon, signal.SIGSTOP)
    try:
        patch(faked, "orionfs.cli.umount", "END_TIMEOUT_S = 0.5")
        patch(faked, "orionfs.cli.forcing", "ANSWER_TIMEOUT_S = 0.5")
        started = time.monotonic()
        done = faked("umount", point, "--timeout", "0.5")
        assert time.monotonic() - started < 20
    finally:
        os.kill(daemon, signal.SIGCONT)
    assert done.returncode == 75
    assert "is still at work" in done.stderr
    assert not is_mounted()
    wait_for(lambda: daemons_of(point) == [])


def test_what_is_no_mount_of_ours_is_refused(orionfs, point) -> None:
    done = orionfs("umount", point)
    assert (done.returncode, done.stderr) == (6, f"orionfs: nothing is mounted on {point}\n")
    done = orionfs("umount", "/proc")
    assert done.returncode == 6
    assert "/proc is not a mount of orionfs: it is proc (proc)" in done.stderr
