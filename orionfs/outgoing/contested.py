"""Names that two writers want: what becomes of a version whose name is somebody else's by now.

Part of `carry`, between the upload of a version and its place. Whatever is decided stands in the journal
before it is done.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Awaitable, Callable, Container
from dataclasses import replace

import trio

from orionfs.durable.journal import Removal, UploadRow
from orionfs.durable.journal_thread import JournalThread
from orionfs.errors import ChangedElsewhere
from orionfs.models import Item, Key, Kind
from orionfs.orion.remote import Remote
from orionfs.outgoing.conflicts import Finding, Look, conflict_name, look, look_beside
from orionfs.outgoing.late_tags import LateTags
from orionfs.outgoing.upload import Upload

log = logging.getLogger(__name__)


class ContestedNames:
    """Looks before something is replaced, and lets who came second go beside it."""

    def __init__(
        self,
        remote: Remote,
        journal: JournalThread,
        late_tags: LateTags,
        unseen: Container[Key],
        remove_if_aside: Callable[[Removal], Awaitable[None]],
    ) -> None:
        """`unseen` is a live view of the items of this mount that nobody is to be shown.

        `remove_if_aside` has what is not replaced any more removed, if an attempt has put it aside.
        """
        self._remote = remote
        self._journal = journal
        self._late_tags = late_tags
        self._unseen = unseen
        self._remove_if_aside = remove_if_aside
        self._copies: set[str] = set()  # paths of all versions that went beside their names

    async def check_unchanged(self, upload: Upload, item: Item) -> Item:
        """Replace nothing but what was there when writing began: somebody else may have been faster.

        The uploaded item, with the tags that it has then.
        """
        row = upload.row
        if row.replaces is None or row.replaces == item.key:
            return item
        found = await self._look(upload, row.replaces, item.key)
        if found.finding is Finding.GONE:
            log.info("%s was removed or moved elsewhere; what was written here takes the name", row.path)
            await self._retarget(upload, row.name)
        elif found.finding is Finding.OTHER:
            await self.meet(upload, found.item)
        elif found.item is not None and found.item.tags is not None and row.tags is not None:
            return await self._take_tags(upload, item, row.tags, found.item.tags)
        return item

    async def _look(self, upload: Upload, base: Key, own: Key | None) -> Look:
        """What the name means; what an earlier daemon has put there may be unheard of for a while."""
        path, recent, asked_at_s = upload.row.path, self._remote.recent, trio.current_time()
        found = await look(self._remote, path, base, own, upload.heard(), self._unseen)
        if found.finding is Finding.SAME or not recent.is_unheard_of(recent.began_at_s, asked_at_s):
            return found
        await self._remote.until_heard_of(recent.began_at_s)
        return await look(self._remote, path, base, own, upload.heard(), self._unseen)

    async def _take_tags(
        self, upload: Upload, item: Item, believed: tuple[str, ...], told: tuple[str, ...]
    ) -> Item:
        """What others have changed of the tags of an item that is saved holds for the new version."""
        added = tuple(tag for tag in told if tag not in believed)
        removed = tuple(tag for tag in believed if tag not in told)
        if upload.learn_tags is None or item.key is None or not (added or removed):
            return item
        now = tuple(sorted((set(upload.row.tags or ()) | set(added)) - set(removed)))
        await self._late_tags.retag(upload, now)
        await self._late_tags.carry(upload, item.key)
        upload.learn_tags(added, removed)
        return replace(item, tags=now)

    async def meet(self, upload: Upload, theirs: Item | None) -> None:
        """Somebody else's has the name: a rename replaces it, whoever wrote goes beside it."""
        key = theirs.key if theirs is not None and theirs.kind is Kind.FILE else None
        if upload.is_renamed and key is not None:
            log.info("%s was changed elsewhere meanwhile; what is there now is replaced", upload.row.path)
            await self._retarget(upload, upload.row.name, key)
        else:
            await self.go_beside(upload, theirs)

    async def go_beside(self, upload: Upload, theirs: Item | None) -> None:
        """The name is somebody else's by now: this version goes beside it, and replaces nothing."""
        path = upload.row.path
        await self._retarget(upload, self._new_copy_name(upload.row))
        upload.theirs = theirs
        upload.conflict = ChangedElsewhere(
            f"{path} was changed elsewhere meanwhile and stays so; what was written here is {upload.row.path}"
        )
        log.warning("%s", upload.conflict)

    def _new_copy_name(self, row: UploadRow) -> str:
        names = (conflict_name(row.name, nth) for nth in itertools.count(1))
        name = next(name for name in names if f"{row.folder}/{name}" not in self._copies)
        self._copies.add(f"{row.folder}/{name}")
        return name

    async def _retarget(self, upload: Upload, name: str, replaces: Key | None = None) -> None:
        mark, folder = upload.row.mark, upload.row.folder
        if upload.row.replaces not in (None, replaces):
            await self._remove_if_aside(Removal(upload.row.replaces, upload.row.path))
        await self._journal.run(lambda journal: journal.retarget(mark, folder, name, replaces))
        upload.row = replace(upload.row, name=name, replaces=replaces)

    async def is_taken(self, upload: Upload, item: Item, old: Key) -> bool:
        """What was to be replaced was gone already: whoever did that may have put something in its place.

        True if the version, which has its name by now, is to get another one.
        """
        found = await look_beside(self._remote, upload.row.path, old, item.key, self._unseen)
        is_other = found.finding is Finding.OTHER and not upload.is_renamed
        if is_other:
            await self.go_beside(upload, found.item)
        return is_other
