"""The cache of contents on real mounts: killed, shared, deleted, without room, without a server."""

from __future__ import annotations

import contextlib
import os
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.cli.processes import wait_for
from tests.mount.stand import Client, Stand

pytestmark = pytest.mark.started

MEBI = 2**20


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def fresh_bytes(path: Path) -> bytes:
    """What the mount gives, not what the kernel kept."""
    with path.open("rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        found = b""
        while block := file.read(MEBI):
            found += block
    return found


def blobs(stand: Stand, start: int) -> int:
    stand.server.mark()
    return sum(row.word == "blob" for row in stand.server.rows(start))


def test_daemon_killed_in_a_download_leaves_nothing_that_is_not_true(make_stand) -> None:
    stand = make_stand(Client.OWN)
    data = noise(40 * MEBI)
    stand.direct.put(f"{stand.direct.home}/large", data)
    stand.server.misbehave({"path": "^/blobs/", "action": "delay", "seconds": 20, "nth": 4})

    def read() -> None:
        with contextlib.suppress(OSError):
            fresh_bytes(stand.mine / "large")

    reader = threading.Thread(target=read)
    reader.start()
    wait_for(lambda: any(path.stat().st_blocks for path in (stand.home / "cache").rglob("file-*")))
    stand.kill()
    reader.join()
    stand.server.misbehave()
    stand.mount()
    assert fresh_bytes(stand.mine / "large") == data


def test_two_mounts_of_one_user_share_what_each_has_fetched(make_stand) -> None:
    one = make_stand(Client.OWN)
    other = make_stand(Client.OWN, server=one.server, is_mounted=False)
    other.environment["XDG_CACHE_HOME"] = one.environment["XDG_CACHE_HOME"]
    other.mount()
    data = noise(20 * MEBI)
    for name in ("first", "both"):
        one.direct.put(f"{one.direct.home}/{name}", data)
    assert fresh_bytes(one.mine / "first") == data
    start = one.server.mark()
    assert fresh_bytes(other.mine / "first") == data
    assert blobs(one, start) == 0

    with ThreadPoolExecutor(2) as threads:
        found = threads.map(fresh_bytes, [one.mine / "both", other.mine / "both"])
        assert list(found) == [data, data]
    with (one.mine / "both").open("rb", buffering=0) as held:
        folder = next((one.home / "cache" / "orionfs").glob("*/file-*")).parent
        for kept in list(folder.iterdir()):  # the folder itself may get a new file at any time
            kept.unlink(missing_ok=True)
        assert fresh_bytes(other.mine / "both") == data
        os.posix_fadvise(held.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        assert held.read(3 * MEBI) == data[: 3 * MEBI]
    assert fresh_bytes(one.mine / "both") == data


def test_open_file_that_is_cached_is_read_to_its_end_without_a_server(make_stand) -> None:
    """It was read while the address of its contents expired, which nobody has noticed."""
    stand = make_stand(Client.OWN)
    data = noise(20 * MEBI)
    stand.direct.put(f"{stand.direct.home}/large", data)
    stand.server.misbehave({"path": "^/blobs/", "action": "status", "status": 403, "nth": 2, "times": 1})
    with (stand.mine / "large").open("rb", buffering=0) as file:
        assert fresh_bytes(stand.mine / "large") == data
        stand.server.stop()
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        before = stand.ask("status")["daemon_calls"]["read"]
        found = b"".join(iter(lambda: file.read(MEBI), b""))
        assert stand.ask("status")["daemon_calls"]["read"] > before, "not the kernel's own copy"
        stand.server.start()
    assert found == data


def test_mount_without_any_cache_reads_rightly(make_stand) -> None:
    stand = make_stand(Client.OWN, options=["cache_limit_bytes=0"])
    data = noise(9 * MEBI + 17)
    stand.direct.put(f"{stand.direct.home}/large", data)
    assert fresh_bytes(stand.mine / "large") == data
    with (stand.mine / "large").open("r+b", buffering=0) as file:
        file.seek(5)
        file.write(b"changed")
    assert fresh_bytes(stand.mine / "large") == data[:5] + b"changed" + data[12:]
