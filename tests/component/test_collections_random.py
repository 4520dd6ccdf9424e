"""Random work in a collection on a session that fails now and then: nothing wrong, doubled or lost."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import trio

from orionfs.errors import OrionFsError
from tests.component.fake_orion import HOME, Failure, FakeCalls, failure
from tests.component.world import World, mount

pytestmark = [
    pytest.mark.virtual_time,
    pytest.mark.expect_log("is not on Orion yet|offline|stays on Orion|unclear|kept here"),
]

NAMES = "abcd"
HERE = "my-data/set"
FAULTS = ("OrionServiceError", 500), ("OrionConnectionError", None), ("OrionTimeout", None)

Chaos = Callable[[str], Failure | None]
Model = dict[str, set[bytes | None]]
"""Name -> what may be there (None: nothing), after calls whose end is not known."""


def faulty(dice: random.Random, share: float) -> tuple[FakeCalls, Chaos]:
    """A session, and what makes so many of its calls fail, before or after they took effect."""
    fake = FakeCalls()
    fake.paged_shards = fake.ranged = dice.random() < 0.5

    def maybe(verb: str) -> Failure | None:
        if dice.random() > share:
            return None
        error, status = dice.choice(FAULTS)
        return Failure(verb, failure(error, status).info, has_effect=dice.random() < 0.5)

    return fake, maybe


async def work(world: World, dice: random.Random, model: Model, ever: Model) -> None:
    """One step; `ever` is what a name has ever held."""
    name = dice.choice(NAMES)
    before = model[name]
    try:
        if dice.random() < 0.5:
            data = dice.randbytes(dice.randrange(1, 50))
            ever[name].add(data)
            model[name] = {data, *before}
            await world.save(f"{HERE}/{name}", data)
            model[name] = {data}
        elif dice.random() < 0.5:
            model[name] = {None, *ever[name]}  # a removal that fails may have dropped what was under way
            await world.unlink(f"{HERE}/{name}")
            model[name] = {None}
        else:
            assert await world.read(f"{HERE}/{name}") in before
    except OrionFsError:
        return  # that something fails is allowed


@pytest.mark.some(4)
@pytest.mark.parametrize("seed", range(12))
async def test_random_work_on_faults_loses_and_doubles_nothing(tmp_path, seed) -> None:
    dice = random.Random(seed)
    fake, chaos = faulty(dice, 0.1)
    number = fake.add_collection(f"{HOME}/set")
    model: Model = {name: {None} for name in NAMES}
    ever: Model = {name: {None} for name in NAMES}
    for _ in range(3):
        fake.heal()
        async with mount(tmp_path, fake, write_back=dice.random() < 0.5) as world:
            fake.chaos = chaos  # what an earlier mount left is shown by now
            for _ in range(20):
                await work(world, dice, model, ever)
    fake.heal()
    async with mount(tmp_path, fake) as world:
        await world.drain()
        shards = fake.shards(number)
        for name in NAMES:
            assert shards.get(name) in model[name], name
        assert set(shards) <= set(NAMES)
        await trio.sleep(60)  # what was listed before the rest was done is believed no more
        assert await world.ls(HERE) == sorted(shards)
        for name, contents in shards.items():
            assert await world.read(f"{HERE}/{name}") == contents
        states = {row.state for row in fake.rows() if row.kind == "shard" and not row.is_deleted}
        assert states <= {"ready"}
        world.check_nothing_left()
