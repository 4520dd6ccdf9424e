"""`orionfs mount` as a program, with a daemon that is a fake: what is said, what is left behind."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from orionfs import config, profiles
from orionfs.cli.background import log_path
from tests.cli.processes import PLAIN_UID, daemons_of, wait_for

pytestmark = pytest.mark.needs_fuse


def log_of(point: Path) -> str:
    return log_path(config.state_folder(), point).read_text()


@pytest.mark.started
def test_mount_returns_when_it_answers_and_says_how_to_end_it(faked, point, is_mounted) -> None:
    done = faked("mount", point)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        f"mounted on {point}: orion:1@fake (as default, with a token); 'orionfs umount {point}' ends it\n"
    )
    assert is_mounted()
    assert os.listdir(point) == []


@pytest.mark.started
def test_daemon_has_left_the_shell_and_shows_no_token(faked, point) -> None:
    faked("mount", point, "-o", "umask=077", "--read-only", "--log-level", "debug")
    (pid,) = daemons_of(point)
    process = Path(f"/proc/{pid}")
    assert os.getsid(pid) == pid
    assert (process / "cwd").readlink() == Path("/")
    assert (process / "fd" / "0").readlink() == Path("/dev/null")
    assert b"the-secret" not in (process / "cmdline").read_bytes()
    log = log_of(point)
    assert "INFO orionfs.fake: starting with log level DEBUG" in log
    assert "DEBUG orionfs.fake: a detail" in log
    assert "the-secret" not in log


def test_log_is_quiet_by_default(faked, point) -> None:
    faked("mount", point)
    assert "a detail" not in log_of(point)
    assert log_path(config.state_folder(), point).stat().st_mode & 0o777 == 0o600


def test_mount_point_of_any_name_can_be_used(faked, home) -> None:
    for name in ("with space", "-o", "ä\n\x1b", "back\\slash"):
        point = home / name
        point.mkdir()
        done = faked("mount", "--", point)
        assert done.returncode == 0, done.stderr
        assert "\x1b" not in done.stdout
        assert faked("umount", "--", point).returncode == 0


def test_relative_mount_point_is_the_shells(faked, point, home, is_mounted) -> None:
    assert faked("mount", "orion", cwd=home).returncode == 0
    assert is_mounted()
    assert faked("umount", ".", cwd=point).returncode == 0
    assert not is_mounted()


def test_second_mount_is_refused_by_name(faked, point) -> None:
    faked("mount", point)
    done = faked("mount", point)
    assert (done.returncode, done.stdout) == (6, "")
    assert done.stderr == f"orionfs: {point} is already mounted: orion:1@fake\n"
    assert len(daemons_of(point)) == 1


def test_dead_mount_is_mended(faked, point, is_mounted) -> None:
    faked("mount", point)
    (first,) = daemons_of(point)
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: daemons_of(point) == [])
    assert is_mounted()
    done = faked("mount", point)
    assert done.returncode == 0, done.stderr
    assert os.listdir(point) == []


@pytest.mark.parametrize(
    ("start", "status", "said"),
    [
        ("refuse", 4, "orionfs: the token is not accepted: \\x1b[2J\n"),
        ("die", 1, "ended with status 9 before it was ready; its log is "),
        ("raise", 1, "  RuntimeError: the fake broke\n"),
    ],
)
def test_daemon_that_does_not_come_up_is_told_and_leaves_nothing(
    faked, point, is_mounted, start, status, said
) -> None:
    faked.behave(start=start)
    done = faked("mount", point)
    assert (done.returncode, done.stdout) == (status, "")
    assert said in done.stderr
    assert not is_mounted()
    assert daemons_of(point) == []


def test_mount_that_does_not_answer_is_taken_away(faked, point, is_mounted, monkeypatch) -> None:
    faked.behave(start="mute")
    # Patched in the program itself, which is another process.
    site = Path(faked.environment["PYTHONPATH"].split(os.pathsep)[0]) / "sitecustomize.py"
    site.write_text(
        site.read_text() + "\nimport orionfs.cli.mount\norionfs.cli.mount.ANSWER_TIMEOUT_S = 0.5\n"
    )
    done = faked("mount", point)
    assert done.returncode == 7
    assert "does not answer; its log is" in done.stderr
    assert not is_mounted()
    wait_for(lambda: daemons_of(point) == [])


@pytest.mark.started
def test_interrupt_while_waiting_ends_the_daemon(faked, point, is_mounted) -> None:
    faked.behave(start="hang")
    with faked.start("mount", point) as process:
        wait_for(lambda: daemons_of(point) != [])
        wait_for(lambda: "starting with log level" in log_of(point))
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (130, "", "")
    assert daemons_of(point) == []
    assert not is_mounted()


def test_in_the_foreground_the_log_is_on_stderr(faked, point, is_mounted) -> None:
    with faked.start("mount", "--foreground", point) as process:
        wait_for(is_mounted)
        assert faked("umount", point).returncode == 0
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (0, "")
    assert "INFO orionfs.fake: starting" in err
    assert f"mounted on {point}: orion:1@fake (as default, with a token)\n" in err


@pytest.mark.parametrize("foreground", [[], ["--foreground"]])
def test_wrong_mount_point_or_configuration_starts_nothing(orionfs, home, foreground) -> None:
    done = orionfs("mount", *foreground, home / "missing")
    assert done.returncode == 6
    assert done.stderr == f"orionfs: {home}/missing does not exist; make it with: mkdir -p {home}/missing\n"
    profiles.config_path().chmod(0o640)
    done = orionfs("mount", *foreground, home / "missing")
    assert (done.returncode, done.stderr.count("\n")) == (3, 1)
    profiles.config_path().chmod(0o600)
    done = orionfs("mount", *foreground, home / "missing", "-o", "noatime")
    assert (done.returncode, done.stderr.count("\n")) == (3, 1)


@pytest.mark.started
def test_child_keeps_what_it_was_given_and_nothing_else(faked, point) -> None:
    reader, writer = os.pipe()
    others = os.open(point.parent, os.O_RDONLY)
    os.set_inheritable(others, True)
    process = faked.start("mount", "--foreground", "--keep-fd", str(writer), point, pass_fds=(writer,))
    os.close(writer)
    try:
        os.set_blocking(reader, False)
        wait_for(lambda: "mounted on" in (process.stderr.readline() if process.stderr else ""))
        with pytest.raises(BlockingIOError):
            os.read(reader, 1)
        process.kill()
        process.wait()
        assert os.read(reader, 1) == b""
    finally:
        process.kill()
        process.communicate()
        os.close(reader)
        os.close(others)


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user, which only root can")
def test_plain_user_mounts_and_unmounts_through_fusermount(faked, plain_home) -> None:
    point = plain_home / "orion"
    point.mkdir()
    os.chown(point, PLAIN_UID, PLAIN_UID)
    faked.become_plain_user(plain_home)
    done = faked("mount", point)
    assert done.returncode == 0, done.stderr
    assert "(as environment, with a token)" in done.stdout
    (daemon,) = daemons_of(point)
    assert f"Uid:\t{PLAIN_UID}\t" in Path(f"/proc/{daemon}/status").read_text()
    assert config.control_path(plain_home / "run" / "orionfs", point).exists()
    done = faked("mount", point)
    assert (done.returncode, done.stderr) == (6, f"orionfs: {point} is already mounted: orion:1@fake\n")
    done = faked("umount", point)
    assert (done.returncode, done.stderr) == (0, "")
    assert daemons_of(point) == []
