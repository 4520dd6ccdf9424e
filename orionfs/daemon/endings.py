"""What comes from outside: signals, and the end of the process that started the mount."""

from __future__ import annotations

import logging
import os
import signal
import threading

import trio

from orionfs import fuse
from orionfs.daemon.layers import Layers
from orionfs.daemon.service import Service
from orionfs.daemon.stacks import tell_stacks
from orionfs.errors import ExitStatus

log = logging.getLogger(__name__)

ENDING = (signal.SIGTERM, signal.SIGINT)
_LET_GO_S = 1.0


async def end(layers: Layers) -> None:
    """End the mount; the kernel hears nothing from then on."""
    await layers.kernel.close()
    fuse.terminate()


def end_process_soon(status: ExitStatus) -> None:
    """All is done that will be: this process ends with `status` within a second, whatever hangs in it.

    The thread of an upload is waited for, and where nothing answers that takes as long as its time-out. What
    was promised is on the disk, and what such a call may still do on Orion is found by its mark.
    """

    def end_now() -> None:
        log.info("a call to Orion hangs: the mount ends without it")
        os._exit(status)

    timer = threading.Timer(_LET_GO_S, end_now)
    timer.daemon = True
    timer.start()


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
