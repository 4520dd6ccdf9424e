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
_CONTENTS = {"download", "blob"}
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
    arrived_s: float | None = None  # until all of it was on the server, where that is later
    fetched_bytes: int | None = None  # of contents


class Subject(abc.ABC):
    """A mount; `top` is the folder with the benchmark's tree."""

    name: str
    top: Path
    local: Path  # files to copy from

    can_write_back = True

    @abc.abstractmethod
    def make_cold(self, *, writes_back: bool = False) -> None:
        """Mounted, with nothing in its caches."""

    @abc.abstractmethod
    def remount(self) -> None:
        """Mounted anew, with what it had in its caches on the disk."""

    @abc.abstractmethod
    def measure(
        self,
        work: Callable[[], object],
        bare: Bare = Bare.NONE,
        arrives: Callable[[Path], bool] | None = None,
    ) -> Cost:
        """Do it once, and let a bare client do its part afterwards, where that is known.

        `arrives` tells by the folder of the server where this subject changes things whether all is there.
        """

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
        self._arguments: list[str] = []

    def make_cold(self, *, writes_back: bool = False) -> None:
        if self.stand.is_mounted:
            self.stand.umount()
        shutil.rmtree(self.stand.home / "cache")
        (self.stand.home / "cache").mkdir(mode=0o700)
        self._arguments = ["--write-back"] if writes_back else []
        self.stand.mount(arguments=self._arguments)

    def remount(self) -> None:
        self.stand.umount()
        self.stand.mount(arguments=self._arguments)

    def measure(
        self,
        work: Callable[[], object],
        bare: Bare = Bare.NONE,
        arrives: Callable[[Path], bool] | None = None,
    ) -> Cost:
        start = self.server.mark()
        before = self.daemon_calls()
        self.server.misbehave({"action": "delay", "seconds": self.latency_s})
        try:
            started_s = time.perf_counter()
            work()
            seconds = time.perf_counter() - started_s
            self.stand.drain()
            arrived_s = None if arrives is None else time.perf_counter() - started_s
            calls = self.daemon_calls() - before
            self.server.mark()
            counted = Counted(self.stand.client)
            counted.rows = self.server.rows(start)
            bare_s = self._bare(bare, counted.rows)
        finally:
            self.server.misbehave()
        fetched_bytes = sum(row.response_bytes for row in counted.rows if row.word in _CONTENTS)
        return Cost(seconds, counted.cost, calls, bare_s, arrived_s, fetched_bytes)

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
