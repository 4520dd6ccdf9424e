"""Answers of a session as they are: envelope, key names, literals, before anybody has read them; pure.

`shapes` reads answers to work with them, this module to say how they look. So it keeps the mappings as
received, and knows the spellings only to find its way. Nothing here raises for a strange answer: what
can't be found is None or empty.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orionfs.models import Kind
from orionfs.shapes import first_of, read_kind, read_time_ns

Row = Mapping[str, Any]

ID_KEYS = ("id", "ID", "Id")
NAME_KEYS = ("name", "Name", "NAME")
SIZE_KEYS = ("size", "size_bytes", "sizeBytes", "length")
TIME_KEYS = ("created", "created_at", "createdAt", "date_created", "dateCreated")
TAG_KEYS = ("tags", "Tags")
LITERAL_KEYS = ("resource_type", "resourceType", "type", "kind")
TOTAL_KEYS = ("count", "total", "total_count")

# Keys that tell one spelling from the others.
SPELLINGS: Mapping[str, frozenset[str]] = {
    "plain": frozenset({"created", "size", "owner", "project"}),
    "long": frozenset({"ID", "date_created", "size_bytes", "owner_id", "project_id"}),
    "camel": frozenset({"createdAt", "sizeBytes", "ownerId", "projectId"}),
}
STAT_PROMISED = frozenset({*ID_KEYS, *LITERAL_KEYS, "path"})

_ENVELOPES: Mapping[str, tuple[str, ...]] = {
    "results": ("results",),
    "items": ("items",),
    "nested": ("data", "contents"),
    "bare": ("contents",),
}
_LITERALS: Mapping[str, Mapping[Kind, str]] = {
    "word": {kind: kind.value for kind in Kind},
    "class": {
        Kind.FILE: "File",
        Kind.DATASET: "Dataset",
        Kind.COLLECTION: "ShardCollection",
        Kind.FOLDER: "Folder",
    },
    "upper": {kind: kind.value.upper() for kind in Kind},
}
_DEPTH_MAX = 3


@dataclass(frozen=True, slots=True)
class Listing:
    """One answer of `ls_path`: its rows, the total it tells, and which envelope they came in."""

    rows: tuple[Row, ...]
    total: int | None
    envelope: str | None
    keys: tuple[str, ...]  # of the envelope, dotted where one lies in another

    def is_cut(self) -> bool:
        """Whether it says itself that there is more."""
        return self.total is not None and self.total > len(self.rows)


def listing_of(answer: Any) -> Listing:
    """An answer of `ls_path` taken apart."""
    for envelope, way in _ENVELOPES.items():
        rows = _follow(answer, way)
        if isinstance(rows, list):
            holder = _follow(answer, way[:-1])
            return Listing(_mappings(rows), _total_of(holder), envelope, tuple(_key_names(answer)))
    return Listing(_first_rows(answer), _total_of(answer), None, tuple(_key_names(answer)))


def id_of(row: Row) -> int | None:
    """The id of a row, sent as a number or as digits."""
    value = first_of(row, ID_KEYS)
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def name_of(row: Row) -> str:
    """The name of a row, else the end of its path, else nothing."""
    name, path = first_of(row, NAME_KEYS), row.get("path")
    if isinstance(name, str) and name:
        return name
    return path.rstrip("/").rsplit("/", 1)[-1] if isinstance(path, str) else ""


def literal_of(row: Row) -> str:
    """The `resource_type` of a row as received."""
    return str(first_of(row, LITERAL_KEYS) or "")


def kind_of(row: Row) -> Kind:
    """What a row is."""
    return read_kind(literal_of(row))


def size_of(row: Row) -> int | None:
    """The bytes of a row, where it tells them."""
    value = first_of(row, SIZE_KEYS)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def has_time(row: Row) -> bool:
    """Whether a row tells when its item was made."""
    return read_time_ns(first_of(row, TIME_KEYS)) > 0


def has_tags(row: Row) -> bool:
    """Whether a row tells tags, be they none."""
    return any(key in row for key in TAG_KEYS)


def spelling_of(rows: Sequence[Row]) -> str | None:
    """How keys are spelled, by the first spelling that rows show and no other one."""
    seen = {key for row in rows for key in row}
    found = [spelling for spelling, keys in SPELLINGS.items() if keys & seen]
    return found[0] if len(found) == 1 else None


def style_of(literals: Mapping[Kind, str]) -> str | None:
    """How literals are written: all in one known way, or "other"; None where none was seen."""
    if not literals:
        return None
    for style, words in _LITERALS.items():
        if all(words.get(kind) == literal for kind, literal in literals.items()):
            return style
    return "other"


def written_in(style: str | None, kind: Kind) -> str:
    """The literal of a kind that was not seen yet, after the style of those that were."""
    return _LITERALS.get(style or "word", _LITERALS["word"])[kind]


def _follow(answer: Any, way: Sequence[str]) -> Any:
    for key in way:
        answer = answer.get(key) if isinstance(answer, Mapping) else None
    return answer


def _total_of(holder: Any) -> int | None:
    total = first_of(holder, TOTAL_KEYS) if isinstance(holder, Mapping) else None
    return total if isinstance(total, int) and not isinstance(total, bool) else None


def _mappings(rows: Sequence[Any]) -> tuple[Row, ...]:
    return tuple(row for row in rows if isinstance(row, Mapping))


def _first_rows(answer: Any, depth: int = 0) -> tuple[Row, ...]:
    """Rows wherever they are: the lists of an envelope that nobody has described."""
    if isinstance(answer, list):
        return _mappings(answer)
    if not isinstance(answer, Mapping) or depth == _DEPTH_MAX:
        return ()
    return tuple(row for value in answer.values() for row in _first_rows(value, depth + 1))


def _key_names(answer: Any, before: str = "", depth: int = 0) -> Iterator[str]:
    if not isinstance(answer, Mapping) or depth == _DEPTH_MAX:
        return
    for key, value in answer.items():
        yield f"{before}{key}"
        yield from _key_names(value, f"{before}{key}.", depth + 1)
