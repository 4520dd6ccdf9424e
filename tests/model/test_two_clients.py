"""Two clients change one project, one through the mount and one beside it; the mount keeps its contract.

What the mount did itself is seen at once and neither vanishes nor comes back; what the other one did is
seen within the TTL; nothing is ever shown twice, or not at all; nothing is removed but what somebody
asked to remove. In the end the mount equals Orion, and nothing of it is left in memory.
"""

from __future__ import annotations

import errno
import itertools
import os
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyfuse3
import pytest
import trio
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from orionfs.models import Item, Key, Kind
from orionfs.orion.remote import Limits
from orionfs.orion.shapes import read_item
from orionfs.tables.freshness import Freshness
from orionfs.tables.names import visible_names
from tests.component.fake_orion import HOME, FakeCalls
from tests.component.world import World, mount
from tests.model.contract import Contract, Entity
from tests.model.kernel import Kernel, readdir_reply
from tests.model.orion import Habits, habits, in_every_trouble, threads, trouble
from tests.model.stranger import Stranger

pytestmark = [
    pytest.mark.virtual_time,
    pytest.mark.expect_log(
        "is not on Orion yet|offline: |stays on Orion|no answer within|Orion told less|something else has"
        "|: as scripted|was changed elsewhere meanwhile|it was not made here|to write a dataset: "
        "|Orion lost the uploaded item"
    ),
]

TOP = "my-data/"
NAMES = ["a", "b", "d", "e"]
PATHS = ["a", "b", "d", "d/a", "d/b", "e", "e/a", "d/e", "d/e/a", "a~file-1020", "d/a~x"]
SLOTS = 2
FEW_ROWS = 10
"""Pages of less than this don't hold a folder of these models."""
USUAL = {
    errno.ENOENT, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENOTEMPTY, errno.EINVAL, errno.EBUSY,
    errno.ESTALE, errno.EACCES,
}  # fmt: skip
"""What a call may end with while somebody else changes the same names; EACCES where it is a dataset now."""
TROUBLED = {errno.EIO, errno.ETIMEDOUT}
PAGES_DIFFER = {errno.EIO}
"""The same where the pages of a listing come from replicas that lag, each by its own time."""


@pytest.fixture(autouse=True)
def _replies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pyfuse3, "readdir_reply", readdir_reply)


# -- both ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Open:
    """A handle for reading, and the version that it was opened for."""

    handle: int
    number: int
    key: Key | None


class Clients:
    """The mount, through a kernel, and the other one; judged by the contract."""

    def __init__(self, world: World, kernel: Kernel, window_s: float, *, is_troubled: bool) -> None:
        self.world = world
        self.fake = world.fake
        self.kernel = kernel
        kernel.begin(world)
        self.stranger = Stranger(self.fake)
        self.contract = Contract(self.fake, window_s, world.sync.unseen)
        self.window_s = window_s
        self.is_troubled = is_troubled
        self.slots: dict[int, Open] = {}
        self.may_be_removed: set[Entity] = set()
        self.contents: dict[int, bytes] = {}  # inode number -> bytes saved here last
        # What was saved here under a path, and whatever else was saved there before: it may go unseen.
        self._saved: dict[str, set[bytes]] = {}
        self.superseded: set[bytes] = set()
        self._numbers = itertools.count(1)
        self._running = 0

    async def tried(self, call: Callable[[], Awaitable[Any]]) -> tuple[bool, Any]:
        """True and what the call gave, or False; only usual errors are allowed."""
        started_s = trio.current_time()
        self._running += 1
        try:
            return True, await call()
        except OSError as error:
            self.contract.failed.append((started_s, trio.current_time()))
            allowed = USUAL | (TROUBLED if self.is_troubled else set())
            if self.fake.page_max < FEW_ROWS and self.fake.read_lag_s:
                allowed |= PAGES_DIFFER
            assert error.errno in allowed, repr(error)
            return False, error
        finally:
            self._running -= 1

    def item(self, number: int) -> Item:
        """What the mount says is behind a number that the kernel knows."""
        return self.world.namespace.inodes.get(number).item

    # What the mount shows

    async def ls(self, path: str) -> None:
        started_s = trio.current_time()
        is_done, entries = await self.tried(partial(self.kernel.ls, TOP + path))
        if is_done and not self.is_troubled:
            shown = {name: self.item(number) for name, number in entries.items()}
            self.contract.check_listing(path, shown, started_s)

    async def stat(self, path: str) -> None:
        started_s = trio.current_time()
        is_done, found = await self.tried(partial(self.kernel.stat, TOP + path))
        if self.is_troubled:
            return
        if is_done:
            self.contract.check_name(path, self.item(found[0]), started_s)
        elif found.errno == errno.ENOENT:
            self.contract.check_name(path, None, started_s)

    async def load(self, path: str) -> None:
        is_done, found = await self.tried(partial(self.kernel.load, TOP + path))
        if is_done:
            number, data = found
            self._check_bytes(number, data, self.item(number).key)

    def _check_bytes(self, number: int, data: bytes, key: Key | None) -> None:
        if key is not None:
            assert data in (self.fake.row(key.id).contents, self.contents.get(number))

    async def open(self, slot: int, path: str) -> None:
        await self.close(slot)
        is_done, found = await self.tried(partial(self.kernel.open, TOP + path, os.O_RDONLY))
        if is_done:
            handle, number = found
            self.slots[slot] = Open(handle, number, self.item(number).key)

    async def read(self, slot: int) -> None:
        """What is open is read as it was opened, but for what was written here since."""
        opened = self.slots.get(slot)
        if opened is None:
            return
        is_done, data = await self.tried(partial(self.kernel.read, opened.handle, opened.number))
        if is_done:
            self._check_bytes(opened.number, data, opened.key)

    async def close(self, slot: int) -> None:
        opened = self.slots.pop(slot, None)
        if opened is not None:
            await self.tried(partial(self.kernel.close, opened.handle, opened.number))

    # What the mount changes

    async def save(self, path: str) -> None:
        data = b"own %d" % next(self._numbers)
        is_done, _ = await self._removing(path, partial(self._save, TOP + path, data))
        self._saved.setdefault(path, set()).add(data)
        if is_done:
            await self._look(path)

    async def _removing(self, path: str, call: Callable[[], Awaitable[Any]]) -> tuple[bool, Any]:
        """The call may take away what has this name when it begins or before it ends."""
        self.may_be_removed |= self.contract.that_may_be(path)
        self.superseded |= self._saved.get(path, set())
        done = await self.tried(call)
        self.may_be_removed |= self.contract.that_may_be(path)
        return done

    async def _save(self, path: str, data: bytes) -> None:
        handle, number = await self.kernel.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        self.contents[number] = data
        try:
            await self.kernel.write(handle, number, data)
        finally:
            await self.kernel.close(handle, number)

    async def mkdir(self, path: str) -> None:
        is_done, _ = await self.tried(partial(self.kernel.mkdir, TOP + path))
        if is_done:
            await self._look(path)

    async def rmdir(self, path: str) -> None:
        is_done, _ = await self._removing(path, partial(self.kernel.rmdir, TOP + path))
        if is_done:
            await self._look(path)

    async def unlink(self, path: str) -> None:
        is_done, _ = await self._removing(path, partial(self.kernel.unlink, TOP + path))
        if is_done:
            await self._look(path)

    async def rename(self, old: str, new: str, *, may_replace: bool = True) -> None:
        call = partial(self.kernel.rename, TOP + old, TOP + new, may_replace=may_replace)
        is_done, _ = await self._removing(new, call)
        for path, contents in list(self._saved.items()):  # it may have moved, even if that was not told
            if path == old or path.startswith(f"{old}/"):
                self._saved.setdefault(new + path.removeprefix(old), set()).update(contents)
        if is_done:
            await self._look(old)
            await self._look(new)

    async def _look(self, path: str) -> None:
        """A change of one's own is seen at once."""
        await self.stat(path)

    # Both, and time

    async def other(self, delay_s: float, verb: str, *arguments: Any) -> None:
        """The other one does something, at once or while the mount goes on."""
        if not delay_s:
            getattr(self.stranger, verb)(*arguments)
            return

        async def later() -> None:
            await trio.sleep(delay_s)
            getattr(self.stranger, verb)(*arguments)

        self.world.nursery.start_soon(later)

    async def wait(self, seconds: float) -> None:
        await trio.sleep(seconds)

    async def look_later(self, seconds: float) -> None:
        """By a listing that was asked for after all that was done, while replicas may still lag."""
        await trio.sleep(seconds)
        for path in ("", "d", "e"):
            await self.ls(path)

    async def shrink(self) -> None:
        await self.kernel.shrink()

    async def refresh(self) -> None:
        """After this the mount shows what Orion's replicas say."""
        refreshed = self.world.refresher.start("/")
        await refreshed.done.wait()
        assert refreshed.failed == []

    # The end

    async def check_end(self, *, is_refreshed: bool) -> None:
        self.fake.chaos = None
        for slot in list(self.slots):
            await self.close(slot)
        await trio.sleep(400 if self.is_troubled else 20)
        await self._drain()
        self.is_troubled = False
        await trio.sleep(self.fake.read_lag_s + 0.1 if is_refreshed else self.window_s)
        if is_refreshed:
            await self.refresh()
        await self.check_equal()
        self._check_removed()
        self.world.check_nothing_left()
        await self._check_forgotten()

    async def _drain(self) -> None:
        """What can't get its name, since the other one has taken it, gets it when that one gives way."""
        for _ in range(20):
            if await self.world.sync.drain(400):
                return
            for upload in self.world.sync.pending:
                self.stranger.give_way(upload.row.path.removeprefix(f"{HOME}/"))
            await trio.sleep(400)

    async def check_equal(self) -> None:
        """All folders by listing and every name alone show what Orion holds."""
        wanted = wanted_tree(self.fake)
        for path, entries in wanted.items():
            for name, entity in entries.items():
                number, _, _ = await self.kernel.stat(TOP + (f"{path}/{name}" if path else name))
                assert self.contract.entity(self.item(number)) == entity
            found = await self.kernel.ls(TOP + path)
            assert {n: self.contract.entity(self.item(number)) for n, number in found.items()} == entries
        for path in PATHS:
            above, _, name = path.rpartition("/")
            if name not in wanted.get(above, {}):
                is_done, _ = await self.tried(partial(self.kernel.stat, TOP + path))
                assert not is_done, f"{path} is not there"

    def _check_removed(self) -> None:
        gone = [row for row in self.fake.rows() if row.is_deleted and row.kind != "folder"]
        for row in gone:
            is_wanted = row.id in self.stranger.removed or Key(Kind(row.kind), row.id) in self.may_be_removed
            is_wanted |= row.contents in self.superseded
            assert is_wanted or row.name.startswith(".orionfs-"), f"{row} was removed by nobody"

    async def _check_forgotten(self) -> None:
        await self.kernel.shrink()
        await trio.sleep(3 * self.window_s)  # nobody looks again at what nobody uses
        await self.tried(partial(self.kernel.stat, TOP + "none"))  # whoever asks lets old changes go
        await self.kernel.shrink()
        for inode in self.world.namespace.inodes:
            if inode.children is not None and not inode.is_virtual:
                self.world.namespace.beliefs.forget(inode)
        left = [inode for inode in self.world.namespace.inodes if inode.anchor is None and inode.parent]
        assert left == [], "nobody needs these any more"


def wanted_tree(fake: FakeCalls) -> dict[str, dict[str, Entity | None]]:
    """Visible path of a folder below the top -> visible name -> what it is."""
    found: dict[str, dict[str, Entity | None]] = {}

    def walk(folder: int, path: str) -> None:
        names = visible_names(read_item(row) for row in fake.rows_in(folder))
        found[path] = {n: i.name if i.kind is Kind.FOLDER else i.key for n, i in names.items()}
        for name, item in names.items():
            if item.kind is Kind.FOLDER and item.id is not None:
                walk(item.id, f"{path}/{name}" if path else name)

    top = fake.folder_id(HOME)
    assert top is not None
    walk(top, "")
    return found


# -- what is drawn -------------------------------------------------------------------------------

paths = st.sampled_from(PATHS)
slots = st.integers(0, SLOTS - 1)
delays = st.sampled_from([0.0, 0.0, 0.01, 0.31, 2.5])


def op(name: str, *arguments: st.SearchStrategy[Any], **fixed: Any) -> st.SearchStrategy[Any]:
    return st.tuples(st.just(name), st.tuples(*arguments), st.just(fixed))


operations = st.one_of(
    op("ls", st.sampled_from(["", "", "d", "e", "d/e"])),
    op("stat", paths),
    op("load", paths),
    op("open", slots, paths),
    op("read", slots),
    op("save", paths),
    op("save", paths),
    op("mkdir", paths),
    op("mkdir", paths),
    op("rmdir", paths),
    op("unlink", paths),
    op("rename", paths, paths),
    op("rename", paths, paths),
    op("rename", paths, paths, may_replace=False),
    op("other", delays, st.just("put"), paths, st.sampled_from(["file", "file", "dataset"])),
    op("other", delays, st.just("replace"), paths),
    op("other", delays, st.just("remove"), paths),
    op("other", delays, st.just("mkdir"), paths),
    op("other", delays, st.just("move"), paths, paths),
    op("wait", st.sampled_from([0.1, 2.0, 6.0, 11.0, 35.0])),
    op("look_later", st.sampled_from([1.1, 2.0, 5.0])),
    op("look_later", st.sampled_from([1.1, 2.0, 5.0])),
    op("shrink"),
)


async def run(
    folder: Path, steps: list[Any], habits: Habits, *, is_refreshed: bool, share: float = 0.0
) -> None:
    """All steps, then everything must be in its place."""
    fake = habits.fake()
    fake.keeps_history = True
    draw = random.Random(habits.seed)
    freshness = Freshness(habits.metadata_ttl_s, min(5.0, habits.metadata_ttl_s))
    one = partial(
        mount,
        folder,
        fake,
        threads=threads(draw),
        freshness=freshness,
        limits=Limits(),
        pressure=habits.pressure,
    )
    kernel = Kernel()
    async with one(kernel=kernel, refresh_folders=draw.choice([0, 16])) as world:
        await trio.sleep(100)
        window_s = freshness.metadata_ttl_s + max(freshness.read_lag_s, fake.read_lag_s) + 1.0
        clients = Clients(world, kernel, window_s, is_troubled=share > 0)
        fake.chaos = trouble(draw, share) if share else None
        for name, arguments, fixed in steps:
            await getattr(clients, name)(*arguments, **fixed)
        await clients.check_end(is_refreshed=is_refreshed)
    async with one() as world:
        await trio.sleep(100)
        await Clients(world, Kernel(), window_s, is_troubled=False).check_equal()


short = settings(
    max_examples=20,
    derandomize=True,
    report_multiple_bugs=False,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
long = settings(short, max_examples=1500, derandomize=False)
many_steps = st.lists(operations, min_size=5, max_size=30)
more_steps = st.lists(operations, min_size=10, max_size=60)


@short
@given(steps=many_steps, habits=habits([0.0, 0.0, 3.0, 8.0]), is_refreshed=st.booleans())
async def test_mount_keeps_its_contract_while_another_changes_the_same_names(
    folders, steps, habits, is_refreshed
) -> None:
    await run(folders(), steps, habits, is_refreshed=is_refreshed)


@short
@given(steps=many_steps, habits=habits([0.0, 3.0]), is_refreshed=st.booleans())
async def test_mount_in_trouble_equals_orion_in_the_end(folders, steps, habits, is_refreshed) -> None:
    await run(folders(), steps, habits, is_refreshed=is_refreshed, share=0.1)


@pytest.mark.parametrize("seed", range(6))
async def test_own_changes_stay_while_listings_of_lagging_replicas_come_in(tmp_path, seed) -> None:
    """What chance alone brings about too seldom."""
    looks: list[Any] = [("look_later", (1.1,), {}), ("look_later", (2.0,), {})]
    made: list[Any] = [("mkdir", ("d",), {}), ("save", ("a",), {}), ("save", ("d/a",), {})]
    moved: list[Any] = [("rename", ("d", "e"), {}), ("rename", ("a", "b"), {})]
    gone: list[Any] = [("unlink", ("b",), {}), ("unlink", ("e/a",), {}), ("rmdir", ("e",), {})]
    steps = [("wait", (35.0,), {}), *made, *looks, *moved, *looks, *gone, *looks]
    chosen = Habits(True, False, True, False, 1000, read_lag_s=8.0, metadata_ttl_s=1.0, seed=seed)
    await run(tmp_path, steps, chosen, is_refreshed=False)


async def test_directory_that_is_read_slowly_shows_nothing_twice(tmp_path) -> None:
    """Its snapshot is older than what it holds, and somebody else has made a folder of a file's name."""
    steps: list[Any] = [("save", ("b",), {}), ("save", ("d",), {}), ("other", (0.0, "mkdir", "b"), {})]
    looks: list[Any] = [("ls", ("",), {}), ("wait", (11.0,), {})] * 4
    for seed in range(10):
        folder = tmp_path / str(seed)
        folder.mkdir()
        chosen = Habits(True, False, False, False, 1000, read_lag_s=0.0, metadata_ttl_s=1.0, seed=seed)
        await run(folder, [*steps, *looks], chosen, is_refreshed=False)


@in_every_trouble
@long
@given(data=st.data())
async def test_long_histories_of_two_clients(folders, share, lag_s, data) -> None:
    steps = data.draw(more_steps)
    await run(
        folders(), steps, data.draw(habits([lag_s])), is_refreshed=data.draw(st.booleans()), share=share
    )
