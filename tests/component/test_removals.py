"""`--write-back`: removals return at once, go in few calls, and are seen again if Orion refuses them."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest
import trio

from orionfs import errors
from orionfs.durable.journal import Removal
from orionfs.models import Key, Kind
from orionfs.vfs import moves
from tests.component.fake_orion import HOME, FakeCalls
from tests.component.world import World, mount, settle

pytestmark = [pytest.mark.virtual_time]

REFUSED = pytest.mark.expect_log("stays on Orion, and is seen again")
LATER_S = 60.0
FORBIDDEN: dict[str, Any] = {"error": "AuthorizationRequired", "status": 403}


def folder_of(count: int, name: str = "sub") -> FakeCalls:
    """An Orion with a folder of so many files."""
    fake = FakeCalls()
    fake.add_folder(f"{HOME}/{name}")
    for number in range(count):
        fake.add_file(f"{HOME}/{name}/f{number:03}", b"data")
    return fake


async def remove_all(world: World, folder: str) -> None:
    """`rm -r` of a folder without folders in it."""
    for name in await world.ls(folder):
        await world.unlink(f"{folder}/{name}")
    await world.rmdir(folder)


# -- what is asked ----------------------------------------------------------------------------------


async def test_rm_of_a_tree_asks_for_nothing_and_then_little(tmp_path) -> None:
    fake = folder_of(100)
    async with mount(tmp_path, fake, write_back=True) as world:
        await world.ls("my-data")
        await world.ls("my-data/sub")
        with fake.counting() as asked_by_rm:
            await remove_all(world, "my-data/sub")
            assert await world.ls("my-data") == []
        with fake.counting() as asked_behind:
            await world.drain()
        assert asked_by_rm == []
        assert asked_behind == ["ls_path", "ls_path", "remove_paths", "ls_path", "remove_paths"]
        assert fake.tree() == {}
        world.check_nothing_left()
        assert world.claimed.journal.folder_removals() == []


async def test_few_removals_go_by_id_all_at_once(tmp_path) -> None:
    fake = folder_of(5)
    async with mount(tmp_path, fake, write_back=True) as world:
        await world.ls("my-data/sub")
        fake.latency_s = 1.0
        started_s = trio.current_time()
        with fake.counting() as verbs:
            for name in await world.ls("my-data/sub"):
                await world.unlink(f"my-data/sub/{name}")
            await world.drain()
        assert verbs == ["delete"] * 5
        assert trio.current_time() - started_s < 2
        assert fake.tree() == {"sub": None}


async def test_few_of_a_very_large_folder_are_not_listed(tmp_path) -> None:
    fake = folder_of(300)
    fake.page_max = 10
    async with mount(tmp_path, fake, write_back=True) as world:
        await world.ls("my-data/sub")
        with fake.counting() as verbs:
            for number in range(10):
                await world.unlink(f"my-data/sub/f{number:03}")
            await world.drain()
        assert verbs.count("delete") + 10 * verbs.count("remove_paths") == 10
        assert len(verbs) <= 40


async def test_name_that_may_mean_another_item_goes_by_id(tmp_path) -> None:
    fake = folder_of(20)
    async with mount(tmp_path, fake, write_back=True) as world:
        await world.ls("my-data/sub")
        (replaced,) = fake.ids_at(f"{HOME}/sub/f001")
        for number in range(20):
            await world.unlink(f"my-data/sub/f{number:03}")
        fake.add_file(f"{HOME}/sub/f000", b"a second one")
        fake.remove(f"{HOME}/sub/f001")
        fake.add_file(f"{HOME}/sub/f001", b"somebody else's")
        with fake.counting() as verbs:
            await world.drain()
        assert verbs.count("remove_paths") == 1
        assert fake.tree() == {"sub": None, "sub/f000": b"a second one", "sub/f001": b"somebody else's"}
        assert fake.row(replaced).is_deleted


async def test_call_for_many_that_fails_is_made_for_each(tmp_path) -> None:
    fake = folder_of(20)
    async with mount(tmp_path, fake, write_back=True) as world:
        await world.ls("my-data/sub")
        fake.fail("remove_paths", status=500, when=lambda paths: len(paths) > 1)
        await remove_all(world, "my-data/sub")
        await world.drain()
        assert fake.count("delete") == 20
        assert fake.tree() == {}


# -- order --------------------------------------------------------------------------------------------


async def test_name_is_used_again_after_its_removal(tmp_path) -> None:
    fake = folder_of(1)
    fake.duplicate_names = False
    async with mount(tmp_path, fake, write_back=True) as world:
        await world.ls("my-data/sub")
        stalled = fake.stall("delete")
        await world.unlink("my-data/sub/f000")
        await world.save("my-data/sub/f000", b"new")
        await trio.sleep(5)
        assert await world.read("my-data/sub/f000") == b"new"
        assert fake.count("assign_paths") == 0
        stalled.release()
        await world.drain()
        assert fake.tree() == {"sub": None, "sub/f000": b"new"}
        assert await world.read("my-data/sub/f000") == b"new"
        await trio.sleep(100)
        assert await world.ls("my-data/sub") == ["f000"]


async def test_folder_is_made_again_after_its_removal(tmp_path) -> None:
    fake = folder_of(10)
    async with mount(tmp_path, fake, write_back=True) as world:
        await world.ls("my-data/sub")
        fake.latency_s = 0.1
        await remove_all(world, "my-data/sub")
        await world.mkdir("my-data/sub")
        await world.save("my-data/sub/new", b"new")
        await world.drain()
        assert fake.tree() == {"sub": None, "sub/new": b"new"}


async def test_rename_to_a_name_waits_for_its_removal(tmp_path) -> None:
    fake = folder_of(2)
    fake.duplicate_names = False
    async with mount(tmp_path, fake, write_back=True) as world:
        await world.ls("my-data/sub")
        fake.latency_s = 0.1
        await world.unlink("my-data/sub/f000")
        await world.rename("my-data/sub/f001", "my-data/sub/f000")
        assert [name for name in fake.tree() if name != "sub"] == ["sub/f000"]


async def test_what_was_removed_goes_from_where_its_folder_is_now(tmp_path) -> None:
    fake = folder_of(20)
    fake.add_folder(f"{HOME}/sub/inner")
    fake.add_file(f"{HOME}/sub/inner/x", b"x")
    async with mount(tmp_path, fake, write_back=True) as world:
        await world.ls("my-data/sub")
        await world.ls("my-data/sub/inner")
        for number in range(10):
            await world.unlink(f"my-data/sub/f{number:03}")
        await world.unlink("my-data/sub/inner/x")
        await world.rmdir("my-data/sub/inner")
        await world.rename("my-data/sub", "my-data/moved")
        await world.drain()
        assert sorted(fake.tree()) == ["moved", *(f"moved/f{number:03}" for number in range(10, 20))]
        assert await world.ls("my-data/moved") == [f"f{number:03}" for number in range(10, 20)]
        world.check_nothing_left()


async def test_folder_goes_after_the_uploads_that_were_given_up_in_it(tmp_path) -> None:
    fake = FakeCalls()
    async with mount(tmp_path, fake, write_back=True) as world:
        await world.mkdir("my-data/sub")
        await world.mkdir("my-data/sub/inner")
        stalled = fake.stall("upload")
        await world.save("my-data/sub/inner/new", b"new")
        await settle()
        await remove_all(world, "my-data/sub/inner")
        await world.rmdir("my-data/sub")
        assert await world.ls("my-data") == []
        stalled.release()
        await world.drain()
        assert fake.tree() == {}
        world.check_nothing_left()


async def test_folder_without_anything_pending_goes_at_once(tmp_path) -> None:
    fake = FakeCalls()
    async with mount(tmp_path, fake, write_back=True) as world:
        await world.mkdir("my-data/sub")
        await world.rmdir("my-data/sub")
        assert fake.tree() == {}


async def test_folder_that_is_not_empty_here_is_refused_at_once(tmp_path) -> None:
    fake = folder_of(2)
    async with mount(tmp_path, fake, write_back=True) as world:
        await world.ls("my-data/sub")
        await world.unlink("my-data/sub/f000")
        with pytest.raises(errors.DirectoryNotEmpty):
            await world.rmdir("my-data/sub")
        await world.drain()
        assert fake.tree() == {"sub": None, "sub/f001": b"data"}


LARGE = bytes(range(256)) * 2**13  # more than an open brings


@pytest.fixture
def of_a_large_file(monkeypatch) -> FakeCalls:
    """A folder with a file that is too large to be fetched before it is removed."""
    monkeypatch.setattr(moves, "_FETCHED_BEFORE_REMOVAL_BYTES", 2**20)
    fake = folder_of(0)
    fake.add_file(f"{HOME}/sub/f000", LARGE)
    return fake


async def test_open_file_goes_at_once_and_its_name_is_free_while_it_is_read_on(tmp_path) -> None:
    fake = folder_of(1)
    async with mount(tmp_path, fake, write_back=True) as world:
        handle = await world.open("my-data/sub/f000")
        await world.unlink("my-data/sub/f000")
        await world.mkdir("my-data/sub/f000")
        assert fake.tree() == {"sub": None, "sub/f000": None}
        assert await world.read_all(handle) == b"data"
        await world.close(handle)
        world.check_nothing_left()


async def test_large_open_file_is_read_on_and_goes_at_its_last_close(tmp_path, of_a_large_file) -> None:
    fake = of_a_large_file
    async with mount(tmp_path, fake, write_back=True) as world:
        handle = await world.open("my-data/sub/f000")
        await world.unlink("my-data/sub/f000")
        await trio.sleep(10)
        assert await world.ls("my-data/sub") == []
        assert await world.read_all(handle) == LARGE
        assert fake.count("delete") == 0
        await world.close(handle)
        await world.drain()
        assert fake.tree() == {"sub": None}


# -- what is refused, and what outlives the mount -----------------------------------------------------


@REFUSED
async def test_refused_removal_is_seen_again_and_told(tmp_path) -> None:
    fake = folder_of(2)
    async with mount(tmp_path, fake, write_back=True) as world:
        await world.ls("my-data/sub")
        (kept,) = fake.ids_at(f"{HOME}/sub/f000")
        fake.fail("delete", **FORBIDDEN, times=10**6, when=lambda _kind, id_: id_ == kept)
        for name in ("f000", "f001"):
            await world.unlink(f"my-data/sub/{name}")
        await world.rmdir("my-data/sub")
        await world.drain()
        assert await world.ls("my-data") == ["sub"]
        assert await world.ls("my-data/sub") == ["f000"]
        assert await world.read("my-data/sub/f000") == b"data"
        assert world.sync.removals.refused == [f"{HOME}/sub/f000", f"{HOME}/sub"]
        inode = await world.inode("my-data/sub/f000")
        report = (await world.attributes.get(inode, b"user.orion.error")).decode()
        assert "call: removal\nerror: EACCES" in report
        world.check_nothing_left()


@REFUSED
async def test_folder_that_somebody_else_has_filled_is_seen_again(tmp_path) -> None:
    fake = folder_of(1)
    async with mount(tmp_path, fake, write_back=True) as world:
        await world.ls("my-data/sub")
        await world.unlink("my-data/sub/f000")
        await world.rmdir("my-data/sub")
        fake.add_file(f"{HOME}/sub/theirs", b"theirs")
        await world.drain()
        assert await world.ls("my-data/sub") == ["theirs"]
        assert fake.tree() == {"sub": None, "sub/theirs": b"theirs"}


async def test_removals_outlive_the_mount_and_are_not_seen_by_the_next_one(tmp_path) -> None:
    fake = folder_of(30)
    fake.add_folder(f"{HOME}/sub/inner")
    fake.add_file(f"{HOME}/sub/inner/x", b"x")
    async with mount(tmp_path, fake, write_back=True) as world:
        await world.ls("my-data/sub")
        await world.ls("my-data/sub/inner")
        stalls = [fake.stall(verb) for verb in ("delete", "remove_paths")]
        await world.unlink("my-data/sub/inner/x")
        await world.rmdir("my-data/sub/inner")
        await remove_all(world, "my-data/sub")
    del stalls
    async with mount(tmp_path, fake, write_back=False) as world:
        assert await world.ls("my-data") == []
        await world.drain()
        assert fake.tree() == {}
        world.check_nothing_left()
        assert world.claimed.journal.folder_removals() == []


async def test_journal_of_an_earlier_version_is_read(tmp_path) -> None:
    fake = folder_of(1)
    async with mount(tmp_path, fake, write_back=True) as world:
        fake.stall("delete")
        await world.unlink("my-data/sub/f000")
        database = world.claimed.path / "journal.db"
    with sqlite3.connect(database) as connection:
        connection.execute("DROP TABLE folder_removals")
        connection.execute("PRAGMA user_version = 1")
    connection.close()
    async with mount(tmp_path, fake, write_back=True) as world:
        assert await world.ls("my-data/sub") == []
        await world.rmdir("my-data/sub")
        await world.drain()
        assert fake.tree() == {}


# -- one name, two items ----------------------------------------------------------------------------


async def test_name_made_again_while_the_old_file_is_read_on_is_there_once(tmp_path, of_a_large_file) -> None:
    fake = of_a_large_file
    async with mount(tmp_path, fake, write_back=True) as world:
        handle = await world.open("my-data/sub/f000")
        await world.unlink("my-data/sub/f000")
        await world.save("my-data/sub/f000", b"new")
        await world.drain()
        for _ in range(3):
            await trio.sleep(LATER_S)  # what was changed here is lag of a replica no more
            assert await world.ls("my-data/sub") == ["f000"]
            assert await world.read("my-data/sub/f000") == b"new"
        assert await world.read_all(handle) == LARGE
        await world.files.release(handle)
        await world.drain()
        assert len(fake.ids_at(f"{HOME}/sub/f000")) == 1


@pytest.mark.parametrize("is_listed", [True, False])
async def test_item_in_place_of_a_newer_one_that_is_still_to_go_has_its_name(tmp_path, is_listed) -> None:
    fake = folder_of(0)
    kept = fake.add_file(f"{HOME}/sub/x.txt", b"kept")
    replaced = fake.add_file(f"{HOME}/sub/x.txt", b"replaced")
    async with mount(tmp_path, fake, write_back=True) as world:
        stalled = fake.stall("delete")
        removal = Removal(Key(Kind.FILE, replaced), f"{HOME}/sub/x.txt")
        await world.sync.removals.promise(removal)
        world.sync.removals.resume(removal)
        await settle()
        for _ in range(2):
            if is_listed:
                assert await world.ls("my-data/sub") == ["x.txt"]
            assert await world.read("my-data/sub/x.txt") == b"kept"
            assert await world.stat(f"my-data/sub/x~file-{kept}.txt") is None
            assert await world.stat(f"my-data/sub/x~file-{replaced}.txt") is None
            stalled.release()
            await world.drain()
        assert await world.ls("my-data/sub") == ["x.txt"]
