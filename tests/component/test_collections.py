"""Collections as folders of shards: listed, read, written, removed, with the calls that this takes."""

from __future__ import annotations

import os

import pytest
import trio

from orionfs import errors
from orionfs.models import Kind
from orionfs.tree.protection import Protection
from orionfs.vfs.collecting import Collecting
from orionfs.vfs.removing import Removing
from tests.component.fake_orion import HOME, FakeCalls
from tests.component.world import World, mount

pytestmark = pytest.mark.virtual_time

SET = f"{HOME}/set"
HERE = "my-data/set"
LARGE = bytes(range(256)) * 12_000  # more than one first part


@pytest.fixture
def fake() -> FakeCalls:
    return FakeCalls()


def removing(world: World) -> Removing:
    """What `orionfs rm` asks."""
    collecting = Collecting(world.namespace, world.remote)
    return Removing(world.namespace, world.files, world.moves, collecting, Protection())


def documented_only(fake: FakeCalls) -> None:
    """What a session does that has nothing but the documented calls."""
    fake.ranged = fake.paged_shards = fake.shards_tell_sizes = False


# -- looking -------------------------------------------------------------------------------------


async def test_shards_are_listed_with_their_sizes_in_one_page_and_not_again(tmp_path, fake) -> None:
    fake.add_collection(SET, a=b"one", b=b"three")
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data")
        with fake.counting() as calls:
            assert await world.ls(HERE) == ["a", "b"]
            sizes = [world.namespace.attributes(await world.inode(f"{HERE}/{n}"), 1.0).size for n in "ab"]
        assert (calls, sizes) == (["shards_page"], [3, 5])
        assert world.namespace.attributes(await world.inode(HERE), 1.0).is_directory


async def test_many_shards_come_in_pages_at_the_same_time(tmp_path, fake) -> None:
    fake.page_max = 10
    fake.add_collection(SET, **{f"s{number:03}": b"x" for number in range(95)})
    fake.latency_s = 1.0
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data")
        before = trio.current_time()
        assert len(await world.ls(HERE)) == 95
        assert fake.count("shards_page") == 10
        assert trio.current_time() - before < 4.5


async def test_session_without_pages_lists_in_one_call(tmp_path, fake) -> None:
    documented_only(fake)
    fake.add_collection(SET, a=b"one", b=b"two")
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data")
        with fake.counting() as calls:
            assert await world.ls(HERE) == ["a", "b"]
        assert calls == ["list_shards"]


async def test_absence_that_only_a_listing_tells_holds_as_long_as_that(tmp_path, fake) -> None:
    documented_only(fake)
    fake.add_collection(SET, a=b"one")
    async with mount(tmp_path, fake) as world:
        await world.ls(HERE)
        await trio.sleep(20)
        with fake.counting() as calls:
            assert await world.stat(f"{HERE}/none") is None
        assert calls == []
        await trio.sleep(20)
        fake.add_shard(fake.ids_at(SET)[0], "none", b"now")
        assert await world.stat(f"{HERE}/none") is not None


async def test_listing_that_took_long_holds_longer_where_nothing_else_tells_of_a_shard(
    tmp_path, fake
) -> None:
    """By its end it was out of date already: each stat in a large collection listed it again, in vain."""
    documented_only(fake)
    fake.add_collection(SET, a=b"one")
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data")
        fake.latency_s = 40.0
        assert await world.ls(HERE) == ["a"]
        fake.latency_s = 0.0
        with fake.counting() as calls:
            for _ in range(9):
                await trio.sleep(20)
                assert await world.stat(f"{HERE}/a") is not None
                assert await world.stat(f"{HERE}/b") is None
        assert "list_shards" not in calls
        fake.add_shard(fake.ids_at(SET)[0], "b", b"now")
        await trio.sleep(30)
        assert await world.stat(f"{HERE}/b") is not None


async def test_one_name_is_asked_for_alone_and_the_second_by_a_listing(tmp_path, fake) -> None:
    fake.page_max = 10
    fake.add_collection(SET, **{f"s{number:03}": b"x" for number in range(25)})
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data")
        with fake.counting() as calls:
            assert await world.read(f"{HERE}/s007") == b"x"
        assert calls == ["shards_page", "read_into"]
        with fake.counting() as calls:
            assert await world.stat(f"{HERE}/none") is None
            assert await world.stat(f"{HERE}/s008") is not None
        assert calls == ["shards_page"] * 3


async def test_name_of_a_large_collection_costs_one_call_also_where_filters_are_ignored(
    tmp_path, fake
) -> None:
    fake.page_max = 10
    fake.add_collection(SET, **{f"s{number:03}": b"x" for number in range(95)})
    async with mount(tmp_path, fake) as world:
        await world.ls(HERE)
        await trio.sleep(31)
        with fake.counting() as calls:
            assert await world.stat(f"{HERE}/s094") is not None
            assert await world.stat(f"{HERE}/none") is None
        assert calls.count("shards_page") == 2
        fake.heeds_filters = False
        await trio.sleep(31)
        assert await world.stat(f"{HERE}/s094") is not None
        assert await world.stat(f"{HERE}/none") is None


async def test_shards_that_share_a_name_or_have_none_are_all_reachable(tmp_path, fake) -> None:
    number = fake.add_collection(SET)
    ids = [fake.add_shard(number, name, name.encode() + b"!") for name in ("same", "same", "")]
    async with mount(tmp_path, fake) as world:
        assert await world.ls(HERE) == ["same", f"same~shard-{ids[0]}", f"shard-{ids[2]}"]
        assert await world.read(f"{HERE}/same~shard-{ids[0]}") == b"same!"
        assert await world.read(f"{HERE}/shard-{ids[2]}") == b"!"


async def test_collection_is_never_looked_at_again_in_the_background(tmp_path, fake) -> None:
    fake.add_collection(SET, a=b"one")
    async with mount(tmp_path, fake, refresh_folders=16) as world:
        await world.ls("my-data")
        await world.ls(HERE)
        await trio.sleep(25)
        assert fake.count("shards_page") == 1
        assert fake.count("ls_path") > 1


async def test_refresh_on_demand_lists_a_collection_that_is_known(tmp_path, fake) -> None:
    number = fake.add_collection(SET, a=b"one")
    async with mount(tmp_path, fake) as world:
        await world.ls(HERE)
        fake.add_shard(number, "b", b"two")
        refreshed = world.refresher.start("/my-data")
        await refreshed.done.wait()
        assert refreshed.names["new"] == 1
        assert await world.ls(HERE) == ["a", "b"]


async def test_collection_can_be_listed_under_a_view(tmp_path, fake) -> None:
    number = fake.add_collection(SET, a=b"one")
    async with mount(tmp_path, fake) as world:
        assert await world.ls(f".orion/by-id/collection/{number}") == ["a"]
        assert await world.read(f".orion/by-id/collection/{number}/a") == b"one"


async def test_shard_that_is_seen_in_a_view_stays_at_its_place(tmp_path, fake) -> None:
    number = fake.add_collection(SET, a=b"one")
    async with mount(tmp_path, fake) as world:
        shard, collection = await world.inode(f"{HERE}/a"), await world.inode(HERE)
        shard.lookups = collection.lookups = 1
        seen = await world.inode(f".orion/by-id/collection/{number}/a")
        assert (seen, seen.parent) == (shard, collection)


# -- reading -------------------------------------------------------------------------------------


async def test_shard_is_read_in_ranges_and_kept(tmp_path, fake) -> None:
    fake.add_collection(SET, a=LARGE)
    async with mount(tmp_path, fake) as world:
        assert await world.read(f"{HERE}/a") == LARGE
        assert fake.count("download") == 0
        with fake.counting() as calls:
            assert await world.read(f"{HERE}/a") == LARGE
        assert calls == []


async def test_size_that_nobody_tells_is_known_after_open_and_in_the_next_life(tmp_path, fake) -> None:
    documented_only(fake)
    fake.add_collection(SET, a=LARGE)
    async with mount(tmp_path, fake) as world:
        inode = await world.inode(f"{HERE}/a")
        told = world.namespace.attributes(inode, 30.0)
        assert (told.size, told.attributes_valid_s) == (1, 0.0)
        handle = await world.open(f"{HERE}/a")
        assert world.namespace.attributes(inode, 30.0).size == len(LARGE)
        assert await world.read_all(handle) == LARGE
        await world.close(handle)
    async with mount(tmp_path, fake) as world:
        told = world.namespace.attributes(await world.inode(f"{HERE}/a"), 30.0)
        assert (told.size, told.attributes_valid_s) == (len(LARGE), 30.0)
        assert fake.count("get") == 0


async def test_shard_that_is_being_written_is_busy_until_it_is_ready(tmp_path, fake) -> None:
    number = fake.add_collection(SET)
    shard = fake.add_shard(number, "a", b"half", state="temporary")
    async with mount(tmp_path, fake) as world:
        assert world.namespace.attributes(await world.inode(f"{HERE}/a"), 1.0).size == 1
        with pytest.raises(errors.Busy, match="temporary"):
            await world.open(f"{HERE}/a")
        fake.row(shard).contents, fake.row(shard).state = b"whole", "ready"
        assert await world.read(f"{HERE}/a") == b"whole"


async def test_shard_that_is_gone_is_stale_at_open(tmp_path, fake) -> None:
    documented_only(fake)
    number = fake.add_collection(SET, a=b"one", b=b"two")
    async with mount(tmp_path, fake) as world:
        inode = await world.inode(f"{HERE}/a")
        gone = next(row for row in fake.rows() if row.name == "a")
        fake.delete("shard", [number, gone.id])
        with pytest.raises(errors.Stale):
            await world.files.open(inode, os.O_RDONLY)
        assert await world.stat(f"{HERE}/a") is None


# -- writing -------------------------------------------------------------------------------------


async def test_new_file_is_a_new_shard_once_it_is_closed(tmp_path, fake) -> None:
    number = fake.add_collection(SET, a=b"one")
    async with mount(tmp_path, fake) as world:
        await world.ls(HERE)
        with fake.counting() as calls:
            await world.save(f"{HERE}/new", LARGE)
        assert calls == ["create_shard", "fill_shard"]
        assert fake.shards(number) == {"a": b"one", "new": LARGE}
        assert {row.state for row in fake.rows() if row.kind == "shard"} == {"ready"}
        with fake.counting() as calls:
            assert await world.ls(HERE) == ["a", "new"]
            assert await world.read(f"{HERE}/new") == LARGE
        assert calls == []
        world.check_nothing_left()


@pytest.mark.parametrize("session", ["own", "documented"])
async def test_writing_over_a_shard_makes_another_one_in_its_place(tmp_path, fake, session) -> None:
    if session == "documented":
        documented_only(fake)
    number = fake.add_collection(SET, a=b"before", b=b"two")
    async with mount(tmp_path, fake) as world:
        handle = await world.open(f"{HERE}/a", os.O_RDWR)
        await world.files.write(handle, 2, b"HERE")
        await world.close(handle)
        assert fake.shards(number) == {"a": b"beHERE", "b": b"two"}
        assert await world.read(f"{HERE}/a") == b"beHERE"
        world.check_nothing_left()


async def test_more_than_a_shard_can_hold_is_refused_when_it_is_written(tmp_path, fake) -> None:
    fake.add_collection(SET)
    async with mount(tmp_path, fake) as world:
        handle = await world.open(f"{HERE}/a", os.O_WRONLY | os.O_CREAT)
        with pytest.raises(errors.FileTooLarge):
            await world.files.write(handle, 5_000_000_000, b"x")
        with pytest.raises(errors.FileTooLarge):
            await world.files.truncate(await world.inode(f"{HERE}/a"), 5_000_000_001, handle)
        await world.close(handle)


@pytest.mark.parametrize("verb", ["create_shard", "fill_shard"])
@pytest.mark.parametrize("has_effect", [False, True])
async def test_attempt_without_an_answer_is_found_and_nothing_is_doubled(
    tmp_path, fake, verb, has_effect
) -> None:
    number = fake.add_collection(SET)
    fake.fail(verb, "OrionConnectionError", has_effect=has_effect)
    async with mount(tmp_path, fake) as world:
        await world.save(f"{HERE}/new", b"contents")
        assert fake.shards(number) == {"new": b"contents"}
        assert [row.state for row in fake.rows() if row.kind == "shard"] == ["ready"]
        world.check_nothing_left()


async def test_shard_of_another_writer_with_the_same_name_is_not_taken_for_ours(tmp_path, fake) -> None:
    number = fake.add_collection(SET)
    theirs: list[int] = []

    def they_come_first(*_: object) -> bool:
        if not theirs:
            theirs.append(fake.add_shard(number, "new", b"theirs", state="temporary"))
        return True

    fake.fail("create_shard", "OrionConnectionError", when=they_come_first)
    async with mount(tmp_path, fake) as world:
        await world.save(f"{HERE}/new", b"ours")
        shards = {row.id: (row.contents, row.state) for row in fake.rows() if row.kind == "shard"}
        assert shards.pop(theirs[0]) == (b"theirs", "temporary")
        assert list(shards.values()) == [(b"ours", "ready")]


@pytest.mark.parametrize("is_after", [False, True])
@pytest.mark.parametrize("verb", ["create_shard", "fill_shard", "delete"])
async def test_daemon_that_dies_in_an_upload_leaves_it_to_the_next(tmp_path, fake, verb, is_after) -> None:
    number = fake.add_collection(SET, new=b"before")
    async with mount(tmp_path, fake) as world:
        fake.stall(verb, is_after=is_after)
        world.nursery.start_soon(_save_if_it_lives, world, f"{HERE}/new")
        await trio.sleep(5)
    fake.heal()
    async with mount(tmp_path, fake) as world:
        if verb != "create_shard":  # else nothing says whose shard of that name is
            assert await world.read(f"{HERE}/new") == b"contents"
        await world.drain()
        assert await world.read(f"{HERE}/new") == b"contents"
        assert fake.shards(number) == {"new": b"contents"}
        assert {row.state for row in fake.rows() if row.kind == "shard"} == {"ready"}
        world.check_nothing_left()


async def _save_if_it_lives(world, path: str) -> None:
    try:
        await world.save(path, b"contents")
    except errors.OrionFsError:
        return


async def test_collection_closed_elsewhere_fails_the_close_of_a_new_file_and_keeps_its_bytes(
    tmp_path, fake
) -> None:
    number = fake.add_collection(SET)
    async with mount(tmp_path, fake) as world:
        await world.ls(HERE)
        fake.row(number).state = "close"
        with pytest.raises(errors.ReadOnly):
            await world.save(f"{HERE}/new", b"contents")
        fake.row(number).state = "open"
        await world.drain()
        assert fake.shards(number) == {"new": b"contents"}


# -- names ---------------------------------------------------------------------------------------


async def test_nothing_in_a_closed_collection_changes(tmp_path, fake) -> None:
    number = fake.add_collection(SET, state="close", a=b"one")
    fake.add_file(f"{HOME}/file", b"x")
    async with mount(tmp_path, fake) as world:
        await world.ls(HERE)
        assert await world.read(f"{HERE}/a") == b"one"
        with fake.counting() as calls:
            for change in (
                lambda: world.open(f"{HERE}/new", os.O_WRONLY | os.O_CREAT),
                lambda: world.open(f"{HERE}/a", os.O_WRONLY | os.O_TRUNC),
                lambda: world.unlink(f"{HERE}/a"),
                lambda: world.rename(f"{HERE}/a", f"{HERE}/b"),
                lambda: world.mkdir(f"{HERE}/sub"),
            ):
                with pytest.raises(errors.ReadOnly):
                    await change()
        assert calls == []
        assert fake.shards(number) == {"a": b"one"}


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("set/a", "set/b", errors.CrossDevice),
        ("set/a", "set/other", errors.CrossDevice),
        ("set/a", "a", errors.CrossDevice),
        ("file", "set/file", errors.CrossDevice),
        ("folder", "set/folder", errors.NotPermitted),
        ("empty", "set/empty", errors.NotPermitted),
    ],
)
async def test_renames_that_orion_can_not_do_change_nothing(tmp_path, fake, old, new, error) -> None:
    number = fake.add_collection(SET, a=b"one", other=b"two")
    fake.add_collection(f"{HOME}/empty")
    fake.add_file(f"{HOME}/file", b"x")
    fake.add_folder(f"{HOME}/folder")
    async with mount(tmp_path, fake) as world:
        await world.ls(HERE)
        with pytest.raises(error):
            await world.rename(f"my-data/{old}", f"my-data/{new}")
        assert fake.shards(number) == {"a": b"one", "other": b"two"}
        assert await world.ls("my-data") == ["empty", "file", "folder", "set"]
        assert await world.ls(HERE) == ["a", "other"]


async def test_shard_under_a_temporary_name_is_made_once_it_has_its_own(tmp_path, fake) -> None:
    number = fake.add_collection(SET, a=b"before")
    async with mount(tmp_path, fake) as world:
        await world.ls(HERE)
        with fake.counting() as calls:
            await world.save(f"{HERE}/.a.Xb12Cd", b"synced")
            assert calls == []
            await world.rename(f"{HERE}/.a.Xb12Cd", f"{HERE}/a")
        assert calls == ["create_shard", "fill_shard", "delete"]
        assert fake.shards(number) == {"a": b"synced"}
        assert [row.name for row in fake.rows() if row.kind == "shard"] == ["a", "a"]
        assert await world.ls(HERE) == ["a"]
        world.check_nothing_left()


async def test_litter_in_a_collection_stays_here(tmp_path, fake) -> None:
    number = fake.add_collection(SET, a=b"before")
    async with mount(tmp_path, fake) as world:
        await world.save(f"{HERE}/.a.swp", b"litter")
        assert await world.ls(HERE) == [".a.swp", "a"]
        await world.unlink(f"{HERE}/.a.swp")
        assert fake.shards(number) == {"a": b"before"}
        assert fake.count("create_shard") == 0


async def test_mkdir_in_a_collection_is_not_permitted(tmp_path, fake) -> None:
    fake.add_collection(SET)
    async with mount(tmp_path, fake) as world:
        with pytest.raises(errors.NotPermitted, match="collection"):
            await world.mkdir(f"{HERE}/sub")


async def test_collection_is_renamed_with_its_shards(tmp_path, fake) -> None:
    fake.add_collection(SET, a=b"one")
    fake.add_folder(f"{HOME}/folder")
    async with mount(tmp_path, fake) as world:
        await world.ls(HERE)
        with fake.counting() as calls:
            await world.rename(HERE, "my-data/folder/moved")
            assert await world.ls("my-data/folder/moved") == ["a"]
        assert calls == ["assign_paths"] or calls[0] == "ls_path"
        assert await world.read("my-data/folder/moved/a") == b"one"


async def test_shard_is_removed_by_its_id_and_then_the_empty_collection(tmp_path, fake) -> None:
    number = fake.add_collection(SET, a=b"one")
    async with mount(tmp_path, fake) as world:
        await world.ls(HERE)
        with pytest.raises(errors.DirectoryNotEmpty):
            await world.rmdir(HERE)
        with fake.counting() as calls:
            await world.unlink(f"{HERE}/a")
        assert calls == ["delete"]
        assert await world.ls(HERE) == []
        await world.rmdir(HERE)
        assert await world.ls("my-data") == []
        assert fake.row(number).is_deleted


async def test_shard_that_another_machine_adds_keeps_the_collection(tmp_path, fake) -> None:
    number = fake.add_collection(SET)
    async with mount(tmp_path, fake) as world:
        assert await world.ls(HERE) == []
        fake.add_shard(number, "late", b"x")
        with pytest.raises(errors.DirectoryNotEmpty):
            await world.rmdir(HERE)
        assert not fake.row(number).is_deleted


async def test_whole_collection_goes_in_one_call(tmp_path, fake) -> None:
    number = fake.add_collection(SET, a=b"one", b=b"two")
    async with mount(tmp_path, fake) as world:
        await world.ls(HERE)
        with fake.counting() as calls:
            assert await removing(world).remove(f"/{HERE}") is Kind.COLLECTION
        assert calls == ["delete"]
        assert fake.row(number).is_deleted
        assert await world.ls("my-data") == []


async def test_what_is_on_its_way_into_a_collection_goes_along_with_it(tmp_path, fake) -> None:
    fake.add_collection(SET, a=b"one")
    fake.fail("create_shard", "OrionServiceError", 500, times=1000)
    async with mount(tmp_path, fake) as world:
        handle = await world.open(f"{HERE}/open", os.O_WRONLY | os.O_CREAT)
        await world.files.write(handle, 0, b"x")
        with pytest.raises(errors.RemoteFailure):
            await world.save(f"{HERE}/new", b"x")
        await removing(world).remove(f"/{HERE}")
        fake.heal()
        await world.close(handle)
        await world.drain()
        assert fake.count("fill_shard") == 0
        world.check_nothing_left()


async def test_file_and_empty_folder_are_removed_by_path_as_well(tmp_path, fake) -> None:
    fake.add_folder(f"{HOME}/folder")
    fake.add_file(f"{HOME}/folder/file", b"x")
    async with mount(tmp_path, fake) as world:
        with pytest.raises(errors.DirectoryNotEmpty):
            await removing(world).remove("/my-data/folder")
        assert await removing(world).remove("/my-data/folder/file") is Kind.FILE
        assert await removing(world).remove("/my-data/folder") is Kind.FOLDER
        with pytest.raises(errors.NoSuchName):
            await removing(world).remove("/my-data/folder")
        with pytest.raises(errors.NotPermitted):
            await removing(world).remove("/my-data")


async def test_kept_back_shard_is_made_behind_its_close(tmp_path, fake) -> None:
    number = fake.add_collection(SET, a=b"one")
    async with mount(tmp_path, fake, write_back=True) as world:
        await world.ls(HERE)
        stall = fake.stall("create_shard")
        with fake.counting() as calls:
            await world.save(f"{HERE}/new", b"contents")
            assert await world.read(f"{HERE}/new") == b"contents"
            assert await world.ls(HERE) == ["a", "new"]
        assert "fill_shard" not in calls
        stall.release()
        await world.drain()
        assert fake.shards(number) == {"a": b"one", "new": b"contents"}
        await world.unlink(f"{HERE}/a")
        await world.drain()
        assert fake.shards(number) == {"new": b"contents"}
        world.check_nothing_left()


async def test_collection_is_emptied_and_removed_with_write_back(tmp_path, fake) -> None:
    fake.add_collection(SET, **{f"s{number:02}": b"x" for number in range(20)})
    async with mount(tmp_path, fake, write_back=True) as world:
        for name in await world.ls(HERE):
            await world.unlink(f"{HERE}/{name}")
        await world.save(f"{HERE}/new", b"contents")
        with pytest.raises(errors.DirectoryNotEmpty):
            await world.rmdir(HERE)
        await world.unlink(f"{HERE}/new")
        with fake.counting() as calls:
            await world.rmdir(HERE)
            assert await world.ls("my-data") == []
            await world.drain()
        assert set(calls) <= {"delete", "shards_page", "create_shard", "fill_shard", "ls_path"}
        await trio.sleep(60)
        assert await world.ls("my-data") == []
        assert [row for row in fake.rows() if row.kind == "collection" and not row.is_deleted] == []
        world.check_nothing_left()


# -- attributes ----------------------------------------------------------------------------------


def _set(name: str) -> bytes:
    return f"user.orion.{name}".encode()


async def test_state_of_a_collection_is_told_and_set(tmp_path, fake) -> None:
    number = fake.add_collection(SET, a=b"one")
    async with mount(tmp_path, fake) as world:
        inode = await world.inode(HERE)
        assert await world.attributes.get(inode, _set("state")) == b"open"
        assert await world.attributes.get(await world.inode(f"{HERE}/a"), _set("state")) == b"ready"
        with fake.counting() as calls:
            await world.attributes.set(inode, _set("state"), b"close")
            assert await world.attributes.get(inode, _set("state")) == b"close"
        assert calls == ["set_state"]
        assert fake.row(number).state == "close"
        with pytest.raises(errors.ReadOnly):
            await world.save(f"{HERE}/new", b"x")
        await world.attributes.set(inode, _set("state"), b"open")
        await world.save(f"{HERE}/new", b"x")
        with pytest.raises(errors.InvalidCall):
            await world.attributes.set(inode, _set("state"), b"ajar")
        with pytest.raises(errors.NotPermitted):
            await world.attributes.set(await world.inode(f"{HERE}/a"), _set("state"), b"open")


async def test_shards_have_no_tags(tmp_path, fake) -> None:
    fake.add_collection(SET, a=b"one")
    async with mount(tmp_path, fake) as world:
        inode = await world.inode(f"{HERE}/a")
        with fake.counting() as calls:
            assert await world.attributes.list(inode) == []
            with pytest.raises(errors.NoSuchAttribute):
                await world.attributes.get(inode, _set("tags"))
            with pytest.raises(errors.NotSupported):
                await world.attributes.set(inode, _set("tags"), b"x")
        assert calls == []
