"""What the rows of some stacks do not tell of Files: sizes and times, asked for once in a life.

Used by `remote`, which asks; must not know sessions, deadlines or retries.
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
    """The sizes (bytes) and times (ns) of versions that were asked for one by one."""

    def __init__(self, get: Callable[[Key], Awaitable[Item]]) -> None:
        """`get` asks for all that Orion tells of one item."""
        self._get = get
        self._known: dict[Key, tuple[int, int]] = {}

    async def completed(self, items: Sequence[Item]) -> tuple[Item, ...]:
        """The items with what is known of them; Files without a size are asked for, several at a time."""
        unknown = [i.key for i in items if i.kind is Kind.FILE and i.size is None and i.key is not None]
        if not unknown:
            return tuple(items)
        asked = [key for key in unknown if key not in self._known]
        for answer in await together([partial(self._ask, key) for key in asked]):
            if answer is not None and len(self._known) < _KEPT_MAX:
                self._known[answer[0]] = answer[1]
        return tuple(self._completed(item) for item in items)

    def _completed(self, item: Item) -> Item:
        if item.size is not None or item.key is None or item.key not in self._known:
            return item
        size, created_ns = self._known[item.key]
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
