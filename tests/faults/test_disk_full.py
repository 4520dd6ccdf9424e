"""No room left on the local disk: where written bytes are staged, where the journal lies, in the cache.

Root only: each test mounts a tmpfs of a few MiB where the daemon keeps its things.
"""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.cli.processes import wait_for
from tests.faults.outage import bytes_of, error_of
from tests.mount.stand import Client, Stand
from tests.server.process import HOME

MEBI = 2**20
DISK_MIB = 12

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk"),
    pytest.mark.expect_log("no room left|is not on Orion yet|not uploaded, kept in|what was being written"),
]


@pytest.fixture(params=[Client.OWN, pytest.param(Client.DOCUMENTED, marks=pytest.mark.long)])
def client(request: pytest.FixtureRequest) -> Client:
    """The session that the mount works on."""
    chosen: Client = request.param
    return chosen


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of a few MiB."""
    disk = tmp_path / "disk"
    disk.mkdir(mode=0o700)
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m,mode=0700", "tmpfs", str(disk)]
    subprocess.run(command, check=True)
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.fixture
def make_cramped(small_disk: Path, make_stand: Callable[..., Stand], client: Client) -> Callable[..., Stand]:
    """Makes a mount that keeps its state, or its cache, or both, on the small disk."""

    def make(*kinds: str, **more: object) -> Stand:
        stand = make_stand(client, is_mounted=False, **more)
        for kind in kinds:
            stand.environment[f"XDG_{kind.upper()}_HOME"] = str(small_disk / kind)
            (small_disk / kind).mkdir(mode=0o700)
        # The log does not lie on the disk that is to be full.
        if "state" in kinds:
            logs = stand.home / "state" / "log"
            logs.mkdir(mode=0o700, parents=True)
            (small_disk / "state" / "orionfs").mkdir(mode=0o700)
            (small_disk / "state" / "orionfs" / "log").symlink_to(logs)
        stand.mount()
        return stand

    return make


def fill(disk: Path) -> Path:
    """Take all room that is left."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (MEBI, 4096):
            while error_of(partial(file.write, b"\0" * size)) is None:
                pass
    return filler


def write_until_full(path: Path) -> int | None:
    """Write more than there is room for; the first error, of write or close."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    errors = [error_of(lambda: os.write(descriptor, os.urandom(MEBI))) for _ in range(2 * DISK_MIB)]
    errors.append(error_of(lambda: os.close(descriptor)))
    return next((error for error in errors if error is not None), None)


def test_write_that_finds_no_room_fails_and_loses_nothing_older(make_cramped, small_disk):
    stand = make_cramped("state", "cache")
    (stand.mine / "safe").write_bytes(b"acknowledged")
    (stand.mine / "doc").write_bytes(b"acknowledged too")
    assert write_until_full(stand.mine / "new") == errno.ENOSPC
    assert write_until_full(stand.mine / "doc") == errno.ENOSPC
    assert stand.direct.content(f"{HOME}/safe") == b"acknowledged"
    # What never became whole is not shown as if it were; what was there before is.
    wait_for(lambda: sorted(os.listdir(stand.mine)) == ["doc", "safe"])
    assert (stand.mine / "doc").read_bytes() == b"acknowledged too"
    (stand.mine / "doc").unlink()
    assert (stand.mine / "safe").read_bytes() == b"acknowledged"
    (stand.mine / "after").write_bytes(bytes_of(MEBI))
    stand.drain()
    assert stand.direct.content(f"{HOME}/after") == bytes_of(MEBI)
    assert stand.server.leftovers("safe", "after") == []
    staged = [path for path in (small_disk / "state").rglob("staged/*") if path.stat().st_size]
    assert staged == []


def test_save_that_can_not_be_promised_fails_and_leaves_what_was_there(make_cramped, small_disk):
    stand = make_cramped("state")
    path = stand.mine / "doc"
    path.write_bytes(b"acknowledged")
    filler = fill(small_disk)
    assert error_of(lambda: path.write_bytes(b"no room for this")) == errno.ENOSPC
    assert error_of(lambda: (stand.mine / "new").write_bytes(b"nor for this")) == errno.ENOSPC
    assert stand.direct.content(f"{HOME}/doc") == b"acknowledged"
    filler.unlink()
    path.write_bytes(b"there is room again")
    stand.drain()
    assert stand.direct.content(f"{HOME}/doc") == b"there is room again"


def test_acknowledged_saves_survive_a_full_disk_and_a_kill(make_cramped, small_disk):
    stand = make_cramped("state", "cache")
    (stand.mine / "doc").write_bytes(b"acknowledged")
    filler = fill(small_disk)
    error_of(lambda: (stand.mine / "doc").write_bytes(b"no room for this"))
    stand.kill()
    filler.unlink()
    stand.run("umount", stand.point)
    stand.mount()
    stand.drain()
    assert (stand.mine / "doc").read_bytes() in (b"acknowledged", b"no room for this")
    assert stand.server.leftovers("doc") == []


@pytest.mark.expect_log("(open|read) ")
def test_reading_more_than_the_cache_holds_is_right_or_an_error(make_cramped, small_disk):
    stand = make_cramped("cache")
    large, small = bytes_of((DISK_MIB + 5) * MEBI), bytes_of(MEBI, b"small")
    for name, content in (("large", large), ("small", small)):
        stand.server.put_in_parts(f"{HOME}/{name}", content)
    read = read_or_error(stand.mine / "large")
    assert read == large or read in (errno.ENOSPC, errno.EIO)
    assert read_or_error(stand.mine / "small") in (small, errno.ENOSPC, errno.EIO)
    for path in list((small_disk / "cache").rglob("file-*")):
        path.unlink()
    # What was read ahead of the large file ends first, and with it its hold on the disk.
    wait_for(lambda: read_or_error(stand.mine / "small") == small)


def test_many_files_that_fill_the_cache_are_all_read_rightly(make_cramped, small_disk):
    stand = make_cramped("cache", options=[f"cache_limit_bytes={DISK_MIB * MEBI // 2}"])
    count = 2 * DISK_MIB
    for number in range(count):
        stand.direct.put(f"{HOME}/file-{number}", bytes_of(MEBI, b"%d" % number))
    for number in [*range(count), *range(count)]:
        assert (stand.mine / f"file-{number}").read_bytes() == bytes_of(MEBI, b"%d" % number)


def read_or_error(path: Path) -> bytes | int | None:
    try:
        return path.read_bytes()
    except OSError as error:
        return error.errno
