"""The way to Orion: what is wrong since when, how soon its end is noticed, and what is served meanwhile."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from math import inf
from typing import Any

import pytest
import trio

from orionfs import errors
from orionfs.orion.health import Condition, Health, HealthWatch
from orionfs.orion.remote import Limits, Remote
from tests.component.fake_orion import HOME, FakeCalls
from tests.component.test_remote import OFFLINE, REFUSED, session, started_at
from tests.component.world import mount, outcomes

pytestmark = [pytest.mark.virtual_time, pytest.mark.expect_log(OFFLINE), pytest.mark.expect_log(REFUSED)]

BACK_WITHIN_S = 5.0


async def make_silent(fake: FakeCalls, remote: Remote) -> None:
    """Orion takes every question and answers none, until `release_all`."""
    for verb in ("stat_path", "whoami", "ls_path"):
        fake.stall(verb)
    while remote.health is Health.ONLINE:
        await outcomes(partial(remote.stat, HOME))


# -- what is wrong, since when ---------------------------------------------------------------------


async def test_condition_says_what_is_wrong_since_when_and_why() -> None:
    async with session() as (fake, remote):
        assert (remote.condition.word, remote.condition.cause) == ("online", None)
        down = fake.fail("whoami", "OrionConnectionError", refused=True, times=inf, detail="host: refused")
        fake.fail("stat_path", "OrionConnectionError", refused=True, detail="host: Connection refused")
        await outcomes(partial(remote.stat, HOME))
        found = remote.condition
        assert (found.word, found.cause) == ("offline", "no answer from Orion: host: Connection refused")
        assert abs(found.since_s - time.time()) < 60
        await trio.sleep(10)
        assert remote.condition == found  # further failures are no news
        down.times = 0
        await trio.sleep(BACK_WITHIN_S)
        assert (remote.condition.word, remote.condition.cause) == ("online", None)


def test_condition_in_words_names_the_day_only_if_it_is_not_this_one() -> None:
    long_ago = Condition("offline", 86_400.0, "why")
    assert long_ago.in_words().startswith("offline since 1970-01-0")
    assert long_ago.in_words().endswith(": why")
    now = datetime.now().timestamp()
    assert Condition("refused", now, "why").in_words().count("-") == 0
    assert Condition("online", now).in_words() == "online"


async def test_cause_that_changes_is_told_as_it_is_now() -> None:
    async with session() as (fake, remote):
        fake.fail("stat_path", "OrionConnectionError", refused=True)
        fake.fail("whoami", "InvalidCredentials", 401, times=3)
        await outcomes(partial(remote.stat, HOME))
        assert remote.condition.word == "offline"
        await trio.sleep(2.5)
        assert remote.condition.word == "refused"
        await trio.sleep(6)
        assert remote.condition.word == "online"


# -- credentials that are refused ------------------------------------------------------------------


async def test_refused_credentials_are_asked_about_by_one_question_in_two_seconds_alone() -> None:
    async with session() as (fake, remote):
        for verb in ("stat_path", "ls_path", "whoami"):
            fake.fail(verb, "InvalidCredentials", 401, times=inf)
        asked = [partial(remote.stat, f"{HOME}/{number}") for number in range(8)]
        found = await outcomes(*asked)
        assert {type(each) for each in found} == {errors.CredentialsRefused}
        before = fake.count("stat_path", "ls_path")
        assert {type(each) for each in await outcomes(*asked)} == {errors.CredentialsRefused}
        assert fake.count("stat_path", "ls_path") == before
        await trio.sleep(9)
        assert started_at(fake, "whoami") == [0.0, 2.0, 4.0, 6.0, 8.0]
        fake.heal()
        await trio.sleep(2)
        assert remote.health is Health.ONLINE
        assert await remote.stat(HOME) is not None


async def test_one_thing_that_is_refused_alone_takes_nothing_else_away() -> None:
    async with session() as (fake, remote):
        fake.fail("stat_path", "InvalidCredentials", 401, times=inf)
        fake.latency_s = 0.1
        for _ in range(3):
            found = await outcomes(*[partial(remote.stat, HOME)] * 3, partial(remote.count, HOME))
            assert {type(each) for each in found[:3]} == {errors.CredentialsRefused}
            assert found[3] == 0
        assert remote.health is Health.ONLINE
        assert fake.count("whoami") == 1
        assert fake.forgotten == 0


async def test_403_that_is_about_the_credentials_is_told_from_a_permission_that_is_missing() -> None:
    async with session() as (fake, remote):
        fake.fail("stat_path", "AuthorizationRequired", 403, times=2)
        (denied,) = await outcomes(partial(remote.stat, HOME))
        assert (type(denied), remote.health) == (errors.AccessDenied, Health.ONLINE)
        for verb in ("stat_path", "whoami"):
            fake.fail(verb, "AuthorizationRequired", 403, code="token_expired")
        (refused,) = await outcomes(partial(remote.stat, HOME))
        assert (type(refused), remote.condition.word) == (errors.CredentialsRefused, "refused")


async def test_what_is_cached_is_served_while_credentials_are_refused(tmp_path) -> None:
    async with mount(tmp_path) as world:
        world.fake.add_file(f"{HOME}/file", b"contents")
        assert await world.ls("my-data") == ["file"]
        assert await world.read("my-data/file") == b"contents"
        for verb in ("whoami", "ls_path", "stat_path", "get", "read_into", "download", "upload"):
            world.fake.fail(verb, "InvalidCredentials", 401, times=inf)
        await trio.sleep(1000)  # nothing is believed any more
        (first,) = await outcomes(partial(world.ls, "my-data"))
        assert first == ["file"]
        assert await world.read("my-data/file") == b"contents"
        (error,) = await outcomes(partial(world.ls, "team-data"))
        assert isinstance(error, errors.CredentialsRefused)


@pytest.mark.expect_log("is not on Orion yet")
async def test_write_back_keeps_what_was_refused_for_its_credentials_and_goes_on_by_itself(tmp_path) -> None:
    async with mount(tmp_path, write_back=True) as world:
        world.fake.add_file(f"{HOME}/old", b"old")
        assert await world.ls("my-data") == ["old"]
        for verb in ("whoami", "ls_path", "stat_path", "get", "delete", "remove_paths", "upload"):
            world.fake.fail(verb, "InvalidCredentials", 401, times=inf)
        await world.save("my-data/new", b"new")
        await world.unlink("my-data/old")
        assert await world.ls("my-data") == ["new"]
        await trio.sleep(60)
        assert world.sync.pending_count == 2
        assert await world.ls("my-data") == ["new"]
        world.fake.heal()
        await trio.sleep(BACK_WITHIN_S)
        assert world.sync.pending_count == 0
        assert world.sync.removals.refused == []
        assert world.fake.tree() == {"new": b"new"}


async def test_name_of_the_host_that_is_not_found_any_more_is_offline_after_the_second_try() -> None:
    async with session() as (fake, remote):
        gone: dict[str, Any] = {
            "nothing_sent": True,
            "detail": "http://orion.example: Name or service not known",
        }
        fake.fail("stat_path", "OrionConnectionError", times=inf, **gone)
        fake.fail("whoami", "OrionConnectionError", times=inf, **gone)
        (error,) = await outcomes(partial(remote.stat, HOME))
        assert isinstance(error, errors.Unreachable)
        assert (fake.count("stat_path"), remote.condition.word) == (2, "offline")
        assert (
            remote.condition.cause == "no answer from Orion: http://orion.example: Name or service not known"
        )
        fake.heal()
        await trio.sleep(BACK_WITHIN_S)
        assert remote.health is Health.ONLINE


# -- coming back -----------------------------------------------------------------------------------


async def test_silence_that_ends_is_noticed_in_time_wherever_in_a_question_it_ends() -> None:
    for away_s in (61.0, 64.5, 68.0, 90.0):
        async with session() as (fake, remote):
            await make_silent(fake, remote)
            began_at_s = trio.current_time()
            await trio.sleep(away_s)
            assert remote.health is Health.OFFLINE
            fake.release_all()
            await trio.sleep(BACK_WITHIN_S)
            assert remote.health is Health.ONLINE
            assert trio.current_time() - began_at_s < away_s + BACK_WITHIN_S + 0.1


async def test_stack_that_takes_long_to_answer_is_found_online_all_the_same() -> None:
    async with session(Limits(read_deadline_s=30.0)) as (fake, remote):
        fake.fail("stat_path", "OrionConnectionError", refused=True)
        await outcomes(partial(remote.stat, HOME))
        fake.latency_s = 20.0
        await trio.sleep(2 + 7 + 20 + 1)
        assert remote.health is Health.ONLINE


async def test_calls_that_hang_on_take_no_places_from_those_after_them() -> None:
    limits = Limits(read_deadline_s=10.0, metadata_in_flight=2)
    async with session(limits) as (fake, remote):
        silent = fake.stall("ls_path")
        fake.stall("whoami").release()
        await outcomes(*[partial(remote.list_folder, f"{HOME}/{number}") for number in range(2)])
        await trio.sleep(3)
        assert remote.health is Health.ONLINE
        started_s = trio.current_time()
        assert await remote.stat(HOME) is not None
        assert trio.current_time() == started_s
        silent.release()


async def test_connections_are_forgotten_once_when_orion_goes_away() -> None:
    async with session() as (fake, remote):
        fake.fail("stat_path", "OrionConnectionError", refused=True)
        fake.fail("whoami", "OrionConnectionError", refused=True, times=4)
        await outcomes(partial(remote.stat, HOME))
        await trio.sleep(30)
        assert remote.health is Health.ONLINE
        assert fake.forgotten == 1


# -- sleep and resume ------------------------------------------------------------------------------


class Sleeper:
    """A machine that sleeps when it is told to, and a way to Orion that does what the test says."""

    def __init__(self) -> None:
        self.slept_s = 0.0
        self.asked = 0
        self.forgotten = 0
        self.error: errors.OrionFsError | None = None

    async def ask(self, _limit_s: float) -> None:
        self.asked += 1
        if self.error is not None:
            raise self.error

    async def forget(self) -> None:
        self.forgotten += 1


@asynccontextmanager
async def watched() -> AsyncIterator[tuple[Sleeper, HealthWatch]]:
    machine = Sleeper()
    watch = HealthWatch(machine.ask, 30.0, machine.forget, lambda: machine.slept_s)
    async with trio.open_nursery() as nursery:
        await nursery.start(watch.run)
        yield machine, watch
        nursery.cancel_scope.cancel()


async def test_machine_that_has_slept_makes_new_connections_and_tries_the_way() -> None:
    async with watched() as (machine, watch):
        await trio.sleep(100)
        assert (machine.asked, machine.forgotten) == (0, 0)
        machine.slept_s = 3600.0
        await trio.sleep(BACK_WITHIN_S)
        assert (machine.asked, machine.forgotten) == (1, 1)
        assert watch.health is Health.ONLINE


async def test_network_that_is_not_there_yet_after_a_sleep_is_waited_for() -> None:
    async with watched() as (machine, watch):
        machine.error = errors.TimedOut("no answer within 7 s")
        machine.slept_s = 3600.0
        await trio.sleep(BACK_WITHIN_S)
        assert watch.condition.word == "offline"
        machine.error = None
        await trio.sleep(BACK_WITHIN_S)
        assert watch.condition.word == "online"
