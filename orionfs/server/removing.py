"""Removing by path and moving with assign: the two changes that concern many resources at once.

Each call is one transaction of its caller: all of it happens or nothing. Items are only marked as
deleted (soft); folders are gone.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from orionfs.server.paths import (
    Caller,
    Kind,
    check_folder_name,
    check_item_name,
    join_path,
    project_of_realm,
    split_path,
)
from orionfs.server.permissions import Permission, need, need_at
from orionfs.server.problems import bad_request, conflict, denied, invalid, not_found
from orionfs.server.rows import get_record
from orionfs.server.store import LATEST, Connection, Row
from orionfs.server.tree import (
    Place,
    Rules,
    equals_of,
    find,
    find_folder,
    name_is_taken,
    place_resource,
    unplace_resource,
)

_FOLDER = Kind.FOLDER.value
_BELOW = """WITH RECURSIVE below (id) AS (
    SELECT ? UNION ALL SELECT r.id FROM resource r JOIN below b ON r.folder = b.id)"""


def remove_paths(connection: Connection, caller: Caller, paths: Sequence[object], rules: Rules) -> None:
    """Remove folders and items, all or none. Refusal 404, 403, 409 "not_empty"."""
    at = time.time()
    for path in paths:
        names = split_path(path)
        found = find(connection, caller, names, rules)
        also_meant = equals_of(connection, found) if rules.switches.remove_equal == "all" else []
        for record in (found, *also_meant):
            _remove(connection, caller, record, join_path(names), rules, at)


def _remove(connection: Connection, caller: Caller, record: Row, path: str, rules: Rules, at: float) -> None:
    if record["is_fixed"]:
        raise denied(f"{path} can't be removed", "fixed_folder")
    need(connection, caller, record, Permission.DELETE)
    if record["kind"] == _FOLDER:
        _remove_folder(connection, record["id"], path, rules, at)
    else:
        soft_delete(connection, record["id"], rules, at)


def soft_delete(connection: Connection, resource_id: int, rules: Rules, at: float) -> None:
    """Mark an item as deleted and show it no longer; its contents are kept."""
    connection.execute("UPDATE resource SET deleted = ? WHERE id = ?", (rules.clock.now(), resource_id))
    unplace_resource(connection, resource_id, rules, at)


def _remove_folder(connection: Connection, folder_id: int, path: str, rules: Rules, at: float) -> None:
    is_empty = (
        connection.execute(
            "SELECT 1 FROM placement WHERE folder = ? AND hidden_from > ? LIMIT 1", (folder_id, LATEST)
        ).fetchone()
        is None
    )
    if not is_empty and not rules.switches.is_on("remove_recursive"):
        raise conflict(f"{path} is not empty", "not_empty")
    below = connection.execute(
        f"{_BELOW} SELECT r.id FROM below JOIN resource r ON r.id = below.id WHERE r.deleted IS NULL",
        (folder_id,),
    ).fetchall()
    for (resource_id,) in below:
        soft_delete(connection, resource_id, rules, at)


def assign(connection: Connection, caller: Caller, assignments: Sequence[object], rules: Rules) -> None:
    """Put resources into folders, under new names where asked: all or none.

    Whether names clash is looked at after the whole batch, so that a batch can swap names.
    """
    at = time.time()
    moved = [_apply(connection, caller, assignment, rules, at) for assignment in assignments]
    for resource_id in moved:
        record = get_record(connection, resource_id)
        if record is not None:
            _refuse_clash(connection, record, rules)


def _apply(connection: Connection, caller: Caller, assignment: object, rules: Rules, at: float) -> int:
    if not isinstance(assignment, dict):
        raise bad_request("an assignment is an object with resource_type, id and path")
    record = find_resource(connection, caller, assignment)
    need(connection, caller, record, Permission.WRITE | Permission.DELETE)
    folder_path, name = _destination(assignment, rules)
    target = find_folder(connection, caller, folder_path)
    need_at(caller, target.realm, Permission.WRITE)
    if record["kind"] == _FOLDER:
        _refuse_folder_move(connection, record, target, rules)
    name = _new_name(record, name, rules)
    move_resource(connection, record, target, name, rules, at)
    return int(record["id"])


def find_resource(
    connection: Connection, caller: Caller, reference: dict[str, Any], *, is_placed: bool = True
) -> Row:
    """The resource of `{"resource_type", "id"}`, not deleted; one that lies in folders unless told otherwise.

    Refusal 400, 404, 403.
    """
    kind, number = reference.get("resource_type"), reference.get("id")
    if not isinstance(kind, str) or type(number) is not int:
        raise bad_request("a resource is named by resource_type (a text) and id (a number)")
    unknown = {Kind.SHARD.value} | ({Kind.WORKFLOE.value} if is_placed else set())
    record = get_record(connection, number)
    if record is None or record["kind"] != kind or record["deleted"] or kind in unknown:
        raise not_found(f"there is no {kind!r} {number}")
    need(connection, caller, record, Permission.READ)
    return record


def _refuse_folder_move(connection: Connection, record: Row, target: Place, rules: Rules) -> None:
    if record["is_fixed"]:
        raise denied("this folder can't be moved", "fixed_folder")
    if not (rules.switches.is_on("folders_assignable") and rules.switches.is_on("folder_ids")):
        raise invalid("folders can't be assigned to paths", "not_assignable")
    is_below = connection.execute(
        f"{_BELOW} SELECT 1 FROM below WHERE id = ?", (record["id"], target.id)
    ).fetchone()
    if is_below:
        raise invalid("a folder can't be moved into itself", "into_itself")


def _destination(assignment: dict[str, Any], rules: Rules) -> tuple[object, object]:
    """Path of the folder and the new name (None: as it was) that an assignment means. Refusal 400."""
    path, name = assignment.get("path"), assignment.get("name")
    if rules.switches.assign_path == "folder":
        return path, name
    names = split_path(path)
    if not names:
        raise bad_request("the path of an assignment ends with the name of what is assigned", "bad_path")
    return join_path(names[:-1]), names[-1] if name is None else name


def _new_name(record: Row, name: object, rules: Rules) -> str:
    if name is None:
        return str(record["name"])
    if record["kind"] == _FOLDER:
        return check_folder_name(name)
    return check_item_name(name, slash_allowed=rules.switches.is_on("slash_in_names"))


def move_resource(
    connection: Connection, record: Row, target: Place, name: str, rules: Rules, at: float
) -> None:
    """Put a resource at a place; whatever else is there stays. Unfinished ones stay invisible."""
    resource_id = record["id"]
    connection.execute(
        "UPDATE resource SET folder = ?, name = ? WHERE id = ?", (target.id, name, resource_id)
    )
    if record["realm"] != target.realm:
        connection.execute(
            f"{_BELOW} UPDATE resource SET realm = ?, project = ? WHERE id IN (SELECT id FROM below)"
            " OR collection IN (SELECT id FROM below)",
            (resource_id, target.realm, project_of_realm(target.realm)),
        )
    is_shown = connection.execute(
        "SELECT 1 FROM placement WHERE resource = ? AND hidden_from > ?", (resource_id, LATEST)
    ).fetchone()
    if is_shown:
        unplace_resource(connection, resource_id, rules, at)
        place_resource(connection, resource_id, Kind(record["kind"]), target.id, name, at)


def _refuse_clash(connection: Connection, record: Row, rules: Rules) -> None:
    folders_only = rules.switches.is_on("duplicate_names")
    if folders_only and record["kind"] != _FOLDER:
        return
    if name_is_taken(
        connection, record["folder"], record["name"], folders_only=folders_only, besides=record["id"]
    ):
        raise conflict(f"the name {record['name']!r} is taken", "name_taken")
