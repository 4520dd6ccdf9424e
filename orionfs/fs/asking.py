"""Calls of a session, blocking: attempt after attempt until a deadline; every failure is one of our errors.

The counterpart of `remote` for who has no trio: the same tables say what a failure means and when it is
tried again. Safe for threads, as the session is. Must not know names shown to users, caches or fsspec.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

from orionfs.bridge import CallFailed, SessionCalls
from orionfs.errors import Conflict, NoSuchName, OrionFsError, RemoteFailure
from orionfs.facts import UNKNOWN, StackFacts
from orionfs.models import Account, Assignment, Item, Key, Kind
from orionfs.orion.failures import busy, empty_refused, failure_of, pause_before_retry_s
from orionfs.orion.paging import PAGES, FolderAnswer, all_pages, shards_of_lines
from orionfs.orion.shapes import Page, read_account, read_found, read_item, read_shard, read_tags

log = logging.getLogger(__name__)

_T = TypeVar("_T")
_READ_DEADLINE_S = 30.0
CHANGE_DEADLINE_S = 75.0
_REFUSED_DEADLINE_S = 3.0  # nobody listens there: who waits in a notebook hears of it soon
_AT_ONCE = 8
_CONTENTS_LIMIT_S = 3_600.0
_SLOWEST_BYTES_PER_S = 64 * 1024  # a guess: slower lines than this can't be told from a hang
_TOLD_MAX = 200_000


class Asking:
    """The verbs of one account's session. All raise OrionFsError.

    `facts` are what is known of the stack; who finds out more replaces them.
    """

    def __init__(self, calls: SessionCalls, change_deadline_s: float = CHANGE_DEADLINE_S) -> None:
        self._calls, self._change_deadline_s = calls, change_deadline_s
        self.facts: StackFacts = UNKNOWN
        self._told: dict[Key, Item] = {}  # what rows lack and contents never change: sizes, times
        at_once = min(_AT_ONCE, calls.metadata_at_once or _AT_ONCE)
        self._within = threading.local()
        self._threads = ThreadPoolExecutor(at_once, "orion-ask", initializer=self._mark_thread)
        parts_at_once = min(_AT_ONCE, calls.contents_at_once or _AT_ONCE)
        self.fetching = ThreadPoolExecutor(parts_at_once, "orion-fetch")

    def close(self) -> None:
        """End the session; what is under way ends as it may."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self.fetching.shutdown(wait=False, cancel_futures=True)
        self._calls.close()

    def together(self, calls: Sequence[Callable[[], _T]]) -> list[_T]:
        """The answers of several calls made at the same time, in order; raises the first error."""
        if len(calls) == 1 or getattr(self._within, "is_one", False):
            return [call() for call in calls]  # a thread that waits for others of its pool would stop it
        return [future.result() for future in [self._threads.submit(call) for call in calls]]

    def _mark_thread(self) -> None:
        self._within.is_one = True

    # Who, and what is where

    def whoami(self, stack: str) -> Account:
        """The account of the session; `stack` names the stack where the session can't."""
        return read_account(self._read("whoami"), stack)

    def list_folder(self, path: str) -> FolderAnswer:
        """All of a folder, sizes of Files included; less is a RemoteFailure. Raises NoSuchName."""
        answer = self._whole_listing("ls_path", path)
        return replace(answer, items=self._complete(answer.items))

    def list_shards(self, collection: int) -> FolderAnswer:
        """All shards of a collection."""
        if self._calls.paged_shards:
            return self._whole_listing("shards_page", collection)
        with TemporaryDirectory(prefix="orionfs-") as folder:
            rows = Path(folder, "shards")
            count = self._read("list_shards", collection, str(rows), _CONTENTS_LIMIT_S)
            with rows.open(encoding="ascii") as lines:
                items = shards_of_lines(lines, collection)
        if len(items) != count:
            raise RemoteFailure(f"collection {collection}: {len(items)} of {count} shards were told")
        return FolderAnswer(items, is_complete=True, pages=1)

    def count(self, path: str) -> int:
        """How many items a folder holds at least; one row is asked for. Raises NoSuchName, AccessDenied."""
        page = PAGES["ls_path"](self._read("ls_path", path, {"limit": 1}))
        return page.row_count if page.total is None else page.total

    def stat(self, path: str) -> Item | None:
        """What is at a path, or None."""
        try:
            item = read_item(self._read("stat_path", path))
        except NoSuchName:
            return None
        self._see((item,))
        return self._complete((item,))[0]

    def get(self, key: Key) -> Item:
        """All that Orion tells of one item. Raises NoSuchName."""
        told = self._read("get", key.kind.value, key.reference)
        if key.kind is Kind.SHARD and key.part is not None:
            return read_shard(told, key.part)
        return replace(read_item(told), kind=key.kind, literal=self.literal_of(key.kind))

    def is_gone(self, key: Key) -> bool:
        """True if Orion holds the item no more, or only among what was deleted."""
        try:
            return bool(read_found(self._read("get", key.kind.value, key.reference)).is_deleted)
        except NoSuchName:
            return True

    def tags(self, key: Key) -> tuple[str, ...]:
        return read_tags(self._read("list_tags", key.kind.value, key.id))

    def literal_of(self, kind: Kind) -> str:
        """How this stack's rows spell a kind; empty while no row has shown it."""
        return self.facts.kind_literals.get(kind.value, "")

    # Changes

    def create_folder(self, path: str) -> None:
        """Make one folder. Raises Conflict, NoSuchName."""
        self._change("create_paths", [path])

    def remove_folder(self, path: str) -> None:
        """Remove one folder that was seen empty; one that is gone already is no error."""
        try:
            self._change("remove_paths", [path])
        except NoSuchName:
            log.debug("%s was gone already", path)

    def assign(self, *assignments: Assignment, form: str | None = None) -> None:
        """Give items their folders and names, all or none. Raises Conflict where a name is taken."""
        is_full = (form or self.facts.assign_path) == "full"
        self._change("assign_paths", [self._assignment(each, is_full) for each in assignments])

    def _assignment(self, given: Assignment, is_full: bool) -> dict[str, Any]:
        item = given.item
        # The name that stands beside it counts, so one with a / needs none in the path.
        path = f"{given.folder.rstrip('/')}/{given.name.replace('/', '_')}" if is_full else given.folder
        literal = item.literal or self.literal_of(item.kind) or item.kind.value
        return {"resource_type": literal, "id": item.id, "path": path, "name": given.name}

    def delete(self, key: Key) -> None:
        """Remove one item by id, softly; one that is gone already is no error."""
        try:
            self._change("delete", key.kind.value, key.reference, is_conflict_busy=True)
        except NoSuchName:
            log.debug("%s %s was gone already", key.kind.value, key.id)

    def tag(self, key: Key, tags: Sequence[str]) -> None:
        self._change("tag", key.kind.value, key.id, list(tags), is_conflict_busy=True)

    # Contents

    def can_read_ranges(self, key: Key) -> bool:
        """True if this session can read a part of such an item: Files and shards, with our extension."""
        has_ranges = key.kind in (Kind.FILE, Kind.SHARD)
        return self._calls.ranged and has_ranges and self.facts.ranged_reads is not False

    def read_into(self, key: Key, start: int, end: int, fd: int) -> None:
        """Fetch `[start, end)` of a version to the same place of a file."""
        length = end - start
        args = (key.kind.value, key.reference, start, length, fd, start)
        self._repeated(_READ_DEADLINE_S, "read_into", args, is_conflict_busy=True)

    def download(self, key: Key, path: Path, size: int) -> None:
        """Fetch a whole item to a local file that does not exist yet; `size` 0: nobody knows it."""
        args = (key.kind.value, key.reference, str(path), _limit_s(size))
        self._repeated(self._change_deadline_s, "download", args, is_conflict_busy=True)

    def upload(self, mark: str, path: Path, size: int) -> Item:
        """Upload a file's bytes as a new item named `mark`; one attempt, whose outcome may be unclear."""
        if size == 0 and self.facts.empty_files == "refused":
            raise empty_refused(mark)
        answer = self._attempt("upload", (mark, str(path), _limit_s(size)))
        item = replace(read_item(answer), kind=Kind.FILE, literal="", size=size)
        if item.id is None:
            raise RemoteFailure(f"upload of {mark}: the answer tells no id")
        return item

    # How calls are made

    def _whole_listing(self, verb: str, subject: str | int) -> FolderAnswer:
        for _ in range(2):  # it may have grown meanwhile
            answer = self._listing(verb, subject)
            if answer.is_complete:
                return answer
        raise RemoteFailure(f"{subject}: Orion told less than it holds; try again")

    def _listing(self, verb: str, subject: str | int) -> FolderAnswer:
        steps = all_pages(self.facts)
        queries = next(steps)
        while True:
            pages = self.together([partial(self._page, verb, subject, query) for query in queries])
            try:
                queries = steps.send(pages)
            except StopIteration as told:
                answer: FolderAnswer = told.value
                self._see(answer.items)
                return answer

    def _page(self, verb: str, subject: str | int, query: Mapping[str, Any]) -> Page:
        return PAGES[verb](self._read(verb, subject, dict(query)), subject)

    def _see(self, items: Sequence[Item]) -> None:
        """Learn the literals of `resource_type` from rows as received."""
        seen = {
            item.kind.value: item.literal for item in items if item.literal and item.kind is not Kind.OTHER
        }
        if not seen.items() <= self.facts.kind_literals.items():
            self.facts = replace(self.facts, kind_literals={**self.facts.kind_literals, **seen})

    def _complete(self, items: Sequence[Item]) -> tuple[Item, ...]:
        """The items with the sizes of all Files; those that no row tells are asked for once in a life."""
        keys = [i.key for i in items if i.kind is Kind.FILE and i.size is None and i.key is not None]
        missing = [key for key in keys if key not in self._told]
        if missing:
            for item in self.together([partial(self._details, key) for key in missing]):
                if item is not None and item.key is not None and len(self._told) < _TOLD_MAX:
                    self._told[item.key] = item
        return tuple(self._completed(item) for item in items) if keys else tuple(items)

    def _details(self, key: Key) -> Item | None:
        try:
            return self.get(key)
        except OrionFsError as error:
            log.debug("size of %s %s stays unknown: %s", key.kind.value, key.id, error)
            return None

    def _completed(self, item: Item) -> Item:
        told = self._told.get(item.key) if item.key is not None and item.size is None else None
        if told is None:
            return item
        return replace(item, size=told.size, created_ns=item.created_ns or told.created_ns)

    def _read(self, verb: str, *args: Any) -> Any:
        return self._repeated(_READ_DEADLINE_S, verb, args)

    def _change(self, verb: str, *args: Any, is_conflict_busy: bool = False) -> Any:
        return self._repeated(self._change_deadline_s, verb, args, is_conflict_busy=is_conflict_busy)

    def _repeated(
        self, deadline_s: float, verb: str, args: Sequence[Any], *, is_conflict_busy: bool = False
    ) -> Any:
        """Attempts until one succeeds. `is_conflict_busy`: no name can be taken here, so a 409 is "busy"."""
        begun_s, attempt, is_unclear = time.monotonic(), 0, False
        while True:
            try:
                return self._attempt(verb, args)
            except OrionFsError as failed:
                error = busy(failed) if is_conflict_busy and isinstance(failed, Conflict) else failed
                attempt += 1
                is_unclear = error.is_unclear = is_unclear or error.is_unclear
                error.is_repeated = attempt > 1
                pause_s = pause_before_retry_s(error, attempt)
                ends_at_s = begun_s + (_REFUSED_DEADLINE_S if _is_refused(error) else deadline_s)
                if pause_s is None or time.monotonic() + pause_s >= ends_at_s:
                    raise error from failed.__cause__
                log.debug("%s: %s; attempt %d follows in %.1f s", verb, error, attempt + 1, pause_s)
            time.sleep(pause_s)
            if is_unclear and verb == "remove_paths" and self._means_item(args[0]):
                return None

    def _attempt(self, verb: str, args: Sequence[Any]) -> Any:
        try:
            return getattr(self._calls, verb)(*args)
        except CallFailed as failed:
            raise failure_of(verb, args, failed.info) from failed

    def _means_item(self, paths: Sequence[str]) -> bool:
        """Whether a path of a folder that was perhaps removed is that of an item now: it must stay."""
        there = [self.stat(path) for path in paths]
        return any(item is not None and item.kind is not Kind.FOLDER for item in there)


def _limit_s(size: int) -> float:
    """How long contents may take where nobody sees them come."""
    return max(_CONTENTS_LIMIT_S, size / _SLOWEST_BYTES_PER_S)


def _is_refused(error: OrionFsError) -> bool:
    cause = error.__cause__
    return isinstance(cause, CallFailed) and bool(cause.info.get("refused"))
