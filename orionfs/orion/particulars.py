"""What a session tells beside items: their metadata, whom they are shared with; people; pure.

As tolerant as `shapes`, and for the same reason. What can't be read is None.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orionfs.orion.shapes import IDS, as_id, first_of, plain

_PARTNERS = ("user", "project")
_NAMES = ("username", "name", "title", "email")


def read_metadata(attributes: Any) -> Mapping[str, Any] | None:
    """The metadata of a collection or a shard; None where none are told."""
    metadata = first_of(plain(attributes), ("metadata",)) if isinstance(attributes, Mapping) else None
    return metadata if isinstance(metadata, Mapping) else None


def read_partner(row: Any) -> tuple[int, tuple[str, ...]] | None:
    """Id and names of a user or a project, what it is called by most first; None for what has no id."""
    if not isinstance(row, Mapping):
        return None
    told = plain(row)
    id = as_id(first_of(told, IDS))
    names = [told[key] for key in _NAMES if isinstance(told.get(key), str) and told[key]]
    full = " ".join(told[key] for key in ("firstname", "lastname") if isinstance(told.get(key), str))
    return None if id is None else (id, tuple(dict.fromkeys([*names, *filter(None, [full.strip()])])))


def read_share(row: Any) -> tuple[str, int, tuple[str, ...], str] | None:
    """Whom something is shared with ("user" or "project", and its id), permissions, and its name or ""."""
    told = plain(row) if isinstance(row, Mapping) else {}
    partner = next((each for each in _PARTNERS if told.get(each) is not None), None)
    id = as_id(told[partner]) if partner is not None else None
    words = told.get("permissions")
    if partner is None or id is None or not isinstance(words, list):
        return None
    name = first_of(told, _NAMES)
    return partner, id, tuple(map(str, words)), name if isinstance(name, str) else ""
