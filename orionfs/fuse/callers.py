"""Whether the program that waits for an answer is to die: the kernel does not tell us, /proc does.

A system call that waits for us can't be interrupted once we have it, and pyfuse3 passes no interrupts on.
So a long wait looks at who opened the file now and then. Must not know what is waited for.
"""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import trio

from orionfs.errors import Interrupted

_LOOK_EVERY_S = 1.0
_FATAL = sum(1 << (number - 1) for number in (signal.SIGKILL, signal.SIGINT))


class Callers:
    """Who has opened each handle for writing, as far as that is known.

    A descriptor may have been inherited: then its opener stands for whoever flushes it.
    """

    def __init__(self) -> None:
        self._pids: dict[int, int] = {}

    def note(self, handle: int, ctx: Any) -> None:
        """`ctx` is what the kernel tells of the process that opens a file."""
        if ctx is not None:
            self._pids[handle] = ctx.pid

    def forget(self, handle: int) -> None:
        """The handle is closed."""
        self._pids.pop(handle, None)

    async def while_alive(self, handle: int, work: Callable[[], Awaitable[None]]) -> None:
        """Do some work that goes on by itself; Interrupted once its caller has a fatal signal pending.

        `work` is cancelled then, and must lose nothing by it.
        """
        pid = self._pids.get(handle)
        if pid is None:
            await work()
            return
        failed: Exception | None = None
        with trio.CancelScope() as waiting:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_cancel_for_signal, pid, waiting)
                try:
                    await work()
                except Exception as error:  # raised below: a nursery would wrap it
                    failed = error
                nursery.cancel_scope.cancel()
            if failed is not None:
                raise failed
            return
        raise Interrupted(f"process {pid} is to end; what it wrote is kept, and uploaded behind it")


async def _cancel_for_signal(pid: int, waiting: trio.CancelScope) -> None:
    await trio.sleep(_LOOK_EVERY_S)  # most work is done by then
    while not has_fatal_signal(pid):  # noqa: ASYNC110  /proc tells nobody of its own accord
        await trio.sleep(_LOOK_EVERY_S)
    waiting.cancel()


def has_fatal_signal(pid: int) -> bool:
    """True if SIGKILL, or a SIGINT that is not ignored, waits for a process or one of its threads."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return any(_has_fatal_signal(task / "status") for task in tasks)
    except OSError:  # it is gone, and so is who could hear of it
        return False


def _has_fatal_signal(status: Path) -> bool:
    masks = dict(line.split(":", 1) for line in status.read_text().splitlines() if line.startswith("S"))
    pending, ignored = (
        int(masks[name], 16) | int(masks.get(more, "0"), 16)
        for name, more in (("SigPnd", "ShdPnd"), ("SigIgn", "SigBlk"))
    )
    return bool(pending & _FATAL & ~ignored)
