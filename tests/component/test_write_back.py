"""`--write-back`: close() returns once bytes and intention are durable; everything follows in order."""

from __future__ import annotations

import os
from functools import partial

import pytest
import trio

from orionfs import errors
from orionfs.outgoing.order import PLACES, SMALL_BYTES
from orionfs.outgoing.upload import UploadState
from tests.component.fake_orion import HOME, TEAM, FakeCalls
from tests.component.world import World, mount, settle

pytestmark = [pytest.mark.virtual_time]

NOT_YET = pytest.mark.expect_log("is not on Orion yet; it is kept")
OFFLINE = pytest.mark.expect_log("offline: .*; what is cached goes on being served")


def placed(fake: FakeCalls) -> list[str]:
    """The names that were given, call after call, in order."""
    calls = [call.args[0] for call in fake.log if call.verb == "assign_paths"]
    return [row["name"] for rows in calls for row in rows]


def files(fake: FakeCalls, folder: str = HOME) -> dict[str, bytes | None]:
    """What users elsewhere see: files, without uploads that have no names yet."""
    tree = fake.tree(folder)
    return {name: data for name, data in tree.items() if data is not None and ".orionfs-" not in name}


async def save_all(world: World, *names: str, data: bytes = b"data") -> None:
    for name in names:
        await world.save(f"my-data/{name}", data)


# -- close returns --------------------------------------------------------------------------------


async def test_close_asks_nothing_and_the_file_is_there_behind_it(tmp_path) -> None:
    fake = FakeCalls()
    async with mount(tmp_path, fake, write_back=True) as world:
        await world.ls("my-data")
        stalled = fake.stall("upload")
        with fake.counting() as verbs:
            await world.save("my-data/new", b"new")
            assert await world.read("my-data/new") == b"new"
            assert await world.ls("my-data") == ["new"]
        assert set(verbs) <= {"upload"}  # behind the caller
        (row,) = world.claimed.journal.uploads()
        assert (row.path, row.size_bytes) == (f"{HOME}/new", 3)
        stalled.release()
        await world.drain()
        assert files(fake) == {"new": b"new"}
        world.check_nothing_left()


async def test_what_was_closed_is_uploaded_by_the_next_mount_whatever_its_mode(tmp_path) -> None:
    for write_back in (True, False):
        fake = FakeCalls()
        home = tmp_path / str(write_back)
        async with mount(home, fake, write_back=True) as world:
            await world.ls("my-data")
            fake.stall("upload")
            await save_all(world, *[f"f{number}" for number in range(40)], data=b"promised")
        names = [f"f{number}" for number in range(40)]
        async with mount(home, fake, write_back=write_back) as world:
            assert await world.ls("my-data") == sorted(names)
            assert await world.read("my-data/f39") == b"promised"
            await world.drain()
            assert files(fake) == dict.fromkeys(names, b"promised")
            assert placed(fake) == names
            world.check_nothing_left()


async def test_fsync_waits_until_the_file_is_on_orion(tmp_path) -> None:
    fake = FakeCalls()
    fake.latency_s = 1.0
    async with mount(tmp_path, fake, write_back=True) as world:
        handle = await world.open("my-data/new", os.O_WRONLY | os.O_CREAT)
        await world.files.write(handle, 0, b"one")
        await world.files.fsync(handle)
        assert fake.contents(f"{HOME}/new") == b"one"
        await world.files.write(handle, 3, b"two")
        await world.files.flush(handle)
        await world.files.fsync(handle)  # sealed already, and on its way
        assert fake.contents(f"{HOME}/new") == b"onetwo"
        await world.files.release(handle)


@NOT_YET
async def test_fsync_tells_why_the_file_is_not_there(tmp_path) -> None:
    fake = FakeCalls()
    async with mount(tmp_path, fake, write_back=True) as world:
        fake.fail("upload", status=507, times=10**6)
        handle = await world.open("my-data/new", os.O_WRONLY | os.O_CREAT)
        await world.files.write(handle, 0, b"one")
        with pytest.raises(errors.QuotaExceeded):
            await world.files.fsync(handle)
        await world.files.flush(handle)  # it is promised all the same
        await world.files.release(handle)
        fake.heal()
        await world.drain()
        assert files(fake) == {"new": b"one"}


async def test_many_flushes_of_one_open_file_are_few_uploads(tmp_path) -> None:
    fake = FakeCalls()
    async with mount(tmp_path, fake, write_back=True) as world:
        handle = await world.open("my-data/log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for number in range(100):
            await world.files.write(handle, number, b"x")
            await world.files.flush(handle)
            await trio.sleep(0.1)
        await world.files.release(handle)
        await world.drain()
        assert files(fake) == {"log": b"x" * 100}
        assert fake.count("upload") <= 3
        world.check_nothing_left()


# -- order ----------------------------------------------------------------------------------------


async def test_names_of_a_folder_come_in_the_order_of_close_and_many_in_one_call(tmp_path) -> None:
    fake = FakeCalls()
    names = [f"f{number:03}" for number in range(100)]
    async with mount(tmp_path, fake, write_back=True) as world:
        await world.ls("my-data")
        fake.latency_s = 0.04
        started_s = trio.current_time()
        with fake.counting() as verbs:
            await save_all(world, *names)
            assert trio.current_time() == started_s
            await world.drain()
        assert trio.current_time() - started_s < 1.0
        assert placed(fake) == names
        assert verbs.count("upload") == 100
        assert verbs.count("assign_paths") < 20
        assert fake.in_flight_max["upload"] == PLACES
        world.check_nothing_left()


async def test_done_never_overtakes_result(tmp_path) -> None:
    fake = FakeCalls()
    async with mount(tmp_path, fake, write_back=True) as world:
        await world.ls("my-data")
        slow = fake.stall("upload", when=lambda _mark, path, *_: os.stat(path).st_size > 10)
        await world.save("my-data/result", b"x" * 100)
        await world.save("my-data/DONE", b"")
        await world.save("team-data/other", b"")
        await trio.sleep(10)
        assert files(fake) == {}
        assert files(fake, TEAM) == {"other": b""}
        assert fake.count("upload") == 3
        await world.rename(
            "my-data/DONE", "my-data/FINISHED"
        )  # who waits for its turn stands in nobody's way
        slow.release()
        await world.drain()
        assert placed(fake) == ["other", "result", "FINISHED"]


@NOT_YET
async def test_refused_file_holds_up_those_behind_it_and_fsync_of_them_tells(tmp_path) -> None:
    fake = FakeCalls()
    async with mount(tmp_path, fake, write_back=True) as world:
        await world.ls("my-data")
        fake.fail("upload", status=413, times=10**6, when=lambda _mark, path, *_: os.stat(path).st_size > 10)
        await world.save("my-data/result", b"x" * 100)
        handle = await world.open("my-data/DONE", os.O_WRONLY | os.O_CREAT)
        await world.files.write(handle, 0, b"1")
        with pytest.raises(errors.FileTooLarge):
            await world.files.fsync(handle)
        await world.files.release(handle)
        await trio.sleep(1000)
        assert files(fake) == {}
        assert not await world.sync.drain(100)
        await world.unlink("my-data/result")
        await world.drain()
        assert files(fake) == {"DONE": b"1"}
        world.check_nothing_left()


async def test_large_files_do_not_keep_small_ones_of_other_folders_waiting(tmp_path) -> None:
    fake = FakeCalls()
    async with mount(tmp_path, fake, write_back=True) as world:
        await world.ls("my-data")
        await world.mkdir("my-data/sub")
        slow = fake.stall("upload", when=lambda _mark, path, *_: os.stat(path).st_size >= SMALL_BYTES)
        for number in range(PLACES):
            await world.save(f"my-data/large{number}", b"x" * SMALL_BYTES)
        await world.save("my-data/sub/small", b"1")
        await trio.sleep(1)
        assert files(fake) == {"sub/small": b"1"}
        slow.release()
        await world.drain()
        assert len(files(fake)) == PLACES + 1


async def test_call_for_many_names_that_is_refused_is_made_for_each(tmp_path) -> None:
    fake = FakeCalls()
    names = [f"f{number:02}" for number in range(10)]
    async with mount(tmp_path, fake, write_back=True) as world:
        await world.ls("my-data")
        fake.fail("assign_paths", status=400, times=10**6, when=lambda rows: len(rows) > 1)
        fake.latency_s = 0.04
        await save_all(world, *names)
        await world.drain()
        assert sorted(files(fake)) == names
        assert list(dict.fromkeys(placed(fake))) == names
        world.check_nothing_left()


@OFFLINE
@NOT_YET
async def test_nothing_is_lost_while_orion_is_away(tmp_path) -> None:
    fake = FakeCalls()
    names = [f"f{number:02}" for number in range(40)]
    async with mount(tmp_path, fake, write_back=True) as world:
        await world.ls("my-data")
        for verb in ("upload", "whoami", "assign_paths"):
            fake.fail(verb, "OrionConnectionError", times=10**6, refused=True)
        await save_all(world, *names)
        await trio.sleep(100)
        assert files(fake) == {}
        assert fake.count("upload") <= 2 * PLACES  # nobody is asked again and again
        fake.heal()
        await trio.sleep(30)
        assert sorted(files(fake)) == names
        world.check_nothing_left()


# -- what is not on Orion yet -----------------------------------------------------------------------


async def test_changes_of_a_file_that_waits_ask_nothing(tmp_path) -> None:
    fake = FakeCalls()
    async with mount(tmp_path, fake, write_back=True) as world:
        await world.ls("my-data")
        await world.ls("team-data")
        stalled = fake.stall("upload")
        await save_all(world, *[f"f{number}" for number in range(PLACES)])
        await settle()
        with fake.counting() as verbs:
            await save_all(world, "kept", "gone")
            await world.rename("my-data/kept", "team-data/there")
            inode = await world.inode("team-data/there")
            await world.attributes.set(inode, b"user.orion.tag.lead", b"")
            await world.unlink("my-data/gone")
        assert verbs == []
        assert await world.ls("team-data") == ["there"]
        stalled.release()
        await world.drain()
        assert files(fake, TEAM) == {"there": b"data"}
        (id_,) = fake.ids_at(f"{TEAM}/there")
        assert fake.row(id_).tags == {"lead"}
        assert fake.count("upload") == PLACES + 1
        world.check_nothing_left()


async def test_tags_of_a_file_that_waits_outlive_the_mount(tmp_path) -> None:
    fake = FakeCalls()
    async with mount(tmp_path, fake, write_back=True) as world:
        await world.ls("my-data")
        fake.stall("upload")
        await save_all(world, "new")
        inode = await world.inode("my-data/new")
        await world.attributes.set(inode, b"user.orion.tags", b"lead\nJob 4711")
    async with mount(tmp_path, fake, write_back=True) as world:
        assert (
            await world.attributes.get(await world.inode("my-data/new"), b"user.orion.tags")
            == b"Job 4711\nlead"
        )
        await world.drain()
        (id_,) = fake.ids_at(f"{HOME}/new")
        assert fake.row(id_).tags == {"lead", "Job 4711"}


async def test_tags_that_change_while_a_file_waits_for_its_name_are_right_in_the_end(tmp_path) -> None:
    fake = FakeCalls()
    async with mount(tmp_path, fake, write_back=True) as world:
        await world.ls("my-data")
        stalled = fake.stall("assign_paths")
        await save_all(world, "new")
        inode = await world.inode("my-data/new")
        await world.attributes.set(inode, b"user.orion.tag.early", b"")
        await trio.sleep(1)
        await world.attributes.remove(inode, b"user.orion.tag.early")
        await world.attributes.set(inode, b"user.orion.tag.late", b"")
        stalled.release()
        await world.drain()
        (id_,) = fake.ids_at(f"{HOME}/new")
        assert fake.row(id_).tags == {"late"}


async def test_save_by_rename_over_a_file_replaces_it_behind_the_caller(tmp_path) -> None:
    fake = FakeCalls()
    old = fake.add_file(f"{HOME}/doc", b"old", tags=("lead",))
    async with mount(tmp_path, fake, write_back=True) as world:
        await world.ls("my-data")
        stalled = fake.stall("upload")
        with fake.counting() as verbs:
            await world.save("my-data/doc.tmp", b"new")
            await world.rename("my-data/doc.tmp", "my-data/doc")
        assert verbs in ([], ["upload"])
        assert await world.read("my-data/doc") == b"new"
        stalled.release()
        await world.drain()
        assert files(fake) == {"doc": b"new"}
        assert fake.row(old).is_deleted
        world.check_nothing_left()


async def test_states_of_a_file_on_its_way(tmp_path) -> None:
    fake = FakeCalls()
    async with mount(tmp_path, fake, write_back=True) as world:
        await world.ls("my-data")
        stalled = fake.stall("upload")
        await save_all(world, *[f"f{number:02}" for number in range(PLACES + 1)])
        await trio.sleep(1)
        states = [upload.state for upload in world.sync.pending]
        assert states == [UploadState.RUNNING] * PLACES + [UploadState.WAITING]
        read = partial(world.attributes.get, await world.inode(f"my-data/f{PLACES}"))
        assert await read(b"user.orion.sync") == b"dirty"
        stalled.release()
        await world.drain()
        assert await read(b"user.orion.sync") == b"clean"


async def test_version_behind_one_that_waits_for_its_name_waits_without_turning_in_circles(tmp_path) -> None:
    """Else it would hold the virtual clock, and this test, for ever."""
    fake = FakeCalls()
    fake.add_file(f"{HOME}/first", b"old")
    async with mount(tmp_path, fake, write_back=True) as world:
        fake.stall("delete")
        await world.unlink("my-data/first")
        await world.save("my-data/first", b"new")
        await world.save("my-data/second", b"new")
        await trio.sleep(5)
        assert fake.tree() == {"first": b"old"} | {row.name: b"new" for row in fake.rows()[-2:]}
        fake.release_all()
        await world.drain()
        assert fake.tree() == {"first": b"new", "second": b"new"}
