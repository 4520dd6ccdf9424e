"""Looking at processes from outside, and waiting for what they come to."""

from __future__ import annotations

import os
import pwd
import time
from collections.abc import Callable
from pathlib import Path

# fusermount3 refuses a user that has no name.
PLAIN_UID = pwd.getpwnam("nobody").pw_uid


def wait_for(is_so: Callable[[], bool], timeout_s: float = 20) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < deadline, "it did not come to that in time"
        time.sleep(0.01)


def daemons_of(point: Path) -> list[int]:
    """Processes whose command line names the mount point as its last word."""
    return [
        int(process.name)
        for process in Path("/proc").iterdir()
        if process.name.isdigit() and _last_word(process) == os.fsencode(point)
    ]


def _last_word(process: Path) -> bytes:
    try:
        words = (process / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    except OSError:
        return b""
    return words[-1] if b"--foreground" in words else b""
