"""`orionfs info`: all that Orion and the mount know of an item, for people and for scripts."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from itertools import count
from typing import Any

import click

from orionfs.cli.asking import asked
from orionfs.cli.items import Refused, Subject, for_each
from orionfs.cli.terminal import printable
from orionfs.errors import StartupError
from orionfs.models import Kind
from orionfs.xattrs.attribute_text import parse_tags

Told = dict[str, Any]
_ATTRIBUTES = (
    *("name", "type", "id", "uri", "path", "owner", "project", "created", "state", "count", "audience"),
    *("tags", "shares", "metadata", "sync", "error"),
)
"""All but the link: to read that makes one."""
_LABELS = {
    "orion_path": "path on Orion",
    "uri": "reference",
    "previous_uri": "previous reference",
    "size": "size in bytes",
    "audience": "read by",
    "shares": "shared with",
    "sync": "upload",
    "error": "last error",
}
_UNKNOWN_SIZE = 1  # what stat says of a dataset or shard until it is opened


@click.command(short_help="Show what Orion knows of an item.")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=click.Path())
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line for each PATH.")
@click.option(
    "--uri", "is_uri", is_flag=True, help="Print the reference alone (file://12), for parameters of jobs."
)
def info(paths: tuple[str, ...], as_json: bool, is_uri: bool) -> int:
    """Show all that Orion and the mount know of each PATH, an item in a mount.

    Its reference and the one that it had before the last save (if this mount has made that), its path on
    Orion, size, times, owner, project, state, tags, who can read it and with whom it is shared, whether all
    that was written is on Orion, and the last error.

    \b
    Examples:
        orionfs info hits.csv
        orionfs info --json *.csv | jq -r '.uri'
        orionfs info --uri hits.csv poses

    \b
    Exit statuses: 0 shown, 1 some path could not be asked (the lines say why; the others are),
    2 wrong usage, 6 a path is in no mount of orionfs.
    """
    if as_json and is_uri:
        raise click.UsageError("--json or --uri: one of them")
    if is_uri:
        return for_each(paths, _uri, lambda _path, uri: click.echo(uri))
    if as_json:
        return for_each(paths, _all_of, _tell_json, lambda path, why: _tell_json(path, {"error": str(why)}))
    numbers = count()
    return for_each(paths, _all_of, partial(_tell, numbers=numbers))


def _uri(subject: Subject) -> str:
    """The reference of what was written last; never that of the version before."""
    uri, kind = subject.read("uri"), subject.read("type")
    if uri is None and kind != Kind.FILE.value:
        raise Refused(f"it is a {kind}, and has no reference")
    state = subject.read("sync")
    if state == "local-only":
        raise Refused("it stays on this machine because of its name, so it has no reference")
    if uri is None or (kind == Kind.FILE.value and state != "clean"):
        raise Refused(f"what was written last is not on Orion yet ({state}): orionfs sync waits for it")
    return uri


# -- asking --------------------------------------------------------------------------------------


def _all_of(subject: Subject) -> Told:
    """What is known, by the names of scripts; None for what the item has not."""
    with subject.in_words("getattr"):
        status = os.lstat(subject.path)
    told = {name: subject.read(name) for name in _ATTRIBUTES}
    tags, shares, metadata = (told.pop(name) for name in ("tags", "shares", "metadata"))
    kind = told["type"]
    return {
        "path": subject.named,
        "name": told.pop("name"),
        "type": told.pop("type"),
        "id": _number(told.pop("id")),
        "uri": told.pop("uri"),
        "previous_uri": _previous(subject) if kind == Kind.FILE.value else None,
        "orion_path": told.pop("path"),
        "size": _size(status, kind),
        "modified": _time(status),
        "created": told.pop("created"),
        "owner": _number(told.pop("owner")),
        "project": _number(told.pop("project")),
        "state": told.pop("state"),
        "count": _number(told.pop("count")),
        "tags": None if tags is None else list(parse_tags(tags.encode())),
        "audience": told.pop("audience"),
        "shares": None if shares is None else json.loads(shares),
        "metadata": None if metadata is None else json.loads(metadata),
        **told,
    }


def _number(text: str | None) -> int | str | None:
    return int(text) if text is not None and text.isdecimal() else text


def _size(status: os.stat_result, kind: str | None) -> int | None:
    if not stat.S_ISREG(status.st_mode):
        return None
    is_unknown = status.st_size == _UNKNOWN_SIZE and kind in (Kind.DATASET.value, Kind.SHARD.value)
    return None if is_unknown else status.st_size


def _time(status: os.stat_result) -> str:
    at = datetime.fromtimestamp(status.st_mtime_ns // 10**9, UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}Z"


def _previous(subject: Subject) -> str | None:
    """The reference before the last save; the mount that made it may know."""
    with suppress(StartupError):
        for answer in asked(subject.place.entry, {"command": "previous", "paths": [subject.place.inner]}):
            told = answer["previous"][0]
            return None if told is None else str(told)
    return None


# -- telling -------------------------------------------------------------------------------------


def _tell_json(path: str, told: Told) -> None:
    click.echo(json.dumps({"path": path, **told}))


def _tell(_path: str, told: Told, numbers: count[int]) -> None:
    rows = [(_LABELS.get(key, key), lines) for key, value in told.items() if (lines := _lines(key, value))]
    width = max(len(label) for label, _ in rows)
    if next(numbers):
        click.echo()
    for label, lines in rows:
        for at, line in enumerate(lines):
            click.echo(f"{'' if at else label:{width}}  {printable(line)}".rstrip())


def _lines(key: str, value: Any) -> Sequence[str]:
    """What is shown of a value, one line or several; nothing of what the item has not."""
    if value in (None, []):
        return []
    if key == "shares":
        return [_share(share) for share in value]
    if key == "tags":
        return [str(tag) for tag in value]
    if key == "error":
        return str(value).splitlines()
    if isinstance(value, dict):
        return json.dumps(value, indent=2, ensure_ascii=False).splitlines()
    return [str(value)]


def _share(share: Told) -> str:
    who = f"{share['with']} {share.get('name') or share['id']}"
    known = "" if share.get("told_by") == "orion" else f" (as {share.get('told_by')} knows)"
    return f"{who}: {', '.join(share['permissions'])}{known}"
