"""The same operations on a mount and on a plain model: same bytes, same names, same errors.

Hypothesis draws the operations, the switches of Orion, and how long each call takes. Handles stay open
over renames and removals, and closing goes on in the background while other operations run. In the
end everything is carried out: Orion holds what the model holds, and so does a new mount.
"""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orionfs.errors import NameExists, OrionFsError
from orionfs.models import HandleId
from orionfs.orion.remote import Limits
from orionfs.tables.freshness import Freshness
from tests.component.fake_orion import HOME
from tests.component.world import World, mount
from tests.model.orion import Habits, habits, in_every_trouble, threads, trouble

pytestmark = [
    pytest.mark.virtual_time,
    pytest.mark.expect_log("is not on Orion yet|offline: |stays on Orion"),
]

TOP = "my-data/"
PATHS = ["a", "b", "d", "d/a", "d/b", "e", "e/a", "d/e", "d/e/a", "d~file-1"]
FLAGS = [
    os.O_RDONLY,
    os.O_RDWR,
    os.O_RDWR | os.O_TRUNC,
    os.O_RDWR | os.O_CREAT,
    os.O_WRONLY | os.O_CREAT | os.O_TRUNC,
    os.O_RDWR | os.O_CREAT | os.O_EXCL,
]
SLOTS = 3


# -- the model -----------------------------------------------------------------------------------


@dataclass(eq=False)
class File:
    """The bytes of a file, whatever its names."""

    data: bytearray = field(default_factory=bytearray)

    def write(self, offset: int, data: bytes) -> None:
        self.data.extend(b"\0" * (offset - len(self.data)))
        self.data[offset : offset + len(data)] = data

    def truncate(self, size: int) -> None:
        del self.data[size:]
        self.data.extend(b"\0" * (size - len(self.data)))


Tree = dict[str, File | None]  # path -> file, or None for a folder; the top is ""


class Model:
    """What a local file system does; every verb gives the errnos it may end with, none: it is done."""

    def __init__(self) -> None:
        self.tree: Tree = {"": None}

    def way_to(self, path: str) -> set[int]:
        """What is wrong with the folders above a path."""
        parts = path.split("/")
        for depth in range(1, len(parts)):
            above = "/".join(parts[:depth])
            if above not in self.tree:
                return {errno.ENOENT}
            if self.tree[above] is not None:
                return {errno.ENOTDIR}
        return set()

    def below(self, path: str) -> list[str]:
        return [each for each in self.tree if each.startswith(path + "/" if path else "") and each != path]

    def names(self, path: str) -> list[str]:
        prefix = path + "/" if path else ""
        return sorted(each[len(prefix) :] for each in self.below(path) if "/" not in each[len(prefix) :])

    def is_folder(self, path: str) -> bool:
        return path in self.tree and self.tree[path] is None

    def missing(self, path: str) -> set[int]:
        return self.way_to(path) or (set() if path in self.tree else {errno.ENOENT})

    def no_open(self, path: str, flags: int) -> set[int]:
        """Why a file can't be opened."""
        if wrong := self.way_to(path):
            return wrong
        if path not in self.tree:
            return set() if flags & os.O_CREAT else {errno.ENOENT}
        if flags & os.O_EXCL:
            return {errno.EEXIST}
        return {errno.EISDIR} if self.is_folder(path) else set()

    def open(self, path: str, flags: int) -> File:
        """Open what can be opened."""
        found = self.tree.get(path) or File()
        self.tree[path] = found
        if flags & os.O_TRUNC:
            found.truncate(0)
        return found

    def mkdir(self, path: str) -> set[int]:
        if wrong := self.way_to(path):
            return wrong
        if path in self.tree:
            return {errno.EEXIST}
        self.tree[path] = None
        return set()

    def rmdir(self, path: str) -> set[int]:
        if wrong := self.missing(path):
            return wrong
        if not self.is_folder(path):
            return {errno.ENOTDIR}
        if self.below(path):
            return {errno.ENOTEMPTY}
        del self.tree[path]
        return set()

    def unlink(self, path: str) -> set[int]:
        if wrong := self.missing(path):
            return wrong
        if self.is_folder(path):
            return {errno.EISDIR}
        del self.tree[path]
        return set()

    def rename(self, old: str, new: str) -> set[int]:
        wrong = self.missing(old) | self.way_to(new)
        if new.startswith(old + "/"):
            wrong |= {errno.EINVAL}
        if wrong:
            return wrong
        if old == new:
            return set()
        if new in self.tree:
            if self.is_folder(new) and not self.is_folder(old):
                return {errno.EISDIR}
            if self.is_folder(old) and not self.is_folder(new):
                return {errno.ENOTDIR}
            if self.below(new):
                return {errno.ENOTEMPTY}
        for path in [old, *self.below(old)]:
            self.tree[new + path[len(old) :]] = self.tree.pop(path)
        return set()

    def contents(self) -> dict[str, bytes | None]:
        """As the fake tells its own tree."""
        return {
            path: None if found is None else bytes(found.data) for path, found in self.tree.items() if path
        }


# -- both side by side ---------------------------------------------------------------------------


@dataclass
class Open:
    """A handle of the mount and the file of the model."""

    handle: HandleId
    file: File


class Pair:
    """A mount and a model. With `is_troubled` calls fail: errors are allowed, wrong bytes never."""

    def __init__(self, world: World, *, is_troubled: bool) -> None:
        self.world = world
        self.model = Model()
        self.is_troubled = is_troubled
        self.slots: dict[int, Open] = {}
        self.background: trio.Nursery = world.nursery
        self.under_way = 0

    async def tried(self, call: Callable[[], Any], *, expected: set[int]) -> tuple[bool, Any]:
        """True and what the call gave, or False; any end but the expected one fails the test."""
        try:
            found = await call()
        except OrionFsError as error:
            if not self.is_troubled:
                assert error.errno in expected, f"{error!r} instead of {expected}"
            return False, None
        assert not expected, f"done, instead of {expected}"
        return True, found

    async def change(self, change: Callable[[Model], set[int]], call: Callable[[], Any]) -> None:
        """A change of names. If it ends in trouble it has happened or not, and nothing in between."""
        before = dict(self.model.tree)
        expected = change(self.model)
        is_done, _ = await self.tried(call, expected=expected)
        if is_done or expected:
            return
        await self.finish_all()
        after, self.model.tree = self.model.tree, before
        if self.world.fake.tree() != self.model.contents():
            self.model.tree = after
            assert self.world.fake.tree() == self.model.contents(), "neither done nor undone"

    # Operations

    async def open(self, slot: int, path: str, flags: int) -> None:
        await self.close(slot)
        expected = self.model.no_open(path, flags)
        is_open, handle = await self.tried(partial(self.world.open, TOP + path, flags), expected=expected)
        if is_open:
            self.slots[slot] = Open(handle, self.model.open(path, flags))

    async def close(self, slot: int, *, in_background: bool = False) -> None:
        """Errors of close are allowed in trouble only; what was written stays written."""
        found = self.slots.pop(slot, None)
        if found is None:
            return
        if not in_background:
            await self.tried(partial(self.world.close, found.handle), expected=set())
            return
        self.under_way += 1

        async def close() -> None:
            try:
                await self.tried(partial(self.world.close, found.handle), expected=set())
            finally:
                self.under_way -= 1

        self.background.start_soon(close)

    async def write(self, slot: int, offset: int, data: bytes) -> None:
        found = self.slots.get(slot)
        if found is None:
            return
        is_done, _ = await self.tried(
            partial(self.world.files.write, found.handle, offset, data), expected=set()
        )
        if is_done:
            found.file.write(offset, data)

    async def append(self, slot: int, data: bytes) -> None:
        found = self.slots.get(slot)
        if found is not None:
            await self.write(slot, len(found.file.data), data)

    async def truncate(self, slot: int, size: int) -> None:
        found = self.slots.get(slot)
        if found is None:
            return
        inode = self.world.files._handles[found.handle].file.inode
        is_done, _ = await self.tried(
            partial(self.world.files.truncate, inode, size, found.handle), expected=set()
        )
        if is_done:
            found.file.truncate(size)

    async def flush(self, slot: int, verb: str) -> None:
        found = self.slots.get(slot)
        if found is not None:
            await self.tried(partial(getattr(self.world.files, verb), found.handle), expected=set())

    async def read(self, slot: int, offset: int, size: int) -> None:
        found = self.slots.get(slot)
        if found is None:
            return
        is_done, data = await self.tried(
            partial(self.world.files.read, found.handle, offset, size), expected=set()
        )
        if is_done:
            assert data == bytes(found.file.data[offset : offset + size])

    async def save(self, path: str, data: bytes) -> None:
        await self.open(SLOTS, path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        if data:
            await self.write(SLOTS, 0, data)
        await self.close(SLOTS)

    async def load(self, path: str) -> None:
        await self.open(SLOTS, path, os.O_RDONLY)
        await self.read(SLOTS, 0, 10**6)
        await self.close(SLOTS)

    async def mkdir(self, path: str) -> None:
        async def make() -> None:
            """The kernel looks a name up before it makes it."""
            if await self.world.stat(TOP + path) is not None:
                raise NameExists(path)
            await self.world.mkdir(TOP + path)

        await self.change(lambda model: model.mkdir(path), make)

    async def rmdir(self, path: str) -> None:
        await self.change(lambda model: model.rmdir(path), partial(self.world.rmdir, TOP + path))

    async def unlink(self, path: str) -> None:
        await self.change(lambda model: model.unlink(path), partial(self.world.unlink, TOP + path))

    async def rename(self, old: str, new: str) -> None:
        call = partial(self.world.rename, TOP + old, TOP + new)
        await self.change(lambda model: model.rename(old, new), call)

    async def ls(self, path: str) -> None:
        expected = self.model.missing(path) if path else set()
        if not expected and not self.model.is_folder(path):
            return
        is_done, names = await self.tried(partial(self.world.ls, TOP + path), expected=expected)
        if is_done:
            assert names == self.model.names(path)

    async def stat(self, path: str) -> None:
        expected = self.model.missing(path)
        is_done, inode = await self.tried(partial(self.world.inode, TOP + path), expected=expected)
        if is_done:
            attributes = self.world.namespace.attributes(inode, 1.0)
            found = self.model.tree[path]
            assert attributes.is_directory == (found is None)
            assert found is None or attributes.size == len(found.data)

    async def wait(self, seconds: float) -> None:
        await trio.sleep(seconds)

    # The end

    async def finish_all(self) -> None:
        """Everything that is under way is carried out, trouble or not; open files are flushed."""
        chaos, self.world.fake.chaos = self.world.fake.chaos, None
        await trio.sleep(400)
        while self.under_way:
            await trio.sleep(10)
        for found in self.slots.values():
            await self.tried(partial(self.world.files.fsync, found.handle), expected=set())
        for _ in range(20):
            if await self.world.sync.drain(400):
                break
            await trio.sleep(400)
        self.world.fake.chaos = chaos

    async def check_end(self) -> None:
        self.world.fake.chaos = None
        await trio.sleep(400)
        for slot in list(self.slots):
            await self.close(slot)
        await self.finish_all()
        assert self.world.fake.tree() == self.model.contents()
        await self.check_all()
        self.world.check_nothing_left()

    async def check_all(self) -> None:
        """All of the tree, by listing and by name."""
        for path in ["", *self.model.tree, *PATHS]:
            await self.ls(path)
            if path:
                await self.stat(path)
                await self.load(path)


# -- what is drawn -------------------------------------------------------------------------------

paths = st.sampled_from(PATHS)
slots = st.integers(0, SLOTS - 1)
offsets = st.integers(0, 12)
data = st.binary(min_size=1, max_size=6)


def op(name: str, *arguments: st.SearchStrategy[Any], **fixed: Any) -> st.SearchStrategy[Any]:
    return st.tuples(st.just(name), st.tuples(*arguments), st.just(fixed))


operations = st.one_of(
    op("open", slots, paths, st.sampled_from(FLAGS)),
    op("open", slots, paths, st.sampled_from(FLAGS)),
    op("write", slots, offsets, data),
    op("write", slots, offsets, data),
    op("append", slots, data),
    op("truncate", slots, offsets),
    op("flush", slots, st.sampled_from(["flush", "fsync"])),
    op("close", slots),
    op("close", slots, in_background=True),
    op("read", slots, offsets, offsets),
    op("save", paths, data),
    op("save", paths, data),
    op("load", paths),
    op("mkdir", paths),
    op("mkdir", paths),
    op("rmdir", paths),
    op("unlink", paths),
    op("rename", paths, paths),
    op("rename", paths, paths),
    op("ls", st.sampled_from(["", *PATHS])),
    op("stat", paths),
    op("wait", st.sampled_from([0.1, 2.0, 6.0, 11.0, 35.0, 100.0])),
)


async def run(folder: Path, steps: list[Any], habits: Habits, *, share: float = 0.0) -> None:
    """All steps on both, then everything must be in its place."""
    fake = habits.fake()
    draw = random.Random(habits.seed)
    freshness = Freshness(habits.metadata_ttl_s, min(5.0, habits.metadata_ttl_s))
    build = partial(
        mount,
        folder,
        fake,
        threads=threads(draw),
        freshness=freshness,
        limits=Limits(),
        pressure=habits.pressure,
    )
    async with build() as world:
        await trio.sleep(100)
        pair = Pair(world, is_troubled=share > 0)
        fake.chaos = trouble(draw, share) if share else None
        for name, arguments, fixed in steps:
            await getattr(pair, name)(*arguments, **fixed)
        await pair.check_end()
        model = pair.model
    async with build() as world:
        await trio.sleep(100)
        pair = Pair(world, is_troubled=False)
        pair.model = model
        await pair.check_all()
        assert fake.tree(HOME) == model.contents()


short = settings(
    max_examples=25,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
long = settings(short, max_examples=1500, derandomize=False)
many_steps = st.lists(operations, min_size=5, max_size=25)
more_steps = st.lists(operations, min_size=10, max_size=60)


@short
@given(steps=many_steps, habits=habits([0.0]))
async def test_mount_does_what_a_local_file_system_does(folders, steps, habits) -> None:
    await run(folders(), steps, habits)


@short
@given(steps=many_steps, habits=habits([3.0, 8.0]))
async def test_mount_on_lagging_replicas_does_what_a_local_file_system_does(folders, steps, habits) -> None:
    await run(folders(), steps, habits)


@short
@given(steps=many_steps, habits=habits([0.0, 3.0]))
async def test_mount_in_trouble_may_fail_and_never_has_wrong_bytes(folders, steps, habits) -> None:
    await run(folders(), steps, habits, share=0.1)


@in_every_trouble
@long
@given(data=st.data())
async def test_long_histories(folders, share, lag_s, data) -> None:
    steps = data.draw(more_steps)
    await run(folders(), steps, data.draw(habits([lag_s])), share=share)
