"""Renames of folders in one call whose answer nobody has heard: what was promised below goes along."""

from __future__ import annotations

import os
from functools import partial

import pytest
import trio

from orionfs import errors
from orionfs.orion.remote import Health, Limits
from tests.component.fake_orion import HOME, FakeCalls
from tests.component.world import World, mount, outcomes

pytestmark = [
    pytest.mark.virtual_time,
    pytest.mark.timeout(60),
    pytest.mark.expect_log("^(?!.*unexpected|.*changed elsewhere)"),
]

LAG_S = 8.0
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
    await world.ls("my-data")  # which tells the ids of folders
    lost = fake.fail("assign_paths", "OrionConnectionError", has_effect=has_happened)
    fake.fail("assign_paths", "OrionConnectionError", nth=2, times=10**6)
    for verb in ("stat_path", "ls_path", "find", "delete", "upload", "whoami", "list_tags", "create_paths"):
        fake.fail(verb, "OrionConnectionError", times=10**6)
    (error,) = await outcomes(partial(world.rename, old, new))
    assert isinstance(error, errors.TimedOut)
    assert lost.seen


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
        await world.files.write(handle, 0, b"open")
        await world.close(handle)
        await world.save("my-data/f/x", b"newer")
        await back(world)
        top = "h" if has_happened else "f"
        await check(world, {**expected(top, deep__kept=b"kept", open=b"open"), f"{top}/x": b"newer"})
