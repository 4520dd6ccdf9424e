"""Where on Orion items were when something told it: hints for whoever looks for them, never believed.

What finds items by tag or by id is told paths along with them, on most stacks. Kept in memory, bounded.
Pure; must not know sessions or the tree.
"""

from __future__ import annotations

from orionfs.models import Key

_ITEMS_MAX = 10_000


class Sightings:
    """Orion paths of items; beyond `items_max` those that were told first are forgotten."""

    def __init__(self, items_max: int = _ITEMS_MAX) -> None:
        self._items_max = items_max
        self._paths: dict[Key, str] = {}

    def note(self, key: Key | None, path: str | None) -> None:
        """Something told where an item is."""
        if key is None or not path:
            return
        self._paths.pop(key, None)
        self._paths[key] = path
        if len(self._paths) > self._items_max:
            del self._paths[next(iter(self._paths))]

    def path_of(self, key: Key) -> str | None:
        """Where an item was when somebody told it last."""
        return self._paths.get(key)
