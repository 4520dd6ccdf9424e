"""Renames whose answer was lost: what is shown and what is on Orion, once it answers again."""

from __future__ import annotations

from functools import partial

import pytest
import trio

from orionfs import errors
from orionfs.durable.journal import Removal, Rename
from orionfs.models import Key, Kind
from orionfs.orion.remote import Health, Limits
from tests.component.fake_orion import HOME, FakeCalls
from tests.component.world import World, mount, outcomes

pytestmark = [pytest.mark.virtual_time, pytest.mark.expect_log("offline|is not on Orion yet")]

AT_ONCE = Limits(change_deadline_s=0.05)
happened = pytest.mark.parametrize("has_happened", [True, False], ids=["done", "undone"])


@pytest.fixture
def fake() -> FakeCalls:
    """Two folders, each with a file."""
    made = FakeCalls()
    for name in ("f", "g"):
        made.add_folder(f"{HOME}/{name}")
        made.add_file(f"{HOME}/{name}/{name}", name.encode())
    return made


async def rename_unclearly(world: World, old: str, new: str, *, has_happened: bool) -> None:
    """A rename that ends with ETIMEDOUT; nothing is reachable from then on until the fake is healed."""
    fake = world.fake
    fake.fail("assign_paths", "OrionConnectionError", has_effect=has_happened)
    fake.fail("assign_paths", "OrionConnectionError", nth=2, times=10**6)
    for verb in ("stat_path", "ls_path", "find", "delete", "upload", "whoami", "list_tags"):
        fake.fail(verb, "OrionConnectionError", times=10**6)
    (error,) = await outcomes(partial(world.rename, old, new))
    assert isinstance(error, errors.TimedOut)


async def back(world: World) -> None:
    """Orion answers again."""
    world.fake.heal()
    while world.remote.health is Health.OFFLINE:
        await trio.sleep(0.5)


async def check(world: World, *folders: str) -> None:
    """Users see what Orion has, and read it."""
    tree = world.fake.tree()
    for folder in folders:
        assert [f"{folder}/{name}" for name in await world.ls(f"my-data/{folder}")] == sorted(
            path for path in tree if path.startswith(f"{folder}/")
        )
    for path, content in tree.items():
        if content is not None:
            assert await world.read(f"my-data/{path}") == content


@happened
async def test_rename_to_another_folder_whose_answer_is_lost_is_asked_for_in_both(
    tmp_path, fake, has_happened
) -> None:
    async with mount(tmp_path, fake, limits=AT_ONCE) as world:
        await world.ls("my-data/f")
        await world.ls("my-data/g")
        await rename_unclearly(world, "my-data/f/f", "my-data/g/new", has_happened=has_happened)
        assert await world.ls("my-data/f") == ["f"]  # offline, the last that was known
        await back(world)
        await check(world, "f", "g")
        assert ("g/new" in fake.tree()) == has_happened


@happened
async def test_own_new_names_are_doubted_as_well(tmp_path, fake, has_happened) -> None:
    async with mount(tmp_path, fake, limits=AT_ONCE) as world:
        await world.save("my-data/f/new", b"new")
        await world.save("my-data/g/old", b"old")
        await world.unlink("my-data/g/old")
        await rename_unclearly(world, "my-data/f/new", "my-data/g/old", has_happened=has_happened)
        assert await world.stat("my-data/f/new") is not None
        await back(world)
        await check(world, "f", "g")


@happened
@pytest.mark.parametrize("write_back", [False, True], ids=["through", "back"])
async def test_save_under_the_old_name_hides_nothing_that_the_rename_has_moved(
    tmp_path, fake, has_happened, write_back
) -> None:
    async with mount(tmp_path, fake, limits=AT_ONCE, write_back=write_back) as world:
        await world.save("my-data/f/new", b"new")
        await world.drain()
        await world.ls("my-data/f")
        await rename_unclearly(world, "my-data/f/new", "my-data/f/moved", has_happened=has_happened)
        await back(world)
        await world.drain()
        await world.save("my-data/f/new", b"newer")
        assert await world.ls("my-data/f") == ["f", *(["moved"] if has_happened else []), "new"]
        await world.rename("my-data/f/new", "my-data/f/moved")
        await world.drain()
        await check(world, "f")
        assert len(fake.ids_at(f"{HOME}/f/moved")) == 1
        assert fake.contents(f"{HOME}/f/moved") == b"newer"
        world.check_nothing_left()


@happened
async def test_replaced_item_goes_if_the_rename_happened(tmp_path, fake, has_happened) -> None:
    async with mount(tmp_path, fake, limits=AT_ONCE) as world:
        await world.save("my-data/f/new", b"new")
        await world.save("my-data/g/g", b"newer")
        await check(world, "f", "g")
        await rename_unclearly(world, "my-data/f/new", "my-data/g/g", has_happened=has_happened)
        assert await world.ls("my-data/g") == ["g"]
        await back(world)
        await world.drain()
        await check(world, "f", "g")
        assert len(fake.ids_at(f"{HOME}/g/g")) == 1
        assert fake.contents(f"{HOME}/g/g") == (b"new" if has_happened else b"newer")
        world.check_nothing_left()


@happened
@pytest.mark.parametrize(
    ("refusal", "status", "error"),
    [("ValidationError", 422, errors.NotPermitted), ("AuthorizationRequired", 403, errors.AccessDenied)],
)
async def test_rename_that_is_refused_after_its_first_answer_was_lost_is_asked_for(
    tmp_path, fake, has_happened, refusal, status, error
) -> None:
    async with mount(tmp_path, fake) as world:
        await check(world, "f", "g")
        fake.fail("assign_paths", "OrionConnectionError", has_effect=has_happened)
        fake.fail("assign_paths", refusal, status, nth=2, times=10**6)
        with pytest.raises(error):
            await world.rename("my-data/f/f", "my-data/g/g")
        fake.heal()
        await world.drain()
        expected = {"g/g": b"f"} if has_happened else {"f/f": b"f", "g/g": b"g"}
        assert fake.tree() == {"f": None, "g": None, **expected}
        await check(world, "f", "g")
        world.check_nothing_left()


async def test_unclear_rename_into_a_folder_that_is_gone_since_is_over(tmp_path, fake) -> None:
    async with mount(tmp_path, fake, limits=AT_ONCE) as world:
        await check(world, "f", "g")
        await rename_unclearly(world, "my-data/f/f", "my-data/g/g", has_happened=False)
        fake.remove(f"{HOME}/g/g")
        fake.remove(f"{HOME}/g")
        await back(world)
        await world.drain()
        assert fake.tree() == {"f": None, "f/f": b"f"}
        world.check_nothing_left()


@happened
@pytest.mark.parametrize("saved", ["f/new", "g/g"], ids=["source", "target"])
async def test_save_before_the_end_of_a_rename_is_known_leaves_one_of_each_name(
    tmp_path, fake, has_happened, saved
) -> None:
    async with mount(tmp_path, fake, limits=AT_ONCE) as world:
        await world.save("my-data/f/new", b"new")
        await world.save("my-data/g/g", b"newer")
        await check(world, "f", "g")
        await rename_unclearly(world, "my-data/f/new", "my-data/g/g", has_happened=has_happened)
        (error,) = await outcomes(partial(world.save, f"my-data/{saved}", b"latest"))
        assert isinstance(error, errors.TimedOut)
        await back(world)
        await world.drain()
        assert fake.contents(f"{HOME}/{saved}") == b"latest"
        other = "g/g" if saved == "f/new" else "f/new"
        expected = {"f/new": None if has_happened else b"new", "g/g": b"new" if has_happened else b"newer"}
        assert fake.tree().get(other) == expected[other]
        for path in ("f/new", "g/g"):
            assert len(fake.ids_at(f"{HOME}/{path}")) == (path in fake.tree())
        await check(world, "f", "g")
        world.check_nothing_left()


@happened
async def test_version_that_waited_when_it_was_renamed_over_goes_if_the_rename_happened(
    tmp_path, fake, has_happened
) -> None:
    async with mount(tmp_path, fake, limits=AT_ONCE) as world:
        await world.save("my-data/f/new", b"new")
        fake.fail("upload", "OrionConnectionError", times=10**6)
        (error,) = await outcomes(partial(world.save, "my-data/g/g", b"kept"))
        assert isinstance(error, errors.TimedOut)
        await rename_unclearly(world, "my-data/f/new", "my-data/g/g", has_happened=has_happened)
        await back(world)
        await world.drain()
        expected = {"g/g": b"new"} if has_happened else {"f/new": b"new", "g/g": b"kept"}
        assert fake.tree() == {"f": None, "f/f": b"f", "g": None, **expected}
        await check(world, "f", "g")
        world.check_nothing_left()


@happened
@pytest.mark.parametrize("is_killed", [False, True], ids=["lives", "killed"])
async def test_file_made_where_an_unclear_rename_may_have_brought_one_is_alone_there(
    tmp_path, fake, has_happened, is_killed
) -> None:
    async with mount(tmp_path, fake, limits=AT_ONCE, write_back=True) as world:
        await check(world, "f", "g")
        await rename_unclearly(world, "my-data/f/f", "my-data/g/new", has_happened=has_happened)
        await world.save("my-data/g/new", b"made")
        expected = {"f": None, "g": None, "g/g": b"g", "g/new": b"made"}
        expected |= {} if has_happened else {"f/f": b"f"}
        if not is_killed:
            await back(world)
            await world.drain()
            assert fake.tree() == expected
            await check(world, "f", "g")
            world.check_nothing_left()
    fake.heal()
    async with mount(tmp_path, fake, write_back=True) as world:
        await world.drain()
        assert fake.tree() == expected
        await check(world, "f", "g")
        world.check_nothing_left()


@happened
@pytest.mark.parametrize("goal", ["g/g", "g/free"])
async def test_newer_version_that_waits_goes_along_if_the_rename_of_its_item_happened(
    tmp_path, fake, has_happened, goal
) -> None:
    async with mount(tmp_path, fake, limits=AT_ONCE) as world:
        await world.save("my-data/f/new", b"new")
        fake.fail("upload", "OrionServiceError", 500, times=10**6)
        (error,) = await outcomes(partial(world.save, "my-data/f/new", b"newer"))
        assert isinstance(error, errors.RemoteFailure)
        fake.fail("assign_paths", "BadResponse", has_effect=has_happened)
        fake.fail("assign_paths", "BadResponse", nth=2, times=10**6)
        (error,) = await outcomes(partial(world.rename, "my-data/f/new", f"my-data/{goal}"))
        assert isinstance(error, errors.RemoteFailure | errors.TimedOut)
        fake.heal()
        await world.drain()
        expected = {"f": None, "f/f": b"f", "g": None, "g/g": b"g"}
        expected |= {goal if has_happened else "f/new": b"newer"}
        assert fake.tree() == expected
        await check(world, "f", "g")
        world.check_nothing_left()


@happened
async def test_rename_that_nobody_waits_for_any_longer_is_found_out(tmp_path, fake, has_happened) -> None:
    async with mount(tmp_path, fake) as world:
        fake.stall("assign_paths", is_after=has_happened)
        if not has_happened:
            fake.fail("assign_paths", times=10**6)
        with trio.move_on_after(30):
            await world.rename("my-data/f/f", "my-data/g/g")
        fake.heal()
        fake.release_all()
        await world.drain()
        expected = {"f": None, "g": None, "g/g": b"f" if has_happened else b"g"}
        assert fake.tree() == expected | ({} if has_happened else {"f/f": b"f"})
        await check(world, "f", "g")
        world.check_nothing_left()


@pytest.mark.parametrize("is_sure_first", [False, True])
async def test_item_that_is_to_go_for_two_reasons_goes_if_one_holds(tmp_path, fake, is_sure_first) -> None:
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data/g")
        (old,), (elsewhere,) = fake.ids_at(f"{HOME}/g/g"), fake.ids_at(f"{HOME}/f/f")
        sure = Removal(Key(Kind.FILE, old), f"{HOME}/g/g")
        unclear = Rename(Key(Kind.FILE, elsewhere), f"{HOME}/f/f", sure.path, sure.key)
        await world.sync.renames.promise(unclear)
        if not is_sure_first:
            world.sync.renames.resume(unclear)
        await world.sync.removals.promise(sure)
        world.sync.removals.resume(sure)
        if is_sure_first:
            world.sync.renames.resume(unclear)
        await world.drain()
        assert fake.tree() == {"f": None, "f/f": b"f", "g": None}
        world.check_nothing_left()


@happened
async def test_removal_whose_answer_is_lost_is_asked_for(tmp_path, fake, has_happened) -> None:
    async with mount(tmp_path, fake, limits=AT_ONCE) as world:
        await world.save("my-data/f/new", b"new")
        fake.fail("delete", "OrionConnectionError", has_effect=has_happened)
        (error,) = await outcomes(partial(world.unlink, "my-data/f/new"))
        assert isinstance(error, errors.TimedOut)
        await back(world)
        await check(world, "f")
