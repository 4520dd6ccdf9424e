"""What people ask a mount of places: `locate` paths and references, `find` by tag, `previous` versions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orionfs.daemon import control
from orionfs.daemon.layers import Layers
from orionfs.errors import NoSuchName, NotADirectory, NotSupported, OrionFsError, TimedOut
from orionfs.models import Key, Kind
from orionfs.tables.inodes import Inode
from orionfs.tree.namespace import Namespace
from orionfs.tree.whereabouts import Whereabouts
from orionfs.xattrs.attribute_text import format_uri

_ROWS_AT_ONCE = 500


def locating_orders(layers: Layers) -> Mapping[str, control.Command]:
    """The orders by the name that a request gives in `command`."""
    namespace = layers.namespace
    whereabouts = Whereabouts(namespace, layers.remote)

    async def locate(request: Mapping[str, Any]) -> control.Answers:
        try:
            yield await _located(whereabouts, request)
        except OrionFsError as error:
            yield _failed(error)

    async def find(request: Mapping[str, Any]) -> control.Answers:
        kinds = {Kind(word) for word in request.get("kinds", ())}
        try:
            items = await whereabouts.tagged(list(request["tags"]))
            keys = [item.key for item in items if item.key is not None and (not kinds or item.kind in kinds)]
            places = await whereabouts.of_items(keys)
        except OrionFsError as error:
            yield _failed(error)
            return
        rows = sorted((place, key.kind.value, key.id) for key, place in places.items())
        for at in range(0, len(rows), _ROWS_AT_ONCE):
            yield {"rows": rows[at : at + _ROWS_AT_ONCE]}
        yield {"done": True, "elsewhere": len(keys) - len(rows)}

    async def previous(request: Mapping[str, Any]) -> control.Answers:
        told = [await _previous(namespace, str(path)) for path in request.get("paths", ())]
        yield {"done": True, "previous": told}

    return {"locate": locate, "find": find, "previous": previous}


async def _located(whereabouts: Whereabouts, request: Mapping[str, Any]) -> dict[str, Any]:
    """Places of the request's `paths` and `items` (type and id each), None for what is not shown."""
    keys = [Key(Kind(kind), int(id)) for kind, id in request.get("items", ())]
    places = await whereabouts.of_items(keys)
    views = [None if key in places else await whereabouts.in_view(key) for key in keys]
    # Of some stacks only the item itself tells where it is, and that was asked for just now.
    places |= await whereabouts.where_sighted([key for key, view in zip(keys, views, strict=True) if view])
    return {
        "done": True,
        "paths": [await whereabouts.of_path(str(path)) for path in request.get("paths", ())],
        "items": [places.get(key) for key in keys],
        "views": views,
    }


def _failed(error: OrionFsError) -> dict[str, Any]:
    cannot_tell = isinstance(error, NotSupported)
    return {
        "done": True,
        "error": str(error),
        "is_away": isinstance(error, TimedOut),
        "cannot_tell": cannot_tell,
    }


async def _previous(namespace: Namespace, path: str) -> str | None:
    inode: Inode = namespace.inodes.root
    try:
        for name in filter(None, path.split("/")):
            inode = await namespace.child(inode, name)
    except (NoSuchName, NotADirectory):
        return None
    key = inode.item.key
    namespace.inodes.collect(inode)
    replaced = namespace.predecessors.of(key)
    return None if replaced is None else format_uri(replaced.kind, replaced.id)
