"""Open files: read, write, truncate, flush; what of a file's contents is here and what is on its way.

One `OpenFile` an inode, shared by its handles. Bytes written go to a staged file; flush, fsync and a
truncate by path seal a version and carry it to Orion (`sync`). An uploaded version stays readable from
the staged file until it is in place. Knows inodes as identities; must not know FUSE or listings.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import trio

from orionfs.cache.content import Staged
from orionfs.cache.fetch import Fetcher
from orionfs.durable.journal import Removal
from orionfs.errors import (
    AccessDenied,
    Busy,
    InvalidCall,
    IsADirectory,
    NoSuchName,
    NotSupported,
    OrionFsError,
    Stale,
)
from orionfs.models import HandleId, InodeNumber, Kind
from orionfs.outgoing.parking import Parking
from orionfs.outgoing.removals import OnEnd
from orionfs.outgoing.shard_rules import check_open, check_size
from orionfs.outgoing.sync import Sync
from orionfs.outgoing.upload import Upload, UploadState
from orionfs.tables.inodes import Inode
from orionfs.tables.metadata import UNKNOWN_SIZE_BYTES
from orionfs.tree.namespace import Namespace
from orionfs.vfs.late_opens import LateOpens
from orionfs.vfs.opening import Opening, needs_what_is_there
from orionfs.vfs.staging import Handle, OpenFile, Staging
from orionfs.vfs.under_way import UnderWay
from orionfs.vfs.unsealed import Unsealed

log = logging.getLogger(__name__)

_UPLOAD_EVERY_S = 10.0  # while a file stays open, each exit of a child that has it is a flush


class Files:
    """The open files of one mount."""

    def __init__(self, namespace: Namespace, sync: Sync, fetcher: Fetcher, opening: Opening) -> None:
        self._namespace = namespace
        namespace.on_tagged = self._note_tags
        self._sync = sync
        self._fetcher = fetcher
        self._opening = opening
        self._staging = Staging(sync, fetcher)
        self._unsealed = Unsealed(sync, self._staging, namespace.rivals, self._seal_behind, self._let_go)
        self.parking = Parking(namespace.inodes, sync.journal, sync.unseen, sync.holding.names)
        self.under_way = UnderWay(namespace, sync, self.parking, self._leave_uploaded)
        self._late = LateOpens(namespace, sync, fetcher, opening, self.under_way)
        self._numbers = itertools.count(1)
        self._handles: dict[HandleId, Handle] = {}
        self._files: dict[InodeNumber, OpenFile] = {}
        self._doomed: dict[InodeNumber, tuple[Removal, OnEnd]] = {}  # removed at the last close
        self.on_open: list[Callable[[Inode, bool], None]] = []
        """Told of every file that is opened for reading, and whether all of it is here."""

    # Handles

    async def open(self, inode: Inode, flags: int) -> HandleId:
        """Open a file; O_TRUNC empties it here, and on Orion with the next flush."""
        if inode.children is not None:
            raise IsADirectory(inode.local_path())
        may_write = flags & os.O_ACCMODE != os.O_RDONLY or bool(flags & os.O_TRUNC)
        if may_write and inode.item.kind not in (Kind.FILE, Kind.SHARD):
            word = inode.item.kind.value
            raise AccessDenied(f"{inode.local_path()}: to write a {word}: orionfs put --as {word}")
        if may_write and inode.parent is not None:
            check_open(inode.parent)
        if inode.item.kind not in (Kind.FILE, Kind.DATASET, Kind.SHARD):
            raise NotSupported(f"{inode.local_path()}: a {inode.item.literal} can't be opened")
        handle_id = self._new_handle(inode)
        if inode.given is not None:
            return handle_id
        self._handles[handle_id].is_appending = bool(flags & os.O_APPEND)
        try:
            await self._make_ready(self._handles[handle_id], flags, may_write=may_write)
            if flags & os.O_TRUNC:
                await self._truncate(self._handles[handle_id], 0)
                self._handles[handle_id].expects_data = True
        except BaseException:
            await self.release(handle_id)
            raise
        return handle_id

    def keeps_pages(self, handle_id: HandleId) -> bool:
        """True if what the kernel holds of a file that was just opened is still so."""
        handle = self._handles[handle_id]
        return handle.keeps_pages and handle.file.keeps_pages

    def create(self, inode: Inode, flags: int = 0) -> HandleId:
        """Open a file that was just made here; its first flush puts it on Orion."""
        handle_id = self._new_handle(inode)
        handle = self._handles[handle_id]
        handle.is_appending = bool(flags & os.O_APPEND)
        if handle.file.staged is None:
            try:
                handle.file.staged = self._sync.staged.new()
            except OrionFsError:
                del self._handles[handle_id]
                self._let_go(handle.file)
                raise
            handle.file.staged.is_dirty = handle.has_written = True
            handle.expects_data = bool(flags & os.O_TRUNC)
        hidden = self.parking.at(inode.parent, inode.item.name)
        if hidden is not None and inode.item.key is None:
            self._namespace.commit_own(inode, replace(inode.item, tags=hidden.item.tags))
        return handle_id

    async def read(self, handle_id: HandleId, offset: int, size: int) -> bytes:
        """Bytes at `offset`; short only at the end of the file."""
        handle = self._handles[handle_id]
        file = handle.file
        if file.inode.given is not None:
            return file.inode.given[offset : offset + size]
        return await self._staging.read(handle, offset, size)

    async def write(self, handle_id: HandleId, offset: int, data: bytes) -> int:
        """Stage bytes. Raises NoSpace; what was there before stays whole."""
        handle = self._handles[handle_id]
        check_size(handle.file.inode, offset + len(data))
        size = await self._staging.write(handle, offset, data)
        self._namespace.note_written(handle.file.inode, size)
        return len(data)

    def is_behind(self, handle_id: HandleId) -> bool:
        """True if the next write is to wait `until_room`: too little of what was written has left."""
        file = self._handles[handle_id].file
        return file.staged is not None and self._sync.early.is_behind(file.staged)

    async def until_room(self, handle_id: HandleId) -> None:
        """Wait until enough has left, though not for ever; so `close` has no more than that to send."""
        file = self._handles[handle_id].file
        if file.staged is not None:
            await self._sync.early.until_room(file.staged)

    async def truncate(self, inode: Inode, size: int, handle_id: HandleId | None) -> None:
        """ftruncate by handle; by path it seals a version of its own."""
        if handle_id is not None:
            await self._truncate(self._handles[handle_id], size)
            return
        own_handle = await self.open(inode, os.O_WRONLY)
        try:
            await self._truncate(self._handles[own_handle], size)
            await self.flush(own_handle)
        finally:
            await self.release(own_handle)

    async def _truncate(self, handle: Handle, size: int) -> None:
        check_size(handle.file.inode, size)
        await self._staging.truncate(handle, size)
        self._namespace.note_written(handle.file.inode, size)

    async def flush(self, handle_id: HandleId) -> None:
        """close(2): what was written through this handle is on Orion when this returns, or promised.

        After an open that truncated, nothing is sealed before something is written, or the last close:
        a shell closes a copy of the descriptor first, and must not leave an empty version if it dies.
        """
        handle = self._handles[handle_id]
        if handle.has_written and not handle.expects_data:
            await self._publish(handle)
        handle.check_behind()

    async def fsync(self, handle_id: HandleId) -> None:
        """fsync(2): all that was written to the file, through whichever handle, is on Orion then."""
        handle = self._handles[handle_id]
        await self._publish(handle)
        handle.check_behind()
        upload = self.under_way.of(handle.file.inode)
        if upload is not None and self._sync.is_write_back:
            await self._sync.carry(upload)

    async def _publish(self, handle: Handle) -> None:
        """Seal what is staged and carry it to Orion, or with write-back have it carried there.

        While a handle stays open its second and later versions go up behind it, at most one in 10 s: every
        exit of a child that inherited the descriptor is a flush too, and can't be told apart.
        """
        async with handle.file.flushing:
            upload = await self._version_to_carry(handle)
            if upload is None:
                return
            handle.has_written = False
            if handle.turn_s is not None:
                now_s = trio.current_time()
                if handle.turn_s <= now_s:
                    handle.turn_s = max(handle.turn_s + _UPLOAD_EVERY_S, now_s)
                self._sync.carry_soon(upload, handle.turn_s - now_s)
                handle.goes_behind(upload)
                return
            if self._sync.is_write_back:
                self._sync.carry_soon(upload)
                handle.goes_behind(upload)
                handle.turn_s = trio.current_time()
                return
            try:
                await self._sync.carry(upload)
            except BaseException:
                handle.has_written, handle.failed = True, upload  # who asks again gets no success
                raise
            handle.turn_s = trio.current_time()

    async def _version_to_carry(self, handle: Handle) -> Upload | None:
        """What is staged now, sealed; or the version that failed before. The caller holds `flushing`."""
        file = handle.file
        if not file.inode.is_attached:
            return None
        if file.staged is not None and file.staged.is_dirty:
            try:
                return await self._seal(file, file.staged)
            except NoSuchName:  # unlinked while this waited
                return None
        if handle.failed is not None and not handle.failed.is_over:
            return handle.failed
        upload = self.under_way.of(file.inode)
        is_owed = upload is not None and (handle.has_written or upload.state is UploadState.FAILED)
        return upload if is_owed else None  # somebody else has sealed what this handle wrote

    async def release(self, handle_id: HandleId) -> None:
        """The last reference of a handle is gone; what nobody flushed is sealed and goes up behind this."""
        file = self._handles.pop(handle_id).file
        if file.handles > 1:
            self._let_go(file)
            return
        with trio.CancelScope(shield=True):  # whoever gives up here, the file is let go of
            async with file.flushing:
                try:
                    if file.handles == 1:
                        await self._seal_behind(file)
                except OrionFsError as error:
                    self._unsealed.take(file, error)
                finally:
                    self._let_go(file)

    async def seal_all(self) -> None:
        """The mount ends: everything that was written is promised to Orion, as far as that can be."""
        for file in list(self._files.values()):
            async with file.flushing:
                try:
                    await self._seal_behind(file)
                except OrionFsError as error:
                    log.warning("%s can't be uploaded yet: %s", file.inode.local_path(), error)

    def inode_of(self, handle: int) -> Inode | None:
        """What a handle is open for, if it is open."""
        found = self._handles.get(HandleId(handle))
        return found.file.inode if found is not None else None

    async def _note_tags(self, inode: Inode) -> None:
        """The tags of an inode have changed: a version under way gets them with its name."""
        upload = self.under_way.of(inode)
        if upload is not None and not upload.is_over:
            await self._sync.late_tags.retag(upload, inode.item.tags or ())

    def is_dirty(self, inode: Inode) -> bool:
        """True while something was written to an open file that nobody has sealed yet."""
        file = self._files.get(inode.number)
        return file is not None and file.staged is not None and file.staged.is_dirty

    # Contents without a handle

    @contextlib.asynccontextmanager
    async def not_sealing(self, *inodes: Inode) -> AsyncIterator[None]:
        """While names change nobody seals a version of them: it would go to a name that is no more."""
        numbers = sorted({inode.number for inode in inodes})
        async with contextlib.AsyncExitStack() as stack:
            for number in numbers:
                file = self._files.get(number)
                if file is not None:
                    await stack.enter_async_context(file.sealing)
            with self._late.taking_names(numbers):
                yield

    async def make_readable(self, inode: Inode, limit_bytes: int) -> bool:
        """Have all of an open file here before its item goes; False if it is larger than the limit."""
        file = self._files.get(inode.number)
        if file is None or inode.item.key is None:
            return True
        return await self._staging.make_readable(file, limit_bytes)

    def remove_at_last_close(self, inode: Inode, removal: Removal, on_end: OnEnd) -> None:
        """An unlinked file that is too large to fetch stays on Orion while somebody reads it."""
        self._doomed[inode.number] = (removal, on_end)

    def upload_of(self, inode: Inode) -> Upload | None:
        """The newest version of an inode that is not in place yet."""
        return self.under_way.of(inode)

    async def until_uploaded(self, inode: Inode) -> None:
        """Wait until Orion has an item for an inode: what is under way goes there now.

        Raises what keeps it here: Busy while it is written for the first time, InvalidCall for its name.
        """
        upload = self.upload_of(inode)
        if upload is not None and not upload.is_over:
            await self._sync.carry(upload)
        if inode.item.key is None and self.parking.stays_here(inode):
            raise InvalidCall(f"{inode.local_path()} stays on this machine while it has this name")
        if inode.item.key is None:
            raise Busy(f"{inode.local_path()} is being written, and on Orion only once it is closed")

    async def publish(self, inode: Inode) -> None:
        """A file that Orion has not heard of yet (mknod, or open and never flushed) goes there now."""
        handle_id = self.create(inode)
        try:
            await self._publish(self._handles[handle_id])
        finally:
            await self.release(handle_id)

    async def set_local(self, inode: Inode, mtime_ns: int | None, permissions: int | None) -> None:
        """utimens and chmod, kept across restarts for what Orion has an id for."""
        await self.under_way.write_down(inode, self._namespace.set_local(inode, mtime_ns, permissions))

    # Sealing

    async def _seal(self, file: OpenFile, staged: Staged) -> Upload:
        """Promise what is staged now, completed. The caller holds `flushing`."""
        await self._staging.complete(file)
        async with file.sealing:
            return await self.under_way.seal(file.inode, staged)

    async def _seal_behind(self, file: OpenFile) -> None:
        if file.staged is not None and file.staged.is_dirty and file.inode.is_attached:
            with contextlib.suppress(NoSuchName):  # unlinked while this waited
                self._sync.carry_soon(await self._seal(file, file.staged))

    def _leave_uploaded(self, inode: Inode, upload: Upload) -> bool:
        """The staged file has become a cache file, unless it was written to since (True); reads go there."""
        file = self._files.get(inode.number)
        if file is None:
            return False
        staged = file.staged
        is_now = (staged.path.name, staged.size, staged.is_dirty) if staged is not None else None
        if is_now == (upload.row.staged, upload.row.size_bytes, False):
            self._staging.leave_staged(file)
        if file.source is not None:
            self._fetcher.close(file.source)
            file.source = None
        return file.staged is not None

    # Open files

    def _new_handle(self, inode: Inode) -> HandleId:
        file = self._files.get(inode.number)
        if file is None:
            file = self._files[inode.number] = OpenFile(inode)
            upload = self.under_way.of(inode)
            if upload is not None:
                file.staged = self._sync.staged.open(upload.row.staged, upload.row.size_bytes)
        file.handles += 1
        inode.opens += 1
        handle_id = HandleId(next(self._numbers))
        self._handles[handle_id] = Handle(file)
        return handle_id

    def _let_go(self, file: OpenFile) -> None:
        file.handles -= 1
        file.inode.opens -= 1
        if file.handles:
            return
        self._files.pop(file.inode.number, None)
        if file.staged is not None:
            self._staging.leave_staged(file)
        if file.source is not None:
            self._fetcher.close(file.source)
        upload = self.under_way.of(file.inode)
        if upload is not None and upload.state is UploadState.WAITING:
            upload.hurry.set()
        doomed = self._doomed.pop(file.inode.number, None)
        if doomed is not None:
            self._sync.removals.resume(*doomed)
        self._namespace.inodes.collect(file.inode)

    async def _make_ready(self, handle: Handle, flags: int, *, may_write: bool) -> None:
        """Have here what an open needs to go on. Raises Stale where the kernel must look again."""
        file = handle.file
        while True:
            item, staged = file.inode.item, file.staged
            try:
                await self._begin(handle, flags)
                break
            except Stale:
                is_another = not file.inode.item.is_same_version(item) or file.staged is not staged
                if is_another or (not may_write and await self._late.succeed(file)):
                    continue
                await self._late.until_settled(file.inode)
                self._namespace.doubt(file.inode)
                raise
        async with file.succeeding:
            file.is_begun = True

    async def _begin(self, handle: Handle, flags: int) -> None:
        inode = handle.file.inode
        if self._opening.is_due(inode) and not flags & os.O_TRUNC:
            if inode.item.size is None:
                handle.file.told_end = UNKNOWN_SIZE_BYTES
            await self._opening.find_out(handle)
        elif needs_what_is_there(flags):
            await self._begin_to_read(handle.file)

    async def _begin_to_read(self, file: OpenFile) -> None:
        """Have the first bytes here: a version that is gone is noticed by open."""
        if self._late.is_lost(file):
            raise Stale(f"{file.inode.local_path()}: its last version was replaced before it was on Orion")
        source = None
        if file.staged is None and (file.inode.item.size or file.inode.item.key is None):
            source = self._staging.source(file)
        for opened in self.on_open:
            opened(file.inode, source is None or source.entry.is_complete)
        if source is not None:
            await self._fetcher.begin(source)
