"""All layers of a mount but the kernel, on a fake Orion, in virtual time.

`mount` builds what the daemon builds and gives a `World`, whose verbs do what system calls do, by path
below the mount point ("my-data/sub/file"). Leaving the block is a kill: nothing is drained, and what
is left in `tmp_path` is what the next `mount` there finds.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from orionfs import state
from orionfs.cache.content import ContentCache
from orionfs.cache.fetch import Fetcher
from orionfs.daemon.adoption import adopt
from orionfs.errors import NameExists, NoSuchName, OrionFsError
from orionfs.facts import StackFacts
from orionfs.fuse import Operations, Presentation
from orionfs.marks import new_mark
from orionfs.models import MARK_PREFIX, Account, HandleId, Item, KernelView
from orionfs.orion.remote import Limits, Remote
from orionfs.orion.sizes import SizeStore
from orionfs.outgoing.early import Pressure
from orionfs.outgoing.sync import Sync
from orionfs.reports import Reports
from orionfs.tables.freshness import Freshness
from orionfs.tables.inodes import Inode
from orionfs.tables.metacache import MetaCache
from orionfs.tables.metadata import Permissions
from orionfs.tree.ahead import Ahead
from orionfs.tree.namespace import Namespace
from orionfs.tree.protection import Protection
from orionfs.tree.refresh import Refresher
from orionfs.tree.resources import Resources
from orionfs.tree.toplevel import Top, plant
from orionfs.vfs.collecting import Collecting
from orionfs.vfs.contents_ahead import BYTES_MAX, ContentsAhead
from orionfs.vfs.files import Files
from orionfs.vfs.moves import Moves
from orionfs.vfs.opening import Opening
from orionfs.vfs.progress import Progress
from orionfs.xattrs.attributes import ExtendedAttributes, Sources
from orionfs.xattrs.item_attributes import ItemAttributes
from orionfs.xattrs.sharing import Sharing
from tests.component.fake_orion import HOME, TEAM, FakeCalls
from tests.component.virtual import held_clock

ACCOUNT = Account("stack", "demo", 1, 1, "Demo")
KNOWN = StackFacts(
    assign_path="folder",
    create_existing="refused",
    remove_equal="newest",
    kind_literals={"file": "file", "folder": "folder"},
)
"""What a probe keeps of the fake's habits, as far as a mount asks otherwise what it does not know."""
TOPS: Mapping[str, str] = {"my-data": HOME, "team-data": TEAM}
WORKSPACES: Mapping[str, str] = {"7": "by config", "8": "never shown"}
"""Names of workspaces, as the profile tells them."""


@dataclass(frozen=True, slots=True)
class World:
    """The layers, and verbs by path. What is known of a name is asked for as the kernel would."""

    fake: FakeCalls
    remote: Remote
    namespace: Namespace
    sync: Sync
    fetcher: Fetcher
    opening: Opening
    files: Files
    ahead: Ahead
    contents_ahead: ContentsAhead
    moves: Moves
    attributes: ExtendedAttributes
    operations: Operations
    content: ContentCache
    claimed: state.StateFolder
    nursery: trio.Nursery
    refresher: Refresher

    # -- names

    async def inode(self, path: str) -> Inode:
        """The inode at a path. Raises NoSuchName."""
        inode = self.namespace.inodes.root
        for name in filter(None, path.split("/")):
            inode = await self.namespace.child(inode, name)
        return inode

    async def place(self, path: str) -> tuple[Inode, str]:
        """Parent and visible name."""
        parent, _, name = path.rpartition("/")
        return await self.inode(parent), name

    async def stat(self, path: str) -> Item | None:
        """What is at a path, as lookup says."""
        try:
            return (await self.inode(path)).item
        except NoSuchName:
            return None

    async def ls(self, path: str) -> list[str]:
        """Visible names of a folder, sorted."""
        snapshot = await self.namespace.snapshot(await self.inode(path))
        return sorted(name for name, _ in snapshot.entries)

    async def mkdir(self, path: str) -> Inode:
        return await self.namespace.make_folder(*await self.place(path))

    async def rmdir(self, path: str) -> None:
        await self.moves.rmdir(*await self.place(path))

    async def unlink(self, path: str) -> None:
        await self.moves.unlink(*await self.place(path))

    async def rename(self, old: str, new: str, *, may_replace: bool = True) -> None:
        await self.moves.rename(*await self.place(old), *await self.place(new), may_replace=may_replace)

    # -- contents

    async def open(self, path: str, flags: int = os.O_RDONLY) -> HandleId:
        """open(2); the kernel looks a name up before it creates one."""
        parent, name = await self.place(path)
        inode, _ = await self.namespace.lookup(parent, name)
        if inode is None:
            if not flags & os.O_CREAT:
                raise NoSuchName(path)
            return self.files.create(self.namespace.make_file(parent, name, 0o644, new_mark()), flags)
        if flags & os.O_EXCL:
            raise NameExists(path)
        return await self.files.open(inode, flags)

    async def close(self, handle: HandleId) -> None:
        """close(2) of the last descriptor: flush, whose error is the caller's, and release."""
        try:
            await self.files.flush(handle)
        finally:
            await self.files.release(handle)

    async def save(self, path: str, data: bytes) -> None:
        """What `open(path, "wb").write(data)` does."""
        handle = await self.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        try:
            if data:
                await self.files.write(handle, 0, data)
        finally:
            await self.close(handle)

    async def read(self, path: str) -> bytes:
        """What `open(path, "rb").read()` gives."""
        handle = await self.open(path)
        try:
            return await self.read_all(handle)
        finally:
            await self.close(handle)

    async def read_all(self, handle: HandleId, size: int = 2**20) -> bytes:
        """All bytes of an open file."""
        parts: list[bytes] = []
        while True:
            part = await self.files.read(handle, sum(map(len, parts)), size)
            parts.append(part)
            if not part:
                return b"".join(parts)

    # -- what is left

    async def drain(self, limit_s: float = 3600.0) -> None:
        """Everything is on Orion after this."""
        assert await self.sync.drain(limit_s), f"still pending: {self.sync.pending}"
        while len(self.sync.early.sweeps):  # nobody waits for these but whoever wants to see nothing left
            await trio.sleep(1)

    def staged_files(self) -> list[str]:
        """Names of the files in the staging folder."""
        return sorted(path.name for path in self.claimed.staging.iterdir())

    def check_nothing_left(self) -> None:
        """Nothing is staged, promised or marked any more."""
        assert self.staged_files() == []
        assert self.claimed.journal.uploads() == []
        assert self.claimed.journal.removals() == []
        assert self.claimed.journal.renames.all() == []
        assert [
            row for row in self.fake.rows() if row.name.startswith(MARK_PREFIX) and not row.is_deleted
        ] == []


@asynccontextmanager
async def mount(
    tmp_path: Path,
    fake: FakeCalls | None = None,
    *,
    freshness: Freshness | None = None,
    limits: Limits | None = None,
    tops: Mapping[str, str] = TOPS,
    facts: StackFacts = KNOWN,
    protected: Sequence[tuple[str, ...]] = (),
    about: Callable[[], str] = lambda: "{}\n",
    views_items_max: int = 100_000,
    cache_items_max: int = 100_000,
    cache_bytes: int = 2**30,
    threads: Callable[[], AbstractContextManager[None]] = held_clock,
    kernel: KernelView | None = None,
    refresh_folders: int = 0,
    write_back: bool = False,
    lists_all: bool = False,
    pressure: Pressure | None = None,
) -> AsyncIterator[World]:
    """A mount of `fake` whose state and cache lie in `tmp_path`; `threads`: how calls in threads run.

    `facts` is what is known of the stack before; `kernel` hears of changes made elsewhere;
    `refresh_folders` are looked at again in the background; `write_back`: who changes something waits
    until it is promised only. `lists_all`: attributes of all sorts are listed; `pressure`: when a file
    that is being written begins to leave.
    """
    fake = fake or FakeCalls()
    clock = trio.lowlevel.current_clock()
    fake.clock = clock.current_time
    claimed = state.claim(tmp_path / "state", ACCOUNT)
    content = ContentCache(tmp_path / "cache", ACCOUNT.stack, ACCOUNT.username, cache_bytes)
    try:
        with threads():
            async with trio.open_nursery() as nursery:
                remote = Remote(fake, limits)
                remote.knowledge.begin(facts)
                remote.details.keep_in(SizeStore(tmp_path / "cache", ACCOUNT.stack, ACCOUNT.username))
                world = _build(
                    fake,
                    remote,
                    content,
                    claimed,
                    nursery,
                    cache_items_max,
                    cache_bytes,
                    limits,
                    freshness or Freshness(),
                    tops,
                    Protection(protected),
                    about,
                    views_items_max,
                    kernel,
                    refresh_folders,
                    write_back,
                    lists_all,
                    pressure,
                )
                services = (
                    remote.run,
                    world.sync.run,
                    world.fetcher.run,
                    world.opening.run,
                    world.ahead.run,
                    world.contents_ahead.run,
                    world.refresher.run,
                )
                for service in services:
                    await nursery.start(service)
                await adopt(claimed.journal, world.namespace, world.files, world.sync, world.moves.deferral)
                try:
                    yield world
                finally:
                    fake.release_all()
                    nursery.cancel_scope.cancel()
    finally:
        content.close()
        claimed.close()


def _build(
    fake: FakeCalls,
    remote: Remote,
    content: ContentCache,
    claimed: state.StateFolder,
    nursery: trio.Nursery,
    cache_items_max: int,
    cache_bytes: int,
    limits: Limits | None,
    freshness: Freshness,
    tops: Mapping[str, str],
    protection: Protection,
    about: Callable[[], str],
    views_items_max: int,
    kernel: KernelView | None,
    refresh_folders: int,
    write_back: bool,
    lists_all: bool,
    pressure: Pressure | None,
) -> World:
    local = claimed.journal.local.packed()
    reports = Reports()
    sync = Sync(
        remote,
        claimed.journal,
        content,
        claimed.staging,
        ACCOUNT.home,
        reports,
        is_write_back=write_back,
        pressure=pressure,
    )
    namespace = Namespace(
        remote,
        sync.assigner,
        MetaCache(cache_items_max),
        freshness,
        Permissions(),
        local,
        sync.unseen,
        about,
        views_items_max,
        kernel=kernel,
    )
    namespace.show_relocations(sync.relocator, sync.until_free)
    plant(namespace.inodes, [Top(name, orion_path) for name, orion_path in tops.items()], WORKSPACES)
    fetcher = Fetcher(remote, content)
    opening = Opening(namespace, remote, fetcher, content)
    files = Files(namespace, sync, fetcher, opening)
    ahead = Ahead(namespace, remote, cache_items_max, (limits or Limits()).metadata_in_flight)
    bytes_ahead = min(BYTES_MAX, cache_bytes // 8)
    contents_ahead = ContentsAhead(namespace, fetcher, remote, files.on_open, bytes_ahead)
    moves = Moves(namespace, files, sync, remote)
    refresher, resources = Refresher(namespace, refresh_folders), Resources(remote, freshness.metadata_ttl_s)
    items = ItemAttributes(namespace, resources, WORKSPACES)
    collecting, sharing = (
        Collecting(namespace, remote),
        Sharing(remote, sync.shares, files.until_uploaded, freshness.metadata_ttl_s),
    )
    refresher.on_demand += [resources.forget_all, sharing.forget_all]
    attributes = ExtendedAttributes(
        Sources(namespace, items, sharing, collecting, Progress(files, sync), reports),
        lists_all=lists_all,
    )
    operations = Operations(
        namespace,
        files,
        moves,
        attributes,
        Presentation(1000, 1000, 35.0, 80.0, 240.0),
        lambda: os.statvfs(claimed.staging),
        protection,
        reports=reports,
    )
    return World(
        fake,
        remote,
        namespace,
        sync,
        fetcher,
        opening,
        files,
        ahead,
        contents_ahead,
        moves,
        attributes,
        operations,
        content,
        claimed,
        nursery,
        refresher,
    )


async def outcomes(*calls: Callable[[], Awaitable[Any]]) -> list[Any]:
    """Several calls made at the same time: what each gave, or the error of ours it raised."""
    found: dict[int, Any] = {}

    async def one(at: int) -> None:
        try:
            found[at] = await calls[at]()
        except OrionFsError as error:
            found[at] = error

    async with trio.open_nursery() as nursery:
        for at in range(len(calls)):
            nursery.start_soon(one, at)
    return [found[at] for at in range(len(calls))]


async def settle() -> None:
    """Let everything go on that can do so without time passing; threads hold the clock."""
    await trio.sleep(1e-6)


async def check_end(world: World, **expected: bytes) -> None:
    """Once all is carried out Orion has this, and users see it."""
    await world.drain()
    assert world.fake.tree() == expected
    assert await world.ls("my-data") == sorted(expected)
    for name, data in expected.items():
        assert await world.read(f"my-data/{name}") == data
    world.check_nothing_left()
