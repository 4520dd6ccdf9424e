"""What an item is, as texts: from the row that a listing told, else from one question about the item.

Each reader gives None for what an item does not have. Where it is known by the kind that Orion tells
nothing, nothing is asked. Must not know how attributes are called in the kernel, nor what can be changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

from orionfs.errors import CrossDevice
from orionfs.models import Item, Kind
from orionfs.tables.inodes import Inode
from orionfs.tree.namespace import Namespace
from orionfs.tree.resources import Resources, Told
from orionfs.xattrs import attribute_text as text

_T = TypeVar("_T")

_STATEFUL = (Kind.FILE, Kind.DATASET, Kind.COLLECTION, Kind.SHARD)
_COUNTED = (Kind.DATASET, Kind.COLLECTION)
_WITH_METADATA = (Kind.COLLECTION, Kind.SHARD)


class ItemAttributes:
    """Reads what the items of one mount are."""

    def __init__(
        self, namespace: Namespace, resources: Resources, workspaces: Mapping[str, str] | None = None
    ) -> None:
        """`workspaces` are names by id, for those that Orion calls by their ids alone."""
        self._namespace = namespace
        self._resources = resources
        self._workspaces = workspaces or {}

    async def id(self, inode: Inode) -> str | None:
        """The number that Orion gave it."""
        if inode.item.id is None and inode.item.kind is Kind.FOLDER and not _is_made_here(inode):
            return await self._folder_id(inode)
        return None if inode.item.id is None else str(inode.item.id)

    async def _folder_id(self, inode: Inode) -> str | None:
        try:
            return str((await self._namespace.folder_with_id(inode)).id)
        except CrossDevice:
            return None  # this stack gives folders none

    async def type(self, inode: Inode) -> str | None:
        """What kind of thing it is."""
        kind = inode.item.kind  # a stack's own word for what we know would be another one on each stack
        return inode.item.literal if kind is Kind.OTHER and inode.item.literal else kind.value

    async def uri(self, inode: Inode) -> str | None:
        """How parameters of jobs name it."""
        return text.format_uri(inode.item.kind, inode.item.id)

    async def name(self, inode: Inode) -> str | None:
        """Its true name."""
        return inode.item.name or None

    async def path(self, inode: Inode) -> str | None:
        """Where it is on Orion; of what is seen in a view as Orion tells it."""
        if inode.is_virtual:
            return None
        above = inode.parent
        if above is None or not any(place.is_view for place in _with_those_above(above)):
            return inode.orion_path()
        if not above.is_view:  # a shard of a collection that is seen there
            path = await self.path(above)
            return None if path is None else f"{path}/{inode.item.name}"
        return None if inode.item.key is None else await self._resources.path(inode.item.key)

    async def owner(self, inode: Inode) -> str | None:
        """The number of the user whose it is."""
        return _digits(await self._value(inode, lambda item: item.owner))

    async def project(self, inode: Inode) -> str | None:
        """The number of its project."""
        return _digits(await self._value(inode, lambda item: item.project))

    async def created(self, inode: Inode) -> str | None:
        """When it was made."""
        at_ns = await self._value(inode, lambda item: item.created_ns or None)
        return None if at_ns is None else text.format_time(at_ns)

    async def state(self, inode: Inode) -> str | None:
        """Whether its contents are there, of a collection whether it is open."""
        if inode.item.kind not in _STATEFUL:
            return None
        return await self._value(inode, lambda item: item.state or None)

    async def count(self, inode: Inode) -> str | None:
        """How many records it holds."""
        if inode.item.kind not in _COUNTED:
            return None
        return _digits(await self._value(inode, lambda item: item.count))

    async def audience(self, inode: Inode) -> str | None:
        """Who reads it, by where it is."""
        path = await self.path(inode)
        if path is None:
            return None
        workspace = text.workspace_of(path)
        return text.audience_of(path, self._workspace_name(inode, workspace) if workspace else None)

    async def metadata(self, inode: Inode) -> str | None:
        """What was written beside its contents."""
        if inode.item.kind not in _WITH_METADATA:
            return None
        told = await self._told(inode)
        return told.metadata if told is not None else None

    async def link(self, inode: Inode) -> str | None:
        """A link to it, to be kept in a record."""
        key = inode.item.key
        if key is None or inode.item.kind not in _STATEFUL:
            return None
        return await self._resources.link(key, text.format_json)

    async def _value(self, inode: Inode, read: Callable[[Item], _T | None]) -> _T | None:
        """What the listing told, else what Orion says of the item alone."""
        if _is_made_here(inode) or not (inode.item.key or inode.item.kind is Kind.FOLDER):
            return None
        is_told = inode.item.literal or inode.item.kind is not Kind.FOLDER  # else it was made a moment ago
        value = read(inode.item) if is_told else None
        if value is not None:
            return value
        told = await self._told(inode)
        return read(told.item) if told is not None and told.item is not None else None

    async def _told(self, inode: Inode) -> Told | None:
        if inode.item.kind is Kind.FOLDER:
            return None if inode.is_virtual else await self._resources.of_folder(inode.orion_path())
        return None if inode.item.key is None else await self._resources.of(inode.item.key)

    def _workspace_name(self, inode: Inode, id: str) -> str:
        """What a workspace is called where the tree shows it, else by the config, else its id."""
        tops = self._namespace.inodes.tops()
        shown_at_top = (child for top in tops for child in (top.children or {}).values())
        for place in (*_with_those_above(inode), *shown_at_top):
            is_in_tree = not any(each.is_view for each in _with_those_above(place)) and not place.is_virtual
            if is_in_tree and place.orion_path().split("/")[3:] == ["workspace", id]:
                shown = place.name if place.name != id else ""
                return place.item.title or shown or self._workspaces.get(id, id)
        return self._workspaces.get(id, id)


def _with_those_above(inode: Inode) -> Iterator[Inode]:
    place: Inode | None = inode
    while place is not None:
        yield place
        place = place.parent


def _is_made_here(inode: Inode) -> bool:
    """True for what the mount itself has made: its top, and what stands at its top for a place on Orion."""
    return inode.is_virtual or inode.anchor is not None


def _digits(value: int | None) -> str | None:
    return None if value is None else str(value)
