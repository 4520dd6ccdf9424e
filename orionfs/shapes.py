"""Reads the session's answers tolerantly: keys, envelopes and literals are nobody's promise; pure.

"Documented methods are not documented answers": the spelling of keys, the envelope of a listing and
the literals of `resource_type` are not public, so every reading of an answer is here. What can't be
read raises RemoteFailure; an unknown literal is kept as received.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from orionfs.errors import RemoteFailure
from orionfs.models import Account, Item, Kind

_ROWS = ("results", "items", "data", "objects", "contents", "resources")
_TOTALS = ("count", "total", "total_count")
_TYPES = ("resource_type", "resourceType", "type", "kind")
_CREATED = ("created", "created_at", "createdAt", "date_created")
_SIZES = ("size", "size_bytes", "sizeBytes", "length")
_KINDS = (
    (Kind.COLLECTION, ("collection",)),
    (Kind.DATASET, ("dataset",)),
    (Kind.FOLDER, ("folder", "directory", "path", "dir")),
    (Kind.FILE, ("file",)),
)


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a listing; `total` is None where the envelope tells none."""

    rows: tuple[Item, ...]
    total: int | None


def first_of(answer: Mapping[str, Any], keys: Iterable[str]) -> Any:
    """The value of the first key that is there, else None."""
    return next((answer[key] for key in keys if answer.get(key) is not None), None)


def read_page(answer: Any) -> Page:
    """A page of `ls_path`: a bare list, or a dict with the rows under one of several keys."""
    if isinstance(answer, list):
        return Page(tuple(read_item(row) for row in answer), None)
    if not isinstance(answer, Mapping):
        raise RemoteFailure(f"a listing was due, not {type(answer).__name__}")
    rows = first_of(answer, _ROWS)
    if not isinstance(rows, list):
        raise RemoteFailure(f"a listing without rows: keys {sorted(answer)[:8]}")
    total = first_of(answer, _TOTALS)
    return Page(tuple(read_item(row) for row in rows), _as_count(total))


def read_item(row: Any) -> Item:
    """A row of a listing, an answer of `stat_path`, or the attributes of a resource."""
    if not isinstance(row, Mapping):
        raise RemoteFailure(f"a row was due, not {type(row).__name__}")
    literal = str(first_of(row, _TYPES) or "")
    return Item(
        kind=read_kind(literal),
        id=_as_int(row.get("id")),
        name=_read_name(row),
        size=_as_count(first_of(row, _SIZES)),
        created_ns=read_time_ns(first_of(row, _CREATED)),
        literal=literal,
        state=str(row.get("state") or ""),
        owner=_as_int(row.get("owner")),
        project=_as_int(row.get("project")),
        tags=read_tags(row["tags"]) if row.get("tags") is not None else None,
    )


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


def read_kind(literal: str) -> Kind:
    """The kind that a `resource_type` literal means, whatever its spelling."""
    word = literal.lower()
    return next((kind for kind, parts in _KINDS if any(part in word for part in parts)), Kind.OTHER)


def read_tags(tags: Any) -> tuple[str, ...]:
    """Tag texts from strings or from dicts that name them; sorted, each once."""
    if not isinstance(tags, Iterable) or isinstance(tags, str | Mapping):
        raise RemoteFailure(f"tags were due, not {type(tags).__name__}")
    texts = (first_of(t, ("name", "tag", "value", "label")) if isinstance(t, Mapping) else t for t in tags)
    return tuple(sorted({str(text) for text in texts if text is not None}))


def read_time_ns(value: Any) -> int:
    """Nanoseconds since the epoch from ISO-8601 text (UTC where it names no zone); 0 if unreadable."""
    if not isinstance(value, str):
        return 0
    try:
        moment = datetime.fromisoformat(value)
        whole = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return 0
    return int(whole.replace(microsecond=0).timestamp()) * 10**9 + whole.microsecond * 1000


def _read_name(row: Mapping[str, Any]) -> str:
    name = row.get("name")
    if isinstance(name, str) and name:
        return name
    path = row.get("path")
    if isinstance(path, str) and path.strip("/"):
        return path.rstrip("/").rsplit("/", 1)[-1]
    raise RemoteFailure(f"a row without a name: keys {sorted(row)[:8]}")


def _as_count(value: Any) -> int | None:
    """A number of things or bytes; what can't be one is unknown."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _as_int(value: Any) -> int | None:
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int):
        return value
    return int(value) if isinstance(value, str) and value.isdecimal() else None
