"""A range of a version on its way into a file: how far it has come, who waits for it, when it has stalled.

Made and waited for in the trio thread; the worker thread that brings the bytes only reports to an
`Attempt`. What has arrived of a part is never asked for again, however often it breaks off. Must not know
sessions, caches or what the file is.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from math import inf
from pathlib import Path

import trio

from orionfs.orion.limiter import Priority, Urgency, current_urgency

_STALLED_S = 5.0  # without a byte, while other parts get some
_ALONE_SHARE = 4  # of the time without a byte that is allowed at all: restarted then, with nothing to compare


class GivenUp(Exception):
    """Tells a thread that nobody waits for its part any longer."""


class Attempt:
    """What one attempt to bring the rest of a part reports to; called by its thread with bytes written."""

    def __init__(self, part: Part) -> None:
        self._part = part
        self.at = part.arrived
        self.is_begun = False

    def begin(self) -> None:
        """It has a place to run in; until then nothing is expected of it."""
        self.is_begun = True

    def __call__(self, count: int) -> None:
        """So many more bytes are in the file; 0: there are some to come. Raises GivenUp, RunFinishedError."""
        part = self._part
        if part.attempt is not self:
            raise GivenUp
        part.is_found = True
        self.at += count
        part.arrived = self.at
        part.line.arrived_bytes += count
        if self.at >= part.wake_at:
            part.token.run_sync_soon(part.tell, idempotent=True)


@dataclass(slots=True)
class Line:
    """What all parts of a mount get together, and how long one may go without a byte at most, in seconds."""

    inactivity_s: float = 60.0
    arrived_bytes: int = 0


class Part:
    """Bytes [start, end) of a version, which go to `start - base` and on of a file."""

    def __init__(
        self,
        start: int,
        end: int,
        line: Line | None = None,
        *,
        base: int = 0,
        priority: Priority = Priority.FOREGROUND,
    ) -> None:
        self.start, self.end, self.base = start, end, base
        self.line = line or Line()
        self.arrived = start  # all before it is in the file
        self.is_found = False  # the version is on Orion, as this was told
        self.urgency = Urgency(priority)
        self.attempt: Attempt | None = None
        self._seen, self._moved_at_s = start, trio.current_time()
        self.token = trio.lowlevel.current_trio_token()
        self.wake_at: float = inf
        self._news = trio.Event()
        self._is_over = False

    def __repr__(self) -> str:
        return f"<Part [{self.start}, {self.end}) {self.arrived - self.start} bytes here>"

    @property
    def expires_at_s(self) -> float:
        """When it will have gone without a byte for too long."""
        if self.arrived != self._seen:
            self.expect_from_now()
        return self._moved_at_s + self.line.inactivity_s

    def expect_from_now(self) -> None:
        """It may go without a byte for as long as ever again."""
        self._seen, self._moved_at_s = self.arrived, trio.current_time()

    def begin_attempt(self) -> Attempt:
        """From now on what an earlier attempt brings is not reported, and its thread ends."""
        self.attempt = Attempt(self)
        return self.attempt

    def finish(self) -> None:
        """Nothing more will come; wakes all who wait."""
        self._is_over, self.attempt = True, None
        self.tell()

    async def wait_for(self, offset: int) -> None:
        """Wait until all before `offset` has arrived, or until nothing more will come."""
        self.urgency.raise_to(current_urgency().priority)
        while self.arrived < offset and not self._is_over:
            self.wake_at = min(self.wake_at, offset)
            if self.arrived < offset:  # the thread may have passed it meanwhile, and told nobody
                await self._news.wait()

    async def until_found(self) -> None:
        """Wait until the version is known to be there, or until nothing more will come."""
        self.urgency.raise_to(current_urgency().priority)
        while not (self.is_found or self._is_over):
            self.wake_at = self.start
            if not self.is_found:  # as above
                await self._news.wait()

    def tell(self) -> None:
        """Let all who wait look again."""
        self.wake_at = inf
        news, self._news = self._news, trio.Event()
        news.set()

    async def watch(self, attempt: Attempt, patience: int, attempt_scope: trio.CancelScope) -> None:
        """End an attempt that gets no bytes: soon while others get some, else after a while.

        `patience` is how often the part was begun again before: each time is given twice as long.
        """
        others_s = min(_STALLED_S * 2**patience, self.line.inactivity_s)
        alone_s = min(self.line.inactivity_s / _ALONE_SHARE * 2**patience, self.line.inactivity_s)
        seen, total, silent_s = attempt.at, self.line.arrived_bytes, 0.0
        step_s = min(others_s, alone_s) / 2
        while True:
            await trio.sleep(step_s)
            if attempt.at != seen or not attempt.is_begun:
                seen, total, silent_s = attempt.at, self.line.arrived_bytes, 0.0
                self.expect_from_now()
                continue
            silent_s += step_s
            is_only_here = self.line.arrived_bytes != total
            if silent_s >= (others_s if is_only_here else alone_s):
                attempt_scope.cancel()
                return


class Growth:
    """Whether a download that reports nothing goes on: the folder that it writes to grows.

    A client that keeps the bytes elsewhere until it has all of them has `unseen_s` seconds for that.
    """

    def __init__(self, folder: Path, inactivity_s: float, unseen_s: float) -> None:
        self._folder = folder
        self._inactivity_s, self._unseen_s = inactivity_s, unseen_s
        self._is_begun = False

    def begin(self) -> None:
        """It has a place to run in; until then nothing is expected of it."""
        self._is_begun = True

    async def watch(self, attempt_scope: trio.CancelScope) -> None:
        """End a download whose folder has not grown for too long."""
        step_s = self._inactivity_s / 4
        first = seen = self._size()
        silent_s = 0.0
        while True:
            await trio.sleep(step_s)
            size = self._size()
            if size != seen or not self._is_begun:
                seen, silent_s = size, 0.0
                continue
            silent_s += step_s
            if silent_s >= (self._unseen_s if seen == first else self._inactivity_s):
                attempt_scope.cancel()
                return

    def _size(self) -> int:
        try:
            with os.scandir(self._folder) as entries:
                return sum(entry.stat().st_size for entry in entries)
        except FileNotFoundError:  # a name that was just given to its file
            return 0
