"""A program that saves one file again and again, and says what it was told about each save.

Run as a process: `python saver.py STYLE PATH FIRST LAST STUBBORN`. Lines on stdout: `begin N` before a
save, `saved N` when every call of it has succeeded, `failed N ERRNO` else. The test's half reads them
(`Saver`), and knows what each version must look like (`body`, `version_of`).
"""

from __future__ import annotations

import contextlib
import os
import random
import select
import subprocess
import sys
import time
from pathlib import Path
from threading import Thread

_SIZES = (200, 3_000, 40_000, 150_000)
_CHUNK = 30_000
_PAUSE_S = 0.05


def body(version: int) -> bytes:
    """The bytes of a version: no part of it could be of another one."""
    line = f"version {version:06}\n".encode()
    size = random.Random(version).choice(_SIZES) + version
    return line * (size // len(line)) + f"end {version:06}\n".encode()


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
        self.saved = 0
        self.failed: list[tuple[int, int]] = []
        arguments = [style, str(path), str(first), str(last), str(int(stubborn))]
        self._process = subprocess.Popen(
            [sys.executable, "-I", __file__, *arguments],
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
            else:
                self.failed.append((int(version), int(more[0])))

    @property
    def is_over(self) -> bool:
        return self._process.poll() is not None

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


def _write(path: str, content: bytes) -> None:
    """What an editor does, every call checked."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view[:_CHUNK]) :]
    except BaseException:
        with contextlib.suppress(OSError):
            os.close(descriptor)
        raise
    os.close(descriptor)


def save(style: str, path: str, content: bytes) -> None:
    """One save: over the file itself, or beside it and renamed."""
    if style == "truncate":
        _write(path, content)
        return
    _write(path + ".new", content)
    os.rename(path + ".new", path)


def main(style: str, path: str, first: int, last: int, is_stubborn: bool) -> None:
    """Save the versions from first to last, until stdin ends; stubborn: go on after an error."""
    for version in range(first, last + 1):
        if select.select([sys.stdin], [], [], 0)[0]:
            return
        print("begin", version, flush=True)
        try:
            save(style, path, body(version))
        except OSError as error:
            print("failed", version, error.errno, flush=True)
            if not is_stubborn:
                return
            time.sleep(_PAUSE_S)
        else:
            print("saved", version, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5] == "1")
