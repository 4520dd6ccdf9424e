"""Daemons that are killed at one chosen moment: the next mount finds what was, or what was asked for."""

from __future__ import annotations

from collections.abc import Awaitable
from contextlib import suppress

import pytest
import trio

from orionfs.errors import OrionFsError
from orionfs.orion.remote import Health, Limits
from tests.component.fake_orion import HOME, FakeCalls
from tests.component.killing import cut_off
from tests.component.world import World, check_end, mount

pytestmark = [
    pytest.mark.virtual_time,
    pytest.mark.timeout(60),
    pytest.mark.expect_log("^(?!.*unexpected)"),
]
AT_ONCE = Limits(change_deadline_s=0.05)
duplicates = pytest.mark.parametrize("may_share", [True, False], ids=["duplicates allowed", "refused"])


@pytest.fixture
def fake() -> FakeCalls:
    """An Orion with two files."""
    made = FakeCalls()
    made.add_file(f"{HOME}/a", b"old a")
    made.add_file(f"{HOME}/c", b"old c")
    return made


async def cut_in(world: World, verb: str, call, *, is_after: bool) -> None:
    """Have a call made, and kill the daemon when Orion is about to do the first `verb` of it, or has."""
    if not is_after:
        world.fake.fail(verb, "OrionConnectionError", times=10**6)
    stall = world.fake.stall(verb, is_after=is_after)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(call)
        await stall.arrived.wait()
        cut_off(world)
        nursery.cancel_scope.cancel()


@duplicates
@pytest.mark.parametrize("is_after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("target", ["new", "a"])
async def test_item_renamed_over_a_version_that_waits_is_there_once_or_not_at_all(
    tmp_path, fake, target, is_after, may_share
) -> None:
    fake.duplicate_names = may_share
    async with mount(tmp_path, fake, write_back=True) as world:
        fake.stall("upload")
        await world.save(f"my-data/{target}", b"waits")
        await cut_in(
            world, "assign_paths", lambda: world.rename("my-data/c", f"my-data/{target}"), is_after=is_after
        )
    fake.heal()
    others = {"a": b"old a"} if target == "new" else {}
    async with mount(tmp_path, fake, write_back=True) as world:
        if is_after:
            await check_end(world, **others, **{target: b"old c"})
        else:
            await check_end(world, **others, **{target: b"waits", "c": b"old c"})


@pytest.mark.parametrize("is_after", [False, True], ids=["before", "after"])
async def test_newer_version_of_an_item_goes_along_with_its_rename(tmp_path, fake, is_after) -> None:
    async with mount(tmp_path, fake) as world:
        fake.fail("upload", "OrionServiceError", 500, times=10**6)
        with pytest.raises(OrionFsError):
            await world.save("my-data/c", b"newer c")
        await cut_in(world, "assign_paths", lambda: world.rename("my-data/c", "my-data/d"), is_after=is_after)
    fake.heal()
    async with mount(tmp_path, fake) as world:
        await check_end(world, a=b"old a", **{"d" if is_after else "c": b"newer c"})


async def test_version_saved_over_an_unclear_rename_replaces_what_that_has_brought(tmp_path, fake) -> None:
    async with mount(tmp_path, fake, write_back=True) as world:
        await cut_in(world, "assign_paths", lambda: world.rename("my-data/c", "my-data/a"), is_after=True)
    fake.heal()
    for verb in ("whoami", "stat_path", "ls_path", "upload", "find"):
        fake.fail(verb, "OrionConnectionError", refused=True, nothing_sent=True, times=10**9)
    async with mount(tmp_path, fake, write_back=True) as world:
        await trio.sleep(30)
        fake.heal()
        await trio.sleep(30)
        await check_end(world, a=b"old c")


@pytest.mark.parametrize("nth", range(4))
async def test_item_with_a_newer_version_is_removed_with_it_or_not_at_all(
    tmp_path, fake, nth, monkeypatch
) -> None:
    """Killed after so many writes to the journal."""
    async with mount(tmp_path, fake, write_back=True) as world:
        fake.stall("upload")
        await world.save("my-data/c", b"newer c")
        run, left = world.sync.journal.run, nth

        async def counted(write):
            nonlocal left
            if left == 0:
                cut_off(world)
            left -= 1
            return await run(write)

        monkeypatch.setattr(world.sync.journal, "run", counted)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tried, world.unlink("my-data/c"))
            await trio.sleep(0.01)
            cut_off(world)
            nursery.cancel_scope.cancel()
    fake.heal()
    async with mount(tmp_path, fake, write_back=True) as world:
        await world.drain()
        assert fake.tree() in (  # as it was, or as it was asked to be
            {"a": b"old a"},
            {"a": b"old a", "c": b"newer c"},
        )
        world.check_nothing_left()


@pytest.mark.some(3)
@duplicates
@pytest.mark.parametrize("is_killed", [False, True], ids=["lives", "killed"])
@pytest.mark.parametrize("at", ["before", "after"])
async def test_version_that_got_its_name_unclearly_is_replaced_by_the_next_without_a_copy(
    tmp_path, fake, at, is_killed, may_share
) -> None:
    """`at`: whether the next one is saved before or after the kill."""
    fake.duplicate_names = may_share
    async with mount(tmp_path, fake, limits=AT_ONCE) as world:
        fake.fail("assign_paths", "OrionConnectionError", has_effect=True)
        fake.fail("assign_paths", "OrionConnectionError", nth=2, times=10**6)
        await tried(world.save("my-data/a", b"one"))
        await go_away(world)
        if at == "before":
            await tried(world.save("my-data/a", b"two"))
        if is_killed:
            cut_off(world)
        else:
            await come_back(world)
            if at == "after":
                await world.save("my-data/a", b"two")
            await check_end(world, a=b"two", c=b"old c")
            return
    fake.heal()
    async with mount(tmp_path, fake) as world:
        if at == "after":
            await world.save("my-data/a", b"two")
        await check_end(world, a=b"two", c=b"old c")


@pytest.mark.some(5)
@pytest.mark.parametrize("lag_s", [0.0, 8.0])
@pytest.mark.parametrize("is_tried", [True, False], ids=["tried again", "not yet"])
@pytest.mark.parametrize(
    ("change", "end"),
    [
        (lambda world: world.save("my-data/a", b"two"), {"a": b"two", "c": b"old c"}),
        (lambda world: world.rename("my-data/c", "my-data/a"), {"a": b"old c"}),
        (lambda world: world.unlink("my-data/a"), {"c": b"old c"}),
        (lambda world: world.rename("my-data/a", "my-data/d"), {"c": b"old c", "d": b"one"}),
    ],
    ids=["save", "rename over", "unlink", "rename"],
)
async def test_item_put_aside_just_before_a_kill_goes_whatever_is_done_next(
    tmp_path, change, end, is_tried, lag_s
) -> None:
    """Where names can't be shared, one call puts the old item aside and gives the new one its name."""
    fake = FakeCalls(lambda: -2 * lag_s)
    for name in ("a", "c"):
        fake.add_file(f"{HOME}/{name}", f"old {name}".encode())
    fake.duplicate_names, fake.read_lag_s = False, lag_s
    async with mount(tmp_path, fake) as world:
        await cut_in(world, "assign_paths", lambda: world.save("my-data/a", b"one"), is_after=True)
    fake.heal()
    if is_tried:
        fake.fail("assign_paths", "OrionServiceError", 500, times=2)
    (one,) = [row.id for row in fake.rows() if row.contents == b"one"]
    async with mount(tmp_path, fake) as world:
        await trio.sleep(1.0 if is_tried else 0.0)
        fake.fail("delete", "OrionServiceError", 500, times=3, when=lambda _kind, id: id == one)
        await tried(change(world))
        await check_end(world, **end)


async def test_item_put_aside_just_before_a_kill_goes_though_somebody_else_took_the_name(
    tmp_path, fake
) -> None:
    fake.duplicate_names = False
    async with mount(tmp_path, fake) as world:
        await cut_in(world, "assign_paths", lambda: world.save("my-data/a", b"one"), is_after=True)
    fake.heal()
    fake.replace(f"{HOME}/a", b"theirs")
    async with mount(tmp_path, fake) as world:
        await world.drain()
        assert sorted(filter(None, fake.tree().values())) == [b"old c", b"one", b"theirs"]
        assert fake.contents(f"{HOME}/a") == b"theirs"
        world.check_nothing_left()


@pytest.mark.parametrize("is_after", [False, True], ids=["before", "after"])
async def test_tags_that_change_while_a_version_waits_for_its_name_outlive_a_kill(
    tmp_path, fake, is_after
) -> None:
    (old,) = fake.ids_at(f"{HOME}/a")
    fake.row(old).tags = {"kept", "early"}
    async with mount(tmp_path, fake, write_back=True) as world:
        await world.ls("my-data")
        if not is_after:
            fake.fail("assign_paths", "OrionConnectionError", times=10**6)
        stall = fake.stall("assign_paths", is_after=is_after)
        await world.save("my-data/a", b"new")
        await stall.arrived.wait()
        inode = await world.inode("my-data/a")
        await world.attributes.set(inode, b"user.orion.tag.late", b"")
        await world.attributes.remove(inode, b"user.orion.tag.early")
        cut_off(world)
    fake.heal()
    async with mount(tmp_path, fake, write_back=True) as world:
        await check_end(world, a=b"new", c=b"old c")
        (new,) = fake.ids_at(f"{HOME}/a")
        assert fake.row(new).tags == {"kept", "late"}


async def tried(call: Awaitable[None]) -> None:
    """A call that may fail."""
    with suppress(OrionFsError):
        await call


async def go_away(world: World) -> None:
    """Orion answers nobody."""
    for verb in ("stat_path", "ls_path", "find", "delete", "upload", "whoami", "list_tags"):
        world.fake.fail(verb, "OrionConnectionError", times=10**6)


async def come_back(world: World) -> None:
    """Orion answers again."""
    world.fake.heal()
    while world.remote.health is Health.OFFLINE:
        await trio.sleep(0.5)
