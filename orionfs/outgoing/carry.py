"""The steps of one upload: bytes under the mark, tags, its name, the replaced item removed.

Each step may be interrupted by an error, a signal or a power cut and is found out by the mark at the
next attempt, so nothing is doubled or orphaned. Used by `sync` alone, which owns when and how often.
Must not know inodes.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import trio

from orionfs.cache.content import EXACT_SUFFIX, ContentCache, copy_range
from orionfs.durable.journal import Journal, Removal, UploadRow, UploadStep
from orionfs.durable.journal_thread import JournalThread
from orionfs.durable.promises import marked_to_go
from orionfs.errors import (
    AccessDenied,
    Busy,
    Conflict,
    NameExists,
    NoSuchName,
    OrionFsError,
    RemoteFailure,
    disk_error,
)
from orionfs.models import Assignment, Item, Key, Kind
from orionfs.orion.remote import Health, Remote
from orionfs.outgoing.assigning import BUSY_PAUSES_S, Assigner
from orionfs.outgoing.contested import ContestedNames
from orionfs.outgoing.early import EarlyUploads
from orionfs.outgoing.lanes import Lanes, NotItsTurn
from orionfs.outgoing.late_tags import LateTags
from orionfs.outgoing.shard_carry import ShardCarrier
from orionfs.outgoing.shard_rules import collection_of
from orionfs.outgoing.shares import Shares
from orionfs.outgoing.upload import Upload, UploadState

__all__ = ["Carrier", "Upload", "UploadState"]

log = logging.getLogger(__name__)

_ATTEMPTS = 4
_PAUSE_S = 0.25
_READY_PAUSES_S = (0.5, 1.0, 2.0)  # a guess
_UNFINISHED = frozenset({"created", "uploading"})  # of the states that our own server tells
_WAITED_FOR_BYTES = 64 * 2**20  # a guess: what takes longer to send than a replica lags
_RETRY_FOR_S = 30.0  # a caller of close() waits: after a time-out the background tries again, not it


class Carrier:
    """Carries one upload at a time through its steps; many may run side by side."""

    def __init__(
        self,
        remote: Remote,
        assigner: Assigner,
        lanes: Lanes,
        shares: Shares,
        late_tags: LateTags,
        journal: JournalThread,
        content: ContentCache,
        staging: Path,
        home: str,
        until_still: Callable[[Upload], Awaitable[None]],
        is_moving: Callable[[Upload], bool],
        on_sent: Callable[[Upload], None],
        unseen: set[Key],
        early: EarlyUploads,
        remove_if_aside: Callable[[Removal], Awaitable[None]],
    ) -> None:
        """`until_still` waits while the folder that an upload goes to is being renamed: `is_moving`.

        It also waits for the turn of an upload among others, once `on_sent` has heard that its bytes are on
        Orion. `unseen` gets the items that are on their way to their name. `remove_if_aside` has removed what
        is not replaced any more, if an attempt has put it aside.
        """
        self._remote = remote
        self._assigner = assigner
        self._shares = shares
        self._late_tags = late_tags
        self._lanes = lanes
        self._journal = journal
        self._content = content
        self._staging = staging
        self._home = home
        self._until_still = until_still
        self._is_moving = is_moving
        self._on_sent = on_sent
        self._unseen = unseen
        self._early = early
        self.shards = ShardCarrier(remote, journal, unseen)
        self._names = ContestedNames(remote, journal, late_tags, unseen, remove_if_aside)

    async def carry(self, upload: Upload) -> Removal | None:
        """One attempt; the replaced item, if it is still to be removed. The caller holds `carrying`."""
        if upload.is_over:
            return None
        upload.state = UploadState.RUNNING
        if upload.staged is not None:
            upload.staged.is_frozen = True
        path = await self._exact_file(upload)
        try:
            return await self._carry_file(upload, path)
        finally:
            if path.name != upload.row.staged:
                path.unlink(missing_ok=True)  # a copy that has not become a cache file

    async def _carry_file(self, upload: Upload, path: Path) -> Removal | None:
        if upload.is_held and upload.is_kept_back:
            upload.state = UploadState.HELD
            return None
        if collection_of(upload.row.mark) is not None:
            return await self._carry_shard(upload, path)
        item = await self._uploaded_item(upload, path)
        if upload.is_over:
            return None
        if upload.is_held:
            upload.state = UploadState.HELD
            return None
        if upload.before_placing is not None:
            await upload.before_placing()
        await self._carry_tags(upload, _key(item))
        await self._shares.carry(upload.row.replaces, _key(item), upload.row.path)
        self._on_sent(upload)
        while True:
            await self._until_still(upload)
            async with upload.placing:
                if upload.is_over:
                    return None
                if self._is_moving(upload):  # its folder was renamed while this waited
                    continue
                if upload.is_held:  # it got a temporary name meanwhile
                    upload.state = UploadState.HELD
                    return None
                item = await self._names.check_unchanged(upload, item)
                try:
                    await self._place(upload, item)
                except NotItsTurn:
                    continue
                return await self._finish(upload, item, path)

    async def _carry_tags(self, upload: Upload, new: Key) -> None:
        """The new version gets the tags that were set here, else those of what it replaces."""
        if upload.row.tags is None and upload.row.replaces is not None:  # no listing has told them
            try:
                tags = await self._remote.tags(upload.row.replaces)
            except NoSuchName:
                tags = ()
            if upload.row.tags is None:
                upload.row = replace(upload.row, tags=tags)
                upload.tell_tags(tags)
        await self._late_tags.carry(upload, new)

    async def _carry_shard(self, upload: Upload, path: Path) -> Removal | None:
        """A shard has its name from the start, and is shown when its contents are final."""
        async with upload.placing:
            if upload.is_over:
                return None
            return await self._finish(upload, await self.shards.put(upload, path), path)

    async def _exact_file(self, upload: Upload) -> Path:
        """A file of just the sealed bytes, which may become a cache file: the staged one if nobody writes it.

        Who does may have given it the same length again.
        """
        row = upload.row
        path = self._staging / row.staged
        is_written = upload.staged is not None and upload.staged.is_dirty
        try:
            if os.stat(path).st_size == row.size_bytes and not is_written:
                return path
            exact = path.with_name(f"{path.name}-{row.mark[-8:]}{EXACT_SUFFIX}")
            await trio.to_thread.run_sync(_copy_prefix, path, exact, row.size_bytes)
        except OSError as error:
            raise disk_error(error, f"{row.path}: staged bytes") from error
        return exact

    async def _uploaded_item(self, upload: Upload, path: Path) -> Item:
        """The item that has this version's bytes under its mark, uploaded at most once."""
        row = upload.row
        if row.step is UploadStep.UPLOADED and row.new_id is not None:
            return _new_item(row)
        attempt, retry_until_s = 1, trio.current_time() + _RETRY_FOR_S
        while True:
            try:
                item = await self._sent_before(upload, path)
                item = item or await self._upload(row, path)
                return await self._note_uploaded(upload, item)
            except OrionFsError as error:
                error.call_it(row.path, row.mark, row.staged)
                upload.attempted(trio.current_time())
                is_late = attempt == _ATTEMPTS or trio.current_time() > retry_until_s
                if not error.is_retryable or is_late or self._remote.health is Health.OFFLINE:
                    raise
                log.info("%s: upload is tried again: %s", row.path, error)
                pause_s = max(_PAUSE_S * 2**attempt, error.retry_after_s or 0.0)
            await trio.sleep(pause_s)
            attempt += 1

    async def _sent_before(self, upload: Upload, path: Path) -> Item | None:
        """The item of what has left before this attempt, with what it lacked; None: all is to be sent."""
        item = await self._early.finish(upload.row, path)
        if item is None and (upload.is_unclear or upload.row.new_id is not None):
            item = await self._found(upload)
        if item is None and upload.row.new_id is not None:
            await self._remote.delete(Key(Kind.FILE, upload.row.new_id))  # a replica may not know of it yet
            await self._restart(upload)
        return item

    async def _upload(self, row: UploadRow, path: Path) -> Item:
        try:
            return await self._remote.upload(row.mark, path, row.size_bytes)
        except Conflict as conflict:  # of an upload with itself: something of it was lost on the way
            raise RemoteFailure(f"{row.path}: {conflict}") from conflict

    async def _note_uploaded(self, upload: Upload, item: Item) -> Item:
        mark, new_id = upload.row.mark, _key(item).id
        self._unseen.add(_key(item))
        await self._journal.run(lambda journal: journal.uploaded(mark, new_id))
        upload.row = replace(upload.row, step=UploadStep.UPLOADED, new_id=new_id)
        return _new_item(upload.row, item)

    async def _found(self, upload: Upload) -> Item | None:
        """What an earlier attempt left under the mark, if it is whole; a part of it is removed."""
        item = await self._left_under(upload)
        for pause_s in _READY_PAUSES_S:
            if item is None:
                return None
            if item.size == upload.row.size_bytes and item.state in ("", "ready"):
                return item
            if item.state in _UNFINISHED:
                break
            await trio.sleep(pause_s)  # what has arrived whole may still be looked at by Orion
            item = await self._remote.get(_key(item))
        if item is not None:
            await self._remote.delete(_key(item))
        return None

    async def _left_under(self, upload: Upload) -> Item | None:
        """What is on Orion of an upload: by its id, where something was begun under one.

        None as well where a replica may know nothing of it yet, unless it is so large that it is waited for.
        """
        row, asked_at_s = upload.row, trio.current_time()
        if row.new_id is None:
            item = await self._remote.find_upload(self._home, row.mark)
            is_sure = not self._remote.recent.is_unheard_of(upload.unclear_at_s, asked_at_s)
            if item is None and not is_sure and row.size_bytes >= _WAITED_FOR_BYTES:
                await self._remote.until_heard_of(upload.unclear_at_s)
                item, is_sure = await self._remote.find_upload(self._home, row.mark), True
            if item is None:
                upload.may_be_doubled = not is_sure
            return item
        with contextlib.suppress(NoSuchName):
            found = await self._remote.look_up(Key(Kind.FILE, row.new_id))
            return None if found.is_deleted else found.item
        return None

    async def _place(self, upload: Upload, item: Item) -> None:
        """One `assign_paths` into place; a folder that is gone is made again, since bytes must land."""
        for attempt in range(_ATTEMPTS):
            row = upload.row
            try:
                await self._assign(row, item)
                return
            except NoSuchName as missing:
                if attempt == _ATTEMPTS - 1:
                    await self._restart(upload)
                    upload.attempted(trio.current_time())  # what was not found may be there all the same
                    raise RemoteFailure(f"{row.path}: Orion lost the uploaded item: {missing}") from missing
                await trio.sleep(_PAUSE_S)  # a 404 can be transient
                if attempt and upload.row.folder == row.folder:
                    await self._make_folders(row.folder)
            except NameExists as taken:
                if attempt == _ATTEMPTS - 1:
                    raise Busy(str(taken)) from taken
                await self._names.meet(upload, await self._remote.stat(row.path))

    async def _assign(self, row: UploadRow, item: Item) -> None:
        old = _replaced_item(row) if row.replaces is not None else None
        await self._lanes.place(row.mark, Assignment(item, row.folder, row.name), old)

    async def _make_folders(self, folder: str) -> None:
        parent = folder.rsplit("/", 1)[0]
        try:
            await self._make_folder(folder)
        except NoSuchName:
            if not parent:
                raise
            await self._make_folders(parent)
            await self._make_folder(folder)

    async def _make_folder(self, folder: str) -> None:
        for pause_s in BUSY_PAUSES_S:
            try:
                await self._remote.create_folder(folder)
                return
            except Conflict:
                if await self._remote.stat(folder) is not None:
                    log.debug("%s is there", folder)
                    return
            await trio.sleep(pause_s)

    async def _finish(self, upload: Upload, item: Item, path: Path) -> Removal | None:
        """Remove what was replaced, write down that all is done, tell who asked."""
        left_over = None
        if upload.row.replaces is not None and upload.row.replaces != item.key:
            old = Removal(upload.row.replaces, upload.row.path)
            left_over = await self._remove_replaced(upload, item, old)
        if item.kind is Kind.FILE:
            await self._late_tags.carry(upload, _key(item))
            item = replace(item, tags=upload.row.tags or ())
        row = upload.row
        if upload.may_be_doubled:
            upload.attempted(trio.current_time())  # until now its own item had the mark
        await self._journal.run(lambda journal: _write_placed(journal, upload, _key(item), left_over))
        upload.state, upload.error, upload.told = UploadState.DONE, None, None
        is_sealed = path.name == row.staged
        self._content.adopt(_key(item), path, row.size_bytes, is_synced=is_sealed)
        self._shares.placed(_key(item), row.replaces, row.path)
        self._unseen.discard(_key(item))
        upload.on_placed(upload, item.renamed(row.name))
        return left_over

    async def _remove_replaced(self, upload: Upload, item: Item, old: Removal) -> Removal | None:
        """Remove the replaced item; what is left to do later. Not allowed: the new one is withdrawn."""
        try:
            was_there = await self._remote.delete(old.key)
        except AccessDenied as denied:
            await self._remote.delete(_key(item))
            await self._give_back_name(upload.row)
            await self._restart(upload)
            raise AccessDenied(f"{old.path}: what is there may not be replaced: {denied}") from denied
        except OrionFsError as error:
            log.info("%s: the replaced item is removed later: %s", old.path, error)
            return old
        self._content.forget(old.key)
        is_file = item.kind is Kind.FILE  # shards may share a name
        if is_file and not was_there and await self._names.is_taken(upload, item, old.key):
            await self._place(upload, item)
        return None

    async def _give_back_name(self, row: UploadRow) -> None:
        """Where both items were renamed in one call, the one that stays gets its name again."""
        if collection_of(row.mark) is not None:
            return
        await self._assigner.assign(Assignment(_replaced_item(row), row.folder, row.name))

    async def _restart(self, upload: Upload) -> None:
        """The uploaded item is gone: upload the version anew."""
        await self._journal.run(lambda journal: journal.restart(upload.row.mark))
        upload.row = replace(upload.row, step=UploadStep.SEALED, new_id=None)
        upload.sent_tags = frozenset()

    async def remove_marked(self, upload: Upload) -> None:
        """Remove what a cancelled upload left on Orion, as far as it is seen: see `may_be_doubled`."""
        await self._early.stop(upload.row.mark)
        if collection_of(upload.row.mark) is not None:
            await self.shards.remove(upload)
        elif upload.row.new_id is not None:
            await self._remote.delete(Key(Kind.FILE, upload.row.new_id))
        elif upload.is_unclear and upload.row.name != upload.row.mark:  # else a version may have had the mark
            recent, asked_at_s = self._remote.recent, trio.current_time()
            for item in await self._remote.find_uploads(self._home, upload.row.mark):
                await self._remote.delete(_key(item))
            upload.may_be_doubled = recent.is_unheard_of(upload.unclear_at_s, asked_at_s)


def _key(item: Item) -> Key:
    if item.key is None:
        raise RemoteFailure(f"{item.name}: an item without an id")
    return item.key


def _new_item(row: UploadRow, told: Item | None = None) -> Item:
    """The uploaded version as its folder will show it."""
    item = told or Item(Kind.FILE, row.new_id, row.mark)
    return replace(item, name=row.name, size=row.size_bytes, tags=row.tags or ())


def _replaced_item(row: UploadRow) -> Item:
    """What a version replaces, as far as the journal knows it."""
    assert row.replaces is not None
    return Item(row.replaces.kind, row.replaces.id, row.name)


def _write_placed(journal: Journal, upload: Upload, key: Key, left_over: Removal | None) -> None:
    """The version is over; what else may come to be seen under its mark is to go."""
    row = upload.row
    with journal.together():
        journal.placed(row, key, left_over)
        if upload.may_be_doubled:
            journal.begun(marked_to_go(row.mark, row.folder))


def _copy_prefix(source: Path, target: Path, size: int) -> None:
    with contextlib.suppress(FileNotFoundError):
        target.unlink()
    try:
        with source.open("rb") as old, target.open("xb") as new:
            os.chmod(target, 0o600)
            copy_range(old.fileno(), new.fileno(), size)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
