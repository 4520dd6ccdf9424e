"""Reads the session's answers tolerantly: keys, envelopes and literals are nobody's promise; pure.

"Documented methods are not documented answers": the spelling of keys, the envelope of a listing and
the literals of `resource_type` are not public, so every reading of an answer is here. Keys are compared
without case, `_`, `-` and blanks. What can't be read raises RemoteFailure; an unknown literal is kept
as received.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import MAXYEAR, MINYEAR, UTC, datetime
from functools import lru_cache
from typing import Any

from orionfs.errors import RemoteFailure
from orionfs.models import Account, Item, Key, Kind

log = logging.getLogger(__name__)

# All in the form of `plain_key`, the likeliest first.
_ROWS = ("results", "items", "contents", "objects", "resources", "children", "entries", "rows", "data")
_TOTALS = ("count", "total", "totalcount", "totalresults", "totalitems")
_NEXTS = ("next", "nextpage", "nexturl", "hasmore", "hasnext")
IDS = ("id", "pk", "resourceid")
_NAMES = ("name", "displayname", "filename")
_PATHS = ("path", "fullpath")
_TITLES = ("displayname", "title", "label")
_TYPES = ("resourcetype", "type", "kind")
_CREATED = ("created", "createdat", "datecreated", "createdon", "creationdate")
_SIZES = ("size", "sizebytes", "sizeinbytes", "length")
_OWNERS = ("owner", "ownerid")
_PROJECTS = ("project", "projectid")
_STATES = ("state", "status")
_TAGS = ("tags", "taglist")
_SYSTEM_TAGS = ("systemtags",)
_COUNTS = ("count", "recordcount")
_DELETED = ("deleted", "isdeleted", "deletedat")
_TAG_TEXTS = ("name", "tag", "value", "label", "text")
_KINDS = (
    (Kind.COLLECTION, ("collection",)),
    (Kind.DATASET, ("dataset",)),
    (Kind.FOLDER, ("folder", "directory", "path", "dir")),
    (Kind.FILE, ("file",)),
    (Kind.SHARD, ("shard",)),
)
_TYPE_LISTS = {
    "files": Kind.FILE,
    "datasets": Kind.DATASET,
    "collections": Kind.COLLECTION,
    "shardcollections": Kind.COLLECTION,
    "folders": Kind.FOLDER,
    "directories": Kind.FOLDER,
    "dirs": Kind.FOLDER,
    "paths": Kind.FOLDER,
}
_PlacedRow = tuple[Any, Kind | None, str | None]  # a row, and the kind and the id that its place tells
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DEPTH_MAX = 4  # of envelopes within envelopes
READY = "ready"
"""State of a shard whose contents are final."""
_SECONDS_FROM = 10**8  # 1973; what is smaller is no moment
_MILLISECONDS_FROM = 10**11  # as seconds that would be the year 5138


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a listing.

    `total` is None where the envelope tells none; `has_more` is what it says of a next page, None where
    it says nothing of that. `unread` rows were there and could not be read.
    """

    rows: tuple[Item, ...]
    total: int | None
    has_more: bool | None = None
    unread: int = 0

    @property
    def row_count(self) -> int:
        """How many rows the answer held."""
        return len(self.rows) + self.unread


@dataclass(frozen=True, slots=True)
class Found:
    """A resource as its object shows it.

    `tags` are all that it tells, of users and of the system; `is_deleted` and `path` are None where it does
    not say.
    """

    item: Item
    tags: frozenset[str]
    is_deleted: bool | None
    path: str | None = None


@dataclass(frozen=True, slots=True)
class DatasetState:
    """How many records a dataset says to hold, None where it does not; whether it is being written."""

    count: int | None
    is_dirty: bool


@lru_cache(maxsize=4096)
def plain_key(key: str) -> str:
    """A key without what only its spelling adds: `createdAt`, `Created-At` and `created_at` are one."""
    return "".join(char for char in key.lower() if char not in "_- ")


def first_of(answer: Mapping[str, Any], keys: Iterable[str]) -> Any:
    """The value of the first key that is there, else None."""
    return next((answer[key] for key in keys if answer.get(key) is not None), None)


def read_page(answer: Any) -> Page:
    """A page of `ls_path`: rows in a list, in lists by type, or by id; bare or in envelopes."""
    return _page_of(*_parts_of(answer))


def read_shards(answer: Any, collection: int) -> Page:
    """A page of a collection's shards. Raises RemoteFailure also where a single row can't be read."""
    rows, total, more = _parts_of(answer)
    return Page(tuple(read_shard(row, collection) for row, _, _ in rows), total, more)


def _parts_of(answer: Any) -> tuple[list[_PlacedRow], int | None, bool | None]:
    """Rows of a listing, their total, and whether more follow."""
    if isinstance(answer, list):
        return [(row, None, None) for row in answer], None, None
    if not isinstance(answer, Mapping):
        raise RemoteFailure(f"a listing was due, not {type(answer).__name__}")
    levels = list(_levels(answer))
    told = [plain(level) for level in levels]
    total = next(
        (count for level in told if (count := _as_count(first_of(level, _TOTALS))) is not None), None
    )
    more = next((has_more for level in told if (has_more := _has_more(level)) is not None), None)
    rows = _rows_of(levels[-1])
    if rows is None and total != 0:
        raise RemoteFailure(f"a listing without rows: keys {sorted(map(str, answer))[:8]}")
    return rows or [], total, more


def _page_of(rows: Sequence[_PlacedRow], total: int | None, has_more: bool | None) -> Page:
    """One row that can't be read hides none of the others."""
    items = []
    for row in rows:
        try:
            items.append(_read_row(*row))
        except RemoteFailure as error:
            log.debug("a row of a listing is left out: %s", error)
    if rows and not items:
        _read_row(*rows[0])  # not a single one: this is no listing as we know it
    return Page(tuple(items), total, has_more, len(rows) - len(items))


def read_item(row: Any) -> Item:
    """A row of a listing, an answer of `stat_path`, or the attributes of a resource."""
    if not isinstance(row, Mapping):
        raise RemoteFailure(f"a row was due, not {type(row).__name__}")
    if len(row) == 1:
        (inner,) = row.values()
        if isinstance(inner, Mapping) and first_of(plain(row), _NAMES + _PATHS) is None:
            return read_item(inner)
    keys = _keys_of(tuple(row))
    literal = str(_first(row, keys.types) or "")
    tags = _first(row, keys.tags)
    kind = read_kind(literal)
    return Item(
        kind=kind,
        id=as_id(_first(row, keys.ids)),
        name=_read_name(row, keys),
        size=_as_count(_first(row, keys.sizes)),
        created_ns=read_time_ns(_first(row, keys.created)),
        literal=literal,
        state=str(_first(row, keys.states) or ""),
        owner=as_id(_first(row, keys.owners)),
        project=as_id(_first(row, keys.projects)),
        tags=read_tags(tags) if tags is not None else None,
        title=_read_title(plain(row)) if kind is Kind.FOLDER and keys.titles else "",
        count=_as_count(_first(row, keys.counts)) if kind is not Kind.FILE else None,
    )


def read_shard(attributes: Any, collection: int) -> Item:
    """A row of a collection, or a shard's attributes; its type is in its class. One without a name gets one.

    A size is believed once the shard is ready: before it has contents, some stacks say 0.
    """
    if not isinstance(attributes, Mapping):
        raise RemoteFailure(f"a shard was due, not {type(attributes).__name__}")
    keys = _keys_of(tuple(attributes))
    id = as_id(_first(attributes, keys.ids))
    if id is None:
        raise RemoteFailure(f"a shard without an id: keys {sorted(map(str, attributes))[:8]}")
    name = _first(attributes, keys.names)
    state = str(_first(attributes, keys.states) or "")
    return Item(
        Kind.SHARD,
        id,
        name if isinstance(name, str) and name else f"{Kind.SHARD.value}-{id}",
        _as_count(_first(attributes, keys.sizes)) if state.lower() in ("", READY) else None,
        read_time_ns(_first(attributes, keys.created)),
        Kind.SHARD.value,
        state,
        as_id(_first(attributes, keys.owners)),
        as_id(_first(attributes, keys.projects)),
        (),
        collection=collection,
    )


def read_found(attributes: Any) -> Found:
    """The attributes of a resource, with what only those who look for it need."""
    item = read_item(attributes)
    told = plain(attributes)
    tags = (read_tags(told[key]) for key in (*_TAGS, *_SYSTEM_TAGS) if told.get(key))
    deleted = next((told[key] for key in _DELETED if key in told), None)
    is_told = any(key in told for key in _DELETED)
    all_tags = frozenset(tag for each in tags for tag in each)
    return Found(item, all_tags, bool(deleted) if is_told else None, read_path(attributes))


def read_path(attributes: Any) -> str | None:
    """Where the attributes of a resource say that it is: an absolute path on Orion."""
    path = first_of(plain(attributes), _PATHS) if isinstance(attributes, Mapping) else None
    return path if isinstance(path, str) and path.startswith("/") else None


def read_paths(answer: Any) -> dict[Key, str]:
    """The paths of items, as `get_paths` tells them; a row without one is left out."""
    rows = ((_read_row(*row), read_path(row[0])) for row in _parts_of(answer)[0])
    return {item.key: path for item, path in rows if item.key is not None and path is not None}


def read_dataset_state(attributes: Any) -> DatasetState:
    """What the attributes of a dataset say of its contents."""
    if not isinstance(attributes, Mapping):
        raise RemoteFailure(f"a dataset was due, not {type(attributes).__name__}")
    told = plain(attributes)
    return DatasetState(_as_count(told.get("count")), bool(told.get("dirty")))


def read_account(answer: Mapping[str, Any], stack: str) -> Account:
    """Who a session works as, from `whoami`; `stack` names the stack where the session can't."""
    profile, project = answer.get("profile") or {}, answer.get("project") or {}
    username = profile.get("username") or profile.get("name")
    if not isinstance(username, str) or not username:
        raise RemoteFailure("the user profile tells no user name")
    return Account(
        stack=str(answer.get("instance") or stack),
        username=username,
        user_id=profile.get("id"),
        project_id=project.get("id"),
        project_name=str(project.get("name") or project.get("id")),
    )


@lru_cache(maxsize=256)
def read_kind(literal: str) -> Kind:
    """The kind that a `resource_type` literal means, whatever its spelling."""
    word = literal.lower()
    return next((kind for kind, parts in _KINDS if any(part in word for part in parts)), Kind.OTHER)


def read_tags(tags: Any) -> tuple[str, ...]:
    """Tag texts from strings or from dicts that name them; sorted, each once."""
    if tags == []:
        return ()
    if not isinstance(tags, Iterable) or isinstance(tags, str | Mapping):
        raise RemoteFailure(f"tags were due, not {type(tags).__name__}")
    texts = (first_of(plain(tag), _TAG_TEXTS) if isinstance(tag, Mapping) else tag for tag in tags)
    return tuple(sorted({str(text) for text in texts if text is not None}))


def read_time_ns(value: Any) -> int:
    """Nanoseconds since the epoch from ISO-8601 text (UTC where it names no zone) or from a number of
    seconds or milliseconds; 0 if unreadable."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _of_number_ns(value)
    if not isinstance(value, str):
        return 0
    try:
        moment = datetime.fromisoformat(value)
        since = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH
    except (ValueError, OverflowError):
        return 0
    if moment.year in (MINYEAR, MAXYEAR):
        return 0  # no time, but a mark that there is none
    return (since.days * 86_400 + since.seconds) * 10**9 + since.microseconds * 1000


def _of_number_ns(value: float) -> int:
    if not _SECONDS_FROM <= value < 1000 * _MILLISECONDS_FROM:  # neither NaN nor what no calendar holds
        return 0
    return int(value * 10**6) if value >= _MILLISECONDS_FROM else int(value * 10**6) * 1000


# -- envelopes -------------------------------------------------------------------------------------


def _levels(answer: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """An answer and the envelopes within it; if one holds rows, that is the last."""
    level: Any = answer
    for _ in range(_DEPTH_MAX):
        yield level
        if _rows_of(level) is not None:
            return
        told = plain(level)
        inner = first_of(told, _ROWS)
        if inner is None and len(told) == 1:
            (inner,) = told.values()
        if not isinstance(inner, Mapping):
            return
        level = inner


def _rows_of(level: Mapping[str, Any]) -> list[_PlacedRow] | None:
    """The rows that an envelope itself holds, each with the kind and the id that its place tells."""
    told = plain(level)
    rows = next((told[key] for key in _ROWS if isinstance(told.get(key), list)), None)
    if rows is not None:
        return [(row, None, None) for row in rows]
    by_type = {_TYPE_LISTS[key]: value for key, value in told.items() if key in _TYPE_LISTS}
    if by_type and all(isinstance(rows, list) for rows in by_type.values()):
        return [(row, kind, None) for kind, rows in by_type.items() for row in rows]
    by_id = {str(key): value for key, value in level.items() if isinstance(value, Mapping)}
    if by_id and all(key.isdecimal() for key in by_id):
        return [(row, None, id) for id, row in by_id.items()]
    return None


def _read_row(row: Any, kind: Kind | None, id: str | None) -> Item:
    item = read_item({"id": id, **plain(row)} if id is not None else row)
    # A row that leaves its type to the list it is in: nobody has told the literal.
    return replace(item, kind=kind) if kind is not None and not item.literal else item


def _has_more(told: Mapping[str, Any]) -> bool | None:
    """What an envelope says of a next page: a link or a number, or that there is none."""
    key = next((key for key in _NEXTS if key in told), None)
    return None if key is None else bool(told[key])


# -- values ----------------------------------------------------------------------------------------


def plain(answer: Mapping[Any, Any]) -> dict[str, Any]:
    """The same values under keys without their spelling; of two that then are one, the first counts."""
    told: dict[str, Any] = {}
    for key, value in answer.items():
        told.setdefault(plain_key(key) if isinstance(key, str) else str(key), value)
    return told


@dataclass(frozen=True, slots=True)
class _Keys:
    """The keys of rows of one form that may tell each value, as they are spelled there, likeliest first."""

    types: tuple[Any, ...]
    ids: tuple[Any, ...]
    names: tuple[Any, ...]
    paths: tuple[Any, ...]
    titles: tuple[Any, ...]
    sizes: tuple[Any, ...]
    created: tuple[Any, ...]
    states: tuple[Any, ...]
    owners: tuple[Any, ...]
    projects: tuple[Any, ...]
    tags: tuple[Any, ...]
    counts: tuple[Any, ...]


@lru_cache(maxsize=1024)
def _keys_of(row_keys: tuple[Any, ...]) -> _Keys:
    """Found out once for all rows of a form: a listing has many of each."""
    told = plain({key: key for key in row_keys})
    groups = (
        *(_TYPES, IDS, _NAMES, _PATHS, _TITLES, _SIZES, _CREATED, _STATES, _OWNERS, _PROJECTS, _TAGS),
        _COUNTS,
    )
    return _Keys(*(tuple(told[key] for key in group if key in told) for group in groups))


def _first(row: Mapping[Any, Any], keys: tuple[Any, ...]) -> Any:
    """The value of the first key that tells one, else None."""
    for key in keys:
        value = row[key]
        if value is not None:
            return value
    return None


def _read_name(row: Mapping[Any, Any], keys: _Keys) -> str:
    name = _first(row, keys.names)
    if isinstance(name, str) and name:
        return name
    path = _first(row, keys.paths)
    if isinstance(path, str) and path.strip("/"):
        return path.rstrip("/").rsplit("/", 1)[-1]
    raise RemoteFailure(f"a row without a name: keys {sorted(map(str, row))[:8]}")


def _read_title(told: Mapping[str, Any]) -> str:
    """What people call it, where that stands beside the name."""
    title = first_of(told, _TITLES)
    return title if isinstance(title, str) and told.get("name") not in (None, title) else ""


def _as_count(value: Any) -> int | None:
    """A number of things or bytes; what can't be one is unknown."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def as_id(value: Any) -> int | None:
    """An id from a number, from its digits, or from the thing that has it."""
    if type(value) is int:
        return value
    if isinstance(value, Mapping):
        value = first_of(plain(value), IDS)
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int):
        return value
    return int(value) if isinstance(value, str) and value.isdecimal() else None
