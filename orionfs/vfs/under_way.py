"""The version of each file that Orion is yet to get, or that stays here: sealed, adopted, in place at last.

Part of `files`, which knows what is open. Ties inodes to the uploads of `sync`, and tells the namespace when
one is in place. Must not know handles or FUSE.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from functools import partial

from orionfs.cache.content import Staged
from orionfs.durable.journal import UploadRow, UploadStep
from orionfs.marks import new_mark
from orionfs.models import InodeNumber, Item, LocalAttributes
from orionfs.outgoing.parking import Parking
from orionfs.outgoing.shard_rules import mark_for
from orionfs.outgoing.sync import Sync
from orionfs.outgoing.upload import Upload, UploadState
from orionfs.tables.inodes import Inode
from orionfs.tree.namespace import Namespace
from orionfs.tree.places import place_of
from orionfs.vfs.versions import kept_version, new_version


class _InPlaceError(Exception):
    """The version before is over, so nothing supersedes it."""


@dataclass(frozen=True, slots=True)
class KeptVersion:
    """A version that was under way of a file, and can be promised again although it was cancelled."""

    inode: Inode
    promise_again: Callable[[], Awaitable[None]]


class UnderWay:
    """The newest version under way of each inode of one mount."""

    def __init__(
        self, namespace: Namespace, sync: Sync, parking: Parking, leave: Callable[[Inode, Upload], bool]
    ) -> None:
        """`leave` lets an open file read what is in place now; True if it has newer bytes than that."""
        self._namespace = namespace
        self._sync = sync
        self._parking = parking
        self._leave = leave
        self._uploads: dict[InodeNumber, Upload] = {}
        self.before_placing: Callable[[Upload], Awaitable[None]] = _nothing
        """What must be done before a version replaces anything."""

    def of(self, inode: Inode) -> Upload | None:
        """The newest version of an inode that is not in place yet."""
        return self._uploads.get(inode.number)

    async def seal(self, inode: Inode, staged: Staged) -> Upload:
        """Promise what is staged now, which is whole. The caller sees to it that nobody else does."""
        await self._sync.early.until_begun(staged)
        try:
            upload = await self._sync.seal(
                lambda: self._row(inode, staged), staged, self._on_placed(inode), self.of(inode)
            )
        except BaseException:
            self._sync.early.disclaim(staged)
            raise
        self._attach(inode, upload)
        if upload.state is UploadState.LOCAL and inode.item.key is not None:
            self._namespace.commit_own(inode, replace(inode.item, id=None, mark=upload.row.mark))
        return upload

    async def keep_here(self, inode: Inode, folder: str, name: str) -> bool:
        """The version under way of an inode stays on this machine, under another name.

        False if it got its place on Orion just now: then its bytes are those of an item like any other.
        """
        before = self._uploads[inode.number]

        def kept_row() -> UploadRow:
            if before.is_over:
                raise _InPlaceError
            return kept_version(before.row, folder, name)

        staged = self._sync.staged.open(before.row.staged, before.row.size_bytes)
        try:
            upload = await self._sync.seal(kept_row, staged, self._on_placed(inode), before)
        except _InPlaceError:
            return False
        finally:
            staged.close()
            self._sync.staged.release(staged.path.name)
        upload.staged = before.staged  # the one that its writer goes on with
        self._attach(inode, upload)
        return True

    @asynccontextmanager
    async def still(self, *inodes: Inode) -> AsyncIterator[None]:
        """No version of these gets its place meanwhile: what is asked of Orion decides whether it is to."""
        while True:
            uploads = self._of_all(inodes)
            async with AsyncExitStack() as stack:
                for upload in uploads:
                    await stack.enter_async_context(upload.placing)
                if uploads == self._of_all(inodes):
                    yield
                    return

    def _of_all(self, inodes: Sequence[Inode]) -> list[Upload]:
        """What is under way of several, in the order in which whoever holds several has to wait for them."""
        found = {upload.nth: upload for inode in inodes if (upload := self.of(inode)) is not None}
        return [found[nth] for nth in sorted(found)]

    @contextmanager
    def kept(self, inode: Inode | None) -> Iterator[KeptVersion | None]:
        """The bytes of what is under way of a file stay here meanwhile; None if that is nothing."""
        upload = self.of(inode) if inode is not None else None
        if inode is None or upload is None or upload.is_over:
            yield None
            return
        staged = self._sync.staged.open(upload.row.staged, upload.row.size_bytes)
        inode.pins += 1
        try:
            yield KeptVersion(inode, partial(self._promise_again, inode, upload, staged))
        finally:
            staged.close()
            self._sync.staged.release(staged.path.name)
            inode.pins -= 1
            self._namespace.inodes.collect(inode)

    async def _promise_again(self, inode: Inode, before: Upload, staged: Staged) -> None:
        parent, _ = place_of(inode)
        step = UploadStep.LOCAL if before.row.step is UploadStep.LOCAL else UploadStep.SEALED
        mark = mark_for(parent.item, new_mark())
        row = replace(before.row, mark=mark, step=step, new_id=None)
        upload = await self._sync.seal(lambda: row, staged, self._on_placed(inode))
        upload.staged = before.staged  # the one that its writer goes on with
        self._attach(inode, upload)
        self._sync.carry_soon(upload)

    async def cancel(self, inode: Inode) -> None:
        """The file was removed: its version under way is not wanted any more. It may be held `still`."""
        upload = self.of(inode)
        if upload is not None:
            await self._sync.cancel(upload)
            self._detach(inode, upload)

    def adopt(self, inode: Inode, row: UploadRow) -> None:
        """A version that an earlier daemon sealed goes on."""
        upload = self._sync.adopt(row, self._on_placed(inode))
        self._attach(inode, upload)
        self._sync.carry_soon(upload)

    async def write_down(self, inode: Inode, local: LocalAttributes) -> None:
        """Keep what only this machine knows of a file, where something of the file is kept."""
        upload = self.of(inode)
        if inode.item.key is not None:
            await self._sync.set_local(inode.item.key, local)
        elif upload is not None and upload.state is UploadState.LOCAL:
            row = replace(upload.row, mtime_ns=local.mtime_ns or 0, permissions=local.permissions)
            await self._sync.rewrite(upload, row)

    def _row(self, inode: Inode, staged: Staged) -> UploadRow:
        parent, _ = place_of(inode)
        mark = mark_for(parent.item, new_mark())
        row = new_version(inode, parent.orion_path(), mark, staged, self.of(inode), self._parking)
        return self._sync.early.claim(staged, row)

    def _on_placed(self, inode: Inode) -> Callable[[Upload, Item], None]:
        return partial(self._commit_placed, inode)

    def _commit_placed(self, inode: Inode, upload: Upload, item: Item) -> None:
        """Orion has the version under its name: other id, same inode; no await."""
        is_still_written = self._leave(inode, upload)
        self._parking.taken(upload.row.replaces)
        wanted = inode.item.tags if inode.item.tags is not None else item.tags or ()
        placed = replace(item, tags=wanted)
        if upload.conflict is not None:
            self._namespace.rivals.give_way(inode, placed.name, upload.theirs)
        elif upload.row.replaces is None and inode.item.key is not None:
            self._namespace.rivals.spare(inode)
        self._namespace.commit_version(
            inode, placed, is_still_written=is_still_written, replaces=upload.row.replaces
        )
        if item.key is not None:
            there = item.tags or ()
            if set(wanted) != set(there):
                add = [tag for tag in wanted if tag not in there]
                self._sync.late_tags.soon(item.key, add, [tag for tag in there if tag not in wanted])
            if inode.local != LocalAttributes(upload.row.mtime_ns, upload.row.permissions):
                self._sync.write_down_soon(item.key, inode.local)
        self._detach(inode, upload)

    def _attach(self, inode: Inode, upload: Upload) -> None:
        if inode.number not in self._uploads:
            inode.pins += 1
        self._uploads[inode.number] = upload
        upload.heard = partial(self._namespace.rivals.heard, inode)
        upload.on_lost = partial(self._lose, inode, upload)
        upload.about = inode.number
        if upload.row.replaces is not None and upload.row.replaces == inode.item.key:
            upload.learn_tags = partial(self._namespace.tagging.commit, inode)
            upload.tell_tags = partial(self._namespace.tagging.learn, inode, upload.row.replaces)
        upload.before_placing = partial(self._before_placing, upload)
        upload.is_in_use = lambda: inode.opens > 0

    def _lose(self, inode: Inode, upload: Upload) -> None:
        """A rename was later than this version, as was found out: the name means what Orion has."""
        self._detach(inode, upload)
        self._namespace.rivals.lose(inode)

    async def _before_placing(self, upload: Upload) -> None:
        await self.before_placing(upload)

    def _detach(self, inode: Inode, upload: Upload) -> None:
        if self._uploads.get(inode.number) is upload:
            del self._uploads[inode.number]
            inode.pins -= 1
            self._namespace.inodes.collect(inode)


async def _nothing(upload: Upload) -> None:
    """Most uploads need no more than themselves."""
