"""Random saves, renames and removals of ordinary, temporary and litter names, daemons killed in between.

A dict is the model of what users see. Orion must hold the ordinary part of it and nothing else that others
can see, but items that are hidden here and shown under the name of litter; nothing twice, nothing orphaned.
"""

from __future__ import annotations

import random

import pytest
import trio

from orionfs.localnames import LocalNames, NameClass
from orionfs.models import MARK_PREFIX
from tests.component.fake_orion import HOME, FakeCalls
from tests.component.test_litter import on_orion
from tests.component.world import World, mount, settle

pytestmark = [pytest.mark.virtual_time, pytest.mark.timeout(300)]

NAMES = ("doc", "other", "doc~", "other~", "doc.~1~", ".doc.swp", "sedAbC123", ".doc.AbC123", "x.part")
STEPS = 60
CLASSES = LocalNames()


def is_litter(name: str) -> bool:
    return CLASSES.class_of(name) is NameClass.LITTER


class Person:
    """Somebody who works on a mount, and knows what should be there."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.model: dict[str, bytes] = {"doc": b"doc", "other": b"other"}
        self.steps: list[str] = []

    async def step(self, world: World) -> None:
        """One thing that people do."""
        do = self.random.choice([self.save, self.save, self.append, self.rename, self.rename, self.remove])
        await do(world)
        if self.random.random() < 0.3:
            await trio.sleep(self.random.choice([0.5, 5.0, 40.0, 100.0]))

    async def save(self, world: World) -> None:
        name, data = self.random.choice(NAMES), self.random.randbytes(self.random.randrange(6))
        self.steps.append(f"save {name} {data!r}")
        await world.save(f"my-data/{name}", data)
        self.model[name] = data

    async def append(self, world: World) -> None:
        name = self._existing()
        if name is None:
            return
        self.steps.append(f"append {name}")
        handle = await world.open(f"my-data/{name}", 1)
        await world.files.write(handle, len(self.model[name]), b"+")
        await world.close(handle)
        self.model[name] += b"+"

    async def rename(self, world: World) -> None:
        name, goal = self._existing(), self.random.choice(NAMES)
        if name is None:
            return
        self.steps.append(f"rename {name} {goal}")
        await world.rename(f"my-data/{name}", f"my-data/{goal}")
        self.model[goal] = self.model.pop(name)

    async def remove(self, world: World) -> None:
        name = self._existing()
        if name is None:
            return
        self.steps.append(f"remove {name}")
        await world.unlink(f"my-data/{name}")
        del self.model[name]

    def _existing(self) -> str | None:
        return self.random.choice(sorted(self.model)) if self.model else None

    async def check_visible(self, world: World) -> None:
        assert await world.ls("my-data") == sorted(self.model), self.steps
        for name, data in self.model.items():
            assert await world.read(f"my-data/{name}") == data, (name, self.steps)

    async def check_orion(self, world: World) -> None:
        """What Orion holds once all is carried out, temporary names included."""
        world.sync.holding.end(is_last=True)
        await settle()
        await world.drain()
        there = on_orion(world.fake)
        ordinary = {name: data for name, data in self.model.items() if not is_litter(name)}
        hidden = {row.item.name for row in world.claimed.journal.parked.all()}
        assert {name: data for name, data in there.items() if name in ordinary} == ordinary, self.steps
        assert set(there) - set(ordinary) <= hidden, self.steps
        marked = [row for row in world.fake.rows() if row.name.startswith(MARK_PREFIX) and not row.is_deleted]
        assert marked == [], self.steps
        kept = sum(is_litter(name) for name in self.model)
        assert len(world.staged_files()) <= kept, self.steps


def make_fake(*, duplicates: bool) -> FakeCalls:
    made = FakeCalls()
    made.duplicate_names = duplicates
    for name in ("doc", "other"):
        made.add_file(f"{HOME}/{name}", name.encode(), tags=(name,))
    return made


SEEDS = [*range(6), *(pytest.param(seed, marks=pytest.mark.long) for seed in range(6, 60))]


@pytest.mark.some(4)
@pytest.mark.parametrize("write_back", [False, True], ids=["through", "back"])
@pytest.mark.parametrize("seed", SEEDS)
async def test_users_see_what_they_did_and_orion_what_it_may(tmp_path, seed, write_back) -> None:
    person, fake = Person(seed), make_fake(duplicates=seed % 2 == 0)
    left = STEPS
    while left:
        async with mount(tmp_path, fake, write_back=write_back) as world:
            await person.check_visible(world)
            for _ in range(min(left, person.random.randrange(5, 25))):
                await person.step(world)
                left -= 1
            await person.check_visible(world)
    async with mount(tmp_path, fake, write_back=write_back) as world:
        await person.check_visible(world)
        await person.check_orion(world)
        await person.check_visible(world)
        assert not any(is_litter(row.name) for row in fake.rows()), person.steps
        for name in sorted(person.model):
            await world.unlink(f"my-data/{name}")
        await world.drain()
        assert fake.tree() == {}, person.steps
        await settle()
        assert world.staged_files() == [], person.steps
        assert world.claimed.journal.parked.all() == []
