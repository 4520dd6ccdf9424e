"""What a folder held at one moment, as an opened directory gives it; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from orionfs.inodes import Inode
from orionfs.models import Item


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Visible names and items of a folder, taken and believed at these moments (seconds)."""

    entries: Sequence[tuple[str, Item]]
    taken_at_s: float
    holds_until_s: float


def moves(known: Inode, item: Item, snapshot: Snapshot) -> bool:
    """True if a snapshot has what is known under a name under another one: it must not be at both."""
    key = known.item.key
    if key is None or known.item.is_same_version(item):
        return False
    return any(other.key == key for _, other in snapshot.entries)
