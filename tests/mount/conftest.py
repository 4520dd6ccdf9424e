"""Mounts to test on, each on both sessions.

`mounted` is one mount a session, shared by all tests; `folder` a fresh folder on it, `cold` one that
the mount has not looked into. `impatient` is another mount of the same account that believes what it
was told for a moment only; `odd` the same on a server with other habits. `make_stand` makes mounts,
and servers with switches, for tests that need their own.
"""

from __future__ import annotations

import itertools
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.conftest import ALWAYS_DECLARED
from tests.mount.server import Server
from tests.mount.stand import Client, Stand

MANY = 2000
COLD = 150
WALK = 5
# Listings in small pages that tell neither sizes nor tags, of items that may have a / in their names.
ODD_HABITS = {"page_max": "7", "list_sizes": "no", "list_tags": "no", "slash_in_names": "yes"}
IMPATIENT = ["metadata_ttl_s=0.2", "absence_ttl_s=0.2"]
# pytest's own limit can't end a call that waits for a daemon that hangs: before it is over, that is killed.
TIMEOUT_S = 120
BEFORE_TIMEOUT_S = 20

_NUMBERS = itertools.count(1)
_COLD = iter(range(COLD))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here mounts."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.needs_fuse)


@pytest.fixture(scope="session")
def many_names() -> list[str]:
    """What is in my-data/many of the shared server."""
    return [f"item-{number:04}.txt" for number in range(MANY)]


@pytest.fixture(scope="session")
def walk_names() -> list[str]:
    """The folders at and below my-data/walk of the shared server, in the order of `find`."""
    inner = [[f"walk/{one}", *(f"walk/{one}/{two}" for two in range(WALK))] for one in range(WALK)]
    return ["walk", *itertools.chain.from_iterable(inner)]


@pytest.fixture(scope="session")
def shared_server(
    tmp_path_factory: pytest.TempPathFactory, many_names: list[str], walk_names: list[str]
) -> Iterator[Server]:
    """The server that most tests use, with a folder of many items and a tree of folders."""
    folder = tmp_path_factory.mktemp("server")
    many = folder / "import" / "many"
    many.mkdir(parents=True)
    for name in many_names:
        (many / name).write_text(name)
    for name in map(str, range(COLD)):
        (folder / "import" / "cold" / name).mkdir(parents=True)
    for name in walk_names:
        (folder / "import" / name).mkdir(parents=True)
        (folder / "import" / name / "file").write_text(name)
    server = Server(folder, import_dir=many.parent)
    yield server
    server.close()


@pytest.fixture(scope="session")
def odd_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with other habits."""
    server = Server(tmp_path_factory.mktemp("server"), ODD_HABITS)
    yield server
    server.close()


@pytest.fixture(scope="session", params=list(Client), ids=lambda client: client.name.lower())
def client(request: pytest.FixtureRequest) -> Client:
    """The session that the mount works on."""
    chosen: Client = request.param
    return chosen


@pytest.fixture(scope="session")
def shared_stand(
    tmp_path_factory: pytest.TempPathFactory, shared_server: Server, client: Client
) -> Iterator[Stand]:
    """The mount that most tests use."""
    stand = Stand(tmp_path_factory.mktemp("stand"), shared_server, client)
    stand.mount()
    yield stand
    stand.close()


@pytest.fixture(scope="session")
def impatient_stand(
    tmp_path_factory: pytest.TempPathFactory, shared_server: Server, client: Client
) -> Iterator[Stand]:
    """Another mount of the same account."""
    stand = Stand(tmp_path_factory.mktemp("impatient"), shared_server, client, IMPATIENT)
    stand.mount()
    yield stand
    stand.close()


@pytest.fixture(scope="session")
def odd_stand(
    tmp_path_factory: pytest.TempPathFactory, odd_server: Server, client: Client
) -> Iterator[Stand]:
    """A mount of the server with other habits."""
    stand = Stand(tmp_path_factory.mktemp("odd"), odd_server, client, IMPATIENT)
    stand.mount()
    yield stand
    stand.close()


@pytest.fixture
def mounted(request: pytest.FixtureRequest, shared_stand: Stand) -> Iterator[Stand]:
    """A mount whose log must stay calm while the test runs."""
    yield from watched(request, shared_stand)


@pytest.fixture
def impatient(request: pytest.FixtureRequest, impatient_stand: Stand) -> Iterator[Stand]:
    """A mount that hears within moments of what other machines do."""
    yield from watched(request, impatient_stand)


@pytest.fixture
def odd(request: pytest.FixtureRequest, odd_stand: Stand) -> Iterator[Stand]:
    """An impatient mount of a server with other habits."""
    yield from watched(request, odd_stand)


def watched(request: pytest.FixtureRequest, stand: Stand) -> Iterator[Stand]:
    """Look after a stand for one test: it is mounted, ends if it hangs, leaves nothing, logs nothing."""
    if not stand.is_healthy:
        stand.discard()
        stand.mount()
    start = len(stand.log)
    watchdog = threading.Timer(hang_s(request), stand.kill)
    watchdog.start()
    yield stand
    watchdog.cancel()
    try:
        # Unmounted by the test is well; dead is not.
        if stand.is_mounted:
            stand.drain()
    except BaseException:
        stand.discard()
        raise
    assert stand.complaints(start, declared(request)) == []


def hang_s(request: pytest.FixtureRequest) -> float:
    """How long a test may take before its daemons are killed."""
    marker = request.node.get_closest_marker("timeout")
    return float(marker.args[0] if marker else TIMEOUT_S) - BEFORE_TIMEOUT_S


def declared(request: pytest.FixtureRequest) -> list[str]:
    """What the log may say in this test."""
    markers = request.node.iter_markers("expect_log")
    return [*ALWAYS_DECLARED, *(str(marker.args[0]) for marker in markers)]


@pytest.fixture
def folder(mounted: Stand, request: pytest.FixtureRequest) -> Path:
    """A fresh folder on the mount."""
    return fresh_folder(mounted, request)


@pytest.fixture
def cold(mounted: Stand) -> Path:
    """A folder that is on Orion, empty still, and that the mount has not looked into."""
    return mounted.mine / "cold" / str(next(_COLD))


def fresh_folder(stand: Stand, request: pytest.FixtureRequest) -> Path:
    """A folder of this test's own in My Data, made through the mount."""
    name = re.sub(r"\W+", "-", request.node.originalname)[:60]
    path = stand.mine / f"{next(_NUMBERS)}-{name}"
    path.mkdir()
    return path


@pytest.fixture
def make_stand(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Stand]]:
    """Makes stands of the test's own, each with a server of its own unless one is given."""
    servers: list[Server] = []
    stands: list[Stand] = []

    def make(
        client: Client = Client.OWN,
        *,
        server: Server | None = None,
        options: Sequence[str] = (),
        is_mounted: bool = True,
        is_probed: bool = True,
        **switches: str,
    ) -> Stand:
        if server is None:
            server = Server(tmp_path_factory.mktemp("server"), switches)
            servers.append(server)
        stand = Stand(tmp_path_factory.mktemp("stand"), server, client, options, is_probed=is_probed)
        stands.append(stand)
        if is_mounted:
            stand.mount()
        return stand

    def kill_all() -> None:
        for stand in stands:
            stand.kill()

    watchdog = threading.Timer(hang_s(request), kill_all)
    watchdog.start()
    yield make
    watchdog.cancel()
    for stand in stands:
        stand.close()
    for server in servers:
        server.close()
    for stand in stands:
        assert stand.complaints(0, declared(request)) == []
