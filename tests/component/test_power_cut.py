"""Machines that lose their power: what was not synced to the disk of the journal is lost with it."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest
import trio

from orionfs.errors import NotPermitted
from tests.component.fake_orion import HOME, FakeCalls
from tests.component.killing import JournalDisk, cut_off
from tests.component.world import check_end, mount

pytestmark = [
    pytest.mark.virtual_time,
    pytest.mark.timeout(60),
    pytest.mark.expect_log("^(?!.*unexpected|.*changed elsewhere)"),
]
BACK = pytest.mark.parametrize("write_back", [False, True], ids=["through", "back"])
duplicates = pytest.mark.parametrize("may_share", [True, False], ids=["duplicates allowed", "refused"])


@pytest.fixture
def fake() -> FakeCalls:
    """An Orion with one file."""
    made = FakeCalls()
    made.add_file(f"{HOME}/a", b"old a")
    return made


@asynccontextmanager
async def mount_without_power(tmp_path, fake, **options):
    """A mount whose machine loses its power at the end of the block."""
    async with mount(tmp_path, fake, **options) as world:
        disk = JournalDisk(world)
        try:
            yield world
        finally:
            cut_off(world)
    disk.lose()
    fake.heal()


@pytest.mark.some(8)
@duplicates
@BACK
@pytest.mark.parametrize("name", ["a", "new"])
@pytest.mark.parametrize("verb", ["upload", "assign_paths", "delete"])
async def test_version_whose_last_request_was_done_when_the_power_went_is_there_once(
    tmp_path, fake, name, verb, write_back, may_share
) -> None:
    fake.duplicate_names = may_share
    going = mount_without_power(tmp_path, fake, write_back=write_back)
    async with going as world, trio.open_nursery() as nursery:
        stall = fake.stall(verb, is_after=True)
        nursery.start_soon(world.save, f"my-data/{name}", b"latest")
        with trio.move_on_after(60):  # a new name replaces nothing, so nothing is deleted for it
            await stall.arrived.wait()
        cut_off(world)
        nursery.cancel_scope.cancel()
    async with mount(tmp_path, fake) as world:
        await check_end(world, **{"a": b"old a", name: b"latest"})


@pytest.mark.parametrize("change", ["unlinked", "renamed"])
async def test_what_was_done_with_a_file_after_it_was_saved_stays_done(tmp_path, fake, change) -> None:
    async with mount_without_power(tmp_path, fake) as world:
        await world.save("my-data/a", b"new a")
        if change == "unlinked":
            await world.unlink("my-data/a")
        else:
            await world.rename("my-data/a", "my-data/b")
    async with mount(tmp_path, fake) as world:
        await check_end(world, **({} if change == "unlinked" else {"b": b"new a"}))


async def test_refused_rename_is_not_taken_for_one_that_came_later(tmp_path, fake) -> None:
    fake.add_file(f"{HOME}/b", b"old b")
    async with mount_without_power(tmp_path, fake) as world:
        fake.fail("assign_paths", "ValidationError", 422)
        with pytest.raises(NotPermitted):
            await world.rename("my-data/a", "my-data/b")
        await world.rename("my-data/b", "my-data/c")
        await world.rename("my-data/a", "my-data/b")
    async with mount(tmp_path, fake) as world:
        await check_end(world, b=b"old a", c=b"old b")


async def test_tags_set_on_a_version_under_way_are_its_tags(tmp_path, fake) -> None:
    async with mount_without_power(tmp_path, fake, write_back=True) as world:
        fake.stall("upload")
        await world.save("my-data/a", b"new a")
        await world.attributes.set(await world.inode("my-data/a"), b"user.orion.tag.mine", b"")
    async with mount(tmp_path, fake) as world:
        await check_end(world, a=b"new a")
        (id_,) = fake.ids_at(f"{HOME}/a")
        assert fake.row(id_).tags == {"mine"}


async def test_file_removed_before_it_left_is_whole_or_not_at_all(tmp_path, fake) -> None:
    async with mount_without_power(tmp_path, fake, write_back=True) as world:
        fake.fail("upload", "OrionServiceError", 500, times=10**6)
        await world.save("my-data/new", b"new")
        await world.unlink("my-data/new")
        await trio.sleep(60)
    async with mount(tmp_path, fake) as world:
        await check_end(world, a=b"old a")
