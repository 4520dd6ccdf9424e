"""Which version each version written here has replaced, for whoever still has the old id; pure.

Kept in memory for the life of a mount, bounded. Must not know names or inodes.
"""

from __future__ import annotations

from orionfs.models import Key

_ITEMS_MAX = 10_000


class Predecessors:
    """What was replaced by whom; beyond `items_max` the oldest are forgotten."""

    def __init__(self, items_max: int = _ITEMS_MAX) -> None:
        self._items_max = items_max
        self._replaced: dict[Key, Key] = {}

    def note(self, key: Key | None, replaced: Key | None) -> None:
        """An item has the name that another one had before."""
        if key is None or replaced is None or key == replaced:
            return
        self._replaced.pop(key, None)
        self._replaced[key] = replaced
        if len(self._replaced) > self._items_max:
            del self._replaced[next(iter(self._replaced))]

    def of(self, key: Key | None) -> Key | None:
        """What an item has replaced; None if it replaced nothing, as far as is known."""
        return self._replaced.get(key) if key is not None else None
