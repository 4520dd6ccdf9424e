"""A server in a process of its own, and a thin client of its dialect."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import requests

HOME = "/project/1/user/demo"
TEAM = "/project/1/team"
FILES = "/api/v3/storage/files"
PATHS = "/api/v1/storage/paths"
COLLECTIONS = "/api/v1/storage/collections"
DATASETS = "/api/v1/storage/datasets"
WORKFLOES = "/api/v1/workfloes"

_REPOSITORY = Path(__file__).resolve().parents[2]
_PROGRAM = Path(__file__).with_name("serving.py")


class Api:
    """Requests as one user; each method answers with the response."""

    def __init__(self, url: str, token: str | None) -> None:
        self.url = url
        self.folder = HOME
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=32))
        if token is not None:
            self.session.headers["Authorization"] = f"Token:{token}"

    def __enter__(self) -> Api:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.session.close()

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        return self.session.request(
            method, self.url + path, timeout=20, allow_redirects=options.pop("follow", False), **options
        )

    def get(self, path: str, **options: Any) -> requests.Response:
        return self.request("GET", path, **options)

    def post(self, path: str, body: Any = None, **options: Any) -> requests.Response:
        return self.request("POST", path, json=body, **options)

    def create(self, *paths: str) -> requests.Response:
        return self.post(f"{PATHS}/create", {"paths": paths})

    def remove(self, *paths: str) -> requests.Response:
        return self.post(f"{PATHS}/remove", {"paths": paths})

    def assign(self, *assignments: dict[str, Any]) -> requests.Response:
        return self.post(f"{PATHS}/assign", {"assignments": assignments})

    def stat(self, path: str) -> requests.Response:
        return self.get(f"{PATHS}/stat", params={"path": path})

    def ls(self, path: str, **query: Any) -> requests.Response:
        return self.get(f"{PATHS}/ls", params={"path": path, **query})

    def names(self, path: str, **query: Any) -> list[str]:
        """Names in a folder, in the order of the answer."""
        answer = self.ls(path, **query)
        assert answer.status_code == 200, answer.text
        return [row["name"] for row in answer.json()["results"]]

    def upload(self, name: str, content: bytes = b"", folder: str | None = None) -> dict[str, Any]:
        """A file in one request: its row."""
        query = {"name": name, "folder_path": folder or self.folder}
        answer = self.request("POST", f"{FILES}/upload", params=query, data=content or b"")
        assert answer.status_code == 201, answer.text
        row: dict[str, Any] = answer.json()
        return row

    def begin(self, name: str, size: int, folder: str | None = None) -> dict[str, Any]:
        """An upload in parts: its row."""
        answer = self.post(FILES, {"name": name, "size": size, "folder_path": folder or self.folder})
        assert answer.status_code == 201, answer.text
        row: dict[str, Any] = answer.json()
        return row

    def complete(self, file_id: int, parts: int) -> requests.Response:
        return self.post(f"{FILES}/{file_id}/complete", {"parts": parts})

    def download_url(self, file_id: int) -> str:
        """The signed URL of a file's contents."""
        answer = self.get(f"{FILES}/{file_id}/download")
        assert answer.status_code == 302, answer.text
        return answer.headers["Location"]

    def content(self, file_id: int) -> bytes:
        """A file's contents."""
        with Api(self.url, None) as nobody:
            answer = nobody.get(self.download_url(file_id))
        assert answer.status_code == 200, answer.text
        return answer.content


@dataclass
class RunningServer:
    """A server process and where its things lie."""

    process: subprocess.Popen[str]
    folder: Path
    url: str
    token_file: Path
    started: list[Api] = field(default_factory=list)

    def api(self, token_file: Path | None = None) -> Api:
        """Requests as the user whose token file this is (demo)."""
        api = Api(self.url, (token_file or self.token_file).read_text().strip())
        self.started.append(api)
        return api

    def log(self) -> list[dict[str, Any]]:
        """The access log so far."""
        return [json.loads(line) for line in (self.folder / "access.log").read_text().splitlines()]

    def misbehave(self, *rules: dict[str, Any]) -> None:
        """Replace the fault plan."""
        (self.folder / "faults.new").write_text(json.dumps({"rules": rules}))
        os.replace(self.folder / "faults.new", self.folder / "faults.json")

    def kill(self) -> None:
        """End it as a crash would."""
        self.process.kill()
        self.process.wait(10)

    def stop(self, number: signal.Signals | None = None) -> float:
        """End it with a signal, or by the end of its stdin; how long that took, in seconds."""
        started = time.monotonic()
        if self.process.poll() is None and number is not None:
            self.process.send_signal(number)
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(15)
        return time.monotonic() - started

    def close(self) -> None:
        """End it if it still runs, and whatever belongs to it."""
        self.stop()
        for api in self.started:
            api.session.close()
        assert self.process.stdout is not None
        self.process.stdout.close()


def spawn(folder: Path, **options: Any) -> subprocess.Popen[str]:
    """A server process that has not said anything yet; its stderr is a file."""
    settings: dict[str, Any] = {
        "data": folder / "data",
        "access_log": folder / "access.log",
        "until_eof": True,
    }
    settings |= {"faults": folder / "faults.json", **options}
    with (folder / "stderr.txt").open("a") as errors:
        return subprocess.Popen(
            [sys.executable, "-W", "error", str(_PROGRAM), json.dumps(settings, default=str)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env={**os.environ, "PYTHONPATH": str(_REPOSITORY)},
        )


@contextmanager
def start_server(folder: Path, **options: Any) -> Iterator[RunningServer]:
    """A server that listens."""
    process = spawn(folder, **options)
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    assert url.startswith("http://127.0.0.1:"), (folder / "stderr.txt").read_text()
    data = Path(options.get("data", folder / "data"))
    server = RunningServer(process, folder, url, Path(options.get("token_file", data / "token")))
    try:
        yield server
    finally:
        server.close()


def failure_to_start(folder: Path, **options: Any) -> str:
    """What a server says that does not start."""
    process = spawn(folder, **options)
    output, _ = process.communicate(timeout=20)
    assert (process.returncode, output) == (1, "")
    return (folder / "stderr.txt").read_text()


def wait_until(condition: Callable[[], bool], timeout_s: float = 10) -> None:
    """Ask until something is the case; an AssertionError when it does not happen in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)
