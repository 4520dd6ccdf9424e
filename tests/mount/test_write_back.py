"""Write modes on real mounts: what close() waits for, and what follows behind it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from orionfs.models import MARK_PREFIX
from tests.cli.processes import wait_for
from tests.mount.conftest import watched
from tests.mount.replacing import replace_while_others_look
from tests.mount.stand import Client, Stand
from tests.server.process import HOME

pytestmark = [pytest.mark.timeout(120), pytest.mark.own_first]

FILES = 40
BACK = ["--write-back"]


@pytest.fixture(scope="session", params=[Client.OWN, pytest.param(Client.DOCUMENTED, marks=pytest.mark.long)])
def back_stand(request: pytest.FixtureRequest, tmp_path_factory, shared_server) -> Iterator[Stand]:
    """A mount with write-back that the tests of this module share."""
    stand = Stand(tmp_path_factory.mktemp("back"), shared_server, request.param)
    stand.mount(arguments=BACK)
    yield stand
    stand.close()


@pytest.fixture
def back(request: pytest.FixtureRequest, back_stand: Stand) -> Iterator[Stand]:
    """It, looked after for one test."""
    yield from watched(request, back_stand)


def test_tree_is_copied_and_removed_at_once_and_follows_behind(back, tmp_path):
    source = tmp_path / "tree"
    source.mkdir()
    for number in range(FILES):
        (source / f"f{number:03}").write_bytes(b"%d" % number)
    target = back.mine / "copied"
    subprocess.run(["cp", "-r", source, target], check=True)
    assert back.run("sync", back.point).returncode == 0
    assert back.direct.content(f"{HOME}/copied/f039") == b"39"
    assert sorted(os.listdir(target)) == [f"f{number:03}" for number in range(FILES)]
    with back.counting() as counted:
        subprocess.run(["rm", "-r", target], check=True)
        assert not target.exists()
    assert back.direct.find(f"{HOME}/copied") is None
    assert len(counted.cost) < FILES // 2  # many in one call


def test_what_waits_is_finished_by_the_next_mount(back):
    folder = back.mine / "resumed"
    folder.mkdir()
    (folder / "gone").write_bytes(b"gone")
    back.drain()
    for number in range(10):
        (folder / f"f{number}").write_bytes(b"%d" % number)
    (folder / "gone").unlink()
    back.kill()
    back.run("umount", back.point)
    back.mount(arguments=BACK)
    assert sorted(os.listdir(folder)) == [f"f{number}" for number in range(10)]
    assert (folder / "f9").read_bytes() == b"9"
    back.drain()
    assert [back.direct.content(f"{HOME}/resumed/f{number}") for number in range(10)] == [
        b"%d" % number for number in range(10)
    ]
    assert back.direct.find(f"{HOME}/resumed/gone") is None
    assert [name for name in back.direct.names(HOME) if name.startswith(MARK_PREFIX)] == []


@pytest.mark.expect_log("what was being written when an earlier mount ended is kept")
def test_bytes_that_nobody_had_closed_are_kept_aside_and_told(back):
    descriptor = os.open(back.mine / "unclosed", os.O_WRONLY | os.O_CREAT)
    os.write(descriptor, b"unclosed")
    back.kill()
    with pytest.raises(OSError, match=r"not connected|aborted"):
        os.close(descriptor)
    back.run("umount", back.point)
    back.mount(arguments=BACK)
    status = back.ask("status")
    assert [Path(kept["file"]).read_bytes() for kept in status["kept"]] == [b"unclosed"]
    assert (status["failed"], status["pending"]) == ({}, 0)
    assert back.direct.find(f"{HOME}/unclosed") is None


def test_files_that_are_replaced_can_be_looked_at_all_the_time(back, tmp_path):
    (back.mine / "replaced").mkdir()
    replace_while_others_look(back.mine / "replaced", tmp_path / "stop", times=4, lookers=1)


@pytest.mark.parametrize("arguments", [[], BACK], ids=["through", "back"])
def test_children_of_a_shell_that_write_to_one_file_are_three_uploads_at_most(
    mounted, back, arguments
) -> None:
    stand = back if arguments else mounted
    name = f"log-{'back' if arguments else 'through'}-{stand.client.name}"
    with stand.counting() as counted:
        script = f"for i in $(seq 100); do /bin/echo $i; done > {name}"
        subprocess.run(["sh", "-c", script], cwd=stand.mine, check=True)
    assert (stand.mine / name).read_text() == "".join(f"{number}\n" for number in range(1, 101))
    assert 1 <= len(counted.of("upload") + counted.of("begin")) <= 3


@pytest.mark.skipif(shutil.which("strace") is None or os.geteuid() != 0, reason="strace watches the daemon")
@pytest.mark.parametrize("arguments", [[], BACK], ids=["through", "back"])
def test_bytes_and_promise_are_synced_before_close_is_answered(
    mounted, back, tmp_path, arguments: list[str]
) -> None:
    stand = back if arguments else mounted
    calls = watched_calls(stand, tmp_path, lambda: save_once(stand.mine / f"synced-{len(arguments)}"))
    written = first(calls, r"pwrite64\(\d+<[^>]*/staged/", 0)
    answers = [at for at in range(written, len(calls)) if is_answer(calls[at])]
    flushed = answers[1]  # the first answers the write
    data = first(calls, r"fdatasync\(\d+<[^>]*/staged/", written)
    name = first(calls, r"fsync\(\d+<[^>]*/staged>", data)
    journal = first(calls, r"f(data)?sync\(\d+<[^>]*/journal\.db", name)
    assert written < data < name < journal < flushed, "\n".join(calls[written : flushed + 1])


def is_answer(call: str) -> bool:
    """True for what is sent to the kernel because it asked; what it is told unasked has no number."""
    is_told_unasked = re.search(r'iov_base="[^"]*(\\0){8}", iov_len=16', call)
    return re.search(r"writev?\(\d+</dev/fuse", call) is not None and is_told_unasked is None


def save_once(path: Path) -> None:
    """Write and close, with nothing between."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    os.write(descriptor, b"to be safe")
    os.close(descriptor)


def first(calls: list[str], pattern: str, start: int) -> int:
    found = next((at for at in range(start, len(calls)) if re.search(pattern, calls[at])), None)
    assert found is not None, (pattern, calls[start:])
    return found


def watched_calls(stand: Stand, tmp_path: Path, work: Callable[[], None]) -> list[str]:
    """The system calls that the daemon makes meanwhile, in the order in which they ended."""
    trace = tmp_path / "trace"
    names = "trace=fdatasync,fsync,pwrite64,write,writev"
    command = ["strace", "-f", "-y", "-qq", "-e", names, "-o", str(trace), "-p", str(stand.pid())]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as strace:
        wait_for(lambda: b"TracerPid:\t0" not in status_of(stand.pid()))
        work()
        strace.terminate()
    return list(whole_calls(trace.read_text().splitlines()))


def whole_calls(lines: list[str]) -> Iterator[str]:
    """Calls as they end, one that another thread interrupts is put together; replies as they begin."""
    begun: dict[str, str] = {}
    for line in lines:
        thread = line.split(maxsplit=1)[0]
        if "<unfinished" in line:
            begun[thread] = line.partition("<unfinished")[0]
        if " resumed>" in line:
            line = begun.pop(thread, "") + line.partition(" resumed>")[2]
            if "/dev/fuse" in line:
                continue
        if "<unfinished" not in line or "/dev/fuse" in line:
            yield line


def status_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/status").read_bytes()


def test_process_that_is_killed_in_close_is_gone_before_its_upload_has_ended(mounted, shared_server):
    path = mounted.mine / f"killed-{mounted.client.name}"
    slow = {"method": "POST", "path": "/api/v3/storage/files/upload", "action": "delay", "seconds": 6}
    shared_server.misbehave(slow)
    try:
        start = shared_server.mark()
        script = f"import os; fd = os.open({str(path)!r}, os.O_WRONLY | os.O_CREAT); os.write(fd, b'kept')"
        with subprocess.Popen([sys.executable, "-c", f"{script}; os.close(fd)"]) as process:
            wait_for(lambda: state_of(path) == b"uploading")
            process.kill()
            process.wait(5)
        assert not [row for row in shared_server.rows(start) if row.word == "upload"]
    finally:
        shared_server.misbehave()
    mounted.drain()
    assert path.read_bytes() == b"kept"
    assert shared_server.direct.content(f"{HOME}/{path.name}") == b"kept"


def state_of(path: Path) -> bytes | None:
    """What an item says of itself; None: it is not there."""
    try:
        return os.getxattr(path, "user.orion.sync")
    except OSError:
        return None
