"""What was promised to go from Orion: items by id, or many of a folder in one call, and emptied folders.

A promise stands in the journal and is carried out behind its caller, tried until Orion does it or refuses.
Many items of one folder go by their paths in one call, if a listing taken just before shows each name once
and with that id; every other one goes by id, which never means another item. A folder goes once all that
was promised in it is over, and only if Orion shows it empty. What is refused is told, and not hidden any
more. An unclear end is found out by asking again, by the next mount as well: a removal by id is the same
however often it is made. Used by `sync` alone. Must not know inodes.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from math import inf

import trio

from orionfs.durable.journal import Journal, Removal
from orionfs.durable.journal_thread import JournalThread
from orionfs.errors import Busy, OrionFsError, Unreachable
from orionfs.models import Key, Kind
from orionfs.orion.limiter import Priority, working_at
from orionfs.orion.listings import ASKED_PAGE_ROWS
from orionfs.orion.remote import Health, Remote
from orionfs.outgoing.behind import Behind
from orionfs.outgoing.conflicts import has_given_way
from orionfs.outgoing.emptied import remove_empty
from orionfs.outgoing.pending_removals import OnEnd, Pending, PendingFolder, nobody
from orionfs.outgoing.relocation import is_below
from orionfs.reports import Reports
from orionfs.tasks import Background

__all__ = ["OnEnd", "Removals", "nobody"]

log = logging.getLogger(__name__)

# Whoever removes one item of a folder often removes more of it: they go together when no more came for so
# long, after so long at most.
_QUIET_S = 0.1
_GATHER_MAX_S = 1.0
_BY_PATH_MIN = 8
_PATHS_A_CALL = 100
_AT_ONCE = 32
_WAIT_MAX_S = 60.0


class Removals:
    """All removals that this daemon has promised."""

    def __init__(
        self,
        remote: Remote,
        journal: JournalThread,
        background: Background,
        behind: Behind,
        reports: Reports,
        unseen: set[Key],
        is_moving: Callable[[str], bool],
        has_uploads: Callable[[str], bool],
        on_gone: Callable[[Key], None],
        on_progress: Callable[[], Awaitable[None]],
    ) -> None:
        """`unseen` gets the items that nobody is to be shown any more, whatever a listing says.

        `is_moving` is true for a folder that is being renamed, `has_uploads` for one in or below which an
        upload is not over; `on_gone` hears of items that are gone from Orion.
        """
        self._remote = remote
        self._journal = journal
        self._behind = behind
        self._on_gone = on_gone
        self._background = background
        self._reports = reports
        self._unseen = unseen
        self._is_moving = is_moving
        self._has_uploads = has_uploads
        self._on_progress = on_progress
        self._items: dict[Key, Pending] = {}
        self._folders: dict[str, PendingFolder] = {}
        self._in_folder: dict[str, dict[Key, Pending]] = {}
        self._below: Counter[str] = Counter()  # folder -> removals that are pending in it or below
        self._sweeping: set[str] = set()
        self._asked_at_s = -inf
        self._calls: dict[trio.Event, str] = {}  # end of a call by paths -> the folder that they are in
        self._wake = trio.Event()
        self._news = trio.Event()
        self.refused: list[str] = []
        """Paths that Orion has refused to remove, until somebody was told."""

    def __len__(self) -> int:
        return len(self._items) + len(self._folders)

    # Promising

    async def promise(self, removal: Removal, *, is_durable: bool = True) -> None:
        """Write down that an item is to go; `resume` does it. A durable promise survives a power cut."""
        await self._journal.run(lambda journal: journal.add_removal(removal, is_durable=is_durable))

    async def withdraw(self, key: Key) -> None:
        """A promised removal has been carried out, or is not to be."""
        await self._journal.run(lambda journal: journal.drop_removal(key))

    async def let_go(self, removal: Removal) -> None:
        """Have an item removed behind the caller, whatever happens to this daemon."""
        await self.promise(removal)
        self.resume(removal)

    async def remove_if_aside(self, removal: Removal) -> None:
        """Let an item go that is not replaced after all, if what was to do so has put it aside already."""
        if await has_given_way(self._remote, removal.key):
            await self.let_go(removal)

    async def promise_folder(self, path: str) -> None:
        """Write down that a folder is to go once it is empty; `resume_folder` does it."""
        await self._journal.run(lambda journal: journal.add_folder_removal(path))

    def resume(self, removal: Removal, on_end: OnEnd = nobody, *, is_of_before: bool = False) -> None:
        """Carry out, in the background, the removal of an item that the journal knows.

        `is_of_before`: an earlier daemon has promised it.
        """
        before = self._items.get(removal.key)
        if before is not None:
            before.on_ends.append(on_end)
            return
        pending = self._items[removal.key] = Pending(removal, [on_end], is_of_before=is_of_before)
        self._enter(pending)
        self._unseen.add(removal.key)
        self._asked_at_s = trio.current_time()
        self._sweep_soon(pending.place[0])

    def resume_folder(self, path: str, on_end: OnEnd = nobody) -> None:
        """Carry out, in the background, the removal of a folder that the journal knows."""
        self._folders[path] = PendingFolder(path, on_end)
        self._count(path, 1)
        self._start_folder(path)

    # Waiting

    def has_below(self, folder: str) -> bool:
        """True if something is pending in a folder or below it."""
        return self._below[folder] > 0

    def is_at(self, path: str) -> bool:
        """True if what had this path is still to be removed."""
        folder, _, name = path.rpartition("/")
        there = self._in_folder.get(folder, {})
        return path in self._folders or any(each.place[1] == name for each in there.values())

    async def until_free(self, path: str, *, is_deep: bool = False) -> None:
        """Wait until nothing is to be removed at a path; `is_deep`: nor below it.

        Raises Busy after a while, Unreachable while offline.
        """
        ends_at_s = trio.current_time() + _WAIT_MAX_S
        while self.is_at(path) or (is_deep and self.has_below(path)):
            if self._remote.health is Health.OFFLINE:
                raise Unreachable(f"{path}: what was removed there is still on Orion, which is not reachable")
            if trio.current_time() >= ends_at_s:
                raise Busy(f"{path}: what was removed there is still on Orion")
            self.wake()
            with trio.move_on_at(ends_at_s):
                await self._news.wait()

    async def until_no_call(self, folder: str) -> None:
        """Wait while items of a folder, or below it, are removed by their paths, which must not change."""
        for ended, path in list(self._calls.items()):
            if is_below(path, folder):
                await ended.wait()

    def wake(self) -> None:
        """What waits for its next attempt makes it now."""
        self._wake.set()
        self._wake = trio.Event()

    def moved(self, old: str, new: str) -> None:
        """A folder was renamed: what is to go from it goes from where it is now."""
        items = [each for each in self._items.values() if is_below(each.removal.path, old)]
        for pending in items:
            self._leave(pending)
            path = new + pending.removal.path[len(old) :]
            pending.removal = replace(pending.removal, path=path)
            self._enter(pending)
        for path in [path for path in self._folders if is_below(path, old)]:
            folder = self._folders.pop(path)
            self._count(path, -1)
            folder.path = new + path[len(old) :]
            self._folders[folder.path] = folder
            self._count(folder.path, 1)
        for place in {pending.place[0] for pending in items if not pending.is_taken}:
            self._sweep_soon(place)
        self.go_on()

    def go_on(self) -> None:
        """Nothing keeps folders from going any more that did, such as a rename of what they lie in."""
        for path in list(self._folders):
            self._start_folder(path)

    def ended_in(self, folder: str) -> None:
        """An upload to a folder is over: that folder may be what waits for it."""
        for above in _upwards(f"{folder}/"):
            self._start_folder(above)

    # Items

    def _sweep_soon(self, folder: str) -> None:
        if folder not in self._sweeping:
            self._sweeping.add(folder)
            self._background.start(f"removals in {folder}", partial(self._sweep, folder))

    async def _sweep(self, folder: str) -> None:
        """Remove all that is to go from a folder, what comes meanwhile as well."""
        try:
            await self._gather()
            with working_at(Priority.BACKGROUND):
                while group := self._take(folder):
                    await self._until_online()
                    for some in _pieces(await self._by_path(folder, group), _AT_ONCE):
                        await self._by_id(some)
        finally:
            self._sweeping.discard(folder)

    async def _gather(self) -> None:
        """Wait for a pause of those who remove, or for somebody who waits."""
        with trio.move_on_after(_GATHER_MAX_S):
            while (quiet_at_s := self._asked_at_s + _QUIET_S) > trio.current_time():
                with trio.move_on_at(quiet_at_s):
                    await self._wake.wait()
                    break

    def _take(self, folder: str) -> list[Pending]:
        group = [each for each in self._in_folder.get(folder, {}).values() if not each.is_taken]
        for each in group:
            each.is_taken = True
        return group

    async def _until_online(self) -> None:
        if self._remote.health is Health.OFFLINE:
            await self._remote.wait_until_back()

    async def _by_path(self, folder: str, group: Sequence[Pending]) -> list[Pending]:
        """Remove in few calls what can go so; the others."""
        have_paths = all(each.removal.key.kind is not Kind.SHARD for each in group)
        if len(group) < _BY_PATH_MIN or self._is_moving(folder) or not have_paths:
            return list(group)
        try:
            with self._calling(folder):
                for some in _pieces(await self._alone(folder, group), _PATHS_A_CALL):
                    await self._remote.remove_items({each.removal.path: each.removal.key for each in some})
                    for each in some:
                        await self._end(each, None)
        except OrionFsError as error:
            log.debug("%s: items one by one: %s", folder, error)
        return [each for each in group if self._items.get(each.removal.key) is each]

    @contextmanager
    def _calling(self, folder: str) -> Iterator[None]:
        """While something goes by its path, what is renamed above it waits."""
        ended = trio.Event()
        self._calls[ended] = folder
        try:
            yield
        finally:
            del self._calls[ended]
            ended.set()

    async def _alone(self, folder: str, group: Sequence[Pending]) -> list[Pending]:
        """Those whose names a listing shows once, and with their ids; none where a listing costs more."""
        rows = await self._remote.count(folder)
        if 1 + -(-rows // ASKED_PAGE_ROWS) + -(-len(group) // _PATHS_A_CALL) >= len(group):
            return []
        recent, asked_at_s = self._remote.recent, trio.current_time()
        answer = await self._remote.list_folder(folder, with_details=False)
        if not answer.is_complete:
            return []
        may_lack = recent.is_unheard_of(recent.began_at_s, asked_at_s)  # what an earlier daemon put there
        there = recent.corrected(folder, answer.items, asked_at_s)
        counts = Counter(item.name for item in there)
        keys = {item.name: item.key for item in there if counts[item.name] == 1}
        return [
            each
            for each in group
            if each.place[0] == folder
            and keys.get(each.place[1]) == each.removal.key
            and not (each.is_of_before and may_lack)
        ]

    async def _by_id(self, some: Sequence[Pending]) -> None:
        """One attempt at each; what can be tried again goes on by itself, and delays nobody."""
        async with trio.open_nursery() as nursery:
            for each in some:
                nursery.start_soon(self._attempt, each)

    async def _attempt(self, pending: Pending) -> None:
        try:
            await self._remote.delete(pending.removal.key)
        except OrionFsError as error:
            if error.is_retryable:
                self._start(pending)
            else:
                await self._end(pending, error)
        else:
            await self._end(pending, None)

    def _start(self, pending: Pending) -> None:
        self._background.start(
            f"removal of {pending.removal.path}", partial(self._remove_in_the_end, pending)
        )

    async def _remove_in_the_end(self, pending: Pending) -> None:
        try:
            await self._behind.until_done(partial(self._remote.delete, pending.removal.key))
        except OrionFsError as error:
            await self._end(pending, error)
        else:
            await self._end(pending, None)

    async def _end(self, pending: Pending, refused: OrionFsError | None) -> None:
        """A removal is over: done, or never to be."""
        removal = pending.removal
        is_gone = refused is None
        if refused is not None:
            self._note_refused(removal.path, refused)
            self._reports.note(removal.key, "removal", refused)
            self._unseen.discard(removal.key)
        if is_gone:
            self._on_gone(removal.key)
        await self._drop(lambda journal: journal.drop_removal(removal.key, is_gone=is_gone))
        self._leave(pending)
        del self._items[removal.key]
        await self._told(pending.removal.path, pending.on_ends, refused)

    # Folders

    def _start_folder(self, path: str) -> None:
        """Begin with a folder if nothing in it or below is pending any more."""
        folder = self._folders.get(path)
        if folder is None or folder.is_taken or self.has_below(path):
            return
        if self._is_moving(path) or self._has_uploads(path):
            return
        folder.is_taken = True
        self._background.start(f"removal of {path}", partial(self._remove_folder, folder))

    async def _remove_folder(self, folder: PendingFolder) -> None:
        refused: OrionFsError | None = None
        try:
            with working_at(Priority.BACKGROUND):
                await self._behind.until_done(partial(self._remove_empty, folder))
        except OrionFsError as error:
            refused = error
            self._note_refused(folder.path, error)
        path = folder.path
        await self._drop(lambda journal: journal.drop_folder_removal(path))
        self._folders.pop(folder.path, None)
        self._count(folder.path, -1)
        await self._told(folder.path, [folder.on_end], refused)

    async def _remove_empty(self, folder: PendingFolder) -> None:
        with self._calling(folder.path):
            await remove_empty(self._remote, folder.path)

    # Both

    async def _told(self, path: str, on_ends: Iterable[OnEnd], refused: OrionFsError | None) -> None:
        for on_end in on_ends:
            on_end(refused)
        for above in _upwards(path):
            self._start_folder(above)
        self._news.set()
        self._news = trio.Event()
        await self._on_progress()

    async def _drop(self, drop: Callable[[Journal], None]) -> None:
        try:
            await self._journal.run(drop)
        except OrionFsError as error:
            log.warning("the next mount makes sure again of a removal: %s", error)

    def _note_refused(self, path: str, error: OrionFsError) -> None:
        log.warning("%s stays on Orion, and is seen again: it can't be removed: %s", path, error)
        self.refused.append(path)
        self._reports.note_refusal(path, error)

    def _enter(self, pending: Pending) -> None:
        self._in_folder.setdefault(pending.place[0], {})[pending.removal.key] = pending
        self._count(pending.removal.path, 1)

    def _leave(self, pending: Pending) -> None:
        there = self._in_folder.get(pending.place[0], {})
        if there.get(pending.removal.key) is pending:
            del there[pending.removal.key]
            if not there:
                del self._in_folder[pending.place[0]]
        self._count(pending.removal.path, -1)

    def _count(self, path: str, by: int) -> None:
        for above in _upwards(path):
            self._below[above] += by
            if not self._below[above]:
                del self._below[above]


def _pieces(group: Sequence[Pending], size: int) -> Iterator[Sequence[Pending]]:
    return (group[at : at + size] for at in range(0, len(group), size))


def _upwards(path: str) -> Iterator[str]:
    """The folders that a path lies in, the nearest first."""
    while (at := path.rfind("/")) > 0:
        path = path[:at]
        yield path
