"""Brings missing ranges of remote versions into the content cache: parts, windows, read ahead.

Every fetch is a task of its own that several readers may wait for; a reader that goes away does not
end it. Bytes count as present only after they were written to the cache file. A session that can't
read ranges gets the whole item once. Must not know inodes, handles or names.
"""

from __future__ import annotations

import logging
import uuid
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from weakref import WeakValueDictionary

import trio

from orionfs.content import CacheEntry, ContentCache
from orionfs.errors import NoSpace, NoSuchName, OrionFsError, RemoteFailure, Stale, disk_error
from orionfs.limiter import Priority, Urgency, current_urgency
from orionfs.models import Key
from orionfs.remote import Remote
from orionfs.tasks import Background

log = logging.getLogger(__name__)

PART_BYTES = 8 * 2**20
_FIRST_BYTES = 2**20
_RANDOM_BYTES = 512 * 2**10
_WINDOW_MAX_BYTES = 8 * PART_BYTES
_JITTER_BYTES = 2**20  # the kernel's read-ahead asks a little out of order


@dataclass(slots=True)
class Window:
    """How one handle reads: sequential reads double what is asked for, others ask for little."""

    next_offset: int = 0
    ahead_to: int = 0
    length: int = _FIRST_BYTES

    def advance(self, offset: int, size: int) -> int:
        """Note a read; up to which offset to have bytes on their way."""
        end = offset + size
        if abs(offset - self.next_offset) > _JITTER_BYTES:
            self.length, self.ahead_to, self.next_offset = _RANDOM_BYTES, offset, end
        self.next_offset = max(self.next_offset, end)
        if self.ahead_to < end or self.ahead_to - end < self.length // 2:
            self.ahead_to = max(self.ahead_to, offset) + max(self.length, size)
            self.length = min(2 * self.length, _WINDOW_MAX_BYTES)
        return self.ahead_to


@dataclass(slots=True)
class _Flight:
    start: int
    end: int
    done: trio.Event
    error: OrionFsError | None = None
    urgency: Urgency = field(default_factory=current_urgency)


class Source:
    """One remote version being read, by however many: its cache entry and what is on its way to it."""

    def __init__(self, key: Key, entry: CacheEntry) -> None:
        self.key = key
        self.entry = entry
        self.flights: list[_Flight] = []
        self.downloading = trio.Lock()


class Fetcher:
    """All fetches of one mount."""

    def __init__(self, remote: Remote, content: ContentCache) -> None:
        self._remote = remote
        self._content = content
        self._background = Background()
        self._sources = WeakValueDictionary[Key, Source]()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Home of the fetches. Ends when cancelled."""
        await self._background.run(task_status)

    async def make_room(self) -> None:
        """The disk is full: what is cached and not in use makes room for what is written."""
        await trio.to_thread.run_sync(self._content.make_room)

    def open(self, key: Key, size: int) -> Source:
        """A version for reading; give it back with `close`."""
        entry = self._content.open(key, size)
        source = self._sources.get(key)
        if source is None or source.entry is not entry:
            source = self._sources[key] = Source(key, entry)
        return source

    def close(self, source: Source) -> None:
        self._content.release(source.key, source.entry)
        if self._content.is_over_limit():
            self._background.start("eviction", partial(trio.to_thread.run_sync, self._content.evict))

    async def read(self, source: Source, window: Window, offset: int, size: int) -> bytes:
        """Bytes of a version; short only at its end. Raises Stale if the id is gone."""
        entry = source.entry
        end = min(offset + size, entry.size)
        ahead_to = min(window.advance(offset, size), entry.size)
        if not entry.is_complete:
            entry.readers += 1  # the version may be let go of while this waits
            try:
                self._start_missing(source, offset, max(ahead_to, end))
                await self.ensure(source, offset, end)
                return entry.read(offset, size)
            finally:
                self._content.release(source.key, entry)
        return entry.read(offset, size)

    async def begin(self, source: Source) -> None:
        """Have the first bytes of a version of which nothing is here yet. Raises Stale if the id is gone."""
        if not source.entry.present:
            await self.ensure(source, 0, _FIRST_BYTES)

    async def ensure(self, source: Source, start: int, end: int) -> None:
        """Wait until `[start, end)` is present."""
        end = min(end, source.entry.size)
        while not source.entry.present.covers(start, end):
            self._start_missing(source, start, end)
            first_gap = source.entry.present.missing(start, end)[0][0]
            flight = next(f for f in source.flights if f.start <= first_gap < f.end)
            flight.urgency.raise_to(current_urgency().priority)
            await flight.done.wait()
            if flight.error is not None:
                raise flight.error

    async def fetch_whole(self, source: Source) -> int:
        """Fetch a version whose length nobody told; its length in bytes."""
        async with source.downloading:
            if not source.entry.present:
                await self._download(source)
        return source.entry.size

    def _start_missing(self, source: Source, start: int, end: int) -> None:
        """Start fetching what is neither there nor on its way, in parts."""
        if not self._remote.can_read_ranges(source.key):
            start, end = 0, source.entry.size
        pieces = source.entry.present.missing(start, end)
        for flight in source.flights:
            pieces = [piece for gap in pieces for piece in _without(gap, flight)]
        for piece_start, piece_end in pieces:
            if not self._remote.can_read_ranges(source.key):
                self._start(source, 0, source.entry.size)
                return
            while piece_start < piece_end:
                part_end = min(piece_end, (piece_start // PART_BYTES + 1) * PART_BYTES)
                self._start(source, piece_start, part_end)
                piece_start = part_end

    def _start(self, source: Source, start: int, end: int) -> None:
        flight = _Flight(start, end, trio.Event())
        source.flights.append(flight)
        source.entry.readers += 1
        self._background.start(f"fetch of {source.key.id}", partial(self._fly, source, flight))

    async def _bring(self, source: Source, flight: _Flight) -> None:
        if self._remote.can_read_ranges(source.key):
            length = flight.end - flight.start
            await self._remote.read_into(source.key, flight.start, length, source.entry.fd)
            source.entry.mark_present(flight.start, flight.end)
        else:
            await self._download(source)

    async def _fly(self, source: Source, flight: _Flight) -> None:
        try:
            try:
                await self._bring(source, flight)
            except NoSpace:
                if flight.urgency.priority is not Priority.FOREGROUND:
                    raise  # what is cached is worth more than what may be wanted
                await self.make_room()
                await self._bring(source, flight)
        except NoSuchName as error:
            flight.error = Stale(f"{source.key.kind.value} {source.key.id} is not on Orion any more: {error}")
        except OrionFsError as error:
            flight.error = error
        except OSError as error:
            flight.error = disk_error(error, "content cache")
        except Exception as error:
            flight.error = RemoteFailure(f"{source.key.kind.value} {source.key.id}: {type(error).__name__}")
            raise
        finally:
            source.flights.remove(flight)
            flight.done.set()
            self._content.release(source.key, source.entry)

    async def _download(self, source: Source) -> None:
        entry = source.entry
        part = entry.path.with_name(f"{entry.path.name}.{uuid.uuid4().hex}.tmp")
        expected = entry.size
        try:
            await self._remote.download(source.key, part, expected)
            _check_length(source.key, part, expected)
            entry.fill_from(part)
        finally:
            part.unlink(missing_ok=True)


def _check_length(key: Key, part: Path, expected: int) -> None:
    """Short is an error, never zeros; `expected` 0: nobody knows."""
    size = part.stat().st_size
    if expected and size != expected:
        raise RemoteFailure(f"{key.kind.value} {key.id}: {size} bytes came, not {expected}")


def _without(gap: tuple[int, int], flight: _Flight) -> list[tuple[int, int]]:
    """The parts of a gap that a flight does not bring."""
    start, end = gap
    pieces = [(start, min(end, flight.start)), (max(start, flight.end), end)]
    return [piece for piece in pieces if piece[0] < piece[1]]
