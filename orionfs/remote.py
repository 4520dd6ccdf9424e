"""The session as async verbs: limiters, deadlines, retries, paging and the offline state.

One attempt runs in a worker thread; waiting and retrying happen here, in trio. Every failure of a
session becomes one of our errors (`failures`). All changes but an upload are repeated after
an unclear answer, since repeating them leaves the same result; what is unclear even then is `unclear`'s,
and an upload is looked for by its mark first, which is `sync`'s work. Knows paths, items and keys; must
not know inodes or names shown to users.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from math import inf
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import trio

from orionfs.bridge import CallFailed, CallHandle, SessionCalls
from orionfs.errors import NoSuchName, OrionFsError, RemoteFailure, Throttled, TimedOut, Unreachable
from orionfs.failures import failure_of, pause_before_retry_s, subject_of
from orionfs.models import Account, Item, Key, Kind
from orionfs.shapes import Page, read_account, read_item, read_page, read_tags
from orionfs.unclear import UnclearChanges

log = logging.getLogger(__name__)

_T = TypeVar("_T")
_ASKED_PAGE_ROWS = 1000
_SLOWEST_UPLOAD_BYTES_PER_S = 64 * 1024  # a guess: slower lines than this can't be told from a hang
_SILENT_CALLS_MAX = 2
_CHECK_EVERY_S = 2.0
_SIZES_MAX = 200_000


@dataclass(frozen=True, slots=True)
class Limits:
    """Deadlines in seconds, and how many calls are in flight at most."""

    read_deadline_s: float = 30.0
    change_deadline_s: float = 75.0
    inactivity_s: float = 60.0
    metadata_in_flight: int = 16
    contents_in_flight: int = 8


@dataclass(frozen=True, slots=True)
class FolderAnswer:
    """What a folder holds; `is_complete` False where Orion may have told less than there is."""

    items: tuple[Item, ...]
    is_complete: bool
    pages: int


@dataclass(frozen=True, slots=True)
class Assignment:
    """`item` goes to the folder `folder` (absolute Orion path) under the true name `name`."""

    item: Item
    folder: str
    name: str


class Health(Enum):
    ONLINE = "online"
    OFFLINE = "offline"


class Remote:
    """One account on one stack, through one session."""

    def __init__(self, calls: SessionCalls, limits: Limits | None = None) -> None:
        self._calls = calls
        self._limits = limits or Limits()
        self._metadata = trio.CapacityLimiter(self._limits.metadata_in_flight)
        self._contents = trio.CapacityLimiter(self._limits.contents_in_flight)
        self._sizes: dict[Key, int] = {}  # version -> bytes: never changes, so asked for once
        self._silent_calls = 0
        self._unclear = UnclearChanges(self._read)
        self.health = Health.ONLINE
        self._went_offline = trio.Event()
        self._came_back = trio.Event()

    def can_read_ranges(self, key: Key) -> bool:
        """True if this session can read a part of such an item: Files, with our extension."""
        return self._calls.ranged and key.kind is Kind.FILE

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """While offline, ask every 2 s whether Orion answers again. Ends when cancelled."""
        task_status.started()
        while True:
            await self._went_offline.wait()
            while self.health is Health.OFFLINE:
                await trio.sleep(_CHECK_EVERY_S)
                await self._check()
            self._went_offline = trio.Event()
        self._came_back = trio.Event()

    async def wait_until_back(self) -> None:
        """Wait for the end of the next time offline."""
        await self._came_back.wait()

    async def close(self) -> None:
        """End the session; a worker that hangs in a call is ended with it."""
        await trio.to_thread.run_sync(self._calls.close)

    # Who and where

    async def whoami(self, stack: str) -> Account:
        """The account of the session; `stack` names the stack where the session can't."""
        return read_account(await self._read("whoami"), stack)

    # Folders and names

    async def list_folder(self, path: str) -> FolderAnswer:
        """All of a folder: the first page, then the others at once. Raises NoSuchName."""
        answer = await self._list_once(path)
        if not answer.is_complete:
            answer = await self._list_once(path)
        return replace(answer, items=await self._with_sizes(answer.items))

    async def count(self, path: str) -> int:
        """How many items a folder holds at least; one row is asked for. Raises NoSuchName, AccessDenied."""
        page = read_page(await self._read("ls_path", path, {"limit": 1}))
        return len(page.rows) if page.total is None else page.total

    async def stat(self, path: str) -> Item | None:
        """What is at a path, or None."""
        try:
            item = read_item(await self._read("stat_path", path))
        except NoSuchName:
            return None
        return (await self._with_sizes((item,)))[0]

    async def create_folder(self, path: str) -> Item | None:
        """Make one folder; None where the stack gives folders no id. Raises Conflict, NoSuchName."""
        await self._change("create_paths", [path])
        return None

    async def remove_folder(self, path: str) -> None:
        """Remove one folder that was seen empty. A folder that is gone already is no error."""
        try:
            await self._change("remove_paths", [path])
        except NoSuchName:
            log.debug("%s was gone already", path)

    async def assign(self, *assignments: Assignment) -> None:
        """Give items their folders and names, all or none. Raises Conflict where a name is taken."""
        rows = [
            {
                "resource_type": a.item.literal or a.item.kind.value,
                "id": a.item.id,
                "path": a.folder,
                "name": a.name,
            }
            for a in assignments
        ]
        await self._change("assign_paths", rows)

    async def delete(self, key: Key) -> None:
        """Remove one item by id, softly. One that is gone already is no error."""
        try:
            await self._change("delete", key.kind.value, key.id)
        except NoSuchName:
            log.debug("%s %s was gone already", key.kind.value, key.id)

    async def get(self, key: Key) -> Item:
        """All that Orion tells of one item. Raises NoSuchName."""
        answer = await self._read("get", key.kind.value, key.id)
        return replace(read_item(answer), kind=key.kind, literal=key.kind.value)

    async def find_upload(self, home: str, mark: str) -> Item | None:
        """The item that an interrupted upload left under its mark, if it did."""
        item = await self.stat(f"{home}/{mark}")
        if item is not None:
            return item
        rows = await self._read("find", Kind.FILE.value, {"name": mark})
        found = (replace(read_item(row), kind=Kind.FILE, literal=Kind.FILE.value) for row in rows)
        return next((item for item in found if item.name == mark), None)

    # Tags

    async def tags(self, key: Key) -> tuple[str, ...]:
        return read_tags(await self._read("list_tags", key.kind.value, key.id))

    async def tag(self, key: Key, tags: Sequence[str]) -> None:
        await self._change("tag", key.kind.value, key.id, list(tags))

    async def untag(self, key: Key, tags: Sequence[str]) -> None:
        await self._change("untag", key.kind.value, key.id, list(tags))

    # Contents

    async def upload(self, mark: str, path: Path, size: int) -> Item:
        """Upload a file's bytes as a new item named `mark`; one attempt, whose outcome may be unclear.

        The thread is waited for, since an upload that goes on unseen would leave an item behind; our own
        session bounds it by its time-outs, and a worker of any other one is ended.
        """
        limit_s = self._limits.inactivity_s + size / _SLOWEST_UPLOAD_BYTES_PER_S
        answer = await self._attempt(self._contents, inf, "upload", mark, str(path), limit_s)
        item = replace(read_item(answer), kind=Kind.FILE, literal=Kind.FILE.value)
        if item.id is None:
            raise RemoteFailure(f"upload of {mark}: the answer tells no id")
        return replace(item, size=size)

    async def read_into(self, key: Key, offset: int, length: int, fd: int) -> None:
        """Fetch `[offset, offset + length)` to the same place of a file. Raises NoSuchName."""
        args = (key.kind.value, key.id, offset, length, _Borrowed(fd), offset)
        await self._retrying(self._contents, self._limits.inactivity_s, "read_into", *args)

    async def download(self, key: Key, path: Path, size: int) -> None:
        """Fetch a whole item to a local file that does not exist yet."""
        deadline_s = self._limits.inactivity_s + size / _SLOWEST_UPLOAD_BYTES_PER_S
        args = (key.kind.value, key.id, str(path), deadline_s)
        await self._retrying(self._contents, deadline_s, "download", *args)

    # Attempts and retries

    async def _read(self, verb: str, *args: Any) -> Any:
        return await self._retrying(self._metadata, self._limits.read_deadline_s, verb, *args)

    async def _change(self, verb: str, *args: Any) -> Any:
        async with self._unclear.watched(verb, args):
            return await self._retrying(self._metadata, self._limits.change_deadline_s, verb, *args)

    async def _retrying(self, limiter: trio.CapacityLimiter, deadline_s: float, verb: str, *args: Any) -> Any:
        ends_at = trio.current_time() + deadline_s
        attempt, is_unclear = 0, False
        while True:
            try:
                return await self._attempt(limiter, ends_at - trio.current_time(), verb, *args)
            except OrionFsError as error:
                attempt += 1
                is_unclear = error.is_unclear = is_unclear or error.is_unclear
                error.is_repeated = attempt > 1
                pause_s = pause_before_retry_s(error, attempt)
                if (
                    pause_s is None
                    or trio.current_time() + pause_s >= ends_at
                    or self.health is Health.OFFLINE
                ):
                    raise
                log.debug("%s: %s; attempt %d follows in %.1f s", verb, error, attempt + 1, pause_s)
            await trio.sleep(pause_s)
            # Its path may mean another item by now.
            if verb == "remove_paths" and is_unclear and await self._unclear.has_happened(verb, args):
                return None

    async def _attempt(self, limiter: trio.CapacityLimiter, deadline_s: float, verb: str, *args: Any) -> Any:
        if self.health is Health.OFFLINE:
            raise Unreachable(
                f"{verb}: Orion is not reachable; it is asked again every {_CHECK_EVERY_S:.0f} s"
            )
        return await self._call(limiter, deadline_s, verb, *args)

    async def _call(self, limiter: trio.CapacityLimiter, deadline_s: float, verb: str, *args: Any) -> Any:
        sent = [_OwnDescriptor(arg.fd) if isinstance(arg, _Borrowed) else arg for arg in args]
        handle = CallHandle()
        call = partial(handle.carry, partial(_invoke, getattr(self._calls, verb), sent))
        with trio.move_on_after(deadline_s):
            try:
                answer = await trio.to_thread.run_sync(
                    call, limiter=limiter, abandon_on_cancel=deadline_s != inf
                )
            except CallFailed as failed:
                error = failure_of(verb, args, failed.info)
                self._note(error, is_refused=bool(failed.info.get("refused")))
                raise error from failed
            finally:
                handle.give_up()  # one that nobody waits for ends with its worker
                for arg in sent:
                    if isinstance(arg, _OwnDescriptor):
                        arg.give_up()
            self._silent_calls = 0
            return answer
        timed_out = TimedOut(f"{verb} {subject_of(args)}: no answer within {deadline_s:.0f} s")
        timed_out.is_unclear = True
        self._note(timed_out, is_refused=False)
        raise timed_out

    def _note(self, error: OrionFsError, *, is_refused: bool) -> None:
        """Offline begins with a refused connection, or with two calls without an answer."""
        if not isinstance(error, TimedOut) or isinstance(error, Throttled):
            self._silent_calls = 0
            return
        self._silent_calls += 1
        if self.health is Health.ONLINE and (is_refused or self._silent_calls >= _SILENT_CALLS_MAX):
            self.health = Health.OFFLINE
            self._went_offline.set()
            log.warning("offline: %s; what is cached goes on being served", error)

    async def _check(self) -> None:
        try:
            await self._call(self._metadata, self._limits.read_deadline_s, "whoami")
        except Throttled as error:
            log.debug("answers again: %s", error)
        except TimedOut as error:
            log.debug("still offline: %s", error)
            return
        except OrionFsError as error:
            log.debug("answers again, with an error: %s", error)
        self.health = Health.ONLINE
        self._silent_calls = 0
        self._came_back.set()
        self._came_back = trio.Event()
        log.info("online again")

    # Listings

    async def _list_once(self, path: str) -> FolderAnswer:
        first = await self._page(path, 0)
        if first.total is None:
            return await self._list_serially(path, first)
        step = len(first.rows)
        offsets = list(range(step, first.total, step)) if step else []
        pages = [first, *await together([partial(self._page, path, offset) for offset in offsets])]
        rows = {(row.kind, row.id, row.name): row for page in pages for row in page.rows}
        is_complete = len(rows) == first.total and all(page.total == first.total for page in pages)
        return FolderAnswer(tuple(rows.values()), is_complete, len(pages))

    async def _list_serially(self, path: str, page: Page) -> FolderAnswer:
        """For envelopes without a total: page after page until one brings nothing new."""
        rows: dict[tuple[Kind, int | None, str], Item] = {}
        pages = 1
        while True:
            new = {(row.kind, row.id, row.name): row for row in page.rows}
            if new.keys() <= rows.keys():
                break
            rows.update(new)
            page = await self._page(path, len(rows))
            pages += 1
        is_complete = not new or await self._ignores_limits(path)
        return FolderAnswer(tuple(rows.values()), is_complete, pages)

    async def _ignores_limits(self, path: str) -> bool:
        """True for a stack that tells all at once, whatever was asked."""
        return len(read_page(await self._read("ls_path", path, {"limit": 1})).rows) > 1

    async def _page(self, path: str, offset: int) -> Page:
        query = {"limit": _ASKED_PAGE_ROWS, "offset": offset, "order_by": "id"}
        return read_page(await self._read("ls_path", path, query))

    async def _with_sizes(self, items: Sequence[Item]) -> tuple[Item, ...]:
        """Files whose rows tell no size are asked for one by one, several at a time, once in a life."""
        unknown = [i.key for i in items if i.kind is Kind.FILE and i.size is None and i.key is not None]
        asked = [key for key in unknown if key not in self._sizes]
        for answer in await together([partial(self._size_of, key) for key in asked]):
            if answer is not None and len(self._sizes) < _SIZES_MAX:
                self._sizes[answer[0]] = answer[1]
        if not unknown:
            return tuple(items)
        return tuple(
            replace(i, size=self._sizes.get(i.key)) if i.size is None and i.key is not None else i
            for i in items
        )

    async def _size_of(self, key: Key) -> tuple[Key, int] | None:
        try:
            size = (await self.get(key)).size
        except TimedOut:
            raise
        except OrionFsError as error:
            log.debug("size of %s %s stays unknown: %s", key.kind.value, key.id, error)
            return None
        return None if size is None else (key, size)


class _Borrowed(NamedTuple):
    """A descriptor among the arguments of a call; valid for as long as its caller waits."""

    fd: int


class _OwnDescriptor:
    """A duplicate for a thread that may outlive its caller: it never writes to a reused number.

    The thread that takes it closes it, at once when it is done; a call that never starts gives it up.
    """

    def __init__(self, fd: int) -> None:
        self._fd = os.dup(fd)
        self._lock = threading.Lock()
        self._is_taken = False

    def take(self) -> int:
        with self._lock:
            self._is_taken = True
            return self._fd

    def give_up(self) -> None:
        with self._lock:
            if not self._is_taken:
                self._is_taken = True
                os.close(self._fd)

    def close(self) -> None:
        os.close(self._fd)


def _invoke(verb: Callable[..., Any], args: Sequence[Any]) -> Any:
    owned = [arg for arg in args if isinstance(arg, _OwnDescriptor)]
    try:
        return verb(*(arg.take() if isinstance(arg, _OwnDescriptor) else arg for arg in args))
    finally:
        for own in owned:
            own.close()


async def together(calls: Sequence[Callable[[], Awaitable[_T]]]) -> list[_T]:
    """The answers of several calls made at the same time, in order; the first error ends the others."""
    answers: dict[int, _T] = {}
    errors: list[OrionFsError] = []

    async def one(at: int) -> None:
        try:
            answers[at] = await calls[at]()
        except OrionFsError as error:
            errors.append(error)
            nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for at in range(len(calls)):
            nursery.start_soon(one, at)
    if errors:
        raise errors[0]
    return [answers[at] for at in range(len(calls))]
