"""The kernel forgets what is beyond the limit of the mount's memory, and the mount with it."""

from __future__ import annotations

import importlib.util
import os
import subprocess
from pathlib import Path

import pytest

from tests.cli.processes import wait_for
from tests.mount.server import REPOSITORY, Server
from tests.mount.stand import Stand

LIMIT = 1000
BIG_FOLDERS, BIG_FILES, BIG_LIMIT = 200, 1000, 50_000
BIG_RSS_MAX_MIB = 150


def rss_mib(stand: Stand) -> float:
    """What the daemon's memory has been at most."""
    status = Path(f"/proc/{stand.pid()}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def multiply(data: Path, name: str, copies: int) -> None:
    """As the benchmark does: so many more of every item of this name, in a server that has ended."""
    spec = importlib.util.spec_from_file_location("bench_seed", REPOSITORY / "scripts" / "bench_seed.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.multiply(data, name, copies)


def find(folder: Path) -> list[str]:
    """What find prints."""
    done = subprocess.run(["find", folder], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_find_over_more_than_the_limit_leaves_no_more_than_the_limit(
    make_stand, shared_server, many_names
) -> None:
    stand = make_stand(server=shared_server, options=[f"cache_items_max={LIMIT}"])
    many = stand.mine / "many"
    with (many / many_names[0]).open() as held:
        assert len(find(many)) == len(many_names) + 1
        wait_for(lambda: stand.ask("status")["inodes"] <= LIMIT)
        assert held.read() == many_names[0]
    assert sorted(os.listdir(many)) == many_names
    for name in (many_names[0], many_names[1], many_names[-1]):
        assert (many / name).read_text() == name


@pytest.mark.long
@pytest.mark.timeout(600)
def test_find_over_200_000_entries_stays_small(make_stand, tmp_path_factory) -> None:
    folder = tmp_path_factory.mktemp("big")
    for at in range(BIG_FOLDERS):
        below = folder / "import" / "big" / f"{at}"
        below.mkdir(parents=True)
        (below / "file.txt").touch()
    server = Server(folder, import_dir=folder / "import")
    server.stop()
    multiply(server.data, "file.txt", BIG_FILES - 1)
    server.start()
    try:
        stand = make_stand(server=server, options=[f"cache_items_max={BIG_LIMIT}"])
        big = stand.mine / "big"
        for _ in range(2):
            assert len(find(big)) == BIG_FOLDERS * (BIG_FILES + 1) + 1
            print(f"daemon: {rss_mib(stand):.0f} MiB at most, {stand.ask('status')['inodes']} inodes")
            assert rss_mib(stand) < BIG_RSS_MAX_MIB
        wait_for(lambda: stand.ask("status")["inodes"] <= BIG_LIMIT)
        stand.close()
    finally:
        server.close()
