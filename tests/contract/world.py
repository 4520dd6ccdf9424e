"""One server with several people, and what the cases of the contract need on it.

`alice` works, in project 1 with `bob`; `mallory` is in a project of her own, and nothing of hers may be
touched by the others. What a case needs is made by sessions of its own, never by the one under test.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orionfs.client import (
    Dataset,
    File,
    OrionSession,
    OrionUser,
    Project,
    SessionConfig,
    ShardCollection,
    get_session,
)
from tests.client.embedded import Embedded, running_server

PASSWORD = "correct horse battery"
ABSENT = 2**62 + 12345
"""An id that nothing has."""

_USERS = """
[[users]]
name = "alice"
token_file = "alice.token"
password_file = "alice.password"
capabilities = ["cost_accounting"]

[[users]]
name = "bob"
token_file = "bob.token"

[[users]]
name = "mallory"
token_file = "mallory.token"

[[projects]]
name = "Demo"
id = 1
members = ["alice", "bob"]

[[projects]]
name = "Elsewhere"
id = 2
members = ["mallory"]
"""
_NUMBERS = itertools.count(1)


@dataclass
class World:
    """The server, sessions of its people, and makers of fresh things."""

    server: Embedded
    folder: Path
    sessions: dict[str, OrionSession] = field(default_factory=dict)

    @property
    def alice(self) -> Any:
        """A session of hers beside the one under test."""
        return self.sessions["alice"]

    def token(self, user: str) -> str:
        return (self.folder / f"{user}.token").read_text().strip()

    def fresh_name(self) -> str:
        return f"thing-{next(_NUMBERS)}"

    def home(self, user: str = "alice") -> str:
        project = 2 if user == "mallory" else 1
        return f"/project/{project}/user/{user}"

    def new_folder(self, user: str = "alice") -> str:
        """A fresh folder of a user's own."""
        path = f"{self.home(user)}/{self.fresh_name()}"
        self.sessions[user].create_paths(path)
        return path

    def local_file(self, contents: bytes = b"some bytes\n", name: str | None = None) -> Path:
        path = self.folder / (name or self.fresh_name())
        path.write_bytes(contents)
        return path

    def new_file(self, user: str = "alice", contents: bytes = b"some bytes\n") -> File:
        return File.upload(
            self.sessions[user], self.fresh_name(), self.local_file(contents), folder_path=self.home(user)
        )

    def new_dataset(self, user: str = "alice", records: int = 3) -> Dataset:
        lines = "".join(f"{'C' * (number + 1)} molecule-{number}\n" for number in range(records))
        local = self.local_file(lines.encode(), f"{self.fresh_name()}.smi")
        return Dataset.upload(self.sessions[user], self.fresh_name(), str(local))

    def new_collection(self, user: str = "alice") -> ShardCollection:
        return ShardCollection.create(self.sessions[user], self.fresh_name(), metadata={"by": user})

    def new_shard(self, user: str = "alice", contents: bytes = b"a shard", *, is_closed: bool = True) -> Any:
        from orionfs.client import Shard

        made = Shard.create(self.new_collection(user), self.fresh_name())
        made.upload_file(self.local_file(contents))
        if is_closed:
            made.close()
        return made

    def user(self, name: str) -> OrionUser:
        """A user as those who share a project with him see him."""
        found = list(self.sessions[name].list_resources(OrionUser, {"username": name}))
        assert len(found) == 1
        return found[0]

    def project(self, user: str = "alice") -> Project:
        return self.sessions[user].get_current_project()

    def misbehave(self, *rules: dict[str, Any]) -> None:
        self.server.misbehave(*rules)


def open_session(url: str, token: str, retries: dict[int, int] | None = None) -> OrionSession:
    """Our client, trying nothing twice unless told."""
    how = get_session(
        retries or {}, request_timeout=10, backoff_dict=dict.fromkeys(retries or {}, (0.01, 0.02))
    )
    return OrionSession(config=SessionConfig(url=url, token=token), requests_session=how)


@contextmanager
def running_world(folder: Path) -> Iterator[World]:
    """The server with its people, for as long as the block runs."""
    (folder / "users.toml").write_text(_USERS)
    descriptor = os.open(folder / "alice.password", os.O_WRONLY | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(PASSWORD + "\n")
    with running_server(folder, "--users", str(folder / "users.toml")) as server, ExitStack() as stack:
        world = World(server, folder)
        for user in ("alice", "bob", "mallory"):
            session = stack.enter_context(open_session(server.url, world.token(user)))
            world.sessions[user] = session
        yield world


def as_plain(value: object) -> Any:
    """What JSON makes of a value: what can't be written to a record fails here."""
    return json.loads(json.dumps(value))
