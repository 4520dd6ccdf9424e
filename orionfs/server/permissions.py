"""Who may do what with which resource: the one place that decides, asked by everything that has a route.

Three things grant: the place (realm) a resource lies in, being its owner, and shares. Folders know the
first only; a shard has the permissions of its collection. A place or an owner grants everything, a share
grants its set. Functions over a connection inside a transaction; whole listings ask by one condition in
SQL (`readable_sql`), never once per row.
"""

from __future__ import annotations

import json
from enum import Flag
from typing import Any

from orionfs.server.paths import Caller, Kind
from orionfs.server.problems import Refusal, denied
from orionfs.server.store import Connection, Row


class Permission(Flag):
    """What may be done; the values are kept in the data folder."""

    READ = 1
    WRITE = 2
    DELETE = 4
    SHARE = 8


NOTHING = Permission(0)
EVERYTHING = Permission.READ | Permission.WRITE | Permission.DELETE | Permission.SHARE
_REFUSALS = {
    Permission.READ: "you may not read this",
    Permission.WRITE: "you may not change anything here",
    Permission.DELETE: "you may not delete this",
    Permission.SHARE: "you may not share this",
}


def need(connection: Connection, caller: Caller, record: Row, permission: Permission) -> None:
    """Refusal 403 unless the caller has all of `permission` on the resource of this record.

    The record has id, kind, realm, owner and collection, as `RECORD_COLUMNS` has.
    """
    missing = (permission | Permission.READ) & ~granted(connection, caller, record)
    if missing:
        raise _denial(missing)


def granted(connection: Connection, caller: Caller, record: Row) -> Permission:
    """All that the caller may do with the resource of this record."""
    if record["kind"] == Kind.FOLDER.value:
        return granted_at(caller, record["realm"])
    if record["realm"] in caller.writable:
        return EVERYTHING
    number, owner = record["id"], record["owner"]
    if record["collection"] is not None:
        number = record["collection"]
        owner = connection.execute("SELECT owner FROM resource WHERE id = ?", (number,)).fetchone()["owner"]
    return EVERYTHING if owner == caller.user.id else _shared(connection, caller, number)


def need_at(caller: Caller, realm: str, permission: Permission) -> None:
    """Refusal 403 unless the caller has all of `permission` at the places of a realm."""
    missing = (permission | Permission.READ) & ~granted_at(caller, realm)
    if missing:
        raise _denial(missing)


def granted_at(caller: Caller, realm: str) -> Permission:
    """All that the caller may do at the places of a realm, with folders and whatever lies in them."""
    if realm in caller.writable:
        return EVERYTHING
    return Permission.READ if realm in caller.readable else NOTHING


def readable_sql(caller: Caller, table: str = "r") -> tuple[str, dict[str, Any]]:
    """What holds for every resource, shards aside, that the caller may read: a condition, its values.

    `table` names the row of `resource` in question.
    """
    condition = (
        f"({table}.realm IN (SELECT value FROM json_each(:realms))"
        f" OR {table}.kind != '{Kind.FOLDER.value}' AND {table}.owner = :me"
        f" OR {table}.kind != '{Kind.FOLDER.value}' AND {table}.id IN ({_SHARED_WITH_CALLER}))"
    )
    return condition, {"realms": json.dumps(sorted(caller.readable)), **_holders(caller)}


_HELD_BY_CALLER = (
    "(s.holder_kind = 'user' AND s.holder = :me"
    " OR s.holder_kind = 'project' AND s.holder IN (SELECT value FROM json_each(:projects)))"
)
_SHARED_WITH_CALLER = f"SELECT s.resource FROM share s WHERE {_HELD_BY_CALLER}"


def _holders(caller: Caller) -> dict[str, Any]:
    return {"me": caller.user.id, "projects": json.dumps(sorted(caller.user.project_ids))}


def _shared(connection: Connection, caller: Caller, resource_id: int) -> Permission:
    found = connection.execute(
        f"SELECT s.permissions FROM share s WHERE s.resource = :resource AND {_HELD_BY_CALLER}",
        {"resource": resource_id, **_holders(caller)},
    )
    permissions = NOTHING
    for (bits,) in found:
        permissions |= Permission(bits)
    return permissions


def _denial(missing: Permission) -> Refusal:
    """Whoever may not even read is told so, whatever was to be done."""
    return denied(next(text for permission, text in _REFUSALS.items() if permission in missing))
