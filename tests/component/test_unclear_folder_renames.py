"""Renames of folders in one call whose answer nobody has heard: what was promised below goes along."""

from __future__ import annotations

import os
from functools import partial

import pytest
import trio

from orionfs import errors
from orionfs.orion.remote import Health, Limits
from tests.component.fake_orion import HOME, FakeCalls
from tests.component.kernel import FakeKernel, look_up
from tests.component.killing import JournalDisk, cut_off
from tests.component.world import World, mount, outcomes

pytestmark = [
    pytest.mark.virtual_time,
    pytest.mark.timeout(60),
    pytest.mark.expect_log("^(?!.*unexpected|.*changed elsewhere)"),
]

LAG_S = 8.0
NEW = f"{HOME}/h"
AT_ONCE = Limits(change_deadline_s=0.05)
happened = pytest.mark.parametrize("has_happened", [True, False], ids=["done", "undone"])
lagging = pytest.mark.parametrize("lag_s", [0.0, LAG_S], ids=["at once", "lag"])


@pytest.fixture
def fake() -> FakeCalls:
    """A folder with a file and a folder in it, and another folder; every replica knows of them."""
    made = FakeCalls(lambda: -2 * LAG_S)
    for name in ("f", "f/deep", "g"):
        made.add_folder(f"{HOME}/{name}")
    made.add_file(f"{HOME}/f/x", b"x")
    return made


def lag(fake: FakeCalls, lag_s: float) -> None:
    fake.read_lag_s, fake.finds_lag = lag_s, lag_s > 0


def expected(top: str, **more: bytes) -> dict[str, bytes | None]:
    """What is on Orion with the folder at a path."""
    other = {} if top == "g" else {"g": None}
    below = {f"{top}/{path.replace('__', '/')}": content for path, content in more.items()}
    return {**other, top: None, f"{top}/deep": None, f"{top}/x": b"x", **below}


async def rename_unclearly(world: World, old: str, new: str, *, has_happened: bool) -> None:
    """A rename that ends with ETIMEDOUT; nothing is reachable from then on until the fake is healed."""
    fake = world.fake
    for folder in (old, new.rpartition("/")[0], "my-data"):  # a listing tells the ids of folders
        await world.ls(folder)
    lost = fake.fail("assign_paths", "OrionConnectionError", has_effect=has_happened)
    fake.fail("assign_paths", "OrionConnectionError", nth=2, times=10**6)
    for verb in ("stat_path", "ls_path", "find", "delete", "upload", "whoami", "list_tags", "create_paths"):
        fake.fail(verb, "OrionConnectionError", times=10**6, when=lambda *_: lost.seen > 0)
    (error,) = await outcomes(partial(world.rename, old, new))
    assert isinstance(error, errors.TimedOut)
    assert lost.seen, error


async def lose_answer(world: World, old: str, new: str, *, has_happened: bool) -> None:
    """A rename that ends with ETIMEDOUT; Orion is well again then."""
    world.fake.fail("assign_paths", "OrionConnectionError", has_effect=has_happened)
    world.fake.fail("assign_paths", "OrionConnectionError", nth=2, times=10**6)
    (error,) = await outcomes(partial(world.rename, old, new))
    assert isinstance(error, errors.TimedOut)
    world.fake.heal()


async def back(world: World) -> None:
    """Orion answers again."""
    world.fake.heal()
    while world.remote.health is Health.OFFLINE:
        await trio.sleep(0.5)


async def check(world: World, tree: dict[str, bytes | None]) -> None:
    """Once all is carried out Orion has this, users see and read it, and nothing is promised any more."""
    await world.drain()
    assert world.fake.tree() == tree
    for path, content in tree.items():
        if content is None:
            below = sorted(each for each in tree if each.rpartition("/")[0] == path)
            assert [f"{path}/{name}" for name in await world.ls(f"my-data/{path}")] == below
        else:
            assert await world.read(f"my-data/{path}") == content
    assert await world.ls("my-data") == sorted(path for path in tree if "/" not in path)
    world.check_nothing_left()


async def cut_after_assign(world: World, old: str, new: str) -> None:
    """The daemon is killed when Orion has done what a rename asks for."""
    stall = world.fake.stall("assign_paths", is_after=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.rename, old, new)
        await stall.arrived.wait()
        cut_off(world)
        nursery.cancel_scope.cancel()


@pytest.mark.some(2)
@happened
@lagging
async def test_what_waits_below_a_folder_goes_where_it_turns_out_to_be(
    tmp_path, fake, has_happened, lag_s
) -> None:
    async with mount(tmp_path, fake, limits=AT_ONCE, write_back=True) as world:
        lag(fake, lag_s)
        handle = await world.open("my-data/f/open", os.O_WRONLY | os.O_CREAT)
        fake.fail("upload", "OrionServiceError", 500, times=10**6)
        await world.save("my-data/f/deep/kept", b"kept")
        await rename_unclearly(world, "my-data/f", "my-data/h", has_happened=has_happened)
        (error,) = await outcomes(partial(world.mkdir, "my-data/f/made"))
        assert isinstance(error, errors.Unreachable)
        await world.files.write(handle, 0, b"open")
        await world.close(handle)
        await world.save("my-data/f/x", b"newer")
        await back(world)
        top = "h" if has_happened else "f"
        await check(world, {**expected(top, deep__kept=b"kept", open=b"open"), f"{top}/x": b"newer"})


@pytest.mark.some(2)
@pytest.mark.parametrize("has_power", [True, False], ids=["killed", "without power"])
@lagging
async def test_what_waits_below_a_folder_that_was_moved_just_before_a_kill_goes_along(
    tmp_path, fake, lag_s, has_power
) -> None:
    async with mount(tmp_path, fake, write_back=True) as world:
        lag(fake, lag_s)
        disk = JournalDisk(world)
        fake.fail("upload", "OrionServiceError", 500, times=10**6)
        await world.save("my-data/f/deep/kept", b"kept")
        await world.save("my-data/f/.x.swp", b"here")
        await world.rename("my-data/f/x", "my-data/f/x~")  # which Orion does not get to know
        await cut_after_assign(world, "my-data/f", "my-data/g/f")
    if not has_power:
        disk.lose()
    fake.heal()
    async with mount(tmp_path, fake) as world:
        await world.save("my-data/new", b"new")  # nobody waits for what is not known
        await world.drain()
        await trio.sleep(LAG_S)
        assert fake.tree() == {**expected("g/f", deep__kept=b"kept"), "g": None, "new": b"new"}
        assert await world.ls("my-data") == ["g", "new"]
        assert await world.ls("my-data/g/f") == [".x.swp", "deep", "x~"]
        assert await world.ls("my-data/g/f/deep") == ["kept"]
        assert world.claimed.journal.renames.all() == []
        assert [row.path for row in world.claimed.journal.uploads()] == [f"{HOME}/g/f/.x.swp"]


async def test_file_that_stays_here_waits_for_its_folder_to_be_found_after_a_kill(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        await world.save("my-data/f/.x.swp", b"here")
        await cut_after_assign(world, "my-data/f", "my-data/h")
    fake.heal()
    fake.fail("stat_path", status=503, times=10**6, when=lambda path: path == f"{HOME}/h")
    async with mount(tmp_path, fake) as world:
        fake.heal()
        await world.drain()
        assert [row.path for row in world.claimed.journal.uploads()] == [f"{HOME}/h/.x.swp"]
    async with mount(tmp_path, fake) as world:
        assert await world.read("my-data/h/.x.swp") == b"here"


@happened
async def test_folder_whose_rename_was_unclear_at_a_kill_is_found_out_by_the_next_mount(
    tmp_path, fake, has_happened
) -> None:
    async with mount(tmp_path, fake, limits=AT_ONCE, write_back=True) as world:
        await rename_unclearly(world, "my-data/f", "my-data/g/f", has_happened=has_happened)
        await world.save("my-data/f/new", b"new")
        cut_off(world)
    fake.heal()
    async with mount(tmp_path, fake, write_back=True) as world:
        assert len(world.sync.pending) == 1
        top = "g/f" if has_happened else "f"
        await check(world, {"g": None, **expected(top, new=b"new")})


@happened
async def test_folder_that_is_to_go_from_one_whose_rename_is_unclear_goes_from_where_it_is(
    tmp_path, fake, has_happened
) -> None:
    fake.add_file(f"{HOME}/f/deep/y", b"y")
    async with mount(tmp_path, fake, limits=AT_ONCE, write_back=True) as world:
        await world.ls("my-data/f/deep")
        fake.fail("delete", "OrionServiceError", 500, times=10**6)
        await world.unlink("my-data/f/deep/y")
        await world.rmdir("my-data/f/deep")
        await rename_unclearly(world, "my-data/f", "my-data/h", has_happened=has_happened)
        await back(world)
        tree = expected("h" if has_happened else "f")
        await check(world, {path: tree[path] for path in tree if "deep" not in path})


@happened
async def test_what_waits_below_a_folder_is_seen_in_it_by_who_looked_before_its_end_was_known(
    tmp_path, fake, has_happened
) -> None:
    async with mount(tmp_path, fake, limits=AT_ONCE, write_back=True) as world:
        fake.fail("upload", "OrionServiceError", 500, times=10**6)
        await world.save("my-data/f/new", b"new")
        top, stall = "h" if has_happened else "f", fake.stall("stat_path", when=lambda path: path == NEW)
        fake.fail("assign_paths", "OrionConnectionError", has_effect=has_happened)
        failing = fake.fail("assign_paths", "OrionConnectionError", nth=2, times=10**6)
        (error,) = await outcomes(partial(world.rename, "my-data/f", "my-data/h"))
        assert isinstance(error, errors.TimedOut)
        failing.times = 0
        await stall.arrived.wait()
        assert await world.ls("my-data") == sorted(["g", top])
        await world.ls(f"my-data/{top}")
        stall.release()
        await world.sync.until_known(NEW)
        assert await world.ls("my-data") == sorted(["g", top])
        assert await world.ls(f"my-data/{top}") == ["deep", "new", "x"]
        assert await world.read(f"my-data/{top}/new") == b"new"
        fake.heal()
        await check(world, expected(top, new=b"new"))


@happened
async def test_who_changes_names_below_waits_until_it_is_known_where_the_folder_is(
    tmp_path, fake, has_happened
) -> None:
    async with mount(tmp_path, fake, limits=AT_ONCE) as world:
        folder = await world.inode("my-data/f")
        handle = await world.open("my-data/f/x", os.O_WRONLY | os.O_TRUNC)
        lag(fake, LAG_S)
        await lose_answer(world, "my-data/f", "my-data/h", has_happened=has_happened)
        await world.files.write(handle, 0, b"newer")
        again, made, closed = await outcomes(
            partial(world.rename, "my-data/f", "my-data/h"),
            partial(world.namespace.make_folder, folder, "made"),
            partial(world.close, handle),
        )
        assert isinstance(again, errors.NoSuchName) if has_happened else again is None
        assert closed is None
        assert not isinstance(made, errors.OrionFsError)
        await check(world, {**expected("h"), "h/made": None, "h/x": b"newer"})


@happened
async def test_folder_that_a_replica_still_shows_where_it_was_is_not_believed_to_be_back(
    tmp_path, fake, has_happened
) -> None:
    async with mount(tmp_path, fake, limits=AT_ONCE, write_back=True) as world:
        lag(fake, LAG_S)
        await world.rename("my-data/f", "my-data/h")
        fake.fail("upload", "OrionServiceError", 500, times=10**6)
        await world.save("my-data/h/new", b"new")
        await lose_answer(world, "my-data/h", "my-data/f", has_happened=has_happened)
        await check(world, expected("f" if has_happened else "h", new=b"new"))


@happened
async def test_rename_of_a_folder_that_nobody_waits_for_any_longer_is_found_out(
    tmp_path, fake, has_happened
) -> None:
    async with mount(tmp_path, fake, write_back=True) as world:
        stall = fake.stall("assign_paths", is_after=has_happened)
        fake.fail("assign_paths", nth=1 if not has_happened else 2, times=10**6)
        fake.fail("upload", "OrionServiceError", 500, times=10**6)
        await world.save("my-data/f/new", b"new")
        with trio.move_on_after(30):
            await world.rename("my-data/f", "my-data/h")
        assert stall.arrived.is_set()
        fake.heal()
        fake.release_all()
        await check(world, expected("h" if has_happened else "f", new=b"new"))


async def test_folder_that_orion_was_busy_with_after_an_answer_was_lost_is_looked_up(tmp_path, fake) -> None:
    async with mount(tmp_path, fake, write_back=True) as world:
        fake.fail("assign_paths", "OrionServiceError", 504, has_effect=True)
        fake.fail("assign_paths", "BadResponse", 409, nth=2, times=10**6)
        fake.fail("upload", "OrionServiceError", 500, times=10**6)
        await world.save("my-data/f/new", b"new")
        (error,) = await outcomes(partial(world.rename, "my-data/f", "my-data/h"))
        assert isinstance(error, errors.Busy)
        fake.heal()
        await check(world, expected("h", new=b"new"))


@pytest.mark.parametrize("error", [("AuthorizationRequired", 403), ("BadResponse", 409)])
async def test_folder_that_orion_refuses_to_move_stays_with_all_that_waits_below(
    tmp_path, fake, error
) -> None:
    async with mount(tmp_path, fake, write_back=True) as world:
        fake.fail("assign_paths", *error, times=10**6)
        await world.save("my-data/f/new", b"new")
        (refused,) = await outcomes(partial(world.rename, "my-data/f", "my-data/h"))
        assert isinstance(refused, errors.AccessDenied | errors.Busy)
        assert world.claimed.journal.renames.all() == []
        fake.heal()
        await check(world, expected("f", new=b"new"))


async def test_clean_rename_of_a_folder_is_one_request_and_leaves_nothing_to_find_out(tmp_path, fake) -> None:
    async with mount(tmp_path, fake) as world:
        await world.ls("my-data")
        with fake.counting() as verbs:
            await world.rename("my-data/f", "my-data/h")
        assert verbs == ["assign_paths"]
        await check(world, expected("h"))


@happened
async def test_kernel_drops_a_folder_only_when_it_is_known_to_have_gone(tmp_path, fake, has_happened) -> None:
    """A shell in a folder that is there would lose its place."""
    kernel = FakeKernel()
    async with mount(tmp_path, fake, limits=AT_ONCE, kernel=kernel) as world:
        top = (await world.inode("my-data")).number
        await rename_unclearly(world, "my-data/f", "my-data/h", has_happened=has_happened)
        assert (top, "f") not in kernel.entries
        assert (top, "h") in kernel.entries
        await back(world)
        await check(world, expected("h" if has_happened else "f"))
        assert ((top, "f") in kernel.entries) == has_happened


@happened
async def test_kernel_keeps_a_folder_whose_removal_is_unclear(tmp_path, fake, has_happened) -> None:
    kernel = FakeKernel()
    async with mount(tmp_path, fake, limits=AT_ONCE, kernel=kernel) as world:
        top = (await world.inode("my-data")).number
        assert await look_up(world, "my-data/g") is not None
        lost = fake.fail("remove_paths", "OrionConnectionError", has_effect=has_happened)
        for verb in ("remove_paths", "stat_path", "ls_path"):
            fake.fail(verb, "OrionConnectionError", nth=2, times=10**6, when=lambda *_: lost.seen > 0)
        (error,) = await outcomes(partial(world.rmdir, "my-data/g"))
        assert isinstance(error, errors.TimedOut)
        assert (top, "g") not in kernel.entries
        await back(world)
        assert ("g" in await world.ls("my-data")) != has_happened
        assert ((top, "g") in kernel.entries) == has_happened
