"""Answers of ls_path and stat_path in a shape that nobody has promised, drawn anew in each run.

The seed comes from DOCUMENTED_SHAPES_SEED; tests/conftest.py draws one for a run and prints it, so that
a failure can be repeated. "plain" leaves answers as the server gave them. `resource_type` and `path` of
a row are documented, and that a listing is a dict; all else may differ. An envelope tells the total or
whether more follows, as the server below does: what a mount asks does not depend on the shape.
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from orionfs.client.errors import ValidationError

SEED_VARIABLE = "DOCUMENTED_SHAPES_SEED"
PLAIN = "plain"

Row = dict[str, Any]
_DOCUMENTED = frozenset({"resource_type", "path"})
_TOTALS = ("count", "total", "total_count")
_OTHER_WORDS: Mapping[str, tuple[str, ...]] = {
    "created": ("created", "created_at", "date_created"),
    "size": ("size", "size_bytes"),
    "owner": ("owner", "owner_id"),
    "project": ("project", "project_id"),
}
_SPELLINGS: tuple[Callable[[list[str]], str], ...] = (
    "_".join,
    "-".join,
    lambda words: "_".join(words).upper(),
    lambda words: words[0] + "".join(word.title() for word in words[1:]),
    lambda words: "".join(word.title() for word in words),
)
_LITERALS: tuple[Callable[[str], str], ...] = (
    # Each keeps apart what the server below may say: its own literals differ by case alone.
    lambda literal: literal,
    lambda literal: f"{literal}s",
    lambda literal: f"orion.{literal}",
    lambda literal: f"Resource_{literal}",
)
_ENVELOPES: tuple[Callable[[list[Row], int | None, bool | None], dict[str, Any]], ...] = (
    lambda rows, total, more: {"count": total, "next": _link(more), "results": rows},
    lambda rows, total, more: {"items": rows, "total": total},
    lambda rows, total, more: {"data": {"contents": rows, "totalCount": total}},
    lambda rows, total, more: {"results": rows, "next": _link(more)},
    lambda rows, total, more: {"hasMore": more, "Objects": rows},
    lambda rows, total, more: {"totalResults": total, **_by_type(rows)},
    lambda rows, total, more: {"total": total, "results": _by_id(rows)},
)


@dataclass(frozen=True)
class Shapes:
    """One shape for a whole run."""

    envelope: int
    spelling: int
    words: Mapping[str, str]
    literal: int
    are_ids_texts: bool

    def listing(self, answer: dict[str, Any], query: Mapping[str, Any]) -> dict[str, Any]:
        """The answer of `ls_path`."""
        rows, total = _rows_of(answer), _total_of(answer)
        offset = int(query.get("offset", 0))
        more = None if total is None else bool(rows) and offset + len(rows) < total
        if total is None:
            return {"contents": [self.row(row) for row in rows]}
        return _ENVELOPES[self.envelope]([self.row(row) for row in rows], total, more)

    def row(self, row: Row) -> Row:
        """A row, or the answer of `stat_path`."""
        shaped = {self._key(key): value for key, value in row.items()}
        if "resource_type" in shaped:
            shaped["resource_type"] = _LITERALS[self.literal](shaped["resource_type"])
        if self.are_ids_texts:
            shaped = {key: str(v) if key.lower() == "id" else v for key, v in shaped.items()}
        return shaped

    def assignment(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """An assignment as the server below understands it: with the literal that its rows show."""
        shown = str(given["resource_type"])
        words = [kind for kind in _all_literals() if _LITERALS[self.literal](kind) == shown]
        if not words:
            raise ValidationError(f"there is no resource_type {shown!r} here")
        return {**given, "resource_type": words[0]}

    def _key(self, key: str) -> str:
        if key in _DOCUMENTED:
            return key
        return _SPELLINGS[self.spelling](_words(self.words.get(key, key)))


def shapes_of(seed: str) -> Shapes | None:
    """The shape of a seed; None for the plain one."""
    if seed == PLAIN:
        return None
    dice = random.Random(seed)
    return Shapes(
        envelope=dice.randrange(len(_ENVELOPES)),
        spelling=dice.randrange(len(_SPELLINGS)),
        words={key: dice.choice(words) for key, words in _OTHER_WORDS.items()},
        literal=dice.randrange(len(_LITERALS)),
        are_ids_texts=dice.random() < 0.5,
    )


def shapes_of_run() -> Shapes | None:
    """The shape of this run."""
    return shapes_of(os.environ.get(SEED_VARIABLE, PLAIN))


def _all_literals() -> list[str]:
    words = ("file", "dataset", "collection", "folder")
    return [*words, "File", "Dataset", "ShardCollection", "Folder", *(word.upper() for word in words)]


def _words(key: str) -> list[str]:
    """The words of a key, whatever its spelling: date_created, dateCreated, ID."""
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+", key)
    return [part.lower() for part in parts]


def _rows_of(answer: Any) -> list[Row]:
    values = list(answer.values())
    found = next((value for value in values if isinstance(value, list)), None)
    return found if found is not None else _rows_of(next(v for v in values if isinstance(v, dict)))


def _total_of(answer: Mapping[str, Any]) -> int | None:
    inner = [value for value in answer.values() if isinstance(value, dict)]
    told = [level[key] for level in (answer, *inner) for key in _TOTALS if key in level]
    return told[0] if told else None


def _link(more: bool | None) -> str | None:
    return "https://orion.example/next" if more else None


def _by_type(rows: list[Row]) -> dict[str, list[Row]]:
    kinds = {"files": "file", "datasets": "dataset", "collections": "collection", "folders": "folder"}
    return {
        key: [row for row in rows if kind in str(row["resource_type"]).lower()] for key, kind in kinds.items()
    }


def _by_id(rows: list[Row]) -> Any:
    """Rows by id, where each has one; an id of two types would hide one of them."""
    ids = [next((str(row[key]) for key in row if key.lower() == "id"), None) for row in rows]
    if not rows or None in ids or len(set(ids)) < len(ids):
        return rows
    return dict(zip(ids, rows, strict=True))
