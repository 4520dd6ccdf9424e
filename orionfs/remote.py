"""The session as async verbs: limiters, deadlines, retries, the offline state.

One attempt runs in a worker thread; waiting and retrying happen here, in trio. Every failure of a
session becomes one of our errors (`failures`). All changes but an upload are repeated after
an unclear answer, since repeating them leaves the same result; what is unclear even then is `unclear`'s,
and an upload is looked for by its mark first, which is `sync`'s work. Knows paths, items and keys; must
not know inodes or names shown to users.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from math import inf
from pathlib import Path
from typing import Any, cast

import trio

from orionfs.bridge import CallFailed, CallHandle, SessionCalls
from orionfs.descriptors import Borrowed, OwnDescriptor, invoke
from orionfs.details import Details
from orionfs.errors import (
    Conflict,
    InvalidCall,
    NoSuchName,
    OrionFsError,
    ReadOnly,
    RemoteFailure,
    Throttled,
    TimedOut,
    Unreachable,
)
from orionfs.facts import StackFacts
from orionfs.failures import busy, empty_refused, failure_of, pause_before_retry_s, subject_of
from orionfs.knowledge import Knowledge
from orionfs.limiter import AdaptiveLimiter, Priority, current_urgency
from orionfs.listings import ASKED_PAGE_ROWS, PAGES, FolderAnswer, as_page, list_all, whole
from orionfs.models import Account, Item, Key, Kind
from orionfs.recent import RecentChanges
from orionfs.shapes import Found, Page, read_account, read_item, read_shard, read_tags
from orionfs.shard_calls import Session, ShardCalls
from orionfs.unclear import UnclearChanges

log = logging.getLogger(__name__)

_SLOWEST_UPLOAD_BYTES_PER_S = 64 * 1024  # a guess: slower lines than this can't be told from a hang
_SILENT_CALLS_MAX = 2
_CHECK_EVERY_S = 2.0
_IN_FLIGHT_AT_FIRST = 8
_THROTTLING = frozenset({429, 503})
SMALL_BYTES = 2**20
"""Contents up to this size have places of their own: they take round trips, larger ones take the line."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Deadlines in seconds, and how many calls are in flight at most."""

    read_deadline_s: float = 30.0
    change_deadline_s: float = 75.0
    inactivity_s: float = 60.0
    metadata_in_flight: int = 16
    contents_in_flight: int = 8
    small_contents_in_flight: int = 26  # two of them are for the foreground alone
    uploads_in_flight: int = 16


@dataclass(frozen=True, slots=True)
class Assignment:
    """`item` goes to the folder `folder` (absolute Orion path) under the true name `name`."""

    item: Item
    folder: str
    name: str

    @property
    def path(self) -> str:
        return f"{self.folder.rstrip('/')}/{self.name}"


class Health(Enum):
    ONLINE = "online"
    OFFLINE = "offline"


class Remote:
    """One account on one stack, through one session."""

    def __init__(self, calls: SessionCalls, limits: Limits | None = None) -> None:
        self._calls = calls
        self._limits = limits or Limits()
        at_once = min(self._limits.metadata_in_flight, calls.metadata_at_once or inf)
        self._metadata = AdaptiveLimiter(int(at_once), _IN_FLIGHT_AT_FIRST)
        contents_at_once = calls.contents_at_once or self._limits.contents_in_flight
        self._contents = AdaptiveLimiter(min(self._limits.contents_in_flight, contents_at_once))
        self._small_contents = AdaptiveLimiter(self._limits.small_contents_in_flight)
        # Uploads that nobody waits for never take the last two places.
        self._uploads = AdaptiveLimiter(self._limits.uploads_in_flight + 2)
        if calls.contents_at_once is not None:
            self._small_contents = self._uploads = self._contents
        self.details = Details(self.get)
        self._silent_calls = 0
        self._unclear = UnclearChanges(self._read)
        self.health = Health.ONLINE
        self._went_offline = trio.Event()
        self._came_back = trio.Event()
        self.knowledge = Knowledge()
        self.recent = RecentChanges(trio.current_time)
        limited = (partial(self._retrying, self._metadata), partial(self._retrying, self._contents))
        once = (partial(self._attempt, self._metadata), partial(self._attempt, self._contents))
        self.session = Session(lambda: self.facts, *limited, *once, self._limits)
        self.shards = ShardCalls(self.session, is_paged=calls.paged_shards)

    @property
    def facts(self) -> StackFacts:
        """What is known of this stack now."""
        return self.knowledge.facts

    @property
    def client_version(self) -> str | None:
        """The version of the session's client, where it is known."""
        return self._calls.client_version

    def can_read_ranges(self, key: Key) -> bool:
        """True if this session can read a part of such an item: Files and shards, with our extension."""
        has_ranges = key.kind in (Kind.FILE, Kind.SHARD)
        return self._calls.ranged and has_ranges and self.facts.ranged_reads is not False

    @property
    def small_at_once(self) -> int:
        """How many small contents may be on their way for nobody who waits."""
        return self._small_contents.places - self._small_contents.reserved

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

    async def list_folder(self, path: str, *, with_details: bool = True) -> FolderAnswer:
        """All of a folder, and what rows do not tell of Files. Raises NoSuchName."""
        ask = partial(self._read_page, path)
        answer = await list_all(ask, self.facts)
        if not answer.is_complete:
            answer = await list_all(ask, self.facts)
        self.knowledge.see(answer.items)
        if not with_details:
            return answer
        return replace(answer, items=await self.details.complete(answer.items))

    async def list_shards(self, collection: int) -> FolderAnswer:
        """All shards of a collection. Raises NoSuchName."""
        answer = await self.shards.list(collection)
        return replace(answer, items=await self.details.known(answer.items))

    async def list_named(self, path: str, name: str) -> tuple[Item, ...]:
        """All in a folder that have this name, which something there is known to have."""
        page = await self._read_page(path, {"name": name, "limit": ASKED_PAGE_ROWS})
        is_filtered = bool(page.rows) and not page.unread and all(row.name == name for row in page.rows)
        if is_filtered and page.total in (None, len(page.rows)) and not page.has_more:
            return page.rows
        return tuple(item for item in (await self.list_folder(path)).items if item.name == name)

    async def count(self, path: str) -> int:
        """How many items a folder holds at least; one row is asked for. Raises NoSuchName, AccessDenied."""
        page = await self._read_page(path, {"limit": 1})
        return page.row_count if page.total is None else page.total

    async def stat(self, path: str) -> Item | None:
        """What is at a path, or None."""
        try:
            item = read_item(await self._read("stat_path", path))
        except NoSuchName:
            return None
        self.knowledge.see((item,))
        if item.kind is Kind.FOLDER and item.id is None:
            self.knowledge.learn(folder_ids="no")
        return (await self.details.complete((item,)))[0]

    async def create_folder(self, path: str) -> None:
        """Make one folder. Raises Conflict, NoSuchName."""
        await self._change("create_paths", [path])
        self.recent.made(path)

    async def remove_folder(self, path: str) -> None:
        """Remove one folder that was seen empty. A folder that is gone already is no error."""
        try:
            await self._change("remove_paths", [path])
        except NoSuchName:
            log.debug("%s was gone already", path)
        self.recent.removed(path)

    async def remove_items(self, items: Mapping[str, Key]) -> None:
        """Remove items by path, each of which was just seen to be the only one there; one attempt.

        What fails is to be removed by id: by path it might take what has come there meanwhile.
        """
        paths = list(items)
        async with self._unclear.watched("remove_paths", (paths,)):
            await self._attempt(self._metadata, self._limits.change_deadline_s, "remove_paths", paths)
        for key in items.values():
            self.recent.deleted(key)

    async def assign(self, *assignments: Assignment, form: str | None = None) -> None:
        """Give items their folders and names, all or none. Raises Conflict where a name is taken.

        `form` says what `path` is where that is not known yet: "folder", or "full" with the name in it.
        """
        is_full = (form or self.facts.assign_path) == "full"
        await self._change("assign_paths", [self._assignment(each, is_full) for each in assignments])
        for each in assignments:
            self.recent.placed(each.folder, each.item.renamed(each.name))

    def _assignment(self, given: Assignment, is_full: bool) -> dict[str, Any]:
        item = given.item
        # The name that stands beside it counts, so one with a / needs none in the path.
        path = f"{given.folder.rstrip('/')}/{given.name.replace('/', '_')}" if is_full else given.folder
        literal = item.literal or self.knowledge.literal_of(item.kind) or item.kind.value
        return {"resource_type": literal, "id": item.id, "path": path, "name": given.name}

    async def delete(self, key: Key) -> bool:
        """Remove one item by id, softly. One that is gone already is no error; False if it surely was."""
        was_there, is_shard = True, key.kind is Kind.SHARD
        try:
            await self._change("delete", key.kind.value, key.reference, is_conflict_busy=not is_shard)
        except NoSuchName as missing:
            was_there = missing.is_repeated
            log.debug("%s %s was gone already", key.kind.value, key.id)
        except Conflict as closed:
            raise ReadOnly(f"the collection of shard {key.id} is closed: {closed}") from closed
        self.recent.deleted(key)
        return was_there

    async def get(self, key: Key) -> Item:
        """All that Orion tells of one item. Raises NoSuchName."""
        told = await self.attributes(key)
        is_shard = key.kind is Kind.SHARD and key.part is not None
        return read_shard(told, key.part or 0) if is_shard else self.knowledge.resource(told, key.kind)

    async def attributes(self, key: Key) -> Any:
        """The same as it is told. Raises NoSuchName."""
        return await self._read("get", key.kind.value, key.reference)

    async def look_up(self, key: Key) -> Found:
        """The same, with what tells whether it is deleted. Raises NoSuchName."""
        return self.knowledge.found(await self._read("get", key.kind.value, key.id), key.kind)

    async def find(self, kind: Kind, filters: Mapping[str, Any], count_max: int) -> list[Found]:
        """What a listing of all resources of a kind gives with these filters, `count_max` at most."""
        rows = await self._read("find", kind.value, dict(filters), count_max)

        def read() -> list[Found]:
            return [self.knowledge.found(row, kind) for row in rows]

        return read() if len(rows) <= ASKED_PAGE_ROWS else await trio.to_thread.run_sync(read)

    async def is_gone(self, key: Key) -> bool:
        """True if Orion holds the item no more, or only among what was deleted."""
        return await self._unclear.has_happened("delete", (key.kind.value, key.reference))

    async def find_upload(self, home: str, mark: str) -> Item | None:
        """The item that an interrupted upload left under its mark, if it did.

        By path first: a stack that does not heed filters may have more Files than a session looks through.
        """
        item = await self.stat(f"{home}/{mark}")
        if item is not None:
            return item
        rows = await self._read("find", Kind.FILE.value, {"name": mark})
        found = (self.knowledge.resource(row, Kind.FILE) for row in rows)
        return next((item for item in found if item.name == mark), None)

    # Tags and shares

    async def tags(self, key: Key) -> tuple[str, ...]:
        return read_tags(await self._read("list_tags", key.kind.value, key.id))

    async def tag(self, key: Key, tags: Sequence[str]) -> None:
        await self._change("tag", key.kind.value, key.id, list(tags), is_conflict_busy=True)

    async def untag(self, key: Key, tags: Sequence[str]) -> None:
        await self._change("untag", key.kind.value, key.id, list(tags), is_conflict_busy=True)

    async def share(self, key: Key, partner: str, id: int, permissions: Sequence[str]) -> None:
        """Share an item with a "user" or "project"; what it was allowed before is replaced."""
        pairs = ((key.kind.value, key.id), (partner, id))
        resources = [{"resource": {"kind": kind, "id": each}} for kind, each in pairs]
        call = ("documented", "share_resource", resources, {"permissions": list(permissions)})
        await self._retrying(self._metadata, self._limits.change_deadline_s, *call, is_conflict_busy=True)

    # Contents

    async def upload(self, mark: str, path: Path, size: int) -> Item:
        """Upload a file's bytes as a new item named `mark`; one attempt, whose outcome may be unclear.

        The thread is waited for, since an upload that goes on unseen would leave an item behind; our own
        session bounds it by its time-outs, and a worker of any other one is ended.
        """
        if size == 0 and self.facts.empty_files == "refused":
            raise empty_refused(mark)
        limit_s = self._limits.inactivity_s + size / _SLOWEST_UPLOAD_BYTES_PER_S
        try:
            answer = await self._attempt(self._uploads, inf, "upload", mark, str(path), limit_s)
        except InvalidCall as refused:
            if size:
                raise
            self.knowledge.learn(empty_files="refused")
            raise empty_refused(mark) from refused
        item = self.knowledge.resource(answer, Kind.FILE)
        if item.id is None:
            raise RemoteFailure(f"upload of {mark}: the answer tells no id")
        return replace(item, size=size)

    async def read_into(self, key: Key, offset: int, length: int, fd: int) -> None:
        """Fetch `[offset, offset + length)` to the same place of a file. Raises NoSuchName."""
        args = (key.kind.value, key.reference, offset, length, Borrowed(fd), offset)
        deadline_s = self._limits.inactivity_s
        # A 409 is a version that is not ready to be read yet.
        limiter = self._limiter_for(length)
        await self._retrying(limiter, deadline_s, "read_into", *args, is_conflict_busy=True)

    async def download(self, key: Key, path: Path, size: int) -> None:
        """Fetch a whole item to a local file that does not exist yet."""
        deadline_s = self._limits.inactivity_s + size / _SLOWEST_UPLOAD_BYTES_PER_S
        args = (key.kind.value, key.reference, str(path), deadline_s)
        limiter = self._limiter_for(size)
        await self._retrying(limiter, deadline_s, "download", *args, is_conflict_busy=True)

    def _limiter_for(self, size: int) -> AdaptiveLimiter:
        return self._small_contents if 0 < size <= SMALL_BYTES else self._contents

    # Attempts and retries

    async def _read_page(self, path: str, query: dict[str, Any]) -> Page:
        return whole(await self._read("ls_path", path, query))

    async def _read(self, verb: str, *args: Any) -> Any:
        return await self._retrying(self._metadata, self._limits.read_deadline_s, verb, *args)

    async def _change(self, verb: str, *args: Any, is_conflict_busy: bool = False) -> Any:
        deadline_s = self._limits.change_deadline_s
        async with self._unclear.watched(verb, args):
            return await self._retrying(
                self._metadata, deadline_s, verb, *args, is_conflict_busy=is_conflict_busy
            )

    async def _retrying(
        self,
        limiter: AdaptiveLimiter,
        deadline_s: float,
        verb: str,
        *args: Any,
        is_conflict_busy: bool = False,
    ) -> Any:
        """Attempts until one succeeds. `is_conflict_busy`: no name can be taken here, so a 409 is "busy".

        What is fetched ahead is tried once: who needs it asks again.
        """
        ends_at = trio.current_time() + deadline_s
        attempt, is_unclear = 0, False
        while True:
            try:
                return await self._attempt(limiter, ends_at - trio.current_time(), verb, *args)
            except OrionFsError as failed:
                error = busy(failed) if is_conflict_busy and isinstance(failed, Conflict) else failed
                attempt += 1
                is_unclear = error.is_unclear = is_unclear or error.is_unclear
                error.is_repeated = attempt > 1
                pause_s = pause_before_retry_s(error, attempt)
                if (
                    pause_s is None
                    or trio.current_time() + pause_s >= ends_at
                    or self.health is Health.OFFLINE
                    or current_urgency().priority is Priority.PREFETCH
                ):
                    raise error from failed.__cause__
                log.debug("%s: %s; attempt %d follows in %.1f s", verb, error, attempt + 1, pause_s)
            await trio.sleep(pause_s)
            if verb == "remove_paths" and is_unclear and await self._unclear.means_item(args[0]):
                return None

    async def _attempt(self, limiter: AdaptiveLimiter, deadline_s: float, verb: str, *args: Any) -> Any:
        if self.health is Health.OFFLINE:
            raise Unreachable(
                f"{verb}: Orion is not reachable; it is asked again every {_CHECK_EVERY_S:.0f} s"
            )
        return await self._call(limiter, deadline_s, verb, *args)

    async def _call(self, limiter: AdaptiveLimiter, deadline_s: float, verb: str, *args: Any) -> Any:
        sent = [OwnDescriptor(arg.fd) if isinstance(arg, Borrowed) else arg for arg in args]
        handle = CallHandle()
        call = partial(handle.carry, partial(invoke, getattr(self._calls, verb), sent))
        if verb in PAGES:  # in the thread, or many pages' rows would lie about at once
            call = partial(as_page, call, PAGES[verb], args)
        slot = limiter.slot()
        with trio.move_on_after(deadline_s):
            try:
                answer = await trio.to_thread.run_sync(
                    call,
                    limiter=cast("trio.CapacityLimiter", slot),
                    abandon_on_cancel=deadline_s != inf,
                )
            except CallFailed as failed:
                error = failure_of(verb, args, failed.info)
                if isinstance(error, Throttled) or error.status in _THROTTLING:
                    slot.note_throttled()
                self._note(error, is_refused=bool(failed.info.get("refused")))
                raise error from failed
            finally:
                handle.give_up()  # one that nobody waits for ends with its worker
                for arg in sent:
                    if isinstance(arg, OwnDescriptor):
                        arg.give_up()
            self._silent_calls = 0
            slot.note_success()
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
