"""Unlink and rename: where names, contents and what is under way to Orion meet.

Decides from the namespace, asks `remote` once, lets the namespace commit. Nothing that was written is
lost by either: open files stay readable, versions under way follow their name. Must not know FUSE.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import trio

from orionfs.durable.journal import Removal, Rename
from orionfs.errors import (
    AccessDenied,
    InvalidCall,
    IsADirectory,
    NameExists,
    NotPermitted,
    OrionFsError,
    may_have_happened,
)
from orionfs.models import Assignment, Item, Key, Kind
from orionfs.orion.remote import Remote
from orionfs.outgoing.conflicts import Finding, look
from orionfs.outgoing.removals import nobody
from orionfs.outgoing.renames import OnEnd
from orionfs.outgoing.shard_rules import check_crossing
from orionfs.outgoing.sync import Sync
from orionfs.outgoing.upload import Upload
from orionfs.tables.inodes import Inode, number_of
from orionfs.tables.names import decode_name, true_name
from orionfs.tree.namespace import Namespace
from orionfs.tree.places import check_may_change, check_places, place_of
from orionfs.vfs.deferral import Deferral
from orionfs.vfs.files import Files
from orionfs.vfs.folder_moves import FolderMoves
from orionfs.vfs.litter import Litter
from orionfs.vfs.readers import note_move

log = logging.getLogger(__name__)

_FETCHED_BEFORE_REMOVAL_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True)
class _Replaced:
    """What a rename replaces. `is_read_on`: somebody reads it, and it is too large to be fetched first.

    `seen` is what users see under the name: another one than `inode` where Orion has something else there.
    """

    inode: Inode
    is_read_on: bool
    seen: Inode | None


class Moves:
    """Takes names away and gives them."""

    def __init__(self, namespace: Namespace, files: Files, sync: Sync, remote: Remote) -> None:
        self._namespace = namespace
        self._files = files
        self._sync = sync
        self._remote = remote
        self.deferral = Deferral(namespace, files, sync)
        self.litter = Litter(namespace, files, sync, self._remove, self._drop_version)
        self._folders = FolderMoves(namespace, sync, remote)

    async def unlink(self, parent: Inode, name: str) -> None:
        """Remove a file; who has it open goes on reading it."""
        with self._namespace.changing(parent):
            await self._unlink(parent, name)

    async def _unlink(self, parent: Inode, name: str) -> None:
        inode = await self._namespace.child(parent, name)
        await self._sync.until_known(inode.orion_path())
        await self._is_readable_on(inode)  # it may take long, and nothing has to wait for it
        async with self._files.not_sealing(inode), self._files.under_way.still(inode):
            is_read_on = not await self._is_readable_on(inode)  # its version may have got its place just now
            is_later = self._sync.is_write_back or is_read_on
            check_may_change(parent)
            is_item = inode.item.key is not None
            if not is_item:
                await self._drop_version(inode, None)
            await self.litter.removing(inode)
            key = inode.item.key
            if is_later:
                await self.deferral.unlink(inode, parent, name, is_read_on=is_read_on)
            else:
                await self._namespace.remove_item(inode, self._remove)
            if is_item:  # or who is killed here would find the version before it
                await self._drop_version(inode, None)
            await self.litter.removed(key)

    async def settle_folder(self, folder: Inode) -> None:
        """Wait until Orion has the names of a folder; only with write-back they are not there already."""
        if self._sync.is_write_back and not (folder.is_virtual or folder.is_view):
            await self._sync.settle_folder(folder.orion_path())

    async def rmdir(self, parent: Inode, name: str) -> None:
        """Remove a folder that is empty; with write-back, after what was promised in it."""
        inode = await self._namespace.child(parent, name)
        if self.deferral.is_later(inode):
            await self.deferral.rmdir(inode)
        else:
            await self._namespace.remove_folder(parent, name)

    async def _drop_version(self, inode: Inode, kept: Key | None) -> None:
        """What is under way of a file is not wanted any more; what it was to replace goes, but for `kept`."""
        await self._remove_replaced_before(inode, kept)
        await self._files.under_way.cancel(inode)

    async def _remove(self, key: Key) -> None:
        await self._remote.delete(key)
        self._sync.item_removed(key)

    async def rename(
        self, parent: Inode, name: str, new_parent: Inode, new_name: str, *, may_replace: bool
    ) -> None:
        """Give an item or a folder another name or folder, in place of what is there. Raises NameExists."""
        with self._namespace.changing(parent, new_parent):
            await self._rename(parent, name, new_parent, new_name, may_replace=may_replace)

    async def _rename(
        self, parent: Inode, name: str, new_parent: Inode, new_name: str, *, may_replace: bool
    ) -> None:
        source = await self._namespace.child(parent, name)
        await self._until_free(source, new_parent, new_name)
        if (source.parent, source.name) != (parent, name):  # as an earlier rename has turned out
            source = await self._namespace.child(parent, name)
        upload = self._files.upload_of(source)
        check_crossing(source, new_parent, is_on_its_way=upload is not None and not upload.is_untouched)
        target = await self._namespace.check_rename(source, new_parent, new_name)
        if target is not None and not may_replace:
            raise NameExists(target.local_path())
        if parent is new_parent and name == new_name:
            return
        if target is not None and target.children is not None:
            await self._sync.removals.until_free(target.orion_path(), is_deep=True)
            await self._namespace.remove_folder(new_parent, new_name)
            target = None
        if source.item.kind is Kind.FOLDER:
            await self._folders.rename(source, new_parent, new_name)
        else:
            await self._rename_item(source, target, new_parent, new_name)

    async def _until_free(self, source: Inode, parent: Inode, name: str) -> None:
        """Wait for what is on its way at either place; what is asked for is refused at once if it can be."""
        check_places(source, parent)
        new_path = parent.path_below(decode_name(name))
        if source.item.key is not None or source.children is not None:  # else it waits for its name
            await self._sync.removals.until_free(new_path)
        for path in (source.orion_path(), new_path):
            await self._sync.until_known(path, is_deep=source.item.kind is Kind.FOLDER)

    # Items

    async def _rename_item(self, source: Inode, target: Inode | None, parent: Inode, name: str) -> None:
        if await self.litter.rename(source, target, parent, name):
            return
        if source.item.key is None and self._files.upload_of(source) is None:
            await self._files.publish(source)  # what nobody promised to Orion yet must not replace anything
        await self._settle(source)
        await self._settle_target(target)
        await self._is_readable_on(target)  # it may take long, and nothing has to wait for it
        hidden = await self.litter.hidden_target(source, target, parent, name)
        involved = [inode for inode in (source, target) if inode is not None]
        async with (
            self.litter.moving(source, hidden),
            self._files.not_sealing(*involved),
            self._files.under_way.still(*involved),
        ):
            is_read_on = not await self._is_readable_on(
                target
            )  # its version may have got its place meanwhile
            over = self._on_orion(target) if hidden is None and target is not None else hidden
            replaced = _Replaced(over, is_read_on, target) if over is not None else None
            await self._move(source, replaced, parent, name)

    async def _settle(self, source: Inode) -> None:
        """Have a newer version of an item get its place first, if it can: then Orion renames in one step.

        Who is killed between two would leave the older version under the new name.
        """
        upload = self._under_way_of(source)
        if source.item.key is not None and upload is not None and not upload.rests:
            await self._try_to_place(upload)

    async def _settle_target(self, target: Inode | None) -> None:
        """Have a version that may have got its place, and not be done, be done with it: it is in the way."""
        upload = self._under_way_of(target)
        if upload is not None and upload.may_have_place and not upload.rests:
            await self._try_to_place(upload)

    async def _try_to_place(self, upload: Upload) -> None:
        try:
            await self._sync.carry(upload)
        except OrionFsError as error:
            log.info("%s: a rename comes before its last version is on Orion: %s", upload.row.path, error)

    async def _is_readable_on(self, target: Inode | None) -> bool:
        """Have what is to be replaced here for those who read it; False if it is too large for that."""
        return target is None or await self._files.make_readable(target, _FETCHED_BEFORE_REMOVAL_BYTES)

    def _on_orion(self, target: Inode) -> Inode:
        """What Orion has under a name that a version under way has got here: what that is to replace."""
        upload = self._under_way_of(target)
        key = upload.row.replaces if upload is not None else None
        is_file = key is not None and key.kind is Kind.FILE
        if key is None or not is_file or target.item.key is not None or self.litter.is_parked(key):
            return target
        return _unseen(target, replace(target.item, id=key.id, mark=None))

    async def _move(self, source: Inode, replaced: _Replaced | None, parent: Inode, name: str) -> None:
        """The caller sees to it that no version of either gets its place meanwhile."""
        place = Assignment(source.item, parent.orion_path(), true_name(source.item.kind, name))
        over = replaced
        check_crossing(source, parent, is_on_its_way=False)  # it may have come to Orion while this waited
        if source.item.key is not None:
            over = await self._there_now(replaced, place, parent) if replaced is not None else None
            rename = self._asked_for(source, replaced, over, place)
            with self._namespace.doubts.unless_moved(source, parent, name):
                is_over = partial(self._unclear_is_over, rename, source, place_of(source), parent, name)
                left_over = await self._move_on_orion(source, over, place, rename, is_over)
            if rename.has_consequences:
                await self._sync.renames.happened(rename, left_over)
            if left_over is not None:
                self._remove_left_over(over, left_over)
        with trio.CancelScope(shield=True):  # it has happened
            await self._commit_move(source, replaced, over, parent, name)

    def _asked_for(
        self, source: Inode, replaced: _Replaced | None, over: _Replaced | None, place: Assignment
    ) -> Rename:
        """All that follows from a rename on Orion; `over` is what it replaces there of `replaced`."""
        assert source.item.key is not None
        ended = self._under_way_of(replaced.seen) if replaced is not None else None
        follows = self._under_way_of(source)
        return Rename(
            source.item.key,
            "/".join(self.litter.place_on_orion(source)),
            f"{place.folder.rstrip('/')}/{place.name}",
            over.inode.item.key if over is not None else None,
            ended.row.mark if ended is not None else None,
            follows.row.mark if follows is not None else None,
        )

    async def _commit_move(
        self, source: Inode, replaced: _Replaced | None, over: _Replaced | None, parent: Inode, name: str
    ) -> None:
        """All that is under way gets to know of a rename; `over` is what it has replaced of `replaced`."""
        is_on_orion = source.item.key is not None
        if replaced is not None and over is None:
            self._namespace.rivals.spare(replaced.inode)
        key = over.inode.item.key if over is not None else None
        upload = self._under_way_of(source)
        if upload is not None:
            await self._remove_replaced_before(source, key)
            upload.is_renamed = True
        if upload is not None and not is_on_orion:  # else it went along with its item
            called = true_name(source.item.kind, name)
            ended = self._under_way_of(replaced.seen) if replaced is not None else None
            await self._sync.retarget(upload, parent.orion_path(), called, key, ended)
        if replaced is not None and replaced.seen is not None:
            await self._drop_version(replaced.seen, replaced.inode.item.key)
        old_path = source.orion_path()
        self._namespace.commit_rename(source, parent, name, key, is_settled=is_on_orion)
        note_move(old_path, source.orion_path())

    def _unclear_is_over(
        self,
        rename: Rename,
        source: Inode,
        old: tuple[Inode, str],
        parent: Inode,
        name: str,
        has_happened: bool,
    ) -> None:
        """A rename whose end was not known has been found out: what was shown until then may be otherwise."""
        newer = self._under_way_of(source)
        goes_along = newer is not None and newer.row.mark == rename.follows
        if has_happened and goes_along and source.is_attached and (source.parent, source.name) == old:
            self._namespace.commit_rename(source, parent, name, rename.replaced, is_settled=True)
        for folder, each in (old, (parent, name)):
            self._namespace.doubts.ask_again(folder, each)

    def _under_way_of(self, inode: Inode | None) -> Upload | None:
        upload = self._files.upload_of(inode) if inode is not None else None
        return upload if upload is not None and not upload.is_over else None

    async def _there_now(self, replaced: _Replaced, place: Assignment, parent: Inode) -> _Replaced | None:
        """What a rename replaces on Orion now: what was moved away elsewhere is not removed there."""
        key = replaced.inode.item.key
        if key is None:
            return replaced
        heard = self._namespace.rivals.heard(replaced.inode)
        found = await look(self._remote, place.path, key, place.item.key, heard)
        if found.finding is Finding.SAME:
            return replaced
        log.info("%s was changed elsewhere meanwhile; what is there now is replaced", place.path)
        self._namespace.beliefs.doubt(parent)
        await self._sync.removals.remove_if_aside(Removal(key, place.path))
        if found.item is None:
            return None
        if found.item.is_folder:
            raise IsADirectory(f"{place.path} has become a folder")
        return _Replaced(_unseen(replaced.inode, found.item), is_read_on=False, seen=None)

    async def _remove_replaced_before(self, inode: Inode, kept: Key | None) -> None:
        """A version on its way to a name goes elsewhere: what it was to replace there goes all the same."""
        upload = self._files.upload_of(inode)
        if upload is None or inode.item.key is not None or upload.row.replaces in (None, kept):
            return
        if self.litter.is_parked(upload.row.replaces):
            return  # users see it under another name
        assert upload.row.replaces is not None
        removal = Removal(upload.row.replaces, upload.row.path)
        await self._sync.removals.let_go(removal)

    async def _move_on_orion(
        self,
        source: Inode,
        over: _Replaced | None,
        place: Assignment,
        rename: Rename,
        on_end: OnEnd,
    ) -> Removal | None:
        """New in place first, then the old one removed; if that may not be, everything stays as it was.

        What is still to be removed.
        """
        back = Assignment(source.item, *self.litter.place_on_orion(source))
        if rename.has_consequences:
            await self._sync.renames.promise(rename)
        is_clear = True
        try:
            await self._place(over, place)
            is_clear = False
            if over is None or rename.replaced is None:
                return None
            await self._carry_tags(source, over.inode, place.path)
            old_place = Assignment(over.inode.item, place.folder, place.name)
            return await self._remove_replaced(over, Removal(rename.replaced, rename.path), (old_place, back))
        except OrionFsError as error:
            if is_clear and not may_have_happened(error):
                await self._sync.renames.withdraw(rename)
            else:  # how it ended is looked up, and decides what a version means that is saved until then
                if not rename.has_consequences:
                    await self._sync.renames.promise(rename)
                self._sync.renames.resume(rename, on_end)
            raise
        except trio.Cancelled:  # nobody waits for it any longer
            self._sync.renames.resume(rename, on_end)
            raise

    async def _place(self, replaced: _Replaced | None, place: Assignment) -> None:
        over = replaced.inode.item if replaced is not None else None
        try:
            await self._sync.assigner.place(
                place, over, is_aside=replaced is not None and replaced.is_read_on
            )
        except InvalidCall as refused:
            raise NotPermitted(f"{place.folder}/{place.name}: {refused}") from refused

    async def _carry_tags(self, source: Inode, target: Inode, path: str) -> None:
        """Tags and known shares of the replaced item stay with the name, if the new one has none."""
        old, new = target.item.key, source.item.key
        if old is not None and new is not None and not self._sync.shares.known(new):
            await self._sync.shares.carry(old, new, path)
            self._sync.shares.warn_unknown(old, path)
            for share in self._sync.shares.known(old) or ():
                await self._sync.shares.note(new, share)
        tags = await self._namespace.tags(target)
        if tags and not await self._namespace.tags(source):
            await self._namespace.change_tags(source, tags, ())

    async def _remove_replaced(
        self, over: _Replaced, removal: Removal, as_before: Sequence[Assignment]
    ) -> Removal | None:
        """Remove what a rename has replaced; what can't be done now is to be done later."""
        if over.is_read_on:
            return removal
        try:
            await self._remove(removal.key)
        except AccessDenied as denied:
            await self._sync.assigner.assign(*as_before)
            raise AccessDenied(f"{removal.path}: what is there may not be replaced: {denied}") from denied
        except OrionFsError as error:
            log.info("%s: the replaced item is removed later: %s", removal.path, error)
            return removal
        return None

    def _remove_left_over(self, over: _Replaced | None, removal: Removal) -> None:
        if over is not None and over.is_read_on:
            self._files.remove_at_last_close(over.inode, removal, nobody)
        else:
            self._sync.removals.resume(removal)


def _unseen(shown: Inode, item: Item) -> Inode:
    """What Orion has under the name of `shown`, where users see something else."""
    return Inode(number_of(f"unseen:{item.kind.value}:{item.id}"), shown.parent, shown.name, item)
