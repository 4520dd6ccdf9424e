"""A program that saves, renames and removes a few files of one folder by chance, and says what it was told.

Run as a process: `python loader.py FOLDER SEED FIRST`. One JSON line `[verb, names..., version]` before each
call, and its error number, 0 for none, behind it. It ends with its stdin, or once the mount is gone.
"""

from __future__ import annotations

import errno
import importlib.util
import json
import os
import random
import select
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

NAMES = ["a", "b", "c", "d"]
GONE = {errno.ENOTCONN, errno.ECONNABORTED, errno.EBADF, errno.ENODEV}


def _saver() -> Any:
    """The module beside this one; nothing of the tests can be imported here."""
    path = Path(__file__).with_name("saver.py")
    spec = importlib.util.spec_from_file_location("saver", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def synced(path: str, content: bytes) -> None:
    """As a database writes: at places, with fsync before the close."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        middle = len(content) // 2
        os.pwrite(descriptor, content[middle:], middle)
        os.pwrite(descriptor, content[:middle], 0)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def main(folder: str, seed: int, version: int) -> None:
    """Go on until stdin ends or the mount is gone."""
    saver, dice = _saver(), random.Random(seed)
    verbs: dict[str, Callable[..., None]] = {
        "save": lambda path, version: saver.save("truncate", path, saver.body(version)),
        "sync": lambda path, version: synced(path, saver.body(version)),
        "rename": os.rename,
        "unlink": os.unlink,
    }
    while not select.select([sys.stdin], [], [], 0)[0]:
        verb = dice.choice(["save", "save", "save", "sync", "rename", "rename", "unlink"])
        names = dice.sample(NAMES, 2 if verb == "rename" else 1)
        paths = [os.path.join(folder, name) for name in names]
        more = [version] if verb in ("save", "sync") else []
        version += 1
        print(json.dumps([verb, *names, *more]), flush=True)
        try:
            verbs[verb](*paths, *more)
        except OSError as error:
            print(error.errno, flush=True)
            if error.errno in GONE:
                return
        else:
            print(0, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
