"""pyfuse3 <-> us: bytes and str, flags, attributes, errno. A protocol adapter only.

A handler decodes, calls once, encodes. One boundary surrounds every handler: our errors become their
errno, anything else is logged and becomes EIO; nothing escapes, since whatever else a handler raises
would end the mount for everybody. Every handler has a deadline.
"""

from __future__ import annotations

import errno
import functools
import logging
import os
import stat
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import pyfuse3
import trio

from orionfs.attributes import ExtendedAttributes
from orionfs.carry import new_mark
from orionfs.errors import (
    ExitStatus,
    NameExists,
    NotPermitted,
    NotSupported,
    OrionFsError,
    StartupError,
    disk_error,
)
from orionfs.files import Files
from orionfs.inodes import Inode
from orionfs.models import Attributes, HandleId
from orionfs.mountinfo import mount_at, read_mountinfo
from orionfs.moves import Moves
from orionfs.names import from_kernel
from orionfs.namespace import Namespace, Snapshot

log = logging.getLogger(__name__)

_P = ParamSpec("_P")
_T = TypeVar("_T")
_BLOCK_BYTES = 512
_PREFERRED_IO_BYTES = 2**20
_NO_DEADLINE_S = float("inf")  # flush and fsync: bounded by the upload's own timeouts, which grow with size
_NAME_MAX = 255
_DOTS = (b".", b"..")
_MAX_BACKGROUND = 256  # with the kernel's 12, twelve stalled reads stop every other one for 19 s (measured)
_CONGESTION_THRESHOLD = 192
_READ_AHEAD_KB = 1024  # 340 MB/s with the default 128, several times that with 1 MiB requests (measured)


@dataclass(frozen=True, slots=True)
class Presentation:
    """Who owns what the mount shows, and how long a handler may take (seconds)."""

    uid: int
    gid: int
    read_deadline_s: float
    change_deadline_s: float
    contents_deadline_s: float


@dataclass(slots=True)
class _Directory:
    """Snapshot of one opened directory: entries by offset; `rewinddir` takes a new one."""

    inode: Inode
    snapshot: Snapshot
    is_read: bool = False


def _handler(
    deadline: Callable[[Presentation], float],
) -> Callable[[Callable[_P, Coroutine[Any, Any, _T]]], Callable[_P, Coroutine[Any, Any, _T]]]:
    """The boundary around a handler, and its deadline."""

    def decorate(handler: Callable[_P, Coroutine[Any, Any, _T]]) -> Callable[_P, Coroutine[Any, Any, _T]]:
        name = handler.__name__

        @functools.wraps(handler)
        async def bounded(*args: _P.args, **kwargs: _P.kwargs) -> _T:
            operations: Any = args[0]
            try:
                with trio.fail_after(deadline(operations.presentation)):
                    return await handler(*args, **kwargs)
            except pyfuse3.FUSEError:
                raise
            except trio.TooSlowError:
                log.warning("%s %s: no answer within its deadline", name, _described(args[1:]))
                raise pyfuse3.FUSEError(errno.ETIMEDOUT) from None
            except OrionFsError as error:
                log.log(error.log_level, "%s %s: %s", name, _described(args[1:]), error)
                raise pyfuse3.FUSEError(error.errno) from error
            except OSError as error:
                failed = disk_error(error, name)
                log.error("%s %s: %s", name, _described(args[1:]), failed, exc_info=True)
                raise pyfuse3.FUSEError(failed.errno) from error
            except Exception as error:
                log.exception("%s %s: unexpected", name, _described(args[1:]))
                raise pyfuse3.FUSEError(errno.EIO) from error

        return bounded

    return decorate


_reading = _handler(lambda presentation: presentation.read_deadline_s)
_changing = _handler(lambda presentation: presentation.change_deadline_s)
_contents = _handler(lambda presentation: presentation.contents_deadline_s)
_uploading = _handler(lambda _: _NO_DEADLINE_S)


class Operations(pyfuse3.Operations):
    """The kernel's requests, handed on."""

    supports_dot_lookup = False
    enable_writeback_cache = False  # it would own size and mtime
    enable_acl = False

    def __init__(
        self,
        namespace: Namespace,
        files: Files,
        moves: Moves,
        attributes: ExtendedAttributes,
        presentation: Presentation,
        room: Callable[[], os.statvfs_result],
    ) -> None:
        """`room` tells the free room of the disk where written files are staged."""
        super().__init__()
        self._namespace = namespace
        self._inodes = namespace.inodes
        self._files = files
        self._moves = moves
        self._attributes = attributes
        self._room = room
        self._directories: dict[int, _Directory] = {}
        self._next_directory = 1
        self.ended = trio.Event()
        self.presentation = presentation

    async def run(self) -> None:
        """Answer the kernel until the mount ends."""
        try:
            await pyfuse3.main()
        finally:
            self.ended.set()

    # Names

    @_reading
    async def lookup(self, parent_inode: int, name: bytes, ctx: Any) -> pyfuse3.EntryAttributes:
        inode, valid_s = await self._namespace.lookup(self._inodes.get(parent_inode), from_kernel(name))
        return self._entered(inode, valid_s) if inode is not None else _absent(valid_s)

    async def forget(self, inode_list: Sequence[tuple[int, int]]) -> None:
        for number, lookups in inode_list:
            self._inodes.forget(number, lookups)

    @_reading
    async def getattr(self, inode: int, ctx: Any) -> pyfuse3.EntryAttributes:
        return self._encode(await self._namespace.stat(self._inodes.get(inode)))

    @_uploading
    async def setattr(
        self, inode: int, attr: pyfuse3.EntryAttributes, fields: Any, fh: int | None, ctx: Any
    ) -> pyfuse3.EntryAttributes:
        found = self._inodes.get(inode)
        if fields.update_uid or fields.update_gid:
            self._check_owner(attr, fields)
        if fields.update_size:
            await self._files.truncate(found, attr.st_size, HandleId(fh) if fh is not None else None)
        mtime_ns = attr.st_mtime_ns if fields.update_mtime else None
        permissions = stat.S_IMODE(attr.st_mode) if fields.update_mode else None
        if mtime_ns is not None or permissions is not None:
            await self._files.set_local(found, mtime_ns, permissions)
        return self._encode(await self._namespace.stat(found))

    @_changing
    async def mkdir(self, parent_inode: int, name: bytes, mode: int, ctx: Any) -> pyfuse3.EntryAttributes:
        inode = await self._namespace.make_folder(self._inodes.get(parent_inode), from_kernel(name))
        return self._entered(inode, self._namespace.own_valid_s)

    @_uploading
    async def mknod(
        self, parent_inode: int, name: bytes, mode: int, rdev: int, ctx: Any
    ) -> pyfuse3.EntryAttributes:
        if not stat.S_ISREG(mode):
            raise NotPermitted("Orion keeps regular files only")
        inode = self._make_file(parent_inode, name, mode)
        await self._files.publish(inode)
        return self._entered(inode, self._namespace.own_valid_s)

    @_changing
    async def symlink(
        self, parent_inode: int, name: bytes, target: bytes, ctx: Any
    ) -> pyfuse3.EntryAttributes:
        raise NotPermitted("Orion keeps no links")

    @_changing
    async def link(
        self, inode: int, new_parent_inode: int, new_name: bytes, ctx: Any
    ) -> pyfuse3.EntryAttributes:
        raise NotPermitted("Orion keeps no links")

    @_changing
    async def rmdir(self, parent_inode: int, name: bytes, ctx: Any) -> None:
        await self._namespace.remove_folder(self._inodes.get(parent_inode), from_kernel(name))

    @_contents
    async def unlink(self, parent_inode: int, name: bytes, ctx: Any) -> None:
        await self._moves.unlink(self._inodes.get(parent_inode), from_kernel(name))

    @_uploading
    async def rename(
        self,
        parent_inode_old: int,
        name_old: bytes,
        parent_inode_new: int,
        name_new: bytes,
        flags: int,
        ctx: Any,
    ) -> None:
        if flags & ~pyfuse3.RENAME_NOREPLACE:
            raise pyfuse3.FUSEError(errno.EINVAL)
        await self._moves.rename(
            self._inodes.get(parent_inode_old),
            from_kernel(name_old),
            self._inodes.get(parent_inode_new),
            from_kernel(name_new),
            may_replace=not flags & pyfuse3.RENAME_NOREPLACE,
        )

    # Directories

    @_reading
    async def opendir(self, inode: int, ctx: Any) -> int:
        folder = self._inodes.get(inode)
        snapshot = await self._namespace.snapshot(folder)
        handle = self._next_directory
        self._next_directory += 1
        self._directories[handle] = _Directory(folder, snapshot)
        return handle

    @_reading
    async def readdir(self, fh: int, start_id: int, token: Any) -> None:
        directory = self._directories[fh]
        if start_id == 0 and directory.is_read:
            directory.snapshot = await self._namespace.snapshot(directory.inode)
        directory.is_read = True
        if not self._reply_dots(directory.inode, start_id, token):
            return
        snapshot = directory.snapshot
        valid_s = self._namespace.remaining_s(snapshot)
        for at in range(max(0, start_id - len(_DOTS)), len(snapshot.entries)):
            name, item = snapshot.entries[at]
            inode = self._namespace.entry(directory.inode, name, item, snapshot)
            if inode is None:
                continue
            entry = self._encode(self._namespace.attributes(inode, valid_s))
            if not pyfuse3.readdir_reply(token, name.encode(), entry, at + len(_DOTS) + 1):
                self._inodes.collect(inode)
                return
            inode.lookups += 1

    @_reading
    async def releasedir(self, fh: int) -> None:
        self._directories.pop(fh, None)

    @_reading
    async def fsyncdir(self, fh: int, datasync: bool) -> None:
        """Changes of names are on Orion when their calls return."""

    # Contents

    @_contents
    async def open(self, inode: int, flags: int, ctx: Any) -> pyfuse3.FileInfo:
        return _opened(await self._files.open(self._inodes.get(inode), flags))

    @_uploading
    async def create(
        self, parent_inode: int, name: bytes, mode: int, flags: int, ctx: Any
    ) -> tuple[pyfuse3.FileInfo, pyfuse3.EntryAttributes]:
        try:
            inode = self._make_file(parent_inode, name, mode)
        except NameExists:
            if flags & os.O_EXCL:
                raise
            inode = await self._namespace.child(self._inodes.get(parent_inode), from_kernel(name))
            handle_id = await self._files.open(inode, flags)
        else:
            handle_id = self._files.create(inode, flags)
        return _opened(handle_id), self._entered(inode, self._namespace.own_valid_s)

    @_contents
    async def read(self, fh: int, off: int, size: int) -> bytes:
        return await self._files.read(HandleId(fh), off, size)

    @_uploading
    async def write(self, fh: int, off: int, buf: bytes) -> int:
        return await self._files.write(HandleId(fh), off, buf)

    @_uploading
    async def flush(self, fh: int) -> None:
        await self._files.flush(HandleId(fh))

    @_uploading
    async def fsync(self, fh: int, datasync: bool) -> None:
        await self._files.fsync(HandleId(fh))

    @_uploading
    async def release(self, fh: int) -> None:
        await self._files.release(HandleId(fh))

    # Extended attributes

    @_reading
    async def getxattr(self, inode: int, name: bytes, ctx: Any) -> bytes:
        return await self._attributes.get(self._inodes.get(inode), name)

    @_reading
    async def listxattr(self, inode: int, ctx: Any) -> Sequence[bytes]:
        return await self._attributes.list(self._inodes.get(inode))

    @_changing
    async def setxattr(self, inode: int, name: bytes, value: bytes, ctx: Any) -> None:
        await self._attributes.set(self._inodes.get(inode), name, value)

    @_changing
    async def removexattr(self, inode: int, name: bytes, ctx: Any) -> None:
        await self._attributes.remove(self._inodes.get(inode), name)

    # The whole

    @_reading
    async def statfs(self, ctx: Any) -> pyfuse3.StatvfsData:
        room = self._room()
        data = pyfuse3.StatvfsData()
        data.f_bsize = data.f_frsize = room.f_frsize
        data.f_blocks, data.f_bfree, data.f_bavail = room.f_blocks, room.f_bfree, room.f_bavail
        data.f_files, data.f_ffree, data.f_favail = room.f_files, room.f_ffree, room.f_favail
        data.f_namemax = _NAME_MAX
        return data

    @_reading
    async def readlink(self, inode: int, ctx: Any) -> bytes:
        raise NotSupported("there are no links")

    # Encoding

    def _reply_dots(self, folder: Inode, start_id: int, token: Any) -> bool:
        """The entries `.` and `..`, which the kernel does not count; False if there was no room."""
        for at in range(start_id, len(_DOTS)):
            inode = folder if at == 0 else folder.parent or folder
            entry = self._encode(self._namespace.attributes(inode, 0.0))
            if not pyfuse3.readdir_reply(token, _DOTS[at], entry, at + 1):
                return False
        return True

    def _make_file(self, parent_inode: int, name: bytes, mode: int) -> Inode:
        parent = self._inodes.get(parent_inode)
        return self._namespace.make_file(parent, from_kernel(name), stat.S_IMODE(mode), new_mark())

    def _check_owner(self, attr: pyfuse3.EntryAttributes, fields: Any) -> None:
        """chown to who owns it already is nothing; Orion has its own owners."""
        is_same_user = not fields.update_uid or attr.st_uid == self.presentation.uid
        is_same_group = not fields.update_gid or attr.st_gid == self.presentation.gid
        if not (is_same_user and is_same_group):
            raise NotPermitted("the owner of everything in the mount is the mounting user")

    def _entered(self, inode: Inode, valid_s: float) -> pyfuse3.EntryAttributes:
        """The kernel learns of an inode: one lookup more."""
        entry = self._encode(self._namespace.attributes(inode, valid_s))
        inode.lookups += 1
        return entry

    def _encode(self, attributes: Attributes) -> pyfuse3.EntryAttributes:
        entry = pyfuse3.EntryAttributes()
        entry.st_ino = attributes.number
        kind = stat.S_IFDIR if attributes.is_directory else stat.S_IFREG
        entry.st_mode = pyfuse3.ModeT(kind | attributes.permissions)
        entry.st_nlink = 1
        entry.st_uid, entry.st_gid = self.presentation.uid, self.presentation.gid
        entry.st_size = attributes.size
        entry.st_blksize = _PREFERRED_IO_BYTES
        entry.st_blocks = -(-attributes.size // _BLOCK_BYTES)
        entry.st_mtime_ns = entry.st_atime_ns = attributes.mtime_ns
        entry.st_ctime_ns = attributes.ctime_ns
        entry.entry_timeout = attributes.entry_valid_s
        entry.attr_timeout = attributes.attributes_valid_s
        return entry


@contextmanager
def mounted(operations: Operations, mountpoint: Path, source: str, options: set[str]) -> Iterator[None]:
    """A mount for as long as the context lasts. Raises StartupError.

    One process is one mount: pyfuse3 keeps its session in globals. After an unexpected error the mount
    stays, dead: an empty folder in its place would make a mirror delete everything.
    """
    try:
        pyfuse3.init(operations, str(mountpoint), {f"fsname={source}", *options})
    except RuntimeError as error:
        raise StartupError(
            f"{mountpoint} can't be mounted: {error}; it takes /dev/fuse and fusermount3 (package fuse3)",
            ExitStatus.FUSE,
        ) from error
    try:
        yield
    except Exception:
        pyfuse3.close(unmount=False)
        raise
    pyfuse3.close(unmount=True)


def terminate() -> None:
    """Let `run` return."""
    pyfuse3.terminate()


def tune(mountpoint: Path) -> None:
    """Let stalled reads not delay others, and read ahead more: where the kernel lets us, else not."""
    mount = mount_at(read_mountinfo(), mountpoint)
    if mount is None:
        return
    minor = mount.device.split(":")[1]
    connection = Path("/sys/fs/fuse/connections") / minor
    settings: tuple[tuple[Path, int], ...] = (
        (connection / "max_background", _MAX_BACKGROUND),
        (connection / "congestion_threshold", _CONGESTION_THRESHOLD),
        (Path("/sys/class/bdi") / mount.device / "read_ahead_kb", _READ_AHEAD_KB),
    )
    for path, value in settings:
        try:
            path.write_text(str(value))
        except OSError as error:
            log.debug("%s stays as it is: %s", path, error.strerror)


def _absent(valid_s: float) -> pyfuse3.EntryAttributes:
    """An entry without an inode: the kernel caches that there is nothing."""
    entry = pyfuse3.EntryAttributes()
    entry.st_ino = pyfuse3.InodeT(0)
    entry.entry_timeout = valid_s
    return entry


def _opened(handle_id: HandleId) -> pyfuse3.FileInfo:
    """The kernel's pages of an inode stay valid: a number is one version, and we hear of all writes."""
    return pyfuse3.FileInfo(fh=pyfuse3.FileHandleT(handle_id), keep_cache=True)


def _described(args: Sequence[Any]) -> str:
    """What a handler was about: numbers and a name; never what is written or set."""
    named = [
        arg for at, arg in enumerate(args) if isinstance(arg, int) or (isinstance(arg, bytes) and at != 2)
    ]
    return " ".join(ascii(arg) if isinstance(arg, bytes) else str(arg) for arg in named)[:300]
