"""Tags of what is in the tree: asked for where no listing told them, added and removed by name.

Part of `namespace`. A change is sent as it is asked for, whatever is believed of the item: others may have
changed its tags since. Once Orion has it, it is written into what is believed of the item. Must not know
how attributes spell tags.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from orionfs.errors import CrossDevice, InvalidCall, NoSuchName, NotSupported
from orionfs.models import Item, Key, Kind
from orionfs.orion.remote import Remote
from orionfs.tables.changes import Changes
from orionfs.tables.inodes import Inode
from orionfs.tables.metacache import MetaCache
from orionfs.tree.views import Views

Verb = Callable[[Key, Sequence[str]], Awaitable[None]]


class Tagging:
    """The tags of one account's items."""

    def __init__(
        self,
        remote: Remote,
        cache: MetaCache,
        changes: Changes,
        views: Views,
        folder_with_id: Callable[[Inode], Awaitable[Item]],
    ) -> None:
        """`cache` and `changes` are what is believed of the tree.

        `folder_with_id` finds the id of a folder, or raises CrossDevice where it has none.
        """
        self._remote = remote
        self._cache = cache
        self._changes = changes
        self._views = views
        self._folder_with_id = folder_with_id

    async def tags(self, inode: Inode) -> tuple[str, ...]:
        """The tags of an item, sorted; asked for where no listing told them."""
        is_on_its_way = _lacks_id(inode) and inode.item.tags is not None  # with the tags that it had
        if inode.is_view or (_lacks_id(inode) and not is_on_its_way and not await self._finds_id(inode)):
            return ()  # this stack gives folders no id, so no tags
        if inode.parent is not None and inode.parent.is_view and inode.is_attached:
            await self._look_again(inode, inode.parent)
        key = inode.item.key
        if inode.item.tags is None and key is not None:
            try:
                tags = await self._remote.tags(key)
            except InvalidCall:
                if inode.item.kind is not Kind.FOLDER:
                    raise
                tags = ()  # this session knows no tags of folders
            if inode.item.key != key:
                return await self.tags(inode)  # another version has come into its place
            self._believe(inode, replace(inode.item, tags=tags))
        return inode.item.tags or ()

    async def change(self, inode: Inode, add: Sequence[str], remove: Sequence[str]) -> None:
        """Tag and untag; for what is not on Orion yet the tags go along with the upload.

        Raises NotSupported for what has no tags here.
        """
        if _lacks_id(inode) and not await self._finds_id(inode):
            raise NotSupported(f"{inode.local_path()}: this stack gives folders no id, so no tags")
        if inode.item.tags is None and _is_being_replaced(inode):
            await self.tags(inode)
        await self._send(inode, self._remote.tag, add)
        self.commit(inode, add, ())
        await self._send(inode, self._remote.untag, remove)
        self.commit(inode, (), remove)

    def commit(self, inode: Inode, added: Sequence[str], removed: Sequence[str]) -> None:
        """Everybody here sees the tags as they are now; views, which are only read, ask again. No await."""
        self._views.doubt()
        if not (added or removed):
            return
        tags = self._told(inode)
        if tags is not None:
            now = tuple(sorted((set(tags) | set(added)) - set(removed)))
            self._believe(inode, replace(inode.item, tags=now))

    def learn(self, inode: Inode, key: Key, tags: Sequence[str]) -> None:
        """Orion has told the tags of the version `key` of an inode, which nobody here may know. No await."""
        if inode.item.key == key and inode.item.tags is None:
            known = self._told(inode)
            self._believe(inode, replace(inode.item, tags=tuple(tags) if known is None else known))

    async def _send(self, inode: Inode, verb: Verb, tags: Sequence[str]) -> None:
        """Have Orion change the tags of the version that has the name in the end."""
        while tags and inode.item.key is not None:
            key = inode.item.key
            try:
                await verb(key, tags)
            except NoSuchName:
                if inode.item.key == key and not _is_being_replaced(inode):
                    raise
            except InvalidCall as error:
                if inode.item.kind is not Kind.FOLDER:
                    raise
                raise NotSupported(f"{inode.local_path()}: folders can't be tagged here: {error}") from error
            if inode.item.key == key:
                return

    def _told(self, inode: Inode) -> tuple[str, ...] | None:
        """The tags as far as anything tells them: an answer may have come since the inode was looked up."""
        parent = inode.parent
        if inode.item.tags is not None or parent is None or not inode.is_attached:
            return inode.item.tags
        change, belief = self._changes.get(parent.number, inode.name), self._cache.get(parent.number)
        single = belief.singles.get(inode.name)
        listed = belief.listing.items.get(inode.name) if belief.listing is not None else None
        answers = (change.item if change else None, single.item if single else None, listed)
        told = (item.tags for item in answers if item is not None and item.is_same_version(inode.item))
        return next((tags for tags in told if tags is not None), None)

    def _believe(self, inode: Inode, item: Item) -> None:
        """This is what Orion says of the version that an inode is, until a later answer says otherwise."""
        inode.item = item
        parent = inode.parent
        if parent is not None and inode.is_attached:
            self._cache.amend(parent.number, inode.name, inode.item)
            self._changes.amend(parent.number, inode.name, inode.item)

    async def _look_again(self, inode: Inode, view: Inode) -> None:
        """What was told of an item in a view may be older than a change made through the tree."""
        believed = await self._views.resolve(view, inode.name)
        if believed.item is not None and believed.item.is_same_version(inode.item):
            inode.item = replace(believed.item, size=believed.item.size or inode.item.size)

    async def _finds_id(self, folder: Inode) -> bool:
        try:
            await self._folder_with_id(folder)
        except CrossDevice:
            return False
        return True


async def nobody_hears(_inode: Inode) -> None:
    """What is told of new tags where nothing is under way to Orion."""


def _is_being_replaced(inode: Inode) -> bool:
    """True while a version is under way: it gets all tags, and what it replaces may be gone just now."""
    return inode.children is None and inode.pins > 0


def _lacks_id(inode: Inode) -> bool:
    return inode.item.kind is Kind.FOLDER and inode.item.id is None
