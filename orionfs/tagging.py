"""Tags of what is in the tree: asked for where no listing told them, added and removed by name.

Part of `namespace`, which commits what came of it. Must not know how attributes spell tags.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

from orionfs.errors import CrossDevice, InvalidCall, NotSupported
from orionfs.inodes import Inode
from orionfs.models import Item, Key, Kind
from orionfs.remote import Remote


class Tagging:
    """The tags of one account's items."""

    def __init__(self, remote: Remote, folder_with_id: Callable[[Inode], Awaitable[Item]]) -> None:
        """`folder_with_id` finds the id of a folder, or raises CrossDevice where it has none."""
        self._remote = remote
        self._folder_with_id = folder_with_id

    async def tags(self, inode: Inode) -> tuple[str, ...]:
        """The tags of an item, sorted; asked for where no listing told them."""
        if inode.is_view or (_lacks_id(inode) and not await self._finds_id(inode)):
            return ()  # this stack gives folders no id, so no tags
        if inode.item.tags is None and inode.item.key is not None:
            try:
                tags = await self._remote.tags(inode.item.key)
            except InvalidCall:
                if inode.item.kind is not Kind.FOLDER:
                    raise
                tags = ()  # this session knows no tags of folders
            inode.item = replace(inode.item, tags=tags)
        return inode.item.tags or ()

    async def change(self, inode: Inode, add: tuple[str, ...], remove: tuple[str, ...]) -> tuple[str, ...]:
        """Tag and untag; the tags then. For what is not on Orion yet they go along with the upload."""
        before = await self.tags(inode)
        if _lacks_id(inode):
            raise NotSupported(f"{inode.local_path()}: this stack gives folders no id, so no tags")
        added = tuple(tag for tag in add if tag not in before)
        removed = tuple(tag for tag in remove if tag in before)
        try:
            await self._send(inode.item.key, added, removed)
        except InvalidCall as error:
            if inode.item.kind is not Kind.FOLDER:
                raise
            raise NotSupported(f"{inode.local_path()}: folders can't be tagged here: {error}") from error
        return tuple(sorted((set(inode.item.tags or ()) | set(added)) - set(removed)))

    async def _send(self, key: Key | None, added: tuple[str, ...], removed: tuple[str, ...]) -> None:
        if key is not None and removed:
            await self._remote.untag(key, removed)
        if key is not None and added:
            await self._remote.tag(key, added)

    async def _finds_id(self, folder: Inode) -> bool:
        try:
            await self._folder_with_id(folder)
        except CrossDevice:
            return False
        return True


async def nobody_hears(_inode: Inode) -> None:
    """What is told of new tags where nothing is under way to Orion."""


def _lacks_id(inode: Inode) -> bool:
    return inode.item.kind is Kind.FOLDER and inode.item.id is None
