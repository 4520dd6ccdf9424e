"""Mounts and servers that are killed, stopped and lied to.

`make_server` and `make_stand` make what a test needs of its own; at the end everything is whole again,
or the test fails. What a daemon says at WARNING or above has to be declared with `expect_log`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import ALWAYS_DECLARED
from tests.faults.outage import Outage
from tests.mount.stand import Client, Stand

# Less than pytest's own limit, which can't end a call that waits for a daemon that hangs.
HANG_S = 100


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here mounts."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.needs_fuse)


@pytest.fixture(scope="module", params=list(Client), ids=lambda client: client.name.lower())
def client(request: pytest.FixtureRequest) -> Client:
    """The session that the mount works on."""
    chosen: Client = request.param
    return chosen


@pytest.fixture
def make_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Outage]]:
    """Makes servers of the test's own, with switches."""
    servers: list[Outage] = []

    def make(**switches: str) -> Outage:
        servers.append(Outage(tmp_path_factory.mktemp("server"), switches))
        return servers[-1]

    yield make
    for server in servers:
        server.close()


@pytest.fixture
def make_stand(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    make_server: Callable[..., Outage],
) -> Iterator[Callable[..., Stand]]:
    """Makes mounts of the test's own, each on a server of its own unless one is given."""
    stands: list[Stand] = []

    def make(
        client: Client = Client.OWN,
        *,
        server: Outage | None = None,
        options: Sequence[str] = (),
        is_mounted: bool = True,
        **switches: str,
    ) -> Stand:
        stand = Stand(
            tmp_path_factory.mktemp("stand"), server or make_server(**switches), client, list(options)
        )
        stands.append(stand)
        if is_mounted:
            stand.mount()
        return stand

    def kill_all() -> None:
        for stand in stands:
            stand.kill()

    watchdog = threading.Timer(0.9 * _timeout_of(request), kill_all)
    watchdog.start()
    yield make
    watchdog.cancel()
    for stand in stands:
        leave(stand)
    for stand in stands:
        assert stand.complaints(0, declared(request)) == []


@contextmanager
def watched(request: pytest.FixtureRequest, stand: Stand) -> Iterator[Stand]:
    """A shared mount for one test: it is mounted, it ends if it hangs, its log is looked at."""
    if not stand.is_healthy:
        stand.close()
        stand.mount()
    start = len(stand.log)
    watchdog = threading.Timer(HANG_S, stand.kill)
    watchdog.start()
    yield stand
    watchdog.cancel()
    assert stand.complaints(start, declared(request)) == []


def leave(stand: Stand) -> None:
    """Take a mount away, whatever a test that failed has left of it and of its server."""
    server = stand.server
    assert isinstance(server, Outage)
    server.mend()
    if stand.is_mounted:
        stand.run("umount", stand.point)
    stand.kill()


def declared(request: pytest.FixtureRequest) -> list[str]:
    """What the log may say in this test."""
    markers = request.node.iter_markers("expect_log")
    return [*ALWAYS_DECLARED, *(str(marker.args[0]) for marker in markers)]


def _timeout_of(request: pytest.FixtureRequest) -> float:
    marker = request.node.get_closest_marker("timeout")
    return float(marker.args[0]) if marker is not None else HANG_S
