"""`orionfs get`: whole items of Orion become local files and folders."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from orionfs.cli.locating import locate_item
from orionfs.cli.transferring import AT_ONCE, carried_out, transfers_for
from orionfs.errors import ExitStatus, StartupError


@click.command(short_help="Fetch files, datasets and collections from Orion.")
@click.argument("items", nargs=-1, required=True, metavar="PATH...")
@click.argument("dest", metavar="DEST", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "form",
    metavar="FORMAT",
    help="Format of datasets, such as sdf, smi or csv: whatever this Orion writes. Default: binary.",
)
@click.option("-p", "--profile", help="Profile; without it that of the mount where PATH is.")
@click.option("--replace", "is_replacing", is_flag=True, help="Fetch what is there already anew.")
@click.option(
    "--jobs", type=click.IntRange(1, 64), default=AT_ONCE, show_default=True, help="How many at a time."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line for each PATH.")
def get(items: tuple[str, ...], dest: Path, profile: str | None, as_json: bool, **how: Any) -> int:
    """Fetch each PATH, a whole item of Orion, into the local folder DEST, or as DEST if that is none.

    PATH is a path on Orion (/project/1/team/hits, my-data/hits), a reference (dataset://12) or a path in a
    mount. A file comes as it is, a dataset as NAME.oedb or in the format that is asked for, a collection
    as a folder of its shards. A floe report comes as a folder that opens in a browser: index.html, and
    links that lead to the files beside it.

    Nothing is seen under its name before it is complete. What is there already is left: a file if its
    size is the same (else that is an error), anything else by its name alone; so the command can be given
    again after an interruption. A collection goes on with the shards it lacks, other items begin anew.

    \b
    Examples:
        orionfs get ~/orion/my-data/hits.oedb --format sdf .
        orionfs get dataset://12 file://7 downloads/
        orionfs get "team-data/Floe Report" report

    \b
    Exit statuses: 0 all is there, 1 something could not be fetched (the lines say what),
    2 wrong usage, 3 wrong configuration, 4 wrong credentials, 5 Orion can't be reached.
    """
    from orionfs.transfers import Get

    folder, name = _destination(dest, len(items))
    located = [locate_item(text) for text in items]
    places = [(each.words, each.place) for each in located]
    what = Get(places, folder, name, at_once=how.pop("jobs"), **how)
    transfers = transfers_for(profile, located)
    return carried_out(lambda tell: transfers.get(what, tell), len(items), "get", as_json=as_json)


def _destination(dest: Path, count: int) -> tuple[Path, str | None]:
    """The folder that takes the items, and what a single one is called there, None: as on Orion."""
    if dest.is_dir():
        return dest, None
    if count > 1:
        raise StartupError(f"{dest} is no folder: several items need one", ExitStatus.USAGE)
    if not dest.parent.is_dir() or str(dest).endswith(os.sep):
        raise StartupError(f"{dest.parent} is no folder", ExitStatus.FAILED)
    return dest.parent, dest.name
