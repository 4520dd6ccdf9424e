"""What is tagged here is seen here at once, whatever answer of Orion crosses it or lags behind it."""

from __future__ import annotations

import pytest
import trio

from orionfs.tables.freshness import Freshness
from tests.component.fake_orion import HOME, FakeCalls
from tests.component.world import World, mount, settle

pytestmark = pytest.mark.virtual_time

SHORT = Freshness(metadata_ttl_s=1, absence_ttl_s=1)
LAG_S = 8.0


@pytest.fixture
def fake() -> FakeCalls:
    """An Orion with a file that has one tag."""
    made = FakeCalls()
    made.add_file(f"{HOME}/file", b"content", tags=("old",))
    return made


async def tags(world: World, path: str = "my-data/file") -> list[str]:
    """The tags that a user sees."""
    value = await world.attributes.get(await world.inode(path), b"user.orion.tags")
    return value.decode().split("\n") if value else []


async def tag(world: World, name: str, path: str = "my-data/file") -> None:
    await world.attributes.set(await world.inode(path), f"user.orion.tag.{name}".encode(), b"")


async def untag(world: World, name: str, path: str = "my-data/file") -> None:
    await world.attributes.remove(await world.inode(path), f"user.orion.tag.{name}".encode())


async def swap(world: World) -> None:
    """Take the tag away that the file has, give it another one."""
    await tag(world, "new")
    await untag(world, "old")
    assert await tags(world) == ["new"]


@pytest.mark.parametrize("tells_tags", [True, False])
async def test_tag_of_what_was_just_put_in_place_is_seen_where_a_replica_shows_nothing_of_it(
    tmp_path, tells_tags
) -> None:
    """While a folder moves item by item a listing is completed by what this mount has put somewhere."""
    fake = FakeCalls()
    fake.folders_assignable, fake.tells_tags = False, tells_tags
    for path in ("in", "in/deep"):
        fake.add_folder(f"{HOME}/{path}")
    fake.add_file(f"{HOME}/in/deep/other")
    async with mount(tmp_path, fake, freshness=SHORT) as world:
        fake.read_lag_s = LAG_S
        await trio.sleep(LAG_S)
        await world.save("my-data/in/.file", b"content")
        await world.rename("my-data/in/.file", "my-data/in/file")
        await world.rename("my-data/in/deep", "my-data/moved")
        path = "my-data/in/file"
        for _ in range(int(LAG_S)):
            await tag(world, "one", path)
            await trio.sleep(1.5)
            assert await tags(world, path) == ["one"]
            await untag(world, "one", path)
            await trio.sleep(1.5)
            assert await tags(world, path) == []
        await world.drain()


async def asking(world: World, verb: str) -> None:
    """What makes a mount ask that of Orion."""
    if verb == "stat_path":
        await world.inode("my-data/file")
    elif verb == "list_tags":
        await tags(world)
    else:
        await world.ls("my-data")


@pytest.mark.parametrize("verb", ["ls_path", "stat_path", "list_tags", "get"])
@pytest.mark.parametrize("is_after", [True, False], ids=["answered", "asked"])
async def test_tags_changed_while_an_answer_is_on_its_way_are_those_that_are_seen(
    tmp_path, fake, verb, is_after
) -> None:
    """Be it a listing, one of a single name, what tells the tags alone, or the size that a row lacks."""
    fake.tells_tags = fake.stats_tell_details = verb != "list_tags"
    fake.tells_sizes = verb != "get"
    async with mount(tmp_path, fake, freshness=Freshness(read_lag_s=0.0)) as world:
        inode = await world.inode("my-data/file")
        await trio.sleep(31)
        if verb == "get":
            fake.add_file(f"{HOME}/theirs", b"of no size that anybody knows")
        stall = fake.stall(verb, is_after=is_after)
        world.nursery.start_soon(asking, world, verb)
        with trio.fail_after(60):
            await stall.arrived.wait()
        await world.attributes.set(inode, b"user.orion.tag.new", b"")
        if verb != "list_tags":  # or it would have to be asked what there is to take away
            await world.attributes.remove(inode, b"user.orion.tag.old")
        stall.release()
        await settle()
        expected = ["new", "old"] if verb == "list_tags" else ["new"]
        assert await tags(world) == expected
        assert await world.attributes.get(inode, b"user.orion.tags") == "\n".join(expected).encode()


async def test_tags_changed_while_a_directory_is_read_are_those_that_are_seen(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        folder = await world.inode("my-data")
        await trio.sleep(20)
        snapshot = await world.namespace.snapshot(folder)
        await swap(world)
        for name, item in snapshot.entries:
            inode = world.namespace.entry(folder, name, item, snapshot)
            assert inode is not None
            assert await world.attributes.get(inode, b"user.orion.tags") == b"new"
        assert await tags(world) == ["new"]


@pytest.mark.parametrize("write_back", [False, True])
@pytest.mark.parametrize("verb", ["upload", "assign_paths", "delete"])
async def test_tags_changed_at_any_step_of_a_save_are_seen_and_those_of_the_new_version(
    tmp_path, fake, verb, write_back
) -> None:
    """Also by whoever has had the file open since before, and whatever another program asks meanwhile."""
    async with mount(tmp_path, fake, freshness=SHORT, write_back=write_back) as world:
        reader = await world.open("my-data/file")
        inode = await world.inode("my-data/file")
        for is_after in (False, True):
            before = await tags(world)
            stall = fake.stall(verb, is_after=is_after)
            world.nursery.start_soon(world.save, "my-data/file", f"content {is_after}".encode())
            await stall.arrived.wait()
            await tag(world, f"new {is_after}")
            if "old" in before:
                await untag(world, "old")
            expected = sorted({*before, f"new {is_after}"} - {"old"})
            assert await tags(world) == expected
            await trio.sleep(2)
            await world.ls("my-data")
            assert await tags(world) == expected
            stall.release()
            await world.drain()
            assert await tags(world) == expected
            assert await world.attributes.get(inode, b"user.orion.tags") == "\n".join(expected).encode()
            (id,) = fake.ids_at(f"{HOME}/file")
            assert sorted(fake.row(id).tags) == expected
        await world.close(reader)
        world.check_nothing_left()


@pytest.mark.parametrize("verb", ["assign_paths", "delete"])
async def test_tags_that_others_changed_before_a_save_stay_whoever_looks_the_file_up_meanwhile(
    tmp_path, fake, verb
) -> None:
    (id,) = fake.ids_at(f"{HOME}/file")
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data")
        await tag(world, "ours")
        fake.tag("file", id, ["theirs"])
        fake.untag("file", id, ["old"])
        await trio.sleep(15)  # within the time to live, and long enough for the save to look at the name
        stall = fake.stall(verb)
        world.nursery.start_soon(world.save, "my-data/file", b"another content")
        await stall.arrived.wait()
        assert await tags(world) == ["ours", "theirs"]
        stall.release()
        await world.drain()
        (new,) = fake.ids_at(f"{HOME}/file")
        assert fake.row(new).tags == {"ours", "theirs"}
        assert await tags(world) == ["ours", "theirs"]


async def test_tags_that_no_listing_tells_are_known_once_what_is_saved_has_replaced_their_item(
    tmp_path, fake
) -> None:
    fake.tells_tags = fake.stats_tell_details = False
    async with mount(tmp_path, fake) as world:
        stall = fake.stall("delete", is_after=True)
        world.nursery.start_soon(world.save, "my-data/file", b"another content")
        await stall.arrived.wait()
        assert await tags(world) == ["old"]
        await tag(world, "new")
        stall.release()
        await world.drain()
        (new,) = fake.ids_at(f"{HOME}/file")
        assert fake.row(new).tags == {"old", "new"}
        assert await tags(world) == ["new", "old"]


MOVED_TAGS = {"new": ["one", "two"], "new/deep": ["one", "three"]}


@pytest.fixture
def moving() -> FakeCalls:
    """An Orion that can't move folders, with two tagged ones."""
    made = FakeCalls()
    made.folders_assignable = False
    for path, found in MOVED_TAGS.items():
        made.tag("folder", made.add_folder(f"{HOME}/{path.replace('new', 'old')}"), found)
    made.add_file(f"{HOME}/old/deep/file")
    return made


def tags_on_orion(fake: FakeCalls, path: str) -> list[str]:
    id = fake.folder_id(f"{HOME}/{path}")
    assert id is not None
    return sorted(fake.row(id).tags)


@pytest.mark.parametrize("lag_s", [0.0, LAG_S])
@pytest.mark.parametrize("tells_tags", [True, False])
async def test_folders_that_are_made_again_elsewhere_have_their_tags(
    tmp_path, moving, tells_tags, lag_s
) -> None:
    moving.tells_tags = moving.stats_tell_details = tells_tags
    async with mount(tmp_path, moving, freshness=SHORT) as world:
        moving.read_lag_s = lag_s
        await trio.sleep(lag_s)
        await world.rename("my-data/old", "my-data/new")
        for path, expected in MOVED_TAGS.items():
            assert await tags(world, f"my-data/{path}") == expected
        await world.drain()
        await trio.sleep(60)
        for path, expected in MOVED_TAGS.items():
            assert await tags(world, f"my-data/{path}") == expected
            assert tags_on_orion(moving, path) == expected


@pytest.mark.parametrize("path", MOVED_TAGS)
async def test_folder_that_is_on_its_way_shows_its_tags_and_changing_them_waits_for_it(
    tmp_path, moving, path
) -> None:
    async with mount(tmp_path, moving, freshness=SHORT) as world:
        stall = moving.stall("tag", when=lambda _kind, _id, tags: tags == MOVED_TAGS[path])
        await world.rename("my-data/old", "my-data/new")
        await stall.arrived.wait()
        await trio.sleep(2)
        assert tags_on_orion(moving, path) == []
        assert await tags(world, f"my-data/{path}") == MOVED_TAGS[path]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.attributes.get, await world.inode(f"my-data/{path}"), b"user.orion.id")
            nursery.start_soon(untag, world, "one", f"my-data/{path}")
            nursery.start_soon(tag, world, "more", f"my-data/{path}")
            await trio.sleep(2)
            stall.release()
        expected = ["more", MOVED_TAGS[path][1]]
        assert await tags(world, f"my-data/{path}") == expected
        await world.drain()
        await trio.sleep(60)
        assert await tags(world, f"my-data/{path}") == expected
        assert tags_on_orion(moving, path) == expected
