"""Many entry invalidations against programs at work: every call is answered, no version is mixed."""

from __future__ import annotations

import subprocess
import sys
from itertools import count
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


def start(work: str, folder: Path, stop: Path, *names: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", working.__name__, work, str(folder), str(stop), *names]
    return subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def states(pid: int) -> list[str]:
    """Of all threads of a process."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found.append((task / "stat").read_text().rpartition(")")[2].split()[0])
    return found


def change(stand: Stand, folder: Path, invalidations_min: int) -> int:
    """Another machine saves version after version; the mount is told to look. How many versions."""
    for version in count(1):
        name = FILES[version % len(FILES)]
        stand.direct.put(stand.orion_path(folder / name), working.content(name, version))
        stand.ask("refresh")
        if version >= len(FILES) and told(stand) >= invalidations_min:
            return version
    raise AssertionError


def told(stand: Stand) -> int:
    return int(stand.ask("status")["entries_invalidated"])


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "invalidations_min", [1000, pytest.param(20_000, marks=pytest.mark.long)], ids=["short", "long"]
)
def test_invalidations_against_readers_renamers_and_listers(
    make_stand, shared_server, many_names, tmp_path, invalidations_min
) -> None:
    stand = make_stand(server=shared_server, options=[f"cache_items_max={LIMIT}"])
    stop = tmp_path / "stop"
    shared = stand.mine / f"versions-{invalidations_min}"
    shared.mkdir()
    for name in FILES:
        (shared / name).write_bytes(working.content(name, 0))
    workers = [start("read", shared, stop, *FILES) for _ in range(READERS)]
    workers += [start("list", stand.mine / "many", stop, *many_names) for _ in range(LISTERS)]
    for number in range(RENAMERS):
        own = shared / f"renamer-{number}"
        own.mkdir()
        (own / "a").write_bytes(b"x")
        workers.append(start("rename", own, stop))
    versions = change(stand, shared, invalidations_min)
    stop.touch()
    rounds = []
    for worker in workers:
        said, error = worker.communicate(timeout=ENDING_S)
        assert (worker.returncode, error) == (0, "")
        rounds.append(int(said))
    print(f"{versions} versions, {told(stand)} entries invalidated, rounds of the workers: {rounds}")
    wait_for(lambda: "D" not in states(stand.pid()))
