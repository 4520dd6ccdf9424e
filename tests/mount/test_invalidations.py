"""Many entry invalidations against programs at work: every call is answered, no version is mixed."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.processes import wait_for
from tests.mount import working
from tests.mount.server import REPOSITORY
from tests.mount.stand import Stand

READERS, RENAMERS, LISTERS = 8, 2, 2
FILES = [f"file-{number}" for number in range(6)]
LIMIT = 1000  # of the mount's memory: half of a folder that is listed again and again must be forgotten
ENDING_S = 60


def start(work: str, folder: Path, seconds: float, *names: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", working.__name__, work, str(folder), str(seconds), *names]
    return subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def states(pid: int) -> list[str]:
    """Of all threads of a process."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found.append((task / "stat").read_text().rpartition(")")[2].split()[0])
    return found


def change(stand: Stand, folder: Path, seconds: float) -> int:
    """Another machine saves version after version; the mount is told to look. How many versions."""
    ends_at = time.monotonic() + seconds
    version = 0
    while time.monotonic() < ends_at:
        version += 1
        name = FILES[version % len(FILES)]
        stand.direct.put(stand.orion_path(folder / name), working.content(name, version))
        stand.ask("refresh")
    return version


@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("seconds", "invalidations_min"),
    [(5, 1000), pytest.param(60, 20_000, marks=pytest.mark.long)],
    ids=["short", "long"],
)
def test_invalidations_against_readers_renamers_and_listers(
    make_stand, shared_server, many_names, seconds, invalidations_min
) -> None:
    stand = make_stand(server=shared_server, options=[f"cache_items_max={LIMIT}"])
    shared = stand.mine / f"versions-{seconds}"
    shared.mkdir()
    for name in FILES:
        (shared / name).write_bytes(working.content(name, 0))
    workers = [start("read", shared, seconds, *FILES) for _ in range(READERS)]
    workers += [start("list", stand.mine / "many", seconds, *many_names) for _ in range(LISTERS)]
    for number in range(RENAMERS):
        own = shared / f"renamer-{number}"
        own.mkdir()
        (own / "a").write_bytes(b"x")
        workers.append(start("rename", own, seconds))
    versions = change(stand, shared, seconds)
    counts = []
    for worker in workers:
        said, error = worker.communicate(timeout=ENDING_S)
        assert (worker.returncode, error) == (0, "")
        counts.append(int(said))
    assert min(counts) > 0
    told = stand.ask("status")["entries_invalidated"]
    print(f"{versions} versions, {told} entries invalidated, rounds of the workers: {counts}")
    assert told >= invalidations_min
    wait_for(lambda: "D" not in states(stand.pid()))
