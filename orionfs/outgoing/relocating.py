"""Moves whole trees where Orion can't move folders: re-creates the folders and assigns the items.

Who owns what: the journal has a row for each tree from before its first change until nothing of it is left
to do, so whatever ends a daemon, the next mount goes on. Every step may be repeated: a folder that is there
is there, an item is in one place at any moment since `assign_paths` moves it in one step, and the old place
is asked anew what it holds. An old folder is removed when Orion shows it empty, from the bottom up. Items
that Orion refuses to move stay in their old folder, which is shown again at the end, with a warning that
names them. Nothing is read or written of contents. `relocation` knows how far a tree is and what is shown
of it. Used by `sync`; must not know inodes.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Protocol

import trio

from orionfs.durable.journal import Journal, RelocationRow
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
    Unreachable,
)
from orionfs.models import Assignment, Item, Kind
from orionfs.orion.limiter import Priority, working_at
from orionfs.orion.listings import FolderAnswer
from orionfs.orion.remote import Health, Remote
from orionfs.outgoing.assigning import BUSY_PAUSES_S, Assigner
from orionfs.outgoing.relocated import NOTHING, RelocatedAnswers
from orionfs.outgoing.relocation import Relocation, Relocations, batches
from orionfs.tasks import Background

log = logging.getLogger(__name__)

_BATCH = 100
_FOLDERS_AT_ONCE = 4
_PAUSE_MAX_S = 60.0
_ABSENT_PAUSES_S = (0.5, 1.0)  # a 404 can be transient on Orion
_TAKEN_PAUSES_S = (0.2, 0.5, 1.0)
_WAIT_MAX_S = 75.0  # of a call that needs a folder which is not there yet
_NAMED_MAX = 10  # in a line of the log

_REFUSALS = (AccessDenied, InvalidCall, NameExists, NoSuchName)


class UntilFree(Protocol):
    """`Relocator.until_free`."""

    async def __call__(self, path: str, *, is_deep: bool = False) -> None:
        """Wait until the name at a path may be changed."""
        ...


async def at_once(path: str, *, is_deep: bool = False) -> None:
    """For a mount where nothing is ever on its way."""


class Relocator:
    """The trees of one mount that are on their way."""

    def __init__(
        self, remote: Remote, assigner: Assigner, journal: JournalThread, background: Background
    ) -> None:
        self._remote = remote
        self._assigner = assigner
        self._journal = journal
        self._background = background
        self._wake = trio.Event()
        self.moves = Relocations(remote.recent, trio.current_time)
        self.asking = RelocatedAnswers(remote, self.moves)
        self.on_end: Callable[[], Awaitable[None]] | None = None

    @property
    def pending(self) -> list[Relocation]:
        """What is not all at its new place."""
        return list(self.moves.active)

    # Promising

    async def promise(self, row: RelocationRow) -> None:
        """Write down that a tree is to move; `begin` or `withdraw` follows."""
        await self._journal.run(lambda journal: journal.add_relocation(row))

    async def withdraw(self, row: RelocationRow) -> None:
        """Nothing of a promised move is to happen."""
        await self._journal.run(lambda journal: journal.drop_relocation(row.old))

    def begin(self, row: RelocationRow) -> None:
        """The top of the new tree was made: from now on it is shown there, and moves behind the caller."""
        self._enter(Relocation(row, is_made=True))

    async def resume(self) -> None:
        """Go on with what earlier daemons promised; uploads that they had under way go along."""
        for row in await self._journal.run(lambda journal: journal.relocations()):
            log.info("%s: its move to %s goes on", row.old, row.new)
            await self._journal.run(partial(Journal.move_folder, old=row.old, new=row.new))
            self._enter(Relocation(row, is_made=False))

    async def until_free(self, path: str, *, is_deep: bool = False) -> None:
        """Wait until no relocation is in the way of a change of the name at a path.

        `is_deep`: of what is below it as well. Raises Busy after a while, Unreachable while offline.
        """
        ends_at_s = trio.current_time() + _WAIT_MAX_S
        while (move := self.moves.blocking(path, is_deep=is_deep)) is not None:
            if self._remote.health is Health.OFFLINE:
                raise Unreachable(f"{path}: its folder can't be moved to {move.row.new} while offline")
            if trio.current_time() >= ends_at_s:
                raise Busy(f"{path}: {move.row.old} is still on its way to {move.row.new}")
            move.want(path)
            move.urgency.raise_to(Priority.FOREGROUND)
            with trio.move_on_at(ends_at_s):
                await move.progress.wait()

    def wake(self) -> None:
        """What waits for its next attempt makes it now."""
        self._wake.set()
        self._wake = trio.Event()

    # Carrying out

    def _enter(self, move: Relocation) -> None:
        self.moves.active.append(move)
        self._background.start(f"move of {move.row.old} to {move.row.new}", partial(self._carry, move))

    async def _carry(self, move: Relocation) -> None:
        with working_at(Priority.BACKGROUND) as move.urgency:
            await self._carry_on(move)

    async def _carry_on(self, move: Relocation) -> None:
        """Attempt after attempt until nothing more can be moved."""
        pause_s = 1.0
        while True:
            try:
                await self._relocate(move)
                break
            except OrionFsError as error:
                self._note(move, error)
                if not error.is_retryable:
                    break
            with trio.move_on_after(1.0 if isinstance(move.error, Unreachable) else pause_s):
                await self._wake.wait()
            pause_s = min(_PAUSE_MAX_S, 2 * pause_s)
        _report(move)
        await self._drop(move)
        self.moves.end(move)
        move.note_progress()
        if self.on_end is not None:
            await self.on_end()

    async def _drop(self, move: Relocation) -> None:
        """Until the journal has forgotten it nothing else may have the old path."""
        while True:
            try:
                await self.withdraw(move.row)
                return
            except OrionFsError as error:
                log.warning("%s: %s", move.row.old, error)
            await trio.sleep(_PAUSE_MAX_S)

    def _note(self, move: Relocation, error: OrionFsError) -> None:
        if error.is_retryable and (move.error is None or move.error.errno != error.errno):
            level = logging.INFO if isinstance(error, Unreachable) else logging.WARNING
            log.log(
                level, "%s is not all at %s yet; it is tried again: %s", move.row.old, move.row.new, error
            )
        move.error = error
        move.note_progress()

    async def _relocate(self, move: Relocation) -> None:
        """One attempt, from wherever it is."""
        if not move.is_made:
            if not await self._is_still_there(move.row):
                log.info("%s was moved to %s already", move.row.old, move.row.new)
                move.error = None
                return
            await self._make_folder(move.row.new)
            move.is_made = True
        if not move.is_tagged:
            await self._carry_tags(move.row.tags, move.row.new)
            move.is_tagged = True
            move.note_progress()
        while True:
            await self._empty(move)
            await self._remove_old(move)
            if not move.pending:
                break
        move.error = None

    async def _is_still_there(self, row: RelocationRow) -> bool:
        """False if an earlier daemon had done all: what has the old path now is something else."""
        asked_at_s = trio.current_time()
        for pause_s in (*_ABSENT_PAUSES_S, None):
            there = await self._remote.stat(row.old)
            if there is not None or pause_s is None:
                break
            await trio.sleep(pause_s)
            asked_at_s = trio.current_time()
        recent = self._remote.recent
        if there is None and recent.is_unheard_of(recent.began_at_s, asked_at_s):
            await self._remote.until_heard_of(recent.began_at_s)
            there = await self._remote.stat(row.old)
        if there is None or there.kind is not Kind.FOLDER:
            return False
        return row.old_id is None or there.id in (None, row.old_id)

    async def _empty(self, move: Relocation) -> None:
        """Bring all items to their new place, several folders at a time."""
        errors: list[OrionFsError] = []
        async with trio.open_nursery() as nursery:
            for _ in range(_FOLDERS_AT_ONCE):
                nursery.start_soon(self._work, move, errors)
        if errors:
            raise errors[0]

    async def _work(self, move: Relocation, errors: list[OrionFsError]) -> None:
        while not errors and (move.pending or move.taken):
            folder = move.take()
            if folder is None:
                await move.progress.wait()
                continue
            try:
                await self._move_folder(move, folder)
            except OrionFsError as error:
                errors.append(error)
            finally:
                move.taken.discard(folder)
                move.note_progress()

    async def _move_folder(self, move: Relocation, folder: str) -> None:
        """The folders below it first, then its items: what has arrived has all its names there."""
        below: list[str] = []
        answer = await self._old_rows(move, folder)
        while answer is not None:
            rows = [row for row in answer.items if not move.stays(folder, row)]
            below += await self._make_below(move, folder, rows)
            items = [row for row in rows if row.kind is not Kind.FOLDER]
            for batch in batches(items, _BATCH):
                await self._assign(move, folder, batch)
            if answer.is_complete or not items:
                break
            answer = await self._old_rows(move, folder)
        move.arrive(folder, below)

    async def _old_rows(self, move: Relocation, folder: str) -> FolderAnswer | None:
        """What is truly at the old place of a folder, None if that is gone."""
        path = move.row.old + folder
        for pause_s in (*_ABSENT_PAUSES_S, None):
            asked_at_s = trio.current_time()
            try:
                answer = await self._remote.list_folder(path, with_details=False)
                return replace(answer, items=self._remote.recent.corrected(path, answer.items, asked_at_s))
            except NoSuchName:
                if pause_s is None:
                    unheard = self._remote.recent.corrected(path, (), asked_at_s)
                    return replace(NOTHING, items=unheard) if unheard else None
            except AccessDenied as denied:
                move.leave_folder(folder, denied)
                move.old_folders.discard(folder)
                return None
            await trio.sleep(pause_s)
        return None

    # Folders

    async def _make_below(self, move: Relocation, folder: str, rows: Iterable[Item]) -> list[str]:
        """Make the folders of these rows at the new place; those that are there now."""
        made: list[str] = []
        for row in rows:
            if row.kind is not Kind.FOLDER:
                continue
            path = f"{move.row.new}{folder}/{row.name}"
            try:
                await self._make_folder(path)
                await self._carry_tags(await self._tags_of(row), path)
            except _REFUSALS as refused:
                move.leave(folder, row, refused)
            else:
                made.append(f"{folder}/{row.name}")
        return made

    async def _make_folder(self, path: str) -> None:
        """create_paths; what an earlier attempt made is good. Raises NameExists, Busy."""
        for pause_s in (*BUSY_PAUSES_S, None):
            try:
                await self._remote.create_folder(path)
                return
            except Conflict as conflict:
                there = await self._remote.stat(path)
                if there is not None and there.kind is Kind.FOLDER:
                    return
                if there is not None:
                    raise NameExists(f"{path}: something else has the name on Orion") from conflict
                if pause_s is None:
                    raise Busy(f"{path}: {conflict}") from conflict
            await trio.sleep(pause_s)

    async def _tags_of(self, row: Item) -> Sequence[str]:
        """Those of a folder at its old place; asked for where no listing tells them."""
        if row.tags is not None or row.key is None:
            return row.tags or ()
        try:
            return await self._remote.tags(row.key)
        except (InvalidCall, AccessDenied, NoSuchName) as untold:
            log.debug("tags of %s are not known: %s", row.name, untold)
            return ()

    async def _carry_tags(self, tags: Sequence[str], path: str) -> None:
        """Tags of a folder, where the session can tag folders."""
        if not tags:
            return
        try:
            there = await self._made(path)
            if there is not None and there.key is not None:
                await self._remote.tag(there.key, tags)
        except (InvalidCall, AccessDenied, NoSuchName) as refused:
            log.info("%s: tags of the folder stay behind: %s", path, refused)

    async def _made(self, path: str) -> Item | None:
        """What was made here just now, as soon as a replica that lags tells of it."""
        for pause_s in (*BUSY_PAUSES_S, None):
            asked_at_s = trio.current_time()
            there = await self._remote.stat(path)
            if there is not None or not self._remote.recent.is_expected(path, asked_at_s) or pause_s is None:
                return there
            await trio.sleep(pause_s)
        return None

    # Items

    async def _assign(self, move: Relocation, folder: str, items: Sequence[Item]) -> None:
        """One call for all; where that is refused, halves, until what can't be moved is alone."""
        try:
            await self._place(move.row.new + folder, items)
        except (*_REFUSALS, Conflict) as refused:
            if len(items) == 1:
                await self._leave(move, folder, items[0], refused)
                return
            middle = len(items) // 2
            await self._assign(move, folder, items[:middle])
            await self._assign(move, folder, items[middle:])
        else:
            move.note_progress()

    async def _place(self, folder: str, items: Sequence[Item]) -> None:
        await self._assigner.prepare()
        if len(items) == 1:
            await self._assigner.place(Assignment(items[0], folder, items[0].name))
            return
        for pause_s in (*_TAKEN_PAUSES_S, None):
            try:
                await self._remote.assign(*(Assignment(item, folder, item.name) for item in items))
                return
            except Conflict:
                if pause_s is None:
                    raise
            await trio.sleep(pause_s)

    async def _leave(self, move: Relocation, folder: str, item: Item, why: OrionFsError) -> None:
        """An item that can't be moved stays; one that is gone is none."""
        if isinstance(why, NoSuchName) and not await self._is_there(move.row.old + folder, item):
            return
        log.debug("%s%s/%s stays: %s", move.row.old, folder, item.name, why)
        move.leave(folder, item, why)

    async def _is_there(self, folder: str, item: Item) -> bool:
        try:
            asked_at_s = trio.current_time()
            rows = (await self._remote.list_folder(folder, with_details=False)).items
        except NoSuchName:
            return False
        rows = self._remote.recent.corrected(folder, rows, asked_at_s)
        return any(row.key == item.key for row in rows)

    # The old place

    async def _remove_old(self, move: Relocation) -> None:
        """Remove what is empty, from the bottom up; what somebody else has put there moves on."""
        if move.is_of_before:  # what the earlier daemon has put there may be unheard of
            await self._remote.until_heard_of(self._remote.recent.began_at_s)
        for folder in sorted(move.old_folders, key=lambda each: each.count("/"), reverse=True):
            if await self._is_emptied(move, folder):
                await self._remove_folder(move, folder)

    async def _is_emptied(self, move: Relocation, folder: str) -> bool:
        """True if Orion shows an old folder empty now; what a replica shows in its lag is waited for."""
        path, recent = move.row.old + folder, self._remote.recent
        for pause_s in (*BUSY_PAUSES_S, None):
            asked_at_s = trio.current_time()
            try:
                answer = await self._remote.list_folder(path, with_details=False)
            except NoSuchName:
                move.old_folders.discard(folder)
                return False
            true_rows = recent.corrected(path, answer.items, asked_at_s)
            if any(not move.stays(folder, row) for row in true_rows):
                move.pending[folder] = None
                return False
            if answer.is_complete and (true_rows or not answer.items):
                return not true_rows
            if pause_s is not None:
                await trio.sleep(pause_s)
        move.leave_folder(folder, RemoteFailure("Orion does not show all that the folder holds"))
        return False

    async def _remove_folder(self, move: Relocation, folder: str) -> None:
        """Remove an old folder that was just seen empty."""
        for pause_s in (*BUSY_PAUSES_S, None):
            try:
                await self._remote.remove_folder(move.row.old + folder)
                move.old_folders.discard(folder)
                return
            except (AccessDenied, InvalidCall) as refused:
                move.leave_folder(folder, refused)
                return
            except Conflict as conflict:
                if pause_s is None:
                    raise Busy(f"{move.row.old}{folder}: {conflict}") from conflict
            await trio.sleep(pause_s)
            if not await self._is_emptied(move, folder):
                return


def _report(move: Relocation) -> None:
    """One line for what could not be moved."""
    if move.error is not None:
        log.warning("%s can't be moved on to %s: %s", move.row.old, move.row.new, move.error)
        return
    left = [
        (f"{folder}/{item.name}", why) for folder, rows in move.left.items() for item, why in rows.values()
    ]
    if not left:
        log.debug("%s is all at %s", move.row.old, move.row.new)
        return
    named = "; ".join(f"{name} ({why})" for name, why in left[:_NAMED_MAX])
    more = f"; and {len(left) - _NAMED_MAX} more" if len(left) > _NAMED_MAX else ""
    log.warning(
        "%s: not all could be moved to %s; still there: %s%s", move.row.old, move.row.new, named, more
    )
