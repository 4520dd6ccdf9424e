"""Bytes on the local disk: the evictable content cache, and staged files.

The cache holds one sparse file for each version (stack, account, kind, id) with a sidecar that says
which ranges are there. A staged file holds a version that is being written here; when it is uploaded
it becomes the cache file of its new id by rename. File names come from ids and marks, never from
names on Orion. Plain reads and writes happen in the caller's thread; knows no session and no inode.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import hashlib
import json
import os
import time
from pathlib import Path

from orionfs.errors import disk_error
from orionfs.models import Key
from orionfs.private import make_private, write_whole
from orionfs.ranges import RangeSet

EXACT_SUFFIX = ".exact"
"""Ends the name of a file in the staging folder that is made for one upload, and worth nothing after it."""

GAPS_SUFFIX = ".gaps"
"""Ends the name of a staged file as long as it lacks bytes of the version that it was begun from."""

_COPY_CHUNK_BYTES = 64 * 2**20
_LEFTOVER_AGE_S = 86_400
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boot_id() -> str:
    """The kernel's id of this boot: page-cache contents of another one may never have reached the disk."""
    return _read_boot_id(_BOOT_ID)


@functools.cache
def _read_boot_id(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


class CacheEntry:
    """The local bytes of one immutable version; shared by all its readers in this process.

    `present` grows only after bytes were written to the file. The descriptor holds a shared flock, so
    that no other mount evicts the file while it is open.
    """

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        self.size = size
        self.readers = 0
        self.fd = _open_shared(path)
        self.present = RangeSet()
        self.loaded_bytes = 0
        self._is_saved = False

    def __repr__(self) -> str:
        return f"<CacheEntry {self.path.name} {self.present.total}/{self.size}>"

    @property
    def is_complete(self) -> bool:
        return self.present.covers(0, self.size)

    def read(self, offset: int, size: int) -> bytes:
        """Bytes that are present; the caller has made sure."""
        return os.pread(self.fd, max(0, min(size, self.size - offset)), offset)

    def mark_present(self, start: int, end: int) -> None:
        self.present.add(start, end)
        self._is_saved = False

    def load(self) -> None:
        """Believe the sidecar, if it is of this length and its bytes are known to be on the disk."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            saved = json.loads(_sidecar(self.path).read_text())
            if saved["size"] == self.size and (saved["synced"] or saved["boot_id"] == boot_id()):
                self.present = RangeSet((int(a), int(b)) for a, b in saved["ranges"])
                self.loaded_bytes = self.present.total
                self._is_saved = True

    def fill_from(self, whole: Path) -> None:
        """Take over a file that holds the whole version; the descriptor keeps its number."""
        os.rename(whole, self.path)
        fd = _open_shared(self.path)
        os.dup2(fd, self.fd, inheritable=False)
        os.close(fd)
        self.size = os.fstat(self.fd).st_size
        self.mark_present(0, self.size)

    def save(self) -> None:
        """Write the sidecar, whole, by rename."""
        if self._is_saved:
            return
        saved = {"size": self.size, "ranges": list(self.present), "boot_id": boot_id(), "synced": False}
        with contextlib.suppress(OSError):
            write_whole(_sidecar(self.path), json.dumps(saved))
            self._is_saved = True

    def close(self) -> None:
        self.save()
        os.close(self.fd)


class ContentCache:
    """Versions of one account on one stack, below a limit shared with every mount of the same user."""

    def __init__(self, folder: Path, stack: str, account: str, limit_bytes: int) -> None:
        """Make the folder (0700). `stack` and `account` are hashed: their text is not a file name."""
        digest = hashlib.blake2b(f"{stack}\0{account}".encode(), digest_size=12).hexdigest()
        self._top = folder
        self._folder = folder / digest
        make_private(self._folder)
        self._limit_bytes = limit_bytes
        self._open: dict[Key, CacheEntry] = {}
        self._added_bytes = 0

    def open(self, key: Key, size: int) -> CacheEntry:
        """The entry of a version, one reader more; `release` it. Raises NoSpace, LocalDiskError."""
        entry = self._open.get(key)
        if entry is None:
            try:
                make_private(self._folder)  # a cache may be deleted any time
                entry = CacheEntry(self._path(key), size)
            except OSError as error:
                raise disk_error(error, "content cache") from error
            entry.load()
            self._open[key] = entry
        entry.readers += 1
        os.utime(entry.fd)
        return entry

    def release(self, key: Key, entry: CacheEntry) -> None:
        """One reader less; the last one saves what is there and closes."""
        entry.readers -= 1
        if entry.readers == 0 and self._open.get(key) is entry:
            del self._open[key]
            self._added_bytes += entry.present.total - entry.loaded_bytes
            entry.close()

    def adopt(self, key: Key, staged: Path, size: int) -> None:
        """A staged file is now the version `key` on Orion; where it can't be renamed it is dropped."""
        try:
            os.rename(staged, self._path(key))
        except OSError:
            staged.unlink(missing_ok=True)
            return
        self._added_bytes += size
        saved = {"size": size, "ranges": [(0, size)], "boot_id": boot_id(), "synced": False}
        with contextlib.suppress(OSError):
            write_whole(_sidecar(self._path(key)), json.dumps(saved))

    def forget(self, key: Key) -> None:
        """The version is gone from Orion: nobody but who has it open will ask for it again."""
        if key not in self._open:
            _unlink_unused(self._path(key))

    def is_over_limit(self) -> bool:
        """True once enough was added that `evict` is worth its scan."""
        return self._added_bytes > self._limit_bytes // 20

    def evict(self) -> None:
        """Unlink whole files, least recently used first, until a tenth of the limit is free. Blocking."""
        self._evict_to(self._limit_bytes - self._limit_bytes // 10)

    def make_room(self) -> None:
        """The disk is full: unlink all that nobody has open. Blocking."""
        self._evict_to(0)

    def _evict_to(self, goal: int) -> None:
        self._added_bytes = 0
        _remove_leftovers(self._top)
        files = sorted(_data_files(self._top), key=lambda found: found[1].st_mtime_ns)
        used = sum(stat.st_blocks * 512 for _, stat in files)
        for path, stat in files:
            if used <= goal:
                break
            if _unlink_unused(path):
                used -= stat.st_blocks * 512

    def close(self) -> None:
        for entry in self._open.values():
            entry.close()
        self._open.clear()

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
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(fd, fcntl.LOCK_SH)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.stat(path), os.fstat(fd)):
                return fd
        os.close(fd)


def _sidecar(path: Path) -> Path:
    return path.with_name(path.name + ".present")


def _data_files(top: Path) -> list[tuple[Path, os.stat_result]]:
    found = []
    for path in top.glob("*/*"):
        if path.suffix not in (".present", ".tmp"):
            with contextlib.suppress(FileNotFoundError):
                found.append((path, path.stat()))
    return found


def _remove_leftovers(top: Path) -> None:
    """Files of downloads that were cut short; a day is longer than any download takes."""
    for path in top.glob("*/*.tmp"):
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_mtime < time.time() - _LEFTOVER_AGE_S:
                path.unlink()


def _unlink_unused(path: Path) -> bool:
    """Remove a cache file and its sidecar unless a reader, of any process, has it open."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _sidecar(path).unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        return True
    except OSError:
        return False
    finally:
        os.close(fd)
