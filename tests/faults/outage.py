"""A server that can be taken away and brought back, and what it holds when all is done."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from tests.mount.server import Server
from tests.server.process import FILES, HOME

_PAGE = 500


class Outage(Server):
    """The embedded server; on the same port and data after each outage."""

    def __init__(self, folder: Path, switches: Mapping[str, str] | None = None) -> None:
        self._reported: set[int] = set()
        super().__init__(folder, switches)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None

    def freeze(self) -> None:
        """It takes connections, and never answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on where it was."""
        os.kill(self.pid, signal.SIGCONT)

    def mend(self) -> None:
        """Running, and behaving, whatever was done to it."""
        if self.is_running:
            self.thaw()
        else:
            self.start()
        self.misbehave()

    def put_in_parts(self, path: str, content: bytes) -> None:
        """A new item of any size, as another machine uploads it."""
        api = self.direct.api
        folder, name = path.rsplit("/", 1)
        row = api.begin(name, len(content), folder)
        part_bytes, parts = row["upload"]["part_bytes"], row["upload"]["parts"]
        for part in parts:
            at = (part["number"] - 1) * part_bytes
            url = urljoin(self.url, part["url"])
            answer = api.session.put(url, data=content[at : at + part_bytes], timeout=20)
            assert answer.status_code == 204, answer.text
        assert api.complete(row["id"], len(parts)).status_code == 200

    # What it holds

    def files(self) -> list[dict[str, Any]]:
        """Every file of the account in any state and place, unfinished uploads included."""
        rows: list[dict[str, Any]] = []
        while True:
            answer = self.direct.api.get(FILES, params={"limit": _PAGE, "offset": len(rows)})
            assert answer.status_code == 200, answer.text
            page = answer.json()
            rows += page["results"]
            if len(rows) >= page["count"]:
                return rows

    def leftovers(self, *expected: str, folder: str = HOME) -> list[str]:
        """What is in `folder` or unfinished anywhere, and should not be: names that are not expected,

        names that are there more than once, marks, uploads without an end. Empty: all is tidy.
        """
        names = Counter(row["name"] for row in self.direct.rows(folder))
        wrong = [f"{name} in {folder}" for name in names if name not in expected]
        wrong += [f"{count} times {name}" for name, count in names.items() if count > 1]
        wrong += [f"{name} is missing" for name in expected if name not in names]
        for row in self.files():
            is_left = row["state"] != "ready" or row["name"].startswith(".orionfs-")
            if is_left and row["id"] not in self._reported:
                self._reported.add(row["id"])  # to the test that left it, and to no other
                wrong.append(f"{row['name']} is {row['state']} in {row['path']}")
        return wrong


def bytes_of(size: int, salt: bytes = b"new") -> bytes:
    """No two blocks of them are equal."""
    return b"".join(b"%s %08d\n" % (salt, at) for at in range(size // 10 + 1))[:size]


def error_of(call: Callable[[], object]) -> int | None:
    """The errno that a call ends with, None if it succeeds."""
    try:
        call()
    except OSError as error:
        return error.errno
    return None
