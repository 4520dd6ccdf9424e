"""The journal from trio: overlapping writes share one sync of the disk, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.lowlevel

from orionfs.durable.journal import Journal, Removal
from orionfs.durable.journal_thread import JournalThread
from orionfs.errors import LocalDiskError
from orionfs.models import Key, Kind

pytestmark = [pytest.mark.virtual_time]


def removal(number: int) -> Removal:
    return Removal(Key(Kind.FILE, number), f"/a/{number}")


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal(tmp_path / "journal.db")
    yield made
    made.close()


def commits(journal: Journal) -> list[str]:
    """What the database is told of its transactions from now on."""
    told: list[str] = []
    journal._db.set_trace_callback(
        lambda sql: told.append(sql) if sql.startswith(("COMMIT", "PRAGMA")) else None
    )
    return told


async def write_at_once(thread: JournalThread, *writes: Any) -> list[BaseException | None]:
    errors: list[BaseException | None] = [None] * len(writes)

    async def one(at: int) -> None:
        try:
            await thread.run(writes[at])
        except LocalDiskError as error:
            errors[at] = error

    async with trio.open_nursery() as nursery:
        for at in range(len(writes)):
            nursery.start_soon(one, at)
    return errors


async def test_writes_that_overlap_are_one_commit(journal) -> None:
    told = commits(journal)
    thread = JournalThread(journal)
    await write_at_once(thread, *[lambda j, n=n: j.add_removal(removal(n)) for n in range(20)])
    assert told == ["PRAGMA synchronous = FULL", "COMMIT"]
    assert len(journal.removals()) == 20


async def test_write_that_fails_takes_no_other_along(journal) -> None:
    def fail(j: Journal) -> None:
        j.add_removal(removal(100))
        with j._transaction():
            j._db.execute("INSERT INTO nowhere VALUES (1)")

    thread = JournalThread(journal)
    good = [lambda j, n=n: j.add_removal(removal(n)) for n in range(3)]
    errors = await write_at_once(thread, *good, fail, lambda j: j.add_removal(removal(3)))
    assert [error is None for error in errors] == [True, True, True, False, True]
    assert {each.key.id for each in journal.removals()} >= {0, 1, 2, 3}


async def test_commit_that_fails_is_the_error_of_all_that_were_in_it(journal, monkeypatch) -> None:
    def end(j: Journal) -> None:
        j._db.execute("ROLLBACK")  # as SQLite does itself when the disk is full
        raise LocalDiskError("full")

    thread = JournalThread(journal)
    writes = [lambda j, n=n: j.add_removal(removal(n)) for n in range(4)]
    errors = await write_at_once(thread, *writes[:2], end, *writes[2:])
    assert [error is None for error in errors] == [False] * 5
    assert journal.removals() == []


async def test_values_and_order_are_those_of_the_callers(journal) -> None:
    thread = JournalThread(journal)
    seen: list[int] = []
    values: dict[int, int] = {}

    async def one(number: int) -> None:
        def write(_journal: Journal) -> int:
            seen.append(number)
            return number * 2

        values[number] = await thread.run(write)

    async with trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(one, number)
            await trio.lowlevel.checkpoint()
    assert values == {number: 2 * number for number in range(10)}
    assert sorted(seen) == list(range(10))


async def test_caller_that_gives_up_knows_whether_it_was_written(journal) -> None:
    thread = JournalThread(journal)
    ended: list[str] = []

    async def give_up(number: int, scope: trio.CancelScope) -> None:
        with scope:
            try:
                await thread.run(lambda j: j.add_removal(removal(number)))
                ended.append(f"written {number}")
            except trio.Cancelled:
                ended.append(f"given up {number}")
                raise

    async with trio.open_nursery() as nursery:
        scopes = [trio.CancelScope() for _ in range(5)]
        for number in range(5):
            nursery.start_soon(give_up, number, scopes[number])
        await trio.lowlevel.checkpoint()
        for scope in scopes[1:4]:
            scope.cancel()
    written = {each.key.id for each in journal.removals()}
    assert {f"written {number}" for number in written} <= set(ended)
    assert len(ended) == 5, ended
    assert {0, 4} <= written, ended
