"""Brings missing ranges of remote versions into the content cache: parts in parallel, ahead of the readers.

Every fetch is a task of its own that several readers may wait for; a reader that goes away does not
end it, unless nobody ever waited for it. Bytes count as present only after they were written to the cache
file, and are read as soon as they are. A session that can't read ranges gets the whole item once. Must not
know inodes, handles or names.
"""

from __future__ import annotations

import logging
import shutil
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from math import inf
from pathlib import Path
from weakref import WeakValueDictionary

import trio

from orionfs.cache.asides import Asides
from orionfs.cache.content import CacheEntry, ContentCache
from orionfs.cache.windows import AHEAD_MAX_BYTES, FIRST_BYTES, PART_BYTES, RANDOM_BYTES, Window
from orionfs.errors import LocalDiskError, NoSpace, NoSuchName, OrionFsError, RemoteFailure, Stale, disk_error
from orionfs.metrics import Hits
from orionfs.models import Key
from orionfs.orion.limiter import Priority, current_urgency, working_with
from orionfs.orion.parts import Part
from orionfs.orion.remote import Remote
from orionfs.tasks import Background

__all__ = ["PART_BYTES", "Fetcher", "Source", "Window"]

log = logging.getLogger(__name__)

_AHEAD_SHARE = 4  # of the cache may be what one reader has fetched ahead of it
_REMOVED_WITHIN_S, _REMOVED_AGAIN_S = 3.0, 0.1
_LOOK_AGAIN_S = 5.0  # whether there is room again
_BEGIN_S = 5.0  # an open waits so long for the first bytes: who reads waits on


@dataclass(eq=False, slots=True)
class _Flight:
    """One part on its way."""

    part: Part
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    error: OrionFsError | None = None


class Source:
    """One remote version being read, by however many: its cache entry and what is on its way to it."""

    def __init__(self, key: Key, entry: CacheEntry) -> None:
        self.key = key
        self.entry = entry
        self.users = 0
        self.flights: list[_Flight] = []
        self.downloading = trio.Lock()


class Fetcher:
    """All fetches of one mount."""

    def __init__(self, remote: Remote, content: ContentCache) -> None:
        self._remote = remote
        self._content = content
        self._background = Background()
        self._sources = WeakValueDictionary[Key, Source]()
        self._asides = Asides(remote, self._background)
        self._ahead_max_bytes = min(AHEAD_MAX_BYTES, content.limit_bytes // _AHEAD_SHARE)
        self._looked_at_s = -inf
        self._disk = trio.CapacityLimiter(1)
        self.reads = Hits()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Home of the fetches. Ends when cancelled."""
        try:
            await self._background.run(task_status)
        finally:
            self._asides.close()

    async def make_room(self) -> None:
        """The disk is full: what is cached and not in use makes room for what is written."""
        await trio.to_thread.run_sync(self._content.make_room)

    def open(self, key: Key, size: int) -> Source:
        """A version for reading; give it back with `close`. Raises LocalDiskError, NoSpace.

        That only for one that comes whole or of unknown length: any other passes through memory then.
        """
        entry = self._entry(key, size)
        source = self._sources.get(key)
        if source is None or source.entry is not entry:
            source = self._sources[key] = Source(key, entry)
        source.users += 1
        return source

    def _entry(self, key: Key, size: int) -> CacheEntry:
        try:
            return self._content.open(key, size)
        except (LocalDiskError, NoSpace) as error:
            if not size or not self._remote.can_read_ranges(key):
                raise
            log.info("contents of %s %s pass through memory: %s", key.kind.value, key.id, error)
            return self._content.open_unheld(key, size)

    def close(self, source: Source) -> None:
        """One user less; after the last one, what nobody ever waited for is not fetched to its end."""
        source.users -= 1
        if source.users == 0:
            for flight in source.flights:
                if flight.part.urgency.priority is not Priority.FOREGROUND:
                    flight.scope.cancel()
        self._release(source)
        self._look_after_room()

    # Reading

    async def read(self, source: Source, window: Window, offset: int, size: int) -> bytes:
        """Bytes of a version; short only at its end. Raises Stale if the id is gone."""
        entry = source.entry
        if entry.is_complete:
            self.reads.hits += 1
            return entry.read(offset, size)
        end = min(offset + size, entry.size)
        ahead_to = min(window.advance(offset, size, self._ahead_max_bytes), entry.size)
        entry.readers += 1  # the version may be let go of while this waits
        try:
            return await self._read(source, offset, end, max(ahead_to, end))
        finally:
            self._release(source)

    async def _read(self, source: Source, offset: int, end: int, ahead_to: int) -> bytes:
        entry = source.entry
        is_here = entry.present.covers(offset, end)
        self.reads.hits += is_here
        self.reads.misses += not is_here
        is_ranged = self._remote.can_read_ranges(source.key)
        may_hold = entry.can_hold and (self._content.has_room or not is_ranged)
        if is_here or may_hold:
            try:
                self._start_missing(source, offset, ahead_to, needed_to=0 if is_here else end)
                await self.ensure(source, offset, end)
                return entry.read(offset, end - offset)
            except NoSpace:
                if not is_ranged:
                    raise
                log.info("the content cache has no room: contents pass through memory")
                self._content.has_room = False
        self._look_after_room()
        return await self._asides.read(source.key, entry.size, offset, end, ahead_to)

    async def begin(self, source: Source) -> None:
        """Have the first bytes of a version on their way of which nothing is here yet, and sure to come.

        Raises Stale if the id is gone, NoSpace for a version that comes only whole and can't be held.
        """
        size = source.entry.size
        if source.entry.present:
            return
        if not self._remote.can_read_ranges(source.key):
            await self._check_room(size)
            with trio.move_on_after(_BEGIN_S):
                await self.ensure(source, 0, size)
        elif source.entry.can_hold and self._content.has_room:
            await self._find(source)
        else:
            await self._read(source, 0, min(1, size), min(FIRST_BYTES, size))

    async def _find(self, source: Source) -> None:
        """Begin with the first bytes, and wait until Orion has said that they are there.

        They themselves are waited for by who reads them: many a reader begins somewhere else.
        """
        self._start_missing(source, 0, min(FIRST_BYTES, source.entry.size), needed_to=1)
        flight = next(f for f in source.flights if f.part.start == 0)
        await flight.part.until_found()
        if flight.error is not None and not isinstance(flight.error, NoSpace):
            raise flight.error

    async def ensure(self, source: Source, start: int, end: int) -> None:
        """Wait until `[start, end)` is in the cache file. Raises NoSpace where it can't be."""
        entry = source.entry
        end = min(end, entry.size)
        if not entry.can_hold and end > start:
            raise NoSpace(f"{source.key.kind.value} {source.key.id}: the content cache can't hold it")
        while not entry.present.covers(start, end):
            self._start_missing(source, start, end, needed_to=end)
            gap_start, gap_end = entry.present.missing(start, end)[0]
            flight = next(f for f in source.flights if f.part.start <= gap_start < f.part.end)
            await flight.part.wait_for(min(gap_end, flight.part.end))
            if flight.error is not None:
                raise flight.error
            entry.mark_present(flight.part.start, flight.part.arrived)

    async def fetch_whole(self, source: Source) -> int:
        """Fetch a version whose length nobody told; its length in bytes."""
        async with source.downloading:
            if not source.entry.present:
                await self._download(source)
        return source.entry.size

    # Fetching

    def _start_missing(self, source: Source, start: int, end: int, needed_to: int) -> None:
        """Start fetching what is neither there nor on its way; what is before `needed_to` is waited for."""
        is_ranged = self._remote.can_read_ranges(source.key)
        if not is_ranged:
            start, end = 0, source.entry.size
        pieces = source.entry.present.missing(start, end)
        for flight in source.flights:
            pieces = [piece for gap in pieces for piece in _without(gap, flight.part)]
        if pieces and not is_ranged:
            self._start(source, 0, source.entry.size, needed_to)
            return
        for piece_start, piece_end in pieces:
            while piece_start < piece_end:
                part_end = _end_of_part(piece_start, piece_end)
                self._start(source, piece_start, part_end, needed_to)
                piece_start = part_end

    def _start(self, source: Source, start: int, end: int, needed_to: int) -> None:
        priority = current_urgency().priority
        if start >= needed_to:
            priority = max(priority, Priority.PREFETCH)
        flight = _Flight(Part(start, end, self._remote.line, priority=priority))
        source.flights.append(flight)
        source.entry.readers += 1
        self._background.start(f"fetch of {source.key.id}", partial(self._fly, source, flight))

    async def _fly(self, source: Source, flight: _Flight) -> None:
        part = flight.part
        try:
            with flight.scope, working_with(part.urgency):
                await self._bring_into_room(source, part)
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
            source.entry.mark_present(part.start, part.arrived)
            source.flights.remove(flight)
            part.finish()
            self._release(source)
            self._look_after_room()

    async def _bring_into_room(self, source: Source, part: Part) -> None:
        try:
            await self._bring(source, part)
        except NoSpace:
            if part.urgency.priority is not Priority.FOREGROUND:
                raise  # what is cached is worth more than what may be wanted
            await self.make_room()
            await self._bring(source, part)

    async def _bring(self, source: Source, part: Part) -> None:
        if self._remote.can_read_ranges(source.key):
            await self._remote.read_into(source.key, part, source.entry.fd)
        else:
            await self._download(source)

    async def _download(self, source: Source) -> None:
        entry = source.entry
        folder = entry.path.with_name(f"{entry.path.name}.{uuid.uuid4().hex}.tmp")
        expected = entry.size
        try:
            folder.mkdir(mode=0o700)
            part = folder / "contents"
            await self._remote.download(source.key, part, expected)
            _check_length(source.key, part, expected)
            entry.fill_from(part)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            if folder.exists():  # whoever was to fill it is being killed, and not gone yet
                self._in_background("clean-up", partial(_remove_in_the_end, folder))

    # Room

    async def _check_room(self, size: int) -> None:
        await trio.to_thread.run_sync(self._content.make_room_for, size)

    def _release(self, source: Source) -> None:
        if self._content.release(source.key, source.entry):
            self._in_background("sync", partial(self._content.sync, source.key, source.entry.size))

    def _look_after_room(self) -> None:
        """Look at the disk when enough was added, and now and then while it is full."""
        is_full = not self._content.has_room and trio.current_time() - self._looked_at_s > _LOOK_AGAIN_S
        if self._content.is_over_limit() or (is_full and self._content.limit_bytes):
            self._looked_at_s = trio.current_time()
            self._in_background("eviction", self._content.evict)

    def _in_background(self, what: str, work: Callable[[], None]) -> None:
        self._background.start(what, partial(trio.to_thread.run_sync, work, limiter=self._disk))


def _end_of_part(start: int, end: int) -> int:
    """Where the part that begins at `start` ends: at a multiple of their length, unless it is small."""
    return end if end - start <= RANDOM_BYTES else min(end, (start // PART_BYTES + 1) * PART_BYTES)


def _remove_in_the_end(folder: Path) -> None:
    """Remove a folder in which somebody may still make a file for a moment; else the next mount does it."""
    ends_at_s = time.monotonic() + _REMOVED_WITHIN_S
    while folder.exists() and time.monotonic() < ends_at_s:
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(_REMOVED_AGAIN_S)


def _check_length(key: Key, part: Path, expected: int) -> None:
    """Short is an error, never zeros; `expected` 0: nobody knows."""
    size = part.stat().st_size
    if expected and size != expected:
        raise RemoteFailure(f"{key.kind.value} {key.id}: {size} bytes came, not {expected}")


def _without(gap: tuple[int, int], part: Part) -> list[tuple[int, int]]:
    """The parts of a gap that this one does not bring."""
    start, end = gap
    pieces = [(start, min(end, part.start)), (max(start, part.end), end)]
    return [piece for piece in pieces if piece[0] < piece[1]]
