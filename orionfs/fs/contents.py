"""Bytes of versions, read through the content cache that the mounts of this user fill and use as well.

What is missing is fetched in parts at the same time, once for all threads that wait for it. Where this
platform has no locks on files (Windows), or the disk no room, a version lies in a temporary file for as
long as somebody reads it. Must not know paths or names.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import tempfile
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from orionfs.cache.ranges import RangeSet
from orionfs.cache.windows import PART_BYTES, RANDOM_BYTES
from orionfs.errors import (
    LocalDiskError,
    NoSpace,
    NoSuchName,
    OrionFsError,
    RemoteFailure,
    Stale,
    StartupError,
    disk_error,
)
from orionfs.fs.asking import Asking
from orionfs.models import Account, Item, Key, Kind

if TYPE_CHECKING:
    from orionfs.cache.content import CacheEntry, ContentCache

log = logging.getLogger(__name__)


class Held(Protocol):
    """The local bytes of one version."""

    fd: int
    size: int
    path: Path

    @property
    def present(self) -> RangeSet: ...
    def mark_present(self, start: int, end: int) -> None: ...
    def fill_from(self, whole: Path) -> None: ...


class _Temporary:
    """The local bytes of a version that is not kept."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.present = RangeSet()
        try:
            self.fd, name = tempfile.mkstemp(prefix="orionfs-")
        except OSError as error:
            raise disk_error(error, "temporary folder") from error
        self.path = Path(name)

    def mark_present(self, start: int, end: int) -> None:
        self.present.add(start, end)

    def fill_from(self, whole: Path) -> None:
        """Take over a file that holds the whole version."""
        os.close(self.fd)
        os.replace(whole, self.path)
        self.fd = os.open(self.path, os.O_RDWR | getattr(os, "O_BINARY", 0))
        self.size = os.fstat(self.fd).st_size
        self.mark_present(0, self.size)

    def discard(self) -> None:
        os.close(self.fd)
        self.path.unlink(missing_ok=True)


class Source:
    """One version being read, by however many threads of this process."""

    def __init__(self, key: Key, held: Held, *, is_sized: bool) -> None:
        """`is_sized`: its length is known; else it is once it was fetched."""
        self.key, self.held, self.is_sized = key, held, is_sized
        self.users = 0
        self._changed = threading.Condition()
        self._under_way: list[tuple[int, int]] = []

    @property
    def size(self) -> int:
        return self.held.size

    @property
    def is_whole(self) -> bool:
        """Whether all of it is here."""
        return self.is_sized and self.held.present.covers(0, self.size)

    def claim(self, start: int, end: int) -> list[tuple[int, int]]:
        """What of a range is neither here nor on its way, in parts; from now on it is on its way."""
        with self._changed:
            known = RangeSet([*self.held.present, *self._under_way])
            claimed = [part for gap in known.missing(start, end) for part in parts_of(*gap)]
            self._under_way += claimed
            return claimed

    def claim_whole(self) -> tuple[int, int] | None:
        """All of it, which is on its way from now on; None if something was, and has arrived meanwhile."""
        with self._changed:
            if self._under_way:
                self._changed.wait_for(lambda: not self._under_way)
                return None
            whole = (0, max(1, self.size))
            self._under_way.append(whole)
            return whole

    def arrived(self, piece: tuple[int, int], *, is_there: bool) -> None:
        """A piece is on its way no more."""
        with self._changed:
            if is_there:
                self.held.mark_present(*piece)
            self._under_way.remove(piece)
            self._changed.notify_all()

    def wait_for(self, start: int, end: int) -> bool:
        """Wait until a range is here, or nothing that brings more of it is on its way; whether it is here."""
        with self._changed:
            while not self.held.present.covers(start, end):
                if not any(begin < end and start < stop for begin, stop in self._under_way):
                    return False
                self._changed.wait()
            return True

    def read(self, start: int, end: int) -> bytes:
        """Bytes that are here."""
        if hasattr(os, "pread"):
            return os.pread(self.held.fd, end - start, start)
        with self.held.path.open("rb") as file:  # a position belongs to all who have the descriptor
            file.seek(start)
            return file.read(end - start)


class Contents:
    """All versions that this process reads or has just written. Safe for threads."""

    def __init__(self, asking: Asking, cache: ContentCache | None) -> None:
        self._asking, self._cache = asking, cache
        self._sources: dict[Key, Source] = {}
        self._lock = threading.RLock()
        self._evicting = threading.Lock()

    @contextlib.contextmanager
    def opened(self, item: Item) -> Iterator[Source]:
        """A version for as long as the block lasts."""
        source = self.open(item)
        try:
            yield source
        finally:
            self.close(source)

    def open(self, item: Item) -> Source:
        """A version for reading; give it back with `close`. One of unknown length is fetched.

        Raises Stale.
        """
        if item.key is None:
            raise RemoteFailure(f"{item.name}: Orion tells no id of it, so it can't be read")
        with self._lock:
            source = self._sources.get(item.key)
            if source is None:
                source = self._sources[item.key] = Source(
                    item.key, self._held(item), is_sized=item.size is not None
                )
            source.users += 1
        if not source.is_sized:
            try:
                self._fetch_whole(source)
            except BaseException:
                self.close(source)
                raise
        return source

    def close(self, source: Source) -> None:
        """One user less; after the last one only what the cache keeps is left."""
        with self._lock:
            source.users -= 1
            if source.users:
                return
            if self._sources.get(source.key) is source:
                del self._sources[source.key]
            self._let_go(source)
        self._look_after_room()

    def read(self, source: Source, start: int, end: int, ahead_to: int = 0) -> bytes:
        """Bytes of a version, and those up to `ahead_to` on their way when it returns. Raises Stale."""
        end = min(end, source.size)
        self.ensure(source, start, end, ahead_to)
        return source.read(start, max(start, end))

    def ensure(self, source: Source, start: int, end: int, ahead_to: int = 0) -> None:
        """Wait until `[start, end)` is here. Raises Stale, NoSpace, OrionFsError."""
        if source.held.present.covers(start, end) or start >= end:
            return
        if not self._asking.can_read_ranges(source.key):
            self._fetch_whole(source)
            return
        reach = min(max(end, ahead_to), source.size)
        while True:
            mine = source.claim(start, reach)
            ahead = [piece for piece in mine if piece[0] >= end]
            needed = [piece for piece in mine if piece[0] < end]
            flights = [self._start(source, piece) for piece in (*needed[1:], *ahead)]
            if needed:
                self._fetch(source, needed[0])
            for flight in flights[: len(needed) - 1 if needed else 0]:
                flight.result()
            if source.wait_for(start, end):
                return

    def _start(self, source: Source, piece: tuple[int, int]) -> Future[None]:
        with self._lock:
            source.users += 1

        def fetch() -> None:
            try:
                self._fetch(source, piece)
            finally:
                self.close(source)

        return self._asking.fetching.submit(fetch)

    def _fetch(self, source: Source, piece: tuple[int, int]) -> None:
        is_there = False
        try:
            self._read_into(source, piece)
            is_there = True
        except NoSuchName as error:
            raise _gone(source.key, error) from error
        finally:
            source.arrived(piece, is_there=is_there)

    def _read_into(self, source: Source, piece: tuple[int, int]) -> None:
        try:
            self._asking.read_into(source.key, *piece, source.held.fd)
        except NoSpace:
            if self._cache is None:
                raise
            self._cache.make_room()  # what nobody reads is worth less than what somebody waits for
            self._asking.read_into(source.key, *piece, source.held.fd)

    def _fetch_whole(self, source: Source) -> None:
        """Fetch a version that comes whole only, or whose length nobody told, once for all who wait."""
        while not source.is_whole:
            whole = source.claim_whole()
            if whole is None:
                continue
            try:
                self._download(source)
                source.is_sized = True
            except NoSuchName as error:
                raise _gone(source.key, error) from error
            finally:
                source.arrived(whole, is_there=False)  # what is there was marked as it came

    def _download(self, source: Source) -> None:
        held = source.held
        folder = held.path.with_name(f"{held.path.name}.{uuid.uuid4().hex}.tmp")
        try:
            folder.mkdir(mode=0o700)
            part = folder / "contents"
            self._asking.download(source.key, part, source.size)
            size = part.stat().st_size
            if source.size and size != source.size:
                raise RemoteFailure(
                    f"{source.key.kind.value} {source.key.id}: {size} bytes came, not {source.size}"
                )
            held.fill_from(part)
        except OSError as error:
            raise disk_error(error, "content cache") from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    # What was written

    def stage(self) -> Path:
        """A new empty file that a version is written to, where it can become what is cached of it."""
        with contextlib.suppress(OSError):
            if self._cache is not None:
                return self._cache.new_file()
        try:
            fd, name = tempfile.mkstemp(prefix="orionfs-")
        except OSError as error:
            raise disk_error(error, "temporary folder") from error
        os.close(fd)
        return Path(name)

    def adopt(self, key: Key, staged: Path, size: int) -> None:
        """What was staged is now this version on Orion: reading it costs nothing."""
        if self._cache is None or not self._cache.has_room:
            staged.unlink(missing_ok=True)
            return
        with self._lock:
            self._cache.adopt(key, staged, size)
        self._look_after_room()

    def forget(self, key: Key) -> None:
        """The version is gone from Orion."""
        if self._cache is not None:
            with self._lock:
                self._cache.forget(key)

    # What is held

    def _held(self, item: Item) -> Held:
        assert item.key is not None
        # Datasets change under their id, so what is read of one is good for this reading only.
        if self._cache is None or not self._cache.has_room or item.kind is Kind.DATASET:
            return _Temporary(item.size or 0)
        try:
            return self._cache.open(item.key, item.size or 0)
        except (NoSpace, LocalDiskError) as error:
            log.info("the content cache can't be used now: %s", error)
            return _Temporary(item.size or 0)

    def _let_go(self, source: Source) -> None:
        held = source.held
        if isinstance(held, _Temporary):
            held.discard()
        elif self._cache is not None:
            entry: CacheEntry = held  # type: ignore[assignment]  # the cache has given it
            self._cache.release(source.key, entry)

    def _look_after_room(self) -> None:
        """Look at the disk when enough was added; nobody else waits for that."""
        if self._cache is None or not (upkeep := self._cache.upkeep()):
            return
        if self._evicting.acquire(blocking=False):
            try:
                for work in upkeep:
                    work()
            finally:
                self._evicting.release()


def parts_of(start: int, end: int) -> Iterator[tuple[int, int]]:
    """A gap cut at multiples of the length of a part; one that is small is not cut."""
    while start < end:
        is_small = end - start <= RANDOM_BYTES
        stop = end if is_small else min(end, (start // PART_BYTES + 1) * PART_BYTES)
        yield start, stop
        start = stop


def _gone(key: Key, error: OrionFsError) -> Stale:
    return Stale(f"{key.kind.value} {key.id} is not on Orion any more: {error}")


def cache_of(account: Account) -> ContentCache | None:
    """The content cache of this user's mounts for one account; None where this platform can't have it."""
    try:
        from orionfs.cache.content import ContentCache, usual_limit_bytes
        from orionfs.config import private_cache_folder
    except ImportError:
        log.debug("this platform has no locks on files: contents are not kept")
        return None
    try:
        folder = private_cache_folder()
        return ContentCache(folder, account.stack, account.username, usual_limit_bytes(folder))
    except (OSError, StartupError) as error:
        log.info("contents are not kept: %s", error)
        return None
