"""Tasks in the background: what goes wrong in one is logged, and never ends the daemon. A leaf."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import trio

from orionfs.errors import OrionFsError

log = logging.getLogger(__name__)


class Steps:
    """Steps of what goes on in the background, for those who wait for the next one."""

    def __init__(self) -> None:
        self._next = trio.Event()
        self.count = 0

    async def note(self) -> None:
        """One more thing is over."""
        self.count += 1
        self._next.set()
        self._next = trio.Event()

    async def wait(self, limit_s: float, since: int | None = None) -> None:
        """Wait for the next step, or for the next one after there were `since`, or for so many seconds.

        Who awaits anything between looking and waiting here says what `count` was when it looked.
        """
        if since is not None and self.count != since:
            return
        with trio.move_on_after(limit_s):
            await self._next.wait()


class Background:
    """A nursery whose tasks can't hurt each other; `run` it for as long as they may live."""

    def __init__(self) -> None:
        self._nursery: trio.Nursery | None = None

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Be the parent of the tasks. Ends when cancelled, and all of them with it."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            try:
                task_status.started()
                await trio.sleep_forever()
            finally:
                self._nursery = None

    def start(self, what: str, work: Callable[[], Awaitable[object]]) -> None:
        """Start a task; `what` says in the log what it was about. At the end of the mount: nothing."""
        if self._nursery is None:
            log.debug("%s is left to the next mount", what)
            return
        self._nursery.start_soon(_guarded, what, work, name=what)


async def _guarded(what: str, work: Callable[[], Awaitable[object]]) -> None:
    try:
        await work()
    except OrionFsError as error:
        log.warning("%s: %s", what, error)
    except Exception:
        log.exception("%s: unexpected", what)
