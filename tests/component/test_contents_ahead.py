"""Which small files are fetched ahead of who reads a folder, how many, and when none; in virtual time."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from orionfs.errors import Stale, TimedOut
from orionfs.models import Key, Kind
from orionfs.orion.remote import SMALL_BYTES
from orionfs.vfs.runs import LEAD_AT_FIRST, LEAD_MAX
from tests.component.fake_orion import HOME, FakeCalls
from tests.component.world import World, mount, outcomes, settle

pytestmark = pytest.mark.virtual_time

ROUND_TRIP_S = 0.08  # two: one for the address of the contents
OFFLINE = "offline: .*; what is cached goes on being served"


@asynccontextmanager
async def folder(
    tmp_path: Path, *names: str, size: int = 2000, is_ranged: bool = True, cache_bytes: int = 2**30
) -> AsyncIterator[World]:
    """A mount that has listed a folder of small files; every call takes a while from then on."""
    fake = FakeCalls()
    fake.ranged = is_ranged
    if not is_ranged:
        fake.contents_at_once = 4
    fake.add_folder(f"{HOME}/dir")
    for name in names:
        fake.add_file(f"{HOME}/dir/{name}", contents(name, size))
    async with mount(tmp_path, fake, cache_bytes=cache_bytes) as world:
        await world.ls("my-data/dir")
        fake.log.clear()
        fake.latency_s = ROUND_TRIP_S
        yield world


def contents(name: str, size: int = 2000) -> bytes:
    return (name.encode() * (size // len(name) + 1))[:size]


def named(count: int) -> list[str]:
    return [f"f{number:03}" for number in range(count)]


async def cat(world: World, names: Iterable[str], size: int = 2000) -> None:
    """Read files one after the other, as `cat` does."""
    for name in names:
        assert await world.read(f"my-data/dir/{name}") == contents(name, size)


def fetched(world: World) -> list[int]:
    """The ids of what was fetched, in order."""
    return [call.args[1] for call in world.fake.log if call.verb in ("read_into", "download")]


def held(world: World) -> int:
    """How many versions are open in the cache."""
    return len(world.content._open)


@pytest.mark.parametrize("is_ranged", [True, False])
async def test_files_read_in_order_are_fetched_ahead_once_each(tmp_path, is_ranged) -> None:
    names = named(200)
    async with folder(tmp_path, *names, is_ranged=is_ranged) as world:
        started_at_s = trio.current_time()
        await cat(world, names)
        assert len(fetched(world)) == len(set(fetched(world))) == 200
        at_once = 24 if is_ranged else 3
        assert (trio.current_time() - started_at_s) / ROUND_TRIP_S <= 200 / at_once + 4
        await settle()
        assert held(world) == 0


async def test_whole_of_the_budget_is_in_flight(tmp_path) -> None:
    names = named(200)
    async with folder(tmp_path, *names) as world:
        await cat(world, names)
        assert world.fake.in_flight_max["read_into"] in (24, 25)


@pytest.mark.parametrize(
    "orders", ["names of one suffix", "inode numbers", "numbers in names"], ids=lambda order: order
)
async def test_other_orders_are_followed_as_well(tmp_path, orders) -> None:
    names = [f"part-{number}.{suffix}" for number in range(1, 61) for suffix in ("log", "sdf")]
    async with folder(tmp_path, *names) as world:
        wanted = [name for name in names if name.endswith(".sdf")]
        if orders == "names of one suffix":
            wanted.sort()
        elif orders == "inode numbers":
            parent = await world.inode("my-data/dir")
            numbers = {name: (await world.namespace.child(parent, name)).number for name in names}
            wanted = sorted(names, key=numbers.__getitem__)[:60]
        started_at_s = trio.current_time()
        await cat(world, wanted)
        assert (trio.current_time() - started_at_s) / ROUND_TRIP_S <= 60 / 16 + 6
        assert set(fetched(world)) >= {world.fake.ids_at(f"{HOME}/dir/{name}")[0] for name in wanted}
        assert len(set(fetched(world))) == len(fetched(world))


async def test_files_read_in_no_order_are_fetched_alone(tmp_path) -> None:
    names = named(200)
    wanted = names[::-1] + random.Random(5).sample(names, 100)
    async with folder(tmp_path, *names) as world:
        await cat(world, names[::-7])
        await trio.sleep(5)
        assert len(fetched(world)) == len(names[::-7])
        await cat(world, wanted)
        assert len(fetched(world)) == 200


async def test_one_file_and_one_read_twice_fetch_nothing_ahead(tmp_path) -> None:
    async with folder(tmp_path, *named(50)) as world:
        for name in ("f010", "f010", "f030"):
            await cat(world, [name])
        await trio.sleep(5)
        assert len(fetched(world)) == 2


async def test_reader_of_two_neighbours_wastes_a_few_at_most(tmp_path) -> None:
    async with folder(tmp_path, *named(50)) as world:
        await cat(world, ["f010", "f011"])
        await trio.sleep(60)
        assert len(fetched(world)) == 2 + LEAD_AT_FIRST
        assert held(world) == 0


async def test_reader_that_stops_is_not_run_ahead_of_for_ever(tmp_path) -> None:
    names = named(400)
    async with folder(tmp_path, *names) as world:
        await cat(world, names[:50])
        await trio.sleep(60)
        assert 50 < len(fetched(world)) <= 50 + LEAD_MAX
        assert held(world) == 0


@pytest.mark.parametrize("elsewhere", ["my-data/other", "my-data/dir/f350"])
async def test_reader_that_goes_elsewhere_is_not_run_ahead_of(tmp_path, elsewhere) -> None:
    names = named(400)
    async with folder(tmp_path, *names) as world:
        world.fake.add_file(f"{HOME}/other", b"x")
        await cat(world, names[:50])
        await settle()
        before = len(fetched(world))
        in_flight = world.fake.in_flight["read_into"]
        await world.read(elsewhere)
        await trio.sleep(5)
        assert len(fetched(world)) <= before + in_flight + 1


async def test_two_readers_of_two_folders_are_both_run_ahead_of(tmp_path) -> None:
    names = named(60)
    async with folder(tmp_path, *names) as world:
        world.fake.latency_s = 0.0
        world.fake.add_folder(f"{HOME}/two")
        for name in names:
            world.fake.add_file(f"{HOME}/two/{name}", contents(name))
        await world.ls("my-data/two")
        world.fake.latency_s = ROUND_TRIP_S

        async def cat_two() -> None:
            for name in names:
                assert await world.read(f"my-data/two/{name}") == contents(name)

        started_at_s = trio.current_time()
        await outcomes(partial(cat, world, names), cat_two)
        assert len(fetched(world)) == 120
        assert (trio.current_time() - started_at_s) / ROUND_TRIP_S <= 120 / 16 + 8


async def test_four_readers_that_share_a_folder_are_run_ahead_of(tmp_path) -> None:
    names = named(120)
    async with folder(tmp_path, *names) as world:
        waiting = iter(names)
        started_at_s = trio.current_time()
        await outcomes(*[partial(cat, world, waiting)] * 4)
        assert len(fetched(world)) == 120
        assert (trio.current_time() - started_at_s) / ROUND_TRIP_S <= 120 / 16 + 6


async def test_second_reader_on_the_heels_of_the_first_asks_nothing_more(tmp_path) -> None:
    names = named(60)
    async with folder(tmp_path, *names) as world:
        await outcomes(*[partial(cat, world, names)] * 2)
        assert len(fetched(world)) == 60


async def test_who_opens_what_is_on_its_way_waits_for_that_and_goes_first(tmp_path) -> None:
    names = named(60)
    async with folder(tmp_path, *names) as world:
        await cat(world, names[:2])
        stall = world.fake.stall("read_into", when=lambda kind, id, *_: True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cat, world, ["f002"])
            await settle()
            stall.release()
        (id,) = world.fake.ids_at(f"{HOME}/dir/f002")
        assert fetched(world).count(id) == 1


async def test_failed_fetch_is_nobodys_and_the_reader_asks_itself(tmp_path) -> None:
    names = named(60)
    async with folder(tmp_path, *names) as world:
        (id,) = world.fake.ids_at(f"{HOME}/dir/f020")
        world.fake.fail("read_into", status=500, when=lambda kind, other, *_: other == id)
        await cat(world, names)
        assert fetched(world).count(id) == 2
        assert len(fetched(world)) == 61


async def test_file_that_may_not_be_read_stops_nothing_else(tmp_path) -> None:
    names = named(60)
    async with folder(tmp_path, *names) as world:
        (id,) = world.fake.ids_at(f"{HOME}/dir/f020")
        world.fake.fail("read_into", status=403, times=10**6, when=lambda kind, other, *_: other == id)
        started_at_s = trio.current_time()
        await cat(world, names[:20] + names[21:])
        assert (trio.current_time() - started_at_s) / ROUND_TRIP_S <= 60 / 16 + 6


async def test_file_replaced_elsewhere_after_it_was_fetched_is_read_as_the_kernel_knows_it(tmp_path) -> None:
    names = named(10)
    async with folder(tmp_path, *names) as world:
        await cat(world, names[:3])
        await trio.sleep(1)
        world.fake.replace(f"{HOME}/dir/f003", b"newer")
        await trio.sleep(31)
        assert await world.read("my-data/dir/f003") == b"newer"


async def test_file_gone_elsewhere_is_told_to_its_reader(tmp_path) -> None:
    names = named(10)
    async with folder(tmp_path, *names) as world:
        world.fake.remove(f"{HOME}/dir/f003")
        await cat(world, names[:3])
        with pytest.raises(Stale):
            await world.read("my-data/dir/f003")
        await cat(world, names[4:])


@pytest.mark.parametrize("status", [429, 503])
async def test_stack_that_says_slow_down_ends_it(tmp_path, status) -> None:
    names = named(200)
    async with folder(tmp_path, *names) as world:
        await cat(world, names[:8])
        world.fake.fail("read_into", status=status, times=10**6)
        before = len(fetched(world))
        await trio.sleep(5)
        assert len(fetched(world)) <= before + 24


@pytest.mark.expect_log(OFFLINE)
async def test_nothing_is_asked_offline(tmp_path) -> None:
    names = named(60)
    async with folder(tmp_path, *names) as world:
        await cat(world, names[:3])
        await trio.sleep(1)
        for verb in ("read_into", "whoami"):
            world.fake.fail(verb, "OrionConnectionError", refused=True, times=10**6)
        (error,) = await outcomes(partial(world.read, "my-data/dir/f050"))
        assert isinstance(error, TimedOut)
        before = len(fetched(world))
        await cat(world, names[3:4])
        await outcomes(*[partial(world.read, f"my-data/dir/{name}") for name in names[51:54]])
        await trio.sleep(1)
        assert len(fetched(world)) == before


async def test_large_files_and_other_kinds_are_passed_over(tmp_path) -> None:
    names = named(30)
    async with folder(tmp_path, *names) as world:
        large = world.fake.add_file(f"{HOME}/dir/f004-large", b"x" * (SMALL_BYTES + 1))
        dataset = world.fake.add_file(f"{HOME}/dir/f005-data", b"x" * 2000, kind="dataset")
        empty = world.fake.add_file(f"{HOME}/dir/f006-empty", b"")
        world.fake.add_folder(f"{HOME}/dir/f007-folder")
        await trio.sleep(31)
        await world.ls("my-data/dir")
        await cat(world, names[:4])
        await trio.sleep(5)
        assert not {large, dataset, empty} & set(fetched(world))
        assert len(await world.read("my-data/dir/f004-large")) == SMALL_BYTES + 1
        await cat(world, names[4:])
        assert dataset not in fetched(world)


async def test_what_is_cached_is_not_asked_for_again(tmp_path) -> None:
    names = named(60)
    async with folder(tmp_path, *names) as world:
        await cat(world, names)
        world.fake.log.clear()
        await cat(world, names)
        assert fetched(world) == []


async def test_cached_beginning_costs_nothing_and_the_rest_is_fetched_ahead(tmp_path) -> None:
    names = named(60)
    async with folder(tmp_path, *names) as world:
        await cat(world, names[:29:-1])
        await trio.sleep(15)
        world.fake.log.clear()
        started_at_s = trio.current_time()
        await cat(world, names)
        assert len(fetched(world)) == 30
        assert (trio.current_time() - started_at_s) / ROUND_TRIP_S <= 30 / 16 + 6


async def test_file_that_is_being_written_is_left_alone(tmp_path) -> None:
    names = named(30)
    async with folder(tmp_path, *names) as world:
        handle = await world.open("my-data/dir/f004", os.O_WRONLY | os.O_TRUNC)
        await world.files.write(handle, 0, b"new")
        await world.save("my-data/dir/f003x", b"mine")
        world.fake.log.clear()
        await cat(world, names[:4])
        await trio.sleep(5)
        (id,) = world.fake.ids_at(f"{HOME}/dir/f004")
        assert id not in fetched(world)
        assert await world.read("my-data/dir/f004") == b"new"
        await world.close(handle)


async def test_no_more_bytes_are_ahead_than_an_eighth_of_the_cache(tmp_path) -> None:
    names, size = named(60), 100_000
    async with folder(tmp_path, *names, size=size, cache_bytes=8 * 5 * size) as world:
        await cat(world, names[:10], size)
        await trio.sleep(1)
        assert len(fetched(world)) == 10 + 5
        await cat(world, names[10:], size)


async def test_cache_without_room_gets_nothing_ahead(tmp_path) -> None:
    names = named(30)
    async with folder(tmp_path, *names, cache_bytes=0) as world:
        await cat(world, names)
        assert len(fetched(world)) == 30
        assert world.fake.in_flight_max["read_into"] == 1


async def test_full_disk_stops_it_and_evicts_nothing(tmp_path) -> None:
    names = named(30)
    async with folder(tmp_path, *names) as world:
        await cat(world, names[29:])
        (id,) = world.fake.ids_at(f"{HOME}/dir/f002")
        world.fake.fail("read_into", "NotEnoughDiskError", when=lambda kind, other, *_: other == id)
        await cat(world, names[:2])
        await cat(world, names[4:10])
        assert len(fetched(world)) == 1 + 2 + LEAD_AT_FIRST + 6
        kept = Key(Kind.FILE, world.fake.ids_at(f"{HOME}/dir/f029")[0])
        assert world.content._path(kept).exists()
        await trio.sleep(60)
        await cat(world, names[10:12])
        assert len(fetched(world)) == 9 + LEAD_AT_FIRST + 2 + LEAD_AT_FIRST


# -- trees


@asynccontextmanager
async def tree(tmp_path: Path, folders: int, files: int) -> AsyncIterator[World]:
    """A mount that has listed a tree of folders, in two levels, with few files in each."""
    fake = FakeCalls()
    fake.add_folder(f"{HOME}/tree")
    paths = [f"tree/{number // 10:02}" for number in range(0, folders, 10)]
    paths += [f"tree/{number // 10:02}/{number % 10}" for number in range(folders)]
    for path in sorted(paths):
        fake.add_folder(f"{HOME}/{path}")
    for number in range(folders):
        for file in named(files):
            fake.add_file(f"{HOME}/tree/{number // 10:02}/{number % 10}/{file}", contents(file))
    async with mount(tmp_path, fake) as world:
        for path in ("tree", *sorted(paths)):
            await world.ls(f"my-data/{path}")
        fake.log.clear()
        fake.latency_s = ROUND_TRIP_S
        yield world


async def read_tree(world: World, folders: Iterable[int], files: list[str]) -> None:
    for number in folders:
        for file in files:
            path = f"my-data/tree/{number // 10:02}/{number % 10}/{file}"
            assert await world.read(path) == contents(file)


async def by_number(world: World, path: str) -> list[str]:
    """The paths of the files in a tree, as cp -r goes through it."""
    folder = await world.inode(path)
    snapshot = await world.namespace.snapshot(folder)
    found = [await world.namespace.child(folder, name) for name, _ in snapshot.entries]
    paths: list[str] = []
    for inode in sorted(found, key=lambda each: each.number):
        below = f"{path}/{inode.name}"
        paths += await by_number(world, below) if inode.children is not None else [below]
    return paths


@pytest.mark.some(2)
@pytest.mark.parametrize("files", [1, 2, 3, 10])
async def test_tree_is_read_ahead_in_the_order_of_inode_numbers(tmp_path, files) -> None:
    async with tree(tmp_path, 60, files) as world:
        paths = await by_number(world, "my-data/tree")
        started_at_s = trio.current_time()
        for path in paths:
            assert await world.read(path) == contents(path.rpartition("/")[2])
        assert len(fetched(world)) == len(set(fetched(world))) == 60 * files
        assert (trio.current_time() - started_at_s) / ROUND_TRIP_S <= 60 * files / 24 + 12


@pytest.mark.some(2)
@pytest.mark.parametrize("files", [1, 2, 3, 10])
async def test_tree_is_read_ahead_from_folder_to_folder(tmp_path, files) -> None:
    async with tree(tmp_path, 60, files) as world:
        started_at_s = trio.current_time()
        await read_tree(world, range(60), named(files))
        assert len(fetched(world)) == len(set(fetched(world))) == 60 * files
        round_trips = (trio.current_time() - started_at_s) / ROUND_TRIP_S
        assert round_trips <= 60 * files / 24 + 8
        await trio.sleep(30)
        assert held(world) == 0


async def test_reader_that_leaves_a_tree_is_not_run_ahead_of(tmp_path) -> None:
    async with tree(tmp_path, 100, 3) as world:
        await read_tree(world, range(20), named(3))
        await trio.sleep(60)
        assert len(fetched(world)) <= 60 + LEAD_MAX
        assert held(world) == 0


async def test_first_file_of_many_folders_wastes_a_few_at_most(tmp_path) -> None:
    async with tree(tmp_path, 100, 5) as world:
        await read_tree(world, range(0, 4, 2), named(5))
        await read_tree(world, range(10, 100, 3), named(1))
        await trio.sleep(30)
        assert len(fetched(world)) <= 10 + 30 + 2 * LEAD_AT_FIRST


async def test_folders_read_in_no_order_are_each_read_ahead_alone(tmp_path) -> None:
    async with tree(tmp_path, 60, 5) as world:
        folders = random.Random(2).sample(range(60), 20)
        await read_tree(world, folders, named(5))
        await trio.sleep(30)
        assert len(fetched(world)) <= 100 + LEAD_MAX
