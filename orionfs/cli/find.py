"""`orionfs find`: items by tag or by job, as paths in a mount."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from orionfs.cli.asking import CannotTell, asked
from orionfs.cli.items import Refused, complain
from orionfs.cli.refresh import Place, place_of, usual_place
from orionfs.cli.terminal import echo_path, printable, waiting
from orionfs.cli.walking import Row, walked
from orionfs.errors import ExitStatus, StartupError
from orionfs.mountinfo import MountEntry

TYPES = ("file", "dataset", "collection")
"""What Orion finds by tags."""


@dataclass(frozen=True, slots=True)
class Start:
    """What is looked at, with all below it, and what paths there begin with when they are shown."""

    place: Place
    shown_as: str

    def shown(self, inner: str) -> str | None:
        """How a path of the mount is shown; None if it is not at or below this one."""
        top = self.place.inner.rstrip("/")
        if inner == top:
            return self.shown_as
        return os.path.join(self.shown_as, inner[len(top) + 1 :]) if inner.startswith(f"{top}/") else None


@click.command(short_help="Find items by tag or job.")
@click.argument("paths", nargs=-1, metavar="[PATH]...", type=click.Path())
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="With this tag; given again, with each.")
@click.option(
    "--job",
    "jobs",
    multiple=True,
    type=click.IntRange(min=1),
    metavar="ID",
    help="Made by this job: with the tag 'Job ID'.",
)
@click.option("--type", "kinds", multiple=True, type=click.Choice(TYPES), help="Only these; may be repeated.")
@click.option("-0", "--print0", "is_null", is_flag=True, help="End each path with a NUL, for xargs -0.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line for each item.")
def find(
    paths: tuple[str, ...],
    tags: tuple[str, ...],
    jobs: tuple[int, ...],
    kinds: tuple[str, ...],
    is_null: bool,
    as_json: bool,
) -> int:
    """Print the paths of all items at and below each PATH that have a tag, or that a job has made.

    Orion is asked for the tag, not each folder, so this is as quick in a large tree as in a small one (where
    the stack can't answer that, each folder is looked through, and a line says so).
    Without PATH: the current directory if it is in a mount, else the only mount there is. Folders are not
    found: Orion looks for files, datasets and collections. What others have tagged meanwhile is found within
    the time to live, at once after orionfs refresh.

    \b
    Examples:
        orionfs find ~/orion --tag lead
        orionfs find --job 4711 --type dataset
        orionfs find my-data --tag old -0 | xargs -0 orionfs rm

    \b
    Exit statuses: 0 all were printed, and be it none, 1 something could not be asked, 2 wrong usage,
    5 Orion can't be reached, 6 a PATH is in no mount of orionfs.
    """
    wanted = [*tags, *(f"Job {number}" for number in jobs)]
    if not wanted:
        raise click.UsageError("what is looked for? --tag TAG or --job ID")
    if is_null and as_json:
        raise click.UsageError("-0 or --json: one of them")
    starts = [_start(path) for path in paths] or [_usual_start()]
    search = _Search(wanted, kinds)
    for start in starts:
        for row in search.below(start):
            _tell(start.shown(row.inner), row, is_null=is_null, as_json=as_json)
    return search.status


def _start(path: str) -> Start:
    place = place_of(path)
    start = Start(place, path)
    try:
        os.lstat(str(place.entry.mountpoint) + place.inner)
    except OSError as error:
        raise StartupError(f"{place.path}: {error.strerror}", ExitStatus.FAILED) from error
    return start


def _usual_start() -> Start:
    """The current directory, as find(1) shows it, else the whole of the only mount."""
    place, is_here = usual_place()
    return Start(place, "." if is_here else str(place.entry.mountpoint))


class _Search:
    """Looks for tags: each mount is asked once; where that is no use, all below a start is looked at."""

    def __init__(self, tags: Sequence[str], kinds: Sequence[str]) -> None:
        self._tags = tags
        self._kinds = kinds
        self._told: dict[Path, list[Row] | None] = {}  # None: that mount can't tell
        self.status = ExitStatus.OK

    def below(self, start: Start) -> Iterable[Row]:
        """All that was found in the mount of a start, or at and below it. Raises StartupError."""
        entry = start.place.entry
        if entry.mountpoint not in self._told:
            self._told[entry.mountpoint] = self._ask(entry)
        told = self._told[entry.mountpoint]
        top = str(entry.mountpoint) + start.place.inner.rstrip("/")
        return told if told is not None else walked(top, self._tags, self._kinds or TYPES, self._complain)

    def _ask(self, entry: MountEntry) -> list[Row] | None:
        request = {"command": "find", "tags": list(self._tags), "kinds": list(self._kinds)}
        try:
            with waiting("asking Orion"):
                rows = [row for answer in asked(entry, request) for row in answer.get("rows", ())]
        except CannotTell as error:
            click.echo(printable(f"orionfs: {error}: each folder is looked through instead"), err=True)
            return None
        return [Row(str(inner), str(kind), int(id)) for inner, kind, id in rows]

    def _complain(self, path: str, refused: Refused) -> None:
        complain(path, refused)
        self.status = ExitStatus.FAILED


def _tell(path: str | None, row: Row, *, is_null: bool, as_json: bool) -> None:
    if path is None:
        return
    if as_json:
        told = {"path": path, "type": row.kind, "id": row.id, "uri": f"{row.kind}://{row.id}"}
        click.echo(json.dumps(told))
    else:
        echo_path(path, is_null=is_null)
