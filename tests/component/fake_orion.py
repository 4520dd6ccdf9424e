"""An Orion in memory, behind the same calls as a session, that does what the test says.

`FakeCalls` behaves as the embedded server does (test_fake_orion.py runs one contract suite against
both). A test may script failures (`fail`), let calls take (virtual) time (`latency_s`) or wait for a
word (`stall`), and turn the switches that nobody documents. All calls are in `log`. Safe for threads.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from math import inf
from typing import Any

import trio

from orionfs.bridge import CallFailed
from tests.component.virtual import sleep_in_thread, wait_in_thread

HOME = "/project/1/user/demo"
TEAM = "/project/1/team"
FIXED = ("/project", "/project/1", "/project/1/user", HOME, TEAM, "/project/1/workspace", "/organization")

_EPOCH = datetime(2026, 8, 22, tzinfo=UTC)


@dataclass(eq=False, slots=True)
class Row:
    """One resource."""

    kind: str
    id: int
    name: str
    folder: int | None
    created: str
    contents: bytes = b""
    tags: set[str] = field(default_factory=set)
    shares: dict[tuple[str, int], tuple[str, ...]] = field(default_factory=dict)
    state: str = "ready"
    metadata: dict[str, Any] = field(default_factory=dict)
    count: int = 0
    is_deleted: bool = False
    ready_at: float = -inf
    made_at: float = -inf

    def __repr__(self) -> str:
        return f"<{self.kind} {self.id} {self.name!r} {len(self.contents)} bytes>"


@dataclass(eq=False, slots=True)
class Placement:
    """Where a resource is shown, and from when to when."""

    row: Row
    folder: int
    name: str
    shown_from: float
    hidden_from: float = inf
    is_placed_by_call: bool = False  # else by `add_file` and the like: somebody else
    is_hidden_by_call: bool = False

    def is_shown(self, at: float) -> bool:
        """True if this is what was shown at a moment; `at` inf: what is true now."""
        return self.hidden_from == inf if at == inf else self.shown_from <= at < self.hidden_from


@dataclass(slots=True)
class Call:
    """One call as it was made."""

    verb: str
    args: tuple[Any, ...]
    started_at: float
    error: str | None = None


@dataclass(slots=True)
class Failure:
    """A scripted failure: the `first`..`first + times - 1`-th matching call from now on fails."""

    verb: str
    info: dict[str, Any]
    first: int = 1
    times: float = 1
    has_effect: bool = False
    matches: Callable[..., bool] = lambda *_: True
    seen: int = 0

    def is_due(self, verb: str, args: tuple[Any, ...]) -> bool:
        if verb != self.verb or not self.matches(*args):
            return False
        self.seen += 1
        return self.first <= self.seen < self.first + self.times


@dataclass(slots=True)
class Stall:
    """Calls of a verb that wait until `release`; `before` or after they took effect."""

    verb: str
    is_after: bool
    matches: Callable[..., bool]
    released: trio.Event = field(default_factory=trio.Event)
    arrived: trio.Event = field(default_factory=trio.Event)

    def release(self) -> None:
        """Let them go on, and whoever comes later."""
        self.released.set()


def failure(error: str, status: int | None = None, **info: Any) -> CallFailed:
    """What a session's exception looks like on this side of the seam."""
    described = {
        "error": error,
        "status": status,
        "detail": info.pop("detail", "as scripted"),
        "request_id": None,
        "retry_after": None,
        "code": None,
        "errno": None,
        "refused": False,
        "nothing_sent": False,
    }
    return CallFailed({**described, **info})


class FakeCalls:
    """See the module. Switches are plain attributes that a test sets."""

    def __init__(self, clock: Callable[[], float] = lambda: 0.0) -> None:
        self.clock = clock
        self.ranged = True
        self.paged_shards = True
        self.lists_shares = False
        self.open_ended = True
        self.part_bytes = 2**23  # of uploads with an open end
        self.shards_tell_sizes = True
        self.metadata_at_once: int | None = None
        self.contents_at_once: int | None = None
        self.client_version: str | None = "1.2"
        self.forgotten = 0  # how often connections were to be forgotten
        self.duplicate_names = True
        self.folders_assignable = True
        self.folders_have_ids = True
        self.assign_path = "folder"
        self.create_existing = False
        self.remove_all_equal = False
        self.takes_empty_files = True
        self.is_busy_first = False  # the first of equal changes is answered 409, and not done
        self.ready_after_s = 0.0  # a version that was uploaded is downloaded only then
        self.literals = {kind: kind for kind in ("file", "dataset", "collection", "folder", "workfloe")}
        self.is_paged = True
        self.tells_times = True
        self.stats_tell_details = True
        self.tells_total = True
        self.tells_sizes = True
        self.tells_tags = True
        self.partners: dict[str, dict[int, dict[str, str]]] = {  # kind -> id -> what is told of each
            "user": {
                1: {"username": "demo"},
                7: {"username": "alice", "email": "alice@example.org"},
                8: {"username": "alex", "first_name": "Alex", "last_name": "Doe"},
                9: {"username": "alex2", "first_name": "Alex", "last_name": "Doe"},
            },
            "project": {1: {"name": "Demo"}, 3: {"name": "Screening"}},
        }
        self.offset_is_ignored = False
        self.heeds_filters = True
        self.objects_tell_all = True
        self.page_max = 1000
        self.read_lag_s = 0.0
        self.finds_lag = False  # as stat and ls do
        self.keeps_history = False  # of all that was ever placed somewhere: `history`
        self.latency_s = 0.0
        self.piece_bytes = 2**18  # of what read_into brings
        self.piece_s = 0.0  # between two of them
        self.says_where = False  # that there are bytes to come is told before any of them
        self.break_off_after: int | None = None  # bytes
        self.edit_page: Callable[[dict[str, Any]], dict[str, Any]] | None = None
        self.chaos: Callable[[str], Failure | None] | None = None  # a failure for any call, or none
        self.log: list[Call] = []
        self.in_flight: dict[str, int] = {}
        self.in_flight_max: dict[str, int] = {}
        self.is_closed = False
        self._lock = threading.RLock()
        self._is_in_call = False
        self._ids = itertools.count(1000)
        self._moments = itertools.count(1)
        self._rows: dict[int, Row] = {}
        self._below: dict[int, dict[str, list[Placement]]] = {}  # folder -> name -> placements
        self._tried: set[str] = set()
        self._parts: dict[int, dict[int, bytes]] = {}  # id -> number -> what has arrived
        self._failures: list[Failure] = []
        self._stalls: list[Stall] = []
        self._root = self._make("folder", "", None)
        for path in FIXED:
            self._make_folder(path)

    # -- what a test says and asks -----------------------------------------------------------------

    def fail(
        self,
        verb: str,
        error: str = "OrionServiceError",
        status: int | None = None,
        *,
        nth: int = 1,
        times: float = 1,
        has_effect: bool = False,
        when: Callable[..., bool] = lambda *_: True,
        **info: Any,
    ) -> Failure:
        """From now on the `nth` matching call of `verb` fails (`times`: and so many in all).

        `has_effect`: it fails after it took effect, as a connection does that breaks too late.
        """
        scripted = Failure(verb, failure(error, status, **info).info, nth, times, has_effect, when)
        self._failures.append(scripted)
        return scripted

    def heal(self) -> None:
        """No more failures."""
        self._failures.clear()
        self.chaos = None

    def stall(
        self, verb: str, *, is_after: bool = False, when: Callable[..., bool] = lambda *_: True
    ) -> Stall:
        """From now on calls of `verb` wait until the stall is released."""
        made = Stall(verb, is_after, when)
        self._stalls.append(made)
        return made

    def release_all(self) -> None:
        """Nobody waits any longer."""
        for each in self._stalls:
            each.release()
        self._stalls.clear()

    def count(self, *verbs: str) -> int:
        """How many calls were made, of these verbs or of all."""
        return sum(not verbs or call.verb in verbs for call in self.log)

    @contextmanager
    def counting(self) -> Iterator[list[str]]:
        """The verbs that are called within the block."""
        verbs: list[str] = []
        start = len(self.log)
        yield verbs
        verbs += [call.verb for call in self.log[start:]]

    def add_file(
        self,
        path: str,
        contents: bytes = b"",
        *,
        kind: str = "file",
        tags: tuple[str, ...] = (),
        state: str = "ready",
        created: str | None = None,
    ) -> int:
        """Somebody else makes an item; its id."""
        parent, _, name = path.rpartition("/")
        with self._lock:
            row = self._make(kind, name, self._folder(parent or "/").id)
            row.contents, row.tags, row.state = contents, set(tags), state
            row.created = created or row.created
            return row.id

    def add_dataset(self, path: str, contents: bytes, *, count: int) -> int:
        """Somebody else makes a dataset of so many records; its id."""
        id = self.add_file(path, contents, kind="dataset")
        self.row(id).count = count
        return id

    def add_collection(self, path: str, *, state: str = "open", **shards: bytes) -> int:
        """Somebody else makes a collection with ready shards; its id."""
        id = self.add_file(path, kind="collection", state=state)
        for name, contents in shards.items():
            self.add_shard(id, name, contents)
        return id

    def add_shard(self, collection: int, name: str, contents: bytes = b"", *, state: str = "ready") -> int:
        """Somebody else makes a shard; its id."""
        with self._lock:
            row = self._make("shard", name, collection)
            row.contents, row.state = contents, state
            return row.id

    def shards(self, collection: int) -> dict[str, bytes]:
        """Name -> contents of the shards of a collection, which must have different names."""
        rows = [placed.row for placed in self._placed(collection, inf)]
        assert len({row.name for row in rows}) == len(rows), rows
        return {row.name: row.contents for row in rows}

    def add_folder(self, path: str) -> int:
        """Somebody else makes a folder; its id."""
        with self._lock:
            return self._make_folder(path).id

    def replace(self, path: str, contents: bytes) -> int:
        """Somebody else saves another version under a name; its id."""
        with self._lock:
            for row in self._shown(path, inf):
                self._hide(row)
                row.is_deleted = True
            return self.add_file(path, contents)

    def remove(self, path: str) -> None:
        """Somebody else removes what is there."""
        with self._lock:
            for row in self._shown(path, inf):
                self._hide(row)
                row.is_deleted = True

    def move(self, id: int, folder: str, name: str) -> None:
        """Somebody else gives an item or a folder another place."""
        with self._lock:
            row, goal = self._rows[id], self._folder(folder)
            assert row.kind != "folder" or not self._is_below(goal, row)
            self._hide(row)
            row.folder, row.name = goal.id, name
            self._place(row)

    def history(self, folder: int) -> list[Placement]:
        """All that was ever in a folder; with `keeps_history`."""
        return [placed for named in self._below.get(folder, {}).values() for placed in named]

    def row(self, id: int) -> Row:
        """A resource, deleted or not."""
        return self._rows[id]

    def rows(self) -> list[Row]:
        """All resources, deleted ones too."""
        return list(self._rows.values())

    def ids_at(self, path: str) -> list[int]:
        """Ids of all that is there under a path."""
        return sorted(row.id for row in self._shown(path, inf))

    def contents(self, path: str) -> bytes:
        """The bytes of the one item there."""
        (row,) = self._shown(path, inf)
        return row.contents

    def folder_id(self, path: str) -> int | None:
        """Id of the folder at a path, or None."""
        rows = [row for row in self._shown(path, inf) if row.kind == "folder"]
        return rows[0].id if rows else None

    def rows_in(self, folder: int) -> list[dict[str, Any]]:
        """What a folder holds now, each with all that a row can tell."""
        return [self.row_of(placed) for placed in self._placed(folder, inf)]

    def row_of(self, placed: Placement) -> dict[str, Any]:
        """What a row could tell of something while it was there."""
        return self._told(placed.row, placed.name, placed.name)

    def tree(self, path: str = HOME) -> dict[str, bytes | None]:
        """Path below `path` -> contents (None: a folder) of all there is. Every item must be alone."""
        found: dict[str, bytes | None] = {}
        with self._lock:
            self._walk(self._folder(path).id, "", found)
        return found

    def _walk(self, folder: int, prefix: str, found: dict[str, bytes | None]) -> None:
        for placed in self._placed(folder, inf):
            path = prefix + placed.name
            assert path not in found, f"{path} is there twice"
            is_folder = placed.row.kind == "folder"
            found[path] = None if is_folder else placed.row.contents
            if is_folder:
                self._walk(placed.row.id, path + "/", found)

    # -- the calls ---------------------------------------------------------------------------------

    def whoami(self) -> dict[str, Any]:
        with self._called("whoami"):
            return {
                "profile": {"id": 1, "username": "demo", "default_project": 1},
                "project": {"id": 1, "name": "Demo", "owner": 1},
                "instance": "0123456789abcdef",
            }

    def ls_path(self, path: str, query_params: Mapping[str, Any] | None = None) -> dict[str, Any]:
        query = dict(query_params or {})
        with self._called("ls_path", path, query):
            at = self._visible_at()
            folder = self._folder(path, at)
            rows = sorted(self._placed(folder.id, at), key=lambda placed: placed.row.id)
            offset = 0 if self.offset_is_ignored else int(query.get("offset", 0))
            limit = min(int(query.get("limit", 100)), self.page_max)
            rows_shown = rows[offset : offset + limit] if self.is_paged else rows
            shown = [self._listed(p.row, path, p.name) for p in rows_shown]
            page: dict[str, Any] = {"count": len(rows), "results": shown} if self.tells_total else {}
            page["results"] = shown
            return self.edit_page(page) if self.edit_page else page

    def stat_path(self, path: str) -> dict[str, Any]:
        with self._called("stat_path", path):
            at = self._visible_at()
            rows = self._shown(path, at)
            if not rows:
                raise failure("NotFoundResponse", 404, detail=f"there is nothing at {path}")
            row = max(rows, key=lambda row: (row.kind == "folder", row.created, row.id))
            told = self._told(row, path, path.rpartition("/")[2])
            if not self.stats_tell_details:
                told = {key: told[key] for key in ("resource_type", "id", "path") if key in told}
            return told

    def create_paths(self, paths: list[str]) -> None:
        with self._called("create_paths", paths):
            made: list[Row] = []
            self._refuse_first("create", paths)
            try:
                for path in paths:
                    if self.create_existing and any(row.kind == "folder" for row in self._shown(path, inf)):
                        continue
                    if self._shown(path, inf):
                        raise failure("BadResponse", 409, detail=f"{path} exists", code="exists")
                    made.append(self._make_folder(path))
            except CallFailed:
                for row in made:
                    self._hide(row)
                raise

    def remove_paths(self, paths: list[str]) -> None:
        with self._called("remove_paths", paths):
            self._refuse_first("remove", paths)
            for path in paths:
                rows = self._shown(path, inf)
                if not rows:
                    raise failure("NotFoundResponse", 404, detail=f"there is nothing at {path}")
                row = max(rows, key=lambda row: (row.kind == "folder", row.created, row.id))
                if path in FIXED:
                    raise failure("AuthorizationRequired", 403, detail=f"{path} can't be removed")
                if self._placed(row.id, inf):
                    raise failure("BadResponse", 409, detail=f"{path} is not empty", code="not_empty")
                for gone in rows if self.remove_all_equal else [row]:
                    self._hide(gone)
                    gone.is_deleted = True

    def assign_paths(self, assignments: list[dict[str, Any]]) -> None:
        with self._called("assign_paths", assignments):
            self._refuse_first("assign", [f"{a['resource_type']} {a['id']}" for a in assignments])
            moved = [(self._assigned(a), *self._goal(a)) for a in assignments]
            gone = {row.id for row, _, _ in moved}
            self._refuse_clashes(moved, gone)
            for row, folder, _name in moved:
                if row.kind == "folder" and self._is_below(folder, row):
                    raise failure("ValidationError", 422, detail="a folder can't be moved into itself")
            for row, folder, name in moved:
                self._hide(row)
                row.folder, row.name = folder.id, name or row.name
                self._place(row)

    def get_paths(self, items: list[list[Any]]) -> dict[str, Any]:
        with self._called("get_paths", items):
            rows = [self._existing(kind, id) for kind, id in items]
            gone = [row.id for row in rows if row.is_deleted]
            if gone:
                raise failure("NotFoundResponse", 404, detail=f"there is no item {gone[0]}")
            return {"results": [self._told(row, self._path_of(row), row.name) for row in rows]}

    def get(self, kind: str, id: Any) -> dict[str, Any]:
        with self._called("get", kind, id):
            row = self._existing(kind, id)
            if kind != "shard":
                return self._attributes(row)
            if row.is_deleted:
                raise failure("NotFoundResponse", 404, detail=f"there is no shard {id}")
            return {**self._shard_row(row), "metadata": row.metadata}

    def find(self, kind: str, filters: Mapping[str, Any], count_max: int = 100) -> list[dict[str, Any]]:
        with self._called("find", kind, dict(filters)):
            if kind in self.partners:
                names = (filters.get("username"), filters.get("name")) if self.heeds_filters else ()
                wanted = next(filter(None, names), None)
                people = [{"id": id, **told} for id, told in self.partners[kind].items()]
                return [each for each in people if wanted in (None, *each.values())][:count_max]
            if kind not in self.literals:
                raise failure("ValidationError", None, detail=f"this session has no type for {kind}")
            asked = dict(filters) if self.heeds_filters else {}
            is_deleted, name, tag = bool(asked.get("deleted")), asked.get("name"), asked.get("tags")
            rows = [row for row in self._rows.values() if row.kind == kind and row.is_deleted is is_deleted]
            if self.finds_lag and self.read_lag_s:
                rows = [row for row in rows if self._is_heard_of(row)]
            found = [row for row in rows if name in (None, row.name) and (tag is None or tag in row.tags)]
            told = [self._attributes(row) for row in found[:count_max]]
            return [self._incomplete(attributes) for attributes in told]

    def _incomplete(self, attributes: dict[str, Any]) -> dict[str, Any]:
        """What an object of a listing says: of its tags or its deletion not every stack tells there."""
        untold = () if self.objects_tell_all else ("tags", "deleted")
        return {key: value for key, value in attributes.items() if key not in untold}

    def delete(self, kind: str, id: Any) -> None:
        with self._called("delete", kind, id):
            row = self._existing(kind, id)
            if row.is_deleted:
                raise failure("NotFoundResponse", 404, detail=f"there is no {kind} {id}")
            if row.id in self._parts:
                del self._parts[row.id], self._rows[row.id]
                return
            if kind == "shard":
                self._open_collection(id[0])
            self._hide(row)
            row.is_deleted = True

    def upload(self, name: str, path: str, timeout_s: float | None = None) -> dict[str, Any]:
        with self._called("upload", name, path):
            with open(path, "rb") as stream:
                contents = stream.read()
            if not self.duplicate_names and self._shown(f"{HOME}/{name}", inf):
                raise failure("BadResponse", 409, detail=f"the name {name!r} is taken")
            if not contents and not self.takes_empty_files:
                raise failure("ValidationError", 422, detail="a file has at least one byte")
            row = self._make("file", name, self._folder(HOME).id)
            row.contents, row.ready_at = contents, self.clock() + self.ready_after_s
            return self._attributes(row)

    def begin_upload(self, name: str) -> dict[str, Any]:
        with self._called("begin_upload", name):
            row = self._row("file", name, self._folder(HOME).id)
            row.state = "created"
            self._parts[row.id] = {}
            return {"id": row.id, "part_bytes": self.part_bytes}

    def send_part(self, id: int, part_bytes: int, number: int, path: str, length: int) -> None:
        with self._called("send_part", id, number, length):
            try:
                with open(path, "rb") as stream:
                    stream.seek((number - 1) * part_bytes)
                    piece = stream.read(length)
            except OSError as exc:  # the file is not wanted any more
                raise failure(type(exc).__name__, errno=exc.errno) from exc
            if len(piece) != length:
                raise failure("ValidationError", detail="the file became shorter while it was sent")
            self._begun(id)[number] = piece
            self._rows[id].state = "uploading"

    def finish_upload(self, id: int, part_bytes: int, size: int) -> dict[str, Any]:
        with self._called("finish_upload", id, size):
            if id not in self._parts and len(self._readable("file", id).contents) == size:
                return self._attributes(self._rows[id])
            parts = self._begun(id)
            contents = b"".join(parts[number] for number in sorted(parts))
            is_whole = all(len(parts[number]) == part_bytes for number in sorted(parts)[:-1])
            if not is_whole or sorted(parts) != list(range(1, len(parts) + 1)) or len(contents) != size:
                raise failure("BadResponse", 409, detail="parts are missing", code="parts_missing")
            row = self._rows[id]
            if not self.duplicate_names and self._shown(f"{HOME}/{row.name}", inf):
                raise failure("BadResponse", 409, detail=f"the name {row.name!r} is taken")
            del self._parts[id]
            row.contents, row.state, row.ready_at = contents, "ready", self.clock() + self.ready_after_s
            self._place(row)
            return self._attributes(row)

    def _begun(self, id: int) -> dict[int, bytes]:
        if id not in self._parts:
            self._readable("file", id)
            raise failure("BadResponse", 409, detail=f"file {id} is complete", code="complete")
        return self._parts[id]

    def parts_of(self, id: int) -> dict[int, bytes]:
        """What has arrived of an upload that is not complete, by number."""
        return dict(self._parts[id])

    def unfinished(self) -> list[Row]:
        """Uploads that were begun and are neither complete nor removed."""
        return [self._rows[id] for id in self._parts]

    def shards_page(self, collection: int, query: Mapping[str, Any]) -> dict[str, Any]:
        with self._called("shards_page", collection, dict(query)):
            rows = [placed.row for placed in self._placed(self._collection(collection).id, inf)]
            if self.heeds_filters and "name" in query:
                rows = [row for row in rows if row.name == query["name"]]
            offset, limit = int(query.get("offset", 0)), min(int(query.get("limit", 100)), self.page_max)
            page = [self._shard_row(row) for row in rows[offset : offset + limit]]
            return {"count": len(rows), "results": page}

    def list_shards(self, collection: int, path: str, timeout_s: float | None = None) -> int:
        with self._called("list_shards", collection, path):
            rows = [placed.row for placed in self._placed(self._collection(collection).id, inf)]
            with open(path, "w") as lines:
                lines.writelines(json.dumps(self._shard_row(row)) + "\n" for row in rows)
            return len(rows)

    def create_shard(self, collection: int, name: str, metadata: Mapping[str, Any]) -> dict[str, Any]:
        with self._called("create_shard", collection, name):
            row = self._make("shard", name, self._open_collection(collection).id)
            row.state, row.metadata = "open", dict(metadata)
            return self._shard_row(row)

    def fill_shard(self, id: Any, path: str, timeout_s: float | None = None) -> dict[str, Any]:
        with self._called("fill_shard", id, path):
            row = self._readable("shard", id)
            if row.state == "ready":
                raise failure("BadResponse", 409, detail=f"shard {id} is closed", code="closed")
            with open(path, "rb") as stream:
                row.contents = stream.read()
            row.state = "ready"
            return self._shard_row(row)

    def set_state(self, collection: int, state: str) -> None:
        with self._called("set_state", collection, state):
            self._collection(collection).state = state

    def download(self, kind: str, id: Any, path: str, timeout_s: float | None = None) -> None:
        with self._called("download", kind, id, path):
            contents = self._downloaded(kind, id)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)  # of an earlier attempt, as the worker does it
            with open(path, "xb") as stream:
                stream.write(contents)

    def list_tags(self, kind: str, id: int) -> list[dict[str, Any]]:
        with self._called("list_tags", kind, id):
            return [{"name": tag, "project": 1} for tag in sorted(self._readable(kind, id).tags)]

    def tag(self, kind: str, id: int, tags: list[str]) -> None:
        with self._called("tag", kind, id, tags):
            self._readable(kind, id).tags |= set(tags)

    def untag(self, kind: str, id: int, tags: list[str]) -> None:
        with self._called("untag", kind, id, tags):
            self._readable(kind, id).tags -= set(tags)

    def list_shares(self, kind: str, id: int) -> list[dict[str, Any]]:
        with self._called("list_shares", kind, id):
            shares = sorted(self._readable(kind, id).shares.items())
            return [
                {who: number, "permissions": list(words), "name": f"{who} {number}"}
                for (who, number), words in shares
            ]

    def link(self, kind: str, id: Any) -> dict[str, Any]:
        with self._called("link", kind, id):
            self._readable(kind, id)
            return {"link": "fake", "resource_type": kind, "id": id}

    def documented(self, method: str, args: list[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Sharing, as far as a mount does it."""
        item, partner = [arg["resource"] for arg in args]
        with self._called(method, item, partner, dict(kwargs)):
            row = self._readable(item["kind"], item["id"])
            assert method in ("share_resource", "unshare_resource")
            if method == "share_resource":
                row.shares[partner["kind"], partner["id"]] = tuple(kwargs["permissions"])
            else:
                row.shares.pop((partner["kind"], partner["id"]), None)
        return {"answer": None, "resource": None}

    def read_into(
        self,
        kind: str,
        id: Any,
        offset: int,
        length: int,
        fd: int,
        fd_offset: int,
        progress: Callable[[int], None] | None = None,
    ) -> int:
        if self.says_where and progress is not None:
            self._readable(kind, id)
            progress(0)
        with self._called("read_into", kind, id, offset, length):
            if kind not in ("file", "shard"):
                raise failure("ValidationError", None, detail=f"this session has no type for {kind}")
            data = self._downloaded(kind, id)[offset : offset + length]
            if len(data) != length:
                raise failure("ValidationError", 416, detail="the range is outside of the file")
        for start in range(0, length, self.piece_bytes):
            if start and self.piece_s:
                sleep_in_thread(self.piece_s)
            if start and self.break_off_after is not None and start >= self.break_off_after:
                raise failure("OrionServiceError", detail="contents broke off")
            piece = data[start : start + self.piece_bytes]
            os.pwrite(fd, piece, fd_offset + start)
            if progress is not None:
                progress(len(piece))
        return length

    def forget_connections(self) -> None:
        self.forgotten += 1

    def close(self) -> None:
        self.is_closed = True

    # -- inside --------------------------------------------------------------------------------------

    @contextmanager
    def _called(self, verb: str, *args: Any) -> Iterator[None]:
        """One call: counted, delayed, failed as scripted; its effect is whole."""
        call = Call(verb, args, self.clock())
        with self._lock:
            self.log.append(call)
            self.in_flight[verb] = self.in_flight.get(verb, 0) + 1
            self.in_flight_max[verb] = max(self.in_flight_max.get(verb, 0), self.in_flight[verb])
            failures = [f for f in self._failures if f.is_due(verb, args)]
            surprise = self.chaos(verb) if self.chaos else None
            failures += [surprise] if surprise else []
            stalls = [s for s in self._stalls if s.verb == verb and s.matches(*args)]
        try:
            if self.latency_s:
                sleep_in_thread(self.latency_s)
            for stall in stalls:
                if not stall.is_after:
                    wait_in_thread(stall.arrived, stall.released)
            for scripted in failures:
                if not scripted.has_effect:
                    raise CallFailed(scripted.info)
            with self._lock:
                self._is_in_call = True
                try:
                    yield
                finally:
                    self._is_in_call = False
            for stall in stalls:
                if stall.is_after:
                    wait_in_thread(stall.arrived, stall.released)
            for scripted in failures:
                raise CallFailed(scripted.info)
        except CallFailed as failed:
            call.error = failed.info["error"]
            raise
        finally:
            with self._lock:
                self.in_flight[verb] -= 1

    def _visible_at(self) -> float:
        """The moment whose state ls and stat show."""
        return self.clock() - self.read_lag_s if self.read_lag_s else inf

    def _is_heard_of(self, row: Row) -> bool:
        """Whether what a replica that lags tells of all items has this one under its name."""
        named = self._below.get(row.folder or 0, {}).get(row.name, [])
        shown = [placed.is_shown(self._visible_at()) for placed in named if placed.row is row]
        return any(shown) or (not shown and row.made_at <= self._visible_at())

    def _make(self, kind: str, name: str, folder: int | None) -> Row:
        row = self._row(kind, name, folder)
        self._place(row)
        return row

    def _row(self, kind: str, name: str, folder: int | None) -> Row:
        """A resource that is shown nowhere yet."""
        created = _EPOCH + timedelta(microseconds=next(self._moments))
        row = Row(kind, next(self._ids), name, folder, created.isoformat().replace("+00:00", "Z"))
        row.made_at = self.clock()
        self._rows[row.id] = row
        return row

    def _make_folder(self, path: str) -> Row:
        parent, _, name = path.rpartition("/")
        return self._make("folder", name, self._folder(parent or "/").id)

    def _place(self, row: Row) -> None:
        if row.folder is not None:
            named = self._below.setdefault(row.folder, {}).setdefault(row.name, [])
            placed = Placement(row, row.folder, row.name, self.clock())
            placed.is_placed_by_call = self._is_in_call
            named.append(placed)

    def _placed(self, folder: int, at: float) -> list[Placement]:
        return [p for named in self._below.get(folder, {}).values() for p in named if p.is_shown(at)]

    def _hide(self, row: Row) -> None:
        named = self._below[row.folder or 0][row.name]
        for placed in list(named):
            if placed.row is row and placed.hidden_from == inf:
                placed.hidden_from = self.clock()
                placed.is_hidden_by_call = self._is_in_call
                if not self.read_lag_s and not self.keeps_history:
                    named.remove(placed)

    def _folder(self, path: str, at: float = inf) -> Row:
        folder = self._root
        for name in path.strip("/").split("/") if path.strip("/") else []:
            below = [row for row in self._named(folder.id, name, at) if row.kind == "folder"]
            if not below:
                is_item = bool(self._named(folder.id, name, at))
                error = ("ValidationError", 400) if is_item else ("NotFoundResponse", 404)
                raise failure(*error, detail=f"there is no folder {path}")
            folder = below[0]
        return folder

    def _shown(self, path: str, at: float) -> list[Row]:
        parent, _, name = path.rstrip("/").rpartition("/")
        if not name:
            return [self._root]
        try:
            return self._named(self._folder(parent or "/", at).id, name, at)
        except CallFailed:
            return []

    def _named(self, folder: int, name: str, at: float) -> list[Row]:
        return [p.row for p in self._below.get(folder, {}).get(name, ()) if p.is_shown(at)]

    def _collection(self, id: int) -> Row:
        return self._readable("collection", id)

    def _open_collection(self, id: int) -> Row:
        row = self._collection(id)
        if row.state == "close":
            raise failure("BadResponse", 409, detail=f"collection {id} is closed", code="closed")
        return row

    def _shard_row(self, row: Row) -> dict[str, Any]:
        told = {"resource_type": "shard", "id": row.id, "name": row.name, "collection": row.folder}
        told |= {"created": row.created, "owner": 1, "project": 1, "state": row.state}
        return {**told, "size": len(row.contents)} if self.shards_tell_sizes else told

    def _existing(self, kind: str, id: Any) -> Row:
        collection, id = id if kind == "shard" else (None, id)
        row = self._rows.get(id)
        if row is None or row.kind != kind or (kind == "shard" and row.folder != collection):
            raise failure("NotFoundResponse", 404, detail=f"there is no {kind} {id}")
        return row

    def _readable(self, kind: str, id: Any) -> Row:
        row = self._existing(kind, id)
        if row.is_deleted:
            raise failure("NotFoundResponse", 404, detail=f"there is no {kind} {id}")
        return row

    def _downloaded(self, kind: str, id: Any) -> bytes:
        row = self._readable(kind, id)
        if self.clock() < row.ready_at or (kind in ("shard", "dataset") and row.state != "ready"):
            raise failure("BadResponse", 409, detail=f"{kind} {id} is not ready", code="not_ready")
        return row.contents

    def _refuse_first(self, verb: str, subjects: list[str]) -> None:
        for subject in subjects if self.is_busy_first else []:
            if f"{verb} {subject}" not in self._tried:
                self._tried.add(f"{verb} {subject}")
                raise failure("BadResponse", 409, detail=f"{subject} is busy", code="busy")

    def _goal(self, assignment: dict[str, Any]) -> tuple[Row, str | None]:
        """Folder and new name."""
        path, name = assignment["path"], assignment.get("name")
        if self.assign_path == "folder":
            return self._folder(path), name
        folder, _, last = path.rpartition("/")
        return self._folder(folder or "/"), name or last

    def _assigned(self, assignment: dict[str, Any]) -> Row:
        kinds = {literal: kind for kind, literal in self.literals.items()}
        if assignment["resource_type"] not in kinds:
            raise failure("ValidationError", 422, detail="no such type", code="bad_type")
        row = self._readable(kinds[assignment["resource_type"]], assignment["id"])
        if row.kind == "folder" and not self.folders_assignable:
            raise failure("ValidationError", 422, detail="folders can't be assigned to paths")
        return row

    def _refuse_clashes(self, moved: list[tuple[Row, Row, str | None]], gone: set[int]) -> None:
        """Looked at after the whole batch, so that a batch can swap names."""
        new_names = [(folder.id, name or row.name) for row, folder, name in moved]
        for row, folder, name in moved:
            others = [
                other for other in self._named(folder.id, name or row.name, inf) if other.id not in gone
            ]
            if self.duplicate_names and row.kind != "folder":
                continue
            if self.duplicate_names:
                others = [other for other in others if other.kind == "folder"]
            if others or new_names.count((folder.id, name or row.name)) > 1:
                raise failure("BadResponse", 409, detail=f"the name {name!r} is taken", code="name_taken")

    def _is_below(self, folder: Row, top: Row) -> bool:
        while folder is not top:
            if folder.folder is None:
                return False
            folder = self._rows[folder.folder]
        return True

    def _path_of(self, row: Row) -> str:
        names = [row.name]
        while row.folder is not None:
            row = self._rows[row.folder]
            names.append(row.name)
        return "/".join(reversed(names)) or "/"

    def _listed(self, row: Row, folder: str, name: str) -> dict[str, Any]:
        told = self._told(row, f"{folder.rstrip('/')}/{name}", name)
        if not self.tells_sizes:
            told.pop("size", None)
        if not self.tells_tags:
            told.pop("tags", None)
        if not self.tells_times:
            told.pop("created", None)
        return told

    def _attributes(self, row: Row) -> dict[str, Any]:
        """A resource as an object's attributes: the type is in its class, not among them."""
        attributes = self._told(row, self._path_of(row), row.name)
        del attributes["resource_type"]
        if row.kind == "collection":
            attributes["metadata"] = row.metadata
        attributes["deleted"] = "2026-08-23T00:00:00Z" if row.is_deleted else None
        return attributes

    def _told(self, row: Row, path: str, name: str) -> dict[str, Any]:
        told: dict[str, Any] = {
            "resource_type": self.literals[row.kind],
            "id": row.id,
            "name": name,
            "path": path,
            "created": row.created,
            "owner": 1,
            "project": 1,
            "tags": sorted(row.tags),
        }
        if row.kind == "folder":
            if not self.folders_have_ids:
                del told["id"]
            return told
        told["state"], told["deleted"] = row.state, None
        if row.kind == "dataset":
            told["count"], told["dirty"] = row.count, row.state != "ready"
        if row.kind == "file":
            told["size"] = len(row.contents)
        return told
