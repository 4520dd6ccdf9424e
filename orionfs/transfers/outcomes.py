"""What becomes of each item that is brought to Orion or from there, and how many are under way at once.

One item that fails keeps no other one from being tried. Must not know a session, nor the terminal.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

import trio

from orionfs.errors import OrionFsError
from orionfs.models import Key


class Status(Enum):
    """How it ended."""

    DONE = "done"
    SKIPPED = "skipped"  # it is there already
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One item: from where, to where, and how it ended.

    `words` say why it failed or was left, and not of which item: that stands before them.
    """

    source: str
    target: str
    status: Status
    key: Key | None = None  # of the item on Orion
    size: int | None = None  # bytes, where known
    words: str = ""


class Listener(Protocol):
    """Who follows what goes on; called in the trio thread, and must not wait."""

    def begins(self, source: str) -> None: ...
    def goes_on(self, source: str, done: int, total: int) -> None: ...
    def ends(self, outcome: Outcome) -> None: ...


@dataclass(frozen=True, slots=True)
class Work:
    """One item to be done. `target` is where it is to be, for what has failed before that is known."""

    source: str
    target: str
    do: Callable[[], Awaitable[Outcome]] = field(repr=False)


# An interrupt between two statements would leave work that was never begun, which Python complains about.
@trio.lowlevel.enable_ki_protection
async def do_all(works: Sequence[Work], at_once: int, listener: Listener) -> list[Outcome]:
    """Do all of them, `at_once` at a time, begun in their order; the outcomes in that order."""
    outcomes: dict[int, Outcome] = {}
    slots = trio.Semaphore(at_once)

    async def do(at: int, work: Work) -> None:
        try:
            listener.begins(work.source)
            outcomes[at] = await _outcome_of(work)
            listener.ends(outcomes[at])
        finally:
            slots.release()

    async with trio.open_nursery() as nursery:
        for at, work in enumerate(works):
            await slots.acquire()
            nursery.start_soon(do, at, work)
    return [outcomes[at] for at in range(len(works))]


async def _outcome_of(work: Work) -> Outcome:
    try:
        return await work.do()
    except OrionFsError as error:
        return Outcome(work.source, work.target, Status.FAILED, words=_words_of(error))
    except OSError as error:
        words = str(error.strerror or error)
        if error.filename is not None and str(error.filename) != work.source:
            words = f"{error.filename}: {words}"
        return Outcome(work.source, work.target, Status.FAILED, words=words)


def _words_of(error: OrionFsError) -> str:
    """What happened, for people: they know which item it was, and our own calls say nothing to them."""
    words = str(error)
    is_of_call = error.verb is not None and words.startswith(error.verb)
    return words.partition(": ")[2] or words if is_of_call else words


async def all_or_first_error(jobs: Sequence[Callable[[], Awaitable[None]]]) -> None:
    """Do all at the same time; an error ends the others, and is raised as itself."""
    failed: list[OrionFsError | OSError] = []
    async with trio.open_nursery() as nursery:

        async def do(job: Callable[[], Awaitable[None]]) -> None:
            try:
                await job()
            except (OrionFsError, OSError) as error:
                failed.append(error)
                nursery.cancel_scope.cancel()

        for job in jobs:
            nursery.start_soon(do, job)
    if failed:
        raise failed[0]
