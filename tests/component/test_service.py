"""What the service manager of a mount hears of it; the words are read from its socket."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pyfuse3
import pytest
import trio
import trio.testing

from orionfs import fuse
from orionfs.daemon.service import Service
from orionfs.errors import NoSuchName
from orionfs.fuse import boundary, pulse
from orionfs.holds import Holds
from orionfs.notify import Notifier
from orionfs.orion.health import Condition
from orionfs.tasks import Steps
from orionfs.tree.refresh import Refreshed

WATCHDOG_S = 20.0


class Manager:
    """A service manager that takes everything down."""

    def __init__(self, listener: socket.socket, address: str) -> None:
        self._listener = listener
        self.notifier = Notifier(address, WATCHDOG_S)

    def heard(self) -> list[str]:
        """Every variable since the last time, without the time of a reload."""
        found: list[str] = []
        while True:
            try:
                lines = self._listener.recv(65536).decode().split("\n")
            except BlockingIOError:
                return found
            found += [line for line in lines if not line.startswith("MONOTONIC_USEC=")]


@pytest.fixture
def manager(tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.setblocking(False)
        yield Manager(listener, str(tmp_path / "notify"))


@pytest.fixture
def presentation() -> fuse.Presentation:
    return fuse.Presentation(0, 0, 1, 1, 1)


@pytest.fixture
def layers(presentation) -> Any:
    """As much of a mount as a service manager hears of."""
    return SimpleNamespace(
        sync=SimpleNamespace(steps=Steps(), pending_count=0),
        remote=SimpleNamespace(condition=Condition("online", 0.0)),
        operations=SimpleNamespace(presentation=presentation, begun=trio.Event(), ended=trio.Event()),
    )


@asynccontextmanager
async def supervised(manager: Manager, layers: Any):
    unit = Service(manager.notifier, layers)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(unit.run)
        await trio.testing.wait_all_tasks_blocked()
        yield unit
        nursery.cancel_scope.cancel()


def without_signs(words: list[str]) -> list[str]:
    return [word for word in words if word != "WATCHDOG=1"]


@pytest.mark.virtual_time
async def test_ready_and_stopping_are_told_with_how_it_is(manager, layers) -> None:
    async with supervised(manager, layers) as unit:
        manager.heard()
        unit.ready()
        assert manager.heard() == ["READY=1", "STATUS=online, nothing to upload"]
        layers.sync.pending_count = 1
        unit.stopping()
        assert manager.heard() == ["STOPPING=1", "STATUS=online, 1 change to upload"]


@pytest.mark.virtual_time
async def test_status_is_told_when_it_changes_and_only_then(manager, layers) -> None:
    async with supervised(manager, layers) as unit:
        unit.ready()
        manager.heard()
        await trio.sleep(60)
        assert without_signs(manager.heard()) == []
        layers.sync.pending_count = 2
        await layers.sync.steps.note()
        await trio.sleep(1.1)
        assert without_signs(manager.heard()) == ["STATUS=online, 2 changes to upload"]
        for _ in range(100):  # a storm of uploads is told of once a second
            layers.sync.pending_count += 1
            await layers.sync.steps.note()
            await trio.sleep(0.01)
        assert len(without_signs(manager.heard())) <= 3
        layers.remote.condition = Condition("offline", 0.0, "no answer")
        await trio.sleep(6)
        told = without_signs(manager.heard())[-1]
        assert told.startswith("STATUS=offline since 19")
        assert told.endswith(": no answer, 102 changes to upload")


@pytest.mark.virtual_time
async def test_reload_ends_when_the_last_refresh_has(manager, layers) -> None:
    async with supervised(manager, layers) as unit:
        unit.ready()
        manager.heard()
        first, second = Refreshed(), Refreshed()
        unit.reloading(first)
        unit.reloading(second)
        first.done.set()
        await trio.sleep(0.1)
        assert manager.heard() == ["RELOADING=1", "RELOADING=1"]
        second.done.set()
        await trio.sleep(0.1)
        assert manager.heard() == ["READY=1"]


@pytest.mark.virtual_time
async def test_signs_of_life_come_several_times_within_the_limit(manager, layers) -> None:
    async with supervised(manager, layers):
        manager.heard()
        await trio.sleep(WATCHDOG_S + 0.1)
        assert manager.heard().count("WATCHDOG=1") == 4


@pytest.fixture
def queue(monkeypatch) -> Iterator[Callable[[], object]]:
    """A kernel's queue in place of the device: a call puts a request in."""
    ours, kernels = os.pipe()
    monkeypatch.setattr(pulse, "_descriptor_of", lambda _: ours)
    yield lambda: os.write(kernels, b"a request")
    os.close(ours)
    os.close(kernels)


@pytest.mark.virtual_time
async def test_no_sign_is_given_while_a_request_waits_that_nobody_takes(
    manager, layers, presentation, queue
) -> None:
    layers.operations.begun.set()
    async with supervised(manager, layers):
        await trio.sleep(WATCHDOG_S)
        assert "WATCHDOG=1" in manager.heard()
        queue()
        await trio.sleep(3 * WATCHDOG_S)
        assert "WATCHDOG=1" not in manager.heard()
        presentation.calls["lookup"] += 1  # one was taken, and others wait
        await trio.sleep(WATCHDOG_S)
        assert manager.heard().count("WATCHDOG=1") == 1


@pytest.mark.virtual_time
async def test_signs_go_on_while_everybody_is_at_work_and_after_the_mount(
    manager, layers, presentation, queue
) -> None:
    layers.operations.begun.set()
    queue()
    presentation.calls["read"] = pulse.WORKERS_MAX
    async with supervised(manager, layers):
        await trio.sleep(WATCHDOG_S)
        assert manager.heard().count("WATCHDOG=1") >= 4
        presentation.timings["read"].add(1)
        manager.heard()
        await trio.sleep(WATCHDOG_S)
        assert "WATCHDOG=1" not in manager.heard()
        layers.operations.ended.set()
        await trio.sleep(WATCHDOG_S)
        assert "WATCHDOG=1" in manager.heard()


async def test_call_that_has_ended_is_no_longer_at_work(presentation) -> None:
    """However it ends: the watchdog counts who is at work."""

    class Handlers:
        def __init__(self) -> None:
            self.presentation = presentation
            self.locks = Holds()
            self.reporter = SimpleNamespace(note=lambda *_: None, failed=lambda *_: None)

        @boundary.reading
        async def getattr(self, inode: int, ctx: Any) -> int:
            assert presentation.at_work == 1
            if inode == 2:
                raise NoSuchName("gone")
            return inode

    handlers = Handlers()
    assert await handlers.getattr(1, None) == 1
    with pytest.raises(pyfuse3.FUSEError):
        await handlers.getattr(2, None)
    assert (presentation.calls.total(), presentation.at_work) == (2, 0)


@pytest.mark.virtual_time
async def test_mount_without_a_service_manager_says_nothing(layers) -> None:
    unit = Service(Notifier(), layers)
    unit.ready()
    await unit.run()
    unit.reloading(Refreshed())
    unit.stopping()
