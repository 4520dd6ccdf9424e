"""Attempts, retries, deadlines, the offline state and paging, on a fake session."""

from __future__ import annotations

import gc
import itertools
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from orionfs import errors
from orionfs.models import Assignment, Item, Key, Kind
from orionfs.orion.limiter import Priority, working_at
from orionfs.orion.listings import together
from orionfs.orion.parts import Part
from orionfs.orion.remote import Health, Limits, Remote
from tests.cli.processes import wait_for
from tests.component.fake_orion import HOME, TEAM, FakeCalls
from tests.component.virtual import held_clock
from tests.component.world import outcomes, settle

pytestmark = pytest.mark.virtual_time

OFFLINE = "offline: .*; what is cached goes on being served"
REFUSED = "refused: .*; what is cached goes on being served"


@asynccontextmanager
async def session(
    limits: Limits | None = None, fake: FakeCalls | None = None
) -> AsyncIterator[tuple[FakeCalls, Remote]]:
    """A fake and a remote on it, watching for the end of an offline time."""
    fake = fake or FakeCalls()
    fake.clock = trio.lowlevel.current_clock().current_time
    with held_clock():
        async with trio.open_nursery() as nursery:
            remote = Remote(fake, limits)
            await nursery.start(remote.run)
            try:
                yield fake, remote
            finally:
                fake.release_all()
                nursery.cancel_scope.cancel()


def started_at(fake: FakeCalls, verb: str) -> list[float]:
    return [call.started_at for call in fake.log if call.verb == verb]


# -- retries -------------------------------------------------------------------------------------


async def test_transient_failure_is_tried_again_with_growing_pauses() -> None:
    async with session() as (fake, remote):
        fake.fail("stat_path", status=503, times=5)
        assert (await remote.stat(HOME)) is not None
        moments = started_at(fake, "stat_path")
        pauses = [later - earlier for earlier, later in itertools.pairwise(moments)]
        assert len(pauses) == 5
        for attempt, pause in enumerate(pauses, 1):
            assert 0.05 * 2**attempt <= pause <= 0.1 * 2**attempt


async def test_retries_end_with_the_deadline_and_the_last_error() -> None:
    async with session(Limits(read_deadline_s=30.0)) as (fake, remote):
        fake.fail("stat_path", status=500, times=10**6)
        with pytest.raises(errors.RemoteFailure):
            await remote.stat(HOME)
        assert 15 <= trio.current_time() <= 30
        assert 6 <= fake.count("stat_path") <= 12


async def test_changes_have_a_longer_deadline() -> None:
    async with session(Limits(change_deadline_s=75.0)) as (fake, remote):
        fake.fail("delete", status=502, times=10**6)
        with pytest.raises(errors.RemoteFailure):
            await remote.delete(Key(Kind.FILE, 5))
        assert 60 <= trio.current_time() <= 75


async def test_forbidden_is_asked_once_more_after_a_second() -> None:
    async with session() as (fake, remote):
        fake.fail("stat_path", "AuthorizationRequired", 403)
        await remote.stat(HOME)
        assert started_at(fake, "stat_path") == [0.0, 1.0]
        fake.fail("stat_path", "AuthorizationRequired", 403, times=9)
        with pytest.raises(errors.AccessDenied):
            await remote.stat(HOME)
        assert fake.count("stat_path") == 4


@pytest.mark.parametrize("status", [400, 401, 409, 413, 422, 507])
@pytest.mark.expect_log(REFUSED)
async def test_certain_refusal_is_asked_once(status: int) -> None:
    async with session() as (fake, remote):
        fake.fail("stat_path", "BadResponse", status, times=9)
        with pytest.raises(errors.OrionFsError) as error:
            await remote.stat(HOME)
        assert error.value.status == status
        assert fake.count("stat_path") == 1


async def test_retry_after_is_honoured() -> None:
    async with session() as (fake, remote):
        fake.fail("stat_path", "RateLimitedResponse", 429, retry_after="12")
        await remote.stat(HOME)
        assert started_at(fake, "stat_path") == [0.0, 12.0]


async def test_retry_after_beyond_the_deadline_ends_the_call_at_once() -> None:
    async with session(Limits(read_deadline_s=30.0)) as (fake, remote):
        fake.fail("stat_path", "RateLimitedResponse", 429, retry_after="3600")
        with pytest.raises(errors.Throttled):
            await remote.stat(HOME)
        assert trio.current_time() == 0
        assert remote.health is Health.ONLINE


async def test_call_without_an_answer_ends_at_its_deadline() -> None:
    async with session(Limits(read_deadline_s=30.0)) as (fake, remote):
        stall = fake.stall("stat_path")
        with pytest.raises(errors.TimedOut, match="no answer within 30 s"):
            await remote.stat(HOME)
        assert trio.current_time() == 30.0
        stall.release()
        await settle()
        assert (await remote.stat(HOME)) is not None


@pytest.mark.expect_log(OFFLINE)
async def test_waiting_for_a_slot_counts_towards_the_deadline() -> None:
    async with session(Limits(read_deadline_s=30.0, metadata_in_flight=1)) as (fake, remote):
        fake.stall("whoami")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(outcomes, partial(remote.whoami, "stack"))
            await settle()
            (error,) = await outcomes(partial(remote.stat, HOME))
            assert isinstance(error, errors.TimedOut)
            assert fake.count("stat_path") == 0


# -- what a session answers ----------------------------------------------------------------------


async def test_account_is_told_by_profile_and_project() -> None:
    async with session() as (_, remote):
        account = await remote.whoami("fallback")
        assert (account.username, account.user_id, account.project_id) == ("demo", 1, 1)
        assert (account.stack, account.project_name) == ("0123456789abcdef", "Demo")
        assert account.home == HOME


@pytest.mark.parametrize(
    ("told", "stack", "project_name"),
    [
        ({"profile": {"username": "u"}, "project": {"id": 3}, "instance": None}, "fallback", "3"),
        ({"profile": {"name": "u"}}, "fallback", "None"),
    ],
)
async def test_account_of_a_terse_stack_has_the_names_we_gave(monkeypatch, told, stack, project_name) -> None:
    async with session() as (fake, remote):
        monkeypatch.setattr(fake, "whoami", lambda: told)
        account = await remote.whoami("fallback")
        assert (account.username, account.stack, account.project_name) == ("u", stack, project_name)


@pytest.mark.parametrize("profile", [None, {}, {"username": ""}, {"username": 7}])
async def test_account_without_a_name_is_a_failure(monkeypatch, profile) -> None:
    async with session() as (fake, remote):
        monkeypatch.setattr(fake, "whoami", lambda: {"profile": profile, "project": {}})
        with pytest.raises(errors.RemoteFailure):
            await remote.whoami("stack")


async def test_absent_path_is_none_and_a_deleted_item_no_error() -> None:
    async with session() as (_, remote):
        assert await remote.stat(f"{HOME}/none") is None
        await remote.delete(Key(Kind.FILE, 99999))
        await remote.remove_folder(f"{HOME}/none")


async def test_assignment_gives_back_the_literal_as_it_was_received(monkeypatch) -> None:
    async with session() as (fake, remote):
        sent: list[Any] = []
        monkeypatch.setattr(fake, "assign_paths", sent.append)
        named = Item(Kind.FILE, 5, "a", literal="FileResource")
        bare = Item(Kind.DATASET, 6, "b")
        await remote.assign(Assignment(named, "/f", "x"), Assignment(bare, "/f", "y"))
        assert sent == [
            [
                {"resource_type": "FileResource", "id": 5, "path": "/f", "name": "x"},
                {"resource_type": "dataset", "id": 6, "path": "/f", "name": "y"},
            ]
        ]


async def test_change_whose_answer_was_lost_is_repeated_without_harm() -> None:
    async with session() as (fake, remote):
        id = fake.add_file(f"{HOME}/a", b"x")
        item = await remote.stat(f"{HOME}/a")
        assert item is not None
        for verb, change in (
            ("assign_paths", partial(remote.assign, Assignment(item, HOME, "b"))),
            ("tag", partial(remote.tag, Key(Kind.FILE, id), ["t"])),
            ("delete", partial(remote.delete, Key(Kind.FILE, id))),
        ):
            fake.fail(verb, "OrionConnectionError", has_effect=True)
            await change()
            assert fake.count(verb) == 2
        assert fake.tree() == {}


async def test_uploaded_item_has_the_size_that_was_sent(tmp_path: Path) -> None:
    async with session() as (_, remote):
        (tmp_path / "source").write_bytes(b"abc")
        item = await remote.upload(".orionfs-1", tmp_path / "source", 3)
        assert (item.kind, item.name, item.size) == (Kind.FILE, ".orionfs-1", 3)
        found = await remote.find_upload(HOME, ".orionfs-1")
        assert found is not None
        assert found.id == item.id


async def test_upload_is_one_attempt_that_is_waited_for(tmp_path: Path) -> None:
    """An upload that went on unseen would leave an item behind."""
    async with session(Limits(inactivity_s=1.0, change_deadline_s=1.0)) as (fake, remote):
        (tmp_path / "source").write_bytes(b"abc")
        fake.latency_s = 1000.0
        await remote.upload(".orionfs-1", tmp_path / "source", 3)
        assert trio.current_time() == 1000.0
        fake.latency_s = 0
        fake.fail("upload", status=503)
        with pytest.raises(errors.RemoteFailure):
            await remote.upload(".orionfs-2", tmp_path / "source", 3)
        assert fake.count("upload") == 2


@pytest.mark.parametrize("answer", [{}, {"name": "x"}, {"name": "x", "id": None}, None, []])
async def test_upload_whose_answer_tells_no_id_is_a_failure(monkeypatch, tmp_path, answer) -> None:
    async with session() as (fake, remote):
        monkeypatch.setattr(fake, "upload", lambda name, path, timeout_s=None: answer)
        with pytest.raises(errors.RemoteFailure):
            await remote.upload(".orionfs-1", tmp_path / "source", 3)


async def test_interrupted_upload_is_found_by_name_where_the_folder_does_not_show_it(monkeypatch) -> None:
    async with session() as (fake, remote):
        id = fake.add_file("/project/1/team/.orionfs-1", b"x")
        fake.add_file(f"{HOME}/other", b"x")
        found = await remote.find_upload(HOME, ".orionfs-1")
        assert found is not None
        assert (found.id, found.kind) == (id, Kind.FILE)
        assert await remote.find_upload(HOME, ".orionfs-2") is None
        monkeypatch.setattr(fake, "find", lambda kind, filters: [{"id": 5, "name": "unasked", "size": 1}])
        assert await remote.find_upload(HOME, ".orionfs-2") is None


# -- limits --------------------------------------------------------------------------------------


async def test_no_more_calls_are_in_flight_than_allowed() -> None:
    async with session(Limits(metadata_in_flight=5)) as (fake, remote):
        fake.latency_s = 1.0
        await outcomes(*[partial(remote.stat, HOME)] * 23)
        assert fake.in_flight_max["stat_path"] == 5
        assert trio.current_time() == 5.0


async def test_no_more_calls_are_in_flight_than_the_session_makes_at_once() -> None:
    fake = FakeCalls()
    fake.metadata_at_once = 3
    async with session(fake=fake) as (fake, remote):
        fake.latency_s = 1.0
        await outcomes(*[partial(remote.stat, HOME)] * 7)
        assert fake.in_flight_max["stat_path"] == 3


# Four, and two more at most by the answers that come since: one a window.
@pytest.mark.parametrize(("status", "at_once"), [(429, range(3, 7)), (503, range(3, 7)), (500, range(7, 9))])
async def test_stack_that_says_slow_down_gets_half_as_many_calls_at_once(status, at_once) -> None:
    async with session(Limits(metadata_in_flight=8)) as (fake, remote):
        fake.latency_s = 1.0
        fake.fail("stat_path", status=status, times=8)
        await outcomes(*[partial(remote.stat, HOME)] * 8)
        fake.in_flight_max.clear()
        await outcomes(*[partial(remote.stat, TEAM)] * 8)
        assert fake.in_flight_max["stat_path"] in at_once


async def test_what_is_fetched_ahead_is_tried_once_unless_somebody_comes_to_need_it() -> None:
    async with session() as (fake, remote):
        fake.fail("stat_path", status=500, times=1)
        with working_at(Priority.PREFETCH), pytest.raises(errors.RemoteFailure):
            await remote.stat(HOME)
        assert fake.count("stat_path") == 1
        fake.fail("stat_path", status=500, times=1)
        with working_at(Priority.PREFETCH) as urgency:
            urgency.raise_to(Priority.FOREGROUND)
            assert await remote.stat(HOME) is not None
        assert fake.count("stat_path") == 3


async def test_stat_does_not_wait_for_a_row_of_listings_fetched_ahead() -> None:
    async with session() as (fake, remote):
        fake.stall("ls_path")
        async with trio.open_nursery() as nursery:
            with working_at(Priority.PREFETCH):
                for _ in range(40):
                    nursery.start_soon(outcomes, partial(remote.list_folder, HOME))
            await settle()
            assert fake.in_flight["ls_path"] == 7
            assert await remote.stat(HOME) is not None
            assert trio.current_time() < 1
            nursery.cancel_scope.cancel()


async def read_into(remote: Remote, id: int, length: int, fd: int) -> None:
    await remote.read_into(Key(Kind.FILE, id), Part(0, length, remote.line), fd)


async def test_stalled_contents_never_delay_metadata(tmp_path: Path) -> None:
    async with session(Limits(contents_in_flight=2, small_contents_in_flight=2)) as (fake, remote):
        id = fake.add_file(f"{HOME}/a", b"x" * 10)
        fake.stall("read_into")
        fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(outcomes, partial(read_into, remote, id, 10, fd))
            await settle()
            assert await remote.stat(HOME) is not None
            assert trio.current_time() < 1
            assert fake.in_flight["read_into"] == 2
            nursery.cancel_scope.cancel()
        os.close(fd)


async def test_errors_of_calls_made_together_end_the_others() -> None:
    async with session() as (fake, remote):
        fake.latency_s = 1.0
        fake.fail("get", "BadResponse", 422)
        with pytest.raises(errors.InvalidCall):
            await together([partial(remote.get, Key(Kind.FILE, 1)), partial(trio.sleep, 1000)])  # type: ignore[arg-type]
        assert trio.current_time() == 1.0
        assert await together([]) == []


# -- offline -------------------------------------------------------------------------------------


@pytest.mark.expect_log(OFFLINE)
async def test_refused_connection_means_offline_at_once_and_the_rest_fails_without_a_call() -> None:
    async with session() as (fake, remote):
        fake.fail("stat_path", "OrionConnectionError", refused=True, times=10**6)
        fake.fail("whoami", "OrionConnectionError", refused=True, times=10**6)
        with pytest.raises(errors.Unreachable):
            await remote.stat(HOME)
        assert remote.health is Health.OFFLINE
        assert trio.current_time() == 0
        calls = fake.count("ls_path", "stat_path")
        for ask in (partial(remote.stat, HOME), partial(remote.list_folder, HOME)):
            with pytest.raises(errors.Unreachable):
                await ask()
        assert fake.count("ls_path", "stat_path") == calls


@pytest.mark.expect_log(OFFLINE)
async def test_mount_is_online_again_within_two_seconds_of_the_server() -> None:
    async with session() as (fake, remote):
        fake.fail("stat_path", "OrionConnectionError", refused=True)
        down = fake.fail("whoami", "OrionConnectionError", refused=True, times=10**6)
        with pytest.raises(errors.Unreachable):
            await remote.stat(HOME)
        await trio.sleep(21)
        assert started_at(fake, "whoami") == [2.0 * n for n in range(1, 11)]
        down.times = 0
        await trio.sleep(2)
        assert remote.health is Health.ONLINE
        assert await remote.stat(HOME) is not None
        checks = fake.count("whoami")
        await trio.sleep(60)
        assert fake.count("whoami") == checks


@pytest.mark.expect_log(OFFLINE)
async def test_two_calls_without_an_answer_mean_offline_and_one_does_not() -> None:
    async with session(Limits(read_deadline_s=10.0)) as (fake, remote):
        fake.stall("stat_path")
        fake.fail("whoami", "OrionTimeout", times=10**6)
        with pytest.raises(errors.TimedOut):
            await remote.stat(HOME)
        assert remote.health is Health.ONLINE
        with pytest.raises(errors.TimedOut):
            await remote.stat(HOME)
        assert remote.health is Health.OFFLINE


async def test_answer_between_two_silent_calls_keeps_the_mount_online() -> None:
    async with session(Limits(read_deadline_s=10.0)) as (fake, remote):
        stall = fake.stall("stat_path", when=lambda path: path == "/silent")
        for _ in range(3):
            with pytest.raises(errors.TimedOut):
                await remote.stat("/silent")
            assert await remote.stat(HOME) is not None
        assert remote.health is Health.ONLINE
        stall.release()


@pytest.mark.parametrize("status", [429, 500, 503, 404, 403])
async def test_server_that_answers_with_errors_is_online(status: int) -> None:
    async with session(Limits(read_deadline_s=10.0)) as (fake, remote):
        fake.fail("stat_path", "OrionServiceError", status, times=10**6)
        for _ in range(3):
            await outcomes(partial(remote.stat, HOME))
        assert remote.health is Health.ONLINE


@pytest.mark.expect_log(OFFLINE)
@pytest.mark.parametrize("status", [429, 500, 403])
async def test_any_answer_to_the_check_ends_the_offline_time(status: int) -> None:
    async with session() as (fake, remote):
        fake.fail("stat_path", "OrionConnectionError", refused=True)
        with pytest.raises(errors.Unreachable):
            await remote.stat(HOME)
        fake.fail("whoami", "OrionServiceError", status, times=10**6)
        await trio.sleep(3)
        assert remote.health is Health.ONLINE


@pytest.mark.expect_log(OFFLINE)
async def test_second_offline_time_is_noticed_and_ended_as_the_first() -> None:
    async with session() as (fake, remote):
        for _ in range(2):
            fake.fail("stat_path", "OrionConnectionError", refused=True)
            with pytest.raises(errors.Unreachable):
                await remote.stat(HOME)
            assert remote.health is Health.OFFLINE
            await trio.sleep(5)
            assert remote.health is Health.ONLINE


@pytest.mark.expect_log(OFFLINE)
async def test_call_that_waits_to_be_tried_again_ends_when_the_mount_goes_offline() -> None:
    async with session() as (fake, remote):
        fake.fail("whoami", "OrionConnectionError", refused=True, times=10**6)
        fake.fail("ls_path", "OrionServiceError", 503, retry_after="20", times=10**6)
        fake.fail("stat_path", "OrionConnectionError", refused=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(outcomes, partial(remote.list_folder, HOME))
            await trio.sleep(1)
            await outcomes(partial(remote.stat, HOME))
            (error,) = await outcomes(partial(remote.list_folder, HOME))
            assert isinstance(error, errors.Unreachable)
        assert trio.current_time() <= 20
        assert fake.count("ls_path") == 1


# -- listings ------------------------------------------------------------------------------------


def fill(fake: FakeCalls, count: int) -> list[str]:
    names = [f"n{number:04}" for number in range(count)]
    for name in names:
        fake.add_file(f"{HOME}/{name}", b"x")
    return names


async def test_pages_after_the_first_fly_together() -> None:
    async with session() as (fake, remote):
        names = fill(fake, 45)
        fake.page_max, fake.latency_s = 10, 1.0
        answer = await remote.list_folder(HOME)
        assert [item.name for item in answer.items] == names
        assert (answer.is_complete, answer.pages) == (True, 5)
        assert trio.current_time() == 2.0
        assert fake.count("ls_path") == 5


async def test_folder_of_exactly_one_page_costs_one_call() -> None:
    async with session() as (fake, remote):
        fake.page_max = 10
        fill(fake, 10)
        assert len((await remote.list_folder(HOME)).items) == 10
        assert fake.count("ls_path") == 1


async def test_empty_folder_costs_one_call() -> None:
    async with session() as (fake, remote):
        answer = await remote.list_folder(HOME)
        assert (answer.items, answer.is_complete, answer.pages) == ((), True, 1)
        assert fake.count() == 1


async def test_absent_folder_is_no_such_name() -> None:
    async with session() as (_, remote):
        with pytest.raises(errors.NoSuchName):
            await remote.list_folder(f"{HOME}/none")


async def test_listing_that_changed_between_its_pages_is_asked_again() -> None:
    async with session() as (fake, remote):
        names = fill(fake, 25)
        fake.page_max = 10
        stall = fake.stall("ls_path", when=lambda path, query: query["offset"] == 20)
        async with trio.open_nursery() as nursery:
            answers: list[Any] = []

            async def ask() -> None:
                answers.append(await remote.list_folder(HOME))

            nursery.start_soon(ask)
            await stall.arrived.wait()
            fake.remove(f"{HOME}/{names[0]}")
            stall.release()
        (answer,) = answers
        assert [item.name for item in answer.items] == names[1:]
        assert answer.is_complete
        assert fake.count("ls_path") == 6


Edit = Callable[[dict[str, Any]], dict[str, Any]]


def cut_short(page: dict[str, Any]) -> dict[str, Any]:
    return {**page, "results": page["results"][:9]}


def total_too_large(page: dict[str, Any]) -> dict[str, Any]:
    return {**page, "count": page["count"] + 1}


def total_too_small(page: dict[str, Any]) -> dict[str, Any]:
    return {**page, "count": page["count"] - 1}


@pytest.mark.parametrize("edit", [total_too_large, total_too_small])
async def test_listing_that_does_not_add_up_twice_is_incomplete(edit: Edit) -> None:
    async with session() as (fake, remote):
        fill(fake, 25)
        fake.page_max, fake.edit_page = 10, edit
        assert not (await remote.list_folder(HOME)).is_complete


async def test_pages_that_are_shorter_than_asked_are_all_fetched() -> None:
    """A stack with smaller pages than we ask for: the first page's length is the step."""
    async with session() as (fake, remote):
        names = fill(fake, 25)
        fake.page_max, fake.edit_page = 10, cut_short
        answer = await remote.list_folder(HOME)
        assert [item.name for item in answer.items] == names
        assert answer.is_complete


async def test_stack_that_ignores_the_offset_makes_an_incomplete_listing() -> None:
    async with session() as (fake, remote):
        fill(fake, 25)
        fake.page_max, fake.offset_is_ignored = 10, True
        answer = await remote.list_folder(HOME)
        assert not answer.is_complete
        assert len(answer.items) == 10


async def test_empty_first_page_of_a_folder_that_is_not_empty_is_incomplete() -> None:
    async with session() as (fake, remote):
        fill(fake, 3)
        fake.edit_page = lambda page: {**page, "results": []}
        answer = await remote.list_folder(HOME)
        assert (answer.items, answer.is_complete) == ((), False)


async def test_row_that_comes_on_two_pages_counts_once() -> None:
    async with session() as (fake, remote):
        fill(fake, 25)
        fake.page_max = 10
        seen: list[dict[str, Any]] = []

        def repeat_the_last(page: dict[str, Any]) -> dict[str, Any]:
            seen.extend(page["results"])
            return {**page, "results": [*page["results"], seen[0]]}

        fake.edit_page = repeat_the_last
        answer = await remote.list_folder(HOME)
        assert len({item.id for item in answer.items}) == len(answer.items)


@pytest.mark.parametrize("count", [0, 5, 1000, 1001, 2500])
async def test_listing_without_a_total_is_read_to_its_end(count: int) -> None:
    async with session() as (fake, remote):
        names = fill(fake, count)
        fake.tells_total = False
        answer = await remote.list_folder(HOME)
        assert [item.name for item in answer.items] == names
        assert answer.is_complete
        assert fake.count("ls_path") <= count // 1000 + 2


async def test_listing_without_a_total_and_with_ignored_offset_ends_and_is_incomplete() -> None:
    async with session() as (fake, remote):
        fill(fake, 1200)
        fake.tells_total, fake.offset_is_ignored = False, True
        answer = await remote.list_folder(HOME)
        assert not answer.is_complete
        assert fake.count("ls_path") <= 6


@pytest.mark.parametrize("page_max", [10, 100])
async def test_listing_without_a_total_in_smaller_pages_than_asked_is_not_believed_short(page_max) -> None:
    """Nobody documents the page size: a page of 100 rows without a total may be the first of many."""
    async with session() as (fake, remote):
        names = fill(fake, 250)
        fake.tells_total, fake.page_max = False, page_max
        answer = await remote.list_folder(HOME)
        assert not answer.is_complete or [item.name for item in answer.items] == names


async def test_garbage_where_a_listing_was_due_is_tried_again_and_then_a_failure(monkeypatch) -> None:
    async with session(Limits(read_deadline_s=5.0)) as (fake, remote):
        monkeypatch.setattr(fake, "ls_path", lambda path, query=None: {"error": "maintenance"})
        with pytest.raises(errors.RemoteFailure):
            await remote.list_folder(HOME)


async def test_count_asks_for_one_row() -> None:
    async with session() as (fake, remote):
        fill(fake, 7)
        assert await remote.count(HOME) == 7
        assert fake.log[-1].args == (HOME, {"limit": 1})
        fake.tells_total = False
        assert await remote.count(HOME) == 1


# -- sizes ---------------------------------------------------------------------------------------


async def test_sizes_that_rows_lack_are_asked_for_once_in_a_life() -> None:
    async with session(Limits(metadata_in_flight=4)) as (fake, remote):
        fill(fake, 10)
        fake.add_folder(f"{HOME}/sub")
        fake.add_file(f"{HOME}/hits", b"xyz", kind="dataset")
        fake.tells_sizes, fake.latency_s = False, 1.0
        for expected in (10, 0):
            with fake.counting() as verbs:
                answer = await remote.list_folder(HOME)
            assert {item.size for item in answer.items if item.kind is Kind.FILE} == {1}
            assert verbs.count("get") == expected
        assert fake.in_flight_max["get"] == 4
        assert {item.size for item in answer.items if item.kind is not Kind.FILE} == {None}


async def test_item_that_vanishes_while_its_size_is_asked_for_has_none() -> None:
    async with session() as (fake, remote):
        fill(fake, 3)
        fake.tells_sizes = False
        fake.fail("get", "NotFoundResponse", 404)
        answer = await remote.list_folder(HOME)
        assert sorted(str(item.size) for item in answer.items) == ["1", "1", "None"]


async def test_item_whose_size_nobody_may_ask_does_not_hide_its_folder() -> None:
    async with session() as (fake, remote):
        fill(fake, 3)
        fake.tells_sizes = False
        fake.fail("get", "AuthorizationRequired", 403, when=lambda kind, id: id == 1010, times=99)
        answer = await remote.list_folder(HOME)
        assert len(answer.items) == 3


# -- descriptors ---------------------------------------------------------------------------------


async def test_abandoned_read_never_writes_to_a_descriptor_that_was_used_again(tmp_path: Path) -> None:
    async with session(Limits(inactivity_s=10.0)) as (fake, remote):
        id = fake.add_file(f"{HOME}/a", b"stray bytes")
        stall = fake.stall("read_into")
        fd = os.open(tmp_path / "first", os.O_RDWR | os.O_CREAT)
        with pytest.raises(errors.TimedOut):
            await read_into(remote, id, 11, fd)
        os.close(fd)
        again = os.open(tmp_path / "second", os.O_RDWR | os.O_CREAT)
        assert again == fd
        before = len(os.listdir("/proc/self/fd"))
        stall.release()
        with trio.fail_after(5):
            while (tmp_path / "first").read_bytes() != b"stray bytes":
                await settle()
        assert (tmp_path / "second").read_bytes() == b""
        await settle()
        gc.collect()  # the error above holds the call that it came from
        assert len(os.listdir("/proc/self/fd")) < before
        os.close(again)


async def test_read_that_is_cancelled_before_it_starts_leaves_no_descriptor(tmp_path: Path) -> None:
    async with session(Limits(contents_in_flight=1)) as (fake, remote):
        id = fake.add_file(f"{HOME}/a", b"0123456789")
        stall = fake.stall("read_into")
        fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
        before = len(os.listdir("/proc/self/fd"))
        with trio.move_on_after(5):
            await outcomes(*[partial(read_into, remote, id, 10, fd)] * 5)
        stall.release()
        await settle()
        gc.collect()
        # The thread that was in its call closes its descriptor when it is done, whoever waits for it.
        wait_for(lambda: len(os.listdir("/proc/self/fd")) <= before)
        os.close(fd)
