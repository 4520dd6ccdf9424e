"""Pools that are closed at the end, and a check that they left nothing."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orionfs.bridge import BridgePool
from tests.client.embedded import REPOSITORY, Embedded, running_server

MakePool = Callable[..., BridgePool]


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def children() -> list[str]:
    """Processes of ours, zombies included."""
    found = []
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(FileNotFoundError):  # a thread that has just ended
            found += (task / "children").read_text().split()
    return sorted(found)


def wait_until(is_so: Callable[[], bool], what: str, limit_s: float = 10.0) -> None:
    deadline = time.monotonic() + limit_s
    while not is_so():
        assert time.monotonic() < deadline, f"not within {limit_s} s: {what}"
        time.sleep(0.005)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def make_pool() -> Iterator[MakePool]:
    """Makes pools; afterwards no process, descriptor or thread of theirs is left."""
    before = descriptors(), threading.active_count(), set(children())
    pools: list[BridgePool] = []

    def make(factory: str = "tests.bridge.factories:make", **options: Any) -> BridgePool:
        python = options.pop("python", sys.executable)
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        pools.append(BridgePool(python, factory, **{"env": environment, **options}))
        return pools[-1]

    yield make
    for pool in pools:
        pool.close()

    def is_clean() -> bool:
        # what an earlier test left may have gone meanwhile
        return (
            descriptors() <= before[0]
            and threading.active_count() <= before[1]
            and set(children()) <= before[2]
        )

    wait_until(is_clean, f"no more descriptors, threads and children than before: {before}")


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    """The embedded server."""
    with running_server(tmp_path_factory.mktemp("embedded")) as running:
        yield running
