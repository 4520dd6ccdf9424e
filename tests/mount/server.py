"""The embedded server as a process of its own, and what it was asked.

The test asks the same server directly, as another machine would: those requests carry other user
agents than the mount's and are never counted.
"""

from __future__ import annotations

import json
import os
import re
import select
import subprocess
import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import parse_qsl

from orionfs.server import dialect
from orionfs.server.switches import parse_switches
from tests.cli.processes import wait_for
from tests.server.process import HOME, TEAM, Api

REPOSITORY = Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 30
END_TIMEOUT_S = 15
PART_BYTES = 8 * 2**20
LAST_LINES_BYTES = 4096

_OURS = "orionfs/"
# What a request is, in a word, by method and route.
_WORDS = [
    ("GET", r"/api/v1/orionfs", "info"),
    ("GET", r"/api/v1/users/me", "profile"),
    ("GET", r"/api/v1/projects/current", "project"),
    ("*", r"/api/v1/storage/paths/(\w+)", r"\1"),
    ("*", r"/api/v1/storage/\w+/\d+/tags", "tags"),
    ("*", r"/api/v\d/storage/\w+/\d+/shares", "shares"),
    ("POST", r"/api/v1/storage/links", "link"),
    ("GET", r"/api/v1/users", "users"),
    ("GET", r"/api/v3/storage/files", "find"),
    ("POST", r"/api/v3/storage/files/upload", "upload"),
    ("POST", r"/api/v3/storage/files", "begin"),
    ("POST", r"/api/v3/storage/files/\d+/complete", "complete"),
    ("GET", r"/api/v3/storage/files/\d+/download", "download"),
    ("GET", r"/api/v3/storage/files/\d+", "get"),
    ("DELETE", r"/api/v3/storage/files/\d+", "delete"),
    ("GET", r"/blobs/.*", "blob"),
    ("PUT", r"/blobs/.*", "part"),
]
# Beside the documented calls: looking whose server it is, and where a download leads.
_NO_CALLS = {"info", "blob"}


@dataclass(frozen=True)
class Row:
    """One line of the access log."""

    method: str
    path: str
    query: dict[str, str]
    status: int
    response_bytes: int
    user_agent: str

    @property
    def word(self) -> str:
        """What it was, in a word."""
        for method, route, word in _WORDS:
            match = re.fullmatch(route, self.path)
            if match and method in ("*", self.method):
                return match.expand(word)
        return f"{self.method} {self.path}"

    @property
    def is_call(self) -> bool:
        """Whether a session that has the documented calls only would count it."""
        return self.word not in _NO_CALLS

    def __str__(self) -> str:
        return f"{self.word} {self.query.get('path', self.path)} {self.status}"


class Server:
    """`orionfs serve` in a folder of its own; it ends with the process that started it."""

    def __init__(
        self,
        folder: Path,
        switches: Mapping[str, str] | None = None,
        import_dir: Path | None = None,
        *,
        has_sample: bool = False,
        users: str | None = None,
        start_timeout_s: float = START_TIMEOUT_S,
    ) -> None:
        """`users` is the text of a users file; a large import takes more time to start."""
        self.folder = folder
        self._users = users
        self.data = folder / "data"
        self._switches = dict(switches or {})
        self._import_dir = import_dir
        self._has_sample = has_sample
        self._start_timeout_s = start_timeout_s
        self._process: subprocess.Popen[str] | None = None
        self._port = 0
        self._errors: TextIO | None = None
        self.url = ""
        self.start()
        self.direct = Direct(self.url, self.token)

    @property
    def habits(self) -> dict[str, Any]:
        """Its switches, as a probe tells them."""
        switches = parse_switches(self._switches)
        return {entry.name: getattr(switches, entry.name) for entry in fields(switches)}

    def literal_of(self, kind: str) -> str:
        """How rows spell a kind."""
        row: dict[str, Any] = dialect.row_answer({"resource_type": kind}, parse_switches(self._switches))
        return str(row["resource_type"])

    def start_with(self, **switches: str) -> None:
        """Listen again, on the same data and port, as an Orion of other habits."""
        self.stop()
        self._switches = switches
        self.start()

    @property
    def token(self) -> str:
        return (self.data / "token").read_text().strip()

    def start(self) -> None:
        """Listen; after `stop` or `kill` on the same port."""
        self._errors = (self.folder / "server.err").open("a")
        self._process = subprocess.Popen(
            self._command(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONWARNINGS": "error"},
        )
        assert self._process.stdout is not None
        is_there, _, _ = select.select([self._process.stdout], [], [], self._start_timeout_s)
        line = self._process.stdout.readline() if is_there else ""
        match = re.search(r"http://127\.0\.0\.1:(\d+)", line)
        assert match, f"no server: {line} {(self.folder / 'server.err').read_text()}"
        self.url, self._port = match[0], int(match[1])

    def _command(self) -> list[str]:
        options = {
            "--data": self.data,
            "--port": self._port,
            "--access-log": self.folder / "access.log",
            "--faults": self.folder / "faults.json",
        }
        command = [sys.executable, "-m", "orionfs", "serve", "--until-eof"]
        command += [str(part) for option in options.items() for part in option]
        for switch in self._switches.items():
            command += ["--set", "=".join(switch)]
        if self._has_sample:
            command.append("--sample")
        if self._users is not None:
            (self.folder / "users.toml").write_text(self._users)
            command += ["--users", str(self.folder / "users.toml")]
        if self._import_dir is not None and not self.data.exists():
            command += ["--import", str(self._import_dir)]
        return command

    def kill(self) -> None:
        """End it as a power cut would."""
        assert self._process is not None
        self._process.kill()
        self._reap()

    def stop(self) -> int:
        """End it in order; its exit status."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()
        return self._reap()

    def _reap(self) -> int:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        assert self._errors is not None
        status = self._process.wait(END_TIMEOUT_S)
        self._process.stdin.close()
        self._process.stdout.close()
        self._errors.close()
        self._process = None
        return status

    def close(self) -> None:
        """End it, and see that it ended well and had nothing to complain of."""
        self.direct.close()
        if self._process is not None:
            assert self.stop() == 0
        lines = (self.folder / "server.err").read_text().splitlines()
        complaints = [line for line in lines if not line.startswith("orionfs: serving ")]
        assert complaints == [], complaints

    def misbehave(self, *rules: dict[str, Any]) -> None:
        """Replace the fault plan; no rules: behave."""
        (self.folder / "faults.new").write_text(json.dumps({"rules": rules}))
        os.replace(self.folder / "faults.new", self.folder / "faults.json")

    # The access log

    def mark(self) -> int:
        """A place in the access log behind everything that was answered until now."""
        name = uuid.uuid4().hex
        self.direct.api.stat(f"/{name}")
        wait_for(lambda: name in self._log(max(0, self._log_size() - LAST_LINES_BYTES)))
        return self._log_size()

    def rows(self, since: int = 0) -> list[Row]:
        """What anything but the test itself asked since a mark."""
        lines = map(json.loads, self._log(since).splitlines())
        return [_row(line) for line in lines if line["user_agent"].startswith(_OURS)]

    def _log(self, since: int) -> str:
        with (self.folder / "access.log").open("rb") as file:
            file.seek(since)
            return file.read().decode()

    def _log_size(self) -> int:
        return (self.folder / "access.log").stat().st_size


def _row(line: dict[str, Any]) -> Row:
    return Row(
        line["method"],
        line["path"],
        dict(parse_qsl(line["query"])),
        line["status"],
        line["response_bytes"],
        line["user_agent"],
    )


class Direct:
    """Another machine of the same account: what it does the mount hears of by asking only."""

    home = HOME
    team = TEAM

    def __init__(self, url: str, token: str) -> None:
        self.api = Api(url, token)
        self.api.session.headers["User-Agent"] = "another-machine"

    def close(self) -> None:
        self.api.session.close()

    def rows(self, folder: str) -> list[dict[str, Any]]:
        """All rows of a folder, hidden ones included."""
        rows: list[dict[str, Any]] = []
        while True:
            answer = self.api.ls(folder, limit=1000, offset=len(rows))
            assert answer.status_code == 200, answer.text
            rows += answer.json()["results"]
            if len(rows) >= answer.json()["count"]:
                return rows

    def names(self, folder: str) -> list[str]:
        return sorted(row["name"] for row in self.rows(folder))

    def find(self, path: str) -> dict[str, Any] | None:
        """The row of an item or folder, None if there is none."""
        answer = self.api.stat(path)
        if answer.status_code == 404:
            return None
        assert answer.status_code == 200, answer.text
        row: dict[str, Any] = answer.json()
        return row

    def row(self, path: str) -> dict[str, Any]:
        """The row of what is there."""
        found = self.find(path)
        assert found is not None, path
        return found

    def tree(self, folder: str, above: str = "") -> list[tuple[str, bytes | None]]:
        """Paths and contents (None: a folder) of all that is below, each item for itself."""
        found: list[tuple[str, bytes | None]] = []
        for row in self.rows(folder):
            is_folder = row["resource_type"] == "folder"
            found.append((above + row["name"], None if is_folder else self.api.content(row["id"])))
            if is_folder:
                found += self.tree(f"{folder}/{row['name']}", f"{above}{row['name']}/")
        return sorted(found, key=lambda each: each[0])

    def content(self, path: str) -> bytes:
        return self.api.content(self.row(path)["id"])

    def put(self, path: str, content: bytes) -> int:
        """A new item; others of that name stay."""
        folder, name = path.rsplit("/", 1)
        if len(content) <= PART_BYTES:
            return int(self.api.upload(name, content, folder)["id"])
        begun = self.api.begin(name, len(content), folder)
        parts = begun["upload"]["parts"]
        for part in parts:
            start = (part["number"] - 1) * PART_BYTES
            sent = self.api.request("PUT", part["url"], data=content[start : start + PART_BYTES])
            assert sent.status_code == 204, sent.text
        assert self.api.complete(begun["id"], len(parts)).status_code == 200
        return int(begun["id"])

    def replace(self, path: str, content: bytes) -> int:
        """As another mount saves: the new item in place, then the old one removed."""
        old = self.row(path)["id"]
        new = self.put(path, content)
        self.delete(old)
        return new

    def delete(self, item: int) -> None:
        answer = self.api.request("DELETE", f"/api/v3/storage/files/{item}")
        assert answer.status_code == 204, answer.text

    def remove(self, path: str) -> None:
        answer = self.api.remove(path)
        assert answer.status_code == 204, answer.text

    def make_folder(self, path: str) -> None:
        answer = self.api.create(path)
        assert answer.status_code == 201, answer.text

    def move(self, old: str, new: str) -> None:
        """Another folder, another name, for an item or a folder."""
        row = self.row(old)
        folder, name = new.rsplit("/", 1)
        answer = self.api.assign(
            {"resource_type": row["resource_type"], "id": row["id"], "path": folder, "name": name}
        )
        assert answer.status_code == 204, answer.text

    def tag(self, path: str, *tags: str) -> None:
        answer = self.api.post(f"/api/v1/storage/files/{self.row(path)['id']}/tags", {"tags": tags})
        assert answer.status_code == 200, answer.text

    def tags(self, path: str) -> list[str]:
        row = self.row(path)
        kind = {"file": "files", "folder": "folders"}[row["resource_type"]]
        answer = self.api.get(f"/api/v1/storage/{kind}/{row['id']}/tags")
        return sorted(tag["name"] for tag in answer.json()["results"])
