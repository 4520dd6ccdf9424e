"""The kernel forgets what is beyond the limit of the mount's memory, and the mount with it."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.processes import wait_for
from tests.mount.server import Server
from tests.mount.stand import Stand

LIMIT = 1000
BIG_FOLDERS, BIG_FILES, BIG_LIMIT = 200, 1000, 50_000
BIG_RSS_MAX_MIB = 150


def rss_mib(stand: Stand) -> float:
    """What the daemon's memory has been at most."""
    status = Path(f"/proc/{stand.pid()}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def multiply(data: Path, copies: int) -> None:
    """So many more of every file beside it, as rows alone, in a server that has ended."""
    with closing(sqlite3.connect(data / "metadata.sqlite3")) as base, base:
        files = [row[0] for row in base.execute("SELECT id FROM resource WHERE kind = 'file'")]
        first = base.execute("SELECT value FROM setting WHERE name = 'next_id'").fetchone()[0]
        base.execute("UPDATE setting SET value = value + ? WHERE name = 'next_id'", (len(files) * copies,))
        for at, file in enumerate(files):
            for table, key in (("resource", "id"), ("placement", "resource")):
                columns = [row[1] for row in base.execute(f"PRAGMA table_info({table})")]
                shown = [c for c in columns if c not in (key, "name", "rowid")]
                rest = ", ".join(shown)
                base.execute(
                    f"WITH RECURSIVE number (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM number WHERE n < ?)"
                    f" INSERT INTO {table} ({key}, name, {rest})"
                    f" SELECT ? + n, printf('%s-%05d', name, n), {rest} FROM {table}, number WHERE {key} = ?",
                    (copies - 1, first + at * copies, file),
                )


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


@pytest.mark.started
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
    multiply(server.data, BIG_FILES - 1)
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
