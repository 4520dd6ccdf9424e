"""The journal's table of shares: with whom this machine knows an item to be shared.

A part of `journal`, which opens the database and gives the transactions. Blocking, one thread.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import Any

from orionfs.models import Key, Kind
from orionfs.tables.packed import PackedKeys

SCHEMA = """
CREATE TABLE IF NOT EXISTS shares (
    kind TEXT NOT NULL, id INTEGER NOT NULL,
    shares TEXT NOT NULL,  -- JSON list: those set here, of an item that was uploaded or shared here
    PRIMARY KEY (kind, id)
) STRICT;
"""


@dataclass(frozen=True, slots=True)
class Share:
    """What one partner may do with an item: read, write, delete, share. `partner` is "user" or "project".

    `name` is what people call the partner, empty where nobody has told that.
    """

    partner: str
    id: int
    permissions: tuple[str, ...]
    name: str = ""


class ShareRows:
    """The table, in the database of a journal."""

    def __init__(self, db: Any, transaction: Callable[..., AbstractContextManager[None]]) -> None:
        self._db = db
        self._transaction = transaction

    def put(self, key: Key, shares: Iterable[Share]) -> None:
        """All that is known of an item's shares; survives a power cut."""
        with self._transaction(durable=True):
            self.put_within(key, shares)

    def put_within(self, key: Key, shares: Iterable[Share]) -> None:
        """The same within a transaction of the journal."""
        text = json.dumps([asdict(share) for share in shares])
        self._db.execute("INSERT OR REPLACE INTO shares VALUES (?, ?, ?)", (key.kind.value, key.id, text))

    def placed_within(self, key: Key, replaced: Key | None) -> None:
        """An item that was uploaded here is in place, with the shares of what it replaced."""
        found = self._of(replaced) if replaced is not None else None
        self._db.execute(
            "INSERT OR IGNORE INTO shares VALUES (?, ?, ?)", (key.kind.value, key.id, found or "[]")
        )
        if replaced is not None and replaced != key:
            self.drop_within(replaced)

    def drop_within(self, key: Key) -> None:
        """An item is gone."""
        self._db.execute("DELETE FROM shares WHERE kind = ? AND id = ?", (key.kind.value, key.id))

    def all(self) -> dict[Key, tuple[Share, ...]]:
        """What is known of every item."""
        rows = self._db.execute("SELECT kind, id, shares FROM shares")
        return {Key(Kind(kind), id_): _read(text) for kind, id_, text in rows}

    def shared(self) -> dict[Key, tuple[Share, ...]]:
        """What is known of every item of which that is anything, or which is no File."""
        rows = self._db.execute(
            "SELECT kind, id, shares FROM shares WHERE shares <> '[]' OR kind <> ?", (Kind.FILE.value,)
        )
        return {Key(Kind(kind), id_): _read(text) for kind, id_, text in rows}

    def unshared_files(self) -> PackedKeys:
        """The Files that were made here and shared with nobody, in little memory."""
        query = "SELECT id FROM shares WHERE kind = ? AND shares = '[]' ORDER BY id"
        return PackedKeys(id_ for (id_,) in self._db.execute(query, (Kind.FILE.value,)))

    def _of(self, key: Key) -> str | None:
        row = self._db.execute(
            "SELECT shares FROM shares WHERE kind = ? AND id = ?", (key.kind.value, key.id)
        ).fetchone()
        return row[0] if row is not None else None


def _read(text: str) -> tuple[Share, ...]:
    return tuple(
        Share(each["partner"], each["id"], tuple(each["permissions"]), each.get("name", ""))
        for each in json.loads(text)
    )
