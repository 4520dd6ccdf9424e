"""What is measured: a mount that can be made cold, and what it cost while something was done.

Used by `bench` and its lines; what is done knows a subject by its `top` folder alone, so that the same
work runs on every one.
"""

from __future__ import annotations

import abc
import enum
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.mount.server import Row, Server
from tests.mount.stand import Client, Counted, Stand

IN_FLIGHT = 16
PARTS_IN_FLIGHT = 8
PART_BYTES = 8 * 2**20
_CHUNK_BYTES = 2**20
_REPLAYED = {"ls", "stat", "find", "get", "download"}


class Bare(enum.Enum):
    """What a bare client does beside a line, for comparison."""

    NONE = enum.auto()
    SAME_REQUESTS = enum.auto()
    PARTS = enum.auto()  # of the large file, into a local one


@dataclass(frozen=True)
class Cost:
    """What one piece of work took, seconds None if it failed; counts are None where nobody counts."""

    seconds: float | None
    requests: list[str] | None = None  # a word each
    daemon_calls: Counter[str] | None = None
    bare_s: float | None = None  # the same requests by a bare client, IN_FLIGHT at a time


class Subject(abc.ABC):
    """A mount; `top` is the folder with the benchmark's tree."""

    name: str
    top: Path
    local: Path  # files to copy from

    @abc.abstractmethod
    def make_cold(self) -> None:
        """Mounted, with nothing in its caches."""

    @abc.abstractmethod
    def measure(self, work: Callable[[], object], bare: Bare = Bare.NONE) -> Cost:
        """Do it once, and let a bare client do its part afterwards, where that is known."""

    @abc.abstractmethod
    def close(self) -> None:
        """Unmounted, and all its processes ended."""


class Ours(Subject):
    """orionfs on one of its sessions, on a server whose answers are late while something is measured."""

    def __init__(self, folder: Path, local: Path, server: Server, client: Client, latency_s: float) -> None:
        folder.mkdir()
        self.name = {Client.OWN: "orionfs", Client.DOCUMENTED: "documented"}[client]
        self.local, self.server, self.latency_s = local, server, latency_s
        self.stand = Stand(folder, server, client)
        self.top = self.stand.mine

    def make_cold(self) -> None:
        if self.stand.is_mounted:
            self.stand.umount()
        shutil.rmtree(self.stand.home / "cache")
        (self.stand.home / "cache").mkdir(mode=0o700)
        self.stand.mount()

    def measure(self, work: Callable[[], object], bare: Bare = Bare.NONE) -> Cost:
        start = self.server.mark()
        before = self.daemon_calls()
        self.server.misbehave({"action": "delay", "seconds": self.latency_s})
        try:
            started_s = time.perf_counter()
            work()
            seconds = time.perf_counter() - started_s
            calls = self.daemon_calls() - before
            self.stand.drain()
            self.server.mark()
            counted = Counted(self.stand.client)
            counted.rows = self.server.rows(start)
            bare_s = self._bare(bare, counted.rows)
        finally:
            self.server.misbehave()
        return Cost(seconds, counted.cost, calls, bare_s)

    def daemon_calls(self) -> Counter[str]:
        """Handler -> calls of the kernel since the mount began."""
        return Counter(self.stand.ask("status")["daemon_calls"])

    def close(self) -> None:
        self.stand.close()

    def _bare(self, bare: Bare, rows: Sequence[Row]) -> float | None:
        """Seconds that a client takes with nothing in between."""
        started_s = time.perf_counter()
        if bare is Bare.SAME_REQUESTS:
            self._ask_the_same([row for row in rows if row.method == "GET" and row.word in _REPLAYED])
        elif bare is Bare.PARTS:
            self._get_parts(self.stand.orion_path(self.top / "large"))
        else:
            return None
        return time.perf_counter() - started_s

    def _ask_the_same(self, rows: Sequence[Row]) -> None:
        api = self.server.direct.api

        def ask(row: Row) -> None:
            answer = api.get(row.path, params=row.query, follow=True)
            assert answer.status_code < 500, answer.text

        with ThreadPoolExecutor(IN_FLIGHT) as threads:
            list(threads.map(ask, rows))

    def _get_parts(self, path: str) -> None:
        api, row = self.server.direct.api, self.server.direct.row(path)
        url = api.download_url(row["id"])
        url = url if url.startswith("http") else api.url + url

        def get(offset: int) -> None:
            last = min(offset + PART_BYTES, row["size"]) - 1
            headers = {"Range": f"bytes={offset}-{last}", "Accept-Encoding": "identity"}
            buffer = memoryview(bytearray(_CHUNK_BYTES))
            with api.session.get(url, headers=headers, stream=True, timeout=60) as answer:
                while count := answer.raw.readinto(buffer):
                    offset += os.pwrite(file.fileno(), buffer[:count], offset)

        with (
            tempfile.TemporaryFile(dir=self.local.parent) as file,
            ThreadPoolExecutor(PARTS_IN_FLIGHT) as threads,
        ):
            list(threads.map(get, range(0, row["size"], PART_BYTES)))
