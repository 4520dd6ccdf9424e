"""The journal from trio: it is blocking and has one thread; what it was asked to write is awaited."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import trio

from orionfs.journal import Journal

_T = TypeVar("_T")


class JournalThread:
    """Writes to one journal, one call at a time, in the order of asking."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self._limiter = trio.CapacityLimiter(1)

    async def run(self, write: Callable[[Journal], _T]) -> _T:
        """What `write` gives, from a worker thread. Raises its LocalDiskError, NoSpace."""
        return await trio.to_thread.run_sync(write, self.journal, limiter=self._limiter)
