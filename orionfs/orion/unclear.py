"""Changes whose end is not known: remembered, and looked up before anything else changes their subject.

A change that ends in a time-out, with its worker or with a broken connection may have happened, or not.
Who owns what follows from that: `remote` repeats a change within its deadline, and repeating leaves the
same result; what is unclear after that is owned here, by subject (an item, a path), until the next change
of that subject asks what became of it. An upload is found by its mark and is `carry`'s; a removal that
was promised is in the journal and is `sync`'s. What users are shown meanwhile is asked for anew: the
namespace believes nothing of such a folder. Nothing of this outlives the daemon. Must not know names
shown to users.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import trio

from orionfs.errors import NoSuchName, OrionFsError, TimedOut
from orionfs.models import Kind
from orionfs.orion.failures import subject_of
from orionfs.orion.shapes import read_item, read_tags

log = logging.getLogger(__name__)

Ask = Callable[..., Awaitable[Any]]
"""A reading verb of the session and its arguments; raises OrionFsError."""

_REMEMBERED_MAX = 1000


@dataclass(eq=False, slots=True)
class _Change:
    verb: str
    args: tuple[Any, ...]
    subjects: frozenset[str]
    looking: trio.Lock = field(default_factory=trio.Lock)

    def __str__(self) -> str:
        return f"{self.verb} {subject_of(self.args)}"


class UnclearChanges:
    """The changes of one session whose end is not known."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._changes: list[_Change] = []

    def __len__(self) -> int:
        return len(self._changes)

    @asynccontextmanager
    async def watched(self, verb: str, args: tuple[Any, ...]) -> AsyncIterator[None]:
        """Make a change in the block: afterwards it is clear, or remembered here.

        Before, earlier ones of the same subjects are looked up. Raises TimedOut when they can't be.
        """
        change = _Change(verb, args, _subjects_of(verb, args))
        await self._settle(change.subjects)
        try:
            yield
        except OrionFsError as error:
            if error.is_unclear and error.is_retryable:  # the others tell what is so
                self._remember(change)
            raise
        except trio.Cancelled:
            self._remember(change)
            raise

    async def has_happened(self, verb: str, args: tuple[Any, ...]) -> bool:
        """Whether what a change was to bring about is so now. Raises OrionFsError."""
        return await _LOOKS[verb](self._ask, args)

    async def means_item(self, paths: Sequence[str]) -> bool:
        """Whether a path is that of an item now, not of a folder: removing it would take that item.

        That nothing is seen there is no answer: a lagging replica may not have heard of the folder.
        """
        answers = [await _answer(self._ask, "stat_path", path) for path in paths]
        return any(answer is not None and read_item(answer).kind is not Kind.FOLDER for answer in answers)

    def _remember(self, change: _Change) -> None:
        self._changes = [*self._changes, change][-_REMEMBERED_MAX:]

    async def _settle(self, subjects: frozenset[str]) -> None:
        for change in [each for each in self._changes if each.subjects & subjects]:
            async with change.looking:
                if change in self._changes:  # nobody else has looked meanwhile
                    await self._look(change)
                    self._changes = [each for each in self._changes if each is not change]

    async def _look(self, change: _Change) -> None:
        try:
            is_so = await self.has_happened(change.verb, change.args)
        except TimedOut:
            raise
        except OrionFsError as error:
            log.info("%s: how it ended is not known, and can't be found out: %s", change, error)
            return
        log.info("%s: how it ended was not known; it has%s happened", change, "" if is_so else " not")


def _subjects_of(verb: str, args: tuple[Any, ...]) -> frozenset[str]:
    if verb in ("create_paths", "remove_paths"):
        return frozenset(args[0])
    if verb == "assign_paths":
        return frozenset(each for row in args[0] for each in (str(row["id"]), *_places_of(row)))
    return frozenset({str(args[1])})


def _places_of(row: Mapping[str, Any]) -> tuple[str, str]:
    """Where an item of an assignment may be: stacks differ in what its path means."""
    path: str = row["path"]
    return f"{path.rstrip('/')}/{row['name']}", path


async def _are_there(ask: Ask, args: tuple[Any, ...]) -> bool:
    return all([await _answer(ask, "stat_path", path) is not None for path in args[0]])


async def _are_gone(ask: Ask, args: tuple[Any, ...]) -> bool:
    """No folder is there; an item that came into its place is not meant by `remove_paths` of a folder."""
    answers = [await _answer(ask, "stat_path", path) for path in args[0]]
    return all(answer is None or read_item(answer).kind is not Kind.FOLDER for answer in answers)


async def _are_in_place(ask: Ask, args: tuple[Any, ...]) -> bool:
    return all([await _is_in_place(ask, row) for row in args[0]])


async def _is_in_place(ask: Ask, row: Mapping[str, Any]) -> bool:
    for path in _places_of(row):
        answer = await _answer(ask, "stat_path", path)
        if answer is not None and read_item(answer).id == row["id"]:
            return True
    return False


async def _is_deleted(ask: Ask, args: tuple[Any, ...]) -> bool:
    answer = await _answer(ask, "get", *args[:2])
    return answer is None or bool(answer.get("deleted"))


async def _has_tags(ask: Ask, args: tuple[Any, ...]) -> bool:
    return set(args[2]) <= await _tags(ask, args)


async def _lacks_tags(ask: Ask, args: tuple[Any, ...]) -> bool:
    return not set(args[2]) & await _tags(ask, args)


async def _tags(ask: Ask, args: Sequence[Any]) -> set[str]:
    return set(read_tags(await _answer(ask, "list_tags", *args[:2]) or []))


async def _answer(ask: Ask, verb: str, *args: Any) -> Any:
    try:
        return await ask(verb, *args)
    except NoSuchName:
        return None


_LOOKS: Mapping[str, Callable[[Ask, tuple[Any, ...]], Awaitable[bool]]] = {
    "create_paths": _are_there,
    "remove_paths": _are_gone,
    "assign_paths": _are_in_place,
    "delete": _is_deleted,
    "tag": _has_tags,
    "untag": _lacks_tags,
}
