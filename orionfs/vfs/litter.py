"""Renames and removals where a name stays on this machine, or is one on the way to another.

Three ways a file can be "here only": its bytes are a version that is never uploaded (LOCAL), they are on
Orion under a mark (HELD), or it is an item of Orion that stays under its old name there (`parking`). What
Orion gets to see of each change of names is decided here; how it is carried out is `sync`'s. Used by
`moves`, which does all that is between names of Orion. Must not know FUSE.
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import replace
from typing import TypeVar

import trio

from orionfs.durable.journal import Removal, UploadRow, UploadStep
from orionfs.errors import InvalidCall, NotPermitted, OrionFsError, Stale
from orionfs.localnames import NameClass
from orionfs.models import Item, Key, Kind
from orionfs.outgoing.parking import Parked
from orionfs.outgoing.sync import Sync
from orionfs.outgoing.upload import Upload, UploadState
from orionfs.tables.inodes import Inode, number_of
from orionfs.tables.metacache import Listing
from orionfs.tables.names import encode_name, true_name
from orionfs.tree.namespace import Namespace
from orionfs.tree.places import place_of
from orionfs.vfs.files import Files
from orionfs.vfs.under_way import KeptVersion

log = logging.getLogger(__name__)

_FETCHED_BEFORE_REMOVAL_BYTES = 64 * 2**20
_T = TypeVar("_T")


class Litter:
    """What becomes of local-only names."""

    def __init__(
        self,
        namespace: Namespace,
        files: Files,
        sync: Sync,
        remove: Callable[[Key], Awaitable[None]],
        drop_version: Callable[[Inode, Key | None], Awaitable[None]],
    ) -> None:
        """`remove` takes an item from Orion now; `drop_version` ends what is under way of a file.

        What that was to replace goes with it, unless it is the key given.
        """
        self._namespace = namespace
        self._files = files
        self._sync = sync
        self._remove = remove
        self._drop_version = drop_version
        self._names = sync.holding.names
        self._parking = files.parking
        self._under_way = files.under_way
        files.under_way.before_placing = self._keep_hidden
        namespace.make_way = self.make_way
        namespace.beliefs.on_listed.append(self._on_listed)

    # Renaming

    async def rename(self, source: Inode, target: Inode | None, parent: Inode, name: str) -> bool:
        """Do all of a rename from or to a local-only name; False where it is one between names of Orion.

        The caller has checked that it may be.
        """
        if source.item.kind is Kind.SHARD:
            return await self._rename_shard(source, target, parent, name)
        if source.item.kind is not Kind.FILE:
            return False
        key = source.item.key
        if key is not None and self._parking.get(key) is not None and self._sync.is_replacing(key):
            await self.bring_here(source)  # what goes to its home takes the item along
        if self._names.is_litter(name):
            await self._keep_here(source, target, parent, name)
            return True
        if source.item.key is not None:
            return await self._take_back(source, target, parent, name)
        if self._files.upload_of(source) is None:
            await self._files.publish(source)  # what nobody promised yet must not replace anything
        upload = self._files.upload_of(source)
        if upload is None or not self._is_nameless(source, upload):
            return False
        return await self._give_name(source, target, parent, name, upload)

    async def _rename_shard(self, source: Inode, target: Inode | None, parent: Inode, name: str) -> bool:
        """A new shard gets its last name before it is made."""
        upload = self._files.upload_of(source)
        if source.item.key is not None or upload is None or self._names.is_litter(name):
            return False
        return self._is_nameless(source, upload) and await self._give_name(
            source, target, parent, name, upload
        )

    def _is_nameless(self, source: Inode, upload: Upload) -> bool:
        """True for a version that Orion is not to see under the name of `source`."""
        is_temporary = self._names.class_of(source.name) is NameClass.TEMPORARY
        return is_temporary or upload.state in (UploadState.LOCAL, UploadState.HELD)

    # To a name that stays here

    async def _keep_here(self, source: Inode, target: Inode | None, parent: Inode, name: str) -> None:
        """What is on Orion stays where it is there; what is on its way there stops."""
        tags = await self._namespace.tags(source)
        is_sealed = source.item.key is not None or self._files.upload_of(source) is not None
        await self._have_here(target)
        async with self._files.not_sealing(*_some(source, target)):
            if target is not None:
                await self._drop_version(target, None)
            removals = await self._promise_removals(target)
            before = await self._stop_upload(source, parent, name)
            await self._park(source, before, tags, parent, name)
            self._namespace.commit_rename(source, parent, name, None, is_settled=False)
        for removal in removals:
            self._sync.removals.resume(removal)
        if not is_sealed:
            await self._files.publish(source)  # nobody has promised it yet; by its name it stays here

    async def _have_here(self, target: Inode | None) -> None:
        if target is not None:
            await self._files.make_readable(target, _FETCHED_BEFORE_REMOVAL_BYTES)

    async def _promise_removals(self, target: Inode | None) -> list[Removal]:
        """What goes from Orion because litter takes the place of `target`."""
        if target is None:
            return []
        parked = self._parking.shown_as(target)
        key = target.item.key if parked is None else parked.key
        if key is None:
            return []
        removal = Removal(key, target.orion_path() if parked is None else parked.path)
        is_taken = parked is not None and self._sync.is_replacing(key)
        if not is_taken:
            await self._sync.removals.promise(removal)
        await self._parking.end(key)
        return [] if is_taken else [removal]

    async def _stop_upload(self, source: Inode, parent: Inode, name: str) -> UploadRow | None:
        """A version under way becomes one that stays here; what it was, where it was none before."""
        upload = self._files.upload_of(source)
        if upload is None or upload.is_over:
            return None
        folder, called = parent.orion_path(), true_name(Kind.FILE, name)
        if upload.state is not UploadState.LOCAL:
            before = upload.row
            return before if await self._files.under_way.keep_here(source, folder, called) else None
        await self._sync.rewrite(upload, replace(upload.row, folder=folder, name=called))
        return None

    async def _park(
        self, source: Inode, before: UploadRow | None, tags: tuple[str, ...], parent: Inode, name: str
    ) -> None:
        """The item that Orion has in place of `source` stays there, and goes when `source` goes."""
        known = self._parking.shown_as(source)
        if known is not None:
            await self._parking.park(replace(known, shown_in=parent, shown_name=name))
            return
        home, _ = place_of(source)
        item = source.item if source.item.key is not None else _replaced_item(before)
        if item is None or self._parking.get(item.key) is not None:
            return
        await self._parking.park(Parked(replace(item, tags=tags), home, parent, name, trio.current_time()))
        upload = self._files.upload_of(source)
        if source.item.key is not None and upload is not None and not upload.is_over:
            self._namespace.commit_own(source, replace(source.item, id=None, mark=upload.row.mark))

    # To a name of Orion

    async def _give_name(
        self, source: Inode, target: Inode | None, parent: Inode, name: str, upload: Upload
    ) -> bool:
        """A version that Orion has not seen under a name is put into place: one `assign_paths`."""
        tags = await self._namespace.tags(target) if target is not None else ()
        await self._have_here(target)
        own, place = self._parking.shown_as(source), place_of(source)
        both = _some(source, target)
        with ExitStack() as stack:
            async with self._files.not_sealing(*both), self._under_way.still(*both):
                if upload.is_over:  # its time was over just now, and it is an item like any other
                    return False
                again = stack.enter_context(self._under_way.kept(target))
                before = upload.row
                replaced = self._replaced(target, parent, true_name(Kind.FILE, name), tags)
                upload.is_renamed = True
                await self._sync.rewrite(upload, _named(before, source, replaced, parent, name))
                if target is not None:
                    await self._drop_version(target, upload.row.replaces)
                await self._remove_rest(own, before, replaced)
                self._commit_named(source, replaced, parent, name, upload.row)
            await self._carry(
                upload, lambda: self._take_name_back(source, upload, before, place, again or replaced)
            )
        return True

    def _replaced(self, target: Inode | None, parent: Inode, name: str, tags: tuple[str, ...]) -> Item | None:
        """The item that goes from Orion when a version gets a name: what is seen there, or hidden."""
        if target is not None and target.item.key is not None:
            return replace(target.item, tags=tags)
        parked = self._parking.at(parent, name)
        if parked is not None:
            return parked.item
        upload = self._files.upload_of(target) if target is not None else None
        item = _replaced_item(upload.row) if upload is not None and not upload.is_over else None
        return replace(item, tags=tags) if item is not None and not self.is_parked(item.key) else None

    async def _remove_rest(self, own: Parked | None, before: UploadRow, replaced: Item | None) -> None:
        """What a version that gets a name was to replace elsewhere goes, and what was parked for it."""
        kept = replaced.key if replaced is not None else None
        is_taken = own is not None and self._sync.is_replacing(own.key)
        rest = [Removal(own.key, own.path)] if own is not None and not is_taken else []
        if before.replaces is not None and not self.is_parked(before.replaces):
            rest.append(Removal(before.replaces, before.path))
        for removal in rest:
            if removal.key != kept:
                await self._sync.removals.promise(removal)
                self._sync.removals.resume(removal)
        if own is not None:
            await self._parking.end(own.key)

    def _commit_named(
        self, source: Inode, replaced: Item | None, parent: Inode, name: str, row: UploadRow
    ) -> None:
        key = replaced.key if replaced is not None else None
        self._namespace.commit_rename(source, parent, name, key, is_settled=False)
        self._namespace.commit_own(source, replace(source.item, tags=row.tags))

    async def _carry(self, upload: Upload, take_back: Callable[[], Awaitable[None]]) -> None:
        """rename(2) returns when Orion shows it, or with write-back when it is promised."""
        try:
            while not (self._sync.is_write_back or upload.is_over or upload.rests):
                await self._sync.carry(upload)
        except OrionFsError as error:
            if error.is_retryable or upload.is_over:
                raise
            await take_back()
            if isinstance(error, InvalidCall):
                raise NotPermitted(str(error)) from error
            raise

    async def _take_name_back(
        self,
        source: Inode,
        upload: Upload,
        before: UploadRow,
        place: tuple[Inode, str],
        replaced: KeptVersion | Item | None,
    ) -> None:
        """Orion refuses for good: all is as it was. `replaced` is what users saw under the new name."""
        parent, name = place_of(source)
        if before.step is UploadStep.LOCAL:
            await self._files.under_way.keep_here(source, before.folder, before.name)
        else:
            async with upload.placing:
                row = replace(before, step=upload.row.step, new_id=upload.row.new_id)
                await self._sync.rewrite(upload, row)
        self._namespace.commit_rename(source, *place, None, is_settled=False)
        if isinstance(replaced, KeptVersion):
            self._namespace.inodes.attach(replaced.inode, parent, name)
            self._namespace.commit_own(replaced.inode, replaced.inode.item)
            await replaced.promise_again()
        elif replaced is not None and self._parking.get(replaced.key) is None:
            shown = self._namespace.bind(parent, name, replaced)
            self._namespace.commit_own(shown, replaced)
            self._namespace.settle(parent, name)

    # Items of Orion that were renamed to litter

    async def _take_back(self, source: Inode, target: Inode | None, parent: Inode, name: str) -> bool:
        """A parked item gets its own name again; False for any other rename."""
        parked = self._parking.get(source.item.key)
        if parked is None or (parent, true_name(Kind.FILE, name)) != (parked.home, parked.item.name):
            return False
        if target is not None and target.item.key is not None:
            return False
        async with self._files.not_sealing(*_some(source, target)):
            if target is not None:
                await self._drop_version(target, None)
            await self._parking.end(parked.key, is_visible=True)
            self._namespace.commit_rename(source, parent, name, None, is_settled=True)
        return True

    @asynccontextmanager
    async def moving(self, source: Inode, hidden: Inode | None) -> AsyncIterator[None]:
        """While Orion moves an item: if it was parked it is so no more; neither is what it replaces."""
        parked = self._parking.get(source.item.key)
        if parked is not None:
            self._parking.leave_home(parked)
        try:
            yield
        except BaseException:
            if parked is not None:
                self._parking.register(parked)
            raise
        if parked is not None:
            home_name = encode_name(parked.item.name)
            self._namespace.rivals.left(parked.home, home_name, parked.key, trio.current_time())
            await self._parking.end(parked.key, is_visible=True)
        if hidden is not None and hidden.item.key is not None:
            await self._parking.end(hidden.item.key)

    def place_on_orion(self, inode: Inode) -> tuple[str, str]:
        """Folder and name that an item has on Orion."""
        parked = self._parking.get(inode.item.key)
        if parked is not None:
            return parked.home.orion_path(), parked.item.name
        return place_of(inode)[0].orion_path(), inode.item.name

    async def hidden_target(
        self, source: Inode, target: Inode | None, parent: Inode, name: str
    ) -> Inode | None:
        """What an item of Orion replaces there although users here see nothing, or not that, at the name."""
        parked = self._parking.at(parent, true_name(source.item.kind, name))
        is_other = target is not None and target.item.key is not None
        if parked is None or is_other or parked.key == source.item.key:
            return None
        await self._keep_bytes(parked)
        return Inode(number_of(f"parked:{parked.key.kind.value}:{parked.key.id}"), parent, name, parked.item)

    def is_parked(self, key: Key | None) -> bool:
        """True for an item that users here see under a name that Orion does not know."""
        return self._parking.get(key) is not None

    async def make_way(self, folder: Inode, name: str | None) -> None:
        """Something that is no new version is to be at a name, or the folder goes: nothing may be hidden."""
        here = self._parking.at(folder, name) if name is not None else None
        for parked in self._parking.below(folder) if name is None else _some(here):
            await self._keep_bytes(parked)
            await self._remove(parked.key)
            await self._parking.end(parked.key)

    # Removing

    async def removing(self, inode: Inode) -> None:
        """A file is to go: what was parked for it goes from Orion, unless it is replaced there."""
        parked = self._parking.shown_as(inode)
        if parked is None:
            return
        if self._sync.is_replacing(parked.key):
            self._namespace.commit_own(inode, replace(inode.item, id=None, mark=f"gone-{parked.key.id}"))
        elif inode.item.key is None:
            removal = Removal(parked.key, parked.path)
            await self._sync.removals.promise(removal)
            self._sync.removals.resume(removal)
        else:
            return
        await self._parking.end(parked.key)

    async def removed(self, key: Key | None) -> None:
        """An item was removed, or is promised to be."""
        if key is not None:
            await self._parking.end(key)

    # Bytes

    async def bring_here(self, inode: Inode) -> None:
        """Have all of an item as a version that stays on this machine. Raises Stale if Orion lost it."""
        mtime_ns = inode.mtime_ns if inode.local.mtime_ns is None else inode.local.mtime_ns
        handle_id = await self._files.open(inode, os.O_RDWR)
        try:
            size = inode.item.size if inode.written_size is None else inode.written_size
            await self._files.truncate(inode, size or 0, handle_id)
            await self._files.fsync(handle_id)
        finally:
            await self._files.release(handle_id)
        await self._files.set_local(inode, mtime_ns, None)

    async def _keep_hidden(self, upload: Upload) -> None:
        """What a version replaces may be what users see under another name: its bytes come here before."""
        parked = self._parking.get(upload.row.replaces)
        if parked is not None and not upload.is_over:
            await self._keep_bytes(parked)

    async def _keep_bytes(self, parked: Parked) -> None:
        inode = await self._namespace.child(parked.shown_in, parked.shown_name)
        if inode.item.key != parked.key:
            return
        try:
            await self.bring_here(inode)
        except Stale as gone:
            self._namespace.beliefs.doubt(parked.home)
            self._lose(parked, str(gone))

    def _on_listed(self, folder: Inode, _before: Listing | None, after: Listing) -> None:
        """A parked item that is not at its home any more was removed or renamed elsewhere."""
        parked_here = self._parking.below(folder) if self._parking and after.proves_absence else []
        if not parked_here:
            return
        there = {item.key for item in after.items.values()}
        lag_s = self._namespace.beliefs.freshness.read_lag_s
        for parked in parked_here:
            if parked.key not in there and after.asked_at_s > parked.since_s + lag_s:
                self._lose(parked, "it is not there any more")

    def _lose(self, parked: Parked, why: str) -> None:
        """Nobody here has its bytes: the name that it had here goes as well."""
        log.info("%s was renamed to %s on this machine only: %s", parked.path, parked.shown_name, why)
        self._parking.forget(parked)
        self._sync.write_down_soon(parked.key, None)
        inode = (parked.shown_in.children or {}).get(parked.shown_name)
        if inode is None:
            inode = self._namespace.bind(
                parked.shown_in, parked.shown_name, parked.item.renamed(parked.shown_name)
            )
        if inode.item.key == parked.key:
            self._namespace.withdraw_new(inode)


def _some(*values: _T | None) -> list[_T]:
    return [value for value in values if value is not None]


def _named(row: UploadRow, source: Inode, replaced: Item | None, parent: Inode, name: str) -> UploadRow:
    """The row of a version that gets a name; tags of what it replaces stay with that, if it has none."""
    return replace(
        row,
        step=UploadStep.SEALED if row.step is UploadStep.LOCAL else row.step,
        folder=parent.orion_path(),
        name=true_name(Kind.FILE, name),
        mtime_ns=row.mtime_ns if source.local.mtime_ns is None else source.local.mtime_ns,
        permissions=source.local.permissions,
        tags=source.item.tags or (replaced.tags if replaced is not None else None) or source.item.tags,
        replaces=replaced.key if replaced is not None else None,
    )


def _replaced_item(row: UploadRow | None) -> Item | None:
    """What a version was to replace, as far as its row tells."""
    if row is None or row.replaces is None:
        return None
    return Item(row.replaces.kind, row.replaces.id, row.name, literal=row.replaces.kind.value)
