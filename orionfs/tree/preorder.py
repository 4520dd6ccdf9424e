"""The order in which programs go through a tree: the folders after a folder, and the files in each.

A folder comes before what is in it; its entries come in the order of the listing (grep, tar, rsync), or in
that of their inode numbers (cp). Looks at what is known and asks nothing. Must not know contents or who
reads them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from enum import Enum

from orionfs.models import InodeNumber, Item, Kind
from orionfs.tables.inodes import Inode
from orionfs.tables.metacache import Entries
from orionfs.tree.namespace import Namespace

ENTRIES_MAX = 1000
"""Folders with more are not gone through: to look for a place in them takes too long."""
_FOLDERS_MAX = 8  # that are looked at for the next one with files


class Order(Enum):
    """How the entries of a folder follow each other."""

    LISTING = "by name"
    NUMBERS = "by inode number"


class Preorder:
    """A tree as somebody goes through it who enters every folder."""

    def __init__(self, namespace: Namespace) -> None:
        self._namespace = namespace
        self._beliefs = namespace.beliefs

    def files(self, folder: Inode, order: Order) -> list[str]:
        """Names of the files in a folder; none where that is not known, or it is too large."""
        return [name for name, item in self._entries(folder, order) if item.kind is Kind.FILE]

    def next_folder(self, folder: Inode, order: Order) -> Inode | None:
        """The next folder with files, as far as the listings on the way there are known."""
        after: Inode | None = None
        for _ in range(_FOLDERS_MAX):
            if folder.is_virtual:
                return None
            found = next(self._subfolders(folder, after, order), None)
            if found is not None:
                folder, after = found, None
                if self.files(folder, order):
                    return folder
            elif folder.parent is None:
                return None
            else:
                folder, after = folder.parent, folder
        return None

    def _subfolders(self, folder: Inode, after: Inode | None, order: Order) -> Iterator[Inode]:
        """The folders in a folder, all or those after one of them."""
        is_after = after is None
        children = folder.children or {}
        for name, item in self._entries(folder, order):
            found = children.get(name) if item.kind is Kind.FOLDER else None
            if found is None:
                continue  # no listing is known of a folder that has no inode
            if is_after:
                yield found
            is_after = is_after or found is after

    def _entries(self, folder: Inode, order: Order) -> list[tuple[str, Item]]:
        listed = self._beliefs.entries(folder)
        if listed is None or len(listed) > ENTRIES_MAX:
            return []
        entries = list(Entries(listed))
        if order is Order.NUMBERS:
            entries.sort(key=lambda entry: self._number(folder, *entry))
        return entries

    def _number(self, folder: Inode, name: str, item: Item) -> InodeNumber:
        known = (folder.children or {}).get(name)
        return known.number if known is not None else self._namespace.inodes.usual_number(folder, item)


def place_of(entries: Entries, name: str) -> int:
    """Where a name is in a listing, or would be."""
    return bisect_left(entries, name, key=lambda entry: entry[0])
