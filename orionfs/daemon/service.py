"""What the service manager of a mount hears: ready, reloading, stopping, how it is, signs of life.

A sign of life says that the loop which answers the kernel turns, and that no request waits in the kernel
while nobody takes it. Does nothing where there is no service manager. Must not decide how it is.
"""

from __future__ import annotations

import trio

from orionfs import fuse
from orionfs.daemon.layers import Layers
from orionfs.notify import Notifier
from orionfs.tree.refresh import Refreshed

_LOOK_EVERY_S = 2.0  # at how it is; uploads are told of as they end
_TELL_AT_MOST_EVERY_S = 1.0
_SIGNS_IN_A_LIMIT = 4  # one that comes late under load is not yet a dead one


class Service:
    """This daemon as its service manager sees it."""

    def __init__(self, manager: Notifier, layers: Layers) -> None:
        self._manager = manager
        self._layers = layers
        self._pulse = fuse.Pulse(layers.operations.presentation)
        self._told = ""
        self._reloads = 0
        self._nursery: trio.Nursery | None = None

    def ready(self) -> None:
        """The mount answers."""
        self._manager.send(READY=1)
        self._tell_how_it_is()

    def reloading(self, refreshed: Refreshed) -> None:
        """Everything known is asked for again; it is told when that is over."""
        if self._nursery is not None:
            self._reloads += 1
            self._manager.reloading()
            self._nursery.start_soon(self._end_reload, refreshed)

    async def _end_reload(self, refreshed: Refreshed) -> None:
        await refreshed.done.wait()
        self._reloads -= 1
        if self._reloads == 0:
            self._manager.send(READY=1)

    def stopping(self) -> None:
        """Nothing is mounted any more; what is left is brought to Orion."""
        self._manager.send(STOPPING=1)
        self._tell_how_it_is()

    async def run(self) -> None:
        """Say how it is whenever that has changed, and give signs of life, until cancelled."""
        if self._manager.address is None:
            return
        async with trio.open_nursery() as self._nursery:
            self._nursery.start_soon(self._give_signs)
            while True:
                await self._layers.sync.steps.wait(_LOOK_EVERY_S)
                self._tell_how_it_is()
                await trio.sleep(_TELL_AT_MOST_EVERY_S)
                self._tell_how_it_is()

    async def _give_signs(self) -> None:
        if self._manager.watchdog_s is None:
            return
        while True:
            if self._is_serving():
                self._manager.send(WATCHDOG=1)
            await trio.sleep(self._manager.watchdog_s / _SIGNS_IN_A_LIMIT)

    def _is_serving(self) -> bool:
        """Whether the kernel's requests are taken; true before and after the mount: the loop turns."""
        operations = self._layers.operations
        return not operations.begun.is_set() or operations.ended.is_set() or self._pulse.beats()

    def _tell_how_it_is(self) -> None:
        words = in_a_line(self._layers)
        if words != self._told:
            self._told = words
            self._manager.send(STATUS=words)


def in_a_line(layers: Layers) -> str:
    """The health of Orion, and how much is not there yet: "online, 2 changes to upload"."""
    pending = layers.sync.pending_count
    waits = (
        f"{pending} {'change' if pending == 1 else 'changes'} to upload" if pending else "nothing to upload"
    )
    return f"{layers.remote.condition.in_words()}, {waits}"
