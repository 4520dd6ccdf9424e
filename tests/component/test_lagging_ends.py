"""Changes whose end is not known, on an Orion whose replicas lag: that they show nothing says nothing yet."""

from __future__ import annotations

from contextlib import suppress
from functools import partial

import pytest
import trio

from orionfs import errors
from orionfs.orion.remote import Limits
from orionfs.outgoing.early import Pressure
from tests.component.fake_orion import HOME, FakeCalls, Stall
from tests.component.killing import cut_off, orphans
from tests.component.world import World, check_end, mount, outcomes

pytestmark = [
    pytest.mark.virtual_time,
    pytest.mark.timeout(60),
    pytest.mark.expect_log("^(?!.*unexpected|.*changed elsewhere)"),
]
LAG_S = 8.0
AT_ONCE = Limits(change_deadline_s=0.05)
happened = pytest.mark.parametrize("has_happened", [True, False], ids=["done", "undone"])


@pytest.fixture
def fake() -> FakeCalls:
    """An Orion with two files, of which all replicas know."""
    made = FakeCalls(lambda: -2 * LAG_S)
    made.add_file(f"{HOME}/a", b"old a")
    made.add_file(f"{HOME}/c", b"old c")
    made.read_lag_s, made.finds_lag = LAG_S, True
    return made


async def unclearly(world: World, call, verb: str, *, has_happened: bool) -> None:
    """A call whose first request gets no answer, and no later one has an effect; Orion is well again then."""
    """A call in which one request gets no answer, and no other one has an effect; Orion is well then."""
    world.fake.fail(verb, "OrionConnectionError", has_effect=has_happened)
    world.fake.fail(verb, "OrionConnectionError", nth=2, times=10**6)
    (error,) = await outcomes(call)
    assert isinstance(error, errors.TimedOut)
    world.fake.heal()


async def cut_after(world: World, verb: str, call) -> None:
    """The daemon is killed when Orion has done the first `verb` of a call."""
    stall = world.fake.stall(verb, is_after=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(call)
        await stall.arrived.wait()
        cut_off(world)
        nursery.cancel_scope.cancel()


@happened
async def test_unclear_rename_is_done_with_all_that_follows_or_not_at_all(
    tmp_path, fake, has_happened
) -> None:
    async with mount(tmp_path, fake, limits=AT_ONCE) as world:
        move = partial(world.rename, "my-data/c", "my-data/a")
        await unclearly(world, move, "assign_paths", has_happened=has_happened)
        await check_end(world, **({"a": b"old c"} if has_happened else {"a": b"old a", "c": b"old c"}))


@happened
async def test_item_that_a_replica_still_shows_where_it_was_is_not_believed_to_be_back(
    tmp_path, fake, has_happened
) -> None:
    async with mount(tmp_path, fake, limits=AT_ONCE) as world:
        await world.rename("my-data/c", "my-data/b")
        await world.save("my-data/c", b"new c")
        back = partial(world.rename, "my-data/b", "my-data/c")
        await unclearly(world, back, "assign_paths", has_happened=has_happened)
        expected = {"c": b"old c"} if has_happened else {"b": b"old c", "c": b"new c"}
        await check_end(world, a=b"old a", **expected)


@happened
@pytest.mark.parametrize("name", ["a", "new"])
async def test_version_whose_upload_got_no_answer_is_there_once_and_close_waits_for_no_replica(
    tmp_path, fake, has_happened, name
) -> None:
    async with mount(tmp_path, fake) as world:
        fake.fail("upload", "OrionConnectionError", has_effect=has_happened)
        began_s = trio.current_time()
        await world.save(f"my-data/{name}", b"latest")
        assert trio.current_time() - began_s < LAG_S
        await check_end(world, **{"a": b"old a", "c": b"old c", name: b"latest"})


@pytest.mark.parametrize("is_killed_after", ["upload", "assign_paths", "delete"])
async def test_version_that_a_kill_left_unseen_is_there_once(tmp_path, fake, is_killed_after) -> None:
    async with mount(tmp_path, fake) as world:
        await world.save("my-data/a", b"newer")  # what this has replaced may be shown for a while
        await cut_after(world, is_killed_after, partial(world.save, "my-data/a", b"latest"))
    fake.heal()
    async with mount(tmp_path, fake) as world:
        await world.drain()
        await trio.sleep(LAG_S)
        await check_end(world, a=b"latest", c=b"old c")


async def test_rename_that_a_kill_left_unseen_is_done_with_all_that_follows(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        fake.fail("upload", "OrionServiceError", 500, times=10**6)
        with suppress(errors.OrionFsError):
            await world.save("my-data/c", b"newer c")
        await cut_after(world, "assign_paths", partial(world.rename, "my-data/c", "my-data/a"))
    fake.heal()
    async with mount(tmp_path, fake) as world:
        await world.drain()
        await trio.sleep(LAG_S)
        await check_end(world, a=b"newer c")


async def test_item_that_a_replica_shows_where_it_was_before_a_kill_is_not_believed_to_be_back(
    tmp_path, fake
) -> None:
    async with mount(tmp_path, fake, write_back=True) as world:
        await world.rename("my-data/c", "my-data/b")
        fake.stall("upload")
        await world.save("my-data/c", b"new c")
        fake.fail("assign_paths", "OrionConnectionError", times=10**6)
        stall = fake.stall("assign_paths")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.rename, "my-data/b", "my-data/c")
            await stall.arrived.wait()
            cut_off(world)
            nursery.cancel_scope.cancel()
    fake.heal()
    async with mount(tmp_path, fake, write_back=True) as world:
        await world.drain()
        await trio.sleep(LAG_S)
        await check_end(world, a=b"old a", b=b"old c", c=b"new c")


@pytest.mark.parametrize("change", ["renamed", "removed", "saved"])
async def test_what_a_listing_right_after_a_kill_does_not_show_is_seen_once_replicas_know_it(
    tmp_path, fake, change
) -> None:
    async with mount(tmp_path, fake, write_back=True) as world:
        await world.save("my-data/c", b"newer c")
        await world.drain()
        fake.stall("upload")
        await world.save("my-data/x", b"x")
        cut_off(world)
    fake.heal()
    async with mount(tmp_path, fake, write_back=True) as world:
        assert await world.ls("my-data") == ["a", "c", "x"]
        await trio.sleep(LAG_S + 3)
        if change == "renamed":
            await world.rename("my-data/c", "my-data/d")
        elif change == "removed":
            await world.unlink("my-data/c")
        else:
            await world.save("my-data/c", b"latest c")
        left = {"renamed": {"d": b"newer c"}, "removed": {}, "saved": {"c": b"latest c"}}
        await check_end(world, a=b"old a", x=b"x", **left[change])


async def test_save_of_a_file_that_was_just_renamed_and_back_replaces_it(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data")
        await trio.sleep(2)
        await world.rename("my-data/a", "my-data/b")
        await trio.sleep(3)
        await world.rename("my-data/b", "my-data/a")
        await trio.sleep(6)  # a replica shows what was between the two
        await world.save("my-data/a", b"latest")
        await check_end(world, a=b"latest", c=b"old c")


async def test_rename_found_out_while_the_next_mount_takes_over_ends_what_waited_at_its_goal(
    tmp_path, fake
) -> None:
    fake.add_folder(f"{HOME}/f")
    async with mount(tmp_path, fake, write_back=True) as world:
        fake.stall("upload")
        await world.save("my-data/f/x", b"x")
        await world.save("my-data/b", b"waits")
        await cut_after(world, "assign_paths", partial(world.rename, "my-data/c", "my-data/b"))
    fake.heal()
    slow = fake.stall("stat_path", when=lambda path: path == f"{HOME}/f")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(release_later, slow)
        async with mount(tmp_path, fake, write_back=True) as world:
            await world.drain()
            assert fake.tree() == {"a": b"old a", "b": b"old c", "f": None, "f/x": b"x"}
            assert await world.read("my-data/b") == b"old c"
            world.check_nothing_left()


async def release_later(stall: Stall) -> None:
    """Once every replica knows all that was done before."""
    await stall.arrived.wait()
    await trio.sleep(2 * LAG_S)
    stall.release()


@pytest.mark.parametrize("is_kept", [True, False], ids=["kept", "removed"])
async def test_version_sent_again_and_again_without_an_answer_leaves_one_item_or_none(
    tmp_path, fake, is_kept
) -> None:
    async with mount(tmp_path, fake, write_back=True) as world:
        fake.fail("upload", "OrionServiceError", 504, has_effect=True, times=3)
        await world.save("my-data/b", b"latest")
        while len(orphans(fake)) < 3:
            await trio.sleep(0.1)
        if not is_kept:
            await world.unlink("my-data/b")
        await world.drain()
        await trio.sleep(4 * LAG_S)
        await check_end(world, a=b"old a", c=b"old c", **({"b": b"latest"} if is_kept else {}))


@happened
async def test_upload_that_was_begun_early_without_an_answer_leaves_nothing(
    tmp_path, fake, has_happened
) -> None:
    fake.part_bytes = 4
    async with mount(tmp_path, fake, pressure=Pressure(8, 16)) as world:
        fake.fail("begin_upload", "OrionConnectionError", has_effect=has_happened)
        await world.save("my-data/a", b"x" * 40)
        await check_end(world, a=b"x" * 40, c=b"old c")


async def test_folder_made_and_renamed_just_before_a_kill_goes_on_its_way(tmp_path, fake) -> None:
    fake.folders_assignable = False
    async with mount(tmp_path, fake) as world:
        await world.mkdir("my-data/f")
        await world.save("my-data/f/x", b"x")
        await world.rename("my-data/f", "my-data/g")
        cut_off(world)
    fake.heal()
    async with mount(tmp_path, fake) as world:
        await world.drain()
        assert fake.tree() == {"a": b"old a", "c": b"old c", "g": None, "g/x": b"x"}


async def test_items_removed_together_take_none_along_that_a_replica_does_not_show(tmp_path, fake) -> None:
    names = [f"n{at}" for at in range(30)]
    fake.read_lag_s = 0.0
    for name in names:
        fake.add_file(f"{HOME}/{name}", b"old")
    async with mount(tmp_path, fake, write_back=True) as world:
        await trio.sleep(2 * LAG_S)
        fake.read_lag_s = LAG_S
        fake.fail("delete", "OrionServiceError", 500, times=10**6)
        await world.ls("my-data")
        for name in names:
            await world.save(f"my-data/{name}", b"new")
        await trio.sleep(1)
        cut_off(world)
    fake.heal()
    async with mount(tmp_path, fake, write_back=True) as world:
        await world.drain()
        assert fake.tree() == {"a": b"old a", "c": b"old c", **dict.fromkeys(names, b"new")}


async def test_save_after_a_kill_follows_the_version_that_goes_on_under_a_name_that_is_not_shown_yet(
    tmp_path, fake
) -> None:
    async with mount(tmp_path, fake) as world:
        await world.save("my-data/a", b"newer")
        await cut_after(world, "upload", partial(world.save, "my-data/a", b"latest but one"))
    fake.heal()
    async with mount(tmp_path, fake) as world:
        await world.save("my-data/a", b"latest")
        await world.drain()
        await trio.sleep(LAG_S)
        await check_end(world, a=b"latest", c=b"old c")
