"""What is not believed any more after a change of names whose end is not known; part of `namespace`.

The change may have happened or not, so nobody here says what its names mean before Orion was asked again:
neither the last answers, nor what this mount has made of the names before, nor the kernel. Offline the last
that was known still holds. Must not know sessions or contents.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import trio

from orionfs.errors import RemoteFailure, TimedOut
from orionfs.models import KernelView
from orionfs.tables.inodes import Inode
from orionfs.tree.beliefs import Beliefs
from orionfs.tree.places import place_of


class Doubts:
    """The doubts about one mount's names."""

    def __init__(self, beliefs: Beliefs, kernel: KernelView) -> None:
        self._beliefs = beliefs
        self._kernel = kernel

    @contextmanager
    def unless_clear(self, folder: Inode, *names: str) -> Iterator[None]:
        """A change in the block that ends unclearly, or is cut short, leaves a folder and `names` doubted."""
        try:
            yield
        except (TimedOut, RemoteFailure, trio.Cancelled):
            self.ask_again(folder, *names)
            raise

    @contextmanager
    def unless_moved(self, source: Inode, parent: Inode, name: str) -> Iterator[None]:
        """The same for a rename: what is doubted are both of its folders and names."""
        old_parent, old_name = place_of(source)
        with self.unless_clear(old_parent, old_name), self.unless_clear(parent, name):
            yield

    def ask_again(self, folder: Inode, *names: str) -> None:
        """Believe nothing of a folder, nor what this mount has made of `names` and Orion has confirmed.

        The kernel drops the names too, except those that may be a folder's: it must not lose one while it is
        there, and asks for these when their time is over.
        """
        dropped = [name for name in names if not self._may_be_folder(folder, name)]
        self._beliefs.doubt(folder, *names)
        for name in dropped:
            self._kernel.entry_changed(folder.number, name)

    def _may_be_folder(self, folder: Inode, name: str) -> bool:
        child = (folder.children or {}).get(name)
        if child is not None:
            return child.children is not None
        answer = self._beliefs.latest_answer(folder, name)
        return answer is not None and answer[0] is not None and answer[0].is_folder
