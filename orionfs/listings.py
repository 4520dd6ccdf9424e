"""Puts the listing of a folder together from its pages, and says whether it is all there is.

What a stack does with `limit` and `offset` is not public, so a listing counts as complete only by what
its own answers show, or by what is known of the stack. Used by `remote`, which asks; must not know
sessions, deadlines or retries.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import trio

from orionfs.errors import OrionFsError, RemoteFailure
from orionfs.facts import StackFacts
from orionfs.models import Item, Kind
from orionfs.shapes import Page, read_page, read_shards

_T = TypeVar("_T")
ASKED_PAGE_ROWS = 1000
_AT_ONCE = 32  # twice what may be in flight, so that a place is never free for nothing

Ask = Callable[[dict[str, Any]], Awaitable[Page]]
"""One page of a folder, asked for with these query parameters."""


@dataclass(frozen=True, slots=True)
class FolderAnswer:
    """What a folder holds; `is_complete` False where Orion may have told less than there is.

    `unread` rows were told in no way that could be read.
    """

    items: tuple[Item, ...]
    is_complete: bool
    pages: int
    unread: int = 0


async def list_all(ask: Ask, facts: StackFacts) -> FolderAnswer:
    """All of a folder: the first page, then the others at the same time where a total says how many."""
    first = await _page(ask, 0)
    step = first.row_count
    if facts.paging == "all" and first.total in (None, step):
        return FolderAnswer(first.rows, True, 1, first.unread)
    if first.total is None or (first.has_more and first.total <= step):
        return await _list_serially(ask, first, facts)
    offsets = list(range(step, first.total, step)) if step else []
    pages = [first, *await together([partial(_page, ask, offset) for offset in offsets])]
    rows = _once_each(pages)
    unread = sum(page.unread for page in pages)
    is_complete = len(rows) + unread == first.total and all(page.total == first.total for page in pages)
    return FolderAnswer(rows, is_complete, len(pages), unread)


async def _list_serially(ask: Ask, page: Page, facts: StackFacts) -> FolderAnswer:
    """For envelopes without a total: page after page until one is the last, or brings nothing new."""
    pages = [page]
    rows = _once_each(pages)
    while not _is_last(page, facts):
        page = await _page(ask, len(rows) + sum(page.unread for page in pages))
        pages.append(page)
        known, rows = rows, _once_each(pages)
        if len(rows) == len(known) and not (page.unread and not page.rows):
            # Nothing new: past the end, or a stack that does not heed offsets.
            is_complete = not page.rows or await _ignores_limits(ask, len(rows))
            return FolderAnswer(rows, is_complete, len(pages), sum(page.unread for page in pages))
    return FolderAnswer(rows, True, len(pages), sum(page.unread for page in pages))


def _is_last(page: Page, facts: StackFacts) -> bool:
    """True if nothing can follow: the answer says so, or it is shorter than this stack's pages."""
    if page.has_more is not None:
        return not page.has_more
    if not page.row_count:
        return True
    is_known = facts.paging == "pages" and facts.page_max is not None
    return is_known and page.row_count < min(facts.page_max or 0, ASKED_PAGE_ROWS)


async def _ignores_limits(ask: Ask, row_count: int) -> bool:
    """True for a stack that tells all at once, whatever was asked. A single row is no page that was cut."""
    return row_count == 1 or (await ask({"limit": 1})).row_count > 1


async def _page(ask: Ask, offset: int) -> Page:
    return await ask({"limit": ASKED_PAGE_ROWS, "offset": offset, "order_by": "id"})


PAGES: Mapping[str, Callable[..., Page]] = {
    "ls_path": lambda answer, *_: read_page(answer),
    "shards_page": lambda answer, collection, *_: read_shards(answer, collection),
}
"""How the answers of those verbs are read that ask for a page, each with the arguments of its call."""


def as_page(
    call: Callable[[], Any], read: Callable[..., Page] = PAGES["ls_path"], args: Sequence[Any] = ()
) -> Page | RemoteFailure:
    """The page that a call answers; one that can't be read is no failed call, which would be repeated."""
    answer = call()
    try:
        return read(answer, *args)
    except RemoteFailure as error:
        return error


def whole(page: Page | RemoteFailure) -> Page:
    """What `as_page` gave. Raises RemoteFailure."""
    if isinstance(page, RemoteFailure):
        raise page
    return page


def _once_each(pages: Sequence[Page]) -> tuple[Item, ...]:
    rows: dict[tuple[tuple[Kind, int | None], str], Item] = {}
    for page in pages:
        rows.update(((row.kind_and_id, row.name), row) for row in page.rows)
    return tuple(rows.values())


async def together(calls: Sequence[Callable[[], Awaitable[_T]]]) -> list[_T]:
    """The answers of several calls made at the same time, in order; the first error ends the others.

    They begin a few at a time: time spent in a queue is none that a deadline should count.
    """
    waiting = iter(range(len(calls)))
    answers: dict[int, _T] = {}
    errors: list[OrionFsError] = []

    async def some() -> None:
        try:
            for at in waiting:
                answers[at] = await calls[at]()
        except OrionFsError as error:
            errors.append(error)
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for _ in range(min(_AT_ONCE, len(calls))):
            nursery.start_soon(some)
    if errors:
        raise errors[0]
    return [answers[at] for at in range(len(calls))]
