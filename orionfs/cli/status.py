"""`orionfs status`: every mount of this user, what is not on Orion yet, and what dead daemons have left."""

from __future__ import annotations

import json
import platform
import time
from pathlib import Path
from typing import Any

import click

from orionfs import __version__
from orionfs.cli.mounts import resolve, wrong_mount_point
from orionfs.cli.status_table import show
from orionfs.cli.surveying import ANSWERS, UNHEARD, survey_mounts
from orionfs.config import state_folder
from orionfs.errors import ExitStatus

WATCH_EVERY_S = 1.0

Survey = dict[str, Any]


@click.command(short_help="How mounts are, and what is not on Orion yet.")
@click.argument("mountpoint", required=False)
@click.option("--json", "as_json", is_flag=True, help="As JSON, for scripts; with --watch one object a line.")
@click.option("--watch", is_flag=True, help="Show it again every second, until an interrupt.")
def status(mountpoint: str | None, as_json: bool, watch: bool) -> int:
    """Show how the mount on MOUNTPOINT is, and what of it is not on Orion yet; without it, all of yours.

    Also what daemons that died have left: changes that the next mount finishes, bytes that nobody had
    closed, with the command that fetches them, and what waits on other hosts that share this home.

    \b
    Examples:
        orionfs status
        orionfs status ~/orion --watch
        orionfs status --json | jq '.mounts[].pending'

    \b
    Exit statuses: 0 every mount answers, 1 one is dead or does not answer,
    6 no mount of orionfs is on MOUNTPOINT.
    """
    point = None if mountpoint is None else resolve(mountpoint)
    found = survey(point)
    if point is not None and not found["mounts"]:
        raise wrong_mount_point(f"{point} is not a mount of orionfs")
    if watch:
        return _watch(point, as_json)
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        show(found)
    return _exit_status(found)


def survey(point: Path | None) -> Survey:
    """All that is shown, as plain data; of one mount point alone if it is given."""
    from orionfs.leftovers import find_leftovers  # it knows journals, and so SQLite

    mounts = survey_mounts(point)
    in_use = {mount.get("state_folder") for mount in mounts}
    left = [] if point is not None else find_leftovers(state_folder())
    return {
        "version": __version__,
        "host": platform.node(),
        "at": time.time(),
        "mounts": mounts,
        "left": [each.told() for each in left if not each.is_empty and str(each.path) not in in_use],
    }


def _exit_status(found: Survey) -> ExitStatus:
    is_well = all(mount["state"] in (ANSWERS, UNHEARD) for mount in found["mounts"])
    return ExitStatus.OK if is_well else ExitStatus.FAILED


def _watch(point: Path | None, as_json: bool) -> ExitStatus:
    """Until an interrupt; what it ends with is the last that was seen."""
    from orionfs.cli.status_table import watching

    found = survey(point)
    try:
        with watching(as_json) as tell:
            while True:
                tell(found)
                time.sleep(WATCH_EVERY_S)
                found = survey(point)
    except KeyboardInterrupt:
        return _exit_status(found)
