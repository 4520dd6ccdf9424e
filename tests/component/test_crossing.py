"""Own changes, a lagging server and listings on their way, crossing each other in any order."""

from __future__ import annotations

from functools import partial
from itertools import permutations

import pytest
import trio

from tests.component.fake_orion import HOME, FakeCalls
from tests.component.world import World, mount, outcomes, settle

pytestmark = pytest.mark.virtual_time

TTL_S = 30.0
LONG_AGO_S = 100.0  # what was there before is old enough for every replica


@pytest.fixture
def fake() -> FakeCalls:
    """An Orion whose replicas lag, with a few items in my-data/f."""
    made = FakeCalls()
    made.add_folder(f"{HOME}/f")
    for name in ("a", "b", "c"):
        made.add_file(f"{HOME}/f/{name}", name.encode())
    made.read_lag_s = 8.0
    return made


CHANGES = {
    "mkdir": lambda world: world.mkdir("my-data/f/made"),
    "rename": lambda world: world.rename("my-data/f/a", "my-data/f/renamed"),
    "replace": lambda world: world.rename("my-data/f/b", "my-data/f/c"),
    "save": lambda world: world.save("my-data/f/saved", b"saved"),
}
EXPECTED = ["c", "made", "renamed", "saved"]


async def look(world: World) -> None:
    await outcomes(partial(world.ls, "my-data/f"))


async def always_as_changed(world: World) -> None:
    """What is shown until every replica and every answer knows it."""
    for wait_s in (0, 0.5, 4, 8, 10, 31):
        await trio.sleep(wait_s)
        assert await world.ls("my-data/f") == EXPECTED
        for name in EXPECTED:
            assert await world.stat(f"my-data/f/{name}") is not None
        for name in ("a", "b"):
            assert await world.stat(f"my-data/f/{name}") is None


@pytest.mark.some(8)
@pytest.mark.parametrize("order", list(permutations(CHANGES)), ids="-".join)
async def test_changes_in_any_order_survive_a_listing_that_was_asked_for_before(
    tmp_path, fake, order
) -> None:
    async with mount(tmp_path, fake) as world:
        await trio.sleep(LONG_AGO_S)
        await world.ls("my-data/f")
        await trio.sleep(TTL_S + 1)
        stall = fake.stall("ls_path", is_after=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(look, world)
            await stall.arrived.wait()
            changing = [partial(CHANGES[name], world) for name in order]
            done: list[object] = []

            async def change() -> None:
                for each in changing:
                    done.extend(await outcomes(each))

            nursery.start_soon(change)
            await settle()
            stall.release()
        assert not [each for each in done if isinstance(each, Exception)]
        await always_as_changed(world)


@pytest.mark.parametrize("late", CHANGES)
async def test_change_whose_answer_comes_after_a_listing_is_not_undone_by_it(tmp_path, fake, late) -> None:
    async with mount(tmp_path, fake) as world:
        await trio.sleep(LONG_AGO_S)
        await world.ls("my-data/f")
        verb = {"mkdir": "create_paths", "save": "upload"}.get(late, "assign_paths")
        stall = fake.stall(verb, is_after=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(outcomes, partial(CHANGES[late], world))
            await stall.arrived.wait()
            await trio.sleep(TTL_S + 1)  # believed no longer, so it is asked for again
            await look(world)
            stall.release()
        for name in CHANGES:
            if name != late:
                await CHANGES[name](world)
        await always_as_changed(world)


@pytest.mark.parametrize("folders", list(permutations(["f", "g"])), ids="-".join)
async def test_folders_that_change_their_names_keep_what_was_changed_in_them(tmp_path, fake, folders) -> None:
    fake.add_folder(f"{HOME}/g")
    fake.add_file(f"{HOME}/g/x", b"x")
    first, second = folders
    async with mount(tmp_path, fake) as world:
        await trio.sleep(LONG_AGO_S)
        for folder in folders:
            await world.ls(f"my-data/{folder}")
        await world.unlink("my-data/f/a")
        await world.save("my-data/g/new", b"new")
        for old, new in ((first, "between"), (second, first), ("between", second)):
            await world.rename(f"my-data/{old}", f"my-data/{new}")
        for wait_s in (0, 1, 8, 31):
            await trio.sleep(wait_s)
            assert await world.ls("my-data/g") == ["b", "c"]
            assert await world.ls("my-data/f") == ["new", "x"]
