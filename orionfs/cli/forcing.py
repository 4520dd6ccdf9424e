"""Ending a mount whoever uses it: what was written is promised as far as that takes moments, the rest stays.

Used by `orionfs umount`. A daemon that does not answer is killed, and no other process ever is.
"""

from __future__ import annotations

import socket
from pathlib import Path

import click

from orionfs.cli.draining import deadline_in, drain, left_over
from orionfs.cli.mounts import unmount
from orionfs.cli.talking import DaemonEnd, connect, order
from orionfs.cli.terminal import printable
from orionfs.errors import ExitStatus, StartupError
from orionfs.mountinfo import ORIONFS_TYPE, MountEntry, mount_at, read_mountinfo

ANSWER_TIMEOUT_S = 5.0


def tell_patience(point: Path, entry: MountEntry, limit_s: float) -> None:
    """Say to the daemon how long it may go on with uploads once nothing is mounted any more."""
    # A connection of its own: on another one it might still be answering.
    connection = connect(point, entry)
    if connection is not None:
        with connection:
            order(connection, "leave", ANSWER_TIMEOUT_S, timeout_s=max(0.0, limit_s))


def unmount_by_force(point: Path, entry: MountEntry, connection: socket.socket) -> int:
    """Unmount now; `connection` is one to the daemon. Raises StartupError: NOT_UPLOADED, FUSE."""
    drained = drain(connection, deadline_in(ANSWER_TIMEOUT_S), lambda _items, _bytes: None, timeout_s=0.0)
    with DaemonEnd(connection) as end:
        if drained.is_done:
            tell_patience(point, entry, 0.0)
            _stop(point, entry)
        if not (drained.is_done and end.is_within(ANSWER_TIMEOUT_S)):
            _kill(point, end)
    while (left := mount_at(read_mountinfo(), point)) is not None and left.fs_type == ORIONFS_TYPE:
        unmount(point, is_lazy=True)
    if not drained.is_done or drained.pending or drained.failed:
        raise left_to_the_next(point, left_over(drained))
    return ExitStatus.OK


def left_to_the_next(point: Path, what: str) -> StartupError:
    """An error that says what is left, and that it is not lost."""
    return StartupError(
        f"{point} is unmounted, but {what} could not be uploaded; nothing is lost: the bytes"
        " are kept on this machine, and the next mount of the same account finishes it",
        ExitStatus.NOT_UPLOADED,
    )


def _stop(point: Path, entry: MountEntry) -> None:
    connection = connect(point, entry)
    if connection is not None:
        with connection:
            order(connection, "stop", ANSWER_TIMEOUT_S)


def _kill(point: Path, end: DaemonEnd) -> None:
    end.kill()
    if end.is_within(ANSWER_TIMEOUT_S):
        words = f"the daemon of {point} (pid {end.pid}) did not answer, and was killed"
    else:
        words = f"the daemon of {point} does not answer, and could not be killed"
    click.echo(f"orionfs: {printable(words)}", err=True)
