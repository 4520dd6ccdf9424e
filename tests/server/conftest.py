"""Real server processes on loopback, spoken to with plain HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.server.process import HOME, Api, RunningServer, start_server

_numbers = count(1)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., RunningServer]]:
    """Start servers of the test's own; the data folder is the same unless told otherwise."""
    with ExitStack() as stack:

        def start_one(**options: Any) -> RunningServer:
            return stack.enter_context(start_server(tmp_path, **options))

        yield start_one


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """One server for all tests that only need a folder of their own; two users share its project."""
    folder = tmp_path_factory.mktemp("shared")
    users = folder / "users.toml"
    users.write_text(
        """
        [[users]]
        name = "alice"
        token_file = "alice.token"
        capabilities = ["cost_accounting"]

        [[users]]
        name = "bob"
        token_file = "bob.token"

        [[projects]]
        name = "Fragments"
        id = 7
        members = ["demo", "alice"]
        workspaces = ["screening", { id = 55, name = "docking" }]

        [[projects]]
        name = "Other"
        members = ["bob"]
        """
    )
    with start_server(folder, users=users, switches={"part_bytes": "1000"}) as server:
        yield server


@pytest.fixture
def api(shared_server: RunningServer) -> Iterator[Api]:
    """The shared server as user demo, with an empty folder `api.folder`."""
    with shared_server.api() as api:
        api.folder = f"{HOME}/{next(_numbers)}"
        api.create(api.folder)
        yield api


@pytest.fixture
def alice(shared_server: RunningServer) -> Iterator[Api]:
    """The shared server as another member of project 7."""
    with shared_server.api(shared_server.folder / "alice.token") as api:
        yield api


@pytest.fixture
def bob(shared_server: RunningServer) -> Iterator[Api]:
    """The shared server as somebody who is in no project with demo."""
    with shared_server.api(shared_server.folder / "bob.token") as api:
        yield api


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with people: ann and ben share project 7, cyd is in project 9 alone."""
    folder = tmp_path_factory.mktemp("people")
    users = folder / "users.toml"
    for name in ("ann", "cyd"):
        (folder / f"{name}.password").write_text(f"{name}'s secret\n")
        (folder / f"{name}.password").chmod(0o600)
    users.write_text(
        """
        [[users]]
        name = "ann"
        token_file = "ann.token"
        password_file = "ann.password"
        email = "ann@example.org"
        first_name = "Ann"
        last_name = "Lee"
        capabilities = ["cost_accounting"]

        [[users]]
        name = "ben"
        token_file = "ben.token"

        [[users]]
        name = "cyd"
        token_file = "cyd.token"
        password_file = "cyd.password"

        [[projects]]
        name = "Kinases"
        id = 7
        members = ["ann", "ben", "demo"]
        workspaces = ["open", { id = 3, name = "closed", members = ["ann"] }]

        [[projects]]
        name = "Elsewhere"
        id = 9
        members = ["cyd"]
        """
    )
    with start_server(folder, users=users, switches={"part_bytes": "1000"}) as server:
        yield server


@pytest.fixture
def ann(people: RunningServer) -> Iterator[Api]:
    """The server of people as ann."""
    with people.api(people.folder / "ann.token") as api:
        api.folder = "/project/7/user/ann"
        yield api


@pytest.fixture
def ben(people: RunningServer) -> Iterator[Api]:
    """The server of people as ben."""
    with people.api(people.folder / "ben.token") as api:
        api.folder = "/project/7/user/ben"
        yield api


@pytest.fixture
def cyd(people: RunningServer) -> Iterator[Api]:
    """The server of people as cyd."""
    with people.api(people.folder / "cyd.token") as api:
        api.folder = "/project/9/user/cyd"
        yield api
