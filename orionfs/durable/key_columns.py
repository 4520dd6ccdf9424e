"""How the tables of the journal hold what an item is known by: two columns, kind and id; pure.

The kind of a shard names its collection as well: "shard 5". A part of `journal`.
"""

from __future__ import annotations

from orionfs.models import Key, Kind


def key_of(kind: str, id_: int) -> Key:
    """A key from its columns."""
    word, _, collection = kind.partition(" ")
    return Key(Kind(word), id_, int(collection) if collection else None)


def key_or_none(kind: str | None, id_: int | None) -> Key | None:
    """The same where there may be none."""
    return None if kind is None or id_ is None else key_of(kind, id_)


def columns_of(key: Key | None) -> tuple[str | None, int | None]:
    """The columns of a key, NULLs for none."""
    if key is None:
        return None, None
    return (key.kind.value if key.part is None else f"{key.kind.value} {key.part}"), key.id
