"""Embedded servers, many in one process, each with switches of its own: for tests that need dozens.

A server in a process of its own takes a second to start; here each takes the time of its data folder.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from orionfs.profiles import OWN_CLIENT, Profile, Token
from tests.client.embedded import REPOSITORY

# A line of JSON with options in, a line with the URL out; the end of stdin ends all of them.
_PROGRAM = """
import json, os, sys, threading
from pathlib import Path
from orionfs.server import ServeOptions, serve

for line in sys.stdin:
    options = json.loads(line)
    options["data"] = Path(options["data"])
    options["access_log"] = options["data"].with_suffix(".log")
    said = lambda url: print(url, flush=True)
    threading.Thread(target=serve, args=(ServeOptions(ready=said, **options),), daemon=True).start()
os._exit(0)
"""


@dataclass(frozen=True, slots=True)
class Hosted:
    """One server of the host."""

    url: str
    token: str
    data: Path

    def profile(self) -> Profile:
        """Our own client with this server."""
        return Profile("hosted", self.url, Token(self.token), None, OWN_CLIENT, None)

    def documented(self) -> Profile:
        """A session that offers the documented calls only, in workers."""
        factory = "tests.documented.session:make_plain_session"
        return Profile("hosted", self.url, Token(self.token), None, factory, sys.executable)

    def paths_asked(self) -> list[tuple[str, str]]:
        """Method and path of each request so far."""
        lines = self.data.with_suffix(".log").read_text().splitlines()
        return [(entry["method"], entry["path"]) for entry in map(json.loads, lines)]


class Host:
    """The process; `start` adds a server."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        self._process, self._folder = process, folder
        self._count = 0

    def start(self, switches: Mapping[str, str]) -> Hosted:
        """A server with these switches and data of its own."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._count += 1
        data = self._folder / str(self._count)
        self._process.stdin.write(json.dumps({"data": str(data), "switches": dict(switches)}) + "\n")
        self._process.stdin.flush()
        url = self._process.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:"), (self._folder / "stderr.txt").read_text()
        return Hosted(url, (data / "token").read_text().strip(), data)


@contextmanager
def hosted_servers(folder: Path) -> Iterator[Host]:
    """A host with its data in `folder`; all its servers end with the block."""
    with (folder / "stderr.txt").open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield Host(process, folder)
    finally:
        process.stdin.close()
        process.wait(10)
        process.stdout.close()
