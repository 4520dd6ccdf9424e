"""When versions go to Orion and how often they are tried: in the background, whoever waits for the end.

Through = `now`: have it carried out and wait for how the attempt ends. Back = `soon`: have it carried out.
Either way an upload has one task, and none before there is a place for it (`order`), which lives until the
upload is over. Used by `sync` alone, which owns what is pending. Must not know inodes.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from math import inf

import trio

from orionfs.errors import InvalidCall, LocalDiskError, OrionFsError, Unreachable
from orionfs.orion.limiter import Priority, Urgency, working_at
from orionfs.orion.remote import Health, Remote
from orionfs.outgoing.lanes import Lanes
from orionfs.outgoing.order import SMALL_BYTES, Order
from orionfs.outgoing.upload import Upload, UploadState
from orionfs.reports import Reports
from orionfs.tasks import Background

log = logging.getLogger(__name__)

_PAUSE_S = 0.25
_PAUSE_MAX_S = 60.0
_REFUSED_PAUSE_S = 300.0
# A program that writes many small files has this machine for itself until it pauses so long, for so long at
# most: each upload takes as much of a processor as its close.
_QUIET_S = 0.05
_GATHER_MAX_S = 0.8


class _Unexpected(LocalDiskError):
    """A mistake of ours, which may depend on the moment."""

    is_retryable = True


@dataclass(eq=False, slots=True)
class _Outcome:
    """How the next attempt ends, for one who waits for it."""

    known: trio.Event = field(default_factory=trio.Event)
    error: OrionFsError | None = None

    def tell(self, error: OrionFsError | None) -> None:
        self.error = error
        self.known.set()


@dataclass(eq=False, slots=True)
class _Work:
    """What is done for one upload."""

    has_place: bool = False
    outcomes: list[_Outcome] = field(default_factory=list)
    urgency: Urgency = field(default_factory=lambda: Urgency(Priority.BACKGROUND))


class Attempts:
    """The attempts of all uploads of one mount."""

    def __init__(
        self,
        remote: Remote,
        order: Order,
        lanes: Lanes,
        background: Background,
        reports: Reports,
        uploads: Mapping[str, Upload],
        carry: Callable[[Upload], Awaitable[None]],
    ) -> None:
        """`uploads` is a live view of what is pending, by mark; `carry` makes one attempt."""
        self._remote = remote
        self._order = order
        self._lanes = lanes
        self._background = background
        self._reports = reports
        self._uploads = uploads
        self._carry = carry
        self._work: dict[str, _Work] = {}
        self._closed_at_s = -inf
        self._rush = trio.Event()
        self._is_gathering = False

    def soon(self, upload: Upload, delay_s: float = 0.0) -> None:
        """Carry an upload out in the background, again and again until it is over."""
        if upload.is_in_background or upload.is_over:
            return
        mark = upload.row.mark
        work = self._work.setdefault(mark, _Work())
        if mark in self._order and delay_s <= 0 and not work.has_place:
            self._order.wait(mark)
            self._gather(upload)
        else:
            self._begin(upload, delay_s)

    async def now(self, upload: Upload) -> None:
        """Have an upload carried out, and wait for how the attempt ends; its error is raised."""
        if upload.is_over:
            return
        outcome = _Outcome()
        work = self._work.setdefault(upload.row.mark, _Work())
        work.outcomes.append(outcome)
        self.soon(upload)
        for each in (*self._before(upload), upload):
            self.hurry(each)
        await outcome.known.wait()
        if outcome.error is not None:
            raise outcome.error

    def hurry(self, upload: Upload) -> None:
        """Somebody waits for an upload: what waits for its time does so no longer."""
        work = self._work.get(upload.row.mark)
        if work is not None:
            work.urgency.raise_to(Priority.FOREGROUND)
        if upload.state is not UploadState.RUNNING:
            upload.hurry.set()
        self.rush()

    def rush(self) -> None:
        """Somebody waits: what there is a place for starts now."""
        self._rush.set()
        self.start_waiting()

    def retry(self, upload: Upload) -> None:
        """What was refused gets one more attempt, and what waits for its time makes it now."""
        upload.error = upload.told = None
        upload.hurry.set()

    def start_waiting(self) -> None:
        """Start what there is a place for; while offline nothing is."""
        if self._remote.health is Health.OFFLINE:
            return
        for mark in self._order.start():
            upload = self._uploads[mark]
            self._work[mark].has_place = True
            if upload.is_in_background:
                upload.hurry.set()
            else:
                self._begin(upload, 0.0)

    def sent(self, upload: Upload) -> None:
        """The bytes of a version are on Orion: its place is free, and it waits for its turn."""
        self._order.sent(upload.row.mark)
        self._lanes.tell(upload.row.folder)
        self.start_waiting()

    def ended(self, upload: Upload) -> None:
        """An upload is over: nobody waits for it, in its folder or for its end."""
        mark = upload.row.mark
        self._order.leave(mark)
        self._lanes.forget(mark, upload.row.folder)
        work = self._work.pop(mark, None)
        for outcome in work.outcomes if work is not None else ():
            outcome.tell(None)
        upload.hurry.set()
        self.start_waiting()

    @property
    def is_stuck(self) -> bool:
        """True if nothing can be expected of any upload soon: each, or one before it, was refused."""
        refused = {
            mark
            for mark, upload in self._uploads.items()
            if upload.error is not None and not upload.error.is_retryable
        }
        unfinished = {mark for mark, upload in self._uploads.items() if upload.is_unfinished}
        return self._order.held_up_by(refused) >= unfinished

    def _gather(self, upload: Upload) -> None:
        """A version may start; a small one only when whoever writes has paused."""
        self._closed_at_s = trio.current_time()
        if upload.row.size_bytes >= SMALL_BYTES:
            self.start_waiting()
        elif not self._is_gathering:
            self._is_gathering = True
            self._rush = trio.Event()
            self._background.start("uploads", self._start_when_quiet)

    async def _start_when_quiet(self) -> None:
        ends_at_s = trio.current_time() + _GATHER_MAX_S
        with trio.move_on_at(ends_at_s):
            while (quiet_at_s := self._closed_at_s + _QUIET_S) > trio.current_time():
                with trio.move_on_at(quiet_at_s):
                    await self._rush.wait()
                    break
        self._is_gathering = False
        self.start_waiting()

    # One upload

    def _begin(self, upload: Upload, delay_s: float) -> None:
        upload.is_in_background = True
        self._background.start(f"upload of {upload.row.path}", partial(self._go_on, upload, delay_s))

    async def _go_on(self, upload: Upload, pause_s: float) -> None:
        """Attempt after attempt until the upload is over."""
        work = self._work.setdefault(upload.row.mark, _Work())
        priority = Priority.BACKGROUND if upload.row.mark in self._order else Priority.FOREGROUND
        with working_at(min(priority, work.urgency.priority)) as work.urgency:
            while not upload.is_over and not upload.rests:
                if not work.has_place:
                    await self._until_due(upload, pause_s)
                    await self._until_place(upload, work)
                if not upload.is_over:
                    pause_s = await self._attempt(upload, work, pause_s)
        upload.is_in_background = False
        for outcome in work.outcomes:  # of what is not to be on Orion under this name
            outcome.tell(None)
        work.outcomes.clear()

    async def _until_due(self, upload: Upload, pause_s: float) -> None:
        is_away = pause_s > 0 and self._remote.health is Health.OFFLINE  # its end wakes all that wait
        with trio.move_on_after(inf if is_away else pause_s):
            await upload.hurry.wait()

    async def _until_place(self, upload: Upload, work: _Work) -> None:
        """Versions that go up in their order wait for a place."""
        mark = upload.row.mark
        if mark not in self._order:
            return
        upload.hurry = trio.Event()
        self._order.wait(mark)
        self.start_waiting()
        while not work.has_place and not upload.is_over:
            await upload.hurry.wait()
            upload.hurry = trio.Event()

    async def _attempt(self, upload: Upload, work: _Work, pause_s: float) -> float:
        """One attempt; how long to wait before the next one, in seconds, if there is one."""
        upload.hurry = trio.Event()
        try:
            async with upload.carrying:
                await self._carry(upload)
            error: OrionFsError | None = None
        except OrionFsError as failed:
            error = failed
        except Exception as unexpected:
            log.exception("%s: unexpected", upload.row.path)
            error = _Unexpected(str(unexpected))
        work.has_place = False
        if upload.is_over:  # nobody wants it any more: how its last attempt ended says nothing
            error = None
        if error is not None:
            pause_s = self._failed(upload, work, error, pause_s)
        for outcome in work.outcomes:
            outcome.tell(error)
        work.outcomes.clear()
        return pause_s

    def _failed(self, upload: Upload, work: _Work, error: OrionFsError, pause_s: float) -> float:
        upload.state = UploadState.FAILED
        is_heard = bool(work.outcomes)  # who is in the call hears of it; the log, if it stays so
        if not is_heard or isinstance(error, InvalidCall):
            self._log_failure(upload, error)
        upload.error = error
        if upload.about is not None:
            self._reports.note(upload.about, "upload", error)
        self._order.rest(upload.row.mark)
        self._tell_those_behind(upload, error)
        if isinstance(error, InvalidCall):
            self._order.leave(upload.row.mark)  # nobody is to wait for what goes up when it is asked for
        self._lanes.tell(upload.row.folder)
        self.start_waiting()
        if isinstance(error, Unreachable):
            return 1.0
        usual_s = _PAUSE_S if is_heard else min(_PAUSE_MAX_S, max(1.0, 2 * pause_s))
        return _pause_after(error, usual_s)

    def _log_failure(self, upload: Upload, error: OrionFsError) -> None:
        if upload.told is not None and upload.told.errno == error.errno:
            return
        is_given_up = _pause_after(error, 0.0) == inf
        what_next = "kept until it is asked for" if is_given_up else "kept and tried again"
        log.warning("%s is not on Orion yet; it is %s: %s", upload.row.path, what_next, error)
        upload.told = error

    def _tell_those_behind(self, failed: Upload, error: OrionFsError) -> None:
        """Who waits for a version that comes after this one hears why it does not."""
        if failed.row.mark not in self._order:
            return
        for mark, work in self._work.items():
            if work.outcomes and mark != failed.row.mark and failed.row.mark in self._order.before(mark):
                for outcome in work.outcomes:
                    outcome.tell(error)
                work.outcomes.clear()

    def _before(self, upload: Upload) -> list[Upload]:
        marks = self._order.before(upload.row.mark)
        return [self._uploads[mark] for mark in marks if mark in self._uploads]


def _pause_after(error: BaseException, usual_s: float) -> float:
    """Before the next attempt: a refusal may be mended by others, what makes no sense to Orion stays so."""
    if isinstance(error, InvalidCall):
        return inf
    is_refused = isinstance(error, OrionFsError) and not error.is_retryable
    return _REFUSED_PAUSE_S if is_refused else usual_s
