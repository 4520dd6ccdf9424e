"""One server for all tests of `orion://`, asked through our own session and through a documented one."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from orionfs.fs import OrionFileSystem
from orionfs.fs.access import close_all
from tests.mount.server import REPOSITORY, Direct, Server
from tests.mount.stand import Client

# Of fsspec's own tests these run always; the others do the same with more files, for minutes.
SHORT = {
    "test_copy_file_to_new_directory",
    "test_copy_directory_to_existing_directory",
    "test_get_directory_to_new_directory",
    "test_open_exclusive",
    "test_pipe_exclusive",
    "test_put_directory_to_existing_directory",
    "test_put_file_to_file_in_new_directory",
}
_NUMBERS = itertools.count(1)
Counting = Callable[[], contextlib.AbstractContextManager[list[str]]]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of fsspec's tests most take long."""
    for item in items:
        if (
            item.path == Path(__file__).with_name("test_abstract.py")
            and item.name.partition("[")[0] not in SHORT
        ):
            item.add_marker(pytest.mark.long)


@pytest.fixture(scope="session")
def orion(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server, with the sample data."""
    server = Server(tmp_path_factory.mktemp("orion"), has_sample=True)
    yield server
    server.close()


@pytest.fixture(scope="session", params=list(Client), ids=lambda client: client.name.lower())
def client(request: pytest.FixtureRequest) -> Client:
    """The session that the filesystem works on."""
    chosen: Client = request.param
    return chosen


@pytest.fixture(scope="session")
def config_home(tmp_path_factory: pytest.TempPathFactory, orion: Server) -> Iterator[Path]:
    """A config with a profile of each session, called as the session is; sessions end with it."""
    lines = []
    for each in Client:
        values = {"url": orion.url, "token": orion.token, "client": each.value}
        lines += [f"[profile.{each.name.lower()}]"]
        lines += [f"{key} = {json.dumps(text)}" for key, text in values.items()]
    home = tmp_path_factory.mktemp("config")
    (home / "orionfs").mkdir(mode=0o700)
    config = home / "orionfs" / "config.toml"
    config.touch(mode=0o600)
    config.write_text("\n".join([*lines, ""]))
    yield home
    close_all()


@pytest.fixture
def profile(config_home: Path, client: Client, monkeypatch: pytest.MonkeyPatch) -> str:
    """The profile of the session."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(config_home))
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    return client.name.lower()


@pytest.fixture
def fs(profile: str) -> OrionFileSystem:
    """The filesystem, which believes nothing from before."""
    made = OrionFileSystem(profile)
    made.invalidate_cache()
    return made


@pytest.fixture
def folder(orion: Server) -> str:
    """An empty folder of this test's own, as a path of `orion://`."""
    name = f"fs-{next(_NUMBERS)}-{Path(orion.folder).name}"
    orion.direct.make_folder(f"{Direct.home}/{name}")
    return f"my-data/{name}"


@pytest.fixture
def counting(orion: Server, client: Client) -> Counting:
    """Counts what is asked in a block: requests of our own session, calls of the documented one."""

    @contextlib.contextmanager
    def counted() -> Iterator[list[str]]:
        words: list[str] = []
        start = orion.mark()
        yield words
        orion.mark()
        words += _words(orion, start, client)

    return counted


def _words(orion: Server, start: int, client: Client) -> Sequence[str]:
    return [row.word for row in orion.rows(start) if client is Client.OWN or row.is_call]


def place_of(path: str) -> str:
    """Where a path below my-data is on Orion."""
    return Direct.home + path.removeprefix("my-data")
