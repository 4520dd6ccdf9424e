"""The embedded server as a process of its own, for tests of the client and of the bridge."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Embedded:
    """Where it is and how it is reached."""

    url: str
    token: str
    folder: Path

    def log(self) -> list[dict[str, Any]]:
        """The access log so far."""
        return [json.loads(line) for line in (self.folder / "access.log").read_text().splitlines()]

    def misbehave(self, *rules: dict[str, Any]) -> None:
        """Replace the fault plan."""
        written = self.folder / "faults.new"
        written.write_text(json.dumps({"rules": list(rules)}))
        written.replace(self.folder / "faults.json")

    def environment(self) -> dict[str, str]:
        """What a process needs to reach it through our own client."""
        return {
            **os.environ,
            "ORIONFS_URL": self.url,
            "ORIONFS_TOKEN": self.token,
            "PYTHONPATH": str(REPOSITORY),
        }


@contextmanager
def running_server(folder: Path, *options: str) -> Iterator[Embedded]:
    """A server with its data in `folder`; it ends with the block."""
    (folder / "faults.json").write_text('{"rules": []}')
    command = [sys.executable, "-m", "orionfs", "serve", "--data", str(folder / "data"), "--until-eof"]
    command += ["--access-log", str(folder / "access.log"), "--faults", str(folder / "faults.json")]
    process = subprocess.Popen(
        [*command, *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        found = re.search(r"http://[\w.:]+", process.stdout.readline())
        assert found is not None, "the embedded server did not start"
        token = (folder / "data" / "token").read_text().strip()
        yield Embedded(found[0], token, folder)
    finally:
        process.stdin.close()
        process.wait(10)
        process.stdout.close()
