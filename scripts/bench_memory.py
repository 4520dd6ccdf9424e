"""Resident bytes of an entry of a listed folder, listing held and all numbers known to the kernel.

    python scripts/bench_memory.py [ENTRIES...]

Each number of entries is measured in a process of its own: pages as a session gives them are read, named,
believed and bound, as `ls -l` does, by all layers but the kernel; the figure is the growth of the resident
memory of the process.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import time
from typing import Any, cast

import trio

from orionfs.memory import give_back_early
from orionfs.orion.remote import Remote
from orionfs.tables.freshness import Freshness
from orionfs.tables.metacache import MetaCache
from orionfs.tables.metadata import Permissions
from orionfs.tree.namespace import Namespace

FOLDER = "/project/1/user/demo/big"
_MEMORY_PAGE_BYTES = 4096


class Pages:
    """A session that lists one folder of files."""

    ranged = False
    metadata_at_once: int | None = None
    contents_at_once: int | None = None
    paged_shards = False
    lists_shares = False

    def __init__(self, entries: int) -> None:
        self.entries = entries

    def ls_path(self, _path: str, query: dict[str, Any]) -> Any:
        """One page, read from JSON as a session does."""
        offset, limit = query.get("offset", 0), min(query["limit"], 1000)
        rows = [_row(number) for number in range(offset, min(offset + limit, self.entries))]
        return json.loads(json.dumps({"count": self.entries, "results": rows}))


def _row(number: int) -> dict[str, Any]:
    name = f"molecule-{number:07d}.sdf"
    minute, second = divmod(number // 1000, 60)
    clock = f"{minute // 60 % 24:02d}:{minute % 60:02d}:{second:02d}"
    return {
        "resource_type": "file",
        "id": 100_000 + number,
        "name": name,
        "path": f"{FOLDER}/{name}",
        "created": f"2026-08-22T{clock}.{number % 1000:03d}001Z",
        "owner": 1001,
        "project": 5001,
        "tags": [],
        "size": 10_000 + number * 7,
        "state": "ready",
    }


def resident_bytes() -> int:
    """Of this process, now."""
    gc.collect()
    with open("/proc/self/statm", encoding="ascii") as stream:
        return int(stream.read().split()[1]) * _MEMORY_PAGE_BYTES


async def list_and_bind(entries: int) -> tuple[Namespace, float]:
    """A tree whose one folder was listed, all told to the kernel; and the CPU seconds it took."""
    remote = Remote(cast("Any", Pages(entries)))
    assigner = cast("Any", None)  # nothing is renamed
    namespace = Namespace(remote, assigner, MetaCache(2 * entries), Freshness(), Permissions(), {})
    root = namespace.inodes.root
    root.anchor = FOLDER
    began_s = time.process_time()
    snapshot = await namespace.snapshot(root)
    for name, item in snapshot.entries:
        inode = namespace.entry(root, name, item, snapshot)
        assert inode is not None
        namespace.attributes(inode, 30.0)
        inode.lookups += 1
    return namespace, time.process_time() - began_s


def measure(entries: int) -> tuple[float, float]:
    """Resident bytes an entry, and CPU seconds."""
    give_back_early()
    trio.run(list_and_bind, 100)  # what is made once
    before = resident_bytes()
    namespace, took_s = trio.run(list_and_bind, entries)
    grown = resident_bytes() - before
    assert len(namespace.inodes) == entries + 1
    return grown / entries, took_s


def main(args: list[str]) -> None:
    """One line for each number of entries."""
    if args[:1] == ["--one"]:
        print("{:.0f} bytes an entry, {:.2f} s of CPU".format(*measure(int(args[1]))))
        return
    for entries in [int(arg) for arg in args] or [100_000, 1_000_000]:
        ran = subprocess.run(
            [sys.executable, __file__, "--one", str(entries)], check=True, capture_output=True, text=True
        )
        print(f"{entries:>9,} entries: {ran.stdout.strip()}")


if __name__ == "__main__":
    main(sys.argv[1:])
