"""Folders that are being renamed on Orion right now: nothing gets its place in one or below it meanwhile.

Part of `sync`. Must not know inodes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

import trio

from orionfs.outgoing.relocation import is_below
from orionfs.outgoing.upload import Upload


class MovingFolders:
    """The folders of one mount that are on the move."""

    def __init__(self, uploads: Mapping[str, Upload]) -> None:
        """`uploads` is a live view of what is under way."""
        self._uploads = uploads
        self._moving: dict[str, trio.Event] = {}  # folder -> it was moved

    def holds(self, path: str) -> bool:
        """True for what is in a folder that moves, or below it."""
        return any(is_below(path, moving) for moving in self._moving)

    @asynccontextmanager
    async def moving(self, old: str) -> AsyncIterator[None]:
        """While a folder moves; waits for what is just getting its place."""
        moved = self._moving[old] = trio.Event()
        try:
            async with AsyncExitStack() as stack:
                for upload in list(self._uploads.values()):
                    if is_below(upload.row.folder, old):
                        await stack.enter_async_context(upload.placing)
                yield
        finally:
            del self._moving[old]
            moved.set()

    async def until_moved(self, upload: Upload) -> None:
        """Wait while the folder that a version goes to is moving."""
        for path, moved in list(self._moving.items()):
            if is_below(upload.row.folder, path):
                await moved.wait()
