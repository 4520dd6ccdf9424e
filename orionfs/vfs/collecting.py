"""What can be done to a collection as a whole: open it, close it, remove it with all its shards.

Changes of names are the namespace's, which is told; must not know FUSE or contents.
"""

from __future__ import annotations

from dataclasses import replace

import trio

from orionfs.errors import InvalidCall, NotADirectory
from orionfs.models import Kind
from orionfs.orion.remote import Remote
from orionfs.outgoing.shard_rules import STATES, check_open
from orionfs.tables.inodes import Inode
from orionfs.tree.namespace import Namespace
from orionfs.tree.places import place_of


class Collecting:
    """The collections of one mount."""

    def __init__(self, namespace: Namespace, remote: Remote) -> None:
        self._namespace = namespace
        self._remote = remote

    async def set_state(self, collection: Inode, state: str) -> None:
        """Open or close a collection. Raises InvalidCall for other words than "open" and "close"."""
        place_of(collection)
        if state not in STATES:
            raise InvalidCall(f"a collection is set to {' or '.join(STATES)}, not to {state!r}")
        assert collection.item.id is not None
        await self._remote.shards.set_state(collection.item.id, state)
        self._namespace.commit_item(collection, replace(collection.item, state=state))

    async def remove(self, collection: Inode) -> None:
        """Remove a collection with all its shards, in one call. Raises NotADirectory for anything else."""
        parent, name = place_of(collection)
        key = collection.item.key
        if collection.item.kind is not Kind.COLLECTION or key is None:
            raise NotADirectory(f"{collection.local_path()} is no collection")
        check_open(parent)
        with self._namespace.changing(parent), self._namespace.doubts.unless_clear(parent, name):
            await self._remote.delete(key)
        self._namespace.commit_gone(collection, trio.current_time())
        self._namespace.beliefs.drop(collection)
        self._namespace.differences.entry_removed(parent, name)
