"""The saver as a process beside the test, and which version of its file some bytes are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from threading import Thread

from tests.cli.processes import wait_for
from tests.faults import saver
from tests.faults.saver import body


def version_of(content: bytes) -> int:
    """Which version these bytes are; an AssertionError if they are none, or a part of one."""
    assert content.startswith(b"version "), f"{len(content)} bytes, which begin with {content[:40]!r}"
    version = int(content[8:14])
    assert content == body(version), f"{len(content)} bytes of version {version}, not all of it"
    return version


class Saver:
    """A running saver, and what it has said so far."""

    def __init__(self, style: str, path: Path, first: int, last: int, *, stubborn: bool = False) -> None:
        self.begun = first - 1
        self.saved = self.saves = 0
        self.failed: list[tuple[int, int]] = []
        arguments = [style, str(path), str(first), str(last), str(int(stubborn))]
        self._process = subprocess.Popen(
            [sys.executable, "-I", saver.__file__, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._reader = Thread(target=self._listen)
        self._reader.start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            word, version, *more = line.split()
            if word == "begin":
                self.begun = int(version)
            elif word == "saved":
                self.saved = int(version)
                self.saves += 1
            else:
                self.failed.append((int(version), int(more[0])))

    def wait_until_begun(self, version: int) -> None:
        """Wait until a version is being saved, or all is over."""
        wait_for(lambda: self.begun == version or self._process.poll() is not None)

    def wait_until_saved(self, count: int) -> None:
        """Wait until so many more saves have succeeded."""
        saved = self.saves
        wait_for(lambda: self.saves >= saved + count)

    def wait_until_failed(self) -> None:
        """Wait until one more has failed."""
        failed = len(self.failed)
        wait_for(lambda: len(self.failed) > failed)

    def wait(self) -> None:
        """Wait for its end, and for all that it said."""
        self._process.wait()
        self._reader.join()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()

    def end(self) -> None:
        """Let it bring the save that it is at to an end, and no more."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self.wait()
