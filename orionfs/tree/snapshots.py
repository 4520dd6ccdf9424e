"""What a folder held at one moment, for whoever reads it entry by entry; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from orionfs.models import Item
from orionfs.tables.inodes import Inode


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Visible names and items of a folder, taken and believed at these moments (seconds)."""

    entries: Sequence[tuple[str, Item]]
    taken_at_s: float
    holds_until_s: float

    def moves(self, known: Inode, item: Item) -> bool:
        """True if what is known under the name of `item` is here under another: it must not be at both."""
        key = known.item.key
        if key is None or known.item.is_same_version(item):
            return False
        return any(other.key == key for _, other in self.entries)
