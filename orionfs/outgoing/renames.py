"""Renames on Orion: what follows from one is done with it, whatever becomes of this daemon meanwhile.

A rename stands in the journal before Orion is asked. Once it is known to have happened all that follows is
written down in one commit: what it replaced is to go, a version that was under way to its path is not wanted
any more, a newer one of the item goes along; with a folder all goes along that is promised below it. Where
its end is not known, after a time-out or a kill, Orion is asked what has the name; until that is known
nothing gets its place at either path, nor below that of a folder. Used by `sync` and `moves`. Must not know
inodes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import trio

from orionfs.durable.journal import Removal, Rename, UploadRow
from orionfs.durable.journal_thread import JournalThread
from orionfs.errors import Busy, NoSuchName, OrionFsError, Unreachable
from orionfs.models import Key, Kind
from orionfs.orion.remote import Health, Remote
from orionfs.outgoing.behind import Behind
from orionfs.outgoing.relocating import Relocator
from orionfs.outgoing.relocation import is_below
from orionfs.outgoing.upload import Upload

log = logging.getLogger(__name__)

_WAIT_MAX_S = 60.0

OnEnd = Callable[[bool], None]
"""Called once the end of a rename is known, with whether it has happened.

Before anything else can be known of it; of a folder, before what is promised below it goes along.
"""


def nobody(_has_happened: bool) -> None:
    """Nobody wants to hear of it."""


class ToGo(Protocol):
    """`Removals`, as far as it is told of renames."""

    def resume(self, removal: Removal) -> None:
        """Carry out the removal of an item that the journal knows."""

    def moved(self, old: str, new: str) -> None:
        """A folder was renamed."""

    def go_on(self) -> None:
        """What waits for the end of a rename looks again."""


@dataclass(eq=False, slots=True)
class _Unclear:
    """A rename whose end is to be found out."""

    rename: Rename
    on_end: OnEnd
    asked_at_s: float  # it was done by then, if ever

    def tell(self, has_happened: bool) -> None:
        """Whoever wants to hear of the end does so once."""
        on_end, self.on_end = self.on_end, nobody
        on_end(has_happened)


class Renames:
    """All renames that this daemon has asked for, but for folders that it has to make again."""

    def __init__(
        self,
        remote: Remote,
        journal: JournalThread,
        relocator: Relocator,
        behind: Behind,
        uploads: Mapping[str, Upload],
        end: Callable[[Upload], None],
        change_row: Callable[[Upload, UploadRow], None],
        removals: ToGo,
    ) -> None:
        """`uploads` is a live view of what is under way, by mark.

        `end` takes one from there that the journal knows to be cancelled, `change_row` gives it the row that
        the journal has, or will have.
        """
        self._remote = remote
        self._journal = journal
        self._relocator = relocator
        self._behind = behind
        self._uploads = uploads
        self._end = end
        self._change_row = change_row
        self._removals = removals
        self._unclear: dict[Key, _Unclear] = {}
        self._adopted: list[_Unclear] = []
        self._news = trio.Event()

    # Asking

    async def promise(self, rename: Rename) -> None:
        """Write down that Orion is about to be asked for a rename."""
        await self._journal.run(lambda journal: journal.renames.put(rename))

    async def withdraw(self, rename: Rename) -> None:
        """Orion has refused: nothing has happened."""
        await self._journal.run(lambda journal: journal.renames.drop(rename))

    async def happened(self, rename: Rename, removal: Removal | None = None) -> None:
        """A rename has happened; `removal` is what is still to go, and the caller's to carry out."""
        async with AsyncExitStack() as stack:
            for upload in self._affected(rename):
                if not upload.is_placing_ours:
                    await stack.enter_async_context(upload.placing)
            if rename.is_of_folder:  # even if it can't be written down: the old path means nothing any more
                self._take_along(rename)
            await self._journal.run(lambda journal: journal.renames.happened(rename, removal))
            self._apply(rename)

    def _take_along(self, rename: Rename) -> None:
        """With a folder goes what is promised below it."""
        self._apply(rename)
        self._removals.moved(rename.old, rename.path)
        self.moved(rename.old, rename.path)

    def _affected(self, rename: Rename) -> list[Upload]:
        """In the order in which whoever holds several has to wait for them."""
        affected = [
            upload
            for upload in self._uploads.values()
            if not upload.is_over and _outcome(rename, upload.row) != upload.row
        ]
        return sorted(affected, key=lambda upload: upload.nth)

    def _apply(self, rename: Rename) -> None:
        for upload in self._affected(rename):
            row = _outcome(rename, upload.row)
            if row is None:
                self._end(upload)
            else:
                self._change_row(upload, row)

    # Finding out

    def resume(self, rename: Rename, on_end: OnEnd = nobody) -> None:
        """Find out, in the background, whether a rename that was asked for just now has happened."""
        self._begin(self._note(rename, on_end, trio.current_time()))

    def adopt(self, rename: Rename, on_end: OnEnd = nobody) -> None:
        """The same for one that an earlier daemon has asked for, from `find_out_adopted` on."""
        self._adopted.append(self._note(rename, on_end, self._remote.recent.began_at_s))

    def find_out_adopted(self) -> None:
        """Every version that such a rename may end or take along is known here by now."""
        for unclear in self._adopted:
            self._begin(unclear)
        self._adopted.clear()

    def _note(self, rename: Rename, on_end: OnEnd, asked_at_s: float) -> _Unclear:
        unclear = self._unclear[rename.key] = _Unclear(rename, on_end, asked_at_s)
        return unclear

    def _begin(self, unclear: _Unclear) -> None:
        what = f"rename to {unclear.rename.path}"
        self._behind.start(what, partial(self._find_out_in_the_end, unclear))

    async def find_out(self, rename: Rename) -> None:
        """The same at once. Raises OrionFsError where that can't be done, Busy where it has to wait."""
        is_moving = self._relocator.moves.blocking(rename.path, is_deep=False) is not None
        if is_moving or self._is_below_unclear(rename):
            raise Busy(f"{rename.path}: its folder is still being moved")
        has_happened = await self._look(rename, self._remote.recent.began_at_s)
        if has_happened is None:
            raise Busy(f"{rename.path}: a replica that lags may know nothing of it yet")
        await self._conclude(rename, has_happened, [])

    async def _find_out_in_the_end(self, unclear: _Unclear) -> None:
        lost: list[Upload] = []
        has_happened = False
        try:
            await self._relocator.until_free(unclear.rename.path)
            while self._is_below_unclear(unclear.rename):
                await self._news.wait()
            has_happened = await self._has_happened(unclear)
            if unclear.rename.is_of_folder:  # what is promised below it from now on is promised where it is
                unclear.tell(has_happened)
            await self._conclude(unclear.rename, has_happened, lost)
        except OrionFsError as error:
            if error.is_retryable:
                raise
            path = unclear.rename.path
            log.warning("%s: the next mount asks whether it was renamed: %s", path, error)
        self._unclear.pop(unclear.rename.key, None)
        for upload in lost:
            upload.on_lost()
        unclear.tell(has_happened)
        self._removals.go_on()
        self._news.set()
        self._news = trio.Event()

    async def _has_happened(self, unclear: _Unclear) -> bool:
        """Asked again once no replica lags behind the rename, where it has not been heard of before."""
        while (has_happened := await self._look(unclear.rename, unclear.asked_at_s)) is None:
            moved_at_s = self._remote.recent.last_moved_at_s(unclear.rename.key)
            await self._remote.until_heard_of(max(unclear.asked_at_s, moved_at_s))
        return has_happened

    async def _look(self, rename: Rename, asked_at_s: float) -> bool | None:
        """What Orion shows of a rename that was asked for until then; None: what it shows may be of before.

        Where an item was just taken from the place that it was to get again, that may be what is shown; an
        earlier daemon may have done so until this one began.
        """
        recent, now_s = self._remote.recent, trio.current_time()
        is_there = await self._is_there(rename)
        taken_at_s = max(recent.last_moved_at_s(rename.key), recent.began_at_s)
        changed_at_s = taken_at_s if is_there else asked_at_s
        return None if recent.is_unheard_of(changed_at_s, now_s) else is_there

    async def _is_there(self, rename: Rename) -> bool:
        if rename.is_of_folder:
            there = await self._remote.stat(rename.path)
            if there is None or there.kind is Kind.FOLDER:
                return there is not None and there.key == rename.key
        try:
            return any(item.key == rename.key for item in await self._remote.list_named(*rename.place))
        except NoSuchName:  # its folder is gone
            return False

    def _is_below_unclear(self, rename: Rename) -> bool:
        """True while it is not known where the folder is in which something was to be renamed."""
        above = [each.rename for each in self._unclear.values() if each.rename.is_of_folder]
        return any(each.key != rename.key and each.is_at(rename.path) for each in above)

    async def _conclude(self, rename: Rename, has_happened: bool, lost: list[Upload]) -> None:
        """Do what follows; `lost` gets the versions that are not wanted any more."""
        if not has_happened:
            log.info("%s: the rename did not happen", rename.path)
            await self.withdraw(rename)
            return
        ended = self._uploads.get(rename.ended or "")
        is_lost = ended is not None and not ended.is_over
        removal = Removal(rename.replaced, rename.path) if rename.replaced is not None else None
        await self.happened(rename, removal)
        if removal is not None:
            self._removals.resume(removal)
        if ended is not None and is_lost and ended.is_over:
            lost.append(ended)

    @property
    def is_early(self) -> bool:
        """True while answers may know nothing of what an earlier daemon has done."""
        recent = self._remote.recent
        return recent.is_unheard_of(recent.began_at_s, trio.current_time())

    @property
    def early_until_s(self) -> float:
        """The last moment of that."""
        return self._remote.recent.heard_of_at_s(self._remote.recent.began_at_s)

    # Waiting

    def is_at(self, path: str, *, is_deep: bool = False) -> bool:
        """True if a path, or `is_deep` one below it, depends on a rename whose end is not known."""
        renames = [unclear.rename for unclear in self._unclear.values()]
        return any(
            rename.is_at(path) or (is_deep and (is_below(rename.old, path) or is_below(rename.path, path)))
            for rename in renames
        )

    async def until_free(self, path: str, *, is_deep: bool = False) -> None:
        """Wait until that is known. Raises Busy after a while, Unreachable while offline."""
        ends_at_s = trio.current_time() + _WAIT_MAX_S
        while self.is_at(path, is_deep=is_deep):
            if self._remote.health is Health.OFFLINE:
                raise Unreachable(
                    f"{path}: how a rename of it ended is not known, and Orion is not reachable"
                )
            if trio.current_time() >= ends_at_s:
                raise Busy(f"{path}: how a rename of it ended is not known yet")
            self._behind.wake()
            with trio.move_on_at(ends_at_s):
                await self._news.wait()

    def moved(self, old: str, new: str) -> None:
        """A folder was renamed: what was renamed in it is where that is now."""
        for unclear in self._unclear.values():
            rename = unclear.rename
            if rename.old != old:
                unclear.rename = replace(
                    rename, old=_moved(rename.old, old, new), path=_moved(rename.path, old, new)
                )


def _outcome(rename: Rename, row: UploadRow) -> UploadRow | None:
    """What a version is once a rename has happened: None if it is not wanted any more."""
    if rename.is_of_folder:
        return replace(row, folder=_moved(row.folder, rename.old, rename.path))
    if row.mark == rename.ended:
        return None
    if row.mark == rename.follows:
        folder, name = rename.place
        return replace(row, folder=folder, name=name)
    if (row.replaces, row.path) == (rename.replaced, rename.path):
        return replace(row, replaces=rename.key)
    return row


def _moved(path: str, old: str, new: str) -> str:
    return new + path[len(old) :] if is_below(path, old) else path
