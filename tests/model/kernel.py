"""A kernel in miniature over the handlers of one mount: what it caches, counts and locks, in virtual time.

It believes names, absences and attributes for as long as it was told, keeps the pages of a number,
counts its lookups and gives them back, and does one thing at a time in each directory. Verbs take a
path below the mount point and fail with OSError, as a program sees it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from math import inf
from typing import Any, TypeVar

import pyfuse3
import trio

from orionfs.fuse import Operations
from orionfs.models import InodeNumber
from orionfs.tables.inodes import Inode
from tests.component.world import World

ROOT = int(pyfuse3.ROOT_INODE)
_T = TypeVar("_T")
_READ_BYTES = 2**20


@dataclass(slots=True)
class _Entry:
    """What a name means (0: nothing), believed until then."""

    number: int
    until_s: float


@dataclass(slots=True)
class _Node:
    """What the kernel knows of an inode number."""

    is_directory: bool
    size: int = 0
    until_s: float = -inf
    lookups: int = 0
    opens: int = 0
    pages: bytes | None = None


@dataclass(slots=True)
class _Reply:
    """What readdir gives: name, entry; as much as there is room for."""

    room: int
    entries: list[tuple[str, pyfuse3.EntryAttributes, int]] = field(default_factory=list)


def readdir_reply(token: _Reply, name: bytes, entry: pyfuse3.EntryAttributes, next_id: int) -> bool:
    """In place of pyfuse3's own."""
    if len(token.entries) == token.room:
        return False
    token.entries.append((name.decode(), entry, next_id))
    return True


def _place(inode: Inode) -> tuple[int, str]:
    assert inode.parent is not None
    return inode.parent.number, inode.name


class Kernel:
    """The caches of one mount's superblock."""

    def __init__(self) -> None:
        self._world: World | None = None
        self._entries: dict[tuple[int, str], _Entry] = {}
        self._nodes: dict[int, _Node] = {ROOT: _Node(is_directory=True)}
        self._locks: dict[int, trio.Lock] = {}
        self._renaming = trio.Lock()

    def begin(self, world: World) -> None:
        """This is the mount."""
        self._world = world

    @property
    def _ops(self) -> Operations:
        assert self._world is not None
        return self._world.operations

    # What the mount tells (KernelView)

    def entry_changed(self, parent: InodeNumber, name: str) -> None:
        """The name is looked up anew; a shell in a folder that is there would lose its place."""
        assert self._world is not None
        entry = self._entries.get((parent, name))
        if entry is not None and entry.number:
            inode = self._world.namespace.inodes.find(InodeNumber(entry.number))
            is_folder = inode is not None and inode.children is not None and inode.is_attached
            is_there = is_folder and inode is not None and _place(inode) == (parent, name)
            assert not is_there, f"the kernel was told to drop {inode}, which is there"
        self.drop(parent, name)

    def attributes_changed(self, number: InodeNumber) -> None:
        """Its attributes are asked for anew."""
        if number in self._nodes:
            self._nodes[number].until_s = -inf

    # Looking

    async def stat(self, path: str) -> tuple[int, bool, int]:
        """Number, whether it is a directory, size."""

        async def look(is_fresh: bool) -> tuple[int, bool, int]:
            number, node = await self._walk(path, is_fresh)
            if node.until_s <= trio.current_time():
                self._note(number, await _answer(self._ops.getattr(number, None), path))
            return number, node.is_directory, node.size

        return await self._again_if_stale(look)

    async def ls(self, path: str, room: int = 3) -> dict[str, int]:
        """Name -> number of a directory's entries."""

        async def look(is_fresh: bool) -> dict[str, int]:
            number, node = await self._walk(path, is_fresh)
            _check(node.is_directory, errno.ENOTDIR, path)
            handle = await _answer(self._ops.opendir(number, None), path)
            try:
                return await self._entries_of(number, handle, room)
            finally:
                await self._ops.releasedir(handle)

        return await self._again_if_stale(look)

    async def _entries_of(self, folder: int, handle: int, room: int) -> dict[str, int]:
        found: dict[str, int] = {}
        start = 0
        while True:
            reply = _Reply(room)
            async with self._lock_of(folder):
                await _answer(self._ops.readdir(handle, start, reply), "")
                for name, entry, _ in reply.entries:
                    if name not in (".", ".."):
                        self._enter(folder, name, entry)
            if not reply.entries:
                assert len(found) == len(set(found.values())), f"one inode under two names: {found}"
                return found
            start = reply.entries[-1][2]
            for name, entry, _ in reply.entries:
                if name not in (".", ".."):
                    assert name not in found, f"{name} is told twice by one listing"
                    found[name] = int(entry.st_ino)

    # Names

    async def mkdir(self, path: str) -> None:
        parent, name = await self._parent(path)
        async with self._lock_of(parent):
            _check(not await self._lookup(parent, name), errno.EEXIST, path)
            self._enter(parent, name, await _answer(self._ops.mkdir(parent, _raw(name), 0o755, None), path))

    async def rmdir(self, path: str) -> None:
        parent, name = await self._parent(path)
        async with self._lock_of(parent):
            number = await self._there(parent, name, path)
            _check(self._nodes[number].is_directory, errno.ENOTDIR, path)
            async with self._lock_of(number):
                await _answer(self._ops.rmdir(parent, _raw(name), None), path)
            self.drop(parent, name)

    async def unlink(self, path: str) -> None:
        parent, name = await self._parent(path)
        async with self._lock_of(parent):
            number = await self._there(parent, name, path)
            _check(not self._nodes[number].is_directory, errno.EISDIR, path)
            await _answer(self._ops.unlink(parent, _raw(name), None), path)
            self.drop(parent, name)

    async def rename(self, old: str, new: str, *, may_replace: bool = True) -> None:
        (old_parent, old_name), (parent, name) = await self._parent(old), await self._parent(new)
        async with self._both(old_parent, parent):
            number = await self._there(old_parent, old_name, old)
            entry = self._entries[old_parent, old_name]  # whoever tells to drop it waits for the locks
            target = await self._lookup(parent, name)
            self._check_rename(number, parent, target, may_replace=may_replace)
            if number == target:
                return
            flags = 0 if may_replace else pyfuse3.RENAME_NOREPLACE
            await _answer(
                self._ops.rename(old_parent, _raw(old_name), parent, _raw(name), flags, None), f"{old} {new}"
            )
            self.drop(parent, name)
            self.drop(old_parent, old_name)
            self._entries[parent, name] = entry

    def _check_rename(self, number: int, parent: int, target: int, *, may_replace: bool) -> None:
        _check(number not in self._chain(parent), errno.EINVAL)
        if not target or number == target:
            return
        _check(may_replace, errno.EEXIST)
        _check(target not in self._chain(parent), errno.ENOTEMPTY)
        is_directory, into = self._nodes[number].is_directory, self._nodes[target].is_directory
        _check(is_directory or not into, errno.EISDIR)
        _check(into or not is_directory, errno.ENOTDIR)

    def _chain(self, number: int) -> Iterable[int]:
        """A directory and all above it, as the dentries stand."""
        above = {entry.number: parent for (parent, _), entry in self._entries.items() if entry.number}
        while True:
            yield number
            if number not in above:
                return
            number = above[number]

    # Contents

    async def open(self, path: str, flags: int) -> tuple[int, int]:
        """Handle and number."""

        async def look(is_fresh: bool) -> tuple[int, int]:
            if not flags & os.O_CREAT:
                number, node = await self._walk(path, is_fresh)
                return await self._open(number, node, flags, path), number
            parent, name = await self._parent(path)
            async with self._lock_of(parent):
                number = await self._lookup(parent, name, is_fresh=is_fresh)
                if not number:
                    return await self._create(parent, name, flags, path)
            _check(not flags & os.O_EXCL, errno.EEXIST, path)
            return await self._open(number, self._nodes[number], flags, path), number

        return await self._again_if_stale(look)

    async def _open(self, number: int, node: _Node, flags: int, path: str) -> int:
        _check(not node.is_directory, errno.EISDIR, path)
        node.opens += 1
        try:
            info = await _answer(self._ops.open(number, flags, None), path)
        except OSError:
            node.opens -= 1
            raise
        if flags & os.O_TRUNC:
            node.pages, node.until_s = None, -inf
        if not info.keep_cache:
            node.pages = None
        return int(info.fh)

    async def _create(self, parent: int, name: str, flags: int, path: str) -> tuple[int, int]:
        created = self._ops.create(parent, _raw(name), 0o644, flags & ~os.O_CREAT, None)
        info, entry = await _answer(created, path)
        self._enter(parent, name, entry)
        self._nodes[int(entry.st_ino)].opens += 1
        return int(info.fh), int(entry.st_ino)

    async def write(self, handle: int, number: int, data: bytes) -> None:
        await _answer(self._ops.write(handle, 0, data), "write")
        self._nodes[number].pages, self._nodes[number].until_s = None, -inf

    async def read(self, handle: int, number: int) -> bytes:
        """All of it; from the pages of the number, if it was read before."""
        node = self._nodes[number]
        if node.pages is None:
            node.pages = await _answer(self._ops.read(handle, 0, _READ_BYTES), "read")
        return node.pages

    async def close(self, handle: int, number: int) -> None:
        """close(2) of the last descriptor."""
        try:
            await _answer(self._ops.flush(handle), "close")
        finally:
            await self._ops.release(handle)
            self._nodes[number].opens -= 1
            self._nodes[number].until_s = -inf

    async def save(self, path: str, data: bytes) -> int:
        """What `open(path, "wb").write(data)` does; the number."""
        handle, number = await self.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        try:
            await self.write(handle, number, data)
        finally:
            await self.close(handle, number)
        return number

    async def load(self, path: str) -> tuple[int, bytes]:
        """Number and bytes of a file."""
        handle, number = await self.open(path, os.O_RDONLY)
        try:
            return number, await self.read(handle, number)
        finally:
            await self.close(handle, number)

    # Forgetting

    def drop(self, parent: int, name: str) -> None:
        """A name is believed no more: the kernel's own doing, or what the mount asks for."""
        self._entries.pop((parent, name), None)

    async def shrink(self) -> None:
        """Forget every inode that is not open nor above one that is."""
        kept = {ROOT}
        for number, node in self._nodes.items():
            if node.opens:
                kept.update(self._chain(number))
        self._entries = {key: entry for key, entry in self._entries.items() if entry.number in kept - {ROOT}}
        gone = [(number, node.lookups) for number, node in self._nodes.items() if number not in kept]
        for number, _ in gone:
            del self._nodes[number]
        await self._ops.forget(gone)

    # Inside

    async def _again_if_stale(self, look: Callable[[bool], Awaitable[_T]]) -> _T:
        """ESTALE: everything on the way is looked up anew, once."""
        try:
            return await look(False)
        except OSError as error:
            if error.errno != errno.ESTALE:
                raise
        return await look(True)

    async def _walk(self, path: str, is_fresh: bool = False) -> tuple[int, _Node]:
        number = ROOT
        for name in filter(None, path.split("/")):
            _check(self._nodes[number].is_directory, errno.ENOTDIR, path)
            number = await self._found(number, name, path, is_fresh=is_fresh)
        return number, self._nodes[number]

    async def _found(self, parent: int, name: str, path: str, *, is_fresh: bool) -> int:
        entry = self._entries.get((parent, name))
        if entry is None or is_fresh or entry.until_s <= trio.current_time():
            async with self._lock_of(parent):
                return await self._there(parent, name, path, is_fresh=is_fresh)
        _check(entry.number != 0, errno.ENOENT, path)
        return entry.number

    async def _there(self, parent: int, name: str, path: str, *, is_fresh: bool = False) -> int:
        number = await self._lookup(parent, name, is_fresh=is_fresh)
        _check(number != 0, errno.ENOENT, path)
        return number

    async def _lookup(self, parent: int, name: str, *, is_fresh: bool = False) -> int:
        """Who asks holds the lock of the parent."""
        entry = self._entries.get((parent, name))
        if entry is not None and not is_fresh and entry.until_s > trio.current_time():
            return entry.number
        try:
            told = await _answer(self._ops.lookup(parent, _raw(name), None), name)
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise
            self.drop(parent, name)
            return 0
        return self._enter(parent, name, told)

    async def _parent(self, path: str) -> tuple[int, str]:
        above, _, name = path.rpartition("/")
        number, node = await self._again_if_stale(lambda is_fresh: self._walk(above, is_fresh))
        _check(node.is_directory, errno.ENOTDIR, path)
        return number, name

    def _enter(self, parent: int, name: str, told: pyfuse3.EntryAttributes) -> int:
        """An entry was told: one lookup more, unless it says that there is nothing."""
        number = int(told.st_ino)
        until_s = trio.current_time() + told.entry_timeout
        self._entries[parent, name] = _Entry(number, until_s)
        if number:
            self._note(number, told)
            self._nodes[number].lookups += 1
        return number

    def _note(self, number: int, told: pyfuse3.EntryAttributes) -> None:
        is_directory = bool(told.st_mode & 0o040000)
        node = self._nodes.setdefault(number, _Node(is_directory))
        assert node.is_directory == is_directory, f"{number} was of another kind"
        assert int(told.st_ino) == number
        node.size, node.until_s = told.st_size, trio.current_time() + told.attr_timeout

    def _lock_of(self, number: int) -> trio.Lock:
        return self._locks.setdefault(number, trio.Lock())

    @asynccontextmanager
    async def _both(self, one: int, other: int) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            if one != other:
                await stack.enter_async_context(self._renaming)
            for number in sorted({one, other}):
                await stack.enter_async_context(self._lock_of(number))
            yield


def _raw(name: str) -> bytes:
    return name.encode()


def _check(is_so: bool, number: int, path: str = "") -> None:
    if not is_so:
        raise OSError(number, os.strerror(number), path)


async def _answer(call: Awaitable[Any], path: str) -> Any:
    """What a handler gives; what it raises, as a program gets it."""
    try:
        return await call
    except pyfuse3.FUSEError as error:
        raise OSError(error.errno, os.strerror(error.errno), path) from error
