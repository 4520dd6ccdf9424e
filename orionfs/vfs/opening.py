"""What an open must know before it returns: how long the contents are, and that they are of one version.

A size that no row tells is found out here: the kernel was told one byte, and asks again once the file is
open. Contents of a dataset can change under its id and show it by nothing reliable, so its bytes are of a
version of our own: kept while it is open, and for `dataset_ttl_s` after Orion has said the same number of
records and that nobody writes. Used by `files` alone; must not know FUSE or listings.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count

import trio

from orionfs.cache.content import ContentCache
from orionfs.cache.fetch import Fetcher, Source
from orionfs.errors import Busy, NoSuchName, OrionFsError, RemoteFailure, Stale
from orionfs.models import InodeNumber, Item, Key, Kind
from orionfs.orion.remote import Health, Remote
from orionfs.orion.shapes import read_dataset_state
from orionfs.outgoing.shard_rules import is_ready
from orionfs.tables.inodes import Inode
from orionfs.tasks import Background
from orionfs.tree.namespace import Namespace
from orionfs.vfs.staging import Handle, OpenFile

DATASET_TTL_S = 300.0
_LEAST_TTL_S = 1.0


async def _untold(_number: InodeNumber) -> None:
    """There is no kernel."""


@dataclass(slots=True)
class _Kept:
    """Bytes of a dataset: under which key, how many, of how many records, and until when they hold."""

    key: Key
    size: int
    records: int | None
    holds_until_s: float


@dataclass(slots=True)
class _Flight:
    """Contents on their way, and how that ended for those who wait for them."""

    done: trio.Event = field(default_factory=trio.Event)
    error: OrionFsError | None = None


class Opening:
    """The first opens of one mount."""

    def __init__(
        self,
        namespace: Namespace,
        remote: Remote,
        fetcher: Fetcher,
        content: ContentCache,
        dataset_ttl_s: float = DATASET_TTL_S,
        tell_attributes: Callable[[InodeNumber], Awaitable[None]] = _untold,
        clock: Callable[[], float] = trio.current_time,
    ) -> None:
        """`tell_attributes`: what the kernel believes of an inode's attributes ends before it returns."""
        self._namespace = namespace
        self._remote = remote
        self._fetcher = fetcher
        self._content = content
        self._ttl_s = dataset_ttl_s
        self.tell_attributes = tell_attributes
        self._clock = clock
        self._versions = count(int.from_bytes(os.urandom(7)))
        self._kept: dict[Key, _Kept] = {}
        self._flights: dict[Key, _Flight] = {}
        self._background = Background()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Home of what is fetched: who gives up waiting does not end it. Ends when cancelled."""
        await self._background.run(task_status)

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
            is_dataset = file.inode.item.kind is Kind.DATASET
            try:
                await (self._open_dataset if is_dataset else self._find_size)(handle)
            except NoSuchName as gone:
                raise Stale(str(gone)) from gone

    def close(self) -> None:
        """The mount ends: nobody will ask for these bytes again."""
        for kept in self._kept.values():
            self._content.forget(kept.key)

    # Files and shards

    async def _find_size(self, handle: Handle) -> None:
        """A version whose length nobody tells is fetched whole, then its length is known."""
        inode = handle.file.inode
        while (size := await self._known_size(inode)) is None:
            if inode.item.kind is Kind.SHARD and not is_ready(inode.item):
                await self._look_at_shard(inode)
            else:
                assert inode.item.key is not None
                await self._fetched(inode.item.key, partial(self._fetch_item, inode.item))
        self._namespace.commit_size(inode, size)

    async def _known_size(self, inode: Inode) -> int | None:
        (told,) = await self._remote.details.known((inode.item,))
        return told.size

    async def _look_at_shard(self, inode: Inode) -> None:
        """A shard may have become ready since it was listed."""
        assert inode.item.key is not None
        told = await self._remote.get(inode.item.key)
        if not is_ready(told):
            raise Busy(f"{inode.local_path()} is {told.state}: it can be read once its writer has closed it")
        inode.item = told.renamed(inode.item.name)

    async def _fetch_item(self, item: Item) -> None:
        assert item.key is not None
        await self._remote.details.learn(replace(item, size=await self._fetch(item.key)))

    # Datasets

    async def _open_dataset(self, handle: Handle) -> None:
        file = handle.file
        key = file.inode.item.key
        assert key is not None
        while (source := await self._kept_source(file, key)) is None:
            handle.keeps_pages = False  # the kernel may hold pages of what it was before
            await self._fetched(key, partial(self._fetch_dataset, file, key))
        file.source = source
        is_changed = file.inode.item.size not in (None, source.entry.size)
        self._namespace.commit_size(file.inode, source.entry.size)
        if is_changed:  # else the first reads would end where the old version did
            await self.tell_attributes(file.inode.number)

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
        if now_s < kept.holds_until_s or self._remote.health is Health.OFFLINE:
            return True
        if await self._records(file, key) != kept.records or kept.records is None:
            return False
        kept.holds_until_s = now_s + self._ttl_s
        return True

    async def _fetch_dataset(self, file: OpenFile, key: Key) -> None:
        records = await self._records(file, key)
        old = self._kept.pop(key, None)
        if old is not None:
            self._content.forget(old.key)
        version = key._replace(part=next(self._versions))
        size = await self._fetch(version)
        # Whoever waits for it has it at least.
        self._kept[key] = _Kept(version, size, records, self._clock() + max(self._ttl_s, _LEAST_TTL_S))

    async def _records(self, file: OpenFile, key: Key) -> int | None:
        """How many records Orion says there are. Raises Busy while they are being written."""
        state = read_dataset_state(await self._remote.attributes(key))
        if state.is_dirty:
            path = file.inode.local_path()
            raise Busy(f"{path} is being written: it can be read once it is finalized")
        return state.count

    # Fetching

    async def _fetched(self, key: Key, fetch: Callable[[], Awaitable[None]]) -> None:
        """Have something fetched, once for all who wait for it, and to its end if nobody does any more."""
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = _Flight()
            what = f"fetch of {key.kind.value} {key.id}"
            self._background.start(what, partial(self._fly, key, flight, fetch))
        await flight.done.wait()
        if flight.error is not None:
            raise flight.error

    async def _fly(self, key: Key, flight: _Flight, fetch: Callable[[], Awaitable[None]]) -> None:
        try:
            await fetch()
        except OrionFsError as error:
            flight.error = error
        except Exception as error:
            flight.error = RemoteFailure(f"{key.kind.value} {key.id}: {type(error).__name__}")
            raise
        finally:
            del self._flights[key]
            flight.done.set()

    async def _fetch(self, key: Key) -> int:
        """Fetch all of a version whose length nobody tells; its length in bytes."""
        source = self._fetcher.open(key, 0)
        try:
            return await self._fetcher.fetch_whole(source)
        finally:
            self._fetcher.close(source)


def needs_what_is_there(flags: int) -> bool:
    """True for an open that will read, or add to what is there: a version that is gone is told by open."""
    will_read = flags & os.O_ACCMODE != os.O_WRONLY or bool(flags & os.O_APPEND)
    return will_read and not flags & os.O_TRUNC
