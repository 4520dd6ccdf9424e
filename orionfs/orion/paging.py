"""Which pages of a listing are to be asked for, and whether what they told is all there is; pure.

What a stack does with `limit` and `offset` is not public, so a listing counts as complete only by what
its own answers show, or by what is known of the stack. Who asks drives `all_pages`, in trio or in threads;
must not know sessions, deadlines or retries.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orionfs.errors import RemoteFailure
from orionfs.facts import StackFacts
from orionfs.models import Item, Kind
from orionfs.orion.shapes import Page, read_page, read_shard, read_shards

ASKED_PAGE_ROWS = 1000

Query = dict[str, Any]
"""What a page is asked for with."""


@dataclass(frozen=True, slots=True)
class FolderAnswer:
    """What a folder holds; `is_complete` False where Orion may have told less than there is.

    `unread` rows were told in no way that could be read.
    """

    items: tuple[Item, ...]
    is_complete: bool
    pages: int
    unread: int = 0


Steps = Generator[Sequence[Query], Sequence[Page], FolderAnswer]
"""Gives the queries that can be asked at the same time, takes their pages in order, ends with the answer."""


def all_pages(facts: StackFacts) -> Steps:
    """All of a folder: the first page, then the others at the same time where a total says how many."""
    (first,) = yield [_query(0)]
    step = first.row_count
    if facts.paging == "all" and first.total in (None, step):
        return FolderAnswer(first.rows, True, 1, first.unread)
    if first.total is None or (first.has_more and first.total <= step):
        return (yield from _serially(first, facts))
    offsets = list(range(step, first.total, step)) if step else []
    others = (yield [_query(offset) for offset in offsets]) if offsets else []
    pages = [first, *others]
    rows = _once_each(pages)
    unread = sum(page.unread for page in pages)
    is_complete = len(rows) + unread == first.total and all(page.total == first.total for page in pages)
    return FolderAnswer(rows, is_complete, len(pages), unread)


def _serially(page: Page, facts: StackFacts) -> Steps:
    """For envelopes without a total: page after page until one is the last, or brings nothing new."""
    pages = [page]
    rows = _once_each(pages)
    while not _is_last(page, facts):
        (page,) = yield [_query(len(rows) + sum(page.unread for page in pages))]
        pages.append(page)
        known, rows = rows, _once_each(pages)
        if len(rows) == len(known) and not (page.unread and not page.rows):
            # Nothing new: past the end, or a stack that does not heed offsets.
            is_complete = not page.rows or (yield from _ignores_limits(len(rows)))
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


def _ignores_limits(row_count: int) -> Generator[Sequence[Query], Sequence[Page], bool]:
    """True for a stack that tells all at once, whatever was asked. A single row is no page that was cut."""
    if row_count == 1:
        return True
    (page,) = yield [{"limit": 1}]
    return page.row_count > 1


def _query(offset: int) -> Query:
    return {"limit": ASKED_PAGE_ROWS, "offset": offset, "order_by": "id"}


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


def shards_of_lines(lines: Iterable[str], collection: int) -> tuple[Item, ...]:
    """The shards of a collection from a line of JSON each, as a session that has no pages tells them."""
    shards = (read_shard(json.loads(line), collection) for line in lines)
    return tuple({shard.id: shard for shard in shards}.values())
