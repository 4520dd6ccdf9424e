"""How the C library gives memory back, set once for a process; a leaf.

Without it glibc keeps the freed tables of large listings, and a heap of its own for every thread that ever
answered a call: tens of MiB that nobody uses.
"""

from __future__ import annotations

import ctypes

_MMAP_THRESHOLD, _ARENA_MAX = -3, -8  # of mallopt(3)
_LARGE_BYTES = 256 * 1024


def give_back_early() -> None:
    """Large blocks go back to the system when freed, and threads share two heaps; nothing elsewhere."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return  # not glibc
    mallopt(_MMAP_THRESHOLD, _LARGE_BYTES)
    mallopt(_ARENA_MAX, 2)
