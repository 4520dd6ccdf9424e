"""`orionfs rm`: removes items through their mount; a collection with all its shards in one call."""

from __future__ import annotations

import json
from typing import Any

import click

from orionfs.cli.refresh import Place, place_of
from orionfs.cli.talking import answers, connect
from orionfs.cli.terminal import counted, printable
from orionfs.errors import ExitStatus, StartupError

# Longer than a change on Orion may take, retries included, by default.
SILENCE_MAX_S = 120.0


@click.command(short_help="Remove items, a collection with all its shards.")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line for each PATH.")
def rm(paths: tuple[str, ...], as_json: bool) -> int:
    """Remove each PATH of a mount from Orion.

    A collection goes with all its shards in one call, where rm -r would take one for each shard. A file, a
    dataset, a shard and an empty folder go as with rm and rmdir; a folder that holds anything is refused.
    What is removed is deleted the soft way: your Orion may still have it for a while.

    \b
    Example:
        orionfs rm ~/orion/my-data/old-poses

    \b
    Exit statuses: 0 done, 1 something was not removed, 6 a path is in no mount of orionfs.
    """
    places = [place_of(path) for path in paths]  # nothing is removed if one of them is wrong
    removed = [_remove(place, as_json=as_json) for place in places]
    return ExitStatus.OK if all(removed) else ExitStatus.FAILED


def _remove(place: Place, *, as_json: bool) -> bool:
    """One path: asked, told; whether it is gone."""
    answer = _ask(place)
    error = answer.get("error")
    if as_json:
        path = str(place.entry.mountpoint) + place.inner
        click.echo(json.dumps({"path": path, "kind": answer.get("kind"), "error": error}))
    elif error:
        click.echo(f"orionfs: {place.path} is not removed: {printable(str(error))}", err=True)
    return not error


def _ask(place: Place) -> dict[str, Any]:
    """The daemon's last word."""
    point = place.entry.mountpoint
    connection = connect(point, place.entry)
    if connection is None:
        raise StartupError(f"the daemon of {point} does not answer", ExitStatus.FAILED)
    request = {"command": "remove", "path": place.inner}
    with connection:
        try:
            connection.settimeout(SILENCE_MAX_S)
            connection.sendall(json.dumps(request).encode() + b"\n")
            for answer in answers(connection, SILENCE_MAX_S):
                return answer
        except (OSError, ValueError):
            pass
    waited = counted(int(SILENCE_MAX_S), "second")
    return {"error": f"the daemon said nothing for {waited}; whether it is removed is not known"}
