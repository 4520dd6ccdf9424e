"""What a staged file still lacks of the version that it was begun from.

Who writes into a file without emptying it first changes a version that Orion has. Its bytes are not fetched
for that: what is read through the staged file comes from the version, and what is missing is copied when
the new version is sealed. So a file that is overwritten whole costs no fetch. Used by `staging` alone, which
serialises what changes the staged file; must not know handles or inodes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import trio

from orionfs.cache.content import Staged, copy_range
from orionfs.cache.fetch import Fetcher, Source, Window
from orionfs.cache.ranges import RangeSet

_PIECE_BYTES = 2**20
_COPIED_AT_ONCE_BYTES = 2**26

Brought = list[tuple[int, bytes]]
"""Bytes of a version and where they begin in it."""


class Basis:
    """The first `end` bytes of a version, where nothing was written over them.

    `staged` has the length of the whole; where it lacks bytes it has zeros. `close` it.
    """

    def __init__(self, fetcher: Fetcher, source: Source, staged: Staged, end: int) -> None:
        self._fetcher = fetcher
        self._source = source
        self._staged = staged
        self._end = end
        self._here = RangeSet()

    def __repr__(self) -> str:
        return f"<Basis {self._source.key.id} lacks {self.gaps(0, self._end)}>"

    @property
    def is_complete(self) -> bool:
        return self._here.covers(0, self._end)

    @property
    def missing_bytes(self) -> int:
        """How much would have to be fetched or copied to complete the staged file."""
        return sum(end - start for start, end in self.gaps(0, self._end))

    def gaps(self, start: int, end: int) -> list[tuple[int, int]]:
        """Which parts of `[start, end)` the staged file lacks."""
        return self._here.missing(start, min(end, self._end))

    def note_written(self, start: int, end: int) -> None:
        """The staged file has these bytes of its own."""
        self._here.add(start, end)

    def cut(self, size: int) -> None:
        """The file was truncated: nothing of the version shows from there on, even if it grows again."""
        self._end = min(self._end, size)

    async def fetch(self, limit_bytes: int | None = None, end: int | None = None) -> bool:
        """Have all that is missing (before `end`) on this machine; False if that is more than the limit.

        Raises Stale if the version is gone.
        """
        if (
            limit_bytes is not None
            and self.missing_bytes > limit_bytes
            and not self._source.entry.is_complete
        ):
            return False
        with self._held() as source:
            for gap in self.gaps(0, self._end if end is None else end):
                for gap_start, gap_end in self.gaps(*gap):  # some of it may have been written meanwhile
                    await self._fetcher.ensure(source, gap_start, gap_end)
        return True

    async def bring(self, window: Window, offset: int, size: int) -> Brought:
        """What the file lacks at a place. Raises Stale if the version is gone."""
        with self._held() as source:
            return [
                (start, await self._fetcher.read(source, window, start, end - start))
                for start, end in self.gaps(offset, offset + size)
            ]

    @contextmanager
    def _held(self) -> Iterator[Source]:
        """The version stays open meanwhile, also if whoever writes needs it no more and closes this."""
        source = self._fetcher.open(self._source.key, self._source.entry.size)
        try:
            yield source
        finally:
            self._fetcher.close(source)

    def read(self, offset: int, size: int, brought: Brought) -> bytes:
        """Bytes of the file as it stands; what it lacked there was brought."""
        data = bytearray(self._staged.read(offset, size))
        for start, there in brought:
            for gap_start, gap_end in self.gaps(start, min(start + len(there), offset + len(data))):
                data[gap_start - offset : gap_end - offset] = there[gap_start - start : gap_end - start]
        return bytes(data)

    async def fill(self, end: int | None = None) -> None:
        """Copy some of what is missing (before `end`) into the staged file; all of it was fetched.

        Nobody writes meanwhile.
        """
        gaps = self.gaps(0, self._end if end is None else end)
        if not gaps:
            return
        start, gap_end = gaps[0]
        gap_end = min(gap_end, start + _COPIED_AT_ONCE_BYTES)
        # Whoever closes the file closes these descriptors, perhaps meanwhile.
        source_fd, staged_fd = os.dup(self._source.entry.fd), os.dup(self._staged.fd)
        try:
            await trio.to_thread.run_sync(copy_range, source_fd, staged_fd, gap_end, start)
        finally:
            os.close(source_fd)
            os.close(staged_fd)
        self.note_written(start, gap_end)

    async def next_piece(self) -> Brought:
        """A little of what is missing, where all of it can't be held beside the staged file."""
        start, end = self.gaps(0, self._end)[0]
        return await self.bring(Window(), start, min(end - start, _PIECE_BYTES))

    def put(self, brought: Brought) -> None:
        """Write it where it is still missing. Raises NoSpace; nobody writes meanwhile."""
        for start, there in brought:
            for gap_start, gap_end in self.gaps(start, start + len(there)):
                self._staged.write(gap_start, there[gap_start - start : gap_end - start])
                self.note_written(gap_start, gap_end)

    def close(self) -> None:
        self._fetcher.close(self._source)
