"""The kernel's requests: bytes and str, flags, attributes. A protocol adapter only.

A handler decodes, calls once, encodes; what surrounds every one of them is `boundary`.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyfuse3
import trio

from orionfs.errors import (
    NameExists,
    NotPermitted,
    NotSupported,
)
from orionfs.fuse.boundary import Presentation, changing, contents, reading, uploading
from orionfs.fuse.callers import Callers
from orionfs.fuse.reporting import Reporter
from orionfs.holds import Holds
from orionfs.marks import new_mark
from orionfs.models import Attributes, HandleId
from orionfs.reports import Reports
from orionfs.tables.inodes import Inode
from orionfs.tables.names import from_kernel
from orionfs.tree.namespace import Namespace
from orionfs.tree.protection import Protection
from orionfs.tree.snapshots import Snapshot
from orionfs.vfs.files import Files
from orionfs.vfs.moves import Moves
from orionfs.xattrs.attributes import ExtendedAttributes

log = logging.getLogger(__name__)

_BLOCK_BYTES = 512
_PREFERRED_IO_BYTES = 2**20
_NAME_MAX = 255
_DOTS = (b".", b"..")


@dataclass(slots=True)
class _Directory:
    """Snapshot of one opened directory: entries by offset; `rewinddir` takes a new one."""

    inode: Inode
    snapshot: Snapshot
    is_read: bool = False


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
        protection: Protection,
        locks: Holds | None = None,
        reports: Reports | None = None,
    ) -> None:
        """`room` tells the free room of the disk where written files are staged.

        `locks` is told in which folders the kernel waits for an answer, as long as it does. `reports` keeps
        what handlers failed with.
        """
        super().__init__()
        self._namespace = namespace
        self._inodes = namespace.inodes
        self._files = files
        self._moves = moves
        self._attributes = attributes
        self._room = room
        self._protection = protection
        self._directories: dict[int, _Directory] = {}
        self._next_directory = 1
        self._callers = Callers()
        self.begun = trio.Event()  # the kernel and we have agreed on how to talk
        self.ended = trio.Event()
        self.presentation = presentation
        self.locks = locks if locks is not None else Holds()
        self.reporter = Reporter(
            reports if reports is not None else Reports(), self._inodes, files.inode_of, self._directory_of
        )

    async def run(self) -> None:
        """Answer the kernel until the mount ends."""
        try:
            await pyfuse3.main()
        finally:
            self.begun.set()
            self.ended.set()

    def init(self) -> None:
        """The kernel's first request; it has our answer before any other task runs."""
        self.begun.set()

    # Names

    @reading
    async def lookup(self, parent_inode: int, name: bytes, ctx: Any) -> pyfuse3.EntryAttributes:
        inode, valid_s = await self._namespace.lookup(self._inodes.get(parent_inode), from_kernel(name))
        return self._entered(inode, valid_s) if inode is not None else _absent(valid_s)

    async def forget(self, inode_list: Sequence[tuple[int, int]]) -> None:
        for number, lookups in inode_list:
            try:
                self._inodes.forget(number, lookups)
            except Exception:
                log.exception("forget %s: unexpected", number)  # there is nobody to answer

    @reading
    async def getattr(self, inode: int, ctx: Any) -> pyfuse3.EntryAttributes:
        return self._encode(await self._namespace.stat(self._inodes.get(inode)))

    @uploading
    async def setattr(
        self, inode: int, attr: pyfuse3.EntryAttributes, fields: Any, fh: int | None, ctx: Any
    ) -> pyfuse3.EntryAttributes:
        found = self._changeable(inode)
        if fields.update_uid or fields.update_gid:
            self._check_owner(attr, fields)
        if fields.update_size:
            await self._files.truncate(found, attr.st_size, HandleId(fh) if fh is not None else None)
        mtime_ns = attr.st_mtime_ns if fields.update_mtime else None
        permissions = stat.S_IMODE(attr.st_mode) if fields.update_mode else None
        if mtime_ns is not None or permissions is not None:
            await self._files.set_local(found, mtime_ns, permissions)
        return self._encode(await self._namespace.stat(found))

    @changing
    async def mkdir(self, parent_inode: int, name: bytes, mode: int, ctx: Any) -> pyfuse3.EntryAttributes:
        inode = await self._namespace.make_folder(*self._place(parent_inode, name))
        return self._entered(inode, self._namespace.own_valid_s)

    @uploading
    async def mknod(
        self, parent_inode: int, name: bytes, mode: int, rdev: int, ctx: Any
    ) -> pyfuse3.EntryAttributes:
        if not stat.S_ISREG(mode):
            raise NotPermitted("Orion keeps regular files only")
        inode = self._make_file(parent_inode, name, mode)
        with self._withdrawing(inode):
            await self._files.publish(inode)
        return self._entered(inode, self._namespace.own_valid_s)

    @changing
    async def symlink(
        self, parent_inode: int, name: bytes, target: bytes, ctx: Any
    ) -> pyfuse3.EntryAttributes:
        raise NotPermitted("Orion keeps no links")

    @changing
    async def link(
        self, inode: int, new_parent_inode: int, new_name: bytes, ctx: Any
    ) -> pyfuse3.EntryAttributes:
        raise NotPermitted("Orion keeps no links")

    @changing
    async def rmdir(self, parent_inode: int, name: bytes, ctx: Any) -> None:
        await self._moves.rmdir(*self._place(parent_inode, name))

    @contents
    async def unlink(self, parent_inode: int, name: bytes, ctx: Any) -> None:
        await self._moves.unlink(*self._place(parent_inode, name))

    @uploading
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
        old, new = self._place(parent_inode_old, name_old), self._place(parent_inode_new, name_new)
        for place in (old, new):
            self._protection.check_renamed(*place)
        await self._moves.rename(*old, *new, may_replace=not flags & pyfuse3.RENAME_NOREPLACE)

    # Directories

    @contents
    async def opendir(self, inode: int, ctx: Any) -> int:
        folder = self._inodes.get(inode)
        snapshot = await self._namespace.snapshot(folder)
        handle = self._next_directory
        self._next_directory += 1
        self._directories[handle] = _Directory(folder, snapshot)
        return handle

    @contents
    async def readdir(self, fh: int, start_id: int, token: Any) -> None:
        directory = self._directories[fh]
        self._namespace.touch(directory.inode)
        if start_id == 0 and directory.is_read:
            with self.locks.held(directory.inode.number):
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

    @reading
    async def releasedir(self, fh: int) -> None:
        self._directories.pop(fh, None)

    @uploading
    async def fsyncdir(self, fh: int, datasync: bool) -> None:
        directory = self._directories.get(fh)
        if directory is not None:
            await self._moves.settle_folder(directory.inode)

    # Contents

    @contents
    async def open(self, inode: int, flags: int, ctx: Any) -> pyfuse3.FileInfo:
        is_changing = flags & os.O_ACCMODE != os.O_RDONLY or flags & os.O_TRUNC
        found = self._changeable(inode) if is_changing else self._inodes.get(inode)
        handle_id = await self._files.open(found, flags)
        if is_changing:
            self._callers.note(handle_id, ctx)
        return _opened(handle_id, keeps_pages=self._files.keeps_pages(handle_id))

    @uploading
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
            with self._withdrawing(inode):
                handle_id = self._files.create(inode, flags)
        self._callers.note(handle_id, ctx)
        return _opened(handle_id), self._entered(inode, self._namespace.own_valid_s)

    @contents
    async def read(self, fh: int, off: int, size: int) -> bytes:
        return await self._files.read(HandleId(fh), off, size)

    @uploading
    async def write(self, fh: int, off: int, buf: bytes) -> int:
        if self._files.is_behind(HandleId(fh)):
            await self._callers.while_alive(fh, partial(self._files.until_room, HandleId(fh)))
        return await self._files.write(HandleId(fh), off, buf)

    @uploading
    async def flush(self, fh: int) -> None:
        await self._callers.while_alive(fh, partial(self._files.flush, HandleId(fh)))

    @uploading
    async def fsync(self, fh: int, datasync: bool) -> None:
        await self._callers.while_alive(fh, partial(self._files.fsync, HandleId(fh)))

    @uploading
    async def release(self, fh: int) -> None:
        self._callers.forget(fh)
        await self._files.release(HandleId(fh))

    # Extended attributes

    @reading
    async def getxattr(self, inode: int, name: bytes, ctx: Any) -> bytes:
        return await self._attributes.get(self._inodes.get(inode), name)

    @reading
    async def listxattr(self, inode: int, ctx: Any) -> Sequence[bytes]:
        return await self._attributes.list(self._inodes.get(inode))

    @changing
    async def setxattr(self, inode: int, name: bytes, value: bytes, ctx: Any) -> None:
        await self._attributes.set(self._changeable(inode), name, value)

    @changing
    async def removexattr(self, inode: int, name: bytes, ctx: Any) -> None:
        await self._attributes.remove(self._changeable(inode), name)

    # The whole

    @reading
    async def statfs(self, ctx: Any) -> pyfuse3.StatvfsData:
        room = self._room()
        data = pyfuse3.StatvfsData()
        data.f_bsize = data.f_frsize = room.f_frsize
        data.f_blocks, data.f_bfree, data.f_bavail = room.f_blocks, room.f_bfree, room.f_bavail
        data.f_files, data.f_ffree, data.f_favail = room.f_files, room.f_ffree, room.f_favail
        data.f_namemax = _NAME_MAX
        return data

    @reading
    async def readlink(self, inode: int, ctx: Any) -> bytes:
        raise NotSupported("there are no links")

    def _directory_of(self, handle: int) -> Inode | None:
        directory = self._directories.get(handle)
        return directory.inode if directory is not None else None

    # Encoding

    def _reply_dots(self, folder: Inode, start_id: int, token: Any) -> bool:
        """The entries `.` and `..`, which the kernel does not count; False if there was no room."""
        for at in range(start_id, len(_DOTS)):
            inode = folder if at == 0 else folder.parent or folder
            entry = self._encode(self._namespace.attributes(inode, 0.0))
            if not pyfuse3.readdir_reply(token, _DOTS[at], entry, at + 1):
                return False
        return True

    def _changeable(self, number: int) -> Inode:
        """The inode of a number. Raises ReadOnly."""
        inode = self._inodes.get(number)
        self._protection.check(inode)
        return inode

    def _place(self, parent_inode: int, name: bytes) -> tuple[Inode, str]:
        """Where a name is to be made or removed. Raises ReadOnly."""
        place = self._inodes.get(parent_inode), from_kernel(name)
        self._protection.check_name(*place)
        return place

    def _make_file(self, parent_inode: int, name: bytes, mode: int) -> Inode:
        parent, visible = self._place(parent_inode, name)
        return self._namespace.make_file(parent, visible, stat.S_IMODE(mode), new_mark())

    @contextmanager
    def _withdrawing(self, inode: Inode) -> Iterator[None]:
        """A new file of which nothing could even be staged was never there."""
        try:
            yield
        except BaseException:
            if inode.is_attached and self._files.upload_of(inode) is None:
                self._namespace.withdraw_new(inode)
            raise

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


def _absent(valid_s: float) -> pyfuse3.EntryAttributes:
    """An entry without an inode: the kernel caches that there is nothing."""
    entry = pyfuse3.EntryAttributes()
    entry.st_ino = pyfuse3.InodeT(0)
    entry.entry_timeout = valid_s
    return entry


def _opened(handle_id: HandleId, *, keeps_pages: bool = True) -> pyfuse3.FileInfo:
    """The kernel's pages of an inode stay valid: a number is one version, and we hear of all writes.

    Only a dataset may be another one than before, which its open finds out.
    """
    return pyfuse3.FileInfo(fh=pyfuse3.FileHandleT(handle_id), keep_cache=keeps_pages)
