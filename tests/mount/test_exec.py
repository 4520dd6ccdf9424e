"""A mount for one command: what it is told, what becomes of its files, its signals and its status."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from orionfs.mountinfo import read_mountinfo
from tests.cli.person import Person
from tests.cli.processes import PLAIN_UID, wait_for
from tests.mount.stand import COMMAND_TIMEOUT_S, Client, Stand, is_alive

OFFLINE = "offline: "
KEPT = "is not on Orion yet"


@pytest.fixture
def stand(make_stand, shared_server) -> Stand:
    """An account that nothing is mounted for."""
    made: Stand = make_stand(Client.OWN, server=shared_server, is_mounted=False)
    made.environment["TMPDIR"] = str(made.folder)
    return made


@pytest.fixture
def own_server_stand(make_stand) -> Stand:
    """The same with a server that a test may stop."""
    made: Stand = make_stand(Client.OWN, is_mounted=False)
    made.environment["TMPDIR"] = str(made.folder)
    return made


def start(stand: Stand, *arguments: str | Path) -> subprocess.Popen[bytes]:
    """`orionfs exec ARGUMENTS` in the background."""
    # What a command leaves running may hold the streams open, so these are no pipes.
    with (stand.folder / "out").open("ab") as out, (stand.folder / "err").open("wb") as err:
        return subprocess.Popen(
            [*stand.prefix, sys.executable, "-P", "-m", "orionfs", "exec", *map(str, arguments)],
            env=stand.environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            cwd=stand.folder,
        )


def end_of(
    stand: Stand, process: subprocess.Popen[bytes], timeout_s: float = COMMAND_TIMEOUT_S
) -> tuple[int, str]:
    """Status and complaints."""
    return process.wait(timeout_s), (stand.folder / "err").read_text()


def daemon_of(process: subprocess.Popen[bytes]) -> int:
    """The daemon of a mount that `orionfs exec` has started, once the command runs."""
    for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
        if b"--life-fd" in Path(f"/proc/{child}/cmdline").read_bytes():
            return int(child)
    raise AssertionError("no daemon")


def nothing_is_left(stand: Stand) -> bool:
    """No mount, no folder made for one."""
    left = [entry for entry in read_mountinfo() if entry.mountpoint.is_relative_to(stand.folder)]
    return not left and not list(stand.folder.glob("orionfs-exec-*"))


def test_command_works_on_a_mount_of_its_own_and_its_status_is_told(stand) -> None:
    script = 'read word; echo "$word" > "$ORIONFS_MOUNT/my-data/by-exec"; pwd; echo words >&2; exit 3'
    done = subprocess.run(
        [sys.executable, "-P", "-m", "orionfs", "exec", "--", "sh", "-c", script],
        env=stand.environment,
        input="hello\n",
        capture_output=True,
        text=True,
        check=False,
        cwd=stand.folder,
        timeout=COMMAND_TIMEOUT_S,
    )
    assert (done.returncode, done.stdout, done.stderr) == (3, f"{stand.folder}\n", "words\n")
    assert stand.direct.content(f"{stand.direct.home}/by-exec") == b"hello\n"
    assert nothing_is_left(stand)


def test_command_that_a_signal_ends_and_one_that_can_not_be_run_are_told_as_by_a_shell(stand) -> None:
    point = stand.folder / "made" / "here"
    done = stand.run("exec", "--at", point, "--", "sh", "-c", f"ls {point}; kill -9 $$")
    assert (done.returncode, done.stderr) == (137, "")
    assert "my-data" in done.stdout
    assert os.listdir(point) == []  # others may be mounting on it as well
    start = stand.server.mark()
    assert stand.run("exec", "--", "no-such-command").returncode == 127
    assert stand.server.rows(start) == []
    done = stand.run("exec", "--", "/etc/passwd")
    assert (done.returncode, done.stderr) == (126, "orionfs: /etc/passwd can't be run: Permission denied\n")
    assert nothing_is_left(stand)


def test_signal_reaches_the_command_and_its_last_words_reach_orion(stand) -> None:
    """A batch system sends SIGTERM to all processes of a job at once, the daemon among them."""
    script = """
    trap 'echo saved > "$ORIONFS_MOUNT/my-data/checkpoint"; exit 5' TERM
    trap 'touch hung-up' HUP
    touch runs
    while :; do sleep 0.05; done
    """
    process = start(stand, "--", "sh", "-c", script)
    wait_for((stand.folder / "runs").exists)
    process.send_signal(signal.SIGHUP)
    wait_for((stand.folder / "hung-up").exists)
    daemon = daemon_of(process)
    os.kill(daemon, signal.SIGTERM)
    process.send_signal(signal.SIGTERM)
    assert end_of(stand, process) == (5, "")
    assert stand.direct.content(f"{stand.direct.home}/checkpoint") == b"saved\n"
    assert not is_alive(daemon)
    assert nothing_is_left(stand)


def test_key_that_interrupts_reaches_the_command_once_and_ends_nothing_else(stand) -> None:
    script = """
    trap 'echo interrupted >> got' INT
    cd "$1"
    touch runs
    until [ -e got ]; do sleep 0.05; done
    echo after > "$ORIONFS_MOUNT/my-data/after"
    """
    command = [sys.executable, "-P", "-m", "orionfs", "exec", "--", "sh", "-c", script, "sh", stand.folder]
    person = Person([str(word) for word in command], stand.environment)
    try:
        wait_for((stand.folder / "runs").exists)
        person.type("\x03")
        assert person.wait() == 0, person.screen
    finally:
        person.close()
    assert (stand.folder / "got").read_text() == "interrupted\n"
    assert stand.direct.content(f"{stand.direct.home}/after") == b"after\n"


@pytest.mark.expect_log(OFFLINE)
@pytest.mark.expect_log(KEPT)
def test_what_can_not_be_uploaded_is_told_kept_and_finished_by_the_next_mount(own_server_stand) -> None:
    stand = own_server_stand
    script = """
    exec 9> "$ORIONFS_MOUNT/my-data/b"
    touch runs
    until [ -e stopped ]; do sleep 0.05; done
    echo kept >&9
    exec 9>&-
    exit $1
    """
    for status, told in ((0, 75), (4, 4)):
        for name in ("runs", "stopped"):
            (stand.folder / name).unlink(missing_ok=True)
        process = start(stand, "--", "sh", "-c", script, "sh", str(status))
        wait_for((stand.folder / "runs").exists)
        stand.server.stop()
        (stand.folder / "stopped").touch()
        done, err = end_of(stand, process)
        assert done == told, err
        assert "nothing is lost" in err
        assert f"not uploaded: {stand.direct.home}/b" in err
        (kept,) = {path.parent for path in (stand.home / "state").rglob("staged")}
        assert f"in {kept}," in err
        stand.server.start()
    stand.mount()
    stand.drain()
    assert stand.direct.content(f"{stand.direct.home}/b") == b"kept\n"


@pytest.mark.expect_log(KEPT)
@pytest.mark.expect_log("a fault of the plan")
def test_after_sigterm_uploads_get_the_time_that_the_batch_system_allows(own_server_stand) -> None:
    stand = own_server_stand
    script = """
    trap 'exit 0' TERM
    cp "$1" "$ORIONFS_MOUNT/my-data/late" 2>/dev/null
    touch runs
    while :; do sleep 0.05; done
    """
    stand.server.misbehave({"method": "POST", "path": "/files/upload$", "action": "status", "status": 503})
    process = start(stand, "--grace", "1", "--", "sh", "-c", script, "sh", __file__)
    wait_for((stand.folder / "runs").exists)
    daemon = daemon_of(process)
    process.send_signal(signal.SIGTERM)
    status, err = end_of(stand, process, 20)
    assert (status, "nothing is lost" in err) == (75, True), err
    # It goes on by itself as long as it is let live.
    stand.server.misbehave()
    wait_for(lambda: not is_alive(daemon))
    assert stand.direct.content(f"{stand.direct.home}/late") == Path(__file__).read_bytes()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signal_while_it_is_being_mounted_leaves_nothing_and_runs_nothing(own_server_stand, number) -> None:
    stand = own_server_stand
    stand.server.misbehave({"path": "/api/v1/users/me", "action": "delay", "seconds": 5})
    process = start(stand, "--", "touch", "ran")
    wait_for(lambda: bool(_children(process.pid)))
    (daemon,) = _children(process.pid)
    wait_for(lambda: b"--life-fd" in Path(f"/proc/{daemon}/cmdline").read_bytes())
    process.send_signal(number)
    assert end_of(stand, process, 20) == (128 + number, "")
    assert not is_alive(daemon)
    assert nothing_is_left(stand)
    assert not (stand.folder / "ran").exists()


def test_mount_ends_with_the_process_that_started_it_however_that_ends(stand) -> None:
    process = start(
        stand, "--", "sh", "-c", 'echo x > "$ORIONFS_MOUNT/my-data/orphan"; touch runs; sleep 600'
    )
    wait_for((stand.folder / "runs").exists)
    daemon = daemon_of(process)
    (command,) = set(_children(process.pid)) - {daemon}
    process.kill()
    process.wait()
    wait_for(lambda: not is_alive(daemon))
    os.kill(command, signal.SIGKILL)
    assert stand.direct.content(f"{stand.direct.home}/orphan") == b"x\n"
    assert [entry for entry in read_mountinfo() if entry.mountpoint.is_relative_to(stand.folder)] == []


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


# In a namespace of its own


@pytest.mark.skipif(os.geteuid() != 0, reason="shows that another user does not see it")
def test_private_mount_is_seen_by_its_command_alone(stand) -> None:
    point = stand.folder / "here"
    script = 'ls "$ORIONFS_MOUNT"; touch runs-$$; until [ -e go ]; do sleep 0.05; done'
    both = [start(stand, "--private", "--at", point, "--", "sh", "-c", script) for _ in range(2)]
    wait_for(lambda: len(list(stand.folder.glob("runs-*"))) == 2)
    assert os.listdir(point) == []
    (stand.folder / "go").touch()
    for process in both:
        assert end_of(stand, process) == (0, "")
    assert (stand.folder / "out").read_text().count("my-data") == 2
    assert nothing_is_left(stand)


@pytest.fixture
def no_rights(shared_server) -> Iterator[Stand]:
    """A user who may gain no right, as in a container, where fusermount3 is good for nothing."""
    folder = Path(tempfile.mkdtemp(prefix="orionfs-plain-"))
    stand = Stand(folder, shared_server)
    # What lies in root's home can't be seen from a namespace whose root is nobody.
    python, base = folder / "python", Path(sys.base_prefix)
    python.mkdir()
    stand.environment |= {
        "TMPDIR": str(folder),
        "PYTHONPATH": os.pathsep.join([stand.environment["PYTHONPATH"], *sys.path[1:]]),
        "LD_LIBRARY_PATH": str(python / "lib"),
    }
    for path in (folder, *folder.rglob("*")):
        os.chown(path, PLAIN_UID, PLAIN_UID)
    ids = f"--reuid={PLAIN_UID} --regid={PLAIN_UID} --clear-groups"
    stand.prefix = [
        *("unshare", "--mount", "sh", "-c"),
        f"mount --bind {base} {python} && shift && "
        f'exec setpriv {ids} --no-new-privs {python}/bin/python3 "$@"',
        "sh",
    ]
    yield stand
    shutil.rmtree(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv is not installed")
def test_plain_user_without_fusermount3_gets_a_namespace(no_rights) -> None:
    stand = no_rights
    script = """
    cd "$ORIONFS_MOUNT/my-data"
    id -u
    echo x > by-nobody
    stat -c %u:%s by-nobody
    grep CapEff /proc/self/status
    """
    done = stand.run("exec", "--", "sh", "-c", script, cwd=stand.folder)
    assert (done.returncode, done.stderr) == (0, ""), done
    assert done.stdout.split() == [str(PLAIN_UID), f"{PLAIN_UID}:2", "CapEff:", "0" * 16]
    assert stand.direct.content(f"{stand.direct.home}/by-nobody") == b"x\n"
    assert stand.complaints(0, ["fusermount3: mount failed"]) == []
    refused = stand.run("mount", stand.point)
    assert refused.returncode == 7
