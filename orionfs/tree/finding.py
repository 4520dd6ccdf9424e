"""Finds items wherever they lie: by id, by tag, among those that are deleted.

What a stack does with filters is not public, so what its rows tell of themselves is looked at, and
counts for more. Used by `views`; must not know the tree.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from orionfs.errors import InvalidCall, NoSuchName, NotSupported
from orionfs.models import Item, Key, Kind
from orionfs.orion.listings import FolderAnswer, together
from orionfs.orion.remote import Remote
from orionfs.orion.shapes import Found

log = logging.getLogger(__name__)

KINDS = (Kind.FILE, Kind.DATASET, Kind.COLLECTION)
"""What has an id on every stack; folders have no documented type."""


async def by_id(remote: Remote, key: Key) -> Item | None:
    """The item of an id; None if there is none, or it is deleted. Raises NotSupported."""
    try:
        found = await remote.look_up(key)
    except NoSuchName:
        return None
    except InvalidCall as refused:
        raise NotSupported(f"no {key.kind.value} can be looked up here: {refused}") from refused
    return None if found.is_deleted else found.item


async def tagged(remote: Remote, tag: str, items_max: int) -> FolderAnswer:
    """All items with a tag, of every type; incomplete if there are more than `items_max`.

    Raises NotSupported where the stack can't tell them.
    """
    answers = await together([partial(_tagged, remote, kind, tag, items_max) for kind in KINDS])
    items = tuple(item for answer in answers for item in answer.items)
    return FolderAnswer(items, all(answer.is_complete for answer in answers), pages=len(answers))


async def deleted(remote: Remote, kind: Kind, items_max: int) -> FolderAnswer:
    """The deleted items of a type. Raises NotSupported where the stack can't tell them."""
    try:
        rows = await remote.find(kind, {"deleted": True}, items_max + 1)
    except InvalidCall as refused:
        raise NotSupported(f"no deleted {kind.value} can be listed here: {refused}") from refused
    if remote.facts.filters == "honoured":
        return await _answer(remote, rows, rows, items_max)
    if rows and all(row.is_deleted is None for row in rows):
        await _check(remote, rows[0], _is_deleted)
        return await _answer(remote, rows, rows, items_max)
    return await _answer(remote, rows, [row for row in rows if row.is_deleted], items_max)


async def _tagged(remote: Remote, kind: Kind, tag: str, items_max: int) -> FolderAnswer:
    try:
        rows = await remote.find(kind, {"tags": tag}, items_max + 1)
    except InvalidCall as refused:
        log.debug("no %s is looked for by its tags: %s", kind.value, refused)
        return FolderAnswer((), is_complete=True, pages=1)
    if remote.facts.filters == "honoured":
        return await _answer(remote, rows, rows, items_max)
    if rows and not any(row.tags for row in rows):
        await _check(remote, rows[0], partial(_has_tag, tag))
        return await _answer(remote, rows, rows, items_max)
    return await _answer(remote, rows, [row for row in rows if tag in row.tags], items_max)


async def _check(remote: Remote, row: Found, is_meant: Callable[[Remote, Key], Awaitable[bool]]) -> None:
    """Where rows tell nothing of what was filtered for, one is asked: this stack may ignore filters."""
    key = row.item.key
    if remote.facts.filters == "ignored" or key is None or not await is_meant(remote, key):
        raise NotSupported("this stack ignores filters, so it can't tell these items from others")


async def _is_deleted(remote: Remote, key: Key) -> bool:
    return (await remote.look_up(key)).is_deleted is not False


async def _has_tag(tag: str, remote: Remote, key: Key) -> bool:
    return tag in await remote.tags(key)


async def _answer(
    remote: Remote, told: Sequence[Found], meant: Sequence[Found], items_max: int
) -> FolderAnswer:
    items = await remote.details.complete([row.item for row in meant])
    return FolderAnswer(items, is_complete=len(told) <= items_max, pages=1)
