"""What of a mount may not be changed through it: protected subtrees, and views of what lies elsewhere.

A subtree is known by its place in the mount, so nothing may be renamed that would take that place
elsewhere. Pure; asked before anything is done. Must not know why a place is protected.
"""

from __future__ import annotations

from collections.abc import Sequence

from orionfs.errors import ReadOnly
from orionfs.tables.inodes import Inode

ALL: tuple[tuple[str, ...], ...] = ((),)
"""The subtree that is all of a mount."""


class Protection:
    """The subtrees of one mount that are read-only, each by the names that lead there."""

    def __init__(self, subtrees: Sequence[tuple[str, ...]] = ()) -> None:
        self._subtrees = tuple(subtrees)

    def check(self, inode: Inode) -> None:
        """Contents or attributes of `inode` are to change. Raises ReadOnly."""
        _check_no_view(inode)
        if self._subtrees:
            self._check(_names_of(inode))

    def check_name(self, parent: Inode, name: str) -> None:
        """`name` is to be made in `parent`, or removed from it. Raises ReadOnly."""
        _check_no_view(parent)
        if self._subtrees:
            self._check((*_names_of(parent), name))

    def check_renamed(self, parent: Inode, name: str) -> None:
        """What is at `name` is to go elsewhere, or another thing to come there. Raises ReadOnly."""
        self.check_name(parent, name)
        names = (*_names_of(parent), name) if self._subtrees else ()
        for subtree in self._subtrees:
            if subtree[: len(names)] == names:
                raise ReadOnly(f"/{'/'.join(names)} leads to what is protected: /{'/'.join(subtree)}")

    def _check(self, names: tuple[str, ...]) -> None:
        for subtree in self._subtrees:
            if names[: len(subtree)] == subtree:
                raise ReadOnly(f"/{'/'.join(names)}: {_words_for(subtree)}")


def _words_for(subtree: tuple[str, ...]) -> str:
    return f"/{'/'.join(subtree)} is protected in this mount" if subtree else "the mount is read-only"


def _check_no_view(inode: Inode) -> None:
    place: Inode | None = inode
    while place is not None:
        if place.is_view:
            raise ReadOnly(f"{inode.local_path()} is a view: it is changed where it lies")
        place = place.parent


def _names_of(inode: Inode) -> tuple[str, ...]:
    return tuple(filter(None, inode.local_path().split("/")))
