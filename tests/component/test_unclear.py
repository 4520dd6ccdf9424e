"""Changes whose end is not known: remembered, looked up before the next change of their subject, told."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import pytest
import trio

from orionfs import errors
from orionfs.models import Assignment, Item, Key, Kind
from orionfs.orion.remote import Limits, Remote
from tests.component.fake_orion import HOME, FakeCalls
from tests.component.test_remote import session

pytestmark = [
    pytest.mark.virtual_time,
    pytest.mark.expect_log("offline: .*; what is cached goes on being served"),
]

# Shorter than the first pause before a repeat: every failure is the last one.
AT_ONCE = Limits(change_deadline_s=0.05)
BROKEN = "OrionConnectionError"

Act = Callable[[Remote, int], Awaitable[object]]


def assignment(id: int) -> Assignment:
    return Assignment(Item(Kind.FILE, id, "a"), f"{HOME}/d", "b")


def prepare(fake: FakeCalls) -> int:
    """A folder `d`, an empty one `e`, and the file `a` whose id is given."""
    fake.add_folder(f"{HOME}/d")
    fake.add_folder(f"{HOME}/e")
    return fake.add_file(f"{HOME}/a", b"1", tags=("old",))


CHANGES: dict[str, tuple[str, Act, str]] = {
    "create": ("create_paths", lambda remote, _: remote.create_folder(f"{HOME}/new"), "stat_path"),
    "remove": ("remove_paths", lambda remote, _: remote.remove_folder(f"{HOME}/e"), "stat_path"),
    "assign": ("assign_paths", lambda remote, id: remote.assign(assignment(id)), "stat_path"),
    "delete": ("delete", lambda remote, id: remote.delete(Key(Kind.FILE, id)), "get"),
    "tag": ("tag", lambda remote, id: remote.tag(Key(Kind.FILE, id), ["new"]), "list_tags"),
    "untag": ("untag", lambda remote, id: remote.untag(Key(Kind.FILE, id), ["old"]), "list_tags"),
}
changes = pytest.mark.parametrize(("verb", "act", "asks"), CHANGES.values(), ids=CHANGES.keys())


@changes
@pytest.mark.parametrize("has_effect", [True, False])
async def test_unclear_change_is_looked_up_and_told_before_the_next_one_of_its_subject(
    caplog: pytest.LogCaptureFixture, verb: str, act: Act, asks: str, has_effect: bool
) -> None:
    caplog.set_level(logging.INFO)
    async with session(AT_ONCE) as (fake, remote):
        id = prepare(fake)
        fake.fail(verb, BROKEN, has_effect=has_effect)
        with pytest.raises(errors.Unreachable):
            await act(remote, id)
        assert len(remote._unclear) == 1
        with fake.counting() as asked:
            try:
                await act(remote, id)
            except errors.Conflict:
                assert (verb, has_effect) == ("create_paths", True)
        assert asked[0] == asks
        assert asked[-1] == verb
        assert len(remote._unclear) == 0
        told = [record.getMessage() for record in caplog.records if "was not known" in record.getMessage()]
        assert len(told) == 1
        assert told[0].startswith(f"{verb} ")
        assert told[0].endswith("it has happened" if has_effect else "it has not happened")


async def test_clear_refusals_are_not_remembered() -> None:
    async with session(AT_ONCE) as (fake, remote):
        prepare(fake)
        for status in (409, 403, 422, 503, 429):
            fake.fail("create_paths", BROKEN, status)
            with pytest.raises(errors.OrionFsError):
                await remote.create_folder(f"{HOME}/x")
        fake.fail("create_paths", BROKEN, refused=True, nothing_sent=True)
        with pytest.raises(errors.Unreachable):
            await remote.create_folder(f"{HOME}/x")
        assert len(remote._unclear) == 0


async def test_change_of_another_subject_costs_no_look() -> None:
    async with session(AT_ONCE) as (fake, remote):
        prepare(fake)
        fake.fail("create_paths", BROKEN)
        with pytest.raises(errors.Unreachable):
            await remote.create_folder(f"{HOME}/x")
        with fake.counting() as asked:
            await remote.create_folder(f"{HOME}/y")
        assert asked == ["create_paths"]


async def test_next_change_waits_for_a_look_that_can_be_made() -> None:
    async with session(AT_ONCE) as (fake, remote):
        id = prepare(fake)
        fake.fail("delete", BROKEN)
        with pytest.raises(errors.Unreachable):
            await remote.delete(Key(Kind.FILE, id))
        fake.fail("get", "CallTimeout", times=1000)
        with pytest.raises(errors.TimedOut):
            await remote.tag(Key(Kind.FILE, id), ["x"])
        assert fake.count("tag") == 0
        fake.heal()
        await remote.wait_until_back()
        await remote.tag(Key(Kind.FILE, id), ["x"])
        assert "x" in fake.row(id).tags


async def test_look_that_is_refused_is_told_and_ends_the_matter(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with session(AT_ONCE) as (fake, remote):
        id = prepare(fake)
        fake.fail("tag", BROKEN)
        with pytest.raises(errors.Unreachable):
            await remote.tag(Key(Kind.FILE, id), ["x"])
        fake.fail("list_tags", "AuthorizationRequired", 403, times=2)
        await remote.tag(Key(Kind.FILE, id), ["x"])
        assert "can't be found out" in caplog.text


async def test_change_that_was_given_up_is_unclear() -> None:
    async with session() as (fake, remote):
        id = prepare(fake)
        stall = fake.stall("delete", is_after=True)
        with trio.move_on_after(1):
            await remote.delete(Key(Kind.FILE, id))
        stall.release()
        assert len(remote._unclear) == 1


async def test_folder_that_went_with_a_lost_answer_is_not_removed_twice() -> None:
    """Its path may mean an item of the same name by then."""
    async with session() as (fake, remote):
        prepare(fake)
        fake.add_file(f"{HOME}/e", b"somebody's")
        fake.fail("remove_paths", "WorkerDied", has_effect=True)
        await remote.remove_folder(f"{HOME}/e")
        assert fake.contents(f"{HOME}/e") == b"somebody's"
        assert fake.count("remove_paths") == 1


async def test_folder_that_no_replica_shows_yet_is_removed_although_an_answer_was_lost() -> None:
    """That it is not seen does not mean that it has gone."""
    async with session() as (fake, remote):
        fake.read_lag_s = 8.0
        await trio.sleep(10)
        await remote.create_folder(f"{HOME}/new")
        fake.fail("remove_paths", "WorkerDied")
        await remote.remove_folder(f"{HOME}/new")
        assert fake.ids_at(f"{HOME}/new") == []


async def test_two_changes_of_one_subject_look_once() -> None:
    async with session(AT_ONCE) as (fake, remote):
        id = prepare(fake)
        fake.fail("tag", BROKEN)
        with pytest.raises(errors.Unreachable):
            await remote.tag(Key(Kind.FILE, id), ["x"])
        async with trio.open_nursery() as nursery:
            nursery.start_soon(remote.tag, Key(Kind.FILE, id), ["x"])
            nursery.start_soon(remote.untag, Key(Kind.FILE, id), ["old"])
        assert fake.count("list_tags") == 1
        assert fake.row(id).tags == {"x"}
