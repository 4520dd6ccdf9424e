"""A mount on the vendor's client, played by a stand-in under an interpreter of its own."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.cli.processes import wait_for
from tests.mount.conftest import watched
from tests.mount.server import Direct, Server
from tests.mount.stand import Client, Stand
from tests.standin.python import StandIn, VendorPython

DEADLINE_S = 5  # a worker starts within it on a busy machine
OPTIONS = [f"read_deadline_s={DEADLINE_S}", f"change_deadline_s={DEADLINE_S}", f"inactivity_s={DEADLINE_S}"]
# What a download does wrong, and what its reader gets.
FAULTS = {"preallocate": None, "short": errno.EIO, "long": errno.EIO, "stall": errno.ETIMEDOUT}
CONTENTS = os.urandom(200_000)


@pytest.fixture(scope="module")
def vendor_stand(tmp_path_factory: pytest.TempPathFactory, vendor: VendorPython) -> Iterator[Stand]:
    """A mount of the vendor's profile `work`, which nothing of ours describes; found by `ocli`."""
    server = Server(tmp_path_factory.mktemp("server"))
    for fault in FAULTS:
        server.direct.put(f"{Direct.team}/contents-{fault}", CONTENTS)
    made = Stand(tmp_path_factory.mktemp("vendor-stand"), server, Client.DOCUMENTED, OPTIONS)
    shutil.rmtree(made.home / "config" / "orionfs")
    made.environment["PATH"] = f"{vendor.ocli.parent}:{made.environment['PATH']}"
    made.environment["ORION_PROFILE"] = "work"
    StandIn(made.home).write_profile("work", server.url, server.token)
    made.mount()
    yield made
    made.close()
    server.close()


@pytest.fixture
def stand(request: pytest.FixtureRequest, vendor_stand: Stand) -> Iterator[Stand]:
    """The same for one test."""
    yield from watched(request, vendor_stand)


@pytest.fixture
def stand_in(stand: Stand) -> Iterator[StandIn]:
    """What it does wrong; nothing any more when the mount ends."""
    made = StandIn(stand.home)
    yield made
    made.misbehave()


def workers(stand: Stand) -> set[int]:
    """Processes that the daemon has started from whatever thread."""
    found: set[int] = set()
    for children in Path(f"/proc/{stand.pid()}/task").glob("*/children"):
        found |= set(map(int, children.read_text().split()))
    return found


def test_files_are_made_moved_read_and_removed(stand: Stand) -> None:
    assert "orion:Demo@work (as demo)" in stand.said
    folder = stand.mine / "vendor"
    subprocess.run(["mkdir", folder], check=True)
    (stand.folder / "local").write_bytes(CONTENTS)
    subprocess.run(["cp", stand.folder / "local", folder / "a"], check=True)
    subprocess.run(["mv", folder / "a", folder / "b"], check=True)
    assert subprocess.run(["cat", folder / "b"], check=True, capture_output=True).stdout == CONTENTS
    (folder / "b").write_bytes(b"second version")
    assert stand.direct.content(f"{Direct.home}/vendor/b") == b"second version"
    assert os.listdir(folder) == ["b"]
    stand.remount()
    assert (folder / "b").read_bytes() == b"second version"
    subprocess.run(["rm", "-r", folder], check=True)
    assert stand.direct.find(f"{Direct.home}/vendor") is None


def test_shards_are_made_read_and_removed_with_their_collection(stand: Stand) -> None:
    api = "/api/v1/storage/collections"
    stand.direct.api.post(api, {"name": "shards", "folder_path": Direct.team})
    shards = stand.team / "shards"
    (shards / "one").write_bytes(CONTENTS)
    (shards / "two").write_bytes(b"second")
    stand.remount()
    assert sorted(os.listdir(shards)) == ["one", "two"]
    assert subprocess.run(["cat", shards / "one"], check=True, capture_output=True).stdout == CONTENTS
    (shards / "two").unlink()
    assert os.listdir(shards) == ["one"]
    assert stand.run("rm", shards).returncode == 0
    assert stand.direct.find(f"{Direct.team}/shards") is None


@pytest.mark.expect_log("offline: |no answer within|not reachable")
def test_hanging_call_holds_nothing_up_and_leaves_no_process(stand: Stand, stand_in: StandIn) -> None:
    path = stand.mine / "hang"
    path.write_bytes(b"a")
    os.listdir(stand.mine)
    before = workers(stand)
    stand_in.misbehave(ls_path="hang", stat_path="retry")
    with ThreadPoolExecutor(2) as threads:
        slow: list[Future[object]] = [
            threads.submit(os.listdir, stand.team),
            threads.submit(os.stat, stand.team / "nothing"),
        ]
        begun = time.monotonic()
        while not all(each.done() for each in slow):
            assert "hang" in os.listdir(stand.mine)
            time.sleep(0.05)
        assert time.monotonic() - begun < DEADLINE_S + 20
        for each in slow:
            with pytest.raises(TimeoutError):
                each.result()
    wait_for(lambda: len(workers(stand)) <= len(before))
    stand_in.misbehave()
    wait_for(lambda: stand.ask("status")["health"] == "online")
    assert {f"contents-{fault}" for fault in FAULTS} <= set(os.listdir(stand.team))
    assert path.read_bytes() == b"a"
    path.unlink()


@pytest.mark.some(2)
@pytest.mark.expect_log("bytes came, not|no answer within|took longer|ended with status|offline: ")
@pytest.mark.parametrize(("fault", "error"), FAULTS.items())
def test_contents_are_shown_whole_or_not_at_all(
    stand: Stand, stand_in: StandIn, fault: str, error: int | None
) -> None:
    path = stand.team / f"contents-{fault}"
    stand_in.misbehave(download_to_file=fault)
    if error is None:
        assert path.read_bytes() == CONTENTS
    else:
        with pytest.raises(OSError, match=os.strerror(error)) as failed:
            path.read_bytes()
        assert failed.value.errno == error
    stand_in.misbehave()
    wait_for(lambda: stand.ask("status")["health"] == "online")
    assert path.read_bytes() == CONTENTS
    wait_for(lambda: list((stand.home / "cache").rglob("*.tmp*")) == [])
    path.unlink()


@pytest.mark.expect_log("offline: |no answer within|ended with status")
def test_change_that_ended_with_its_worker_is_looked_up(stand: Stand, stand_in: StandIn) -> None:
    stand_in.misbehave(create_paths="crash")
    path = stand.mine / "unclear"
    # Tried again until its deadline, which may come while one more worker starts.
    with pytest.raises(OSError, match=f"{os.strerror(errno.EIO)}|{os.strerror(errno.ETIMEDOUT)}"):
        path.mkdir()
    stand_in.misbehave()
    wait_for(lambda: stand.ask("status")["health"] == "online")
    path.mkdir()
    path.rmdir()
    assert "create_paths" in stand.log
    assert "how it ended was not known; it has not happened" in stand.log
