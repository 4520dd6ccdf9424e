"""The journal's table of times and modes that only this machine knows.

A part of `journal`, which opens the database and gives the transactions. Blocking.
"""

from __future__ import annotations

from typing import Any

from orionfs.durable.key_columns import columns_of, key_of
from orionfs.models import Key, Kind, LocalAttributes
from orionfs.tables.packed import PackedLocal

SCHEMA = """
CREATE TABLE IF NOT EXISTS local (
    kind TEXT NOT NULL, id INTEGER NOT NULL, mtime_ns INTEGER, permissions INTEGER, PRIMARY KEY (kind, id)
) STRICT;
"""


class LocalRows:
    """The table, in the database of a journal."""

    def __init__(self, db: Any) -> None:
        self._db = db

    def put_within(self, key: Key, attributes: LocalAttributes) -> None:
        """What is known of an item, within a transaction of the journal."""
        values = (*columns_of(key), attributes.mtime_ns, attributes.permissions)
        self._db.execute("INSERT OR REPLACE INTO local VALUES (?, ?, ?, ?)", values)

    def all(self) -> dict[Key, LocalAttributes]:
        """All of it, by item."""
        rows = self._db.execute("SELECT kind, id, mtime_ns, permissions FROM local")
        return {key_of(kind, id_): LocalAttributes(mtime, mode) for kind, id_, mtime, mode in rows}

    def packed(self) -> PackedLocal:
        """The same in little memory, whose changes are its own."""
        files = "SELECT id, mtime_ns, permissions FROM local WHERE kind = ? ORDER BY id"
        packed = PackedLocal(self._db.execute(files, (Kind.FILE.value,)))
        others = "SELECT kind, id, mtime_ns, permissions FROM local WHERE kind <> ?"
        for kind, id_, mtime_ns, permissions in self._db.execute(others, (Kind.FILE.value,)):
            packed[key_of(kind, id_)] = LocalAttributes(mtime_ns, permissions)
        return packed
