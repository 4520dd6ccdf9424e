"""Small files are fetched ahead of the programs that read a folder: each once, and none in vain for long."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from orionfs.vfs.runs import LEAD_AT_FIRST, LEAD_MAX
from tests.cli.processes import wait_for
from tests.mount.stand import Client, Counted, Stand

COUNT = 24


@pytest.fixture
def filled(mounted, cold) -> Path:
    """A folder of small files whose names are known, and nothing else of them."""
    for number in range(COUNT):
        mounted.direct.put(f"{mounted.orion_path(cold)}/item-{number:02}", content(number))
    os.listdir(cold)
    return cold


def content(number: int) -> bytes:
    return f"{number}\n".encode() * 100


def fetched(counted: Counted) -> list[str]:
    """Whose contents were asked for, an entry a question."""
    return [row.path for row in counted.of("download")]


def test_two_files_read_in_order_bring_the_next_ones(mounted: Stand, filled) -> None:
    start = mounted.server.mark()

    def are_there(count: int) -> Callable[[], bool]:
        last = "blob" if mounted.client is Client.OWN else "download"
        return lambda: [row.word for row in mounted.server.rows(start)].count(last) == count

    for number in (3, 4):
        assert (filled / f"item-{number:02}").read_bytes() == content(number)
    wait_for(are_there(2 + LEAD_AT_FIRST))
    assert (filled / "item-05").read_bytes() == content(5)
    wait_for(are_there(2 + 1 + 2 * LEAD_AT_FIRST))


@pytest.mark.some(3)
@pytest.mark.parametrize(
    "script",
    ['cat "$0"/*', 'grep -rh "" "$0"', 'cp -r "$0" "$1"', 'tar -c -C "$0" . | cat'],
    ids=["cat", "grep", "cp", "tar"],
)
def test_program_that_reads_a_folder_fetches_each_file_once(mounted, filled, tmp_path, script) -> None:
    with mounted.counting() as counted:
        command = ["sh", "-c", script, filled, tmp_path / "copy"]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    # What was fetched ahead of the test before this one may arrive late.
    mine = {str(row["id"]) for row in mounted.direct.rows(mounted.orion_path(filled))}
    asked = [path for path in fetched(counted) if mine & set(path.split("/"))]
    assert len(asked) == len(set(asked)) == COUNT
    assert len(fetched(counted)) - COUNT <= LEAD_MAX
    if script.startswith(("cat", "grep")):
        assert sorted(done.stdout.split()) == sorted(b"".join(map(content, range(COUNT))).split())
    if script.startswith("cp"):
        for number in range(COUNT):
            assert (tmp_path / "copy" / f"item-{number:02}").read_bytes() == content(number)
