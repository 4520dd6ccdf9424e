"""Makes the kernel forget what it holds beyond the limit, so that our table of inodes stays bounded.

The kernel keeps every inode that it has heard of until its memory runs short, and we must keep what it
knows. Over the limit the entries of unopened files are invalidated, those of the least recently used
folders first; what is needed again is looked up again. Never a folder: somebody may stand in it.
"""

from __future__ import annotations

from itertools import islice
from typing import Protocol

import trio

from orionfs.models import KernelView
from orionfs.tables.inodes import Inode
from orionfs.tree.namespace import Namespace

_KEPT_SHARE = 0.9  # of the limit, when it was exceeded
_AT_ONCE = 8192  # entries that wait to be told: other news must not wait long behind them
_SETTLING_S = 10.0
_PAUSE_S = 0.01  # what the kernel forgets comes back to us as requests
_FRUITLESS_PAUSE_S = 5.0


class Teller(KernelView, Protocol):
    """A `KernelView` that says when the kernel knows all it was told."""

    async def settled(self, limit_s: float) -> bool:
        """Wait until it does; False if it does not within the time."""


class Forgetting:
    """Keeps the number of inodes that the kernel knows near a limit."""

    def __init__(self, namespace: Namespace, kernel: Teller, items_max: int) -> None:
        self._inodes = namespace.inodes
        self._uses = namespace.uses
        self._kernel = kernel
        self._items_max = items_max
        self._uses.items_max = items_max

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Look after the limit until cancelled."""
        task_status.started()
        while True:
            self._uses.is_full = trio.Event()
            await self._uses.is_full.wait()
            while len(self._inodes) > self._items_max:
                told = self._tell(len(self._inodes) - int(_KEPT_SHARE * self._items_max))
                await self._kernel.settled(_SETTLING_S)
                await trio.sleep(_PAUSE_S if told else _FRUITLESS_PAUSE_S)
                if not told:
                    break

    def _tell(self, too_many: int) -> int:
        """Tell the kernel to forget so many files, or as many as may be told at once; how many that are."""
        told = 0
        wanted = min(too_many, _AT_ONCE)
        for number in self._uses.oldest():
            folder = self._inodes.find(number)
            files = list(islice(_forgettable(folder), wanted - told)) if folder is not None else []
            for file in files:
                self._kernel.entry_changed(number, file.name)
            told += len(files)
            if told >= wanted:
                break
            self._uses.drop(number)  # until it is used again there is nothing more to gain
        return told


def _forgettable(folder: Inode) -> list[Inode]:
    """Files that the kernel knows and nobody has open."""
    return [
        child
        for child in (folder.children or {}).values()
        if child.children is None and child.lookups and not child.opens and not child.pins
    ]
