"""Rows of answers and the reading of listing parameters: from SQL records to this project's JSON.

Owns the keys of a row, the ordering words, limits of pages and the envelope of a listing. Used by
everything that answers with resources. One query per page for records, one for tags, one for paths:
never one per row.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from orionfs.server.paths import Kind
from orionfs.server.problems import bad_request
from orionfs.server.store import Connection, Row, is_sql_id

Json = dict[str, Any]

READY = "ready"
PROCESSING = "processing"
# A file may be stored as "processing <until>": whether it still is, the clock says, and no task has to.
STATE_SQL = f"""CASE WHEN r.state NOT LIKE '{PROCESSING} %' THEN r.state
    WHEN CAST(substr(r.state, {len(PROCESSING) + 2}) AS REAL) > (julianday('now') - 2440587.5) * 86400.0
    THEN '{PROCESSING}' ELSE '{READY}' END"""
RECORD_COLUMNS = (
    "r.id, r.kind, r.name, r.folder, r.realm, r.size, r.created, r.owner, r.project,"
    f" {STATE_SQL} AS state, r.deleted, r.description, r.display_name, r.collection"
)
_ORDER_WORDS = {"id": "id", "name": "name", "created": "created", "size": "size", "type": "kind"}
ORDER_COLUMNS = tuple(_ORDER_WORDS.values())
_LIMIT_DEFAULT = 100
_KINDS = {kind.value for kind in Kind}


@dataclass(frozen=True, slots=True)
class Selection:
    """What a listing asks for: one page, its order, filters."""

    limit: int
    offset: int
    order_by: str
    name: str | None = None
    name_contains: str | None = None
    kinds: tuple[str, ...] | None = None
    state: str | None = None

    def order_sql(self, columns: Mapping[str, str]) -> str:
        """ORDER BY terms; `columns` tells where each ordering column is found."""
        direction = "DESC" if self.order_by.startswith("-") else "ASC"
        column = _ORDER_WORDS[self.order_by.removeprefix("-")]
        terms = [f"{columns[column]} {direction}"]
        if column != "id":
            terms.append(f"{columns['id']} {direction}")
        return ", ".join(terms)

    @property
    def order_column(self) -> str:
        """The column the rows are ordered by."""
        return _ORDER_WORDS[self.order_by.removeprefix("-")]


def parse_selection(query: Mapping[str, str], page_max: int) -> Selection:
    """Selection from query parameters; parameters that are not known are ignored. Refusal 400."""
    order_by = query.get("order_by", "id")
    if order_by.removeprefix("-") not in _ORDER_WORDS:
        raise bad_request(f"order_by can be one of {', '.join(_ORDER_WORDS)}, not {order_by!r}")
    limit = _whole_number(query, "limit", min(_LIMIT_DEFAULT, page_max), smallest=1)
    types = query.get("types")
    kinds = None
    if types is not None:
        kinds = tuple(filter(None, types.split(",")))
        if not kinds or not set(kinds) <= _KINDS:
            raise bad_request(f"types is a list of resource types: {types!r}")
    return Selection(
        min(limit, page_max),
        _whole_number(query, "offset", 0, smallest=0),
        order_by,
        query.get("name"),
        query.get("name_contains"),
        kinds,
        query.get("state"),
    )


def _whole_number(query: Mapping[str, str], name: str, default: int, smallest: int) -> int:
    text = query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 18 and int(text) >= smallest):
        raise bad_request(f"{name} is a whole number of at least {smallest}: {text!r}")
    return int(text)


def envelope(
    base_url: str, query: Mapping[str, str], selection: Selection, count: int, results: list[Json]
) -> Json:
    """A page with the total and the URLs of its neighbours."""

    def neighbour(offset: int) -> str:
        changed = {**query, "limit": str(selection.limit), "offset": str(offset)}
        return f"{base_url}?{urlencode(changed)}"

    after = selection.offset + selection.limit
    before = max(0, selection.offset - selection.limit)
    return {
        "count": count,
        "next": neighbour(after) if after < count else None,
        "previous": neighbour(before) if selection.offset > 0 else None,
        "results": results,
    }


def make_row(record: Row, path: str, tags: Iterable[str]) -> Json:
    """The JSON row of a resource that is not a shard."""
    kind = record["kind"]
    row: Json = {
        "resource_type": kind,
        "id": record["id"],
        "name": record["name"],
        "path": path,
        "created": record["created"],
        "owner": record["owner"],
        "project": record["project"],
    }
    if kind != Kind.FOLDER.value:
        row["state"] = record["state"]
        row["deleted"] = record["deleted"]
        row["description"] = record["description"]
        if record["size"] is not None:
            row["size"] = record["size"]
    elif record["display_name"] is not None:
        row["display_name"] = record["display_name"]
    row["tags"] = list(tags)
    return row


def make_rows(connection: Connection, records: Sequence[Row]) -> list[Json]:
    """Rows of resources anywhere in the tree, at their current paths."""
    folders = folder_paths(connection, {record["folder"] for record in records})
    tags = tags_of(connection, [record["id"] for record in records])
    return [
        make_row(
            record,
            path_in(folders.get(record["folder"], ""), record["name"]),
            tags.get(record["id"], ()),
        )
        for record in records
    ]


def path_in(folder_path: str, name: str) -> str:
    """Path of what is called `name` in the folder of this path."""
    return folder_path + name if folder_path.endswith("/") else f"{folder_path}/{name}"


def folder_paths(connection: Connection, folder_ids: Iterable[int | None]) -> dict[int, str]:
    """Current paths of these folders; those that are gone are left out."""
    found = connection.execute(
        """WITH RECURSIVE up (start, above, path) AS (
               SELECT id, folder, name FROM resource WHERE id IN (SELECT value FROM json_each(?))
               UNION ALL
               SELECT up.start, r.folder, r.name || '/' || up.path
               FROM up JOIN resource r ON r.id = up.above)
           SELECT start, path FROM up WHERE above IS NULL""",
        (json.dumps([number for number in folder_ids if number is not None]),),
    )
    return {row["start"]: row["path"] or "/" for row in found}


def tags_of(connection: Connection, resource_ids: Sequence[int]) -> dict[int, list[str]]:
    """Names of tags per resource; resources without tags are left out."""
    tags: dict[int, list[str]] = {}
    found = connection.execute(
        "SELECT resource, name FROM tag WHERE resource IN (SELECT value FROM json_each(?))"
        " ORDER BY resource, name",
        (json.dumps(list(resource_ids)),),
    )
    for number, name in found:
        tags.setdefault(number, []).append(name)
    return tags


def get_record(connection: Connection, resource_id: object) -> Row | None:
    """The record of a resource, deleted or not."""
    if not is_sql_id(resource_id):
        return None
    found: Row | None = connection.execute(
        f"SELECT {RECORD_COLUMNS}, r.blob, r.part_bytes, r.is_fixed FROM resource r WHERE r.id = ?",
        (resource_id,),
    ).fetchone()
    return found
