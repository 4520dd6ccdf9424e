"""Daemons that are killed at any moment, and an Orion that goes away, while programs work: nothing is lost.

What a call reported as done is on Orion after the next mount, a call that was cut off has happened or has
not, and no item is there twice, in part or under a name that nobody gave it.
"""

from __future__ import annotations

import random
from functools import partial

import pytest
import trio

from tests.component.fake_orion import FakeCalls
from tests.component.killing import JournalDisk, Loader, cut_off, orphans, take_away
from tests.component.world import mount
from tests.model.orion import threads, trouble

pytestmark = [
    pytest.mark.virtual_time,
    pytest.mark.timeout(60),
    pytest.mark.expect_log("^(?!.*unexpected)"),
]
BACK = pytest.mark.parametrize("write_back", [False, True], ids=["through", "back"])
LAGS_S = [0.0, 8.0]


def seeds(*variants):
    """Each seed with each variant; the first seeds, with a variant each, whenever tests run."""
    rows = [(seed, *variant) for seed in range(200) for variant in variants]
    usual = {(seed, *variants[seed % len(variants)]) for seed in range(6)}
    return [
        pytest.param(*row, marks=[] if row in usual else [pytest.mark.long], id="-".join(map(str, row)))
        for row in rows
    ]


ENDS = pytest.mark.parametrize(
    ("seed", "lag_s", "end"), seeds(*((lag_s, end) for end in ("kill", "power cut") for lag_s in LAGS_S))
)
SEEDS = pytest.mark.parametrize(("seed", "lag_s"), seeds(*((lag_s,) for lag_s in LAGS_S)))
KILLS = 4
LOADERS = ["one", "two"]


class Work:
    """Loaders on one Orion, and the mounts that they work on one after the other."""

    def __init__(self, folder, seed, write_back, *, lag_s=0.0):
        random.seed(seed)  # what the layers draw, pauses before they try again
        self.dice = random.Random(seed)
        self.fake = FakeCalls(lambda: -2 * lag_s)  # what is there from the start everybody has heard of
        self.fake.read_lag_s, self.fake.finds_lag = lag_s, self.dice.random() < 0.5
        self.fake.duplicate_names = self.dice.random() < 0.7
        self.loaders = [Loader(self.fake, name, self.dice) for name in LOADERS]
        draw = random.Random(seed)
        self.mounted = partial(mount, folder, self.fake, threads=threads(draw), write_back=write_back)

    def misbehave(self):
        self.fake.chaos = trouble(self.dice, self.dice.choice([0.0, 0.1]))

    async def check(self, world):
        self.fake.heal()
        await trio.sleep(400)
        await world.drain()
        for loader in self.loaders:
            await loader.check(world)
        assert orphans(self.fake) == []


@pytest.mark.some(4)
@BACK
@ENDS
async def test_daemons_killed_while_programs_work_lose_nothing_that_was_reported(
    tmp_path, seed, write_back, lag_s, end
):
    work = Work(tmp_path, seed, write_back, lag_s=lag_s)
    for loader in work.loaders:
        loader.is_unlink_lazy = write_back and end == "power cut"
    for _ in range(KILLS):
        work.misbehave()
        async with work.mounted() as world, trio.open_nursery() as nursery:
            disk = JournalDisk(world)
            await trio.sleep(lag_s)  # what the mount before has done may not be shown by now
            for loader in work.loaders:
                nursery.start_soon(loader.run, world)
            await trio.sleep(work.dice.choice([0.5, 3.0, 10.0, 40.0]) * work.dice.random())
            cut_off(world)
            nursery.cancel_scope.cancel()
        if end == "power cut":
            disk.lose()
        if work.dice.random() < 0.7:
            work.fake.heal()
            async with work.mounted() as world:
                await work.check(world)
    work.fake.heal()
    async with work.mounted() as world:
        await work.check(world)
        world.check_nothing_left()


@pytest.mark.some(4)
@BACK
@SEEDS
async def test_orion_gone_while_programs_work_costs_nothing_that_was_reported(
    tmp_path, seed, write_back, lag_s
):
    work = Work(tmp_path, seed, write_back, lag_s=lag_s)
    async with work.mounted() as world:
        for _ in range(KILLS):
            work.misbehave()
            async with trio.open_nursery() as nursery:
                for loader in work.loaders:
                    nursery.start_soon(loader.run, world)
                await trio.sleep(work.dice.choice([0.5, 3.0, 10.0, 40.0]) * work.dice.random())
                take_away(work.fake)
                await trio.sleep(work.dice.choice([0.5, 5.0, 30.0]))
                work.fake.heal()
                for loader in work.loaders:
                    loader.stop()
            await work.check(world)
        world.check_nothing_left()
