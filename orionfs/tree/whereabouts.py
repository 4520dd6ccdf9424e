"""Where in this mount something on Orion is seen: what has an Orion path, an id, or a tag.

A name here is not always that of Orion's: items may share one, a dataset gets a suffix, a workspace is
called by its title. So whatever is told of an item's path is looked up in the tree before it is believed.
Used by the daemon for people who ask; must not know the control socket.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial

from orionfs.errors import (
    AccessDenied,
    InvalidCall,
    NoSuchName,
    NotADirectory,
    NotSupported,
    RemoteFailure,
    Stale,
)
from orionfs.models import NAME_MAX_BYTES, Item, Key
from orionfs.orion.listings import together
from orionfs.orion.remote import Remote
from orionfs.tables.inodes import Inode
from orionfs.tables.names import base_name, encode_name
from orionfs.tree.namespace import Namespace

_ASKED_AT_ONCE = 50  # a session without our extensions asks for each of them first, one by one
_NOT_SHOWN = (NoSuchName, NotADirectory, AccessDenied, Stale)


class Whereabouts:
    """Places of one mount, each a path below the mount point: "/my-data/x", "/" for its top."""

    def __init__(self, namespace: Namespace, remote: Remote) -> None:
        self._namespace = namespace
        self._remote = remote

    async def of_path(self, orion_path: str) -> str | None:
        """Where an Orion path is seen; None if nothing is there, or it is not shown. Raises TimedOut."""
        try:
            inode = await self._at(orion_path)
        except _NOT_SHOWN:
            return None
        return None if inode is None else self._place_of(inode)

    async def of_items(self, keys: Collection[Key]) -> dict[Key, str]:
        """Where items are seen in the tree, those that are. Raises TimedOut."""
        wanted = set(keys)
        found = await self._known(wanted)
        found |= await self.where_sighted(wanted - set(found))
        return found | await self._seen_at(await self._asked(wanted - set(found)))

    async def where_sighted(self, keys: Collection[Key]) -> dict[Key, str]:
        """Where those are seen that are where something told that they are. Raises TimedOut."""
        told = {key: path for key in keys if (path := self._remote.sightings.path_of(key)) is not None}
        return await self._seen_at(told)

    async def in_view(self, key: Key) -> str | None:
        """Where an item is seen by its id, wherever it lies on Orion; None if it is not there for us."""
        view = self._namespace.views.root.fixed["by-id"]
        try:
            for name in (key.kind.value, str(key.id)):
                view = await self._namespace.child(view, name)
        except (*_NOT_SHOWN, NotSupported):
            return None
        return self._place_of(view)

    async def tagged(self, tags: Sequence[str]) -> list[Item]:
        """The items that have all of these tags. Raises NotSupported where the stack can't tell."""
        told = await together([partial(self._tagged, tag) for tag in tags]) or [{}]
        return [item for key, item in told[0].items() if all(key in others for others in told[1:])]

    async def _tagged(self, tag: str) -> dict[Key, Item]:
        views = self._namespace.views
        view, _ = await self._namespace.lookup(views.root.fixed["by-tag"], encode_name(tag))
        if view is None:
            return {}
        try:
            items, _ = await views.list(view)
        finally:
            self._namespace.inodes.collect(view)
        return {item.key: item for item in items.values() if item.key is not None}

    # What is known here

    async def _known(self, wanted: Collection[Key]) -> dict[Key, str]:
        """Where those are that the tree holds already, as far as they still have their names."""
        inodes = [inode for key in wanted if (inode := self._inode_of(key)) is not None]
        places = await together([partial(self._still_at, inode) for inode in inodes])
        return {key: place for key, place in places if key is not None and place is not None}

    def _inode_of(self, key: Key) -> Inode | None:
        """The inode of an item in its place in the tree, if the item has the number that it usually gets."""
        table = self._namespace.inodes
        inode = table.find(table.usual_number(table.root, Item(key.kind, key.id, "")))
        return inode if inode is not None and inode.item.key == key and _is_in_tree(inode) else None

    async def _still_at(self, inode: Inode) -> tuple[Key | None, str | None]:
        assert inode.parent is not None
        key = inode.item.key
        try:
            now, _ = await self._namespace.lookup(inode.parent, inode.name)
        except _NOT_SHOWN:
            return key, None
        return key, (now.local_path() if now is not None and now.item.key == key else None)

    # What Orion tells

    async def _asked(self, keys: Collection[Key]) -> dict[Key, str]:
        """Orion paths of items, those that it tells; one that is gone keeps no other from being told."""
        ordered = sorted(keys, key=lambda key: (key.kind.value, key.id))
        batches = [ordered[at : at + _ASKED_AT_ONCE] for at in range(0, len(ordered), _ASKED_AT_ONCE)]
        told: dict[Key, str] = {}
        for answer in await together([partial(self._asked_at_once, batch) for batch in batches]):
            told |= answer
        return told

    async def _asked_at_once(self, keys: Sequence[Key]) -> dict[Key, str]:
        try:
            return await self._remote.paths_of(keys)
        except (NoSuchName, AccessDenied, InvalidCall, RemoteFailure):
            if len(keys) <= 1:
                return {}
        told: dict[Key, str] = {}
        for answer in await together([partial(self._asked_at_once, [key]) for key in keys]):
            told |= answer
        return told

    async def _seen_at(self, told: Mapping[Key, str]) -> dict[Key, str]:
        """Where those are seen that are where they were told to be: in a folder, or under a name of it."""
        folders: dict[str, dict[Key, str]] = {}
        for key, path in told.items():
            folder, _, name = path.rstrip("/").rpartition("/")
            folders.setdefault(folder or "/", {})[key] = name
        found = await self._in_folders(folders)
        folders = {}
        for key, path in told.items():
            if key not in found:
                folders.setdefault(path.rstrip("/") or "/", {})[key] = ""
        return found | await self._in_folders(folders)

    async def _in_folders(self, folders: Mapping[str, Mapping[Key, str]]) -> dict[Key, str]:
        """`folders`: what each is to hold, and under which name, "" if nobody knows."""
        answers = await together([partial(self._in_folder, path, held) for path, held in folders.items()])
        return {key: place for answer in answers for key, place in answer.items()}

    async def _in_folder(self, path: str, wanted: Mapping[Key, str]) -> dict[Key, str]:
        try:
            folder = await self._at(path)
            if folder is None or folder.children is None or folder.is_virtual:
                return {}
            return await self._among(folder, wanted)
        except _NOT_SHOWN:
            return {}

    async def _among(self, folder: Inode, wanted: Mapping[Key, str]) -> dict[Key, str]:
        """Where in a folder items are: by its listing, or by looking for a single one under its name."""
        place = folder.local_path().rstrip("/")
        if len(wanted) == 1:
            ((key, name),) = wanted.items()
            visible = base_name(Item(key.kind, key.id, name)) if name else ""
            inode = await self._named(folder, visible)
            if inode is not None and inode.item.key == key:
                return {key: self._place_of(inode)}
        items, _ = await self._namespace.beliefs.list(folder)
        self._namespace.inodes.collect(folder)
        return {
            item.key: f"{place}/{name}" for name, item in items.items() if item.key in wanted and item.key
        }

    # The tree

    async def _at(self, orion_path: str) -> Inode | None:
        """What an Orion path means; None if nothing, or nothing that is shown."""
        path = orion_path.rstrip("/") or "/"
        tops = [top for top in self._namespace.inodes.tops() if _is_at_or_below(path, top.anchor or "")]
        if not tops:
            return None
        inode: Inode | None = max(tops, key=lambda top: len(top.anchor or ""))
        assert inode is not None
        for name in filter(None, path[len((inode.anchor or "").rstrip("/")) :].split("/")):
            inode = await self._child(inode, name)
            if inode is None:
                return None
        return inode

    async def _child(self, folder: Inode, name: str) -> Inode | None:
        """What is called so on Orion."""
        if folder.children is None:
            return None
        if folder.naming is None:
            inode = await self._named(folder, encode_name(name))
            if inode is not None and inode.item.name == name:
                return inode
        items, _ = await self._namespace.beliefs.list(folder)
        visible = _first(visible for visible, item in items.items() if item.name == name)
        return None if visible is None else self._namespace.bind(folder, visible, items[visible])

    async def _named(self, folder: Inode, visible: str) -> Inode | None:
        if not visible or len(visible.encode()) > NAME_MAX_BYTES:
            return None
        return (await self._namespace.lookup(folder, visible))[0]

    def _place_of(self, inode: Inode) -> str:
        place = inode.local_path()
        self._namespace.inodes.collect(inode)  # nobody else may need it
        return place


def _is_in_tree(inode: Inode) -> bool:
    """Whether a path leads to an inode, from the top and through no view."""
    if inode.parent is None:
        return False
    while inode.parent is not None:
        if not inode.is_attached or inode.parent.is_view:
            return False
        inode = inode.parent
    return True


def _is_at_or_below(path: str, folder: str) -> bool:
    return bool(folder) and (path == folder or path.startswith(folder.rstrip("/") + "/"))


def _first(names: Iterable[str]) -> str | None:
    return next(iter(names), None)
