"""Marks under which something may come to be seen on Orion, and is to go: what attempts of uploads have left.

An attempt whose end is not known may have left an item of which a replica that lags knows nothing yet. Nobody
waits for that: the version goes up again, or is forgotten, and its mark stands in the journal as that of a
cancelled one. Once the lag is over it is looked up, and what has it is removed; the next mount does what this
one did not get to. Whatever has such a mark then is nobody's. Part of `sync`; must not know inodes.
"""

from __future__ import annotations

import logging
from functools import partial

import trio

from orionfs.durable.journal_thread import JournalThread
from orionfs.errors import OrionFsError
from orionfs.models import Key
from orionfs.orion.remote import Remote
from orionfs.outgoing.behind import Behind
from orionfs.outgoing.upload import Upload
from orionfs.tasks import Background

log = logging.getLogger(__name__)


class Sweeps:
    """The marks of one mount that are to be looked up; `home` is the Orion folder where uploads land."""

    def __init__(
        self, remote: Remote, journal: JournalThread, behind: Behind, background: Background, home: str
    ) -> None:
        self._remote = remote
        self._journal = journal
        self._background = background
        self._behind = behind
        self._home = home
        self._marks: set[str] = set()

    def __len__(self) -> int:
        return len(self._marks)

    def placed(self, upload: Upload) -> None:
        """A version has its name, and what it may have left besides is to go, as the journal knows."""
        if upload.may_be_doubled:
            self.soon(upload.row.mark, upload.unclear_at_s)

    async def cleaned(self, upload: Upload) -> None:
        """What is seen of a cancelled version is gone: the journal forgets it, unless more may be seen."""
        if upload.may_be_doubled:
            self.soon(upload.row.mark, upload.unclear_at_s)
        else:
            await self._journal.run(lambda journal: journal.drop_upload(upload.row.mark))

    def soon(self, mark: str, left_at_s: float) -> None:
        """Remove what was left under a mark that the journal knows, until a moment at the latest."""
        self._marks.add(mark)
        self._background.start(f"rest of {mark}", partial(self._sweep, mark, left_at_s))

    async def _sweep(self, mark: str, left_at_s: float) -> None:
        await self._remote.until_heard_of(left_at_s)
        try:
            await self._behind.until_done(partial(self._remove, mark))
            await self._journal.run(lambda journal: journal.drop_upload(mark))
        except OrionFsError as error:
            log.info("the next mount looks what is left of %s: %s", mark, error)
        self._marks.discard(mark)

    async def _remove(self, mark: str) -> None:
        """Each attempt may have left one; a path shows one of them, for a while the one that is gone."""
        gone: set[Key] = set()
        while left := await self._left(mark) - gone:
            for key in left:
                await self._remote.delete(key)
            gone |= left
            await self._remote.until_heard_of(trio.current_time())

    async def _left(self, mark: str) -> set[Key]:
        found = await self._remote.find_uploads(self._home, mark)
        return {item.key for item in found if item.key is not None}
