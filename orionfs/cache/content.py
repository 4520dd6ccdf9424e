"""Bytes on the local disk: the evictable content cache, and staged files.

The cache holds one sparse file for each version (stack, account, kind, id) with a sidecar that says
which ranges are there (`presence`). A staged file holds a version that is being written here; when it is
uploaded it becomes the cache file of its new id by rename. File names come from ids and marks, never from
names on Orion. Plain reads and writes happen in the caller's thread; knows no session and no inode.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from orionfs.cache import presence
from orionfs.cache.crossover import Crossover
from orionfs.cache.presence import Presence
from orionfs.cache.ranges import RangeSet
from orionfs.errors import NoSpace, disk_error
from orionfs.models import Key
from orionfs.private import make_private

EXACT_SUFFIX = ".exact"
"""Ends the name of a file in the staging folder that is made for one upload, and worth nothing after it."""

GAPS_SUFFIX = ".gaps"
"""Ends the name of a staged file as long as it lacks bytes of the version that it was begun from."""

_COPY_CHUNK_BYTES = 64 * 2**20
_LEFTOVER_AGE_S = 86_400
_UNFINISHED = ".tmp"
_WORTH_A_SYNC_BYTES = 8 * 2**20
_SAVE_EVERY_BYTES = 64 * 2**20
_LOOK_EVERY_BYTES = 128 * 2**20
_FLOOR_MAX_BYTES = 2**30  # left free on the cache's disk,
_FLOOR_SHARE = 20  # or so much of the whole if that is less
_USUAL_MAX_BYTES = 20 * 2**30
_USUAL_SHARE = 5  # of the free room


def usual_limit_bytes(folder: Path) -> int:
    """The limit of a cache in this folder, which is made (0700), where nobody says one. Raises OSError."""
    make_private(folder)
    room = os.statvfs(folder)
    return min(_USUAL_MAX_BYTES, room.f_bavail * room.f_frsize // _USUAL_SHARE)


class CacheEntry:
    """The local bytes of one immutable version; shared by all its readers in this process.

    `present` grows only after bytes were written to the file. The descriptor holds a shared flock, so
    that no other mount evicts the file while it is open.
    """

    can_hold = True

    def __init__(self, path: Path, size: int, on_added: Callable[[int], None] = lambda _count: None) -> None:
        """`on_added` hears how many bytes became present."""
        self.path = path
        self.size = size
        self.readers = 0
        self._on_added = on_added
        self.fd, self._presence = self._open()
        self.present = self._presence.ranges
        self._unsaved_bytes = 0

    def _open(self) -> tuple[int, Presence]:
        """The descriptor, and what is there already."""
        fd = _open_shared(self.path)
        return fd, presence.load(self.path, fd, self.size)

    def __repr__(self) -> str:
        return f"<CacheEntry {self.path.name} {self.present.total}/{self.size}>"

    @property
    def is_complete(self) -> bool:
        return self.present.covers(0, self.size)

    @property
    def is_worth_a_sync(self) -> bool:
        """So much is not known to survive a power cut that it would be missed."""
        return self.present.total - self._presence.synced.total >= _WORTH_A_SYNC_BYTES

    def read(self, offset: int, size: int) -> bytes:
        """Bytes that are present; the caller has made sure."""
        return os.pread(self.fd, max(0, min(size, self.size - offset)), offset)

    def mark_present(self, start: int, end: int) -> None:
        """These bytes were written; now and then that is written down, for a daemon that is killed."""
        if self.present.covers(start, end):
            return
        before = self.present.total
        self.present.add(start, end)
        added = self.present.total - before
        self._on_added(added)
        self._unsaved_bytes += added
        if self._unsaved_bytes >= _SAVE_EVERY_BYTES:
            self.save()

    def fill_from(self, whole: Path) -> None:
        """Take over a file that holds the whole version; the descriptor keeps its number."""
        os.rename(whole, self.path)
        fd = _open_shared(self.path)
        os.dup2(fd, self.fd, inheritable=False)
        os.close(fd)
        self.size = os.fstat(self.fd).st_size
        self.mark_present(0, self.size)

    def save(self) -> None:
        """Write down what is here; what can't be is only fetched again."""
        if self._unsaved_bytes == 0:
            return
        with contextlib.suppress(OSError):
            presence.save(self.path, self.fd, self.size, self._presence)
            self._unsaved_bytes = 0

    def close(self) -> None:
        self.save()
        os.close(self.fd)


class Unheld(CacheEntry):
    """The entry of a version whose file can't be made: nothing of it is ever here."""

    can_hold = False

    def _open(self) -> tuple[int, Presence]:
        return os.memfd_create("orionfs", os.MFD_CLOEXEC), Presence()


class ContentCache:
    """Versions of one account on one stack, below a limit shared with every mount of the same user.

    `has_room` is what the last look at the disk found; without room contents pass through memory.
    """

    def __init__(self, folder: Path, stack: str, account: str, limit_bytes: int) -> None:
        """Make the folder (0700). `stack` and `account` are hashed: their text is not a file name."""
        digest = hashlib.blake2b(f"{stack}\0{account}".encode(), digest_size=12).hexdigest()
        self._top = folder
        self._folder = folder / digest
        make_private(self._folder)
        self.limit_bytes = limit_bytes
        self.has_room = limit_bytes > 0
        self._open: dict[Key, CacheEntry] = {}
        self._added_bytes = 0
        self._crossover = Crossover(_UNFINISHED)

    def open(self, key: Key, size: int) -> CacheEntry:
        """The entry of a version, one reader more; `release` it. Raises NoSpace, LocalDiskError."""
        entry = self._open.get(key)
        if entry is None:
            try:
                make_private(self._folder)  # a cache may be deleted any time
                entry = CacheEntry(self._path(key), size, self._note_added)
            except OSError as error:
                raise disk_error(error, "content cache") from error
            self._open[key] = entry
        entry.readers += 1
        os.utime(entry.fd)
        return entry

    def open_unheld(self, key: Key, size: int) -> CacheEntry:
        """The same for one that can't be opened, until all of its readers have released it."""
        entry = self._open[key] = Unheld(self._path(key), size)
        entry.readers += 1
        return entry

    def release(self, key: Key, entry: CacheEntry) -> bool:
        """One reader less; the last one writes down what is there and closes. True if it should be synced."""
        entry.readers -= 1
        if entry.readers or self._open.get(key) is not entry:
            return False
        del self._open[key]
        is_worth_a_sync = entry.is_worth_a_sync
        entry.close()
        return is_worth_a_sync

    def sync(self, key: Key, size: int) -> None:
        """Let what is cached of a version survive a power cut. Blocking, perhaps for long."""
        with contextlib.suppress(OSError):  # evicted, or the disk has other troubles: it is fetched again
            presence.sync(self._path(key), size)

    def new_file(self) -> Path:
        """A new empty file beside those of the cache, for what `adopt` is to get. Raises OSError."""
        make_private(self._folder)
        path = self._folder / f"{uuid.uuid4().hex}{_UNFINISHED}"
        path.touch(0o600, exist_ok=False)
        return path

    def adopt(self, key: Key, staged: Path, size: int, *, is_synced: bool = False) -> None:
        """A staged file is now the version `key` on Orion; where it can't be renamed it is dropped.

        That of another disk is copied: `upkeep`. `is_synced`: it would survive a power cut.
        """
        try:
            os.rename(staged, self._path(key))
        except OSError as error:
            if error.errno == errno.EXDEV and self.has_room:
                self._crossover.take(staged, self._path(key), size)
                self._added_bytes += size
            staged.unlink(missing_ok=True)
            return
        self._added_bytes += size
        whole = RangeSet([(0, size)])
        there = Presence(whole, whole if is_synced else RangeSet())
        with contextlib.suppress(OSError), self._path(key).open("rb") as file:
            presence.save(self._path(key), file.fileno(), size, there)

    def forget(self, key: Key) -> None:
        """The version is gone from Orion: nobody but who has it open will ask for it again."""
        if key not in self._open:
            _unlink_unused(self._path(key))

    # Room

    def _note_added(self, count: int) -> None:
        self._added_bytes += count

    def upkeep(self) -> list[Callable[[], None]]:
        """What is to be done now that more may have been added; blocking, in threads, each by itself."""
        copying = [self._crossover.copy] if self._crossover else []
        return [*copying, self.evict] if self.is_over_limit() else copying

    def is_over_limit(self) -> bool:
        """True once enough was added that `evict` is worth its scan."""
        return self._added_bytes > min(self.limit_bytes // 20, _LOOK_EVERY_BYTES)

    def evict(self) -> None:
        """Keep below the limit, and the disk from filling up. Blocking.

        Files go whole, least recently used first, until a tenth of the limit is free; what is open stays,
        and where that is too much there is no room.
        """
        self._added_bytes = 0
        _remove_leftovers(self._top)
        files = _data_files(self._top)
        used = sum(stat.st_blocks * 512 for _, stat in files)
        free, floor = self._free_and_floor()
        goal = min(self.limit_bytes - self.limit_bytes // 10, used + free - floor)
        left = _evict(files, used, goal)
        self.has_room = free + used - left >= floor and left <= self.limit_bytes

    def make_room(self) -> None:
        """The disk is full: unlink all that nobody has open. Blocking."""
        files = _data_files(self._top)
        _evict(files, sum(stat.st_blocks * 512 for _, stat in files), 0)

    def make_room_for(self, size: int) -> None:
        """Have room for a whole version, if all that nobody has open makes room. Blocking; raises NoSpace."""
        free, _ = self._free_and_floor()
        if free < size:
            self.make_room()
            free, _ = self._free_and_floor()
        if free < size:
            raise NoSpace(
                f"the disk of the content cache ({self._top}) has room for {free} bytes, not {size}"
            )

    def _free_and_floor(self) -> tuple[int, int]:
        """What is free on the cache's disk, and how much of it is left to others."""
        disk = os.statvfs(self._top)
        floor = min(_FLOOR_MAX_BYTES, disk.f_blocks * disk.f_frsize // _FLOOR_SHARE)
        return disk.f_bavail * disk.f_frsize, floor

    def close(self) -> None:
        for entry in self._open.values():
            entry.close()
        self._open.clear()
        self._crossover.close()

    def _path(self, key: Key) -> Path:
        within = "" if key.part is None else f"{key.part}-"
        return self._folder / f"{key.kind.value}-{within}{key.id}"


class Staged:
    """A complete local file that is being written; its owner is an open file or the journal.

    A sealed prefix is promised to Orion: bytes below `sealed_bytes` never change. A frozen file is
    being uploaded: nothing in it changes. Who must write there clones it first.
    """

    def __init__(self, path: Path, *, create: bool) -> None:
        self.path = path
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT | os.O_EXCL if create else 0)
        try:
            self.fd = os.open(path, flags, 0o600)
        except OSError as error:
            raise disk_error(error, "staging") from error
        self.size = os.fstat(self.fd).st_size
        self.sealed_bytes = 0
        self.is_frozen = False
        self.is_dirty = False

    def __repr__(self) -> str:
        state = "frozen" if self.is_frozen else "dirty" if self.is_dirty else "clean"
        return f"<Staged {self.path.name} {self.size} {state}>"

    def can_change_from(self, offset: int) -> bool:
        """True if bytes from `offset` on may be changed in place."""
        return not self.is_frozen and offset >= self.sealed_bytes

    def read(self, offset: int, size: int) -> bytes:
        return os.pread(self.fd, max(0, min(size, self.size - offset)), offset)

    def write(self, offset: int, data: bytes) -> int:
        """Write all of `data`. Raises NoSpace, LocalDiskError; what was there before stays whole."""
        view = memoryview(data)
        try:
            while view:
                written = os.pwrite(self.fd, view, offset)
                view, offset = view[written:], offset + written
        except OSError as error:
            raise disk_error(error, "staging") from error
        finally:
            self.is_dirty = True
            self.size = max(self.size, offset)
        return len(data)

    def truncate(self, size: int) -> None:
        try:
            os.ftruncate(self.fd, size)
        except OSError as error:
            raise disk_error(error, "staging") from error
        self.size = size
        self.is_dirty = True

    def seal(self) -> None:
        """What is there now is what Orion will get."""
        self.sealed_bytes = self.size
        self.is_dirty = False

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def discard(self) -> None:
        """Close and remove: nobody needs these bytes."""
        self.close()
        self.path.unlink(missing_ok=True)


def copy_range(source_fd: int, target_fd: int, end: int, start: int = 0) -> None:
    """Copy `[start, end)` to the same place, by reflink where the disk can. Blocking.

    Raises NoSpace, LocalDiskError.
    """
    offset = start
    try:
        while offset < end:
            count = min(_COPY_CHUNK_BYTES, end - offset)
            copied = os.copy_file_range(source_fd, target_fd, count, offset, offset)
            if copied == 0:
                raise OSError(errno.EIO, "source is shorter than promised")
            offset += copied
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
            raise disk_error(error, "local copy") from error
        _copy_by_hand(source_fd, target_fd, offset, end)


def _copy_by_hand(source_fd: int, target_fd: int, offset: int, end: int) -> None:
    try:
        while offset < end:
            data = os.pread(source_fd, min(2**20, end - offset), offset)
            if not data:
                raise OSError(errno.EIO, "source is shorter than promised")
            offset += os.pwrite(target_fd, data, offset)
    except OSError as error:
        raise disk_error(error, "local copy") from error


def _open_shared(path: Path) -> int:
    """Open or make a cache file under a shared flock, sure that no evictor unlinked it meanwhile."""
    while True:
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            _make_new(path)
            continue
        fcntl.flock(fd, fcntl.LOCK_SH)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.stat(path), os.fstat(fd)):
                return fd
        os.close(fd)


def _make_new(path: Path) -> None:
    """Make an empty cache file, of which no sidecar tells anything; nothing if another mount was faster."""
    with presence.locked(path.parent), contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        presence.sidecar(path).unlink(missing_ok=True)


def _data_files(top: Path) -> list[tuple[Path, os.stat_result]]:
    found = []
    for path in top.glob("*/*"):
        if path.suffix not in (presence.SUFFIX, _UNFINISHED):
            with contextlib.suppress(FileNotFoundError):
                found.append((path, path.stat()))
    return found


def _evict(files: list[tuple[Path, os.stat_result]], used: int, goal: int) -> int:
    """Unlink files that nobody has open, least recently used first, until `goal` bytes are used.

    How many are used then.
    """
    for path, stat in sorted(files, key=lambda found: found[1].st_mtime_ns):
        if used <= goal:
            break
        if _unlink_unused(path):
            used -= stat.st_blocks * 512
    return used


def _remove_leftovers(top: Path) -> None:
    """Downloads that were cut short; a day is longer than any download takes."""
    for path in top.glob(f"*/*{_UNFINISHED}"):
        with contextlib.suppress(OSError):
            if path.stat().st_mtime < time.time() - _LEFTOVER_AGE_S:
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def _unlink_unused(path: Path) -> bool:
    """Remove a cache file and its sidecar unless a reader, of any process, has it open."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        presence.sidecar(path).unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        return True
    except OSError:
        return False
    finally:
        os.close(fd)
