"""`orionfs put`: local files and folders become items on Orion, each as the kind that is asked for."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from orionfs.cli.locating import Located, check_writable, locate_folder
from orionfs.cli.refresh import ask_refresh
from orionfs.cli.transferring import AT_ONCE, carried_out, transfers_for
from orionfs.errors import StartupError
from orionfs.models import Kind

KINDS = ("file", "dataset", "collection")


@click.command(short_help="Bring files to Orion as files, datasets or collections.")
@click.argument("sources", nargs=-1, required=True, metavar="SRC...", type=click.Path(path_type=Path))
@click.argument("folder", metavar="DIR")
@click.option(
    "--as",
    "kind",
    type=click.Choice(KINDS),
    required=True,
    help="What each SRC becomes: a file as it is, a dataset of the molecules or records in it, or a"
    " collection of the files in a folder.",
)
@click.option("-p", "--profile", help="Profile; without it that of the mount where DIR is.")
@click.option("--name", metavar="NAME", help="Call it so on Orion; for one SRC.")
@click.option("--replace", "is_replacing", is_flag=True, help="Put what is there already anew.")
@click.option(
    "--metadata",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="JSON object that becomes the metadata of a collection.",
)
@click.option(
    "--jobs", type=click.IntRange(1, 64), default=AT_ONCE, show_default=True, help="How many at a time."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line for each SRC.")
def put(sources: tuple[Path, ...], folder: str, profile: str | None, as_json: bool, **how: Any) -> int:
    """Bring each SRC into DIR on Orion, whole, as one item of the kind that --as says.

    DIR is a folder on Orion (/project/1/team/results, my-data/results) or in a mount, if it is not read-only
    there; it is made if it is missing. Nothing is seen under its name before it is complete. What is there
    already is left: a file if its size is the same (else that is an error), anything else by its name alone;
    so the command can be given again after an interruption. A collection goes on where it was, other items
    begin anew.

    \b
    Examples:
        orionfs put --as dataset hits.sdf leads.smi ~/orion/my-data/screen
        orionfs put --as collection run-7/ /project/1/team
        orionfs put --as file --replace report.pdf team-data/reports

    \b
    Exit statuses: 0 all is there, 1 something could not be put (the lines say what),
    2 wrong usage, 3 wrong configuration, 4 wrong credentials, 5 Orion can't be reached.
    """
    from orionfs.transfers import Put

    if how["name"] is not None and len(sources) > 1:
        raise click.UsageError("--name is for one SRC")
    metadata = _metadata(how.pop("metadata"), how["kind"])
    where = locate_folder(folder)
    check_writable(where)
    kind, at_once = Kind(how.pop("kind")), how.pop("jobs")
    what = Put(sources, kind, where.place, at_once=at_once, metadata=metadata, **how)
    transfers = transfers_for(profile, [where])
    try:
        return carried_out(lambda tell: transfers.put(what, tell), len(sources), "put", as_json=as_json)
    finally:
        _show_in_mount(where)


def _metadata(path: Path | None, kind: str) -> dict[str, Any] | None:
    if path is None:
        return None
    if kind != Kind.COLLECTION.value:
        raise click.UsageError("--metadata is for --as collection")
    try:
        told = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise click.UsageError(f"{path} can't be read as JSON: {error}") from None
    if not isinstance(told, dict):
        raise click.UsageError(f"{path} holds no JSON object")
    return told


def _show_in_mount(where: Located) -> None:
    """The mount learns what is new there; one that can't be told sees it within its TTL."""
    if where.inside is not None:
        with suppress(StartupError):
            ask_refresh(where.inside)
