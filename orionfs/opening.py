"""What an open must know before it returns: how long the contents are, and that they are of one version.

A size that no row tells is found out here: the kernel was told one byte, and asks again once the file is
open. Contents of a dataset can change under its id and show it by nothing reliable, so its bytes are of a
version of our own: kept while it is open, and for `dataset_ttl_s` after Orion has said the same number of
records and that nobody writes. Used by `files` alone; must not know FUSE or listings.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

import trio

from orionfs.content import ContentCache
from orionfs.errors import Busy, NoSuchName, Stale
from orionfs.fetch import Fetcher, Source
from orionfs.inodes import Inode
from orionfs.models import Key, Kind
from orionfs.namespace import Namespace
from orionfs.remote import Remote
from orionfs.shard_rules import is_ready
from orionfs.staging import Handle, OpenFile

DATASET_TTL_S = 300.0


@dataclass(slots=True)
class _Kept:
    """Bytes of a dataset: under which key, how many, of how many records, and until when they hold."""

    key: Key
    size: int
    records: int | None
    holds_until_s: float


class Opening:
    """The first opens of one mount."""

    def __init__(
        self,
        namespace: Namespace,
        remote: Remote,
        fetcher: Fetcher,
        content: ContentCache,
        dataset_ttl_s: float = DATASET_TTL_S,
        clock: Callable[[], float] = trio.current_time,
    ) -> None:
        self._namespace = namespace
        self._remote = remote
        self._fetcher = fetcher
        self._content = content
        self._ttl_s = dataset_ttl_s
        self._clock = clock
        self._versions = count(int.from_bytes(os.urandom(7)))
        self._kept: dict[Key, _Kept] = {}

    @staticmethod
    def is_due(inode: Inode) -> bool:
        """True if an open has something to find out first."""
        if inode.written_size is not None or inode.given is not None or inode.item.key is None:
            return False
        return inode.item.size is None or inode.item.kind is Kind.DATASET

    async def find_out(self, handle: Handle) -> None:
        """Know the size of what a handle has opened. Raises Busy while somebody else writes it, Stale."""
        file = handle.file
        async with file.staging:  # whoever comes second finds it done
            if not self.is_due(file.inode) or (file.source is not None and file.inode.item.size is not None):
                return
            try:
                await (self._open_dataset if file.inode.item.kind is Kind.DATASET else self._find_size)(
                    handle
                )
            except (NoSuchName, Stale) as gone:
                self._namespace.doubt(file.inode)
                raise Stale(str(gone)) from gone

    def close(self) -> None:
        """The mount ends: nobody will ask for these bytes again."""
        for kept in self._kept.values():
            self._content.forget(kept.key)

    # Files and shards

    async def _find_size(self, handle: Handle) -> None:
        """A version whose length nobody tells is fetched whole, then its length is known."""
        inode = handle.file.inode
        (told,) = await self._remote.details.known((inode.item,))
        if told.size is not None:
            self._namespace.commit_size(inode, told.size)
            return
        if inode.item.kind is Kind.SHARD and not is_ready(inode.item):
            await self._look_at_shard(inode)
        key = inode.item.key
        assert key is not None
        if inode.item.size is None:
            handle.file.source = await self._fetched(key)
            self._namespace.commit_size(inode, handle.file.source.entry.size)
        await self._remote.details.learn(inode.item)

    async def _look_at_shard(self, inode: Inode) -> None:
        """A shard may have become ready since it was listed."""
        assert inode.item.key is not None
        told = await self._remote.get(inode.item.key)
        if not is_ready(told):
            raise Busy(f"{inode.local_path()} is {told.state}: it can be read once its writer has closed it")
        inode.item = told.renamed(inode.item.name)

    async def _fetched(self, key: Key) -> Source:
        """All of a version whose length nobody tells."""
        source = self._fetcher.open(key, 0)
        try:
            await self._fetcher.fetch_whole(source)
        except BaseException:
            self._fetcher.close(source)
            raise
        return source

    # Datasets

    async def _open_dataset(self, handle: Handle) -> None:
        file = handle.file
        key = file.inode.item.key
        assert key is not None
        file.source = await self._kept_source(file, key)
        if file.source is None:
            handle.keeps_pages = False  # the kernel may hold pages of what it was before
            file.source = await self._fetched_source(file, key)
        self._namespace.commit_size(file.inode, file.source.entry.size)

    async def _kept_source(self, file: OpenFile, key: Key) -> Source | None:
        """The bytes that are here, if they are all here and hold."""
        kept = self._kept.get(key)
        if kept is None or not await self._holds(file, key, kept):
            return None
        source = self._fetcher.open(kept.key, kept.size)
        if source.entry.is_complete:
            return source
        self._fetcher.close(source)
        return None

    async def _holds(self, file: OpenFile, key: Key, kept: _Kept) -> bool:
        now_s = self._clock()
        if now_s < kept.holds_until_s:
            return True
        if await self._records(file, key) != kept.records or kept.records is None:
            return False
        kept.holds_until_s = now_s + self._ttl_s
        return True

    async def _fetched_source(self, file: OpenFile, key: Key) -> Source:
        now_s = self._clock()
        records = await self._records(file, key)
        old = self._kept.pop(key, None)
        if old is not None:
            self._content.forget(old.key)
        source = await self._fetched(key._replace(part=next(self._versions)))
        self._kept[key] = _Kept(source.key, source.entry.size, records, now_s + self._ttl_s)
        return source

    async def _records(self, file: OpenFile, key: Key) -> int | None:
        """How many records Orion says there are. Raises Busy while they are being written."""
        state = await self._remote.dataset_state(key)
        if state.is_dirty:
            path = file.inode.local_path()
            raise Busy(f"{path} is being written: it can be read once it is finalized")
        return state.count
