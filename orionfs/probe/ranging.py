"""Whether a part of a File is the same bytes as that part of the whole: tried before it is relied on."""

from __future__ import annotations

import os
import tempfile
from itertools import pairwise
from pathlib import Path

from orionfs.errors import OrionFsError, TimedOut
from orionfs.models import Kind
from orionfs.probe.asking import Desk
from orionfs.probe.findings import Evidence, Finding
from orionfs.probe.walking import small_file

_NAME = "ranged_reads"


def compare_ranges(desk: Desk, seen: Evidence, own: int | None) -> dict[str, Finding]:
    """Fetch a small File both ways: the one with the id `own`, else one that is there. Raises TimedOut."""
    if not desk.has_ranges:
        return {_NAME: Finding(_NAME, None, "unknown (this session reads whole Files only)")}
    id = small_file(seen) if own is None else own
    if id is None:
        return {_NAME: Finding(_NAME, None, "unknown (no small File was seen; --write makes one)")}
    try:
        is_equal = _is_equal(desk, id)
    except TimedOut:
        raise
    except OrionFsError:
        return {_NAME: Finding(_NAME, None, "unknown (the File could not be fetched both ways)")}
    return {_NAME: Finding(_NAME, is_equal, "a File was fetched both ways and compared")}


def _is_equal(desk: Desk, id: int) -> bool:
    with tempfile.TemporaryDirectory(prefix="orionfs-probe-") as folder:
        whole, parts = Path(folder, "whole"), Path(folder, "parts")
        desk.ask("download", Kind.FILE.value, id, str(whole))
        size = whole.stat().st_size
        descriptor = os.open(parts, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            for offset, length in ranges_of(size):
                desk.ask("read_into", Kind.FILE.value, id, offset, length, descriptor, offset)
        finally:
            os.close(descriptor)
        return parts.read_bytes() == whole.read_bytes()


def ranges_of(size: int) -> list[tuple[int, int]]:
    """Offsets and lengths that cover so many bytes, the middle first and no two of one length."""
    edges = sorted({0, size // 7, size // 3, size})
    pairs = [(start, end - start) for start, end in pairwise(edges)]
    return [*pairs[1:], *pairs[:1]]
