"""An exception that nobody foresaw, inside any handler: its caller gets EIO, and the mount lives.

The daemon is started by `launcher.py`, which breaks one handler while a file names it. The mount
believes nothing for longer than a call, so that each call reaches its handler.
"""

from __future__ import annotations

import errno
import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.cli.processes import wait_for
from tests.faults import launcher
from tests.faults.conftest import watched
from tests.faults.outage import Outage
from tests.mount.stand import Stand

HANDLERS = [handler for handler in launcher.CALLED if handler not in ("release", "forget")]
_NUMBERS = itertools.count(1)


class BreakableStand(Stand):
    """A mount whose daemon breaks on request."""

    @property
    def trigger(self) -> Path:
        return self.folder / "trigger"

    def mount(self, *more: str, arguments: Sequence[str] = ()) -> None:
        self.trigger.touch()
        log = self.home / "state" / "breakable.log"
        command = [sys.executable, launcher.__file__, str(self.trigger), "mount", "--foreground"]
        options = [part for option in (*self.options, *more) for part in ("-o", option)]
        with log.open("a") as output:
            process = subprocess.Popen(
                [*command, *options, *arguments, str(self.point)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self.environment,
            )
        wait_for(lambda: "mounted on" in self.log or process.poll() is not None)
        assert process.poll() is None, self.log
        self._process = process
        self._pids = [process.pid]

    def umount(self) -> None:
        done = self.run("umount", self.point)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert self._process.wait(20) == 0
        self._pids = []

    def close(self) -> None:
        super().close()
        self._process.wait(20)


@pytest.fixture(scope="module")
def breakable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BreakableStand]:
    server = Outage(tmp_path_factory.mktemp("server"))
    options = ["metadata_ttl_s=0", "absence_ttl_s=0"]
    stand = BreakableStand(tmp_path_factory.mktemp("stand"), server, options=options)
    stand.mount()
    yield stand
    stand.close()
    server.close()


@pytest.fixture
def stand(request: pytest.FixtureRequest, breakable: BreakableStand) -> Iterator[BreakableStand]:
    with watched(request, breakable) as mounted:
        assert mounted is breakable
        yield breakable
        breakable.trigger.write_text("")


@pytest.fixture
def folder(stand: BreakableStand) -> Path:
    """With a file `doc`, tagged, and an empty folder."""
    path = stand.mine / f"folder-{next(_NUMBERS)}"
    path.mkdir()
    (path / "doc").write_bytes(b"contents")
    os.setxattr(path / "doc", "user.orion.tag.kept", b"")
    (path / "empty").mkdir()
    return path


def fsynced(path: Path) -> None:
    with path.open("r+b", buffering=0) as file:
        file.write(b"CONTENTS")
        os.fsync(file.fileno())


def read_afresh(path: Path) -> bytes:
    with path.open("rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return file.readall()


# A call of a program for each handler that serves it, in a folder as above.
CALLS: dict[str, Callable[[Path], object]] = {
    "lookup": lambda folder: (folder / "doc").stat(),
    "getattr": lambda folder: folder.parent.parent.stat(),
    "setattr": lambda folder: os.utime(folder / "doc", (1, 1)),
    "mkdir": lambda folder: (folder / "made").mkdir(),
    "rmdir": lambda folder: (folder / "empty").rmdir(),
    "unlink": lambda folder: (folder / "doc").unlink(),
    "rename": lambda folder: (folder / "doc").rename(folder / "renamed"),
    "opendir": os.listdir,
    "readdir": os.listdir,
    "open": lambda folder: (folder / "doc").open("rb").close(),
    "create": lambda folder: (folder / "new").touch(),
    "mknod": lambda folder: os.mknod(folder / "made-by-mknod"),
    "read": lambda folder: read_afresh(folder / "doc"),
    "write": lambda folder: (folder / "doc").write_bytes(b"CONTENTS"),
    "flush": lambda folder: (folder / "doc").write_bytes(b"CONTENTS"),
    "fsync": lambda folder: fsynced(folder / "doc"),
    "getxattr": lambda folder: os.getxattr(folder / "doc", "user.orion.name"),
    "listxattr": lambda folder: os.listxattr(folder / "doc"),
    "setxattr": lambda folder: os.setxattr(folder / "doc", "user.orion.tag.new", b""),
    "removexattr": lambda folder: os.removexattr(folder / "doc", "user.orion.tag.kept"),
    "statfs": lambda folder: os.statvfs(folder),
}


def injected_errors(stand: BreakableStand, start: int) -> list[str]:
    """Records of level ERROR with the traceback of the injected exception."""
    return [
        entry
        for entry in stand.complaints(start, [])
        if " ERROR " in entry and "Traceback" in entry and f"RuntimeError: {launcher.INJECTED}" in entry
    ]


def assert_works(folder: Path) -> None:
    """The mount answers, and keeps what is written."""
    (folder / "after").write_bytes(b"written after it")
    assert read_afresh(folder / "after") == b"written after it"
    (folder / "after").unlink()
    assert "empty" in os.listdir(folder) or not (folder / "empty").exists()


@pytest.mark.some(6)
@pytest.mark.expect_log(launcher.INJECTED)
@pytest.mark.parametrize("handler", HANDLERS)
def test_exception_in_a_handler_is_an_error_of_its_call_and_the_mount_lives(stand, folder, handler):
    start = len(stand.log)
    stand.trigger.write_text(handler)
    with pytest.raises(OSError, match="Input/output error") as raised:
        CALLS[handler](folder)
    stand.trigger.write_text("")
    assert raised.value.errno == errno.EIO
    # The kernel asks twice before it believes that a name or a page can't be had.
    assert len(injected_errors(stand, start)) in ((1, 2) if handler in ("lookup", "read") else (1,))
    CALLS[handler](folder)
    assert_works(folder)
    stand.drain()


@pytest.mark.expect_log(launcher.INJECTED)
def test_exception_when_a_file_is_let_go_leaves_the_mount_alive(stand, folder):
    start = len(stand.log)
    stand.trigger.write_text("release")
    (folder / "doc").write_bytes(b"saved all the same")
    wait_for(lambda: len(injected_errors(stand, start)) == 1)
    stand.trigger.write_text("")
    assert stand.direct.content(stand.orion_path(folder / "doc")) == b"saved all the same"
    assert_works(folder)
    stand.drain()


@pytest.mark.expect_log(launcher.INJECTED)
def test_exception_when_the_kernel_forgets_leaves_the_mount_alive(stand, folder):
    start = len(stand.log)
    stand.trigger.write_text("forget")
    (folder / "doc").unlink()
    wait_for(lambda: len(injected_errors(stand, start)) >= 1)
    stand.trigger.write_text("")
    assert_works(folder)
