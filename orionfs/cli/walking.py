"""Items with tags below a folder of a mount, found by looking at each: for stacks that can't look for tags.

Must not know how what is found is shown.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from orionfs.cli.items import Refused, Subject, subject_of
from orionfs.cli.tags import tags_of
from orionfs.models import Kind


@dataclass(frozen=True, slots=True)
class Row:
    """An item that was found, by its path below the mount point."""

    inner: str
    kind: str
    id: int


def walked(
    top: str, tags: Collection[str], kinds: Collection[str], complain: Callable[[str, Refused], None]
) -> Iterator[Row]:
    """The items of these kinds at and below a path that have all of these tags, a folder's together.

    `complain` hears of what could not be looked at. Collections are not entered: their shards have no tags.
    """

    def unreadable(error: OSError) -> None:
        complain(str(error.filename), Refused(error.strerror or str(error)))

    yield from _among([top], tags, kinds, complain)
    for folder, names, files in os.walk(top, onerror=unreadable):
        names.sort()
        collections = [name for name in names if _kind(os.path.join(folder, name)) == Kind.COLLECTION.value]
        names[:] = [name for name in names if name not in collections]
        items = sorted([*files, *collections])
        yield from _among([os.path.join(folder, name) for name in items], tags, kinds, complain)


def _among(
    paths: Collection[str],
    tags: Collection[str],
    kinds: Collection[str],
    complain: Callable[[str, Refused], None],
) -> Iterator[Row]:
    for path in paths:
        try:
            row = _row(subject_of(path), tags, kinds)
        except Refused as refused:
            complain(path, refused)
        else:
            if row is not None:
                yield row


def _row(subject: Subject, tags: Collection[str], kinds: Collection[str]) -> Row | None:
    kind = subject.read("type")
    if kind not in kinds or not set(tags) <= set(tags_of(subject)):
        return None
    id = subject.read("id")
    return None if id is None else Row(subject.place.inner, str(kind), int(id))


def _kind(path: str) -> str | None:
    try:
        return subject_of(path).read("type")
    except Refused:
        return None  # its folder is told to be unreadable
