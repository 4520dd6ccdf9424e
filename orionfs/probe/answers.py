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
from orionfs.orion.shapes import first_of, read_kind, read_time_ns

Row = Mapping[str, Any]

# All in the form of `plain_key`.
_ID_KEYS = ("id", "pk", "resourceid")
_NAME_KEYS = ("name", "displayname", "filename")
_PATH_KEYS = ("path", "fullpath")
_SIZE_KEYS = ("size", "sizebytes", "sizeinbytes", "length")
_TIME_KEYS = ("created", "createdat", "datecreated", "createdon", "creationdate")
_TAG_KEYS = ("tags", "taglist")
_LITERAL_KEYS = ("resourcetype", "type", "kind")
_TOTAL_KEYS = ("count", "total", "totalcount", "totalresults", "totalitems")
KNOWN_KEYS = frozenset(
    {*_ID_KEYS, *_NAME_KEYS, *_PATH_KEYS, *_SIZE_KEYS, *_TIME_KEYS, *_TAG_KEYS, *_LITERAL_KEYS, *_TOTAL_KEYS}
)
"""Names of keys whose meaning is known here, in the form of `plain_key`."""

# Keys that tell one spelling from the others.
SPELLINGS: Mapping[str, frozenset[str]] = {
    "plain": frozenset({"created", "size", "owner", "project"}),
    "long": frozenset({"ID", "date_created", "size_bytes", "owner_id", "project_id"}),
    "camel": frozenset({"createdAt", "sizeBytes", "ownerId", "projectId"}),
}
_STAT_PROMISED = frozenset({*_ID_KEYS, *_LITERAL_KEYS, *_PATH_KEYS})

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


def plain_key(key: str) -> str:
    """A key without what only its spelling adds: `createdAt`, `Created-At` and `created_at` are one."""
    return "".join(char for char in key.lower() if char not in "_- ")


def id_of(row: Row) -> int | None:
    """The id of a row, sent as a number or as digits."""
    value = _told(row, _ID_KEYS)
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def name_of(row: Row) -> str:
    """The name of a row, else the end of its path, else nothing."""
    name, path = _told(row, _NAME_KEYS), _told(row, _PATH_KEYS)
    if isinstance(name, str) and name:
        return name
    return path.rstrip("/").rsplit("/", 1)[-1] if isinstance(path, str) else ""


def literal_of(row: Row) -> str:
    """The `resource_type` of a row as received."""
    return str(_told(row, _LITERAL_KEYS) or "")


def kind_of(row: Row) -> Kind:
    """What a row is."""
    return read_kind(literal_of(row))


def size_of(row: Row) -> int | None:
    """The bytes of a row, where it tells them."""
    return _count_of(_told(row, _SIZE_KEYS))


def has_time(row: Row) -> bool:
    """Whether a row tells when its item was made."""
    return read_time_ns(_told(row, _TIME_KEYS)) > 0


def has_tags(row: Row) -> bool:
    """Whether a row tells tags, be they none."""
    return _told(row, _TAG_KEYS) is not None


def has_details(row: Row) -> bool:
    """Whether an answer of stat tells more than it promises."""
    return any(plain_key(key) not in _STAT_PROMISED for key in row)


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


def _told(row: Mapping[str, Any], keys: Sequence[str]) -> Any:
    """What a mapping says under the first of these keys that it has, in whatever spelling."""
    return first_of({plain_key(key): value for key, value in row.items()}, keys)


def _count_of(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _total_of(holder: Any) -> int | None:
    return _count_of(_told(holder, _TOTAL_KEYS)) if isinstance(holder, Mapping) else None


def _is_row(value: Any) -> bool:
    return isinstance(value, Mapping) and isinstance(_told(value, _LITERAL_KEYS), str)


def _mappings(rows: Sequence[Any]) -> tuple[Row, ...]:
    return tuple(row for row in rows if isinstance(row, Mapping))


def _first_rows(answer: Any, depth: int = 0) -> tuple[Row, ...]:
    """Rows wherever they are, in lists or by ids: for envelopes that nobody has described."""
    if isinstance(answer, list):
        return _mappings(answer)
    if _is_row(answer):
        return (answer,)
    if not isinstance(answer, Mapping) or depth == _DEPTH_MAX:
        return ()
    return tuple(row for value in answer.values() for row in _first_rows(value, depth + 1))


def _key_names(answer: Any, before: str = "", depth: int = 0) -> Iterator[str]:
    """Keys of an envelope, not those of its rows."""
    if not isinstance(answer, Mapping) or _is_row(answer) or depth == _DEPTH_MAX:
        return
    for key, value in answer.items():
        yield f"{before}{key}"
        yield from _key_names(value, f"{before}{key}.", depth + 1)
