"""`orionfs where`: the local path of an Orion path or of a reference, in whichever mount shows it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import click

from orionfs.cli.asking import asked, mounts_here
from orionfs.cli.mounts import wrong_mount_point
from orionfs.cli.terminal import echo_path, printable
from orionfs.errors import ExitStatus, StartupError
from orionfs.mountinfo import MountEntry

_REQUEST_BYTES = 40_000  # a daemon reads no longer ones than 64 KiB
_REFERENCE = re.compile(r"(file|dataset|collection)://(\d{1,18})")


@dataclass(slots=True)
class Target:
    """What is looked for, and where it was found: `places` in trees, `views` by its id alone."""

    words: str
    path: str | None = None
    item: tuple[str, int] | None = None
    places: list[str] = field(default_factory=list)
    views: list[str] = field(default_factory=list)


@click.command(short_help="Print where an item of Orion is in a mount.")
@click.argument("targets", nargs=-1, required=True, metavar="WHAT...")
@click.option("--all", "is_all", is_flag=True, help="In all mounts that show it, not only in the first.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line for each WHAT.")
def where(targets: tuple[str, ...], is_all: bool, as_json: bool) -> int:
    """Print the local path of each WHAT: a path on Orion (/project/12/team/x), or a reference (file://135).

    The mount of the current directory is asked first, then all others of yours, until one shows it. What
    lies in no folder of a mount, as in another project, is shown by its id below .orion/by-id.

    \b
    Examples:
        orionfs where file://135
        cp "$(orionfs where dataset://12)" .

    \b
    Exit statuses: 0 all were found, 1 something was not (the lines say what), 2 wrong usage,
    6 nothing of orionfs is mounted.
    """
    wanted = [_target(words) for words in targets]
    mounts = mounts_here()
    if not mounts:
        raise wrong_mount_point("nothing of orionfs is mounted")
    problems = _look(wanted, mounts, is_all=is_all)
    for target in wanted:
        _tell(target, problems, is_all=is_all, as_json=as_json)
    return ExitStatus.OK if all(target.places or target.views for target in wanted) else ExitStatus.FAILED


def _target(words: str) -> Target:
    match = _REFERENCE.fullmatch(words)
    if match:
        return Target(words, item=(match[1], int(match[2])))
    if words.startswith("/"):
        return Target(words, path=words)
    raise click.UsageError(
        f"{printable(words)}: give a path on Orion, as /project/12/team/x, or a reference, as file://135"
    )


def _look(targets: Sequence[Target], mounts: Sequence[MountEntry], *, is_all: bool) -> list[str]:
    """Ask mount after mount for what was not found yet; what kept one from answering."""
    problems = []
    for entry in mounts:
        left = [target for target in targets if is_all or not target.places]
        if not left:
            break
        try:
            for batch in _batches(left):
                _ask(batch, entry)
        except StartupError as error:
            problems.append(str(error))
    return problems


def _batches(targets: Sequence[Target]) -> Iterator[list[Target]]:
    """The targets in pieces that fit into a request each."""
    batch: list[Target] = []
    size = 0
    for target in targets:
        added = len(json.dumps(target.words)) + 20
        if batch and size + added > _REQUEST_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(target)
        size += added
    yield batch


def _ask(targets: Sequence[Target], entry: MountEntry) -> None:
    paths = [target for target in targets if target.path is not None]
    items = [target for target in targets if target.item is not None]
    request = {
        "command": "locate",
        "paths": [target.path for target in paths],
        "items": [target.item for target in items],
    }
    (answer,) = asked(entry, request)
    point = str(entry.mountpoint)
    for target, inner in zip([*paths, *items], [*answer["paths"], *answer["items"]], strict=True):
        if inner is not None:
            target.places.append(point + str(inner).rstrip("/"))
    for target, inner in zip(items, answer["views"], strict=True):
        if inner is not None:
            target.views.append(point + str(inner))


def _tell(target: Target, problems: Sequence[str], *, is_all: bool, as_json: bool) -> None:
    found = target.places or target.views
    shown = found if is_all else found[:1]
    if as_json:
        told: dict[str, Any] = {"what": target.words, "paths": shown}
        click.echo(json.dumps(told))
        return
    for path in shown:
        echo_path(path)
    if not shown:
        also = "".join(f"; {problem}" for problem in problems)
        click.echo(printable(f"orionfs: {target.words} is shown by no mount{also}"), err=True)
