"""What the rows of a listing do not tell of Files and shards: asked for once, and kept.

Contents are immutable, so a size and the time it was made hold for ever; mounts keep them on the disk. Files
are asked for one by one as they are listed, shards by whoever opens one: a collection may hold 100,000. Used
by `remote`, which asks; must not know sessions, deadlines or names.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import trio

from orionfs.errors import OrionFsError, TimedOut
from orionfs.models import Item, Key, Kind
from orionfs.orion.listings import together
from orionfs.orion.sizes import SizeStore, Told

log = logging.getLogger(__name__)

_KEPT_MAX = 200_000


class Details:
    """Sizes and times of Files and of ready shards, by version."""

    def __init__(self, get: Callable[[Key], Awaitable[Item]]) -> None:
        """`get` asks for all that is told of one item."""
        self._get = get
        self._told: dict[Key, Told] = {}
        self._store: SizeStore | None = None
        self._writing = trio.CapacityLimiter(1)

    def keep_in(self, store: SizeStore) -> None:
        """Keep on the disk what is asked from now on, and believe what is there."""
        self._store = store

    async def complete(self, items: Sequence[Item]) -> tuple[Item, ...]:
        """The items with the sizes of all Files; several are asked for at a time. Raises TimedOut."""
        unknown = [i.key for i in items if i.kind is Kind.FILE and i.size is None and i.key is not None]
        if not unknown:
            return tuple(items)
        known = await self._recalled(unknown)
        answers = await together([partial(self._ask, key) for key in unknown if key not in known])
        told = [answer for answer in answers if answer is not None]
        await self._keep(told)
        return _completed(items, {**known, **dict(told)})

    async def known(self, items: Sequence[Item]) -> tuple[Item, ...]:
        """The items with the sizes that are known; nothing is asked."""
        unknown = [item.key for item in items if item.size is None and item.key is not None]
        if not unknown:
            return tuple(items)
        return _completed(items, await self._recalled(unknown))

    async def learn(self, item: Item) -> None:
        """The size of a version was found out by reading it."""
        if item.key is not None and item.size is not None:
            await self._keep([(item.key, Told(item.size, item.created_ns))])

    async def _recalled(self, keys: Sequence[Key]) -> dict[Key, Told]:
        """What this life or the disk knows of these versions."""
        known = {key: self._told[key] for key in keys if key in self._told}
        missing = [key for key in keys if key not in known]
        if self._store is None or not missing:
            return known
        found = await trio.to_thread.run_sync(self._store.get, missing, limiter=self._writing)
        self._remember(found.items())
        return {**known, **found}

    async def _keep(self, told: Sequence[tuple[Key, Told]]) -> None:
        self._remember(told)
        if self._store is not None and told:
            await trio.to_thread.run_sync(self._store.put, told, limiter=self._writing)

    def _remember(self, told: Iterable[tuple[Key, Told]]) -> None:
        for key, each in told:
            if len(self._told) >= _KEPT_MAX:
                self._told.pop(next(iter(self._told)))
            self._told[key] = each

    async def _ask(self, key: Key) -> tuple[Key, Told] | None:
        try:
            item = await self._get(key)
        except TimedOut:
            raise
        except OrionFsError as error:
            log.debug("size of %s %s stays unknown: %s", key.kind.value, key.id, error)
            return None
        return None if item.size is None else (key, Told(item.size, item.created_ns))


def _completed(items: Sequence[Item], known: Mapping[Key, Told]) -> tuple[Item, ...]:
    return tuple(_with(item, known) for item in items)


def _with(item: Item, known: Mapping[Key, Told]) -> Item:
    if item.size is not None or item.key is None or item.key not in known:
        return item
    size, created_ns = known[item.key]
    return replace(item, size=size, created_ns=item.created_ns or created_ns)
