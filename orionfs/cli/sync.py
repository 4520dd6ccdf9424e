"""`orionfs sync`: wait until everything that was written to a mount, or removed in it, is on Orion."""

from __future__ import annotations

import socket
from collections.abc import Callable
from math import inf
from pathlib import Path

import click

from orionfs.cli.draining import deadline_in, drain, tell_left
from orionfs.cli.mounts import resolve, wrong_mount_point
from orionfs.cli.talking import connect
from orionfs.cli.terminal import uploading
from orionfs.errors import ExitStatus, StartupError
from orionfs.mountinfo import ORIONFS_TYPE, mount_at, read_mountinfo


@click.command(short_help="Wait until everything is on Orion.")
@click.argument("mountpoint", required=False)
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="How long to wait; without it, until the end.",
)
def sync(mountpoint: str | None, timeout_s: float | None) -> int:
    """Wait until all that was written to MOUNTPOINT, or removed in it, is on Orion.

    Without MOUNTPOINT: every mount of yours. What was refused before is tried once more. The mount goes on
    with what is left when the command ends early; what Orion refused to remove is there again.

    \b
    Example:
        orionfs sync ~/orion

    \b
    Exit statuses: 0 Orion has everything, 6 no mount of orionfs is there,
    75 something could not be brought to Orion.
    """
    left_s = deadline_in(inf if timeout_s is None else timeout_s)
    mounts = [_mount_at(mountpoint)] if mountpoint is not None else _own_mounts()
    return max(_sync(point, connection, left_s) for point, connection in mounts)


def _sync(point: Path, connection: socket.socket, left_s: Callable[[], float]) -> ExitStatus:
    with connection, uploading(f"waiting for uploads of {point}") as show:
        drained = drain(connection, left_s, show)
    if drained.is_all_uploaded:
        return ExitStatus.OK
    return tell_left(drained, f"{point} goes on with it; its bytes are kept on this machine until then")


def _mount_at(mountpoint: str) -> tuple[Path, socket.socket]:
    point = resolve(mountpoint)
    entry = mount_at(read_mountinfo(), point)
    if entry is None or entry.fs_type != ORIONFS_TYPE:
        raise wrong_mount_point(f"{point} is not a mount of orionfs")
    connection = connect(point, entry)
    if connection is None:
        raise StartupError(f"the daemon of {point} does not answer", ExitStatus.FAILED)
    return point, connection


def _own_mounts() -> list[tuple[Path, socket.socket]]:
    """The mounts whose daemons listen to this user."""
    points = {entry.mountpoint: entry for entry in read_mountinfo() if entry.fs_type == ORIONFS_TYPE}
    found = [(point, connect(point, entry)) for point, entry in points.items()]
    mounts = [(point, connection) for point, connection in found if connection is not None]
    if not mounts:
        raise wrong_mount_point("nothing of orionfs is mounted")
    return mounts
