"""The journal's table of parked items: on Orion under their old name, here under one that stays here.

A part of `journal`, which opens the database and gives the transactions. Blocking, one thread.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from orionfs.models import Item, Key, Kind

SCHEMA = """
CREATE TABLE IF NOT EXISTS parked (
    kind TEXT NOT NULL, id INTEGER NOT NULL,
    folder TEXT NOT NULL, name TEXT NOT NULL,              -- where it is on Orion: path, true name
    shown_folder TEXT NOT NULL, shown_name TEXT NOT NULL,  -- where it is here: Orion path, visible name
    size_bytes INTEGER,                                    -- NULL where nobody has told it
    created_ns INTEGER NOT NULL,
    literal TEXT NOT NULL,
    tags TEXT NOT NULL,                                    -- JSON list
    PRIMARY KEY (kind, id)
) STRICT;
"""
_PATHS = ("folder", "shown_folder")


@dataclass(frozen=True, slots=True)
class ParkedRow:
    """One parked item; `item` has the name that it has on Orion, and its tags."""

    item: Item
    folder: str
    shown_folder: str
    shown_name: str

    @property
    def key(self) -> Key:
        assert self.item.key is not None
        return self.item.key

    @property
    def path(self) -> str:
        """Where it is on Orion."""
        return f"{self.folder.rstrip('/')}/{self.item.name}"


class ParkedRows:
    """The table, in the database of a journal."""

    def __init__(self, db: Any, transaction: Callable[..., AbstractContextManager[None]]) -> None:
        self._db = db
        self._transaction = transaction

    def put(self, row: ParkedRow) -> None:
        """An item is parked, or shown under another name; survives a power cut."""
        with self._transaction(durable=True):
            self.put_within(row)

    def put_within(self, row: ParkedRow) -> None:
        """The same within a transaction of the journal."""
        item = row.item
        where = (row.folder, item.name, row.shown_folder, row.shown_name)
        what = (item.size, item.created_ns, item.literal, json.dumps(item.tags or ()))
        self._db.execute(
            "INSERT OR REPLACE INTO parked VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (row.key.kind.value, row.key.id, *where, *what),
        )

    def drop(self, key: Key) -> None:
        """An item is parked no more."""
        with self._transaction(durable=True):
            self._db.execute("DELETE FROM parked WHERE kind = ? AND id = ?", (key.kind.value, key.id))

    def move_within(self, old: str, new: str, below: str) -> None:
        """A folder was renamed; `below` is the GLOB pattern of all below it."""
        for column in _PATHS:
            self._db.execute(
                f"UPDATE parked SET {column} = ? || substr({column}, ?)"
                f" WHERE {column} = ? OR {column} GLOB ?",
                (new, len(old) + 1, old, below),
            )

    def all(self) -> list[ParkedRow]:
        """Every parked item, in the order of parking."""
        rows = self._db.execute(
            "SELECT kind, id, folder, name, shown_folder, shown_name, size_bytes, created_ns, literal, tags"
            " FROM parked ORDER BY rowid"
        )
        return [_row(row) for row in rows]


def _row(row: tuple[Any, ...]) -> ParkedRow:
    kind, id_, folder, name, shown_folder, shown_name, size, created_ns, literal, tags = row
    item = Item(Kind(kind), id_, name, size, created_ns, literal, tags=tuple(json.loads(tags)))
    return ParkedRow(item, folder, shown_folder, shown_name)
