"""Tells the kernel what changed elsewhere: one queue, one thread at a time, which no handler waits for.

Invalidating an entry takes the kernel's lock of its folder, which every lookup, listing and change of a
name holds until we have answered. On the trio thread that would be a deadlock; in a thread it waits, and
a daemon killed in that moment would leave both for ever. So an entry waits here until no handler works in
its folder (`locks`). Data are never invalidated: an inode number is one version. Decides nothing else.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Sequence
from functools import partial

import pyfuse3
import trio

from orionfs.holds import Holds
from orionfs.models import InodeNumber

log = logging.getLogger(__name__)

PENDING_MAX = 131_072
"""What is told beyond this is forgotten, oldest first: the kernel's own timeouts end that belief."""

_BATCH = 512  # a hop to a thread costs as much as several of these, and under load much more
_GONE = (errno.ENODEV, errno.ENOTCONN, errno.EBADF)  # the mount is

_Names = dict[bytes, None]  # in the order in which they were told
_Told = tuple[InodeNumber, bytes | None]  # None: attributes


class Invalidations:
    """The `KernelView` of a real mount. All but `_send` runs in the trio thread."""

    def __init__(
        self,
        send_entry: Callable[[InodeNumber, bytes], None] | None = None,
        send_attributes: Callable[[InodeNumber], None] | None = None,
        pending_max: int = PENDING_MAX,
    ) -> None:
        """How to tell the kernel is given in tests alone."""
        self.locks = Holds()
        self.locks.on_release.append(self._released)
        self._send_entry = send_entry or _invalidate_entry
        self._send_attributes = send_attributes or _invalidate_attributes
        self._pending_max = pending_max
        self._entries: dict[InodeNumber, _Names] = {}  # folder -> names
        self._entries_count = 0
        self._attributes: dict[InodeNumber, None] = {}
        self._thread = trio.CapacityLimiter(1)
        self._is_sending = False
        self._is_closed = False
        self.entries_sent = 0
        self._news = trio.Event()
        self._progress = trio.Event()

    def __len__(self) -> int:
        """How many were told and not yet taken up."""
        return self._entries_count + len(self._attributes)

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else "sending" if self._is_sending else "waiting"
        return f"<Invalidations {state}, {len(self)} pending>"

    def entry_changed(self, parent: InodeNumber, name: str) -> None:
        """See `KernelView`."""
        names = self._entries.setdefault(parent, {})
        raw_name = name.encode()
        if raw_name not in names:
            names[raw_name] = None
            self._entries_count += 1
        self._told()

    def attributes_changed(self, number: InodeNumber) -> None:
        """See `KernelView`."""
        self._attributes[number] = None
        self._told()

    async def tell_attributes(self, number: InodeNumber) -> None:
        """The kernel asks for the attributes of an inode anew once this returns.

        The one thing that a handler may wait for: the kernel takes no lock for it, and it waits behind
        nothing that is told otherwise.
        """
        if not self._is_closed:
            await trio.to_thread.run_sync(self._send, [(number, None)])

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Tell the kernel until cancelled."""
        task_status.started()
        while True:
            self._news = trio.Event()
            batch = self._take()
            if batch:
                await self._tell(batch)
            else:
                await self._news.wait()

    async def settled(self, limit_s: float) -> bool:
        """Wait until the kernel knows all; False if it does not within the time. Not for handlers."""
        with trio.move_on_after(limit_s):
            while self._is_sending or len(self):
                await self._progress.wait()
        return not (self._is_sending or len(self))

    async def close(self, limit_s: float = 5.0) -> None:
        """Tell nothing from now on: nobody will answer what the kernel's locks wait for."""
        self._is_closed = True
        self._clear()
        await self.settled(limit_s)

    def _clear(self) -> None:
        self._entries.clear()
        self._entries_count = 0
        self._attributes.clear()
        self._progressed()

    def _progressed(self) -> None:
        self._progress.set()
        self._progress = trio.Event()

    def _told(self) -> None:
        if self._is_closed:
            self._clear()
        elif len(self) > self._pending_max:
            self._drop_oldest()
        self._news.set()

    def _drop_oldest(self) -> None:
        if self._attributes:
            del self._attributes[next(iter(self._attributes))]
        else:
            self._pop(next(iter(self._entries)))

    def _pop(self, parent: InodeNumber) -> bytes:
        """The oldest name told of a folder; no longer pending."""
        names = self._entries[parent]
        name = next(iter(names))
        del names[name]
        self._entries_count -= 1
        if not names:
            del self._entries[parent]
        return name

    def _released(self, _folder: InodeNumber) -> None:
        if self._entries_count:
            self._news.set()

    def _take(self) -> list[_Told]:
        """The next to tell: attributes need no lock, entries wait for that of their folder."""
        batch: list[_Told] = []
        while self._attributes and len(batch) < _BATCH:
            number = next(iter(self._attributes))
            del self._attributes[number]
            batch.append((number, None))
        for parent in self._free_folders(_BATCH - len(batch)):
            while parent in self._entries and len(batch) < _BATCH:
                batch.append((parent, self._pop(parent)))
        return batch

    def _free_folders(self, names_max: int) -> list[InodeNumber]:
        """Folders that nobody works in, of so many names at least."""
        free: list[InodeNumber] = []
        for parent, names in self._entries.items():
            if names_max <= 0:
                break
            if parent not in self.locks:
                free.append(parent)
                names_max -= len(names)
        return free

    async def _tell(self, batch: Sequence[_Told]) -> None:
        self._is_sending = True
        try:
            await trio.to_thread.run_sync(self._send, batch, limiter=self._thread)
        finally:
            self._is_sending = False
            self._progressed()

    def _send(self, batch: Sequence[_Told]) -> None:
        """In a thread: the kernel may let us wait."""
        for number, name in batch:
            if self._is_closed:
                return
            tell = partial(self._send_attributes, number)
            if name is not None:
                self.entries_sent += 1
                tell = partial(self._send_entry, number, name)
            try:
                tell()
            except OSError as error:
                if error.errno in _GONE:
                    return
                if error.errno != errno.ENOENT:  # what the kernel does not know needs no telling
                    log.debug("inode %s %r: not invalidated: %s", number, name, error)


def _invalidate_entry(parent: InodeNumber, name: bytes) -> None:
    pyfuse3.invalidate_entry(pyfuse3.InodeT(parent), pyfuse3.FileNameT(name))


def _invalidate_attributes(number: InodeNumber) -> None:
    pyfuse3.invalidate_inode(pyfuse3.InodeT(number), attr_only=True)
