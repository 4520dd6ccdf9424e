"""Resident memory of the daemon on real mounts of very large folders and trees.

`python scripts/bench_resident.py [ENTRIES...]`, or `scripts/bench --resident`: bytes for each entry of a
listed folder, all numbers known to the kernel, and the peak of a `find` over more entries than the mount
may keep.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.bench_seed import multiply
from tests.mount.server import Server
from tests.mount.stand import Stand

KIBI, MEBI = 2**10, 2**20
ENTRIES = (100_000, 1_000_000)
WALK_FOLDERS, WALK_ENTRIES = 200, 200_000
WALK_ITEMS_MAX = 50_000


@dataclass(frozen=True)
class Resident:
    """What a daemon held, in bytes, and what it took, in seconds."""

    title: str
    entries: int
    before_bytes: int
    after_bytes: int
    peak_bytes: int
    cold_s: float
    warm_s: float
    is_right: bool  # every name was there, once

    @property
    def bytes_an_entry(self) -> float:
        """Growth of the daemon for each entry."""
        return (self.after_bytes - self.before_bytes) / self.entries

    def __str__(self) -> str:
        peak = f"{self.peak_bytes / MEBI:.0f} MiB at most"
        return (
            f"{self.title}: {self.bytes_an_entry:.0f} bytes an entry, {peak}, cold {self.cold_s:.2f} s,"
            f" again {self.warm_s:.2f} s{'' if self.is_right else ', NAMES ARE WRONG'}"
        )


def listing(entries: int) -> Resident:
    """`ls -l` of one folder, which the mount may keep whole."""
    command = ["ls", "-l", "--time-style=+", "big"]
    with _mounted("big/item", entries - 1, f"cache_items_max={2 * entries}") as stand:
        return _measured(f"ls -l of {entries:,} entries", stand, command, entries, entries + 1)


def walk() -> Resident:
    """`find` over a tree of which the mount may keep a quarter."""
    command = ["find", "walk", "-type", "f", "-size", "+0"]
    each = WALK_ENTRIES // WALK_FOLDERS
    title = f"find over {WALK_ENTRIES:,} entries, cache_items_max={WALK_ITEMS_MAX}"
    folders = [f"walk/folder-{number:03}/item" for number in range(WALK_FOLDERS)]
    with _mounted(folders, each - 1, f"cache_items_max={WALK_ITEMS_MAX}") as stand:
        return _measured(title, stand, command, WALK_ENTRIES, WALK_ENTRIES)


@contextlib.contextmanager
def _mounted(items: str | list[str], copies: int, option: str) -> Iterator[Stand]:
    """A mount of a server that holds these items, and copies of each beside it."""
    with contextlib.ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="orionfs-bench-"))
        stack.callback(shutil.rmtree, folder)
        for name in [items] if isinstance(items, str) else items:
            path = folder / "import" / name
            path.parent.mkdir(parents=True)
            path.write_text("x")
        for name in ("server", "stand"):
            (folder / name).mkdir()
        server = Server(folder / "server", import_dir=folder / "import")
        stack.callback(server.close)
        server.stop()
        multiply(server.data, "item", copies)
        server.start()
        stand = Stand(folder / "stand", server, options=[option])
        stack.callback(stand.close)
        stand.mount()
        yield stand


def _measured(title: str, stand: Stand, command: list[str], entries: int, lines: int) -> Resident:
    (stand.mine / "big").exists()
    before, pid = _memory(stand.pid(), "VmRSS"), stand.pid()
    Path(f"/proc/{pid}/clear_refs").write_text("5")  # the peak begins here
    seconds = []
    found: list[list[str]] = []
    for _ in range(2):
        began_s = time.perf_counter()
        done = subprocess.run(command, cwd=stand.mine, stdout=subprocess.PIPE, text=True, check=True)
        seconds.append(time.perf_counter() - began_s)
        found.append(done.stdout.splitlines())
    return Resident(
        title,
        entries,
        before,
        _memory(pid, "VmRSS"),
        _memory(pid, "VmHWM"),
        seconds[0],
        seconds[1],
        all(len(names) == len(set(names)) == lines for names in found),
    )


def _memory(pid: int, what: str) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    (kibibytes,) = re.findall(rf"^{what}:\s+(\d+) kB", status, re.MULTILINE)
    return int(kibibytes) * KIBI


def main(numbers: list[str]) -> None:
    """One line each."""
    for entries in [int(number) for number in numbers] or ENTRIES:
        print(listing(entries), flush=True)
    print(walk(), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
