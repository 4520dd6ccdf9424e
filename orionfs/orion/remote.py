"""The session as async verbs, each carried out by `calling`.

All changes but an upload are repeated after an unclear answer, since repeating them leaves the same
result; what is unclear even then is `unclear`'s, and an upload is looked for by its mark first, which is
`sync`'s work. Knows paths, items and keys; must not know inodes or names shown to users.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import inf
from pathlib import Path
from typing import Any

import trio

from orionfs.bridge import SessionCalls
from orionfs.errors import Conflict, InvalidCall, NoSuchName, OrionFsError, ReadOnly, RemoteFailure
from orionfs.facts import StackFacts
from orionfs.models import Account, Assignment, Item, Key, Kind
from orionfs.orion.calling import SMALL_BYTES, Caller, Limits
from orionfs.orion.details import Details
from orionfs.orion.failures import empty_refused
from orionfs.orion.health import Health
from orionfs.orion.knowledge import Knowledge
from orionfs.orion.limiter import working_with
from orionfs.orion.listings import ASKED_PAGE_ROWS, FolderAnswer, list_all, whole
from orionfs.orion.parts import Growth, Part
from orionfs.orion.recent import RecentChanges
from orionfs.orion.shapes import Found, Page, read_account, read_item, read_paths, read_shard, read_tags
from orionfs.orion.shard_calls import Session, ShardCalls
from orionfs.orion.share_calls import ShareCalls
from orionfs.orion.sightings import Sightings
from orionfs.orion.unclear import UnclearChanges

__all__ = ["SMALL_BYTES", "Health", "Limits", "Remote"]

log = logging.getLogger(__name__)

_SLOWEST_UPLOAD_BYTES_PER_S = 64 * 1024  # a guess: slower lines than this can't be told from a hang
_SLOWEST_DOWNLOAD_BYTES_PER_S = _SLOWEST_UPLOAD_BYTES_PER_S
_UNKNOWN_DOWNLOAD_S = 3_600.0
_AFTER_S = 0.001


class Remote(Caller):
    """One account on one stack, through one session."""

    def __init__(self, calls: SessionCalls, limits: Limits | None = None) -> None:
        super().__init__(calls, limits or Limits())
        self.details = Details(self.get)
        self._unclear = UnclearChanges(self._read)
        self.knowledge = Knowledge()
        self.recent = RecentChanges(trio.current_time)
        self.sightings = Sightings()
        limited = (partial(self._retrying, self._metadata), partial(self._retrying, self._contents))
        once = (partial(self._attempt, self._metadata), partial(self._attempt, self._contents))
        self.session = Session(lambda: self.facts, *limited, *once, self._limits)
        self.shards = ShardCalls(self.session, is_paged=calls.paged_shards)
        self.sharing = ShareCalls(self.session, lists=calls.lists_shares)

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        log.debug("asking since %.0f", self.recent.began_at_s)
        await super().run(task_status)

    @property
    def facts(self) -> StackFacts:
        """What is known of this stack now."""
        return self.knowledge.facts

    @property
    def client_version(self) -> str | None:
        """The version of the session's client, where it is known."""
        return self._calls.client_version

    def worker_pids(self) -> list[int]:
        """Processes that make calls for us; none where they are made here."""
        pids: Callable[[], list[int]] | None = getattr(self._calls, "worker_pids", None)
        return [] if pids is None else pids()

    def can_read_ranges(self, key: Key) -> bool:
        """True if this session can read a part of such an item: Files and shards, with our extension."""
        has_ranges = key.kind in (Kind.FILE, Kind.SHARD)
        return self._calls.ranged and has_ranges and self.facts.ranged_reads is not False

    @property
    def small_at_once(self) -> int:
        """How many small contents may be on their way for nobody who waits."""
        return self._small_contents.places - self._small_contents.reserved

    async def close(self) -> None:
        """End the session; a worker that hangs in a call is ended with it."""
        self.let_go()
        await trio.to_thread.run_sync(self._calls.close)

    async def until_heard_of(self, done_at_s: float) -> None:
        """Wait until no replica lags behind what was done at a moment: a "no" may be believed then."""
        if self.recent.is_unheard_of(done_at_s, trio.current_time()):
            await trio.sleep_until(self.recent.heard_of_at_s(done_at_s) + _AFTER_S)

    # Who and where

    async def whoami(self, stack: str) -> Account:
        """The account of the session; `stack` names the stack where the session can't."""
        return read_account(await self._read("whoami"), stack)

    # Folders and names

    async def list_folder(self, path: str, *, with_details: bool = True) -> FolderAnswer:
        """All of a folder, and what rows do not tell of Files. Raises NoSuchName."""
        ask, asked_at_s = partial(self._read_page, path), trio.current_time()
        answer = await list_all(ask, self.facts)
        if not answer.is_complete:
            answer = await list_all(ask, self.facts)
        self.knowledge.see(answer.items)
        items = await self.details.complete(answer.items) if with_details else answer.items
        return replace(answer, items=tuple(self.recent.with_true_tags(items, asked_at_s)))

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
        asked_at_s = trio.current_time()
        try:
            item = read_item(await self._read("stat_path", path))
        except NoSuchName:
            return None
        self.knowledge.see((item,))
        if item.kind is Kind.FOLDER and item.id is None:
            self.knowledge.learn(folder_ids="no")
        completed = await self.details.complete((item,))
        return self.recent.with_true_tags(completed, asked_at_s)[0]

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
        try:
            await self._change("assign_paths", [self._assignment(each, is_full) for each in assignments])
        except OrionFsError as error:
            if error.is_unclear:
                self.recent.forget(each.item.key for each in assignments)
            raise
        for each in assignments:
            self.recent.placed(each.folder, each.item.renamed(each.name))
            self.sightings.note(each.item.key, each.path)

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
        return self.read_attributes(key, await self.attributes(key))

    def read_attributes(self, key: Key, told: Any) -> Item:
        """What `attributes` has told, as an item."""
        is_shard = key.kind is Kind.SHARD and key.part is not None
        return read_shard(told, key.part or 0) if is_shard else self.knowledge.resource(told, key.kind)

    async def attributes(self, key: Key) -> Any:
        """The same as it is told. Raises NoSuchName."""
        return await self._read("get", key.kind.value, key.reference)

    async def look_up(self, key: Key) -> Found:
        """The same, with what tells whether it is deleted. Raises NoSuchName."""
        asked_at_s = trio.current_time()
        found = self._found(await self._read("get", key.kind.value, key.id), key.kind, asked_at_s)
        self.sightings.note(key, found.path)
        return found

    async def find(self, kind: Kind, filters: Mapping[str, Any], count_max: int) -> list[Found]:
        """What a listing of all resources of a kind gives with these filters, `count_max` at most."""
        asked_at_s = trio.current_time()
        rows = await self._read("find", kind.value, dict(filters), count_max)

        def read() -> list[Found]:
            return [self._found(row, kind, asked_at_s) for row in rows]

        told = read() if len(rows) <= ASKED_PAGE_ROWS else await trio.to_thread.run_sync(read)
        for found in told:
            self.sightings.note(found.item.key, found.path)
        return told

    async def paths_of(self, keys: Sequence[Key]) -> dict[Key, str]:
        """Where items are, those of which it is told. Raises NoSuchName if one of them is gone."""
        return read_paths(await self._read("get_paths", [[key.kind.value, key.id] for key in keys]))

    def _found(self, row: Any, kind: Kind, asked_at_s: float) -> Found:
        found = self.knowledge.found(row, kind)
        (item,) = self.recent.with_true_tags((found.item,), asked_at_s)
        tags = self.recent.true_tags(item.key, found.tags, asked_at_s) if found.tags else ()
        return replace(found, item=item, tags=frozenset(tags))

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
        return next(iter(await self._found_by_name(mark)), None)

    async def find_uploads(self, home: str, mark: str) -> list[Item]:
        """All that has a mark, where an upload was sent more than once; some of it on the stacks above."""
        item, found = await self.stat(f"{home}/{mark}"), await self._found_by_name(mark)
        is_more = item is not None and item.key not in {each.key for each in found}
        return [item, *found] if item is not None and is_more else found

    async def _found_by_name(self, name: str) -> list[Item]:
        rows = await self._read("find", Kind.FILE.value, {"name": name})
        found = [self.knowledge.resource(row, Kind.FILE) for row in rows]
        return [item for item in found if item.name == name]

    # Tags

    async def tags(self, key: Key) -> tuple[str, ...]:
        """The tags of an item, sorted. Raises NoSuchName, InvalidCall for what has none here."""
        asked_at_s = trio.current_time()
        told = read_tags(await self._read("list_tags", key.kind.value, key.id))
        return self.recent.true_tags(key, told, asked_at_s)

    async def tag(self, key: Key, tags: Sequence[str]) -> None:
        """Add tags. Raises NoSuchName, AccessDenied, InvalidCall."""
        await self._change("tag", key.kind.value, key.id, list(tags), is_conflict_busy=True)
        self.recent.tagged(key, tags)

    async def untag(self, key: Key, tags: Sequence[str]) -> None:
        """Take tags away; there may be none. Raises NoSuchName, AccessDenied, InvalidCall."""
        await self._change("untag", key.kind.value, key.id, list(tags), is_conflict_busy=True)
        self.recent.tagged(key, (), tags)

    # Contents

    async def upload(self, mark: str, path: Path, size: int) -> Item:
        """Upload a file's bytes as a new item named `mark`; one attempt, whose outcome may be unclear.

        The thread is waited for until `close`, since an upload that goes on unseen would leave an item
        behind; our own session bounds it by its time-outs, and a worker of any other one is ended.
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
        self.traffic.uploaded_bytes += size
        item = self.knowledge.resource(answer, Kind.FILE)
        if item.id is None:
            raise RemoteFailure(f"upload of {mark}: the answer tells no id")
        return replace(item, size=size)

    @property
    def can_send_early(self) -> bool:
        """True if this session can begin to send a file before anybody knows how long it gets."""
        return self._calls.open_ended

    async def begin_upload(self, mark: str) -> tuple[int, int]:
        """Begin a new item named `mark`; its id, and how many bytes a part of it has. One attempt.

        Raises InvalidCall where Orion wants to be told the size first.
        """
        told = await self._attempt(self._metadata, self._limits.change_deadline_s, "begin_upload", mark)
        return int(told["id"]), int(told["part_bytes"])

    async def send_part(self, id: int, part_bytes: int, number: int, path: Path, length: int) -> None:
        """Send a part of an item that was begun, from its place in a local file; one attempt.

        The thread is waited for, as that of `upload` is.
        """
        what = (id, part_bytes, number, str(path), length)
        await self._attempt(self._uploads, inf, "send_part", *what)

    async def finish_upload(self, id: int, part_bytes: int, size: int) -> Item:
        """All parts have been sent. Raises Conflict where Orion has others, NoSuchName where it has none."""
        deadline_s = self._limits.change_deadline_s
        answer = await self._retrying(self._metadata, deadline_s, "finish_upload", id, part_bytes, size)
        return replace(self.knowledge.resource(answer, Kind.FILE), id=id, size=size)

    async def read_into(self, key: Key, part: Part, fd: int) -> None:
        """Fetch what has not arrived of a part yet into its place of a file. Raises NoSuchName.

        It may last as long as bytes go on arriving; one attempt that gets none is given up for another.
        """
        tries = itertools.count()
        subject = (key.kind.value, key.reference)

        async def attempt() -> None:
            await self._read_into(key, part, fd, next(tries))

        with working_with(part.urgency):
            while part.arrived < part.end:
                # A 409 is a version that is not ready to be read yet.
                await self._repeated(
                    attempt, lambda: part.expires_at_s, "read_into", subject, is_conflict_busy=True
                )

    async def download(self, key: Key, path: Path, size: int) -> None:
        """Fetch a whole item to a local file that does not exist yet; best in a folder of its own.

        It may last as long as that folder grows; `size` 0: nobody knows it.
        """
        inactivity_s = self._limits.inactivity_s
        unseen_s = inactivity_s + size / _SLOWEST_DOWNLOAD_BYTES_PER_S if size else _UNKNOWN_DOWNLOAD_S
        # Failures are repeated for no longer than that, whatever a download itself may take.
        ends_at_s = trio.current_time() + inactivity_s + size / _SLOWEST_DOWNLOAD_BYTES_PER_S
        subject = (key.kind.value, key.reference)

        async def attempt() -> None:
            await self._download(subject, path, size, Growth(path.parent, inactivity_s, unseen_s))

        await self._repeated(attempt, lambda: ends_at_s, "download", subject, is_conflict_busy=True)

    async def _read_page(self, path: str, query: dict[str, Any]) -> Page:
        return whole(await self._read("ls_path", path, query))

    async def _change(self, verb: str, *args: Any, is_conflict_busy: bool = False) -> Any:
        deadline_s = self._limits.change_deadline_s
        async with self._unclear.watched(verb, args):
            return await self._retrying(
                self._metadata, deadline_s, verb, *args, is_conflict_busy=is_conflict_busy
            )

    async def _is_to_be_left(self, verb: str, args: Sequence[Any]) -> bool:
        return verb == "remove_paths" and await self._unclear.means_item(args[0])
