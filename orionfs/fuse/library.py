"""Which pyfuse3 and libfuse this process runs, for people who ask. Must not know mounts."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path

import pyfuse3

_MAPS = Path("/proc/self/maps")


def library_versions() -> dict[str, str]:
    """Name -> version of pyfuse3 and of the libfuse that was loaded with it, as far as they tell it."""
    found = {"pyfuse3": str(pyfuse3.__version__)}
    loaded = re.search(r"/\S*libfuse3\S*", _MAPS.read_text() if _MAPS.exists() else "")
    if loaded is not None:
        found["libfuse"] = _version_of(loaded[0])
    return found


def _version_of(path: str) -> str:
    """As the library itself says: since 3.5 in words, before as a number."""
    library = ctypes.CDLL(path)
    if not hasattr(library, "fuse_pkgversion"):
        return f"{library.fuse_version() // 10}.{library.fuse_version() % 10}"
    library.fuse_pkgversion.restype = ctypes.c_char_p
    told: bytes = library.fuse_pkgversion()
    return told.decode()
