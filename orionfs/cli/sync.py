"""`orionfs sync`: wait until everything that was written to a mount, or removed in it, is on Orion."""

from __future__ import annotations

from math import inf

import click

from orionfs.cli.draining import deadline_in, drain, tell_left
from orionfs.cli.mounts import resolve, wrong_mount_point
from orionfs.cli.talking import connect
from orionfs.cli.terminal import printable, waiting
from orionfs.errors import ExitStatus, StartupError
from orionfs.mountinfo import ORIONFS_TYPE, MountEntry, mount_at, read_mountinfo


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

    Without MOUNTPOINT: every mount of orionfs. What was refused before is tried once more. The mount goes on
    with what is left when the command ends early; what Orion refused to remove is there again.

    \b
    Example:
        orionfs sync ~/orion

    \b
    Exit statuses: 0 Orion has everything, 6 no mount of orionfs is there,
    75 something could not be brought to Orion.
    """
    left_s = deadline_in(inf if timeout_s is None else timeout_s)
    entries = [_entry_at(mountpoint)] if mountpoint is not None else _all_entries()
    statuses = []
    for entry in entries:
        connection = connect(entry.mountpoint, entry)
        if connection is None:
            raise StartupError(f"the daemon of {entry.mountpoint} does not answer", ExitStatus.FAILED)
        with connection, waiting(f"waiting for uploads of {entry.mountpoint}") as show:
            drained = drain(connection, left_s, show)
        if not drained.is_all_uploaded:
            where = f"{printable(str(entry.mountpoint))} goes on with it"
            statuses.append(tell_left(drained, f"{where}; its bytes are kept on this machine until then"))
    return max(statuses, default=ExitStatus.OK)


def _entry_at(mountpoint: str) -> MountEntry:
    point = resolve(mountpoint)
    entry = mount_at(read_mountinfo(), point)
    if entry is None or entry.fs_type != ORIONFS_TYPE:
        raise wrong_mount_point(f"{point} is not a mount of orionfs")
    return entry


def _all_entries() -> list[MountEntry]:
    mounts = {entry.mountpoint: entry for entry in read_mountinfo() if entry.fs_type == ORIONFS_TYPE}
    if not mounts:
        raise wrong_mount_point("nothing of orionfs is mounted")
    return list(mounts.values())
