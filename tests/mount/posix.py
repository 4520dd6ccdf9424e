"""Calls of the C library that Python does not offer, with its errors as OSError."""

from __future__ import annotations

import ctypes
import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

AT_FDCWD = -100
RENAME_NOREPLACE = 1
RENAME_EXCHANGE = 2
RENAME_WHITEOUT = 4

_NAME_AT = 19  # of d_name in struct dirent64, after inode, offset, length and type

_libc = ctypes.CDLL(None, use_errno=True)
_libc.opendir.restype = ctypes.c_void_p
_libc.readdir64.restype = ctypes.c_void_p
_libc.telldir.restype = ctypes.c_long
_libc.mmap.restype = ctypes.c_void_p


def renameat2(old: Path, new: Path, flags: int) -> None:
    """rename(2) with flags."""
    ended = _libc.renameat2(AT_FDCWD, os.fsencode(old), AT_FDCWD, os.fsencode(new), ctypes.c_uint(flags))
    if ended != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(old), None, str(new))


def map_shared(descriptor: int, length: int) -> int:
    """The address of a shared mapping that keeps no descriptor, as Python's own does."""
    both, offset = mmap.PROT_READ | mmap.PROT_WRITE, ctypes.c_long(0)
    address = _libc.mmap(None, ctypes.c_size_t(length), both, mmap.MAP_SHARED, descriptor, offset)
    if address in (None, ctypes.c_void_p(-1).value):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return int(address)


def store_and_unmap(address: int, length: int, data: bytes) -> None:
    """Write to a mapping from its beginning on, and end it."""
    ctypes.memmove(address, data, len(data))
    if _libc.munmap(ctypes.c_void_p(address), ctypes.c_size_t(length)) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


class DirectoryStream:
    """opendir(3) and what can be done with it; `.` and `..` are left out."""

    def __init__(self, path: Path) -> None:
        self._stream = ctypes.c_void_p(_libc.opendir(os.fsencode(path)))
        if not self._stream:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(path))

    def __enter__(self) -> DirectoryStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _libc.closedir(self._stream)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        while True:
            ctypes.set_errno(0)
            entry = _libc.readdir64(self._stream)
            if not entry:
                if ctypes.get_errno():
                    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
                raise StopIteration
            name = os.fsdecode(ctypes.string_at(entry + _NAME_AT))
            if name not in (".", ".."):
                return name

    def tell(self) -> int:
        """The place of the next entry."""
        return int(_libc.telldir(self._stream))

    def seek(self, place: int) -> None:
        """Go on at a place that `tell` told."""
        _libc.seekdir(self._stream, ctypes.c_long(place))

    def rewind(self) -> None:
        """From the beginning, and with what is there now."""
        _libc.rewinddir(self._stream)
