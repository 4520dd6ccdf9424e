"""Over the limit the kernel is made to forget unopened files of the folders used longest ago."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from orionfs.models import InodeNumber
from orionfs.tree.forgetting import Forgetting
from tests.component.fake_orion import HOME, FakeCalls
from tests.component.kernel import FakeKernel, look_up, read_directory
from tests.component.world import World, mount

pytestmark = pytest.mark.virtual_time

FILES, FOLDERS, LIMIT = 20, 10, 100


class Forgetful(FakeKernel):
    """A kernel that forgets an inode when its entry is invalidated, and says so."""

    world: World

    def entry_changed(self, parent: InodeNumber, name: str) -> None:
        super().entry_changed(parent, name)
        child = (self.world.namespace.inodes.get(parent).children or {})[name]
        self.world.namespace.inodes.forget(child.number, child.lookups)


@pytest.fixture
def fake() -> FakeCalls:
    """An Orion with ten folders of twenty files each."""
    made = FakeCalls()
    for folder in range(FOLDERS):
        made.add_folder(f"{HOME}/f{folder}")
        for number in range(FILES):
            made.add_file(f"{HOME}/f{folder}/{number}", b"x")
    return made


@asynccontextmanager
async def forgetting(tmp_path, fake, items_max: int = LIMIT) -> AsyncIterator[tuple[World, Forgetful]]:
    kernel = Forgetful()
    async with mount(tmp_path, fake, kernel=kernel) as world:
        world.namespace.on_visit.clear()  # nothing is listed ahead
        kernel.world = world
        await world.nursery.start(Forgetting(world.namespace, kernel, items_max).run)
        yield world, kernel


async def test_walk_over_more_than_the_limit_leaves_the_kernel_with_the_latest(tmp_path, fake) -> None:
    async with forgetting(tmp_path, fake) as (world, kernel):
        assert await look_up(world, "my-data/f0")
        for number in range(FOLDERS):
            assert len(await read_directory(world, f"my-data/f{number}")) == FILES
            await trio.sleep(1.0)
            assert len(world.namespace.inodes) <= LIMIT
        latest = (await world.inode(f"my-data/f{FOLDERS - 1}")).children or {}
        assert sum(child.lookups for child in latest.values()) == FILES
        assert {name for _, name in kernel.entries} == {str(n) for n in range(FILES)}, "never a folder"
        first = await world.inode("my-data/f0")
        assert not first.children
        assert first.lookups == 1
        assert len(await read_directory(world, "my-data/f0")) == FILES


async def test_below_the_limit_nothing_is_forgotten(tmp_path, fake) -> None:
    async with forgetting(tmp_path, fake, 1000) as (world, kernel):
        for number in range(FOLDERS):
            await read_directory(world, f"my-data/f{number}")
        await trio.sleep(60)
        assert kernel.entries == []


async def test_open_files_are_not_forgotten(tmp_path, fake) -> None:
    async with forgetting(tmp_path, fake) as (world, _):
        await read_directory(world, "my-data/f0")
        handle = await world.open("my-data/f0/7")
        for number in range(1, FOLDERS):
            await read_directory(world, f"my-data/f{number}")
            await trio.sleep(1.0)
        assert list((await world.inode("my-data/f0")).children or {}) == ["7"]
        await world.close(handle)


async def test_one_folder_larger_than_the_limit_is_listed_whole(tmp_path, fake) -> None:
    for number in range(3 * LIMIT):
        fake.add_file(f"{HOME}/f0/more-{number}", b"x")
    async with forgetting(tmp_path, fake) as (world, _):
        assert len(await read_directory(world, "my-data/f0")) == FILES + 3 * LIMIT
        await trio.sleep(1.0)
        assert len(world.namespace.inodes) <= LIMIT
        assert len(await read_directory(world, "my-data/f0")) == FILES + 3 * LIMIT
