"""Many items in a folder of the embedded server within seconds: rows alone, copied in its database.

The server must not run meanwhile. The copies share the contents of what they are copied from, so nothing
may be removed from such a data folder afterwards.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

_RESOURCE = (
    "kind, folder, realm, size, created, owner, project, state, deleted, description, blob, part_bytes,"
    " is_fixed, display_name, collection, count, metadata"
)
_PLACEMENT = "kind, folder, shown_from, hidden_from"
_NAMES = "printf('%s-%07d', name, n)"
_NUMBERS = "WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < :count) "


def multiply(data: Path, name: str, copies: int) -> int:
    """Put `copies` more of every item of this name beside it, as NAME-0000001 and so on; how many."""
    with closing(sqlite3.connect(data / "metadata.sqlite3")) as connection, connection:
        found = connection.execute(
            "SELECT id FROM resource WHERE name = ? AND deleted IS NULL", (name,)
        ).fetchall()
        for (item,) in found:
            _multiply(connection, item, copies)
        return copies * len(found)


def _multiply(connection: sqlite3.Connection, item: int, copies: int) -> None:
    (first,) = connection.execute(
        "UPDATE setting SET value = value + ? WHERE name = 'next_id' RETURNING value - ?", (copies, copies)
    ).fetchone()
    values = {"count": copies, "before": first - 1, "item": item}
    connection.execute(
        f"{_NUMBERS} INSERT INTO resource (id, name, {_RESOURCE})"
        f" SELECT :before + n, {_NAMES}, {_RESOURCE} FROM resource, number WHERE id = :item",
        values,
    )
    connection.execute(
        f"{_NUMBERS} INSERT INTO placement (resource, name, {_PLACEMENT})"
        f" SELECT :before + n, {_NAMES}, {_PLACEMENT} FROM placement, number"
        " WHERE resource = :item",
        values,
    )
