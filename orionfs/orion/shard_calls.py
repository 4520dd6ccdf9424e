"""The shards of collections, through the session: list, make, fill; the state of a collection.

A shard has no path: it is asked for by the id of its collection and its own. Where the session can ask
for pages the pages come at the same time; else one call writes all rows to a file, from which they are
read piece by piece, so that 100,000 of them never lie about as JSON. Part of `remote`, which makes the
calls and owns their deadlines; must not know inodes or names shown to users.
"""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any, Protocol

import trio

from orionfs.errors import Conflict, NoSuchName, ReadOnly, RemoteFailure
from orionfs.facts import StackFacts
from orionfs.models import Item, Key, Kind
from orionfs.orion.listings import ASKED_PAGE_ROWS, FolderAnswer, list_all, whole
from orionfs.orion.paging import shards_of_lines
from orionfs.orion.shapes import Page, read_item, read_shard

SHARD_MAX_BYTES = 5_000_000_000
"""Contents of one shard at most, as documented."""

_MARK = "orionfs"
"""Key in the metadata of a shard under which stands which upload has made it."""


_SLOWEST_BYTES_PER_S = 64 * 1024  # a guess: slower lines than this can't be told from a hang
_LONG = 4  # as many times as contents may be silent may a listing take that comes in one

Call = Callable[..., Awaitable[Any]]
"""A deadline in seconds, a verb of the session and its arguments; raises OrionFsError."""


class Deadlines(Protocol):
    """How long calls may take, seconds: see `remote.Limits`."""

    @property
    def read_deadline_s(self) -> float: ...
    @property
    def change_deadline_s(self) -> float: ...
    @property
    def inactivity_s(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Session:
    """How calls are made: again and again until a deadline, or once; as metadata, or as contents."""

    facts: Callable[[], StackFacts]
    retrying: Call
    retrying_contents: Call
    once: Call
    once_contents: Call
    limits: Deadlines


class ShardCalls:
    """The shards of one account on one stack."""

    def __init__(self, session: Session, *, is_paged: bool) -> None:
        """`is_paged`: the session can ask for a page of shards, or for those of a name."""
        self._session = session
        self.is_paged = is_paged

    async def list(self, collection: int) -> FolderAnswer:
        """All shards of a collection; anything less is an error. Raises NoSuchName."""
        if not self.is_paged:
            return await self._list_at_once(collection)

        async def ask(query: dict[str, Any]) -> Page:
            return whole(await self._read("shards_page", collection, query))

        answer = await list_all(ask, self._session.facts())
        if not answer.is_complete:  # it grew meanwhile
            answer = await list_all(ask, self._session.facts())
        if not answer.is_complete:
            raise RemoteFailure(f"collection {collection}: Orion told less than it holds; try again")
        return answer

    async def named(self, collection: int, name: str) -> tuple[Item, ...]:
        """All shards of this name; only if `is_paged`."""
        query = {"name": name, "limit": ASKED_PAGE_ROWS}
        page = whole(await self._read("shards_page", collection, query))
        is_filtered = all(row.name == name for row in page.rows)
        if is_filtered and page.total in (None, len(page.rows)) and not page.has_more:
            return page.rows
        return tuple(item for item in (await self.list(collection)).items if item.name == name)

    async def create(self, collection: int, name: str, mark: str) -> Key:
        """Make a shard without contents, by the upload `mark`. Raises ReadOnly for a closed collection."""
        deadline_s = self._session.limits.change_deadline_s
        try:
            told = await self._session.once(deadline_s, "create_shard", collection, name, {_MARK: mark})
        except Conflict as closed:
            raise ReadOnly(f"collection {collection} is closed: {closed}") from closed
        key = read_shard(told, collection).key
        assert key is not None
        return key

    async def fill(self, key: Key, path: Path, size: int) -> Item:
        """Upload a file as the contents of a shard, for good. May be repeated until it has succeeded."""
        limit_s = self._session.limits.inactivity_s + size / _SLOWEST_BYTES_PER_S
        told = await self._session.once_contents(inf, "fill_shard", key.reference, str(path), limit_s)
        assert key.part is not None
        return read_shard(told, key.part)

    async def made_by(self, mark: str, collection: int, name: str) -> Item | None:
        """The shard that an interrupted upload has made, if it did."""
        for item in (await self.list(collection)).items:
            if item.name == name and item.key is not None and await self._mark_of(item.key) == mark:
                return item
        return None

    async def _mark_of(self, key: Key) -> str | None:
        try:
            told = await self._read("get", key.kind.value, key.reference)
        except NoSuchName:
            return None
        metadata = told.get("metadata") if isinstance(told, Mapping) else None
        return metadata.get(_MARK) if isinstance(metadata, Mapping) else None

    async def set_state(self, collection: int, state: str) -> None:
        """Open or close a collection ("open", "close")."""
        await self._session.retrying(self._session.limits.change_deadline_s, "set_state", collection, state)

    async def state(self, collection: int) -> str:
        """The state of a collection as it is now."""
        return read_item(await self._read("get", Kind.COLLECTION.value, collection)).state

    async def _read(self, verb: str, *args: Any) -> Any:
        return await self._session.retrying(self._session.limits.read_deadline_s, verb, *args)

    async def _list_at_once(self, collection: int) -> FolderAnswer:
        long_s = _LONG * self._session.limits.inactivity_s
        with tempfile.TemporaryDirectory(prefix="orionfs-") as folder:
            path = Path(folder, "shards")
            args = (long_s, "list_shards", collection, str(path), long_s)
            count = await self._session.retrying_contents(*args)
            items = await trio.to_thread.run_sync(_read_rows, path, collection)
        if len(items) != count:
            raise RemoteFailure(f"collection {collection}: {len(items)} of {count} shards were told")
        return FolderAnswer(items, is_complete=True, pages=1)


def _read_rows(path: Path, collection: int) -> tuple[Item, ...]:
    with path.open(encoding="ascii") as lines:
        return shards_of_lines(lines, collection)
