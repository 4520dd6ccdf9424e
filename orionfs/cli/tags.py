"""`orionfs tag` and `orionfs tags`: tags of items, changed and shown through their mount."""

from __future__ import annotations

import errno
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import click

from orionfs.cli.items import Refused, Subject, for_each
from orionfs.cli.terminal import printable
from orionfs.models import Kind
from orionfs.xattrs.attribute_text import NAME_MAX_BYTES, PREFIX, TAG, format_tags, parse_tags

_HELP = ("-h", "--help")


@dataclass(frozen=True, slots=True)
class Changes:
    """Tags to be added and removed, in the order in which they were named."""

    add: tuple[str, ...]
    remove: tuple[str, ...]


class _Signed(click.Command):
    """A command whose words may begin with a minus: options are those of `--help` alone."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        end = args.index("--") if "--" in args else len(args)
        options = [word for word in args[:end] if word in _HELP or word.startswith("--")]
        words = [word for word in args[:end] if word not in options]
        return super().parse_args(ctx, [*options, "--", *words, *args[end + 1 :]])


@click.command(cls=_Signed, short_help="Add and remove tags.")
@click.argument("words", nargs=-1, required=True, metavar="PATH... +TAG... -TAG...", type=click.Path())
def tag(words: tuple[str, ...]) -> int:
    """Add tags to each PATH, an item in a mount, and remove tags from it.

    +TAG adds a tag, -TAG removes one, in any order, as many as you like; to add one that is there, or to
    remove one that is not, is no error. A tag with spaces is quoted for the shell. After a -- no word is an
    option, so that a tag may begin with a minus; a path that begins with a sign is written as ./+path.

    \b
    Examples:
        orionfs tag hits.csv poses +lead -old
        orionfs tag hits.csv "+Job 4711"
        orionfs tag hits.csv -- --odd

    \b
    Exit statuses: 0 done, 1 some path could not be tagged (the lines say why; the others are),
    2 wrong usage, 6 a path is in no mount of orionfs.
    """
    paths, changes = sorted_out(words)
    return for_each(paths, partial(_change, changes))


def sorted_out(words: Sequence[str]) -> tuple[list[str], Changes]:
    """The paths, and what is to be done with them. Raises UsageError."""
    paths = [word for word in words if not word.startswith(("+", "-"))]
    add, remove = (tuple(dict.fromkeys(word[1:] for word in words if word.startswith(sign))) for sign in "+-")
    if not paths:
        raise click.UsageError("which path? orionfs tag PATH... +TAG -TAG")
    if not add and not remove:
        raise click.UsageError("which tag? +TAG adds one, -TAG removes one; orionfs tags shows them")
    if "" in (*add, *remove):
        raise click.UsageError("a sign needs a tag behind it: +TAG, -TAG")
    both = sorted(set(add) & set(remove))
    if both:
        raise click.UsageError(f"{printable(both[0])} can't be added and removed at once")
    return paths, Changes(add, remove)


def _change(changes: Changes, subject: Subject) -> None:
    meaning = partial(_meaning, subject)
    long = Changes(*(tuple(filter(_is_long, tags)) for tags in (changes.add, changes.remove)))
    for text in changes.remove:
        if text not in long.remove:
            subject.remove(f"tag.{text}", meaning)
    for text in changes.add:
        if text not in long.add:
            subject.write(f"tag.{text}", "", meaning)
    if long.add or long.remove:
        _replace(long, subject)


def _meaning(subject: Subject, number: int) -> str | None:
    if number != errno.ENOTSUP:
        return None
    kind = subject.read("type")
    if kind == Kind.SHARD.value:
        return "it is a shard, and Orion keeps no tags of shards: tag its collection"
    if kind == Kind.FOLDER.value:
        return "it is a folder that can't be tagged"
    return "it has no tags"


def _is_long(text: str) -> bool:
    """Whether the kernel can't take a tag in the name of an attribute."""
    return len(f"{PREFIX}{TAG}{text}".encode("utf-8", "surrogateescape")) > NAME_MAX_BYTES


def _replace(changes: Changes, subject: Subject) -> None:
    before = tags_of(subject)
    after = [text for text in before if text not in changes.remove]
    after += [text for text in changes.add if text not in before]
    if after != before:
        subject.write("tags", format_tags(after))


def tags_of(subject: Subject) -> list[str]:
    """The tags of an item. Raises Refused for what can have none."""
    told = subject.read("tags")
    if told is None:
        raise Refused(_meaning(subject, errno.ENOTSUP) or "it has no tags")
    return list(parse_tags(told.encode("utf-8", "replace")))


@click.command(short_help="Show tags.")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...", type=click.Path())
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line for each PATH.")
def tags(paths: tuple[str, ...], as_json: bool) -> int:
    """Show the tags of each PATH, an item in a mount, one a line; of several paths with the path before each.

    \b
    Examples:
        orionfs tags hits.csv
        orionfs tags --json *.csv | jq -r 'select(.tags == []) | .path'

    \b
    Exit statuses: 0 shown, 1 some path could not be asked (the lines say why; the others are),
    6 a path is in no mount of orionfs.
    """
    if as_json:
        return for_each(
            paths, tags_of, _tell_json, lambda path, refused: _tell_json(path, None, str(refused))
        )
    return for_each(paths, tags_of, partial(_tell, is_alone=len(paths) == 1))


def _tell(path: str, texts: list[str], *, is_alone: bool) -> None:
    for text in texts:
        click.echo(printable(text if is_alone else f"{path}: {text}"))


def _tell_json(path: str, texts: list[str] | None, error: str | None = None) -> None:
    told: dict[str, Any] = {"path": path, "tags": texts, "error": error}
    click.echo(json.dumps(told))
