"""Carries changes of contents out against `remote`: one path for all of them.

An upload is sealed in the journal first. Through = seal it and await `carry`; in the background = seal
it and call `carry_soon`. Owns what is pending, when it is tried again, and which staged files are
still needed. Must not know inodes: who asked is told by a callback, in the trio thread.
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import trio

from orionfs.cache.content import ContentCache, Staged
from orionfs.durable.journal import Journal, UploadRow, rewritten
from orionfs.durable.journal_thread import JournalThread
from orionfs.errors import OrionFsError
from orionfs.localnames import LocalNames
from orionfs.models import Item, Key, Kind, LocalAttributes
from orionfs.orion.remote import Health, Remote
from orionfs.outgoing.assigning import Assigner
from orionfs.outgoing.attempts import Attempts
from orionfs.outgoing.behind import Behind
from orionfs.outgoing.carry import Carrier
from orionfs.outgoing.early import EarlyUploads, Means, Pressure
from orionfs.outgoing.holding import Holding
from orionfs.outgoing.lanes import Lanes
from orionfs.outgoing.late_tags import LateTags
from orionfs.outgoing.moving import MovingFolders
from orionfs.outgoing.order import Order
from orionfs.outgoing.relocating import Relocator
from orionfs.outgoing.relocation import is_below
from orionfs.outgoing.removals import Removals
from orionfs.outgoing.renames import Renames
from orionfs.outgoing.shares import Shares
from orionfs.outgoing.staged_files import StagedFiles
from orionfs.outgoing.upload import Upload, UploadState
from orionfs.reports import Reports
from orionfs.tasks import Background, Steps

log = logging.getLogger(__name__)
_PROGRESS_EVERY_S = 0.5


class Sync:
    """All uploads and removals that this daemon has promised."""

    def __init__(
        self,
        remote: Remote,
        journal: Journal,
        content: ContentCache,
        staging: Path,
        home: str,
        reports: Reports | None = None,
        *,
        is_write_back: bool = False,
        names: LocalNames | None = None,
        pressure: Pressure | None = None,
    ) -> None:
        """`staging` is the folder of staged files, `home` the Orion folder where uploads land first.

        `reports` hears of what fails in the background. `is_write_back`: who changes something waits until
        it is promised, not until it is on Orion. `names` are those that Orion is not to see.
        """
        self._reports = reports if reports is not None else Reports()
        self.is_write_back = is_write_back
        self._remote = remote
        self._journal = self.journal = JournalThread(journal)
        self._content = content
        self.staging = staging
        self._uploads: dict[str, Upload] = {}  # mark -> upload that is not over
        # Items that nobody is shown, whatever a listing says: on their way to their name, or to be removed.
        self.unseen: set[Key] = set()
        self.assigner = Assigner(remote, self._journal, staging, home, self.unseen)
        self.shares = Shares(remote, self._journal)
        self._order = Order()
        self._lanes = Lanes(remote, self.assigner, self._order)
        self._background = Background()
        self.holding = Holding(names or LocalNames(), self._background, self.carry_soon)
        self._attempts = Attempts(
            remote, self._order, self._lanes, self._background, self._reports, self._uploads, self._carry
        )
        self.steps = Steps()
        self._behind = Behind(remote, self._background, self.steps.note)  # unsealed versions, late tags
        self.late_tags = LateTags(remote, self._journal, self._behind)
        means = Means.of(remote, self._journal, self._behind, self._background, home, pressure or Pressure())
        self.early = EarlyUploads(means, is_wanted=not is_write_back)
        self._moving = MovingFolders(self._uploads)
        self.staged = StagedFiles(staging)
        self.relocator = Relocator(remote, self.assigner, self._journal, self._background)
        self.relocator.on_end = self.steps.note
        self.removals = Removals(
            remote,
            self._journal,
            self._background,
            self._behind,
            self._reports,
            self.unseen,
            self._is_at_moving,
            self._has_uploads,
            self._forget,
            self.steps.note,
        )
        self.renames = self._new_renames()
        self._carrier = self._new_carrier(content, home)

    def _new_renames(self) -> Renames:
        return Renames(
            self._remote,
            self._journal,
            self.relocator,
            self._behind,
            self._uploads,
            self._set_cancelled,
            self._change_row,
            self.removals,
        )

    def _new_carrier(self, content: ContentCache, home: str) -> Carrier:
        return Carrier(
            self._remote,
            self.assigner,
            self._lanes,
            self.shares,
            self.late_tags,
            self._journal,
            content,
            self.staging,
            home,
            self._until_still,
            self._is_moving,
            self._attempts.sent,
            self.unseen,
            self.early,
            self.removals.remove_if_aside,
        )

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Home of everything in the background. Ends when cancelled; the journal has the rest."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._background.run)
            nursery.start_soon(self._wake_when_online)
            task_status.started()

    # What is promised

    @property
    def pending(self) -> list[Upload]:
        """Uploads that are to be on Orion and are not yet, in the order of sealing."""
        return [upload for upload in self._uploads.values() if upload.is_unfinished]

    @property
    def pending_count(self) -> int:
        return len(self.pending) + len(self.removals) + len(self.relocator.pending) + len(self._behind)

    async def seal(
        self,
        make_row: Callable[[], UploadRow],
        staged: Staged,
        on_placed: Callable[[Upload, Item], None],
        supersedes: Upload | None = None,
    ) -> Upload:
        """Promise what is staged now: bytes and intention are durable when this returns.

        `make_row` is asked when the version before it can't get its name any more, or has it.
        """
        async with supersedes.placing if supersedes is not None else nullcontext():
            old = supersedes if supersedes is not None and not supersedes.is_over else None
            upload = self._enter(Upload(make_row(), staged, on_placed), is_ordered=self.is_write_back)
            await self._write_seal(upload, staged, [old.row] if old else [])
            if old is not None:
                self._set_cancelled(old)
        return upload

    async def _write_seal(self, upload: Upload, staged: Staged, superseded: list[UploadRow]) -> None:
        descriptor = os.dup(staged.fd)  # its owner may go on in a copy, and let go of this one, meanwhile
        staged.seal()
        try:
            await self._journal.seal(upload.row, descriptor, superseded, self.staging)
        except BaseException:
            staged.is_dirty = True
            await self._over(upload)
            raise
        finally:
            os.close(descriptor)

    def adopt(self, row: UploadRow, on_placed: Callable[[Upload, Item], None]) -> Upload:
        """A version that an earlier daemon sealed."""
        upload = self._enter(Upload(row, None, on_placed), is_ordered=True)
        upload.adopted(self._remote.recent)
        return upload

    async def hide_half_made(self, row: UploadRow) -> None:
        """Nobody is shown what an earlier daemon has made of a version, and not finished."""
        uploaded = Key(Kind.FILE, row.new_id) if row.new_id is not None else None
        key = await self._carrier.shards.made_for(row) or uploaded
        if key is not None:
            self.unseen.add(key)

    # Carrying out

    async def carry(self, upload: Upload) -> None:
        """Carry an upload out now. An error leaves it to the background, and is raised, as is a conflict."""
        if upload.state is not UploadState.LOCAL:
            await self._attempts.now(upload)
        if upload.conflict is not None:
            raise upload.conflict

    def carry_soon(self, upload: Upload, delay_s: float = 0.0) -> None:
        """Carry an upload out in the background, again and again until it is over."""
        if upload.state is not UploadState.LOCAL:
            self._attempts.soon(upload, delay_s)

    def retry(self, upload: Upload) -> None:
        """What was refused gets one more attempt, and what waits for its time makes it now."""
        self._attempts.retry(upload)

    async def retarget(
        self, upload: Upload, folder: str, name: str, replaces: Key | None, over: Upload | None = None
    ) -> None:
        """A version gets another name, where `over` ends at once. The caller holds `placing` of both."""
        mark, ended = upload.row.mark, over.row.mark if over is not None else None
        await self._journal.run(lambda journal: journal.retarget(mark, folder, name, replaces, ended))
        if over is not None:
            self._set_cancelled(over)
        self._rename(upload, replace(upload.row, folder=folder, name=name, replaces=replaces))

    async def rewrite(self, upload: Upload, row: UploadRow) -> None:
        """All of a version is another but its bytes, and how far they are. The caller holds `placing`."""
        await self._journal.run(lambda journal: journal.rewrite(row))
        self._rename(upload, rewritten(upload.row, row))

    def _rename(self, upload: Upload, row: UploadRow) -> None:
        """A version has another name, which may be its first that Orion is to see, or none that it is to."""
        was_shown, rested = upload.is_shown, upload.rests
        self._change_row(upload, row)
        self.holding.classify(upload)
        if not upload.is_shown:
            self._order.leave(row.mark)
        elif not was_shown and self.is_write_back:
            self._order.enter(row.mark, row.folder, row.size_bytes)
        if rested:
            self.carry_soon(upload)

    def is_replacing(self, key: Key) -> bool:
        """True if a version is under way to the place of an item."""
        return any(upload.row.replaces == key for upload in self._uploads.values() if not upload.is_over)

    @asynccontextmanager
    async def moving_folder(self, old: str) -> AsyncIterator[None]:
        """While a folder moves on Orion, nothing gets its place in it or below.

        In the block `renames` hears that it has moved, or may have, or `folder_moved` is called.
        """
        try:
            async with self._moving.moving(old):
                await self.removals.until_no_call(old)
                yield
        finally:
            self.removals.go_on()

    async def folder_moved(self, old: str, new: str) -> None:
        """What is under way to a folder or below it goes along to where it is being made again."""
        for upload in self._uploads.values():
            if is_below(upload.row.folder, old):
                self._change_row(upload, replace(upload.row, folder=new + upload.row.folder[len(old) :]))
        self.removals.moved(old, new)
        self.renames.moved(old, new)
        await self._journal.run(lambda journal: journal.move_folder(old, new))

    def _change_row(self, upload: Upload, row: UploadRow) -> None:
        """A version goes elsewhere."""
        before, upload.row = upload.row.folder, row
        self._order.move(row.mark, row.folder)
        for folder in (before, row.folder):
            self._lanes.tell(folder)

    async def _until_still(self, upload: Upload) -> None:
        """Wait for an upload's turn, and while its folder is moving. Raises Busy where that takes long."""
        while not upload.is_over and (self._is_moving(upload) or not self._has_turn(upload)):
            await self._lanes.until_turn(upload.row.mark, upload.row.folder)
            await self._moving.until_moved(upload)
            await self.until_free(upload.row.path)

    def _has_turn(self, upload: Upload) -> bool:
        return self._lanes.has_turn(upload.row.mark) and not self.removals.is_at(upload.row.path)

    def _has_uploads(self, folder: str) -> bool:
        uploads = (upload for upload in self._uploads.values() if upload.state is not UploadState.LOCAL)
        return any(is_below(upload.row.folder, folder) for upload in uploads)

    def _is_at_moving(self, path: str) -> bool:
        is_relocated = self.relocator.moves.blocking(path, is_deep=False) is not None
        return is_relocated or self._moving.holds(path) or self.renames.is_at(path)

    def _is_moving(self, upload: Upload) -> bool:
        return self._is_at_moving(upload.row.path)

    async def cancel(self, upload: Upload) -> None:
        """The version is not wanted any more; what it leaves on Orion is removed behind this."""
        async with nullcontext() if upload.is_placing_ours else upload.placing:
            if upload.is_over:
                return
            is_durable = not self.is_write_back
            await self._journal.run(lambda journal: journal.cancel(upload.row.mark, is_durable=is_durable))
            self._set_cancelled(upload)

    async def until_free(self, path: str, *, is_deep: bool = False) -> None:
        """Wait until nothing that was promised is in the way of a change of the name at a path.

        `is_deep`: of what is below it as well. Raises Busy after a while, Unreachable while offline.
        """
        await self.removals.until_free(path, is_deep=is_deep)
        await self.until_known(path, is_deep=is_deep)

    async def until_known(self, path: str, *, is_deep: bool = False) -> None:
        """The same for renames only, of items and of folders."""
        await self.renames.until_free(path, is_deep=is_deep)
        await self.relocator.until_free(path, is_deep=is_deep)

    def has_changes_below(self, folder: str) -> bool:
        """True if something that was promised in a folder, or below it, is not on Orion yet."""
        return self.removals.has_below(folder) or self._has_uploads(folder)

    def write_down_soon(self, key: Key, local: LocalAttributes | None) -> None:
        """Write down, behind the caller, what only this machine knows of an item (None: forget it)."""
        self._background.start(f"note on {key.kind.value} {key.id}", partial(self.set_local, key, local))

    def item_removed(self, key: Key) -> None:
        """An item is gone from Orion: forget its bytes, and what only this machine knew of it."""
        self._forget(key)
        self.write_down_soon(key, None)

    def _forget(self, key: Key) -> None:
        self._content.forget(key)
        self.shares.gone(key)

    def resume_cancelled(self, row: UploadRow) -> None:
        """A cancelled version of an earlier daemon: remove what it left."""
        if row.new_id is not None:
            self.unseen.add(Key(Kind.FILE, row.new_id))  # it may have got its name before it was cancelled
        self._set_cancelled(self.adopt(row, lambda _upload, _item: None))

    def seal_when_possible(self, path: str, seal: Callable[[], Awaitable[None]]) -> None:
        """Bytes that nobody waits for can't be promised yet: `seal` does it in the end, behind the caller."""
        self._behind.start(f"rest of {path}", seal)

    async def drain(self, limit_s: float) -> bool:
        """Wait until nothing is pending; what waits for its time goes at once. False if something stays.

        Ends early when nothing more can be expected: offline, or all that is left was refused.
        """
        self.hurry()
        with trio.move_on_after(limit_s):
            while self.pending_count and not self.is_stuck:
                await self.steps.wait(_PROGRESS_EVERY_S)
        return not self.pending_count

    def hurry(self) -> None:
        """Somebody waits for all that is pending: what waits for its time goes at once."""
        for upload in self._uploads.values():
            self.retry(upload)
        self.holding.end(is_last=False)
        self._wake_all()

    async def settle_folder(self, path: str) -> None:
        """Wait until the names of a folder on Orion are those that users see here; an error is raised."""
        for upload in self.pending:
            if upload.row.folder == path:
                await self.carry(upload)
        await self.removals.until_free(path, is_deep=True)

    @property
    def is_stuck(self) -> bool:
        """True if nothing that is pending can be expected to end soon."""
        if self._remote.health is Health.OFFLINE:
            return True
        return not (self.removals or self.relocator.pending or self._behind) and self._attempts.is_stuck

    async def set_local(self, key: Key, local: LocalAttributes | None) -> None:
        """Write down what only this machine knows of an item."""
        await self._journal.run(lambda journal: journal.set_local(key, local))

    async def _carry(self, upload: Upload) -> None:
        if upload.state is UploadState.LOCAL:
            return
        left_over = await self._carrier.carry(upload)
        if left_over is not None:
            self.removals.resume(left_over)
        if upload.state is UploadState.HELD:
            self.holding.watch(upload)
            await self.steps.note()
        if upload.state is UploadState.DONE:
            upload.tell_conflict(self._reports)
            await self._over(upload)
            for work in self._content.upkeep():  # the end of the mount does not wait for it
                do = partial(trio.to_thread.run_sync, work, abandon_on_cancel=True)
                self._background.start("upkeep of the cache", do)
            self.early.sweeps.placed(upload)

    def _set_cancelled(self, upload: Upload) -> None:
        upload.state = UploadState.CANCELLED
        self._attempts.ended(upload)  # whoever waits for its next attempt ends
        self._background.start(f"clean-up of {upload.row.path}", partial(self._clean_cancelled, upload))

    async def _clean_cancelled(self, upload: Upload) -> None:
        """Remove what a cancelled version left on Orion and here, once its last attempt has ended."""
        async with upload.carrying:
            try:
                await self._behind.until_done(lambda: self._carrier.remove_marked(upload))
            except OrionFsError as error:
                log.warning("%s: %s stays on Orion: %s", upload.row.path, upload.row.mark, error)
        await self.early.sweeps.cleaned(upload)
        await self._over(upload)

    def _wake_all(self) -> None:
        """Whatever waits for its next attempt makes it now."""
        for upload in self._uploads.values():
            upload.hurry.set()
        self._attempts.rush()
        self.removals.wake()
        self._behind.wake()
        self.relocator.wake()

    async def _wake_when_online(self) -> None:
        while True:
            await self._remote.wait_until_back()
            self._wake_all()

    def _enter(self, upload: Upload, *, is_ordered: bool) -> Upload:
        self._uploads[upload.row.mark] = upload
        self.staged.use(upload.row.staged)
        self.holding.classify(upload)
        if is_ordered and upload.is_shown:
            self._order.enter(upload.row.mark, upload.row.folder, upload.row.size_bytes)
        return upload

    async def _over(self, upload: Upload) -> None:
        self._uploads.pop(upload.row.mark, None)
        self._attempts.ended(upload)
        self.staged.release(upload.row.staged)
        self.removals.ended_in(upload.row.folder)
        await self.steps.note()
