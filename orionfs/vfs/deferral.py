"""Removals behind their callers, with write-back: promised, seen by everybody here at once, done later.

An item that is on Orion is promised to go and shown no more; a folder in which something is still to be
done goes after that. What Orion refuses in the end is seen again. Decides from the namespace, which commits;
`removals` carries out. Must not know FUSE.
"""

from __future__ import annotations

from math import inf

from orionfs.durable.journal import Removal
from orionfs.errors import DirectoryNotEmpty, OrionFsError
from orionfs.models import Key, Kind
from orionfs.outgoing.removals import OnEnd
from orionfs.outgoing.sync import Sync
from orionfs.tables.inodes import Inode
from orionfs.tree.namespace import Namespace
from orionfs.tree.places import check_may_change, place_of
from orionfs.vfs.files import Files


class Deferral:
    """Removals of one mount that nobody waits for."""

    def __init__(self, namespace: Namespace, files: Files, sync: Sync) -> None:
        self._namespace = namespace
        self._files = files
        self._sync = sync

    async def unlink(self, inode: Inode, parent: Inode, name: str, *, is_read_on: bool) -> None:
        """Have an item removed; `is_read_on`: at the last close, since who has it open needs it there."""

        async def promise(key: Key) -> None:
            removal = Removal(key, inode.orion_path())
            await self._sync.removals.promise(removal, is_durable=not self._sync.is_write_back)
            on_end = self._when_over(parent, name)
            if is_read_on:
                self._sync.unseen.add(key)  # until it goes, Orion has it under a name that others may get
                self._files.remove_at_last_close(inode, removal, on_end)
            else:
                self._sync.removals.resume(removal, on_end)

        await self._namespace.remove_item(inode, promise, is_removed_later=inode.item.key is not None)

    def is_later(self, inode: Inode) -> bool:
        """True for a folder in which something is to be done before it can go."""
        is_plain = inode.item.kind is Kind.FOLDER and not inode.is_virtual and inode.anchor is None
        return self._sync.is_write_back and is_plain and self._sync.has_changes_below(inode.orion_path())

    async def rmdir(self, inode: Inode) -> None:
        """Have a folder removed that is empty here. Raises DirectoryNotEmpty, NotPermitted."""
        parent, name = place_of(inode)
        check_may_change(parent)
        await self._sync.relocator.until_free(inode.orion_path(), is_deep=True)
        with self._namespace.changing(parent):
            items, _ = await self._namespace.beliefs.list(inode)
            if items:
                raise DirectoryNotEmpty(inode.local_path())
            await self._namespace.make_way(inode, None)
            path = inode.orion_path()
            await self._sync.removals.promise_folder(path)
            self._hide(inode)
        self._sync.removals.resume_folder(path, self._when_over(parent, name))

    def resume(self, path: str, inode: Inode | None) -> None:
        """Go on with the removal of a folder that an earlier mount has promised; `inode` if it is there."""
        if inode is None:
            self._sync.removals.resume_folder(path)
            return
        parent, name = place_of(inode)
        self._hide(inode)
        self._sync.removals.resume_folder(path, self._when_over(parent, name))

    def _hide(self, folder: Inode) -> None:
        self._namespace.commit_gone(folder, inf)
        self._namespace.beliefs.drop(folder)

    def _when_over(self, parent: Inode, name: str) -> OnEnd:
        def tell(refused: OrionFsError | None) -> None:
            if refused is None:
                self._namespace.settle(parent, name)
            else:
                self._namespace.reappear(parent, name)

        return tell
