"""What the rows of a listing do not tell of Files: asked for one by one, and kept while the mount lives.

Contents are immutable, so a size and the time it was made hold for ever. Used by `remote`, which asks;
must not know sessions, deadlines or names.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial

from orionfs.errors import OrionFsError, TimedOut
from orionfs.listings import together
from orionfs.models import Item, Key, Kind

log = logging.getLogger(__name__)

_KEPT_MAX = 200_000


class Details:
    """Sizes and times of Files, by version."""

    def __init__(self, get: Callable[[Key], Awaitable[Item]]) -> None:
        """`get` asks for all that is told of one item."""
        self._get = get
        self._told: dict[Key, tuple[int, int]] = {}  # version -> bytes, created_ns

    async def complete(self, items: Sequence[Item]) -> tuple[Item, ...]:
        """The items with their sizes; several are asked for at a time. Raises TimedOut."""
        unknown = [i.key for i in items if i.kind is Kind.FILE and i.size is None and i.key is not None]
        if not unknown:
            return tuple(items)
        asked = [key for key in unknown if key not in self._told]
        for answer in await together([partial(self._ask, key) for key in asked]):
            if answer is not None and len(self._told) < _KEPT_MAX:
                self._told[answer[0]] = answer[1]
        return tuple(self._completed(item) for item in items)

    def _completed(self, item: Item) -> Item:
        if item.size is not None or item.key is None or item.key not in self._told:
            return item
        size, created_ns = self._told[item.key]
        return replace(item, size=size, created_ns=item.created_ns or created_ns)

    async def _ask(self, key: Key) -> tuple[Key, tuple[int, int]] | None:
        try:
            item = await self._get(key)
        except TimedOut:
            raise
        except OrionFsError as error:
            log.debug("size of %s %s stays unknown: %s", key.kind.value, key.id, error)
            return None
        return None if item.size is None else (key, (item.size, item.created_ns))
