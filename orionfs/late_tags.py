"""Tags of items on Orion that are changed behind whoever asked for it. Must not know inodes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from orionfs.behind import Behind
from orionfs.models import Key
from orionfs.remote import Remote


class LateTags:
    """The changes of tags of one mount that nobody waits for."""

    def __init__(self, remote: Remote, behind: Behind) -> None:
        self._remote = remote
        self._behind = behind

    def soon(self, key: Key, add: Sequence[str], remove: Sequence[str] = ()) -> None:
        """Change the tags of an item."""
        self._behind.start(f"tags of {key.kind.value} {key.id}", partial(self._change, key, add, remove))

    async def _change(self, key: Key, add: Sequence[str], remove: Sequence[str]) -> None:
        if remove:
            await self._remote.untag(key, remove)
        if add:
            await self._remote.tag(key, add)
