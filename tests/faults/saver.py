"""A program that saves one file again and again, and says what it was told about each save.

Run as a process: `python saver.py STYLE PATH FIRST LAST STUBBORN`. Lines on stdout: `begin N` before a
save, `saved N` when every call of it has succeeded, `failed N ERRNO` else. `saving` starts and hears it.
"""

from __future__ import annotations

import contextlib
import os
import random
import select
import sys
import time

_SIZES = (200, 3_000, 40_000, 150_000)
_CHUNK = 30_000
_PAUSE_S = 0.05


def body(version: int) -> bytes:
    """The bytes of a version: no part of it could be of another one."""
    line = f"version {version:06}\n".encode()
    size = random.Random(version).choice(_SIZES) + version
    return line * (size // len(line)) + f"end {version:06}\n".encode()


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
