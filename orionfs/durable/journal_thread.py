"""The journal from trio: it is blocking and has one thread; what it was asked to write is awaited.

Writes that come while the thread is at work are made together, with one sync of the disk for all of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

import trio

from orionfs.durable.journal import Journal, UploadRow
from orionfs.errors import disk_error

_T = TypeVar("_T")
_SYNCED_APART_BYTES = 2**20  # what takes long to reach the disk keeps nobody else's promises waiting


@dataclass(eq=False, slots=True)
class _Write:
    write: Callable[[Journal], Any]
    over: trio.Event = field(default_factory=trio.Event)
    value: Any = None
    error: BaseException | None = None


class JournalThread:
    """Writes to one journal, in the order of asking."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self._turn = trio.Lock()
        self._limiter = trio.CapacityLimiter(1)
        self._waiting: list[_Write] = []

    async def run(self, write: Callable[[Journal], _T]) -> _T:
        """What `write` gives, from a worker thread. Raises its LocalDiskError, NoSpace."""
        own = _Write(write)
        self._waiting.append(own)
        try:
            async with self._turn:
                if not own.over.is_set():
                    await self._write_all()
        except trio.Cancelled:
            if own in self._waiting:
                self._waiting.remove(own)
                raise
            with trio.CancelScope(shield=True):  # it is being written, so its caller has to know
                await own.over.wait()
        if own.error is not None:
            raise own.error
        return cast("_T", own.value)

    async def seal(
        self, row: UploadRow, descriptor: int, supersedes: Sequence[UploadRow], folder: Path
    ) -> None:
        """Promise a version, as `Journal.seal` does."""
        if row.size_bytes >= _SYNCED_APART_BYTES:
            try:
                await trio.to_thread.run_sync(os.fdatasync, descriptor)
            except OSError as error:
                raise disk_error(error, f"{row.path}: staged bytes") from error
        await self.run(lambda journal: journal.seal(row, descriptor, supersedes, folder))

    async def _write_all(self) -> None:
        """Make all writes that wait now; each has its own value or error."""
        group, self._waiting = self._waiting, []
        with trio.CancelScope(shield=True):  # others rely on it, whether or not this caller gives up
            await trio.to_thread.run_sync(_write_together, self.journal, group, limiter=self._limiter)
        for each in group:
            each.over.set()


def _write_together(journal: Journal, group: Sequence[_Write]) -> None:
    if len(group) == 1:
        _do(journal, group[0])
    else:
        try:
            with journal.together():
                for each in group:
                    if not journal.is_together:
                        break  # what was begun is undone, and the end says why
                    _do(journal, each)
        except BaseException as error:  # of the disk at the end: none of them is kept
            for each in group:
                each.error = each.error or error


def _do(journal: Journal, each: _Write) -> None:
    try:
        each.value = each.write(journal)
    except BaseException as error:
        each.error = error
