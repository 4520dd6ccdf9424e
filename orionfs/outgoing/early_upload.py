"""One file that goes to Orion while it is being written: begun under a mark, sent part by part, finished.

The mark stands in the journal, as something that is to be removed, before Orion hears of it; sealing the
version turns it into a promise. So whatever ends this, the next mount or `remove` leaves no orphan. Owns
which parts have left. Must not know who writes, nor inodes; when it is finished is for `carry` to say.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from math import inf
from pathlib import Path

import trio

from orionfs.cache.content import Staged
from orionfs.durable.journal_thread import JournalThread
from orionfs.durable.promises import marked_to_go
from orionfs.errors import InvalidCall, OrionFsError, RemoteFailure
from orionfs.marks import new_mark
from orionfs.models import Item, Key, Kind
from orionfs.orion.limiter import Priority, Urgency, working_with
from orionfs.orion.remote import Remote
from orionfs.outgoing.behind import Behind
from orionfs.outgoing.leaving import Leaving
from orionfs.outgoing.sweeps import Sweeps
from orionfs.tasks import Background

log = logging.getLogger(__name__)

_PAUSE_S = 1.0
_PAUSE_MAX_S = 30.0
_SLOWER = 2.0  # a part that takes so much longer than any before it may never leave


@dataclass(frozen=True, slots=True)
class Pressure:
    """When a file that is being written begins to leave, and how far its writer may be ahead of that.

    `begin_at_bytes`: so much was written in one go. `wait_max_s`: how long a single write waits for a part
    to leave.
    """

    begin_at_bytes: int = 2 * 2**23
    unsent_max_bytes: int = 2**28
    parts_at_once: int = 4
    wait_max_s: float = 75.0


@dataclass(frozen=True, slots=True)
class Means:
    """What all of them work with; `home` is the Orion folder where uploads land first."""

    remote: Remote
    journal: JournalThread
    behind: Behind
    background: Background
    sweeps: Sweeps
    home: str
    pressure: Pressure

    @classmethod
    def of(
        cls,
        remote: Remote,
        journal: JournalThread,
        behind: Behind,
        background: Background,
        home: str,
        pressure: Pressure,
    ) -> Means:
        """With sweeps of their own."""
        sweeps = Sweeps(remote, journal, behind, background, home)
        return cls(remote, journal, behind, background, sweeps, home, pressure)


@dataclass(frozen=True, slots=True)
class Writing:
    """A staged file that is being written, as far as this must know it.

    `name` is what it is called, for people; None for one that Orion is not to see before it is closed.
    `have` brings all that it still lacks before an offset. Raises Stale, NoSpace, and what a fetch does.
    """

    staged: Staged
    name: Callable[[], str | None]
    have: Callable[[int], Awaitable[None]]


class EarlyUpload:
    """The early upload of one staged file; `what` names the file for people."""

    def __init__(
        self, means: Means, writing: Writing, what: str, start: int | None, on_refused: Callable[[], None]
    ) -> None:
        """Its writer begins at `start`, and what lies before that is to be had. None: the file was empty.

        `on_refused` hears that this Orion takes no upload whose size it is not told first.
        """
        self._means, self._writing, self._what = means, writing, what
        self._sealed: Path | None = None  # where its bytes are once nothing more is written
        self._on_refused = on_refused
        self._began_empty = start is None
        self.leaving = Leaving(start or 0)
        self.mark: str | None = None
        self.id: int | None = None
        self.is_over = False
        self.is_stalled = False  # a writer has waited for a part in vain, and none has left since
        self._size: int | None = None  # once nothing more is written
        self._error: OrionFsError | None = None
        self.is_beginning = False  # or has begun
        self._settled = trio.Event()  # the first attempt to begin has ended
        self._closing = trio.Event()
        self._changed = trio.Event()
        self._urgency = Urgency(Priority.BACKGROUND)
        self._sent_at_s = -inf
        self._slowest_s = 0.0  # of its parts so far

    def __repr__(self) -> str:
        return f"<EarlyUpload {self._what!r} {self.leaving!r}>"

    # While it is written

    def note_written(self, start: int, end: int) -> None:
        """`[start, end)` has been written."""
        self.leaving.note_written(start, end)
        self.leaving.take_holes(self._means.pressure.unsent_max_bytes)
        self._go_on()

    def _go_on(self) -> None:
        """Begin, or send what may leave, in the background."""
        if self.is_over:
            return
        if self.id is not None:
            self._send_more()
        elif not self.is_beginning and self.leaving.run_bytes >= self._means.pressure.begin_at_bytes:
            self.is_beginning = True
            self._means.background.start(f"early upload of {self._what}", self._begin)

    def has_jumped_to(self, start: int) -> bool:
        """True if its writer goes on elsewhere in what was there; before it begins, only one go counts."""
        return not (self._began_empty or self.is_beginning) and start > self.leaving.front

    def goes_on_in(self, writing: Writing) -> None:
        """What was written so far is in another file as well, in which its writer goes on."""
        self._writing = writing

    @property
    def is_behind(self) -> bool:
        """True if the writer is too far ahead of what has left, and more can leave."""
        if self.is_over or self.is_stalled or self._error is not None or not self.is_beginning:
            return False
        is_moving = self.id is None or self.leaving.flying or self.leaving.next_full() is not None
        return bool(is_moving) and self.leaving.unsent_bytes > self._means.pressure.unsent_max_bytes

    async def until_room(self) -> None:
        """Wait until the writer is not too far ahead, or it has waited for long enough.

        Where parts leave slowly, the next one waits as well; where none leaves, nobody does until one has.
        """
        self._urgency.raise_to(Priority.FOREGROUND)
        with trio.move_on_after(self._means.pressure.wait_max_s):
            while self.is_behind:
                await self._changed.wait()
            return
        if trio.current_time() > self._sent_at_s + _SLOWER * self._slowest_s:
            log.info("%s: nothing of it leaves, so it is written here alone for now", self._what)
            self.is_stalled = True

    async def until_begun(self) -> None:
        """Wait for the end of the first attempt to begin, if there is one."""
        if self.is_beginning:
            with trio.move_on_after(self._means.pressure.wait_max_s):
                await self._settled.wait()

    async def _begin(self) -> None:
        pause_s = _PAUSE_S
        try:
            while not self.is_over and not (await self._has_all() and await self._has_begun()):
                self._settled.set()
                with trio.move_on_after(pause_s):
                    await self._closing.wait()
                    return
                pause_s = min(_PAUSE_MAX_S, 2 * pause_s)
        finally:
            self._settled.set()
        self._go_on()

    async def _has_all(self) -> bool:
        """One attempt to have what lies before the place where its writer began."""
        try:
            with working_with(self._urgency):
                await self._writing.have(self.leaving.start)
        except OrionFsError as error:
            self.is_over = not error.is_retryable
            log.debug("%s: what it lacks is not there yet: %s", self._what, error)
            return False
        return True

    async def _has_begun(self) -> bool:
        """One attempt. What it may leave on Orion is removed if it fails."""
        mark, means = new_mark(), self._means
        row = marked_to_go(mark, means.home)
        id_: int | None = None
        try:
            await means.journal.run(lambda journal: journal.begun(row))
            with working_with(self._urgency):
                id_, part_bytes = await means.remote.begin_upload(mark)
            await means.journal.run(lambda journal: journal.uploaded(mark, id_ or 0))
        except OrionFsError as error:
            if error.is_unclear and id_ is None:
                means.sweeps.soon(mark, trio.current_time())
            else:
                means.behind.start(f"{mark}", partial(_remove, means, mark, id_))
            if isinstance(error, InvalidCall):
                log.info("files leave for Orion when they are closed: %s", error)
                self._on_refused()
            if not error.is_retryable:
                self.is_over = True
            log.debug("%s: its upload is begun later: %s", self._what, error)
            return False
        if self.is_over:
            means.behind.start(f"{mark}", partial(_remove, means, mark, id_))
            return False
        self.mark, self.id, self.leaving.part_bytes = mark, id_, part_bytes
        return True

    # Parts

    @property
    def _path(self) -> Path:
        """Where its bytes are now; a staged file gets another name once it lacks nothing."""
        return self._sealed or self._writing.staged.path

    def _send_more(self) -> None:
        while self._error is None and len(self.leaving.flying) < self._means.pressure.parts_at_once:
            size = self._size
            number = self.leaving.next_full() if size is None else self.leaving.next_of(size)
            if number is None:
                return
            self.leaving.flying.add(number)
            self._means.background.start(f"part {number} of {self._what}", partial(self._send, number))

    async def _send(self, number: int) -> None:
        pause_s, began_s = _PAUSE_S, trio.current_time()
        try:
            while not self.is_over and not await self._has_sent(number):
                with trio.move_on_after(pause_s):
                    await self._closing.wait()
                if self._error is not None:
                    break
                pause_s = min(_PAUSE_MAX_S, 2 * pause_s)
        finally:
            self.leaving.flying.discard(number)
            if number in self.leaving.sent:
                self.is_stalled, self._sent_at_s = False, trio.current_time()
                self._slowest_s = max(self._slowest_s, self._sent_at_s - began_s)
            self._go_on()
            self._tell()

    async def _has_sent(self, number: int) -> bool:
        """One attempt. An error that will stay so, or any once somebody waits for the end, is kept."""
        size, urgency, path = self._size, self._urgency, self._path
        length = self.leaving.length_of(number, size)
        assert self.id is not None
        try:
            with working_with(urgency):
                await self._means.remote.send_part(self.id, self.leaving.part_bytes, number, path, length)
        except OrionFsError as error:
            log.debug("%s: part %d: %s", self._what, number, error)
            if path == self._path and (self._size is not None or not error.is_retryable):
                self._error = error
            return False
        self.leaving.sent.add(number)
        return True

    def _tell(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    # The end

    async def finish(self, path: Path, size: int) -> Item:
        """Send what is left of the file, whose bytes are at `path`, and finish it; one attempt.

        Raises what the session fails with, when nothing of it is on its way any more.
        """
        assert self.id is not None
        self._sealed, self._size, self._error = path, size, None
        self._closing.set()
        self._urgency.raise_to(Priority.FOREGROUND)
        self._send_more()
        while self.leaving.flying:
            await self._changed.wait()
        if self._error is not None:
            raise self._error
        if self.leaving.next_of(size) is not None:
            raise RemoteFailure(f"{self._what}: not all of its parts have left")
        return await self._means.remote.finish_upload(self.id, self.leaving.part_bytes, size)

    async def withdraw(self) -> None:
        """What of it is on Orion goes; the version is still promised."""
        if self.id is not None:
            await self._means.remote.delete(Key(Kind.FILE, self.id))

    async def stop(self) -> None:
        """Nothing of it is on its way any more when this returns, and nothing will be."""
        self.is_over = True
        self._closing.set()
        self._tell()
        while self.leaving.flying:
            await self._changed.wait()

    def give_up(self) -> None:
        """It is not wanted any more: what of it is on Orion is removed behind the caller."""
        if self.is_over:
            return
        self.is_over = True
        self._closing.set()
        self._tell()
        if self.mark is not None:
            self._means.behind.start(f"{self.mark}", self._remove)

    async def _remove(self) -> None:
        assert self.mark is not None
        await self.stop()
        await _remove(self._means, self.mark, self.id)


async def _remove(means: Means, mark: str, id_: int | None) -> None:
    """Nothing is on Orion under a mark, and nothing is promised of it."""
    if id_ is not None:
        await means.remote.delete(Key(Kind.FILE, id_))
    await means.journal.run(lambda journal: journal.drop_upload(mark))
