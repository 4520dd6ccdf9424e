"""The journal's table of times and modes that only this machine knows, read whole.

`journal` makes and changes the table. Blocking.
"""

from __future__ import annotations

from typing import Any

from orionfs.durable.key_columns import key_of
from orionfs.models import Key, Kind, LocalAttributes
from orionfs.tables.packed import PackedLocal


def read_local(db: Any) -> dict[Key, LocalAttributes]:
    """All of it, by item."""
    rows = db.execute("SELECT kind, id, mtime_ns, permissions FROM local")
    return {key_of(kind, id_): LocalAttributes(mtime, mode) for kind, id_, mtime, mode in rows}


def read_packed(db: Any) -> PackedLocal:
    """The same in little memory, for as long as a mount lasts."""
    files = "SELECT id, mtime_ns, permissions FROM local WHERE kind = ? ORDER BY id"
    packed = PackedLocal(db.execute(files, (Kind.FILE.value,)))
    others = "SELECT kind, id, mtime_ns, permissions FROM local WHERE kind <> ?"
    for kind, id_, mtime_ns, permissions in db.execute(others, (Kind.FILE.value,)):
        packed[key_of(kind, id_)] = LocalAttributes(mtime_ns, permissions)
    return packed
