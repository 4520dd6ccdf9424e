"""What an open finds out: sizes that no row tells, and which bytes of a dataset hold."""

from __future__ import annotations

import os

import pytest
import trio

from orionfs import errors
from orionfs.models import InodeNumber
from tests.component.fake_orion import HOME, FakeCalls
from tests.component.world import mount, outcomes

pytestmark = pytest.mark.virtual_time

PATH = "my-data/hits.oedb"
FIRST, SECOND = b"first" * 1000, b"second, and longer" * 1000


@pytest.fixture
def fake() -> FakeCalls:
    made = FakeCalls()
    made.add_dataset(f"{HOME}/hits", FIRST, count=5)
    return made


def change(fake: FakeCalls, contents: bytes, count: int) -> None:
    """Somebody else writes the dataset."""
    row = fake.row(fake.ids_at(f"{HOME}/hits")[0])
    row.contents, row.count = contents, count


async def test_dataset_has_its_size_from_open_on(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        inode = await world.inode(PATH)
        told = world.namespace.attributes(inode, 30.0)
        assert (told.size, told.attributes_valid_s) == (1, 0.0)
        with fake.counting() as calls:
            handle = await world.open(PATH)
            assert world.namespace.attributes(inode, 30.0).size == len(FIRST)
            assert await world.read_all(handle) == FIRST
        assert calls == ["get", "download"]
        await world.close(handle)
        assert world.namespace.attributes(inode, 30.0).size == len(FIRST)


async def test_bytes_of_a_dataset_are_kept_for_a_while_without_a_call(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        assert await world.read(PATH) == FIRST
        await world.ls("my-data")
        with fake.counting() as calls:
            handle = await world.open(PATH)
            assert await world.read_all(handle) == FIRST
        assert calls == []
        assert world.files.keeps_pages(handle)


async def test_dataset_of_as_many_records_is_kept_on_after_a_look(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        await world.read(PATH)
        for _ in range(2):
            await trio.sleep(301)
            await world.ls("my-data")
            with fake.counting() as calls:
                assert await world.read(PATH) == FIRST
                assert await world.read(PATH) == FIRST
            assert calls == ["get"]


async def test_dataset_that_has_changed_is_fetched_anew_and_the_kernel_drops_its_pages(
    tmp_path, fake, monkeypatch
) -> None:
    told: list[InodeNumber] = []

    async def tell(number: InodeNumber) -> None:
        assert world.namespace.inodes.get(number).item.size == len(SECOND)
        told.append(number)

    async with mount(tmp_path, fake) as world:
        monkeypatch.setattr(world.opening, "tell_attributes", tell)
        inode = await world.inode(PATH)
        inode.lookups = 1
        await world.read(PATH)
        change(fake, SECOND, 6)
        await trio.sleep(301)
        handle = await world.open(PATH)
        assert not world.files.keeps_pages(handle)
        assert await world.read_all(handle) == SECOND
        assert world.namespace.attributes(inode, 1.0).size == len(SECOND)
        assert told == [inode.number]
        assert (await world.inode(PATH)).number == inode.number


async def test_bytes_stay_one_version_while_a_dataset_is_open(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        first = await world.open(PATH)
        assert await world.files.read(first, 0, 100) == FIRST[:100]
        change(fake, SECOND, 6)
        await trio.sleep(1000)
        second = await world.open(PATH)
        assert await world.read_all(second) == FIRST
        await world.close(second)
        assert await world.read_all(first) == FIRST
        await world.close(first)
        assert await world.read(PATH) == SECOND


async def test_bytes_that_were_evicted_are_another_version(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        await world.read(PATH)
        change(fake, SECOND, 5)
        await world.fetcher.make_room()
        handle = await world.open(PATH)
        assert not world.files.keeps_pages(handle)
        assert await world.read_all(handle) == SECOND


@pytest.mark.expect_log("offline")
async def test_offline_a_dataset_that_is_here_can_still_be_opened(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        await world.read(PATH)
        await trio.sleep(301)
        for verb in ("get", "ls_path", "stat_path", "whoami"):
            fake.fail(verb, "OrionConnectionError", times=1000, refused=True)
        with pytest.raises(errors.TimedOut):
            await world.ls("team-data")
        assert await world.read(PATH) == FIRST


async def test_dataset_that_is_being_written_is_busy(tmp_path, fake) -> None:
    row = fake.row(fake.ids_at(f"{HOME}/hits")[0])
    row.state = "writing"
    async with mount(tmp_path, fake) as world:
        with pytest.raises(errors.Busy, match="finalized"):
            await world.open(PATH)
        row.state = "ready"
        assert await world.read(PATH) == FIRST


async def test_several_that_open_a_dataset_at_once_fetch_it_once(tmp_path, fake) -> None:
    fake.latency_s = 1.0
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data")
        found = await outcomes(*[lambda: world.read(PATH)] * 5)
        assert found == [FIRST] * 5
        assert (fake.count("get"), fake.count("download")) == (1, 1)


async def test_open_that_fails_leaves_nothing_behind(tmp_path, fake) -> None:
    fake.fail("download", "BadResponse", 500, times=100)
    async with mount(tmp_path, fake) as world:
        with pytest.raises(errors.RemoteFailure):
            await world.open(PATH)
        fake.heal()
        assert await world.read(PATH) == FIRST
        assert all(inode.opens == 0 for inode in world.namespace.inodes)


async def test_dataset_that_is_gone_is_stale_at_open(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        inode = await world.inode(PATH)
        fake.remove(f"{HOME}/hits")
        with pytest.raises(errors.Stale):
            await world.files.open(inode, os.O_RDONLY)
        assert await world.stat(PATH) is None


async def test_writing_a_dataset_says_what_to_use(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        with pytest.raises(errors.AccessDenied, match="orionfs put --as dataset"):
            await world.open(PATH, os.O_WRONLY)


async def test_empty_dataset_is_empty(tmp_path, fake) -> None:
    change(fake, b"", 0)
    async with mount(tmp_path, fake) as world:
        inode = await world.inode(PATH)
        inode.lookups = 1
        assert await world.read(PATH) == b""
        assert world.namespace.attributes(inode, 1.0).size == 0


async def test_size_of_a_file_is_asked_for_once_in_a_life(tmp_path, fake) -> None:
    fake.tells_sizes = fake.stats_tell_details = False
    for name in "abc":
        fake.add_file(f"{HOME}/{name}", name.encode() * 10)
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data")
        assert fake.count("get") == 3
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data")
        assert world.namespace.attributes(await world.inode("my-data/a"), 1.0).size == 10
        assert fake.count("get") == 3


async def test_contents_of_unknown_size_are_fetched_once_whoever_forgets_the_inode(tmp_path, fake) -> None:
    fake.ranged = fake.paged_shards = fake.shards_tell_sizes = False
    fake.add_collection(f"{HOME}/set", a=FIRST)
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data/set")
        for _ in range(2):
            assert await world.read("my-data/set/a") == FIRST
        assert fake.count("download") == 1


async def test_fetch_goes_on_when_whoever_opens_gives_up(tmp_path, fake) -> None:
    fake.ranged = fake.paged_shards = fake.shards_tell_sizes = False
    fake.add_collection(f"{HOME}/set", a=FIRST)
    async with mount(tmp_path, fake) as world:
        for path in (PATH, "my-data/set/a"):
            stall = fake.stall("download")
            with trio.move_on_after(5):
                await world.open(path)
            assert all(inode.opens == 0 for inode in world.namespace.inodes)
            stall.release()
            with fake.counting() as calls:
                assert await world.read(path) == FIRST
            assert "download" not in calls
