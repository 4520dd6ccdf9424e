"""Listings of resources: what lies in a folder, what lies below it, all of one type.

One query counts, one fetches a page, one the tags and one the paths of its rows: never one per row.
What is shown follows the moment of `Rules.visible_at`, and only what the caller may read is chosen.
Functions over a connection inside a transaction.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from orionfs.server.filters import ORDER_COLUMNS, Deletion, Filters, Selection
from orionfs.server.paths import Caller, Kind, is_listing_only, join_path, split_path
from orionfs.server.permissions import Permission, granted_at, readable_sql
from orionfs.server.problems import bad_request, not_found
from orionfs.server.rows import STATE_SQL, Json, make_rows, record_columns
from orionfs.server.store import Connection, Row
from orionfs.server.tree import SHOWN, Place, Rules, find, root_place, walk

_FOLDER = Kind.FOLDER.value
_OF_RESOURCE = {
    **{column: f"r.{column}" for column in ("id", "name", "folder", "kind", "owner", "project")},
    "state": STATE_SQL,
}
_OF_PLACEMENT = {**_OF_RESOURCE, "id": "p.resource", "name": "p.name", "folder": "p.folder", "kind": "p.kind"}
# Every folder with its path ('' for the root), those that are deleted too.
_ALL_FOLDERS = f"""folders (id, path) AS (
    SELECT :root, '' UNION ALL
    SELECT o.id, f.path || '/' || o.name FROM folders f JOIN resource o
    ON o.folder = f.id AND o.kind = '{_FOLDER}')"""
_SHOWN_BELOW = f"""below (id) AS (
    SELECT :folder UNION ALL
    SELECT p.resource FROM below b JOIN placement p
    ON p.folder = b.id AND p.kind = '{_FOLDER}' AND {SHOWN})"""
_ALL_BELOW = f"""below (id) AS (
    SELECT :folder UNION ALL
    SELECT o.id FROM below b JOIN resource o ON o.folder = b.id AND o.kind = '{_FOLDER}')"""


@dataclass(frozen=True, slots=True)
class _Source:
    """Rows to choose from, as SQL: `resource r`, or `placement p` where what is shown counts."""

    columns: Mapping[str, str]
    tables: str
    conditions: tuple[str, ...]
    values: Mapping[str, Any]
    recursions: tuple[str, ...] = ()


def ls(
    connection: Connection, caller: Caller, path: object, selection: Selection, rules: Rules
) -> tuple[int, list[Json]]:
    """Total and one page of a folder, or with `search` of all below it.

    Refusal 404 for what is absent or may not be read, 400 for items.
    """
    names, at = split_path(path), rules.visible_at()
    places = walk(connection, names, at)
    if Permission.READ not in granted_at(caller, places[-1].realm):
        raise not_found(f"there is no folder {path}")
    if len(places) <= len(names):
        find(connection, caller, names, rules, at)
        raise bad_request(f"{path} is no folder", "not_a_folder")
    source = _in_folder(caller, places[-1], selection.filters, at)
    count, records = _page(connection, _chosen(connection, source, selection), selection)
    paths = {places[-1].id: join_path(names)} if selection.filters.search is None else None
    return count, make_rows(connection, records, is_complete=False, paths=paths)


def list_items(
    connection: Connection, caller: Caller, kind: Kind, selection: Selection
) -> tuple[int, list[Json]]:
    """Total and one page of all items of a kind that the caller may read, in any state."""
    readable, values = readable_sql(caller)
    deletion, more = selection.filters.deletion_condition("r.deleted")
    source = _Source(
        _OF_RESOURCE,
        "resource r",
        ("r.kind = :kind", deletion, readable),
        {"kind": kind.value, **values, **more},
    )
    count, records = _page(connection, _chosen(connection, source, selection), selection)
    return count, make_rows(connection, records, is_complete=False)


def _in_folder(caller: Caller, folder: Place, filters: Filters, at: float) -> _Source:
    """What is in a folder or, with `search`, below it: what is shown there, or deleted items."""
    columns, tables, conditions = _OF_PLACEMENT, "placement p", [SHOWN]
    values: dict[str, Any] = {"folder": folder.id, "at": at}
    if filters.deletion is not Deletion.ALIVE:
        columns, tables = _OF_RESOURCE, "resource r"
        deletion, values_of_deletion = filters.deletion_condition("r.deleted")
        conditions = [deletion, f"r.kind != '{_FOLDER}'"]
        values |= values_of_deletion
    elif filters.search is not None or not filters.is_about_names_only:
        tables = _PLACED
    is_deep = filters.search is not None
    conditions.append(f"{columns['folder']} " + ("IN (SELECT id FROM below)" if is_deep else "= :folder"))
    if is_deep:
        readable, values_of_caller = readable_sql(caller)
        conditions.append(readable)
        values |= values_of_caller
    elif is_listing_only(folder.realm):
        conditions.append(_LEADS_TO_READABLE.format(columns["id"]))
        values["realms"] = json.dumps(sorted(caller.readable))
    below = _SHOWN_BELOW if filters.deletion is Deletion.ALIVE else _ALL_BELOW
    return _Source(columns, tables, tuple(conditions), values, (below,) if is_deep else ())


_PLACED = "placement p JOIN resource r ON r.id = p.resource"
_LEADS_TO_READABLE = (
    "{} IN (SELECT o.id FROM resource o WHERE o.folder = :folder"
    " AND o.realm IN (SELECT value FROM json_each(:realms)))"
)


def _chosen(connection: Connection, source: _Source, selection: Selection) -> _Source:
    """What of a source fulfils the filters, joined with whatever the order needs."""
    filters, tables, recursions = selection.filters, source.tables, source.recursions
    values = dict(source.values)
    # Only these two orders need more of each candidate than the index of its folder holds.
    if tables == "placement p" and selection.order_column in ("created", "size"):
        tables = _PLACED
    if filters.path_contains is not None:
        tables += f" JOIN folders f ON f.id = {source.columns['folder']}"
        recursions = (*recursions, _ALL_FOLDERS)
        values["root"] = root_place(connection).id
    columns = {**source.columns, "path": f"f.path || '/' || {source.columns['name']}"}
    conditions, more = filters.conditions(columns)
    return replace(
        source,
        tables=tables,
        conditions=(*source.conditions, *conditions),
        values={**values, **more},
        recursions=recursions,
    )


def _page(connection: Connection, source: _Source, selection: Selection) -> tuple[int, list[Row]]:
    recursive = f"WITH RECURSIVE {', '.join(source.recursions)} " if source.recursions else ""
    chosen = f"FROM {source.tables} WHERE {' AND '.join(source.conditions)}"
    count = connection.execute(f"{recursive}SELECT count(*) {chosen}", source.values).fetchone()[0]
    columns = source.columns
    inner = selection.order_sql({**{column: f"r.{column}" for column in ORDER_COLUMNS}, **columns})
    outer = selection.order_sql({**{column: f"r.{column}" for column in ORDER_COLUMNS}, "name": "q.name"})
    records = connection.execute(
        f"""{recursive}SELECT {record_columns("q.name", "q.folder")}
            FROM (SELECT {columns["id"]} AS id, {columns["name"]} AS name, {columns["folder"]} AS folder
                  {chosen} ORDER BY {inner} LIMIT :limit OFFSET :offset) q
            JOIN resource r ON r.id = q.id ORDER BY {outer}""",
        {**source.values, "limit": selection.limit, "offset": selection.offset},
    ).fetchall()
    return count, records
