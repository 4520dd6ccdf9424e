"""Two writers of one name: whether it still means what was there when writing began, and what to do if not.

Orion overwrites nothing, and no call takes a condition; so before a version replaces another one the name is
looked up, unless what is known of it is fresh. What this mount has itself put there or taken away is lag of
a replica, no conflict. Whatever else is found stays: who comes second goes beside it, under a name that says
so. A look and the replacement are two calls, so two who save within that moment both have the name; the
later removal then finds its item gone, and looks again. Used by `carry` and `moves`.
"""

from __future__ import annotations

import platform
import re
import time
from collections.abc import Container
from dataclasses import dataclass
from enum import Enum

import trio

from orionfs.errors import AccessDenied, NoSuchName
from orionfs.marks import is_old_mark
from orionfs.models import Item, Key, Kind
from orionfs.orion.remote import Remote
from orionfs.tables.names import marked_name

FRESH_S = 5.0  # a guess: what is known for longer is asked for again before something is replaced
_HOST_MAX = 32
_MARKER = re.compile(r"~conflict-[A-Za-z0-9-]+-\d{8}-\d{6}(-\d+)?(?=\.[^.]*\Z|\Z)")


@dataclass(frozen=True, slots=True)
class Heard:
    """The last that Orion told of a name, whatever this mount is changing there, and when it was asked."""

    key: Key | None
    at_s: float


class Finding(Enum):
    """What a name means now, compared with when writing began."""

    SAME = "same"
    GONE = "gone"  # nothing is there: removed elsewhere, or moved, and then it is not ours to remove
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Look:
    """What was found under a name; `item` is what somebody else has put there, as far as that was told.

    If it is the same, `item` is how Orion tells it now, where it was asked.
    """

    finding: Finding
    item: Item | None = None


async def look(
    remote: Remote,
    path: str,
    base: Key,
    own: Key | None,
    heard: Heard | None,
    half_made: Container[Key] = frozenset(),
) -> Look:
    """What an absolute Orion path means, if `base` was to be replaced there by `own`; asks if it must.

    `half_made` are items of this mount, or of one before it, that are on their way to a name or to go.
    """
    now_s = trio.current_time()
    placed_at_s = remote.recent.placed_at_s(base, path)
    told_at_s = heard.at_s if heard is not None and heard.key == base else None
    last = max((at_s for at_s in (told_at_s, placed_at_s) if at_s is not None), default=None)
    if last is not None and now_s - last < FRESH_S and _is_last(heard, base, last):
        return Look(Finding.SAME)
    there = await remote.stat(path)
    if there is None:
        is_lag = last is not None and now_s - last < remote.recent.read_lag_s
        return Look(Finding.SAME if is_lag or await has_given_way(remote, base) else Finding.GONE)
    if _is_ours(remote, there, base, own, half_made):
        return Look(Finding.SAME, there if there.key == base else None)
    return await look_beside(remote, path, base, own, half_made)


async def look_beside(
    remote: Remote, path: str, base: Key, own: Key | None, half_made: Container[Key] = frozenset()
) -> Look:
    """The same by all that has the name: OTHER if a folder or somebody else's File is there."""
    folder, _, name = path.rpartition("/")
    there = [each for each in await remote.list_named(folder, name) if each.kind in (Kind.FILE, Kind.FOLDER)]
    if any(each.key == base for each in there):
        return Look(Finding.SAME)
    others = [each for each in there if not _is_ours(remote, each, base, own, half_made)]
    if others:
        return Look(Finding.OTHER, max(others, key=lambda each: (each.kind is Kind.FOLDER, each.created_ns)))
    return Look(Finding.SAME if there else Finding.GONE)


async def has_given_way(remote: Remote, base: Key) -> bool:
    """True for an item that a version, or a rename, has put aside in the call that gave it the name.

    Where that call's end was not told, or its daemon was killed, it has to go still: nobody knows it by any
    name, and nothing else removes it.
    """
    try:
        found = await remote.look_up(base)
    except (NoSuchName, AccessDenied):  # somebody else's, wherever it is
        return False
    return not found.is_deleted and is_old_mark(found.item.name)


def conflict_name(name: str, nth: int = 1) -> str:
    """A name for the version of who came second: of which machine, and when (local time).

    `nth` tells those apart that would have the same.
    """
    host = re.sub(r"[^A-Za-z0-9-]", "-", platform.node().partition(".")[0])[:_HOST_MAX] or "unknown"
    number = "" if nth == 1 else f"-{nth}"
    marker = f"~conflict-{host}-{time.strftime('%Y%m%d-%H%M%S')}{number}"
    return marked_name(_MARKER.sub("", name), marker)


def _is_last(heard: Heard | None, base: Key, told_at_s: float) -> bool:
    """False if something else was heard of the name since it was told to be `base`."""
    return heard is None or heard.key == base or heard.at_s <= told_at_s


def _is_ours(remote: Remote, item: Item, base: Key, own: Key | None, half_made: Container[Key]) -> bool:
    if item.key is None:
        return False
    return item.key in (base, own) or item.key in half_made or remote.recent.is_own(item.key)
