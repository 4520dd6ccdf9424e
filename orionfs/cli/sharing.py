"""`orionfs share` and `orionfs unshare`: who else may use an item, changed through its mount."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import click

from orionfs.cli.items import Refused, Subject, for_each
from orionfs.cli.terminal import printable
from orionfs.xattrs.attribute_text import PARTNERS, PERMISSIONS, SHARE


@dataclass(frozen=True, slots=True)
class Partner:
    """A user or a project that items are shared with, and what it may do with them (share alone)."""

    kind: str
    name: str
    permissions: tuple[str, ...] = ()

    @property
    def attribute(self) -> str:
        """Where a mount keeps what this one may do."""
        return f"{SHARE}{self.kind}.{self.name}"

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@click.command(short_help="Share items with users and projects.")
@click.argument("words", nargs=-1, required=True, metavar="PATH... WHO...", type=click.Path())
def share(words: tuple[str, ...]) -> int:
    """Share each PATH, an item in a mount, with each WHO: user:NAME or project:NUMBER.

    Behind a colon follow the permissions, with commas: read, write, delete, share; read alone if none is
    named, and read with every other. With whom the item is shared already may from then on do what is named,
    and no more. A path that begins with user: or project: is written as ./user:path.

    \b
    Examples:
        orionfs share hits.csv user:alice
        orionfs share hits.csv poses user:alice:read,write project:12

    \b
    Exit statuses: 0 done, 1 some path could not be shared (the lines say why; the others are),
    2 wrong usage, 6 a path is in no mount of orionfs.
    """
    paths, partners = _sorted_out(words)
    granted = [with_permissions(partner) for partner in partners]
    return for_each(paths, partial(_share, granted))


@click.command(short_help="Take back what was shared.")
@click.argument("words", nargs=-1, required=True, metavar="PATH... WHO...", type=click.Path())
def unshare(words: tuple[str, ...]) -> int:
    """Share each PATH, an item in a mount, no longer with each WHO: user:NAME or project:NUMBER.

    Who sees an item because of where it lies goes on seeing it: move it to my-data then.

    \b
    Example:
        orionfs unshare hits.csv user:alice

    \b
    Exit statuses: 0 done, 1 some path is shared as before (the lines say why; the others are not),
    2 wrong usage, 6 a path is in no mount of orionfs.
    """
    paths, partners = _sorted_out(words)
    return for_each(paths, partial(_unshare, partners))


def _sorted_out(words: Sequence[str]) -> tuple[list[str], list[Partner]]:
    """The paths, and the partners; a partner's permissions are still part of its name."""
    partners = [_partner(word) for word in words if _is_partner(word)]
    paths = [word for word in words if not _is_partner(word)]
    if not paths:
        raise click.UsageError("which path?")
    if not partners:
        raise click.UsageError("with whom? user:NAME or project:NUMBER")
    return paths, partners


def _is_partner(word: str) -> bool:
    return word.startswith(tuple(f"{kind}:" for kind in PARTNERS))


def _partner(word: str) -> Partner:
    kind, _, name = word.partition(":")
    if not name:
        raise click.UsageError(f"{word} names nobody")
    return Partner(kind, name)


def with_permissions(partner: Partner) -> Partner:
    """A partner whose name may end in permissions. Raises UsageError for others than there are."""
    name, colon, told = partner.name.rpartition(":")
    if not colon:
        return Partner(partner.kind, partner.name, PERMISSIONS[:1])
    permissions = tuple(dict.fromkeys(filter(None, told.split(",")))) or PERMISSIONS[:1]
    unknown = [word for word in permissions if word not in PERMISSIONS]
    if unknown or not name:
        wrong = (
            f"{unknown[0]!r} is no permission" if unknown else f"{partner.kind}:{partner.name} names nobody"
        )
        raise click.UsageError(f"{printable(wrong)}; there are {', '.join(PERMISSIONS)}")
    return Partner(partner.kind, name, permissions)


def _share(partners: Sequence[Partner], subject: Subject) -> None:
    for partner in partners:
        subject.write(partner.attribute, ",".join(partner.permissions), _meaning)


def _unshare(partners: Sequence[Partner], subject: Subject) -> None:
    strangers = [partner for partner in partners if not subject.remove(partner.attribute, _meaning)]
    if strangers:
        raise Refused(f"as far as is known here it is not shared with {', '.join(map(str, strangers))}")


def _meaning(number: int) -> str | None:
    meanings = {
        errno.ENOTSUP: "this can't be shared",
        errno.EINVAL: "Orion knows no such user or project",
    }
    return meanings.get(number)
