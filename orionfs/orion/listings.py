"""Lists a folder in trio: pages at the same time where they can be, each asked for by `remote`.

Which pages, and whether they are all, is `paging`'s. Must not know sessions, deadlines or retries.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar

import trio

from orionfs.errors import OrionFsError
from orionfs.facts import StackFacts
from orionfs.orion.paging import ASKED_PAGE_ROWS, PAGES, FolderAnswer, Query, all_pages, as_page, whole
from orionfs.orion.shapes import Page

__all__ = ["ASKED_PAGE_ROWS", "PAGES", "Ask", "FolderAnswer", "as_page", "list_all", "together", "whole"]

_T = TypeVar("_T")
_AT_ONCE = 32  # twice what may be in flight, so that a place is never free for nothing

Ask = Callable[[Query], Awaitable[Page]]
"""One page of a folder, asked for with these query parameters."""


async def list_all(ask: Ask, facts: StackFacts) -> FolderAnswer:
    """All of a folder, or less where Orion tells less."""
    steps = all_pages(facts)
    queries = next(steps)
    while True:
        pages = await together([partial(ask, query) for query in queries])
        try:
            queries = steps.send(pages)
        except StopIteration as told:
            answer: FolderAnswer = told.value
            return answer


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
