"""`orionfs umount`: first everything goes up to Orion, then the mount goes away, then the daemon ends."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import click

from orionfs.cli.draining import Drained, deadline_in, drain, left_over, tell_failed, tell_left
from orionfs.cli.forcing import left_to_the_next, tell_patience, unmount_by_force
from orionfs.cli.mounts import (
    Health,
    MountBusy,
    point_of,
    probe,
    unmount,
    users_of,
    wait_until_gone,
    wrong_mount_point,
)
from orionfs.cli.talking import DaemonEnd, connect
from orionfs.cli.terminal import printable, uploading, waiting
from orionfs.errors import ExitStatus, StartupError
from orionfs.mountinfo import ORIONFS_TYPE, MountEntry, mount_at, read_mountinfo

# What a daemon may take to end once nothing is mounted any more.
END_TIMEOUT_S = 30.0
# Of the 5 s that the whole command may take where Orion does not answer; the rest is to end the daemon.
OFFLINE_S = 3.0
# What a daemon allows itself for uploads once nothing is mounted, if nobody says otherwise.
USUAL_PATIENCE_S = 60.0


@click.command(short_help="Upload what is left, then unmount.")
@click.argument("mountpoint", required=False)
@click.option("-p", "--profile", help="Without MOUNTPOINT: the profile that says where; as for mount.")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for uploads that are under way; 5 s at most where Orion does not answer.",
)
@click.option(
    "--force",
    is_flag=True,
    help="Unmount now, whoever uses it, uploaded or not; a daemon that does not answer is killed.",
)
def umount(mountpoint: str | None, profile: str | None, timeout_s: float, force: bool) -> int:
    """Upload what is left to upload, then unmount MOUNTPOINT; without it, what a profile is mounted on.

    A mount that is in use stays; the programs that use it are named. A mount whose daemon has died is
    taken away at once. Nothing is lost when uploads fail, take longer than the timeout, or are not waited
    for with --force: their bytes stay on this machine, and the next mount of the same account finishes
    them.

    \b
    Examples:
        orionfs umount ~/orion
        orionfs umount --force ~/orion

    \b
    Exit statuses: 0 unmounted, 6 no mount of orionfs is there, 16 in use,
    75 unmounted, but not everything could be uploaded.
    """
    point = point_of(mountpoint, profile)
    # We ourselves must not be what keeps the mount busy.
    os.chdir("/")
    entry = mount_at(read_mountinfo(), point)
    if entry is None:
        raise wrong_mount_point(f"nothing is mounted on {point}")
    if entry.fs_type != ORIONFS_TYPE:
        raise wrong_mount_point(f"{point} is not a mount of orionfs: it is {entry.source} ({entry.fs_type})")
    connection = connect(point, entry)
    if connection is None:
        return _unmount_without_daemon(point, force)
    with connection:
        if force:
            return unmount_by_force(point, entry, connection)
        return _unmount_with_daemon(point, entry, connection, timeout_s)


def _unmount_without_daemon(point: Path, is_forced: bool) -> int:
    if is_forced:
        unmount(point, is_lazy=True)
    elif probe(point) is Health.DEAD:
        unmount(point, is_lazy=True)
        click.echo(f"the daemon of {printable(str(point))} had died; the mount is taken away")
    else:
        _unmount_or_name_users(point)
    return ExitStatus.OK


def _unmount_with_daemon(point: Path, entry: MountEntry, connection: socket.socket, timeout_s: float) -> int:
    left_s = deadline_in(timeout_s)
    with uploading(f"waiting for uploads of {point}") as show:
        drained = drain(connection, left_s, show, offline_s=OFFLINE_S)
    with DaemonEnd(connection) as end:
        tell_patience(point, entry, left_s() if drained.is_all_uploaded else 0.0)
        try:
            _unmount_or_name_users(point)
        except StartupError:
            tell_patience(point, entry, USUAL_PATIENCE_S)
            raise
        with waiting("waiting for the daemon to end"):
            has_ended = wait_until_gone(point, END_TIMEOUT_S) and end.is_within(END_TIMEOUT_S)
    if not has_ended:
        click.echo(f"orionfs: the daemon of {printable(str(point))} is still at work", err=True)
    return ExitStatus.OK if drained.is_all_uploaded else _not_uploaded(point, drained)


def _not_uploaded(point: Path, drained: Drained) -> int:
    """Say what is left, and that it is not lost."""
    if drained.is_all_kept:
        return tell_left(drained, "")
    tell_failed(drained)
    raise left_to_the_next(point, left_over(drained))


def _unmount_or_name_users(point: Path) -> None:
    """Unmount, or say who is in the way."""
    try:
        unmount(point, is_lazy=False)
    except MountBusy:
        users = users_of(point)
        by = f" by {', '.join(users)}" if users else ""
        raise StartupError(
            f"{point} is in use{by}: close what is open there, leave the directory, and try again",
            ExitStatus.BUSY,
        ) from None
