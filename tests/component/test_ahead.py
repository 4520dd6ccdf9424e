"""Which folders are listed ahead of a walk, in which order, how many, and when no more; in virtual time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path, PurePosixPath

import pytest
import trio

from orionfs.errors import NoSuchName, RemoteFailure
from orionfs.orion.limiter import Priority, working_at
from orionfs.orion.remote import Limits
from orionfs.tables.freshness import Freshness
from orionfs.tables.walks import LEAD_AT_FIRST, LEAD_MAX
from tests.component.fake_orion import HOME, FakeCalls
from tests.component.world import World, mount, outcomes, settle

pytestmark = pytest.mark.virtual_time

ROUND_TRIP_S = 0.04
OFFLINE = "offline: .*; what is cached goes on being served"


@asynccontextmanager
async def tree(
    tmp_path: Path, *paths: str, cache_items_max: int = 100_000, limits: Limits | None = None
) -> AsyncIterator[World]:
    """A mount of folders with these paths below My Data; every call takes a round trip."""
    fake = FakeCalls()
    above = {str(parent) for path in paths for parent in PurePosixPath(path).parents}
    for path in (*sorted(above - {".", *paths}), *paths):
        fake.add_folder(f"{HOME}/{path}")
    async with mount(tmp_path, fake, cache_items_max=cache_items_max, limits=limits) as world:
        await world.ls("my-data")  # the first name of a folder would be asked for alone
        await trio.sleep(10)
        fake.log.clear()
        fake.latency_s = ROUND_TRIP_S
        yield world


def listed(world: World) -> list[str]:
    """The folders that Orion was asked to list, in order."""
    calls = [call for call in world.fake.log if call.verb == "ls_path"]
    return [call.args[0].removeprefix(f"{HOME}/") for call in sorted(calls, key=lambda c: c.started_at)]


async def walk(world: World, path: str, *, is_sorted: bool = False) -> list[str]:
    """What find does, or ls -R: preorder, in the order of the entries or of the names."""
    snapshot = await world.namespace.snapshot(await world.inode(path))
    found = [path]
    names = [name for name, item in snapshot.entries if item.is_folder]
    for name in sorted(names) if is_sorted else names:
        found += await walk(world, f"{path}/{name}", is_sorted=is_sorted)
    return found


def two_levels(top: str, width: int, depth_width: int) -> list[str]:
    """A folder, `width` in it, and so many in each of these."""
    above = [f"{top}/d{number:03}" for number in range(width)]
    return [top, *above, *(f"{path}/e{number:03}" for path in above for number in range(depth_width))]


async def test_walk_of_two_levels_takes_few_round_trips_and_lists_each_folder_once(tmp_path) -> None:
    paths = two_levels("tree", 10, 19)
    async with tree(tmp_path, *paths) as world:
        started_at_s = trio.current_time()
        assert sorted(await walk(world, "my-data/tree")) == [f"my-data/{path}" for path in sorted(paths)]
        assert sorted(listed(world)) == sorted(paths)
        assert [call.verb for call in world.fake.log] == ["ls_path"] * len(paths)
        assert (trio.current_time() - started_at_s) / ROUND_TRIP_S <= 2 + len(paths) / 14 + 4
        assert world.fake.in_flight_max["ls_path"] <= 16


@pytest.mark.parametrize("is_sorted", [False, True])
async def test_wide_folder_is_listed_ahead_in_the_order_of_the_walker(tmp_path, is_sorted) -> None:
    numbers = [7 * number % 301 for number in range(300)]  # the entries come in another order than the names
    paths = [f"wide/n{number:03}" for number in numbers]
    async with tree(tmp_path, *paths) as world:
        started_at_s = trio.current_time()
        await walk(world, "my-data/wide", is_sorted=is_sorted)
        assert sorted(listed(world)) == sorted(["wide", *paths])
        assert (trio.current_time() - started_at_s) / ROUND_TRIP_S <= 300 / 14 + 8


async def test_deep_chain_is_walked_without_a_request_too_many(tmp_path) -> None:
    names = [f"d{number}" for number in range(20)]
    async with tree(tmp_path, "/".join(names)) as world:
        await walk(world, "my-data/d0")
        assert len(listed(world)) == 20


@pytest.mark.parametrize("again", [1, 2])
async def test_plain_ls_of_one_folder_lists_nothing_ahead(tmp_path, again) -> None:
    async with tree(tmp_path, *two_levels("tree", 10, 10)) as world:
        for _ in range(again):
            await world.ls("my-data/tree")
        await trio.sleep(10)
        assert listed(world) == ["tree"]


async def test_plain_ls_of_two_folders_wastes_a_few_listings_at_most(tmp_path) -> None:
    async with tree(tmp_path, *two_levels("tree", 10, 10)) as world:
        await world.ls("my-data/tree")
        await world.ls("my-data/tree/d004")
        await trio.sleep(10)
        assert listed(world)[0] == "tree"
        assert len(listed(world)) <= 2 + LEAD_AT_FIRST
        assert "tree/d003" not in listed(world)  # what the walker has passed by


async def test_folder_looked_into_later_begins_no_walk(tmp_path) -> None:
    async with tree(tmp_path, *two_levels("tree", 10, 10)) as world:
        await world.ls("my-data/tree")
        await trio.sleep(3)
        await world.ls("my-data/tree/d004")
        await trio.sleep(10)
        assert listed(world) == ["tree", "tree/d004"]


async def test_leaps_make_it_wait_for_something_foreseen(tmp_path) -> None:
    async with tree(tmp_path, *two_levels("tree", 100, 0)) as world:
        await world.ls("my-data/tree")
        for number in range(0, 100, 10):
            await world.ls(f"my-data/tree/d{number:03}")
        await trio.sleep(10)
        assert len(listed(world)) <= 11 + 2 * LEAD_AT_FIRST


async def test_walk_where_all_is_known_asks_nothing(tmp_path) -> None:
    async with tree(tmp_path, *two_levels("tree", 5, 5)) as world:
        await walk(world, "my-data/tree")
        world.fake.log.clear()
        await walk(world, "my-data/tree")
        assert world.fake.log == []


async def test_walker_that_stops_is_not_run_ahead_of_for_ever(tmp_path) -> None:
    async with tree(tmp_path, *two_levels("tree", 600, 0)) as world:
        await world.ls("my-data/tree")
        for number in range(100):
            await world.ls(f"my-data/tree/d{number:03}")
        at_the_end = len(listed(world))
        await trio.sleep(2.5)
        assert at_the_end < len(listed(world)) <= 101 + LEAD_MAX


async def test_no_more_folders_are_ahead_than_allowed(tmp_path) -> None:
    async with tree(tmp_path, *two_levels("tree", 600, 0)) as world:
        await world.ls("my-data/tree")
        for number in range(20):
            await world.ls(f"my-data/tree/d{number:03}")
        await trio.sleep(1.9)
        assert len(listed(world)) == 21 + LEAD_MAX


async def test_no_more_items_are_ahead_than_a_quarter_of_the_cache(tmp_path) -> None:
    paths = two_levels("tree", 100, 0)
    async with tree(tmp_path, *paths, cache_items_max=800) as world:
        for path in paths[1:]:
            for number in range(20):
                world.fake.add_file(f"{HOME}/{path}/f{number}", b"")
        await world.ls("my-data/tree")
        for number in range(10):
            await world.ls(f"my-data/tree/d{number:03}")
        await trio.sleep(1.9)
        assert len(listed(world)) <= 11 + 800 // 4 // 20 + 16
        assert await walk(world, "my-data/tree") == [f"my-data/{path}" for path in paths]


async def test_walker_that_goes_elsewhere_is_not_run_ahead_of(tmp_path) -> None:
    async with tree(tmp_path, *two_levels("tree", 600, 0), "other/x") as world:
        await world.ls("my-data/tree")
        for number in range(6):
            await world.ls(f"my-data/tree/d{number:03}")
        await world.ls("my-data/other")
        before = len(listed(world))
        await trio.sleep(1.5)
        assert len(listed(world)) <= before + 16  # what was on its way


async def test_two_walkers_have_their_own_lead(tmp_path) -> None:
    paths = [*two_levels("a", 30, 2), *two_levels("b", 30, 2)]
    async with tree(tmp_path, *paths) as world:
        started_at_s = trio.current_time()
        await outcomes(partial(walk, world, "my-data/a"), partial(walk, world, "my-data/b"))
        assert sorted(listed(world)) == sorted(paths)
        assert (trio.current_time() - started_at_s) / ROUND_TRIP_S <= 2 + len(paths) / 14 + 8
        assert world.fake.in_flight_max["ls_path"] <= 16


async def test_two_walkers_in_one_tree_do_not_disturb_each_other(tmp_path) -> None:
    paths = two_levels("tree", 12, 12)
    async with tree(tmp_path, *paths) as world:
        started_at_s = trio.current_time()
        await world.ls("my-data/tree")
        walks = [partial(walk, world, f"my-data/tree/d{number:03}") for number in (1, 7)]
        await outcomes(*walks, partial(walk, world, "my-data/tree"))
        assert sorted(listed(world)) == sorted(paths)
        assert (trio.current_time() - started_at_s) / ROUND_TRIP_S <= 2 + len(paths) / 14 + 10


async def test_second_walker_on_the_heels_of_the_first_asks_nothing_more(tmp_path) -> None:
    paths = two_levels("tree", 12, 12)
    async with tree(tmp_path, *paths) as world:
        await outcomes(*[partial(walk, world, "my-data/tree")] * 2)
        assert sorted(listed(world)) == sorted(paths)


async def test_collections_are_never_listed(tmp_path) -> None:
    async with tree(tmp_path, *two_levels("tree", 3, 0)) as world:
        world.fake.add_file(f"{HOME}/tree/shards", kind="collection")
        await world.ls("my-data/tree")
        for number in range(3):
            await world.ls(f"my-data/tree/d{number:03}")
        await trio.sleep(10)
        assert "tree/shards" not in listed(world)


@pytest.mark.parametrize("status", [429, 503])
async def test_stack_that_says_slow_down_ends_it(tmp_path, status) -> None:
    async with tree(tmp_path, *two_levels("tree", 100, 0)) as world:
        await world.ls("my-data/tree")
        for number in range(3):
            await world.ls(f"my-data/tree/d{number:03}")
        world.fake.fail("ls_path", status=status, times=10**6)
        before = len(listed(world))
        await trio.sleep(10)
        assert len(listed(world)) <= before + 16


async def test_failed_listing_is_nobodys_and_the_walker_asks_itself(tmp_path) -> None:
    paths = two_levels("tree", 10, 0)
    async with tree(tmp_path, *paths) as world:
        world.fake.fail("ls_path", status=500, times=1, when=lambda path, *_: path.endswith("d002"))
        assert await walk(world, "my-data/tree") == [f"my-data/{path}" for path in paths]
        assert listed(world).count("tree/d002") <= 2


async def test_walker_that_waits_for_what_is_on_its_way_gets_its_retries(tmp_path) -> None:
    async with tree(tmp_path, *two_levels("tree", 3, 0)) as world:
        await world.ls("my-data/tree")
        world.fake.fail("ls_path", status=500, times=2, when=lambda path, *_: path.endswith("d001"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.ls, "my-data/tree/d000")
            await settle()
            nursery.start_soon(world.ls, "my-data/tree/d001")
        assert listed(world).count("tree/d001") == 3


async def test_who_comes_while_a_listing_ahead_has_failed_asks_himself(tmp_path) -> None:
    """After its one attempt, and before all who wait have heard of that."""
    async with tree(tmp_path, "tree/d000") as world:
        await world.ls("my-data/tree")
        folder, asked = await world.inode("my-data/tree/d000"), 0
        has_failed = trio.Event()

        async def ask() -> None:
            nonlocal asked
            asked += 1
            if asked == 1:
                has_failed.set()
                await trio.sleep(1)
                raise RemoteFailure("as scripted")

        async def ahead() -> None:
            with working_at(Priority.PREFETCH), pytest.raises(RemoteFailure):
                await world.namespace.beliefs._once(folder, None, ask)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ahead)
            await has_failed.wait()
            await world.namespace.beliefs._once(folder, None, ask)
        assert asked == 2


async def test_folder_that_may_not_be_listed_stops_nothing_else(tmp_path) -> None:
    paths = two_levels("tree", 30, 0)
    async with tree(tmp_path, *paths) as world:
        world.fake.fail("ls_path", status=403, times=10**6, when=lambda path, *_: path.endswith("d002"))
        started_at_s = trio.current_time()
        await world.ls("my-data/tree")
        await outcomes(*[partial(world.ls, f"my-data/{path}") for path in paths[1:2]])
        for path in paths[1:]:
            if not path.endswith("d002"):
                await world.ls(f"my-data/{path}")
        assert (trio.current_time() - started_at_s) / ROUND_TRIP_S <= 10


@pytest.mark.expect_log(OFFLINE)
async def test_nothing_is_asked_offline(tmp_path) -> None:
    async with tree(tmp_path, *two_levels("tree", 30, 0)) as world:
        await world.ls("my-data/tree")
        await world.ls("my-data/tree/d000")
        for verb in ("ls_path", "whoami"):
            world.fake.fail(verb, "OrionConnectionError", refused=True, times=10**6)
        with pytest.raises(Exception, match="ls_path"):
            await world.ls("my-data/tree/d020")
        await trio.sleep(5)
        before = len(listed(world))
        for number in range(20, 25):
            await outcomes(partial(world.ls, f"my-data/tree/d{number:03}"))
        await trio.sleep(5)
        assert len(listed(world)) == before


async def test_stat_goes_before_what_is_fetched_ahead(tmp_path) -> None:
    async with tree(tmp_path, *two_levels("tree", 600, 0), "other/x") as world:
        await world.ls("my-data/tree")
        for number in range(10):
            await world.ls(f"my-data/tree/d{number:03}")
        await settle()
        started_at_s = trio.current_time()
        assert world.fake.in_flight["ls_path"] > 0
        assert await world.stat("my-data/other/x") is not None
        assert (trio.current_time() - started_at_s) / ROUND_TRIP_S < 1.5


async def test_renamed_and_removed_folders_of_a_walk_are_safe(tmp_path) -> None:
    paths = two_levels("tree", 40, 1)
    async with tree(tmp_path, *paths) as world:
        await world.ls("my-data/tree")
        await world.ls("my-data/tree/d000")
        await world.ls("my-data/tree/d000/e000")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.rename, "my-data/tree/d020", "my-data/tree/z020")
            nursery.start_soon(world.rename, "my-data/tree/d002", "my-data/tree/z002")
            nursery.start_soon(world.rmdir, "my-data/tree/d003/e000")
            for number in (1, 4, 5, 6):
                await world.ls(f"my-data/tree/d{number:03}")
        found = await walk(world, "my-data/tree")
        expected = {f"my-data/{path}" for path in paths} - {"my-data/tree/d003/e000"}
        expected -= {f"my-data/tree/d{number}{rest}" for number in ("002", "020") for rest in ("", "/e000")}
        expected |= {f"my-data/tree/z{number}{rest}" for number in ("002", "020") for rest in ("", "/e000")}
        assert set(found) == expected
        for gone in ("d002", "d020"):
            with pytest.raises(NoSuchName):
                await world.inode(f"my-data/tree/{gone}")


async def test_listing_ahead_that_is_cut_short_is_not_believed(tmp_path) -> None:
    async with tree(tmp_path, *two_levels("tree", 5, 3)) as world:
        await world.ls("my-data/tree")
        world.fake.page_max, world.fake.offset_is_ignored = 1, True
        with pytest.raises(RemoteFailure):
            await world.ls("my-data/tree/d000")
        await trio.sleep(5)
        world.fake.page_max, world.fake.offset_is_ignored = 1000, False
        assert await world.ls("my-data/tree/d001") == ["e000", "e001", "e002"]


async def test_nothing_is_kept_of_folders_that_nobody_needs(tmp_path) -> None:
    paths = two_levels("tree", 30, 0)
    async with tree(tmp_path, *paths) as world:
        world.fake.fail("ls_path", status=404, times=10**6, when=lambda path, *_: "d0" in path)
        before = len(world.namespace.inodes)
        await world.ls("my-data/tree")
        await outcomes(partial(world.ls, "my-data/tree/d000"))
        await trio.sleep(10)
        assert len(listed(world)) > 2
        assert len(world.namespace.inodes) <= before + 2


async def test_listing_fetched_ahead_holds_as_long_as_any(tmp_path) -> None:
    paths = two_levels("tree", 4, 0)
    async with tree(tmp_path, *paths) as world:
        await walk(world, "my-data/tree")
        await trio.sleep(Freshness().metadata_ttl_s)
        world.fake.log.clear()
        await walk(world, "my-data/tree")
        assert sorted(set(listed(world)) - {HOME}) == sorted(paths)
