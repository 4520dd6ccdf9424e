"""Names that somebody else has taken while a version was written here; part of `namespace`.

What was heard of such a name from Orion, whatever this mount shows there meanwhile, and how the tree changes
when the version written here goes beside it. Must not know sessions or contents.
"""

from __future__ import annotations

from dataclasses import replace
from math import inf

from orionfs.models import Item, KernelView, Key
from orionfs.outgoing.conflicts import Heard
from orionfs.tables.inodes import Inode, InodeTable
from orionfs.tables.names import encode_name
from orionfs.tree.beliefs import Beliefs, touch


class Rivals:
    """The other writers of one mount's names."""

    def __init__(self, inodes: InodeTable, beliefs: Beliefs, kernel: KernelView) -> None:
        self._inodes = inodes
        self._beliefs = beliefs
        self._kernel = kernel

    def heard(self, inode: Inode) -> Heard | None:
        """The last that Orion told of the name of an inode, and when; None: nothing."""
        if inode.parent is None or not inode.is_attached:
            return None
        answer = self._beliefs.heard(inode.parent, inode.name)
        if answer is None:
            return None
        item, at_s = answer
        return Heard(item.key if item is not None else None, at_s)

    def left(self, folder: Inode, name: str, key: Key, now_s: float) -> None:
        """An item that nobody was shown under a name has gone from there: answers before that say no more."""
        changes = self._beliefs.changes
        change = changes.get(folder.number, name)
        item = change.item if change is not None else self._beliefs.known(folder, name)
        is_under_way = change is not None and change.settled_at_s == inf
        changes.record(folder.number, name, item, inf if is_under_way else now_s, key)

    def spare(self, inode: Inode) -> None:
        """What a version written here began from is not replaced by it: wherever it is now, it is shown."""
        if inode.parent is None or not inode.is_attached:
            return
        self._beliefs.changes.withdraw(inode.parent.number, inode.name)
        if inode.item.key is not None:
            self._beliefs.doubt(inode.parent)
            inode.item = replace(inode.item, id=None)

    def lose(self, inode: Inode) -> None:
        """What was written can't get to Orion: who has it open keeps it, its name means what Orion has.

        The kernel's pages hold what was written, so that is another number's from now on.
        """
        parent, name = inode.parent, inode.name
        if parent is not None and inode.is_attached:
            self.spare(inode)
            self._inodes.detach(inode)
            self._kernel.entry_changed(parent.number, name)

    def give_way(self, inode: Inode, true_name: str, theirs: Item | None) -> None:
        """A version written here gets another name; who has it open stays in it.

        `theirs` is what its name means now, as far as it was told.
        """
        parent, name = inode.parent, inode.name
        if parent is None or not inode.is_attached:
            return
        self.spare(inode)
        self._beliefs.doubt(parent)
        if theirs is not None:
            self._beliefs.learn(parent, name, theirs)
        self._inodes.attach(inode, parent, encode_name(true_name))
        touch(parent)
        self._kernel.entry_changed(parent.number, name)
