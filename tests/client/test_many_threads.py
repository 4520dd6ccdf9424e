"""One session shared by many threads, on a server that fails one request in ten."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from orionfs.client import File, OrionSession, SessionConfig, get_session
from orionfs.client.errors import NotFoundResponse, OrionConnectionError
from tests.client.embedded import Embedded, running_server

THREADS = 32
SHORT_S, LONG_S = 3.0, 60.0
# One request in thirty each; together one in ten. A download's address is asked for again like all else.
FAULTS = (
    {"action": "status", "status": 503, "every": 30, "nth": 7, "retry_after": "1"},
    {"action": "status", "status": 429, "every": 30, "nth": 17, "retry_after": "date+2"},
    {"action": "reset", "every": 30, "nth": 27},
)
RETRIES = {0: 8, 429: 8, 503: 8}
# Asked for by tests of one thread; here many wait at once and the first wait need not be long.
BACKOFF = dict.fromkeys(RETRIES, (0.05, 1.0))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Embedded]:
    with running_server(tmp_path) as running:
        yield running


@pytest.fixture
def session(server: Embedded) -> Iterator[OrionSession]:
    how = get_session(RETRIES, request_timeout=20, backoff_dict=BACKOFF)
    with OrionSession(SessionConfig(server.url, server.token), requests_session=how) as made:
        yield made


class Worker(threading.Thread):
    """Writes, reads and tags things of its own; whatever comes back must be its own."""

    def __init__(self, session: OrionSession, home: str, folder: Path, number: int, ends_at: float) -> None:
        super().__init__(name=f"worker-{number}")
        self.session, self.folder, self.ends_at = session, folder, ends_at
        self.path = f"{home}/worker-{number}"
        self.name_ = f"file-{number}"
        self.contents = os.urandom(5000 + number)
        self.rounds = 0
        self.unsure = 0
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            item = self._uploaded()
            while not self.rounds or time.monotonic() < self.ends_at:
                self._round(item)
                self.rounds += 1
        except BaseException as exc:
            self.failure = exc

    def _uploaded(self) -> File:
        local = self.folder / self.name_
        local.write_bytes(self.contents)
        for _ in range(10):
            try:
                self.session.create_paths(self.path)
                break
            except OrionConnectionError:
                self.unsure += 1  # may have happened, and is not sent again by itself
        for _ in range(10):
            try:
                return File.upload(self.session, self.name_, local, folder_path=self.path)
            except OrionConnectionError:
                self.unsure += 1
        raise AssertionError("ten uploads broke off one after the other")

    def _round(self, item: File) -> None:
        found = self.session.stat_path(f"{self.path}/{self.name_}")
        assert (found["id"], found["name"]) == (item.id, self.name_)
        assert [row["id"] for row in self.session.ls_path(self.path)["results"]] == [item.id]
        again = self.session.get_resource(File, item.id or 0)
        assert (again.name, again.size) == (self.name_, len(self.contents))
        copy = self.folder / f"{self.name_}.copy"
        again.download_to_file(copy)
        assert copy.read_bytes() == self.contents
        with pytest.raises(NotFoundResponse):
            self.session.stat_path(f"{self.path}/missing")


def run_workers(session: OrionSession, folder: Path, seconds: float) -> list[Worker]:
    profile = session.get_user_profile()
    home = f"/project/{profile.default_project}/user/{profile.username}"
    ends_at = time.monotonic() + seconds
    workers = [Worker(session, home, folder, number, ends_at) for number in range(THREADS)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(seconds + 60)
        assert not worker.is_alive()
    return workers


def connections_to(url: str) -> int:
    """Connections of this process to a port of loopback that are open now, by the kernel's table."""
    port = int(url.rsplit(":", 1)[1])
    ours = {os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if _is_there(fd)}
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[2].endswith(f":{port:04X}") and f"socket:[{row[9]}]" in ours for row in rows)


def _is_there(fd: str) -> bool:
    return os.path.lexists(f"/proc/self/fd/{fd}")


@pytest.mark.parametrize(
    "seconds", [SHORT_S, pytest.param(LONG_S, marks=[pytest.mark.long, pytest.mark.timeout(300)])]
)
def test_many_threads_on_a_failing_server_get_right_answers_and_leak_no_connection(
    server: Embedded, session: OrionSession, tmp_path: Path, seconds: float
) -> None:
    (tmp_path / "local").mkdir()
    server.misbehave(*FAULTS)
    workers = run_workers(session, tmp_path / "local", seconds)
    assert [worker.failure for worker in workers if worker.failure] == []
    assert all(worker.rounds for worker in workers)
    assert connections_to(server.url) <= 2 * THREADS  # contents and calls have a pool each
    server.misbehave()
    session.close()
    assert connections_to(server.url) == 0
    log = server.log()
    failed = [line for line in log if line["status"] in (429, 503)]
    assert len(failed) > 10
    assert 0.04 < sum(line["status"] in (0, 429, 503) for line in log) / len(log) < 0.16
    assert early_returns(log) == []


def early_returns(log: list[dict[str, object]]) -> list[str]:
    """Requests that came again before the second that the server had asked for was over.

    Each worker has questions of its own and sends one after the other; POSTs can't be told apart.
    """
    by_subject: dict[tuple[object, object], list[dict[str, object]]] = defaultdict(list)
    for line in (line for line in log if line["method"] == "GET"):
        by_subject[line["path"], line["query"]].append(line)
    early = []
    for lines in by_subject.values():
        for asked, again in itertools.pairwise(lines):
            waited_s = float(str(again["time"])) - float(str(asked["time"]))
            if asked["status"] in (429, 503) and waited_s < 0.95:
                early.append(f"{again['path']}?{again['query']} after {waited_s:.2f} s")
    return early
