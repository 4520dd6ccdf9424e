"""Renames on Orion: what follows from one is done with it, whatever becomes of this daemon meanwhile.

A rename stands in the journal before Orion is asked. Once it is known to have happened all that follows is
written down in one commit: what it replaced is to go, a version that was under way to its path is not wanted
any more, a newer one of the item goes along. Where its end is not known, after a time-out or a kill, Orion is
asked what has the name; until that is known nothing gets its place at either path. Used by `sync` and
`moves`. Must not know inodes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial

import trio

from orionfs.durable.journal import Removal, Rename, UploadRow
from orionfs.durable.journal_thread import JournalThread
from orionfs.errors import Busy, NoSuchName, OrionFsError, Unreachable
from orionfs.models import Key
from orionfs.orion.remote import Health, Remote
from orionfs.outgoing.behind import Behind
from orionfs.outgoing.relocating import Relocator
from orionfs.outgoing.relocation import is_below
from orionfs.outgoing.upload import Upload

log = logging.getLogger(__name__)

_WAIT_MAX_S = 60.0

OnEnd = Callable[[bool], None]
"""Called once the end of a rename is known, before anything else can be: with whether it has happened."""


def nobody(_has_happened: bool) -> None:
    """Nobody wants to hear of it."""


@dataclass(eq=False, slots=True)
class _Unclear:
    """A rename whose end is to be found out."""

    rename: Rename
    on_end: OnEnd
    asked_at_s: float  # it was done by then, if ever


class Renames:
    """All renames of items that this daemon has asked for."""

    def __init__(
        self,
        remote: Remote,
        journal: JournalThread,
        relocator: Relocator,
        behind: Behind,
        uploads: Mapping[str, Upload],
        end: Callable[[Upload], None],
        change_row: Callable[[Upload, UploadRow], None],
        remove: Callable[[Removal], None],
    ) -> None:
        """`uploads` is a live view of what is under way, by mark.

        `end` takes one from there that the journal knows to be cancelled, `change_row` gives it the row that
        the journal has; `remove` carries out a removal that the journal knows.
        """
        self._remote = remote
        self._journal = journal
        self._relocator = relocator
        self._behind = behind
        self._uploads = uploads
        self._end = end
        self._change_row = change_row
        self._remove = remove
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

    async def happened(self, rename: Rename, removal: Removal | None) -> None:
        """A rename has happened; `removal` is what is still to go, and the caller's to carry out."""
        async with AsyncExitStack() as stack:
            for upload in self._affected(rename):
                if not upload.is_placing_ours:
                    await stack.enter_async_context(upload.placing)
            await self._journal.run(lambda journal: journal.renames.happened(rename, removal))
            for upload in self._affected(rename):
                self._apply(rename, upload)

    def _affected(self, rename: Rename) -> list[Upload]:
        """In the order in which whoever holds several has to wait for them."""
        affected = [
            upload
            for upload in self._uploads.values()
            if not upload.is_over and _outcome(rename, upload.row) != upload.row
        ]
        return sorted(affected, key=lambda upload: upload.nth)

    def _apply(self, rename: Rename, upload: Upload) -> None:
        row = _outcome(rename, upload.row)
        if row is None:
            self._end(upload)
        else:
            self._change_row(upload, row)

    # Finding out

    def resume(self, rename: Rename, on_end: OnEnd = nobody) -> None:
        """Find out, in the background, whether a rename that was asked for just now has happened."""
        self._begin(self._note(rename, on_end, trio.current_time()))

    def adopt(self, rename: Rename) -> None:
        """The same for one that an earlier daemon has asked for, from `find_out_adopted` on."""
        self._adopted.append(self._note(rename, nobody, self._remote.recent.began_at_s))

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
        if self._relocator.moves.blocking(rename.path, is_deep=False) is not None:
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
            has_happened = await self._has_happened(unclear)
            await self._conclude(unclear.rename, has_happened, lost)
        except OrionFsError as error:
            if error.is_retryable:
                raise
            path = unclear.rename.path
            log.warning("%s: the next mount asks whether it was renamed: %s", path, error)
        self._unclear.pop(unclear.rename.key, None)
        for upload in lost:
            upload.on_lost()
        unclear.on_end(has_happened)
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
        try:
            there = await self._remote.list_named(*rename.place)
        except NoSuchName:  # its folder is gone
            there = ()
        is_there = any(item.key == rename.key for item in there)
        taken_at_s = max(recent.last_moved_at_s(rename.key), recent.began_at_s)
        changed_at_s = taken_at_s if is_there else asked_at_s
        return None if recent.is_unheard_of(changed_at_s, now_s) else is_there

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
            self._remove(removal)
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
            unclear.rename = replace(
                rename, old=_moved(rename.old, old, new), path=_moved(rename.path, old, new)
            )


def _outcome(rename: Rename, row: UploadRow) -> UploadRow | None:
    """What a version is once a rename has happened: None if it is not wanted any more."""
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
