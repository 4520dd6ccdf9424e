"""Gives items their places with `assign_paths`, whatever of it a stack leaves open.

Nothing public says whether the `path` of an assignment is the folder or the whole path of the item. The
wrong form would put an item into another folder, under a name that a user sees. So before the first
assignment on a stack the form is found out with a small file of our own, which carries the marks that
nobody is shown, is in the journal while it lives, and is only believed to be where `stat_path` shows it.
A 409 means a taken name or "busy"; which of them, is looked up. Used by `carry` and `moves`.
"""

from __future__ import annotations

import logging
from collections.abc import Container
from math import inf
from pathlib import Path

import trio

from orionfs.cache.content import EXACT_SUFFIX
from orionfs.durable.journal import Removal
from orionfs.durable.journal_thread import JournalThread
from orionfs.errors import (
    AccessDenied,
    Busy,
    Conflict,
    InvalidCall,
    NameExists,
    NoSuchName,
    OrionFsError,
    RemoteFailure,
    disk_error,
)
from orionfs.marks import new_mark, new_old_mark
from orionfs.models import Assignment, Item, Key, Kind
from orionfs.orion.remote import Remote

log = logging.getLogger(__name__)

BUSY_PAUSES_S = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0)  # a 409 can mean "busy" on Orion; how often is a guess
_TAKEN_PAUSE_S = 2.0  # what is there before that may be a lagging replica's view of what we took away
_SEEN_PAUSES_S = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)  # a replica may lag behind a change
_SAMPLE = b"orionfs finds out how this stack assigns paths\n"


class Assigner:
    """Assigns for one mount."""

    def __init__(
        self,
        remote: Remote,
        journal: JournalThread,
        staging: Path,
        home: str,
        unseen: Container[Key] = frozenset(),
    ) -> None:
        """`staging` takes the sample for a moment, `home` is the Orion folder where uploads land.

        `unseen` is a live view of the items of this mount that are on their way to a name, or to go.
        """
        self._remote = remote
        self._journal = journal
        self._staging = staging
        self._home = home
        self._unseen = unseen
        self._preparing = trio.Lock()

    async def place(self, place: Assignment, over: Item | None = None, *, is_aside: bool = False) -> None:
        """Give one item its place.

        `over` is the item it replaces: where names can't be shared, and always with `is_aside`, that one
        gets a mark for its name in the same call. Raises NameExists for a name that something else has.
        """
        await self.prepare()
        can_swap = over is not None and over.key is not None
        is_swap = can_swap and (is_aside or self._remote.facts.duplicate_names == "refused")
        away = [Assignment(over, place.folder, new_old_mark())] if over is not None and can_swap else []
        pauses = iter(BUSY_PAUSES_S)
        is_unclear = False
        while True:
            try:
                await self._remote.assign(*(away if is_swap else []), place)
                return
            except Conflict as conflict:
                is_unclear |= conflict.is_unclear
                if can_swap and not is_swap:
                    is_swap = True
                    continue
                pause_s = next(pauses, inf)
                refused: OrionFsError | None = None
                if pause_s >= _TAKEN_PAUSE_S and await self._is_taken(place, over):
                    refused = NameExists(f"{place.path}: something else has the name on Orion")
                elif pause_s == inf:
                    refused = Busy(f"{place.path}: Orion is busy with it")
                if refused is not None:
                    refused.is_unclear = is_unclear  # it may be busy with an attempt that got no answer
                    raise refused from conflict
            except NoSuchName:
                if (
                    not is_swap
                    or over is None
                    or over.key is None
                    or not await self._remote.is_gone(over.key)
                ):
                    raise
                can_swap = is_swap = False  # somebody else has removed what was to give way
                continue
            await trio.sleep(pause_s)

    async def assign(self, *assignments: Assignment) -> None:
        """Several assignments in one call, all or none. Raises Busy where a 409 stays."""
        await self.prepare()
        for pause_s in (*BUSY_PAUSES_S, None):
            try:
                await self._remote.assign(*assignments)
                return
            except Conflict as conflict:
                if pause_s is None:
                    raise Busy(f"{assignments[0].path}: {conflict}") from conflict
            await trio.sleep(pause_s)

    async def prepare(self) -> None:
        """Know how this stack wants its assignments; asks Orion the first time only."""
        if self._is_prepared:
            return
        async with self._preparing:
            if not self._is_prepared:
                await self._find_out()

    @property
    def _is_prepared(self) -> bool:
        facts = self._remote.facts
        return facts.assign_path is not None and Kind.FILE.value in facts.kind_literals

    async def _is_taken(self, place: Assignment, over: Item | None) -> bool:
        """True if Orion shows something else under the name than this mount knows of."""
        there = await self._remote.stat(place.path)
        own = {place.item.key, over.key if over is not None else None}
        if there is None or there.key is None:
            return there is not None
        is_ours = there.key in own or there.key in self._unseen
        return not (is_ours or self._remote.recent.is_own(there.key))

    # The form of an assignment

    async def _find_out(self) -> None:
        sample = await self._upload_sample()
        assert sample.key is not None
        removal = Removal(sample.key, f"{self._home}/{sample.name}")
        await self._journal.run(lambda journal: journal.add_removal(removal))
        try:
            if not await self._is_seen(removal.path, sample):
                raise RemoteFailure(f"{removal.path}: an uploaded file is not where uploads land")
            form = self._remote.facts.assign_path or await self._form_for(sample)
            await self._remote.knowledge.prove(assign_path=form)
            log.info("assignments on this stack take the %s path", form)
        finally:
            with trio.move_on_after(BUSY_PAUSES_S[-1], shield=True):
                await self._remove_sample(removal)

    async def _form_for(self, sample: Item) -> str:
        """The form that puts the sample where it should. A whole path first: no folder has it, so it does
        nothing where a folder is due, while a folder would lead out of its own where a whole path is."""
        for form in ("full", "folder", "full", "folder"):  # each twice: a 404 can be transient
            name = new_mark()
            place = Assignment(sample, self._home, name)
            if await self._is_accepted(place, form) and await self._is_seen(place.path, sample):
                return form
        raise RemoteFailure("assign_paths did not put a file to its place in any form; it is tried again")

    async def _is_accepted(self, place: Assignment, form: str) -> bool:
        for pause_s in (*BUSY_PAUSES_S[:3], None):
            try:
                await self._remote.assign(place, form=form)
                return True
            except Conflict as conflict:
                log.debug("form %r: %s", form, conflict)
            except (NoSuchName, InvalidCall, AccessDenied) as refused:
                log.debug("form %r: %s", form, refused)
                return False
            if pause_s is not None:
                await trio.sleep(pause_s)
        return False

    async def _is_seen(self, path: str, item: Item) -> bool:
        for pause_s in (*_SEEN_PAUSES_S, None):
            there = await self._remote.stat(path)
            if there is not None and there.key == item.key:
                return True
            if pause_s is not None:
                await trio.sleep(pause_s)
        return False

    async def _upload_sample(self) -> Item:
        mark = new_mark()
        path = self._staging / f"{mark}{EXACT_SUFFIX}"
        try:
            await trio.to_thread.run_sync(path.write_bytes, _SAMPLE)
            return await self._remote.upload(mark, path, len(_SAMPLE))
        except OSError as error:
            raise disk_error(error, "staging folder") from error
        except OrionFsError:
            left = await self._remote.find_upload(self._home, mark)
            if left is not None and left.key is not None:
                await self._remote.delete(left.key)
            raise
        finally:
            path.unlink(missing_ok=True)

    async def _remove_sample(self, removal: Removal) -> None:
        try:
            await self._remote.delete(removal.key)
        except OrionFsError as error:
            log.info("%s is removed by the next mount: %s", removal.path, error)
        else:
            await self._journal.run(lambda journal: journal.drop_removal(removal.key))
