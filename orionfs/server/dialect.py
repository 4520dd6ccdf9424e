"""The form of the answers that the documented session hands through as received, by three switches.

ls, stat, get_paths and list_tags make their rows as everything here does; this module puts another
envelope around them, spells their keys otherwise, and says the resource types in other literals. What
comes back in assignments and filters is understood in those literals. Pure: from JSON to JSON.
`resource_type` and `path` are documented and always spelled so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orionfs.server.paths import Kind
from orionfs.server.problems import invalid
from orionfs.server.switches import Switches

Json = dict[str, Any]

_KEYS: Mapping[str, Mapping[str, str]] = {
    "plain": {},
    "long": {
        "id": "ID",
        "created": "date_created",
        "size": "size_bytes",
        "owner": "owner_id",
        "project": "project_id",
    },
    "camel": {"created": "createdAt", "size": "sizeBytes", "owner": "ownerId", "project": "projectId"},
}
_CLASSES = {
    Kind.FILE.value: "File",
    Kind.DATASET.value: "Dataset",
    Kind.COLLECTION.value: "ShardCollection",
    Kind.FOLDER.value: "Folder",
}
_LITERALS: Mapping[str, Mapping[str, str]] = {
    "word": {kind: kind for kind in _CLASSES},
    "class": _CLASSES,
    "upper": {kind: kind.upper() for kind in _CLASSES},
}


def row_answer(row: Json, switches: Switches) -> Json:
    """A row with its keys and its resource type as this Orion spells them."""
    spelling, literals = _KEYS[switches.keys], _LITERALS[switches.literals]
    spelled = {spelling.get(key, key): value for key, value in row.items()}
    if "resource_type" in spelled:
        spelled["resource_type"] = literals[spelled["resource_type"]]
    return spelled


def listing_answer(listing: Json, switches: Switches) -> Json:
    """A listing in this Orion's envelope; it comes as `{"results", ...}`, with `count` if it is a page."""
    rows = [row_answer(row, switches) for row in listing["results"]]
    total = listing.get("count", len(rows))
    if switches.envelope == "items":
        return {"items": rows, "total": total}
    if switches.envelope == "nested":
        return {"data": {"contents": rows, "total_count": total}}
    if switches.envelope == "bare":
        return {"contents": rows}
    return {**listing, "results": rows}


def own_type(literal: str, switches: Switches) -> str | None:
    """The resource type that is meant by a literal of this Orion or by the plain word; None: none."""
    for kind, shown in _LITERALS[switches.literals].items():
        if literal in (kind, shown):
            return kind
    return None


def own_assignment(assignment: object, switches: Switches) -> object:
    """An assignment in the server's own words. Refusal 422 for a literal that no listing shows."""
    if not isinstance(assignment, dict) or not isinstance(assignment.get("resource_type"), str):
        return assignment
    for kind, shown in _LITERALS[switches.literals].items():
        if shown == assignment["resource_type"]:
            return {**assignment, "resource_type": kind}
    raise invalid(f"there is no resource type {assignment['resource_type']!r}", "bad_type")


def own_item(item: Json, switches: Switches) -> Json:
    """An item of get_paths in the server's own words; an unknown type stays as it is."""
    literal = item.get("resource_type")
    return (
        {**item, "resource_type": own_type(literal, switches) or literal}
        if isinstance(literal, str)
        else item
    )
