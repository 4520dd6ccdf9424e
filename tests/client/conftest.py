"""Sessions for the tests of the client: on a fake server, and on the embedded one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from orionfs.client import OrionSession, SessionConfig, get_session
from tests.client.embedded import Embedded, running_server
from tests.client.fake import Fake, running_fake

Connect = Callable[..., OrionSession]


@pytest.fixture
def fake() -> Iterator[Fake]:
    """A server that answers what the test says."""
    with running_fake() as running:
        yield running


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Makes sessions that try nothing twice and are closed at the end."""
    with ExitStack() as stack:

        def make(url: str, token: str = "the-token", **config: Any) -> OrionSession:
            requests_session = config.pop("requests_session", None) or get_session({}, request_timeout=5)
            made = OrionSession(
                config=SessionConfig(url=url, token=token, **config), requests_session=requests_session
            )
            stack.callback(made.close)
            return made

        yield make


@pytest.fixture
def session(fake: Fake, connect: Connect) -> OrionSession:
    """A session on the fake."""
    return connect(fake.url)


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    """The embedded server."""
    with running_server(tmp_path_factory.mktemp("embedded")) as running:
        yield running


@pytest.fixture
def orion(embedded: Embedded, connect: Connect) -> Iterator[OrionSession]:
    """A session on the embedded server."""
    embedded.misbehave()
    yield connect(embedded.url, embedded.token)
    embedded.misbehave()


@pytest.fixture
def home(orion: OrionSession, request: pytest.FixtureRequest) -> str:
    """A folder of the test's own on the embedded server."""
    profile = orion.get_user_profile()
    folder = f"/project/{profile.default_project}/user/{profile.username}/{request.node.name[:100]}"
    orion.create_paths(folder)
    return folder
