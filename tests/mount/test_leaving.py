"""Large files that leave for Orion while they are written, on real mounts."""

from __future__ import annotations

import os
import random
from contextlib import suppress
from pathlib import Path

import pytest

from tests.cli.processes import wait_for
from tests.mount.server import PART_BYTES
from tests.mount.stand import Client, Stand
from tests.server.process import FILES

MEBI = 2**20
PARTS = 5
CONTENT = random.Random(5).randbytes(PARTS * PART_BYTES - MEBI)


def write(path: Path, flags: int = os.O_CREAT | os.O_TRUNC) -> int:
    """A file with all of the content written to it, and open; by default a new one."""
    descriptor = os.open(path, os.O_WRONLY | flags, 0o644)
    for start in range(0, len(CONTENT), MEBI):
        assert os.write(descriptor, CONTENT[start : start + MEBI]) == MEBI
    return descriptor


def marked(stand: Stand) -> list[str]:
    """Names of what is on Orion under a mark, in whatever state."""
    rows = stand.direct.api.get(FILES, params={"limit": 1000, "order_by": "-id"}).json()["results"]
    return [row["name"] for row in rows if row["name"].startswith(".orionfs") and not row.get("deleted")]


def test_parts_have_left_before_close_and_none_goes_twice(mounted, folder) -> None:
    path = folder / "large"
    start = mounted.server.mark()
    with mounted.counting() as counted:
        descriptor = write(path)
        if mounted.client is Client.OWN:
            wait_for(lambda: [row.word for row in mounted.server.rows(start)].count("part") == PARTS - 2)
        mounted.server.mark()
        early = [row.word for row in mounted.server.rows(start) if row.word in ("begin", "part", "upload")]
        assert early == (["begin", *["part"] * (PARTS - 2)] if mounted.client is Client.OWN else [])
        assert mounted.direct.names(mounted.orion_path(folder)) == []
        os.close(descriptor)
        assert mounted.direct.content(mounted.orion_path(path)) == CONTENT
    parts = counted.of("part")
    assert len(parts) == len({row.path for row in parts}) == PARTS
    assert [row.word for row in counted.rows if row.word not in ("part", "info")] == [
        "begin",
        "complete",
        "assign",
    ]
    if mounted.client is Client.OWN:
        check_growing(mounted, path)
    assert marked(mounted) == []
    path.unlink()


def check_growing(stand: Stand, path: Path) -> None:
    """A file that grows leaves with what was there before, read back from the cache."""
    start = stand.server.mark()
    with stand.counting() as counted:
        descriptor = write(path, os.O_APPEND)
        full = 2 * len(CONTENT) // PART_BYTES
        wait_for(lambda: [row.word for row in stand.server.rows(start)].count("part") == full - 1)
        assert stand.direct.content(stand.orion_path(path)) == CONTENT
        os.close(descriptor)
    assert len({row.path for row in counted.of("part")}) == len(counted.of("part")) == full + 1
    assert stand.direct.content(stand.orion_path(path)) == CONTENT * 2


@pytest.mark.expect_log("what was being written when an earlier mount ended is kept")
def test_daemon_killed_while_a_file_leaves_loses_nothing_and_leaves_no_orphan(make_stand) -> None:
    stand = make_stand()
    descriptor = write(stand.mine / "large")
    (unfinished,) = marked(stand)
    wait_for(lambda: [row.word for row in stand.server.rows()].count("part") >= 2)
    stand.kill()
    with suppress(OSError):
        os.close(descriptor)
    assert marked(stand) == [unfinished]
    assert stand.run("umount", stand.point).returncode == 0
    stand.mount()
    stand.drain()
    assert marked(stand) == []
    assert os.listdir(stand.mine) == []
    (kept,) = (stand.home / "state").rglob("kept/*")
    assert kept.read_bytes() == CONTENT
