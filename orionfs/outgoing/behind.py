"""Work behind its caller that is tried until Orion has done it or has refused it; counted while it lasts.

Used by `sync` and `removals`, which know what the work is. Must not know uploads or inodes.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from math import inf

import trio

from orionfs.errors import OrionFsError
from orionfs.orion.remote import Health, Remote
from orionfs.tasks import Background

log = logging.getLogger(__name__)

_PAUSE_MAX_S = 60.0

Work = Callable[[], Awaitable[object]]
"""Something to be done; doing it again does no harm."""


class Behind:
    """The work of one mount that nobody waits for."""

    def __init__(
        self, remote: Remote, background: Background, on_progress: Callable[[], Awaitable[None]]
    ) -> None:
        self._remote = remote
        self._background = background
        self._on_progress = on_progress
        self._wake = trio.Event()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def start(self, what: str, work: Work) -> None:
        """Do some work in the end; `what` says in the log what it was about, should Orion refuse it."""
        self._count += 1
        self._background.start(what, partial(self._do, work))

    def wake(self) -> None:
        """What waits for its next attempt makes it now."""
        self._wake.set()
        self._wake = trio.Event()

    async def until_done(self, work: Work) -> None:
        """Attempt after attempt, while it makes sense; an error that will stay so is raised."""
        pause_s = 1.0
        while True:
            try:
                await work()
                return
            except OrionFsError as error:
                if not error.is_retryable:
                    raise
                log.debug("tried again in %.0f s: %s", pause_s, error)
            pause_s = min(_PAUSE_MAX_S, pause_s * 2)
            with trio.move_on_after(pause_s / 2 if self._remote.health is Health.ONLINE else inf):
                await self._wake.wait()
                pause_s = 1.0

    async def _do(self, work: Work) -> None:
        try:
            await self.until_done(work)
        finally:
            self._count -= 1
        await self._on_progress()
