"""Local files by position, also where a platform lacks the calls of POSIX for it (Windows).

A leaf; who opens a descriptor here or elsewhere for bytes needs `BINARY` in its flags.
"""

from __future__ import annotations

import os
import threading

__all__ = ["BINARY", "WITHOUT_WAITING", "free_bytes", "pread", "pwrite"]

BINARY = getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
"""Flags of every descriptor: no byte is translated, no child inherits it."""

WITHOUT_WAITING = getattr(os, "O_NONBLOCK", 0)
_HAS_POSITIONS = hasattr(os, "pread") and hasattr(os, "pwrite")
_seeking = threading.Lock()  # a position belongs to all threads


def pread(fd: int, size: int, offset: int) -> bytes:
    """At most `size` bytes from `offset` on. Raises OSError."""
    if _HAS_POSITIONS:
        return os.pread(fd, size, offset)
    with _seeking:
        os.lseek(fd, offset, os.SEEK_SET)
        return os.read(fd, size)


def pwrite(fd: int, data: memoryview, offset: int) -> int:
    """Write at `offset`; how many bytes were. Raises OSError."""
    if _HAS_POSITIONS:
        return os.pwrite(fd, data, offset)
    with _seeking:
        os.lseek(fd, offset, os.SEEK_SET)
        return os.write(fd, data)


def free_bytes(fd: int) -> int | None:
    """What is free on the disk of an open file, None where the platform does not tell."""
    if not hasattr(os, "fstatvfs"):
        return None
    disk = os.fstatvfs(fd)
    return disk.f_bavail * disk.f_frsize
