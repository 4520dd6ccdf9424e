"""Tags of items and versions that are changed while a version is on its way, or behind whoever asked for it.

A version under way has its tags in its row of the journal, and gets them with its name. Part of `sync`. Must
not know inodes.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import partial

from orionfs.durable.journal_thread import JournalThread
from orionfs.errors import NoSuchName
from orionfs.models import Key, Kind
from orionfs.orion.remote import Remote
from orionfs.outgoing.behind import Behind
from orionfs.outgoing.upload import Upload

log = logging.getLogger(__name__)


class LateTags:
    """The changes of tags of one mount that come after an upload began."""

    def __init__(self, remote: Remote, journal: JournalThread, behind: Behind) -> None:
        self._remote = remote
        self._journal = journal
        self._behind = behind

    async def retag(self, upload: Upload, tags: Sequence[str]) -> None:
        """A version under way gets these tags with its name; one that has just got that gets them now."""
        row = upload.row
        upload.row = replace(row, tags=tuple(tags))
        is_under_way = await self._journal.run(lambda journal: journal.retag(row.mark, tags))
        if not is_under_way and row.new_id is not None:
            before = row.tags or ()
            add, remove = _without(tags, before), _without(before, tags)
            await self._change(Key(Kind.FILE, row.new_id), add, remove)

    async def carry(self, upload: Upload, new: Key) -> None:
        """The uploaded item of a version gets the tags that the version has by now, and no others."""
        try:
            while (wanted := frozenset(upload.row.tags or ())) != upload.sent_tags:
                sent, upload.sent_tags = upload.sent_tags, None
                there = tuple(sent) if sent is not None else await self._remote.tags(new)
                await self._change(new, _without(upload.row.tags or (), there), _without(there, wanted))
                upload.sent_tags = wanted
        except NoSuchName as gone:  # whoever gives it its name finds that out
            log.info("%s: its tags can't be set: %s", upload.row.path, gone)

    def soon(self, key: Key, add: Sequence[str], remove: Sequence[str] = ()) -> None:
        """Change the tags of an item, behind the caller."""
        self._behind.start(f"tags of {key.kind.value} {key.id}", partial(self._change, key, add, remove))

    async def _change(self, key: Key, add: Sequence[str], remove: Sequence[str]) -> None:
        if remove:
            await self._remote.untag(key, remove)
        if add:
            await self._remote.tag(key, add)


def _without(tags: Sequence[str], others: Collection[str]) -> list[str]:
    return [tag for tag in tags if tag not in others]
