"""A kernel in memory: what it was told by handlers, and what it is told of changes elsewhere."""

from __future__ import annotations

import trio

from orionfs.models import InodeNumber
from tests.component.world import World


class FakeKernel:
    """Notes all that it is told; see `KernelView`."""

    def __init__(self) -> None:
        self.entries: list[tuple[InodeNumber, str]] = []
        self.attributes: list[InodeNumber] = []

    def entry_changed(self, parent: InodeNumber, name: str) -> None:
        self.entries.append((parent, name))

    def attributes_changed(self, number: InodeNumber) -> None:
        self.attributes.append(number)

    async def settled(self, limit_s: float) -> bool:
        """It hears at once."""
        await trio.lowlevel.checkpoint()
        return True

    def names(self) -> list[str]:
        """Names that were told to be changed, sorted; told no more."""
        names = sorted(name for _, name in self.entries)
        self.entries.clear()
        return names


async def look_up(world: World, path: str) -> int | None:
    """A lookup as the kernel makes it: it knows the inode afterwards, whose number this is."""
    inode, _ = await world.namespace.lookup(*await world.place(path))
    if inode is None:
        return None
    inode.lookups += 1
    return inode.number


async def read_directory(world: World, path: str) -> dict[str, int]:
    """All entries of a folder as readdir gives them: the kernel knows them afterwards. Name -> number."""
    folder = await world.inode(path)
    snapshot = await world.namespace.snapshot(folder)
    numbers = {}
    for name, item in snapshot.entries:
        inode = world.namespace.entry(folder, name, item, snapshot)
        if inode is not None:
            inode.lookups += 1
            numbers[name] = int(inode.number)
    return numbers
