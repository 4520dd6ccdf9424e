"""Workloads on a real mount of a server with latency: seconds and requests, beside what was aimed at.

Started by `scripts/bench`. Nothing is asserted: a machine under load is slower. Requests are the
server's own count. Everything lies in a temporary folder that is removed at the end.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.mount.server import Server
from tests.mount.stand import Client, Stand

MEBI = 2**20
PART_BYTES = 8 * MEBI
IN_FLIGHT = 16
FOLDERS, FILES_A_FOLDER = 200, 5
SMALL_FILES = 100
RANDOM_READS = 100
CLIENTS = {client.name.lower(): client for client in Client}


@dataclass(frozen=True)
class Goal:
    """What was aimed at; None where nothing was."""

    seconds: float | None = None
    requests: int | None = None


class Bench:
    """A server, a mount, and the table."""

    def __init__(self, folder: Path, latency_s: float, client: Client, items: int, large_mib: int) -> None:
        self.latency_s, self.items, self.large_mib = latency_s, items, large_mib
        _make_tree(folder / "import", items)
        for name in ("server", "stand"):
            (folder / name).mkdir()
        self.server = Server(folder / "server", import_dir=folder / "import")
        self.stand = Stand(folder / "stand", self.server, client)
        self.local = folder / "local"
        self.local.mkdir()
        for number in range(SMALL_FILES):
            (self.local / f"copied-{number:03}").write_bytes(os.urandom(2000))

    def close(self) -> None:
        self.server.misbehave()
        self.stand.close()
        self.server.close()

    def make_slow(self) -> None:
        self.server.misbehave({"action": "delay", "seconds": self.latency_s})

    def make_cold(self) -> None:
        """A new mount that has nothing in its caches."""
        self.server.misbehave()
        if self.stand.is_mounted:
            self.stand.umount()
        shutil.rmtree(self.stand.home / "cache")
        (self.stand.home / "cache").mkdir(mode=0o700)
        self.stand.mount()
        os.listdir(self.stand.mine)
        self.make_slow()

    def measure(self, what: str, work: Callable[[], object], goal: Goal, bytes_done: int = 0) -> float:
        """Do it, and print a line of the table; the seconds."""
        before = self.server.mark()
        started = time.perf_counter()
        work()
        seconds = time.perf_counter() - started
        self.stand.drain()
        self.server.mark()
        requests = len(self.server.rows(before))
        speed = f"{bytes_done / MEBI / seconds:8.0f}" if bytes_done else " " * 8
        seconds_goal, requests_goal = _text(goal.seconds, "9.3f"), _text(goal.requests, "8")
        mark = "  <--" if _is_missed(goal, seconds, requests) else ""
        print(f"{what:<46}{seconds:9.3f}{seconds_goal}{requests:10}{requests_goal}{speed}{mark}", flush=True)
        return seconds


def _text(value: float | None, form: str) -> str:
    width = int(form.split(".")[0].rstrip("f"))
    return f"{'-':>{width}}" if value is None else f"{value:{form}}"


def _is_missed(goal: Goal, seconds: float, requests: int) -> bool:
    is_slow = goal.seconds is not None and seconds > goal.seconds
    return is_slow or (goal.requests is not None and requests > goal.requests)


def _make_tree(top: Path, items: int) -> None:
    """What is on the server before anything is measured."""
    (top / "many").mkdir(parents=True)
    for number in range(items):
        (top / "many" / f"item-{number:05}").write_bytes(b"x" * 100)
    for number in range(FOLDERS):
        folder = top / "tree" / f"folder-{number:03}"
        folder.mkdir(parents=True)
        for at in range(FILES_A_FOLDER):
            (folder / f"file-{at}").write_bytes(b"x" * 1000)
    (top / "small").mkdir()
    for number in range(SMALL_FILES):
        (top / "small" / f"file-{number:03}").write_bytes(os.urandom(2000))


def run(*command: str | Path) -> None:
    subprocess.run([str(part) for part in command], stdout=subprocess.DEVNULL, check=True)


# -- workloads -------------------------------------------------------------------------------------


def names(bench: Bench) -> None:
    mine, latency_s = bench.stand.mine, bench.latency_s
    pages = math.ceil(bench.items / 1000)
    many, tree = mine / "many", mine / "tree"
    bench.make_cold()
    # The transfer of the pages is a guess: 40 microseconds a row.
    cold = Goal(3 * latency_s + bench.items * 40e-6, pages)
    bench.measure(f"ls -l, {bench.items:,} items, cold", lambda: run("ls", "-l", many), cold)
    bench.measure("  again", lambda: run("ls", "-l", many), Goal(0.1 * bench.items / 10_000, 0))
    absent = [many / f"absent-{number}" for number in range(1000)]
    bench.measure("  1,000 absent names", lambda: [path.exists() for path in absent], Goal(None, 0))
    folders = FOLDERS + 1
    cold = Goal((2 + folders / IN_FLIGHT + 2) * latency_s, folders)
    bench.measure(f"find, {folders} folders, cold", lambda: run("find", tree, "-size", "+0"), cold)
    bench.measure("  again", lambda: run("find", tree, "-size", "+0"), Goal(0.1, 0))


def small_files(bench: Bench) -> None:
    mine, latency_s = bench.stand.mine, bench.latency_s
    bench.make_cold()
    small = mine / "small"
    os.listdir(small)
    bench.measure(
        "cat of a small file, cold", lambda: run("cat", small / "file-000"), Goal(2.5 * latency_s, 2)
    )
    bench.measure("  again", lambda: run("cat", small / "file-000"), Goal(0.02, 0))
    most = 2 * SMALL_FILES
    bench.measure(
        f"grep -r, {SMALL_FILES} small files, cold",
        lambda: run("grep", "-rc", "x", small),
        Goal((most / IN_FLIGHT + 4) * latency_s, most),
    )
    bench.measure("  again", lambda: run("grep", "-rc", "x", small), Goal(0.1, 0))


def changes(bench: Bench) -> None:
    mine, latency_s = bench.stand.mine, bench.latency_s
    bench.make_cold()
    copies, count = mine / "copies", SMALL_FILES
    one = bench.local / "copied-000"
    bench.measure("mkdir", copies.mkdir, Goal(1.5 * latency_s, 1))
    bench.measure("cp of a new small file", lambda: run("cp", one, mine / "one"), Goal(3.5 * latency_s, 3))
    bench.measure("  replacing it", lambda: run("cp", one, mine / "one"), Goal(4.5 * latency_s, 4))
    new = Goal(3 * count * latency_s, 3 * count)
    files = sorted(bench.local.iterdir())
    bench.measure(f"cp of {count} small files", lambda: run("cp", *files, copies), new)
    replaced = Goal(4 * count * latency_s, 4 * count)
    bench.measure("  replacing them", lambda: run("cp", *files, copies), replaced)
    bench.measure("mv of a folder", lambda: run("mv", copies, mine / "moved"), Goal(3.5 * latency_s, 3))
    removed = Goal((count + 3) * latency_s * 1.2, count + 2)
    bench.measure(f"rm -r, {count} files", lambda: run("rm", "-r", mine / "moved"), removed)


def large_files(bench: Bench) -> None:
    size = bench.large_mib * MEBI
    path = bench.stand.mine / "large"
    bench.make_cold()
    bench.measure(f"write {bench.large_mib} MiB", lambda: _write(path, size), Goal(), size)
    item = bench.server.direct.row(bench.stand.orion_path(path))["id"]
    bare_s = bench.measure(
        "  bare parallel GETs of its parts", lambda: _get_bare(bench, item, size), Goal(), size
    )
    bench.make_cold()
    path.stat()
    parts = math.ceil(size / PART_BYTES)
    bench.measure("  read, cold", lambda: _read(path), Goal(bare_s / 0.6, parts + 4), size)
    bench.measure("  again, from the page cache", lambda: _read(path), Goal(None, 0), size)
    bench.measure("  again, from the daemon", lambda: _read(path, is_afresh=True), Goal(None, 0), size)
    bench.make_cold()
    path.stat()
    reads = Goal(RANDOM_READS * 1.2 * bench.latency_s, RANDOM_READS + 1)
    bench.measure(f"  {RANDOM_READS} random reads of 4 KiB, cold", lambda: _read_randomly(path, size), reads)


def _write(path: Path, size: int) -> None:
    block = os.urandom(MEBI)
    with path.open("wb", buffering=0) as file:
        for _ in range(size // MEBI):
            file.write(block)


def _read(path: Path, *, is_afresh: bool = False) -> None:
    with path.open("rb", buffering=0) as file:
        if is_afresh:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        while file.read(MEBI):
            pass


def _read_randomly(path: Path, size: int) -> None:
    dice = random.Random(1)
    with path.open("rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
        for _ in range(RANDOM_READS):
            os.pread(file.fileno(), 4096, dice.randrange(size - 4096))


def _get_bare(bench: Bench, item: int, size: int) -> None:
    """What the mount's cold read is compared with: the same parts into a file, by requests alone."""
    api = bench.server.direct.api
    url = api.download_url(item)
    url = url if url.startswith("http") else api.url + url

    def get(offset: int) -> None:
        last = min(offset + PART_BYTES, size) - 1
        headers = {"Range": f"bytes={offset}-{last}", "Accept-Encoding": "identity"}
        buffer = memoryview(bytearray(MEBI))
        with api.session.get(url, headers=headers, stream=True, timeout=60) as answer:
            while count := answer.raw.readinto(buffer):
                offset += os.pwrite(file.fileno(), buffer[:count], offset)

    with tempfile.TemporaryFile(dir=bench.local) as file, ThreadPoolExecutor(8) as threads:
        list(threads.map(get, range(0, size, PART_BYTES)))


WORKLOADS: dict[str, Callable[[Bench], None]] = {
    "names": names,
    "small": small_files,
    "changes": changes,
    "large": large_files,
}


@contextmanager
def prepared(options: argparse.Namespace) -> Iterator[Bench]:
    folder = Path(tempfile.mkdtemp(prefix="orionfs-bench-"))
    try:
        bench = Bench(folder, options.latency, CLIENTS[options.client], options.items, options.large_mib)
        try:
            yield bench
        finally:
            bench.close()
    finally:
        shutil.rmtree(folder)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument(
        "--latency", type=float, default=0.04, metavar="SECONDS", help="of each answer (0.04)"
    )
    parser.add_argument("--client", choices=CLIENTS, default="own", help="the session that the mount uses")
    parser.add_argument("--items", type=int, default=10_000, metavar="N", help="items of the large folder")
    parser.add_argument("--large-mib", type=int, default=512, metavar="N", help="size of the large file")
    parser.add_argument("only", nargs="*", metavar="WORKLOAD", help=f"of {', '.join(WORKLOADS)} (all)")
    options = parser.parse_args()
    unknown = set(options.only) - set(WORKLOADS)
    if unknown:
        parser.error(f"unknown workload: {', '.join(sorted(unknown))}")
    print(
        f"{options.latency * 1000:.0f} ms a request, {options.client} session; <-- is a goal that was missed"
    )
    print(f"{'':<46}{'seconds':>9}{'goal':>9}{'requests':>10}{'goal':>8}{'MiB/s':>8}")
    with prepared(options) as bench:
        for name, work in WORKLOADS.items():
            if not options.only or name in options.only:
                work(bench)


if __name__ == "__main__":
    main()
