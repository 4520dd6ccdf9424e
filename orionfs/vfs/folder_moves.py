"""Renames of folders: in one call where the stack can, else the tree is made again behind the caller.

Either way the intention is in the journal before Orion is asked, and all that is promised below the folder
goes along with it. How a call ended whose answer was lost is found out behind the caller (`renames`); the
tree follows then. Used by `moves`, which has checked that the rename may be. Must not know FUSE or contents.
"""

from __future__ import annotations

import logging
from contextlib import ExitStack
from functools import partial

import trio

from orionfs.durable.journal import RelocationRow, Rename
from orionfs.errors import CrossDevice, InvalidCall, OrionFsError, may_have_happened
from orionfs.models import Assignment, Item
from orionfs.orion.remote import Remote
from orionfs.outgoing.renames import OnEnd
from orionfs.outgoing.sync import Sync
from orionfs.tables.inodes import Inode
from orionfs.tables.names import true_name
from orionfs.tree.namespace import Namespace
from orionfs.tree.places import place_of
from orionfs.vfs.readers import note_move

log = logging.getLogger(__name__)


class FolderMoves:
    """Gives folders another name or place."""

    def __init__(self, namespace: Namespace, sync: Sync, remote: Remote) -> None:
        self._namespace = namespace
        self._sync = sync
        self._remote = remote

    async def rename(self, source: Inode, parent: Inode, name: str) -> None:
        """Rename a folder to a place where nothing is."""
        item = await self._folder_with_id(source)
        place = Assignment(item, parent.orion_path(), true_name(source.item.kind, name))
        old_path = source.orion_path()
        await self._namespace.make_way(parent, place.name)
        async with self._sync.moving_folder(old_path):
            if not await self._is_assigned(source, parent, name, place):
                await self._relocate(source, parent, name, place)
                await self._sync.folder_moved(old_path, place.path)
        note_move(old_path, place.path)

    async def _folder_with_id(self, folder: Inode) -> Item:
        try:
            return await self._namespace.folder_with_id(folder)
        except CrossDevice:
            return folder.item

    async def _is_assigned(self, source: Inode, parent: Inode, name: str, place: Assignment) -> bool:
        """Whether Orion has moved the folder in one call, with all that follows; some stacks can't."""
        if place.item.key is None or self._remote.facts.folders_assignable == "no":
            return False
        rename = Rename(place.item.key, source.orion_path(), place.path)
        await self._sync.renames.promise(rename)
        try:
            await self._assign(source, parent, name, place, rename)
        except InvalidCall as refused:
            if may_have_happened(refused):
                raise
            log.info("%s: folders are not moved in one call here: %s", place.path, refused)
            return False
        self._namespace.commit_rename(source, parent, name, None, is_settled=True)
        await self._sync.renames.happened(rename)
        return True

    async def _assign(
        self, source: Inode, parent: Inode, name: str, place: Assignment, rename: Rename
    ) -> None:
        """The call; one that ends unclearly, or that nobody waits for any longer, is looked up."""
        renames, old = self._sync.renames, place_of(source)
        try:
            with self._namespace.doubts.unless_moved(source, parent, name):
                await self._sync.assigner.place(place)
        except (OrionFsError, trio.Cancelled) as error:
            if isinstance(error, OrionFsError) and not may_have_happened(error):
                await renames.withdraw(rename)
            else:
                renames.resume(rename, tree_follows(self._namespace, source, old, parent, name))
            raise

    async def _relocate(self, source: Inode, parent: Inode, name: str, place: Assignment) -> None:
        """Promise that all of it will be there, and show it there; the rest goes on behind the caller."""
        relocator = self._sync.relocator
        tags = await self._namespace.tags(source) if source.item.id is not None else ()
        row = RelocationRow(source.orion_path(), place.path, source.item.id, tags)
        await relocator.promise(row)
        try:
            await self._namespace.make_new_place(parent, name, place.path)
        except BaseException:
            with trio.CancelScope(shield=True):
                await relocator.withdraw(row)
            raise
        if source.item.id is not None:
            self._remote.knowledge.learn(folders_assignable="no")
        self._namespace.commit_relocation(source, parent, name)
        relocator.begin(row)


def tree_follows(
    namespace: Namespace, source: Inode, old: tuple[Inode, str], parent: Inode, name: str
) -> OnEnd:
    """What is to be done in the tree once it is known whether a folder was renamed, which was at `old`.

    Until then it stays where it was, whatever is listed there, with all below it that only this mount knows.
    """
    until_known = ExitStack()
    until_known.enter_context(namespace.changing(old[0], parent))
    for inode in (source, parent):
        namespace.inodes.hold(inode.number)
        until_known.callback(namespace.inodes.release, inode.number)
    return partial(_follow, namespace, source, old, parent, name, until_known)


def _follow(
    namespace: Namespace,
    source: Inode,
    old: tuple[Inode, str],
    parent: Inode,
    name: str,
    until_known: ExitStack,
    has_happened: bool,
) -> None:
    with until_known:
        is_where_it_was = source.is_attached and (source.parent, source.name) == old
        for folder, each in (old, (parent, name)):  # before what is certain is recorded
            namespace.doubts.ask_again(folder, each)
        if has_happened and is_where_it_was and parent.is_attached:
            namespace.commit_rename(source, parent, name, None, is_settled=True)
            namespace.differences.entry_removed(*old)  # who renamed it was told that it had failed
