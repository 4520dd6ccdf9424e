"""What comes from outside: signals, and the end of the process that started the mount."""

from __future__ import annotations

import logging
import signal

import trio

from orionfs import fuse
from orionfs.daemon.layers import Layers
from orionfs.daemon.service import Service
from orionfs.daemon.stacks import tell_stacks

log = logging.getLogger(__name__)

ENDING = (signal.SIGTERM, signal.SIGINT)


async def end(layers: Layers) -> None:
    """End the mount; the kernel hears nothing from then on."""
    await layers.kernel.close()
    fuse.terminate()


async def heed_signals(
    layers: Layers,
    unit: Service,
    is_led: bool,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """End at a signal, refresh at SIGHUP, tell at SIGUSR1 where everything is.

    `is_led`: who started this mount ends it, once nobody works on it any more.
    """
    for each in ENDING:  # what comes after the first is sent again when the receiver closes: not to kill us
        signal.signal(each, signal.SIG_IGN)
    with trio.open_signal_receiver(*ENDING, signal.SIGHUP, signal.SIGUSR1) as signals:
        task_status.started()
        async for number in signals:
            if number == signal.SIGHUP:
                log.info("signal SIGHUP: everything known is asked for again")
                unit.reloading(layers.refresher.start("/"))
            elif number == signal.SIGUSR1:
                tell_stacks()
            elif is_led:
                log.info("signal %s is left to the process that started this", signal.Signals(number).name)
            else:
                log.info("signal %s: unmounting", signal.Signals(number).name)
                await end(layers)


async def end_with_starter(
    layers: Layers, life_fd: int | None, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    """End when the other end of a pipe is closed: whoever held it has ended, in whatever way."""
    task_status.started()
    if life_fd is None:
        return
    await trio.lowlevel.wait_readable(life_fd)
    log.info("the process that started this mount has ended: unmounting")
    await end(layers)
