"""Removes what a path of the mount means, as `orionfs rm` asks: a collection whole, all else as `rm` does.

The kernel did not ask, so it is told. Used by the daemon; must not know the control socket.
"""

from __future__ import annotations

from orionfs.models import Kind
from orionfs.tables.inodes import Inode
from orionfs.tree.namespace import Namespace
from orionfs.tree.places import place_of
from orionfs.tree.protection import Protection
from orionfs.vfs.collecting import Collecting
from orionfs.vfs.files import Files
from orionfs.vfs.moves import Moves


class Removing:
    """What is removed by path in one mount."""

    def __init__(
        self,
        namespace: Namespace,
        files: Files,
        moves: Moves,
        collecting: Collecting,
        protection: Protection,
    ) -> None:
        self._namespace = namespace
        self._files = files
        self._moves = moves
        self._collecting = collecting
        self._protection = protection

    async def remove(self, path: str) -> Kind:
        """Remove what is at a path of the mount ("/my-data/x"); what it was.

        Raises NoSuchName, DirectoryNotEmpty for a folder, ReadOnly, NotPermitted for what the mount made.
        """
        inode = await self._inode(path)
        parent, name = place_of(inode)
        self._protection.check_name(parent, name)
        kind = inode.item.kind
        if kind is Kind.COLLECTION:
            await self._collecting.remove(inode)
            await self._forget_shards(inode)
        elif kind is Kind.FOLDER:
            await self._namespace.remove_folder(parent, name)
        else:
            await self._moves.unlink(parent, name)
        self._namespace.differences.entry_removed(parent, name)
        return kind

    async def _forget_shards(self, collection: Inode) -> None:
        """What was written into a collection and is not on Orion yet goes along with it."""
        for shard in list((collection.children or {}).values()):
            await self._files.under_way.cancel(shard)
            self._namespace.inodes.detach(shard)

    async def _inode(self, path: str) -> Inode:
        inode = self._namespace.inodes.root
        for name in filter(None, path.split("/")):
            inode = await self._namespace.child(inode, name)
        return inode
