"""The steps of one upload into a collection: a shard is made, filled, and then is ready for good.

Its metadata say which upload has made it, so an attempt whose answer was lost is found at the next one, and
nothing is doubled or left behind half-filled. Used by `carry`, which owns what follows; must not know when
an upload is tried again after this has given up.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import trio

from orionfs.errors import NoSuchName, OrionFsError, ReadOnly, RemoteFailure
from orionfs.journal import UploadRow
from orionfs.models import Item, Key, Kind
from orionfs.remote import Health, Remote
from orionfs.shard_rules import collection_of, is_ready

log = logging.getLogger(__name__)

_ATTEMPTS = 4
_PAUSE_S = 0.25
_RETRY_FOR_S = 30.0  # a caller of close() waits: after a time-out the background tries again, not it

Note = Callable[[Key | None], Awaitable[None]]
"""Writes down that the shard is there, or (None) that it is to be made anew."""


class ShardCarrier:
    """Brings sealed versions into collections."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote

    async def put(self, row: UploadRow, path: Path, note: Note, *, is_unclear: bool) -> Item:
        """The ready shard of a version, made at most once. Raises ReadOnly for a closed collection.

        `is_unclear`: an earlier attempt may have made it.
        """
        key, is_first, retry_until_s = _key_of(row), not is_unclear, trio.current_time() + _RETRY_FOR_S
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                if key is None:
                    key = await self._made(row, is_first=is_first and attempt == 1)
                    await note(key)
                    return _checked(row, await self._remote.shards.fill(key, path, row.size_bytes))
                return await self._filled(row, key, path)
            except NoSuchName:
                if key is None:
                    raise  # the collection is gone
                key, is_first = None, True
                await note(None)
                if attempt == _ATTEMPTS:
                    raise
            except OrionFsError as error:
                is_late = attempt == _ATTEMPTS or trio.current_time() > retry_until_s
                if not _may_repeat(error) or is_late or self._remote.health is Health.OFFLINE:
                    raise
                log.info("%s: upload is tried again: %s", row.path, error)
                await trio.sleep(max(_PAUSE_S * 2**attempt, error.retry_after_s or 0.0))
        raise AssertionError("the last attempt returns or raises")

    async def remove(self, row: UploadRow, *, is_unclear: bool) -> None:
        """Remove what a version that is not wanted any more has left."""
        key = _key_of(row)
        if key is None and is_unclear:
            left = await self._left_by(row)
            key = left.key if left is not None else None
        if key is not None:
            await self._remote.delete(key)

    async def _made(self, row: UploadRow, *, is_first: bool) -> Key:
        left = None if is_first else await self._left_by(row)
        if left is not None and left.key is not None:
            return left.key
        collection = collection_of(row.mark)
        assert collection is not None
        return await self._remote.shards.create(collection, row.name, row.mark)

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


def _key_of(row: UploadRow) -> Key | None:
    return None if row.new_id is None else Key(Kind.SHARD, row.new_id, collection_of(row.mark))


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
