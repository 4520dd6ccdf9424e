"""Staged files of open files: begun over what Orion has, gone on with in a copy where bytes are promised.

Used by `files` alone. What is sealed never changes: who must write there gets a copy first.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import partial

import trio

from orionfs.cache.content import Staged, copy_range
from orionfs.cache.fetch import Fetcher, Source, Window
from orionfs.errors import NoSpace, Stale
from orionfs.models import Kind
from orionfs.outgoing.early import Writing
from orionfs.outgoing.sync import Sync
from orionfs.outgoing.upload import Upload
from orionfs.tables.inodes import Inode
from orionfs.vfs.basis import Basis


@dataclass(eq=False, slots=True)
class OpenFile:
    """What all handles of one inode share.

    `staged` is what is newer here than on Orion, `basis` what it still lacks of the version it changes.
    `told_end` is where the kernel believes the end to be, where it was told no true size before the open.
    `is_begun`: somebody reads it; `keeps_pages`: what the kernel holds of the contents is still so.
    """

    inode: Inode
    handles: int = 0
    staged: Staged | None = None
    basis: Basis | None = None
    told_end: int | None = None
    is_incomplete: bool = False  # a write failed for want of room, and its caller was told
    source: Source | None = None
    is_begun: bool = False
    keeps_pages: bool = True
    flushing: trio.Lock = field(default_factory=trio.Lock)
    sealing: trio.Lock = field(default_factory=trio.Lock)
    staging: trio.Lock = field(default_factory=trio.Lock)
    succeeding: trio.Lock = field(default_factory=trio.Lock)

    @property
    def size(self) -> int:
        """How long it is now, bytes; 0 where nobody knows."""
        return self.inode.item.size or 0 if self.staged is None else self.staged.size

    def end_for(self, offset: int, count: int) -> int:
        """Where `count` bytes go that the kernel appends at `offset`; no others go to where it believes that.

        What was mapped is written back through the same handles, and to its own place.
        """
        if offset != self.told_end:
            return offset
        self.told_end += count
        return self.size

    def __repr__(self) -> str:
        return f"<OpenFile {self.inode!r} handles={self.handles} staged={self.staged!r}>"


@dataclass(eq=False, slots=True)
class Handle:
    """One open file description.

    `has_written`: something that this handle has not flushed; `expects_data`: the open truncated, and
    nothing was written yet.
    """

    file: OpenFile
    has_written: bool = False
    expects_data: bool = False
    failed: Upload | None = None  # the version whose upload was this handle's last error
    is_appending: bool = False
    keeps_pages: bool = True  # what the kernel holds of the contents is still so
    turn_s: float | None = None  # when its last version went up, or will; None: the first one goes at once
    window: Window = field(default_factory=Window)
    behind: Upload | None = None  # the last version that went up behind it, or the first that went beside

    def goes_behind(self, upload: Upload) -> None:
        """A version goes up while its writer goes on."""
        if self.behind is None or self.behind.conflict is None:
            self.behind = upload

    def check_behind(self) -> None:
        """Raise, once, that a version which went up behind this handle is beside its name now."""
        upload = self.behind
        if upload is not None and upload.conflict is not None:
            self.behind = None
            raise upload.conflict


class Staging:
    """Makes open files writable, and their remote versions readable."""

    def __init__(self, sync: Sync, fetcher: Fetcher) -> None:
        self._sync = sync
        self._fetcher = fetcher

    async def write(self, handle: Handle, offset: int, data: bytes) -> int:
        """Stage bytes; the size of the file then. Raises NoSpace; what was there before stays whole."""
        file = handle.file
        async with file.staging:
            if handle.is_appending:
                offset = file.end_for(offset, len(data))
            staged = await self.writable(file, offset)
            handle.has_written, handle.expects_data = True, False
            size_before = staged.size
            try:
                staged.write(offset, data)
            except NoSpace:
                await self._fetcher.make_room()
                file.is_incomplete = True
                staged.write(offset, data)
                file.is_incomplete = False
            if file.basis is not None:
                file.basis.note_written(offset, offset + len(data))
                self._close_basis_if_complete(file)
            end = offset + len(data)
            self._sync.early.note_written(staged, size_before, offset, end, self._writing(file, staged))
            return staged.size

    async def read(self, handle: Handle, offset: int, size: int) -> bytes:
        """Bytes of a file as it stands; short only at its end."""
        file = handle.file
        while True:
            if file.staged is None:
                found = await self._read_version(handle, offset, size)
            elif file.basis is None:
                return file.staged.read(offset, size)
            else:
                found = await self._read_changed(handle, file.basis, offset, size)
            if found is not None:
                return found

    async def _read_version(self, handle: Handle, offset: int, size: int) -> bytes | None:
        """Bytes of what Orion has; None if another handle has saved the file meanwhile, and they are gone."""
        file = handle.file
        source = self.source(file)
        try:
            return await self._fetcher.read(source, handle.window, offset, size)
        except Stale:
            if file.staged is None and file.source is source:
                raise
            return None

    async def _read_changed(self, handle: Handle, basis: Basis, offset: int, size: int) -> bytes | None:
        """Bytes of a version that is being changed; None if somebody has completed it meanwhile."""
        brought = await basis.bring(handle.window, offset, size)
        return basis.read(offset, size, brought) if handle.file.basis is basis else None

    def source(self, file: OpenFile) -> Source:
        key = file.inode.item.key
        if key is None:
            raise Stale(f"{file.inode.local_path()} has no contents on Orion yet")
        if file.source is None:
            file.source = self._fetcher.open(key, file.inode.item.size or 0)
        return file.source

    async def writable(self, file: OpenFile, offset: int) -> Staged:
        """A staged file whose bytes from `offset` on may change. The caller holds `staging`."""
        if file.staged is None:
            await self._stage(file, file.inode.item.size or 0)
        elif not file.staged.can_change_from(offset):
            await self._clone(file, file.staged, file.staged.size)
        assert file.staged is not None
        return file.staged

    async def truncate(self, handle: Handle, size: int) -> None:
        """ftruncate: the staged file gets this size."""
        file = handle.file
        async with file.staging:
            handle.has_written = True
            if file.staged is None:
                await self._stage(file, min(size, file.inode.item.size or 0))
            elif not file.staged.can_change_from(min(size, file.staged.size)):
                await self._clone(file, file.staged, min(size, file.staged.size))
            assert file.staged is not None
            size_before = file.staged.size
            file.staged.truncate(size)
            writing = self._writing(file, file.staged)
            self._sync.early.note_truncated(file.staged, size_before, size, writing)
            if file.basis is not None:
                file.basis.cut(size)
                self._close_basis_if_complete(file)

    def _writing(self, file: OpenFile, staged: Staged) -> Writing:
        """A staged file that is written now, for who sends it behind its writer."""

        def name() -> str | None:
            inode = file.inode
            is_for_orion = inode.is_attached and inode.item.kind is Kind.FILE
            is_litter = self._sync.holding.names.is_litter(inode.name)
            return inode.local_path() if is_for_orion and not is_litter else None

        return Writing(staged, name, partial(self._have, file, staged))

    async def _have(self, file: OpenFile, staged: Staged, end: int) -> None:
        """Have all before `end` in a staged file, for as long as it is that of the open file."""
        while file.staged is staged and (basis := file.basis) is not None and basis.gaps(0, end):
            await basis.fetch(end=end)
            async with file.staging:
                if file.basis is basis:
                    await basis.fill(end)
                    if file.basis is basis:  # nobody has let go of the file meanwhile
                        self._close_basis_if_complete(file)

    async def complete(self, file: OpenFile) -> None:
        """Have all bytes in the staged file, as it must be to be sealed. Raises Stale, NoSpace and others."""
        while file.basis is not None:
            try:
                await file.basis.fetch()
            except NoSpace:  # not all of it fits twice
                await self._complete_piece(file, file.basis)
                continue
            async with file.staging:
                if file.basis is not None:
                    await file.basis.fill()
                    self._close_basis_if_complete(file)

    async def _complete_piece(self, file: OpenFile, basis: Basis) -> None:
        brought = await basis.next_piece()
        async with file.staging:
            if file.basis is basis:
                basis.put(brought)
                self._close_basis_if_complete(file)

    async def make_readable(self, file: OpenFile, limit_bytes: int) -> bool:
        """Have all of a file on this machine; False if it has no room, or more than the limit is missing."""
        try:
            if file.staged is not None:
                return file.basis is None or await file.basis.fetch(limit_bytes)
            source = self.source(file)
            if source.entry.size > limit_bytes and not source.entry.is_complete:
                return False
            await self._fetcher.ensure(source, 0, source.entry.size)
        except NoSpace:
            return False
        return True

    def leave_staged(self, file: OpenFile) -> None:
        """The file has no staged bytes any more: they are on Orion, or nobody wants them."""
        assert file.staged is not None
        self._close_basis(file)
        self.drop(file.staged)
        file.staged = None

    def keep_staged(self, file: OpenFile) -> None:
        """The file is let go of, but its staged bytes stay on the disk, for the next mount to find."""
        assert file.staged is not None
        self._close_basis(file)
        self._sync.early.leave(file.staged)
        file.staged.close()
        file.staged = None

    async def _stage(self, file: OpenFile, keep: int) -> None:
        """Begin to write a version that is on Orion: its first `keep` bytes show until they are changed.

        They come later, so that there is room for them is seen to now. Raises NoSpace.
        """
        if keep and not self._sync.staged.has_room(keep):
            await self._fetcher.make_room()
            if not self._sync.staged.has_room(keep):
                raise NoSpace(f"staging: no room for the {keep} bytes that are to be changed")
        staged = self._sync.staged.new(has_gaps=bool(keep))
        try:
            if keep:
                source = self.source(file)
                staged.truncate(keep)
                staged.is_dirty = False
                file.basis, file.source = Basis(self._fetcher, source, staged, keep), None
        except BaseException:
            self.drop(staged)
            raise
        file.staged = staged

    def _close_basis_if_complete(self, file: OpenFile) -> None:
        if file.basis is not None and file.basis.is_complete:
            assert file.staged is not None
            self._sync.staged.filled(file.staged)
            self._close_basis(file)

    def _close_basis(self, file: OpenFile) -> None:
        if file.basis is not None:
            file.basis.close()
            file.basis = None

    async def _clone(self, file: OpenFile, old: Staged, keep: int) -> None:
        """Go on in a copy: what is sealed does not change."""
        staged = self._sync.staged.new()
        source_fd = os.dup(old.fd)  # the old file is let go of when its upload ends, perhaps meanwhile
        staged.is_dirty = old.is_dirty
        try:
            await trio.to_thread.run_sync(copy_range, source_fd, staged.fd, keep)
        except BaseException:
            self.drop(staged)
            raise
        finally:
            os.close(source_fd)
        staged.size = keep
        if file.staged is old:
            self._sync.early.moved(old, staged, self._writing(file, staged))
            self.drop(old)
        file.staged = staged

    def drop(self, staged: Staged) -> None:
        self._sync.early.leave(staged)
        staged.close()
        self._sync.staged.release(staged.path.name)
