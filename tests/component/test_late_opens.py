"""Opens of what this mount replaces meanwhile: they get the old version or the new one, never an error."""

from __future__ import annotations

import os
from functools import partial

import pytest
import trio

from orionfs import errors
from orionfs.models import InodeNumber
from orionfs.tables.inodes import Inode
from tests.component.fake_orion import HOME, FakeCalls
from tests.component.world import World, mount, outcomes, settle

pytestmark = [pytest.mark.virtual_time, pytest.mark.expect_log("this machine knows nobody with whom")]

OLD, NEW, NEWER = b"0123456789", b"the new version", b"newer"


@pytest.fixture
def fake() -> FakeCalls:
    """An Orion with a document, and two more that can be put into its place."""
    made = FakeCalls()
    made.add_file(f"{HOME}/doc", OLD)
    made.add_file(f"{HOME}/new", NEW)
    made.add_file(f"{HOME}/newer", NEWER)
    return made


async def found(world: World, path: str = "my-data/doc") -> Inode:
    """The inode of a path that the kernel has looked up and is about to open."""
    inode = await world.inode(path)
    inode.lookups = 1
    return inode


async def read(world: World, inode: Inode) -> bytes:
    """Open what was found, read it to its end, close it; it is as long as stat says then."""
    handle = await world.files.open(inode, os.O_RDONLY)
    size = (await world.namespace.stat(inode)).size
    data = await world.read_all(handle)
    await world.close(handle)
    assert len(data) == size
    return data


@pytest.fixture(params=[False, True], ids=["through", "back"])
def write_back(request: pytest.FixtureRequest) -> bool:
    """Both write modes."""
    return bool(request.param)


async def test_file_replaced_between_lookup_and_open_is_the_new_one(tmp_path, fake, write_back) -> None:
    async with mount(tmp_path, fake, write_back=write_back) as world:
        late = await found(world)
        await world.rename("my-data/new", "my-data/doc")
        await world.drain()
        assert await read(world, late) == NEW
        assert await world.read("my-data/doc") == NEW
        assert (await world.inode("my-data/doc")).number != late.number


async def test_file_replaced_again_and_again_before_its_open_is_the_newest(
    tmp_path, fake, write_back
) -> None:
    async with mount(tmp_path, fake, write_back=write_back) as world:
        first = await found(world)
        await world.rename("my-data/new", "my-data/doc")
        second = await found(world)
        await world.rename("my-data/newer", "my-data/doc")
        await world.save("my-data/tmp", b"newest")
        await world.rename("my-data/tmp", "my-data/doc")
        assert await outcomes(partial(read, world, first), partial(read, world, second)) == [b"newest"] * 2
        await world.drain()
        assert await read(world, first) == b"newest"


async def test_version_that_never_got_to_orion_is_opened_as_what_replaced_it(tmp_path, fake) -> None:
    async with mount(tmp_path, fake, write_back=True) as world:
        upload = fake.stall("upload")
        await world.save("my-data/doc", b"on its way")
        await world.save("my-data/draft", b"on its way as well")
        late, draft = await found(world), await found(world, "my-data/draft")
        await world.rename("my-data/draft", "my-data/doc")
        await world.save("my-data/tmp", b"newest")
        await world.rename("my-data/tmp", "my-data/doc")
        assert await read(world, draft) == b"newest"
        reader = await world.files.open(late, os.O_RDONLY)
        upload.release()
        await world.drain()
        assert await world.read_all(reader) == b"newest"
        await world.close(reader)
        assert await read(world, draft) == b"newest"
        world.check_nothing_left()


async def test_open_waits_for_a_rename_that_has_removed_what_it_is_to_open(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        late = await found(world)
        removal = fake.stall("delete", is_after=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.rename, "my-data/new", "my-data/doc")
            await removal.arrived.wait()
            told: list[bytes] = []

            async def open_late() -> None:
                told.append(await read(world, late))

            nursery.start_soon(open_late)
            await settle()
            assert told == []
            removal.release()
        assert told == [NEW]


async def test_open_of_what_is_being_removed_is_stale_when_it_is_gone(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        late = await found(world)
        removal = fake.stall("delete", is_after=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.unlink, "my-data/doc")
            await removal.arrived.wait()
            opened: list[object] = []

            async def open_late() -> None:
                opened.extend(await outcomes(partial(world.files.open, late, os.O_RDONLY)))

            nursery.start_soon(open_late)
            await settle()
            assert opened == []
            removal.release()
        assert [type(error) for error in opened] == [errors.Stale]  # and the kernel finds no name then
        assert await world.stat("my-data/doc") is None


async def test_open_that_will_write_has_the_kernel_look_again(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        late = await found(world)
        await world.rename("my-data/new", "my-data/doc")
        with pytest.raises(errors.Stale):  # what it wrote would be lost with the file that has no name
            await world.files.open(late, os.O_RDWR | os.O_APPEND)
        assert late.opens == 0


async def test_number_of_what_somebody_reads_stays_one_version(tmp_path, fake, write_back) -> None:
    async with mount(tmp_path, fake, write_back=write_back) as world:
        late = await found(world)
        reader = await world.files.open(late, os.O_RDONLY)
        await world.rename("my-data/new", "my-data/doc")
        await world.drain()
        assert await read(world, late) == OLD
        assert await world.read_all(reader) == OLD
        await world.close(reader)
        assert await world.read("my-data/doc") == NEW


async def test_kernel_drops_what_it_held_of_a_number_that_stands_for_another_version(
    tmp_path, fake, monkeypatch
) -> None:
    told: list[tuple[InodeNumber, int | None]] = []

    async def tell(number: InodeNumber) -> None:
        told.append((number, world.namespace.inodes.get(number).item.size))

    async with mount(tmp_path, fake) as world:
        monkeypatch.setattr(world.opening, "tell_attributes", tell)
        late = await found(world)
        assert await read(world, late) == OLD
        await world.rename("my-data/new", "my-data/doc")
        both = await outcomes(*[partial(world.files.open, late, os.O_RDONLY)] * 2)
        assert [world.files.keeps_pages(handle) for handle in both] == [False, False]
        assert told == [(late.number, len(NEW))]
        await world.rename("my-data/newer", "my-data/doc")
        assert [await world.read_all(handle) for handle in both] == [NEW, NEW]
        for handle in both:
            await world.close(handle)
        assert await world.read("my-data/doc") == NEWER


async def test_attributes_of_a_file_that_was_just_replaced_are_told(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        late = await found(world)
        await world.rename("my-data/new", "my-data/doc")
        assert (await world.namespace.stat(late)).size == len(OLD)
        gone = await found(world)
        await world.unlink("my-data/doc")
        assert (await world.namespace.stat(gone)).size == len(NEW)


async def test_file_saved_while_its_first_bytes_are_fetched_is_opened_as_saved(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        fetch = fake.stall("read_into")
        opened: list[bytes] = []

        async def open_now() -> None:
            opened.append(await world.read("my-data/doc"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(open_now)
            await fetch.arrived.wait()
            await world.save("my-data/doc", b"saved")
            fetch.release()
        assert opened == [b"saved"]
        await world.drain()


async def test_read_under_way_while_the_file_is_saved_goes_on_in_what_was_saved(tmp_path, fake) -> None:
    large = os.urandom(3 * 2**20)
    fake.add_file(f"{HOME}/large", large)
    async with mount(tmp_path, fake) as world:
        reader = await world.open("my-data/large")
        fetch = fake.stall("read_into")
        got: list[bytes] = []

        async def read_end() -> None:
            got.append(await world.files.read(reader, len(large) - 10, 10))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read_end)
            await fetch.arrived.wait()
            await world.save("my-data/large", bytes(len(large)))
            fetch.release()
        assert got == [bytes(10)]
        await world.close(reader)


async def test_inodes_of_late_opens_are_let_go(tmp_path, fake, write_back) -> None:
    async with mount(tmp_path, fake, write_back=write_back) as world:
        late = await found(world)
        await world.rename("my-data/new", "my-data/doc")
        await read(world, late)
        world.namespace.inodes.forget(late.number, 1)
        assert world.namespace.inodes.find(late.number) is None
        await world.drain()
        world.check_nothing_left()
