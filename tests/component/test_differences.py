"""What another machine changed, and what the kernel is told of it: no more, no less."""

from __future__ import annotations

import pytest
import trio

from orionfs.tables.freshness import Freshness
from tests.component.fake_orion import HOME, FakeCalls
from tests.component.kernel import FakeKernel, look_up, read_directory
from tests.component.world import World, mount, settle

pytestmark = pytest.mark.virtual_time

TTL_S = 30.0


@pytest.fixture
def fake() -> FakeCalls:
    """An Orion with a few items in my-data/f."""
    made = FakeCalls()
    for path in ("f", "f/sub", "f/sub/deep", "f/other"):
        made.add_folder(f"{HOME}/{path}")
    for path in ("f/a", "f/b", "f/sub/x", "f/sub/deep/y"):
        made.add_file(f"{HOME}/{path}", path.encode())
    return made


@pytest.fixture
def kernel() -> FakeKernel:
    """What is told of changes elsewhere."""
    return FakeKernel()


async def list_again(world: World, path: str = "my-data/f") -> None:
    """What a refresh does of one folder."""
    await world.namespace.beliefs.list_now(await world.inode(path))


async def test_listing_that_says_the_same_is_no_news(tmp_path, fake, kernel) -> None:
    async with mount(tmp_path, fake, kernel=kernel) as world:
        await read_directory(world, "my-data/f")
        await list_again(world)
        assert (kernel.entries, kernel.attributes) == ([], [])


async def test_foreign_version_is_a_new_inode_and_an_entry_to_forget(tmp_path, fake, kernel) -> None:
    async with mount(tmp_path, fake, kernel=kernel) as world:
        before = await read_directory(world, "my-data/f")
        held = await world.open("my-data/f/a")
        fake.replace(f"{HOME}/f/a", b"new contents")
        await list_again(world)
        assert kernel.names() == ["a"]
        after = await read_directory(world, "my-data/f")
        assert {name for name in before if before[name] != after[name]} == {"a"}
        assert await world.read("my-data/f/a") == b"new contents"
        assert await world.read_all(held) == b"f/a"
        await list_again(world)
        assert kernel.entries == []


async def test_name_that_is_gone_is_an_entry_to_forget(tmp_path, fake, kernel) -> None:
    async with mount(tmp_path, fake, kernel=kernel) as world:
        await read_directory(world, "my-data/f")
        fake.remove(f"{HOME}/f/a")
        await list_again(world)
        assert kernel.names() == ["a"]
        assert await world.inode("my-data/f") is not None
        folder = await world.inode("my-data/f")
        assert kernel.attributes == [folder.number], "its time has moved"


async def test_new_name_is_told_only_where_the_kernel_believes_it_absent(tmp_path, fake, kernel) -> None:
    async with mount(tmp_path, fake, kernel=kernel) as world:
        await read_directory(world, "my-data/f")
        assert await look_up(world, "my-data/f/new") is None
        fake.add_file(f"{HOME}/f/new", b"")
        fake.add_file(f"{HOME}/f/unasked", b"")
        await list_again(world)
        assert kernel.names() == ["new"]
        fake.remove(f"{HOME}/f/new")
        await list_again(world)
        assert kernel.names() == [], "nobody has looked it up since"


async def test_absence_that_the_kernel_has_forgotten_is_not_told(tmp_path, fake, kernel) -> None:
    async with mount(tmp_path, fake, kernel=kernel) as world:
        assert await look_up(world, "my-data/f/new") is None
        await trio.sleep(Freshness().absence_ttl_s + 0.1)
        fake.add_file(f"{HOME}/f/new", b"")
        await list_again(world)
        assert kernel.names() == []


async def test_name_that_the_kernel_never_saw_is_not_told(tmp_path, fake, kernel) -> None:
    async with mount(tmp_path, fake, kernel=kernel) as world:
        await world.ls("my-data/f")
        fake.replace(f"{HOME}/f/a", b"new")
        fake.remove(f"{HOME}/f/b")
        await list_again(world)
        assert kernel.names() == []


async def test_version_whose_size_is_known_now_keeps_its_number(tmp_path, fake, kernel) -> None:
    fake.tells_sizes = False
    fake.fail("get", "BadResponse", 403, times=1000)
    async with mount(tmp_path, fake, kernel=kernel) as world:
        before = await read_directory(world, "my-data/f")
        fake.heal()
        fake.tells_sizes = True
        await list_again(world)
        assert kernel.names() == []
        assert sorted(kernel.attributes) == sorted([before["a"], before["b"]])
        assert await read_directory(world, "my-data/f") == before


async def test_living_folder_is_never_forgotten(tmp_path, fake, kernel) -> None:
    async with mount(tmp_path, fake, kernel=kernel) as world:
        await read_directory(world, "my-data/f")
        await read_directory(world, "my-data/f/sub")
        fake.add_file(f"{HOME}/f/sub/new", b"")
        fake.remove(f"{HOME}/f/sub/x")
        await list_again(world)
        await list_again(world, "my-data/f/sub")
        assert kernel.names() == ["x"]


async def test_removed_folder_is_forgotten_with_all_that_was_believed_of_it(tmp_path, fake, kernel) -> None:
    async with mount(tmp_path, fake, kernel=kernel) as world:
        for path in ("my-data/f", "my-data/f/sub", "my-data/f/sub/deep"):
            await read_directory(world, path)
        for path in ("f/sub/deep/y", "f/sub/deep", "f/sub/x", "f/sub"):
            fake.remove(f"{HOME}/{path}")
        await list_again(world)
        assert kernel.names() == ["sub"]
        fake.add_folder(f"{HOME}/f/sub")
        fake.add_folder(f"{HOME}/f/sub/deep")
        await list_again(world)
        assert await world.ls("my-data/f/sub") == ["deep"]
        assert await world.ls("my-data/f/sub/deep") == []


async def test_own_changes_are_no_differences(tmp_path, fake, kernel) -> None:
    async with mount(tmp_path, fake, kernel=kernel) as world:
        await read_directory(world, "my-data/f")
        await world.save("my-data/f/a", b"mine")
        await world.save("my-data/f/new", b"mine")
        await world.mkdir("my-data/f/made")
        await world.rename("my-data/f/b", "my-data/f/c")
        await world.rmdir("my-data/f/other")
        for name in ("a", "new", "made", "c"):
            await look_up(world, f"my-data/f/{name}")
        kernel.attributes.clear()
        await list_again(world)
        assert kernel.names() == []
        await trio.sleep(TTL_S)
        await list_again(world)
        assert kernel.names() == []


async def test_own_changes_that_a_replica_has_not_heard_of_are_no_differences(tmp_path, fake, kernel) -> None:
    fake.read_lag_s = 5.0
    async with mount(tmp_path, fake, kernel=kernel) as world:
        await trio.sleep(6)
        await read_directory(world, "my-data/f")
        await world.save("my-data/f/a", b"mine")
        await world.save("my-data/f/new", b"mine")
        await world.rename("my-data/f/b", "my-data/f/c")
        for name in ("a", "new", "c"):
            assert await look_up(world, f"my-data/f/{name}")
        for _ in range(4):
            await list_again(world)
            await trio.sleep(2.0)
        assert kernel.names() == []


@pytest.mark.parametrize("is_after", [False, True])
@pytest.mark.parametrize("verb", ["rename", "unlink", "mkdir", "rmdir"])
async def test_listing_that_crosses_an_own_change_detaches_nothing(
    tmp_path, fake, kernel, verb, is_after
) -> None:
    """The server has done it, we have not heard of it yet, and a listing shows it."""
    calls = {"rename": "assign_paths", "unlink": "delete", "mkdir": "create_paths", "rmdir": "remove_paths"}
    async with mount(tmp_path, fake, kernel=kernel) as world:
        before = await read_directory(world, "my-data/f")
        stall = fake.stall(calls[verb], is_after=is_after)
        async with trio.open_nursery() as nursery:
            if verb == "rename":
                nursery.start_soon(world.rename, "my-data/f/a", "my-data/f/c")
            elif verb == "unlink":
                nursery.start_soon(world.unlink, "my-data/f/a")
            else:
                change = world.mkdir if verb == "mkdir" else world.rmdir
                nursery.start_soon(change, "my-data/f/made" if verb == "mkdir" else "my-data/f/other")
            await stall.arrived.wait()
            await list_again(world)
            stall.release()
        await settle()
        await list_again(world)
        assert kernel.names() == []
        expected = {
            "rename": {"b", "c", "other", "sub"},
            "unlink": {"b", "other", "sub"},
            "mkdir": {"a", "b", "made", "other", "sub"},
            "rmdir": {"a", "b", "sub"},
        }
        after = await read_directory(world, "my-data/f")
        assert after.keys() == expected[verb]
        if verb == "rename":
            assert after["c"] == before["a"]


async def test_listing_asked_before_a_single_answer_does_not_outdo_it(tmp_path, fake, kernel) -> None:
    async with mount(tmp_path, fake, kernel=kernel) as world:
        await world.inode("my-data/f")
        stall = fake.stall("ls_path", is_after=True, when=lambda path, _: path == f"{HOME}/f")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(list_again, world)
            await stall.arrived.wait()
            await trio.sleep(1.0)
            fake.add_file(f"{HOME}/f/new", b"new")
            world.namespace.beliefs.learn(
                await world.inode("my-data/f"), "new", await world.remote.stat(f"{HOME}/f/new")
            )
            assert await look_up(world, "my-data/f/new")
            stall.release()
        assert kernel.names() == []
        assert await look_up(world, "my-data/f/new")


async def test_names_beyond_the_bound_of_absences_are_asked_for_again(tmp_path, fake, kernel) -> None:
    async with mount(tmp_path, fake, kernel=kernel) as world:
        await world.ls("my-data/f")
        folder = await world.inode("my-data/f")
        world.namespace._absences._names_max = 3
        for number in range(5):
            assert await look_up(world, f"my-data/f/{number}") is None
        assert kernel.entries == [(folder.number, "0"), (folder.number, "1")]
