"""The tree: what inodes mean, and every change of a name; sole mutator of inodes and changes.

Runs in the trio thread: decide synchronously, await once, look again, commit without an await. What is
believed of names, and for how long, is `beliefs`. Knows items and the remote's verbs for names; must
not know FUSE, handles or contents.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from contextlib import AbstractContextManager
from dataclasses import replace
from math import inf

import trio

from orionfs.errors import (
    DirectoryNotEmpty,
    InvalidCall,
    IsADirectory,
    NameExists,
    NoSuchName,
    NotADirectory,
    OrionFsError,
    Stale,
)
from orionfs.holds import Holds
from orionfs.models import Attributes, Item, KernelView, Key, Kind, LocalAttributes
from orionfs.orion.remote import Remote
from orionfs.outgoing.assigning import Assigner
from orionfs.outgoing.parking import nothing_hidden
from orionfs.outgoing.relocating import Relocator, UntilFree, at_once
from orionfs.outgoing.shard_rules import check_may_hold, mark_for, new_item
from orionfs.tables.freshness import Freshness
from orionfs.tables.inodes import Inode, InodeTable, Standing
from orionfs.tables.metacache import Entries, MetaCache
from orionfs.tables.metadata import OPEN_VALID_S, Permissions, attributes_of
from orionfs.tables.names import true_name
from orionfs.tables.predecessors import Predecessors
from orionfs.tables.uses import Absences, Uses
from orionfs.tree.beliefs import Beliefs, Believed, touch
from orionfs.tree.differences import Differences, Silent
from orionfs.tree.doubts import Doubts
from orionfs.tree.folders import Folders
from orionfs.tree.places import check_may_change, check_places, place_of
from orionfs.tree.rivals import Rivals
from orionfs.tree.snapshots import Snapshot
from orionfs.tree.tagging import Tagging, nobody_hears
from orionfs.tree.views import VIEWS_NAME, Views


class Namespace:
    """The tree of one mount."""

    def __init__(
        self,
        remote: Remote,
        assigner: Assigner,
        cache: MetaCache,
        freshness: Freshness,
        permissions: Permissions,
        local: MutableMapping[Key, LocalAttributes],
        unseen: Collection[Key] = (),
        about: Callable[[], str] = str,
        views_items_max: int = 100_000,
        clock: Callable[[], float] = trio.current_time,
        kernel: KernelView | None = None,
    ) -> None:
        """`local` is what this machine knows of items; this keeps it up to date from then on.

        `unseen` is a live view of the items that nobody is shown; `kernel` hears of foreign changes.
        `about` gives the text of `.orion/about`; views keep `views_items_max` items.
        """
        self._remote = remote
        self._permissions = permissions
        self._local = local
        self._clock = clock
        self.inodes = InodeTable(Item(Kind.FOLDER, None, "", created_ns=time.time_ns()))
        self.beliefs = self._beliefs = Beliefs(remote, cache, self.inodes, freshness, unseen, clock)
        self._changes = self._beliefs.changes
        self._folders = Folders(remote, self._beliefs, assigner)
        self.on_visit: list[Callable[[Inode], None]] = []  # whoever lists a folder in a system call
        self._until_free: UntilFree = at_once
        # Of what is hidden at a name before something is made there (None: before its folder goes).
        self.make_way: Callable[[Inode, str | None], Awaitable[None]] = nothing_hidden
        self.on_tagged: Callable[[Inode], Awaitable[None]] = nobody_hears
        self.views = Views(remote, self.inodes, freshness, about, views_items_max, clock)
        self.tagging = Tagging(remote, cache, self._changes, self.views, self.folder_with_id)
        self.uses = Uses(clock)
        self._changing = Holds()
        self.predecessors = Predecessors()
        self._kernel = kernel = kernel if kernel is not None else Silent()
        self._absences = Absences(clock, kernel)
        self.doubts = Doubts(self._beliefs, kernel)
        self.rivals = Rivals(self.inodes, self._beliefs, kernel)
        self.differences = Differences(self.inodes, self._beliefs, self._absences, self._changing, kernel)

    @property
    def own_valid_s(self) -> float:
        """For how many seconds the kernel may believe what this mount has just made."""
        return self._beliefs.freshness.metadata_ttl_s

    def show_relocations(self, relocator: Relocator, until_free: UntilFree) -> None:
        """Show folders that are on their way at their new place; `until_free` waits for what is promised."""
        self._until_free = self._folders.until_free = until_free
        self._beliefs.asking = relocator.asking
        self._remote.recent.know_lags(self._beliefs.freshness.read_lag_s, self._beliefs.freshness.unheard_s)

    # Looking

    async def lookup(self, parent: Inode, name: str) -> tuple[Inode | None, float]:
        """The inode under a name (None: nothing there), and for how many seconds that holds."""
        self.touch(parent)
        believed = await self._resolve(parent, name)
        if believed.item is None:
            if parent is self.inodes.root and name == VIEWS_NAME:  # Orion's own of that name would win
                return self.views.root, believed.valid_s
            if not parent.is_view:
                self._absences.told(parent.number, name, believed.valid_s)
            return None, believed.valid_s
        return self.bind(parent, name, believed.item), believed.valid_s

    def touch(self, folder: Inode | None) -> None:
        """Somebody works in a folder."""
        if folder is not None and (folder.is_view or not folder.is_virtual):
            self.uses.touch(folder.number)

    async def child(self, parent: Inode, name: str) -> Inode:
        """The inode under a name. Raises NoSuchName."""
        inode, _ = await self.lookup(parent, name)
        if inode is None:
            raise NoSuchName(f"{parent.local_path().rstrip('/')}/{name}")
        return inode

    async def snapshot(self, folder: Inode) -> Snapshot:
        """All entries of a folder at one moment. Never short: an incomplete listing is an error."""
        self.touch(folder)
        if not folder.is_view:
            for visited in self.on_visit:
                visited(folder)
        items, valid_s = await (self.views if folder.is_view else self._beliefs).list(folder)
        now_s = self._clock()
        return Snapshot(Entries(items), now_s, now_s + valid_s)

    def remaining_s(self, snapshot: Snapshot) -> float:
        """For how many seconds a snapshot still holds."""
        return max(0.0, snapshot.holds_until_s - self._clock())

    def entry(self, folder: Inode, name: str, item: Item, snapshot: Snapshot) -> Inode | None:
        """The inode of a snapshot's entry as it stands now; None if this mount has removed it since."""
        (item,) = self._remote.recent.with_true_tags((item,), snapshot.taken_at_s)
        known = (folder.children or {}).get(name)
        if folder.number not in self._changes:
            if known is None:
                return self._bind(folder, name, item)
            if known.item is item:
                return known
        change = self._changes.find(folder.number, name, snapshot.taken_at_s, item)
        if change is not None:
            return self.bind(folder, name, change.item) if change.item is not None else None
        if known is not None and self.remaining_s(snapshot) == 0 and not snapshot.moves(known, item):
            return known  # an old snapshot knows no better than what came after it
        return self.bind(folder, name, item)

    def bind(self, parent: Inode, name: str, item: Item) -> Inode:
        """The inode of an item that was just seen under a name."""
        assert parent.children is not None
        inode = parent.children.get(name)
        if inode is not None and (inode.item is item or (parent.is_virtual and not parent.is_view)):
            return inode
        return self._bind(parent, name, item)

    def _bind(self, parent: Inode, name: str, item: Item) -> Inode:
        inode = (self.views if self.views.shows(parent) else self.inodes).bind(parent, name, item)
        self.uses.count(len(self.inodes))
        if self._local and item.key is not None and item.key in self._local:
            inode.local = self._local[item.key]
        return inode

    async def stat(self, inode: Inode) -> Attributes:
        """Attributes of an inode that the kernel knows. Raises Stale if its name means another version."""
        self.touch(inode.parent)
        if inode.opens:
            return self.attributes(inode, OPEN_VALID_S)
        if inode.pins or inode.parent is None or inode.standing is Standing.REMOVED:
            return self.attributes(inode, self._beliefs.freshness.metadata_ttl_s)
        if not inode.is_attached:
            raise Stale(f"{inode.local_path()} is not there any more")
        believed = await self._resolve(inode.parent, inode.name)
        if believed.item is None or not inode.is_attached or not believed.item.is_same_version(inode.item):
            raise Stale(f"{inode.local_path()} is another version now")
        return self.attributes(inode, believed.valid_s)

    async def _resolve(self, parent: Inode, name: str) -> Believed:
        return await (self.views if parent.is_view else self._beliefs).resolve(parent, name)

    def attributes(self, inode: Inode, valid_s: float) -> Attributes:
        """What `stat` says, from what is known now, and for how many seconds."""
        return attributes_of(inode, valid_s, self._permissions)

    # Making and removing names

    async def make_folder(self, parent: Inode, name: str) -> Inode:
        """mkdir. Raises NameExists, NotPermitted (virtual root), InvalidCall."""
        new_name = self._new_name(parent, name, Kind.FOLDER)
        if "/" in new_name or new_name in (".", ".."):
            raise InvalidCall(f"{name}: Orion can't have a folder called {new_name!r}")
        await self._until_free(parent.path_below(new_name))
        path = parent.path_below(new_name)  # which the wait may have been for
        with self.changing(parent):
            await self.make_way(parent, new_name)
            with self.doubts.unless_clear(parent, name):
                await self._folders.create(parent, name, path)
            item = Item(Kind.FOLDER, None, new_name, created_ns=time.time_ns())
            inode = self._commit_new(parent, name, item, self._clock())
        if self._folders.is_new_when_made:
            self._beliefs.learn_empty(inode)
        return inode

    def make_file(self, parent: Inode, name: str, permissions: int, mark: str) -> Inode:
        """A new empty file, on Orion once its first version was uploaded; no request."""
        new_name = self._new_name(parent, name, Kind.FILE)
        now_ns = time.time_ns()
        item = new_item(new_name, 0, now_ns, mark_for(parent.item, mark))
        return self.adopt_file(parent, name, item, LocalAttributes(now_ns, permissions))

    def adopt_file(self, parent: Inode, name: str, item: Item, local: LocalAttributes) -> Inode:
        """A version that is not on Orion yet, shown as it will be."""
        inode = self._commit_new(parent, name, item, inf)
        inode.local = local
        inode.written_size = item.size
        return inode

    def withdraw_new(self, inode: Inode) -> None:
        """A new file could not even be staged: it was never there."""
        parent, name = place_of(inode)
        self._changes.withdraw(parent.number, name)
        self.inodes.detach(inode)

    async def remove_folder(self, parent: Inode, name: str) -> None:
        """rmdir of a folder that Orion shows empty at this moment."""
        inode = await self.child(parent, name)
        if not inode.item.is_folder:
            raise NotADirectory(inode.local_path())
        check_may_change(parent)
        await self._until_free(inode.orion_path(), is_deep=True)
        with self.changing(parent):
            await self.check_empty(inode)
            await self.make_way(inode, None)
            with self.doubts.unless_clear(parent, name):
                await self._folders.remove(inode)
            self.commit_gone(inode, self._clock())
        self._beliefs.drop(inode)

    async def remove_item(
        self, inode: Inode, remove: Callable[[Key], Awaitable[None]], *, is_removed_later: bool = False
    ) -> None:
        """unlink: by id, which never means two items. `remove` does it, or promises it for later."""
        parent, name = place_of(inode)
        check_may_change(parent)
        if inode.children is not None:
            raise IsADirectory(inode.local_path())
        if inode.item.key is not None:
            with self.doubts.unless_clear(parent, name):
                await remove(inode.item.key)
            self._local.pop(inode.item.key, None)
        self.commit_gone(inode, inf if is_removed_later else self._clock())

    def settle(self, parent: Inode, name: str) -> None:
        """What had a name, and was promised to go, is gone from Orion."""
        if self._is_removed(parent, name):
            self._changes.settle(parent.number, name, self._clock())

    def reappear(self, parent: Inode, name: str) -> None:
        """What was promised to go stays: what Orion has under the name is seen again."""
        if self._is_removed(parent, name):
            self._changes.withdraw(parent.number, name)
        self._beliefs.doubt(parent)
        self._kernel.entry_changed(parent.number, name)
        touch(parent)

    def _is_removed(self, parent: Inode, name: str) -> bool:
        change = self._changes.get(parent.number, name)
        return change is not None and change.item is None

    async def check_empty(self, folder: Inode) -> None:
        """Raises DirectoryNotEmpty unless Orion shows the folder empty now."""
        place_of(folder)
        if await self._beliefs.list_now(folder):
            raise DirectoryNotEmpty(folder.local_path())

    # Renaming

    async def check_rename(self, source: Inode, parent: Inode, name: str) -> Inode | None:
        """What a rename would replace; raises what forbids it."""
        true_name(source.item.kind, name)
        check_places(source, parent)
        target, _ = await self.lookup(parent, name)
        if target is None or target is source:
            return None
        if target.children is not None:
            if source.children is None:
                raise IsADirectory(target.local_path())
            await self.check_empty(target)
        elif source.children is not None:
            raise NotADirectory(target.local_path())
        return target

    async def folder_with_id(self, folder: Inode) -> Item:
        """The folder with the id that `assign_paths` wants. Raises CrossDevice where there is none."""
        told = await self._folders.with_id(folder)
        folder.item = replace(told, name=folder.item.name, created_ns=folder.item.created_ns)
        return folder.item

    async def make_new_place(self, parent: Inode, name: str, path: str) -> None:
        """Make the folder that a relocated one is to be. Raises NameExists, NotPermitted."""
        with self.doubts.unless_clear(parent):
            await self._folders.create_new(parent, name, path)

    def commit_relocation(self, source: Inode, parent: Inode, name: str) -> None:
        """A folder is shown at its new place, and is another one on Orion: it and all below get new ids."""
        for folder in self.inodes.folders_below(source):
            folder.item = replace(folder.item, id=None)
            self._beliefs.doubt(folder)  # listings name folders by the ids that they had
        self.commit_rename(source, parent, name, None, is_settled=True)

    def commit_rename(
        self, source: Inode, parent: Inode, name: str, replaced: Key | None, *, is_settled: bool
    ) -> None:
        """Everybody here sees the new name now; `is_settled`: Orion does too."""
        old_parent, old_name = place_of(source)
        now_s = self._clock()
        is_settled = is_settled and source.written_size is None
        is_folder = source.item.is_folder
        self._changes.record(
            old_parent.number, old_name, None, now_s, source.item.key, is_folder_gone=is_folder
        )
        source.item = source.item.renamed(true_name(source.item.kind, name))
        self._changes.record(parent.number, name, source.item, now_s if is_settled else inf, replaced)
        self.predecessors.note(source.item.key, replaced)
        self.inodes.attach(source, parent, name, Standing.REMOVED)
        self.views.doubt()
        touch(old_parent)
        touch(parent)

    # Contents and attributes

    def note_written(self, inode: Inode, size: int) -> None:
        """Bytes were written here: name, size and time are ours, whatever comes from elsewhere."""
        if inode.written_size is None and inode.is_attached and inode.parent is not None:
            self._changes.record(inode.parent.number, inode.name, inode.item)
        inode.written_size = size
        inode.local = replace(inode.local, mtime_ns=time.time_ns())

    def commit_version(
        self, inode: Inode, item: Item, *, is_still_written: bool, replaces: Key | None = None
    ) -> None:
        """A version written here is on Orion as `item`, for what it `replaces`: other id, same inode."""
        replaced = inode.item.key
        self.views.doubt()
        self.inodes.rebind(inode, item)
        self.predecessors.note(item.key, replaced or replaces)
        if replaced is not None:
            self._local.pop(replaced, None)
        if item.key is not None:
            self._local[item.key] = inode.local
        if not is_still_written:
            inode.written_size = None
        if inode.is_attached and inode.parent is not None:
            for gone in {replaced, replaces}:  # which may have been another one than users were shown
                self._changes.record(inode.parent.number, inode.name, item, self._clock(), gone)

    def commit_own(self, inode: Inode, item: Item) -> None:
        """This mount says what a file is, until Orion gets to know it."""
        parent, name = place_of(inode)
        inode.item = item
        self._changes.record(parent.number, name, item)

    def doubt(self, inode: Inode) -> None:
        """The version of an inode is gone: its name means something else by now.

        Raises NotSupported for what is shown as deleted: then nobody can read it.
        """
        self.views.check_not_deleted(inode)
        self.views.doubt()
        if inode.parent is not None and inode.is_attached:
            self._beliefs.doubt(inode.parent)

    def commit_size(self, inode: Inode, size: int) -> None:
        """The size of a version was found out."""
        inode.item = replace(inode.item, size=size)

    def set_local(self, inode: Inode, mtime_ns: int | None, permissions: int | None) -> LocalAttributes:
        """utimens and chmod: kept by this machine."""
        if mtime_ns is not None:
            inode.local = replace(inode.local, mtime_ns=mtime_ns)
        if permissions is not None:
            inode.local = replace(inode.local, permissions=permissions)
        if inode.item.key is not None:
            self._local[inode.item.key] = inode.local
        return inode.local

    async def tags(self, inode: Inode) -> tuple[str, ...]:
        """The tags of an item, sorted; asked for where no listing told them."""
        return await self.tagging.tags(inode)

    async def change_tags(self, inode: Inode, add: tuple[str, ...], remove: tuple[str, ...]) -> None:
        """Tag and untag; for what is not on Orion yet they go along with the upload."""
        try:
            await self.tagging.change(inode, add, remove)
        except OrionFsError:
            await self.on_tagged(inode)  # a part of it may have been done
            raise
        await self.on_tagged(inode)

    def commit_item(self, inode: Inode, item: Item) -> None:
        """Orion says something else of the same version, since this mount has said so."""
        inode.item = item
        self.views.doubt()
        parent = inode.parent
        if parent is not None and inode.is_attached and not parent.is_virtual:
            settled_at_s = self._clock() if item.key is not None or item.is_folder else inf
            self._changes.record(parent.number, inode.name, item, settled_at_s)

    def changing(self, *folders: Inode) -> AbstractContextManager[None]:
        """While a change of names is under way, what a listing shows of it is no foreign change."""
        return self._changing.held(*(folder.number for folder in folders))

    def _new_name(self, parent: Inode, name: str, kind: Kind) -> str:
        """The true name of something to be made. Raises NameExists if it is known to be there."""
        check_may_change(parent)
        check_may_hold(parent, kind)
        if self._beliefs.known(parent, name) is not None:
            raise NameExists(f"{parent.local_path().rstrip('/')}/{name}")
        return true_name(kind, name)

    def _commit_new(self, parent: Inode, name: str, item: Item, settled_at_s: float) -> Inode:
        self._changes.record(parent.number, name, item, settled_at_s)
        touch(parent)
        return self.bind(parent, name, item)

    def commit_gone(self, inode: Inode, settled_at_s: float) -> None:
        """A name means nothing any more."""
        parent, name = place_of(inode)
        gone = inode.item
        self._changes.record(parent.number, name, None, settled_at_s, gone.key, is_folder_gone=gone.is_folder)
        self.views.doubt()
        self.inodes.detach(inode, Standing.REMOVED)
        touch(parent)
