"""Workfloes: specifications of what could be run, with a title, a state and a UUID; nothing runs here.

A workfloe is a resource of a project that lies in no folder: its members read and change it. Functions
over a connection inside a transaction.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from typing import Any

from orionfs.server.files import existing, get_item, get_item_to_change, purge, set_description
from orionfs.server.filters import ORDER_COLUMNS, Selection
from orionfs.server.marks import NO_TAGS, Tags, mark_new, tags_of
from orionfs.server.paths import Caller, Kind, check_item_name, team_realm
from orionfs.server.permissions import Permission, need, need_at, readable_sql
from orionfs.server.problems import invalid
from orionfs.server.rows import RECORD_COLUMNS, Json
from orionfs.server.store import Connection, Row, new_id
from orionfs.server.tree import Rules

STATES = ("ready", "deprecated")
_WORKFLOE = Kind.WORKFLOE.value
_COLUMNS = ("id", "name", "kind", "state", "owner", "project")


def create(connection: Connection, caller: Caller, body: Json, rules: Rules) -> Json:
    """A new workfloe in the session's project. Refusal 422."""
    realm = team_realm(caller.project_id)
    need_at(caller, realm, Permission.WRITE)
    title = check_item_name(body.get("title"), slash_allowed=True)
    name = title if body.get("name") is None else check_item_name(body["name"], slash_allowed=True)
    state = STATES[0] if body.get("state") is None else _check_state(body["state"])
    values = (_check_uuid(body.get("uuid")), title, _check_specification(body.get("specification")))
    number = new_id(connection)
    connection.execute(
        "INSERT INTO resource (id, kind, name, realm, created, owner, project, state)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (number, _WORKFLOE, name, realm, rules.clock.now(), caller.user.id, caller.project_id, state),
    )
    connection.execute(
        "INSERT INTO workfloe (resource, uuid, title, specification) VALUES (?, ?, ?, ?)", (number, *values)
    )
    mark_new(connection, caller, number)
    if body.get("description") is not None:
        set_description(connection, number, body["description"])
    return _row(connection, existing(connection, number))


def get(connection: Connection, caller: Caller, number: int) -> Json:
    """The complete row of a workfloe. Refusal 404, 403."""
    return _row(connection, get_item(connection, caller, Kind.WORKFLOE, number))


def update(connection: Connection, caller: Caller, number: int, changes: Json) -> Json:
    """Change title, description and state. Refusal 404, 403, 422."""
    get_item_to_change(connection, caller, Kind.WORKFLOE, number)
    unknown = set(changes) - {"title", "description", "state"}
    if unknown:
        raise invalid(f"these can't be changed: {sorted(unknown)}")
    if "title" in changes:
        title = check_item_name(changes["title"], slash_allowed=True)
        connection.execute("UPDATE workfloe SET title = ? WHERE resource = ?", (title, number))
    if "state" in changes:
        state = _check_state(changes["state"])
        connection.execute("UPDATE resource SET state = ? WHERE id = ?", (state, number))
    if "description" in changes:
        set_description(connection, number, changes["description"])
    return _row(connection, existing(connection, number))


def delete(connection: Connection, caller: Caller, number: int, rules: Rules) -> None:
    """Forget a workfloe. Refusal 404, 403."""
    record = get_item(connection, caller, Kind.WORKFLOE, number)
    need(connection, caller, record, Permission.DELETE)
    purge(connection, [number], rules)


def list_workfloes(
    connection: Connection, caller: Caller, selection: Selection, title: str | None, identity: str | None
) -> tuple[int, list[Json]]:
    """Total and one page of the workfloes that the caller may read, without their specifications.

    A `title` is a part of it, whatever the case; so is the name among the filters; `identity` is a UUID.
    """
    filters = selection.filters
    if filters.name is not None:
        filters = replace(filters, name=None, name_contains=filters.name_contains or filters.name)
    conditions, values = filters.conditions({**{c: f"r.{c}" for c in _COLUMNS}, "path": "r.name"})
    readable, more = readable_sql(caller)
    conditions += [f"r.kind = '{_WORKFLOE}'", readable]
    values |= more
    for condition, name, value in (
        ("instr(casefold(w.title), casefold(:title)) > 0", "title", title),
        ("w.uuid = :uuid", "uuid", identity),
    ):
        if value is not None:
            conditions.append(condition)
            values[name] = value
    chosen = f"FROM resource r JOIN workfloe w ON w.resource = r.id WHERE {' AND '.join(conditions)}"
    count = connection.execute(f"SELECT count(*) {chosen}", values).fetchone()[0]
    order = selection.order_sql({column: f"r.{column}" for column in ORDER_COLUMNS})
    records = connection.execute(
        f"SELECT {RECORD_COLUMNS}, w.uuid, w.title {chosen} ORDER BY {order} LIMIT :limit OFFSET :offset",
        {**values, "limit": selection.limit, "offset": selection.offset},
    ).fetchall()
    tags = tags_of(connection, [record["id"] for record in records])
    return count, [_row_of(record, record, {}, tags.get(record["id"], NO_TAGS)) for record in records]


def _row(connection: Connection, record: Row) -> Json:
    own = connection.execute("SELECT * FROM workfloe WHERE resource = ?", (record["id"],)).fetchone()
    tags = tags_of(connection, [record["id"]]).get(record["id"], NO_TAGS)
    return _row_of(record, own, json.loads(own["specification"]), tags)


def _row_of(record: Row, own: Row, specification: dict[str, Any], tags: Tags) -> Json:
    return {
        "resource_type": _WORKFLOE,
        "id": record["id"],
        "uuid": own["uuid"],
        "name": record["name"],
        "title": own["title"],
        "description": record["description"],
        "state": record["state"],
        "owner": record["owner"],
        "project": record["project"],
        "created": record["created"],
        "tags": list(tags.by_users),
        "systemtags": list(tags.by_system),
        "specification": specification,
    }


def _check_state(state: object) -> str:
    if not isinstance(state, str) or state not in STATES:
        raise invalid(f"a workfloe is {' or '.join(STATES)}, not {state!r}")
    return state


def _check_uuid(text: object) -> str:
    if text is None:
        return str(uuid.uuid4())
    try:
        return str(uuid.UUID(text if isinstance(text, str) else ""))
    except ValueError as error:
        raise invalid(f"this is no UUID: {text!r}") from error


def _check_specification(specification: object) -> str:
    if specification is None:
        return "{}"
    if not isinstance(specification, dict):
        raise invalid("specification is a JSON object")
    try:
        return json.dumps(specification, allow_nan=False)
    except (ValueError, RecursionError) as error:
        raise invalid("the specification holds what is no JSON") from error
