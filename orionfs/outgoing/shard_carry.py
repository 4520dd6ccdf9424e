"""The steps of one upload into a collection: a shard is made, filled, and then is ready for good.

Its metadata say which upload has made it, so an attempt whose answer was lost is found at the next one, and
nothing is doubled or left behind half-filled. Used by `carry`, which owns what follows; must not know when
an upload is tried again after this has given up.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import trio

from orionfs.durable.journal import UploadRow, UploadStep
from orionfs.durable.journal_thread import JournalThread
from orionfs.errors import NoSuchName, OrionFsError, ReadOnly, RemoteFailure
from orionfs.models import Item, Key, Kind
from orionfs.orion.remote import Health, Remote
from orionfs.outgoing.shard_rules import collection_of, is_ready

log = logging.getLogger(__name__)

_ATTEMPTS = 4
_PAUSE_S = 0.25
_RETRY_FOR_S = 30.0  # a caller of close() waits: after a time-out the background tries again, not it


class Shardward(Protocol):
    """An upload into a collection: `is_unclear` if an attempt may have left a shard that it does not know."""

    row: UploadRow
    is_unclear: bool
    unclear_at_s: float

    def attempted(self, at_s: float) -> None:
        """An attempt has ended at this moment, and what it has left is not known."""
        ...


class ShardCarrier:
    """Brings sealed versions into collections."""

    def __init__(self, remote: Remote, journal: JournalThread, unseen: set[Key]) -> None:
        """`unseen` gets the shards that are being filled: our own change shows them."""
        self._remote = remote
        self._journal = journal
        self._unseen = unseen

    async def put(self, upload: Shardward, path: Path) -> Item:
        """The ready shard of a version, made at most once. Raises ReadOnly for a closed collection."""
        retry_until_s = trio.current_time() + _RETRY_FOR_S
        for attempt in range(1, _ATTEMPTS + 1):
            is_last = attempt == _ATTEMPTS
            try:
                return await self._put(upload, path)
            except NoSuchName:
                if upload.row.new_id is None or is_last:
                    raise  # the collection is gone, or takes away what is made in it
                await self._note(upload, None)
            except OrionFsError as error:
                upload.attempted(trio.current_time())
                is_late = is_last or trio.current_time() > retry_until_s
                if not _may_repeat(error) or is_late or self._remote.health is Health.OFFLINE:
                    raise
                log.info("%s: upload is tried again: %s", upload.row.path, error)
                await trio.sleep(max(_PAUSE_S * 2**attempt, error.retry_after_s or 0.0))
        raise AssertionError("the last attempt returns or raises")

    async def remove(self, upload: Shardward) -> None:
        """Remove what a version that is not wanted any more has left."""
        key = shard_of(upload.row)
        try:
            if key is None and upload.is_unclear:
                left = await self._surely_left_by(upload)
                key = left.key if left is not None else None
        except NoSuchName:
            log.debug("%s: its collection is gone", upload.row.path)
        if key is not None:
            await self._remote.delete(key)

    async def made_for(self, row: UploadRow) -> Key | None:
        """The shard that a version has made, as far as that is known or can be found out now."""
        if row.new_id is not None or collection_of(row.mark) is None:
            return shard_of(row)
        try:
            left = await self._left_by(row)
        except OrionFsError as error:
            log.info("%s: what was made of it can't be looked for: %s", row.path, error)
            return None
        return left.key if left is not None else None

    async def _put(self, upload: Shardward, path: Path) -> Item:
        key = shard_of(upload.row)
        if key is not None:
            return await self._filled(upload.row, key, path)
        key = await self._made(upload)
        await self._note(upload, key)
        size = upload.row.size_bytes
        return _checked(upload.row, await self._remote.shards.fill(key, path, size))

    async def _note(self, upload: Shardward, key: Key | None) -> None:
        """Write down that the shard is there, or (None) that it is to be made anew."""
        mark = upload.row.mark
        if key is None:
            await self._journal.run(lambda journal: journal.restart(mark))
            upload.row = replace(upload.row, step=UploadStep.SEALED, new_id=None)
            return
        self._unseen.add(key)
        await self._journal.run(lambda journal: journal.uploaded(mark, key.id))
        upload.row = replace(upload.row, step=UploadStep.UPLOADED, new_id=key.id)

    async def _made(self, upload: Shardward) -> Key:
        left = await self._surely_left_by(upload) if upload.is_unclear else None
        if left is not None and left.key is not None:
            return left.key
        row, collection = upload.row, collection_of(upload.row.mark)
        assert collection is not None
        return await self._remote.shards.create(collection, row.name, row.mark)

    async def _surely_left_by(self, upload: Shardward) -> Item | None:
        """The same; that there is nothing is believed once no replica lags behind the last attempt."""
        asked_at_s = trio.current_time()
        left = await self._left_by(upload.row)
        if left is None and self._remote.recent.is_unheard_of(upload.unclear_at_s, asked_at_s):
            await self._remote.until_heard_of(upload.unclear_at_s)
            left = await self._left_by(upload.row)
        return left

    async def _left_by(self, row: UploadRow) -> Item | None:
        collection = collection_of(row.mark)
        assert collection is not None
        return await self._remote.shards.made_by(row.mark, collection, row.name)

    async def _filled(self, row: UploadRow, key: Key, path: Path) -> Item:
        """A shard that an earlier attempt has made: it may be ready already."""
        there = await self._remote.get(key)
        if not is_ready(there):
            there = await self._remote.shards.fill(key, path, row.size_bytes)
        return _checked(row, there)


def shard_of(row: UploadRow) -> Key | None:
    """The shard that a version has made, ready or not; None for none, and for what goes to a folder."""
    collection = collection_of(row.mark)
    return None if row.new_id is None or collection is None else Key(Kind.SHARD, row.new_id, collection)


def _checked(row: UploadRow, told: Item) -> Item:
    """What Orion says it has. Raises RemoteFailure where that is not what was sent."""
    if told.size not in (None, row.size_bytes):
        raise RemoteFailure(f"{row.path}: Orion has {told.size} bytes of {row.size_bytes}")
    if not is_ready(told):
        raise RemoteFailure(f"{row.path}: the shard is {told.state} after its upload")
    return replace(told, name=row.name, size=row.size_bytes)


def _may_repeat(error: OrionFsError) -> bool:
    """A 409 of a shard that is ready already is looked at again."""
    return not isinstance(error, ReadOnly) and (error.is_retryable or error.status == 409)
