"""Rows of answers: from SQL records to this project's JSON.

Owns the keys of a row and the envelope of a listing. Used by everything that answers with resources.
One query per page for records, one for tags, one for paths: never one per row.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from orionfs.server.filters import Query, Selection
from orionfs.server.marks import NO_TAGS, Tags, tags_of
from orionfs.server.metadata import decode_metadata
from orionfs.server.paths import Kind
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
    f" {STATE_SQL} AS state, r.deleted, r.description, r.display_name, r.collection, r.count"
)


def record_columns(name: str, folder: str) -> str:
    """RECORD_COLUMNS with the name and the folder that are shown, found elsewhere than in `resource`."""
    return RECORD_COLUMNS.replace("r.name,", f"{name} AS name,").replace("r.folder,", f"{folder} AS folder,")


def envelope(base_url: str, query: Query, selection: Selection, count: int, results: list[Json]) -> Json:
    """A page with the total and the URLs of its neighbours."""

    def neighbour(offset: int) -> str:
        kept = [(name, value) for name, value in query if name not in ("limit", "offset")]
        return f"{base_url}?{urlencode([*kept, ('limit', selection.limit), ('offset', offset)])}"

    after = selection.offset + selection.limit
    before = max(0, selection.offset - selection.limit)
    return {
        "count": count,
        "next": neighbour(after) if after < count else None,
        "previous": neighbour(before) if selection.offset > 0 else None,
        "results": results,
    }


def make_row(record: Row, path: str, tags: Tags, *, is_complete: bool = True) -> Json:
    """The JSON row of a resource that is not a shard.

    Rows of listings are not complete: what may be long is told by the resource's own route only.
    """
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
        if is_complete:
            row["description"] = record["description"]
        row |= _row_of_kind(record, is_complete=is_complete)
    elif record["display_name"] is not None:
        row["display_name"] = record["display_name"]
    row["tags"], row["systemtags"] = list(tags.by_users), list(tags.by_system)
    return row


def _row_of_kind(record: Row, *, is_complete: bool) -> Json:
    """What only rows of this kind have; the metadata of a collection where their column was asked for."""
    kind = record["kind"]
    if kind == Kind.DATASET.value:
        return {"count": record["count"], "dirty": record["state"] != "ready"}
    if kind == Kind.COLLECTION.value:
        has_metadata = is_complete and "metadata" in list(record.keys())
        return {"metadata": decode_metadata(record["metadata"])} if has_metadata else {}
    return {"size": record["size"]} if record["size"] is not None else {}


def make_rows(
    connection: Connection,
    records: Sequence[Row],
    *,
    is_complete: bool = True,
    paths: Mapping[int, str] | None = None,
) -> list[Json]:
    """Rows of resources anywhere in the tree; `paths` of their folders are the current ones unless given."""
    if paths is None:
        paths = folder_paths(connection, {record["folder"] for record in records})
    tags = tags_of(connection, [record["id"] for record in records])
    return [
        make_row(
            record,
            path_in(paths.get(record["folder"], ""), record["name"]),
            tags.get(record["id"], NO_TAGS),
            is_complete=is_complete,
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


def get_record(connection: Connection, resource_id: object) -> Row | None:
    """The record of a resource, deleted or not."""
    if not is_sql_id(resource_id):
        return None
    found: Row | None = connection.execute(
        f"SELECT {RECORD_COLUMNS}, r.blob, r.part_bytes, r.is_fixed, r.metadata FROM resource r"
        " WHERE r.id = ?",
        (resource_id,),
    ).fetchone()
    return found
