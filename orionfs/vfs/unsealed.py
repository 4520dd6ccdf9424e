"""Bytes that nobody waits for any more and that can't be promised now: gone on with, or kept aside.

Used by `files` alone, when the last handle of a file is gone. Must not know handles.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial

from orionfs.errors import OrionFsError
from orionfs.outgoing.sync import Sync
from orionfs.tree.rivals import Rivals
from orionfs.vfs.staging import OpenFile, Staging

log = logging.getLogger(__name__)


class Unsealed:
    """What becomes of open files whose last version could not be sealed."""

    def __init__(
        self,
        sync: Sync,
        staging: Staging,
        rivals: Rivals,
        seal: Callable[[OpenFile], Awaitable[None]],
        let_go: Callable[[OpenFile], None],
    ) -> None:
        """`seal` tries it again, `let_go` takes back one handle of a file."""
        self._sync = sync
        self._staging = staging
        self._rivals = rivals
        self._seal = seal
        self._let_go = let_go

    def take(self, file: OpenFile, error: OrionFsError) -> None:
        """The last handle of a file is gone, and this is why it can't be sealed."""
        if file.basis is not None and error.is_retryable:
            self._complete_later(file, error)
        else:
            self._keep(file, error)

    def _complete_later(self, file: OpenFile, error: OrionFsError) -> None:
        """What a file lacks of its version can't be had now: it stays open until it can."""
        path = file.inode.local_path()
        log.warning("%s is kept here until the rest of it can be fetched: %s", path, error)
        file.handles += 1
        file.inode.opens += 1
        self._sync.seal_when_possible(path, partial(self._complete, file))

    async def _complete(self, file: OpenFile) -> None:
        async with file.flushing:
            try:
                await self._seal(file)
            except OrionFsError as error:
                if error.is_retryable:
                    raise
                self._keep(file, error)
            self._let_go(file)

    def _keep(self, file: OpenFile, error: OrionFsError) -> None:
        """Nobody hears of an error here, so the bytes stay where the next mount finds them.

        Bytes of which some are missing, as a writer was told, only keep a full disk full.
        """
        assert file.staged is not None
        self._rivals.lose(file.inode)
        if file.is_incomplete:
            log.warning("%s: what was written of it is dropped: %s", file.inode.local_path(), error)
            return
        log.error("%s: not uploaded, kept in %s: %s", file.inode.local_path(), file.staged.path, error)
        self._staging.keep_staged(file)
