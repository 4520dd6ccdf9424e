"""Orion goes away and comes back: stopped (connections are refused) or hung (no answer ever comes).

What is known goes on being served, what is not fails in time, what was written is kept, and nobody
has to do anything once it is back.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from enum import Enum
from functools import partial
from pathlib import Path

import pytest

from orionfs.errors import ExitStatus
from tests.cli.processes import wait_for
from tests.faults.outage import Outage, bytes_of, error_of
from tests.faults.saver import body
from tests.mount.stand import Client, Stand
from tests.server.process import HOME

READ_DEADLINE_S = 2.0
CHANGE_DEADLINE_S = 2.5
INACTIVITY_S = 2.5
METADATA_TTL_S = 1.0
OPTIONS = (
    f"read_deadline_s={READ_DEADLINE_S}",
    f"change_deadline_s={CHANGE_DEADLINE_S}",
    f"inactivity_s={INACTIVITY_S}",
)
SHORT_TTL = (f"metadata_ttl_s={METADATA_TTL_S}",)
# On a machine with other work; still below any deadline.
AT_ONCE_S = 1.0
BACK_WITHIN_S = 8.0
UMOUNT_WITHIN_S = 15.0

pytestmark = [
    pytest.mark.own_first,
    pytest.mark.expect_log(r"offline: |is not on Orion yet|WARNING orionfs.fuse.boundary: "),
]


class Gone(Enum):
    """How Orion can be away."""

    STOPPED = "stopped"
    HUNG = "hung"

    def begin(self, server: Outage) -> None:
        if self is Gone.STOPPED:
            server.kill()
        else:
            server.freeze()


# How Orion is away, and on which session.
STOPPED_OWN = pytest.param(Gone.STOPPED, Client.OWN, id="stopped-own")
HUNG_OWN = pytest.param(Gone.HUNG, Client.OWN, id="hung-own")
DOCUMENTED = [
    pytest.param(gone, Client.DOCUMENTED, id=f"{gone.value}-documented", marks=pytest.mark.long)
    for gone in Gone
]
HUNG_DOCUMENTED = pytest.param(Gone.HUNG, Client.DOCUMENTED, id="hung-documented")
BY = ("gone", "client")
EACH_WAY = pytest.mark.parametrize(BY, [STOPPED_OWN, HUNG_OWN, *DOCUMENTED])
OWN = pytest.mark.parametrize(
    "client", [Client.OWN, pytest.param(Client.DOCUMENTED, marks=pytest.mark.long)], ids=["own", "documented"]
)


@pytest.fixture
def make_filled(make_stand: Callable[..., Stand], client: Client) -> Callable[..., Stand]:
    """Makes a mount with a folder `known`, looked into and read, and a folder `other`, never seen."""

    def make(*options: str) -> Stand:
        stand = make_stand(client, options=[*OPTIONS, *options])
        direct = stand.server.direct
        for folder in ("known", "other"):
            direct.make_folder(f"{HOME}/{folder}")
            for number in (1, 2, 3):
                direct.put(f"{HOME}/{folder}/{number}", body(number))
        # Its parent later: in this order it is no walk, and nothing is listed ahead.
        known = stand.mine / "known"
        assert listing(known) == ["1", "2", "3"]
        assert [fresh_bytes(known / name) for name in "123"] == [body(n) for n in (1, 2, 3)]
        assert sorted(os.listdir(stand.mine)) == ["known", "other"]
        return stand

    return make


def server_of(stand: Stand) -> Outage:
    assert isinstance(stand.server, Outage)
    return stand.server


def listing(folder: Path) -> list[str]:
    """As `ls -l`: names, and a stat of each."""
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if entry.stat().st_size > 0)


def fresh_bytes(path: Path) -> bytes:
    """A file's contents from the daemon, not from the kernel's pages."""
    with path.open("rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return file.readall()


@contextmanager
def takes_at_most(limit_s: float) -> Iterator[None]:
    started = time.monotonic()
    yield
    took_s = time.monotonic() - started
    assert took_s <= limit_s, f"{took_s:.2f} s"


def outlive_the_ttl() -> None:
    time.sleep(METADATA_TTL_S + 0.2)  # no state tells that a belief has become old


def make_offline(stand: Stand) -> None:
    """Ask for what nobody knows until the mount has understood."""
    while stand.ask("status")["health"] != "offline":
        assert error_of(lambda: os.listdir(stand.mine / "other")) == errno.ETIMEDOUT


@EACH_WAY
def test_unknown_names_fail_within_the_deadline_then_at_once(make_filled, gone):
    stand = make_filled()
    gone.begin(stand.server)
    for _ in range(2):
        with takes_at_most(READ_DEADLINE_S + 1):
            assert error_of(lambda: os.listdir(stand.mine / "other")) == errno.ETIMEDOUT
    wait_for(lambda: stand.ask("status")["health"] == "offline")
    other = stand.mine / "other"
    for call in (
        lambda: os.listdir(other),
        lambda: (other / "1").stat(),
        lambda: (other / "new").mkdir(),
        lambda: (stand.mine / "made").mkdir(),
        lambda: os.rename(stand.mine / "known" / "1", stand.mine / "known" / "4"),
        lambda: (stand.mine / "known" / "1").unlink(),
        lambda: os.setxattr(stand.mine / "known" / "1", "user.orion.tag.x", b""),
    ):
        with takes_at_most(AT_ONCE_S):
            assert error_of(call) == errno.ETIMEDOUT
    assert listing(stand.mine / "known") == ["1", "2", "3"]


@EACH_WAY
def test_what_is_cached_is_served_however_old(make_filled, gone):
    stand = make_filled(*SHORT_TTL)
    gone.begin(stand.server)
    outlive_the_ttl()
    known = stand.mine / "known"
    with takes_at_most(2 * READ_DEADLINE_S + 1):
        assert listing(known) == ["1", "2", "3"]
    make_offline(stand)
    outlive_the_ttl()
    for _ in range(2):
        with takes_at_most(AT_ONCE_S):
            assert listing(known) == ["1", "2", "3"]
        with takes_at_most(AT_ONCE_S):
            assert [fresh_bytes(known / name) for name in "123"] == [body(n) for n in (1, 2, 3)]
        with takes_at_most(AT_ONCE_S):
            assert not (known / "4").exists()
            assert os.statvfs(stand.point).f_bsize > 0
            assert os.getxattr(known / "1", "user.orion.name") == b"1"


@pytest.mark.parametrize(BY, [STOPPED_OWN, HUNG_DOCUMENTED])
def test_mount_works_again_by_itself(make_filled, gone):
    stand = make_filled(*SHORT_TTL)
    gone.begin(stand.server)
    make_offline(stand)
    stand.server.mend()
    with takes_at_most(BACK_WITHIN_S):
        wait_for(lambda: error_of(lambda: os.listdir(stand.mine / "other")) is None)
    assert listing(stand.mine / "other") == ["1", "2", "3"]
    assert fresh_bytes(stand.mine / "other" / "1") == body(1)
    (stand.mine / "new").write_bytes(b"after")
    assert stand.direct.content(f"{HOME}/new") == b"after"


@OWN
def test_first_call_after_a_restart_works(make_filled):
    stand = make_filled(*SHORT_TTL)
    stand.server.kill()
    stand.server.start()
    outlive_the_ttl()
    assert listing(stand.mine / "other") == ["1", "2", "3"]
    (stand.mine / "known" / "1").write_bytes(b"after")
    assert stand.direct.content(f"{HOME}/known/1") == b"after"


# -- saves during an outage ------------------------------------------------------------------------


def save_during_outage(stand: Stand) -> None:
    """Over an old file and to a new one: both fail in time, and what was written is there."""
    for name, content in (("known/1", b"saved over it"), ("known/new", b"saved anew")):
        path = stand.mine / name
        with takes_at_most(CHANGE_DEADLINE_S + INACTIVITY_S + 4):
            assert error_of(partial(path.write_bytes, content)) == errno.ETIMEDOUT
        assert path.read_bytes() == content
    assert stand.ask("status")["pending"] == 2


def assert_all_arrived(stand: Stand) -> None:
    server = server_of(stand)
    assert server.leftovers("known", "other") == []
    assert server.leftovers("1", "2", "3", "new", folder=f"{HOME}/known") == []
    assert stand.direct.content(f"{HOME}/known/1") == b"saved over it"
    assert stand.direct.content(f"{HOME}/known/new") == b"saved anew"


@EACH_WAY
def test_save_during_an_outage_fails_and_arrives_afterwards(make_filled, gone):
    stand = make_filled()
    gone.begin(stand.server)
    save_during_outage(stand)
    stand.server.mend()
    with takes_at_most(BACK_WITHIN_S + 4):
        wait_for(lambda: stand.ask("status")["pending"] == 0)
    assert_all_arrived(stand)
    assert (stand.mine / "known" / "1").read_bytes() == b"saved over it"


@pytest.mark.parametrize(BY, [STOPPED_OWN, HUNG_DOCUMENTED])
def test_umount_during_an_outage_keeps_saves_for_the_next_mount(make_filled, gone):
    stand = make_filled()
    gone.begin(stand.server)
    save_during_outage(stand)
    with takes_at_most(UMOUNT_WITHIN_S):
        done = stand.run("umount", stand.point)
    assert done.returncode == ExitStatus.NOT_UPLOADED
    assert "2 changes could not be uploaded" in done.stderr
    assert f"not uploaded: {HOME}/known/1" in done.stderr
    assert not stand.is_mounted
    stand.kill()
    stand.server.mend()
    stand.mount()
    assert (stand.mine / "known" / "new").read_bytes() == b"saved anew"
    stand.drain()
    assert_all_arrived(stand)


@pytest.mark.parametrize(BY, [HUNG_OWN, *DOCUMENTED])
def test_umount_during_an_outage_with_nothing_pending_is_quick(make_filled, gone):
    stand = make_filled()
    gone.begin(stand.server)
    with takes_at_most(UMOUNT_WITHIN_S):
        done = stand.run("umount", stand.point)
    assert (done.returncode, done.stderr) == (ExitStatus.OK, "")
    assert not stand.is_mounted


@pytest.mark.parametrize(BY, [HUNG_OWN, *DOCUMENTED])
def test_umount_on_a_network_that_swallows_everything_does_not_wait_for_its_time_limits(make_filled, gone):
    """The mount does not even know that it is offline: no call has timed out yet."""
    stand = make_filled("write_back", "change_deadline_s=75", "read_deadline_s=30")
    gone.begin(stand.server)
    (stand.mine / "known" / "new").write_bytes(b"saved anew")
    with takes_at_most(UMOUNT_WITHIN_S):
        done = stand.run("umount", stand.point)
    assert done.returncode == ExitStatus.NOT_UPLOADED
    assert "1 change could not be uploaded" in done.stderr
    stand.kill()
    stand.server.mend()
    stand.mount()
    stand.drain()
    assert stand.direct.content(f"{HOME}/known/new") == b"saved anew"


@OWN
def test_umount_while_an_upload_hangs_keeps_it_for_the_next_mount(make_filled):
    stand = make_filled()
    with ThreadPoolExecutor(1) as threads:
        stand.server.freeze()
        save = threads.submit(error_of, lambda: (stand.mine / "known" / "1").write_bytes(b"saved over it"))
        wait_for(lambda: stand.ask("status")["pending"] == 1)
        stop_now(stand)
        assert save.result() is not None
    stand.server.mend()
    stand.mount()
    stand.drain()
    assert server_of(stand).leftovers("1", "2", "3", folder=f"{HOME}/known") == []
    assert stand.direct.content(f"{HOME}/known/1") == b"saved over it"


def stop_now(stand: Stand) -> None:
    """As at the end of a user's session: SIGTERM."""
    with takes_at_most(UMOUNT_WITHIN_S):
        os.kill(stand.pid(), 15)
        wait_for(lambda: not stand.is_healthy)
    stand.kill()
    if stand.is_mounted:
        stand.run("umount", stand.point)


@pytest.mark.long
@OWN
def test_drain_after_a_long_outage_is_quick(make_filled):
    stand = make_filled()
    stand.server.kill()
    for content in (b"superseded", b"saved over it"):
        assert error_of(partial((stand.mine / "known" / "1").write_bytes, content)) == errno.ETIMEDOUT
    time.sleep(20)  # for so long that tries are rare
    stand.server.start()
    wait_for(lambda: stand.ask("status")["health"] == "online")
    with takes_at_most(2):
        stand.drain()
    assert stand.direct.content(f"{HOME}/known/1") == b"saved over it"
    assert server_of(stand).leftovers("1", "2", "3", folder=f"{HOME}/known") == []


# -- a server that hangs, and what is cached -------------------------------------------------------


@OWN
def test_known_names_are_never_delayed_by_a_server_that_hangs(make_filled):
    stand = make_filled()
    known, other = stand.mine / "known", stand.mine / "other"
    stand.server.freeze()
    with ThreadPoolExecutor(4) as threads:
        waiting = [threads.submit(error_of, lambda: os.listdir(other)) for _ in range(4)]
        while not all(call.done() for call in waiting):
            with takes_at_most(AT_ONCE_S):
                assert listing(known) == ["1", "2", "3"]
                assert fresh_bytes(known / "2") == body(2)
    assert {call.result() for call in waiting} == {errno.ETIMEDOUT}


STALLED = 32


@OWN
def test_stalled_reads_delay_neither_names_nor_cached_contents(make_stand, client):
    stand = make_stand(client)
    direct = stand.direct
    names = [f"file-{number}" for number in range(STALLED)]
    for name in ("cached", *names):
        direct.put(f"{HOME}/{name}", name.encode())
    direct.make_folder(f"{HOME}/folder")
    assert (stand.mine / "cached").read_bytes() == b"cached"
    stand.server.misbehave({"method": "GET", "path": "^/blobs/", "action": "delay", "seconds": 4})
    with ThreadPoolExecutor(STALLED) as threads:
        reads = [threads.submit((stand.mine / name).read_bytes) for name in names]
        wait_for(lambda: sum(row.word == "download" for row in stand.server.rows()) >= 4)
        for _ in range(20):
            with takes_at_most(AT_ONCE_S):
                assert (stand.mine / names[-1]).stat().st_size == len(names[-1])
            with takes_at_most(AT_ONCE_S):
                assert fresh_bytes(stand.mine / "cached") == b"cached"
        with takes_at_most(AT_ONCE_S):
            assert os.listdir(stand.mine / "folder") == []
        assert not any(read.done() for read in reads)
        stand.server.misbehave()
        assert [read.result() for read in reads] == [name.encode() for name in names]


def test_open_file_that_is_cached_is_read_to_its_end_without_asking_a_server_that_is_stopped(
    make_stand, client
):
    stand = make_stand(client)
    server, content = stand.server, bytes_of(3_000_000)
    server.put_in_parts(f"{HOME}/cached", content)
    with (stand.mine / "cached").open("rb", buffering=0) as file:
        assert file.readall() == content
        mark = server.mark()
        server.freeze()
        try:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            file.seek(0)
            assert os.fstat(file.fileno()).st_size == len(content)
            assert file.readall() == content
        finally:
            server.thaw()
        server.mark()
        assert server.rows(mark) == []
