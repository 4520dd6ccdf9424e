"""Files as resources: making them, uploading in parts, completing, changing, deleting, listing.

Functions over a connection inside a transaction; the bytes go through `blobs`, elsewhere. A file is
shown by ls and stat from the moment it is complete, never before.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

from orionfs.server.habits import completed_state, refuse_empty
from orionfs.server.paths import (
    Caller,
    Kind,
    check_item_name,
    is_unicode,
    join_path,
    project_of_realm,
    user_realm,
)
from orionfs.server.problems import Refusal, bad_request, conflict, invalid, not_found, too_large
from orionfs.server.removing import move_resource, soft_delete
from orionfs.server.rows import (
    ORDER_COLUMNS,
    PROCESSING,
    READY,
    RECORD_COLUMNS,
    STATE_SQL,
    Json,
    Selection,
    get_record,
    make_rows,
)
from orionfs.server.store import Connection, Row, new_id
from orionfs.server.tree import (
    Place,
    Rules,
    find_folder,
    name_is_taken,
    need_read,
    need_write,
    place_resource,
    unplace_resource,
)

_FILE = Kind.FILE.value
_COMPLETE = frozenset({READY, PROCESSING})
_DESCRIPTION_MAX = 65536


@dataclass(frozen=True, slots=True)
class NewFile:
    """Where a new file goes, checked."""

    name: str
    place: Place
    project_id: int | None


@dataclass(frozen=True, slots=True)
class PartTarget:
    """Where the bytes of one part go."""

    key: str
    offset: int
    size_bytes: int


def target_of(
    connection: Connection, caller: Caller, name: object, folder_path: object, project: object, rules: Rules
) -> NewFile:
    """Check name, folder and project of an item to be made. Refusal 422, 404, 403, 409."""
    checked = check_item_name(name, slash_allowed=rules.switches.is_on("slash_in_names"))
    project_id = caller.project_id
    if project is not None:
        project_id = check_project(caller, project)
    if folder_path is None:
        folder_path = join_path(("project", *user_realm(project_id, caller.user.name).split("/")))
    place = find_folder(connection, caller, folder_path)
    need_write(caller, place.realm)
    refuse_duplicate(connection, place.id, checked, rules)
    return NewFile(checked, place, project_of_realm(place.realm) if project is None else project_id)


def check_project(caller: Caller, project: object) -> int:
    """`project` as the id of a project of the caller's. Refusal 422."""
    if type(project) is not int or project not in caller.user.project_ids:
        raise invalid(f"you are in no project {project!r}", "bad_project")
    return project


def refuse_duplicate(
    connection: Connection, folder_id: int, name: str, rules: Rules, besides: int | None = None
) -> None:
    """Refusal 409 when names are unique here and this one is taken."""
    if not rules.switches.is_on("duplicate_names") and name_is_taken(
        connection, folder_id, name, besides=besides
    ):
        raise conflict(f"the name {name!r} is taken", "name_taken")


def insert_item(
    connection: Connection,
    caller: Caller,
    kind: Kind,
    new: NewFile,
    rules: Rules,
    *,
    state: str,
    size: int | None = None,
    key: str | None = None,
    part_bytes: int | None = None,
    created: str | None = None,
) -> Row:
    """A new item; shown at once unless it is an upload that only begins."""
    number = new_id(connection)
    connection.execute(
        "INSERT INTO resource (id, kind, name, folder, realm, size, created, owner, project, state, blob,"
        " part_bytes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            number,
            kind.value,
            new.name,
            new.place.id,
            new.place.realm,
            size,
            created or rules.clock.now(),
            caller.user.id,
            new.project_id,
            state,
            key,
            part_bytes,
        ),
    )
    if state != "created":
        place_resource(connection, number, kind, new.place.id, new.name)
    return existing(connection, number)


def existing(connection: Connection, resource_id: object) -> Row:
    """The record of a resource that is known to be there."""
    record = get_record(connection, resource_id)
    if record is None:
        raise not_found(f"there is no resource {resource_id}")
    return record


def get_file(connection: Connection, caller: Caller, file_id: int, *, with_deleted: bool = False) -> Row:
    """The record of a file that the caller may read. Refusal 404, 403."""
    record = get_record(connection, file_id)
    if record is None or record["kind"] != _FILE:
        raise not_found(f"there is no file {file_id}")
    need_read(caller, record["realm"])
    if record["deleted"] and not with_deleted:
        raise not_found(f"file {file_id} is deleted", "deleted")
    return record


def get_file_to_change(connection: Connection, caller: Caller, file_id: int) -> Row:
    """The record of a file that the caller may change. Refusal 404, 403."""
    record = get_file(connection, caller, file_id)
    need_write(caller, record["realm"])
    return record


def check_size(size: object, rules: Rules) -> int:
    """`size` as the length of a file. Refusal 422, 413."""
    if type(size) is not int or size < 0:
        raise invalid("size is a whole number of bytes")
    refuse_empty(size, rules.switches)
    if size > rules.switches.upload_max_bytes:
        raise too_large(f"files have at most {rules.switches.upload_max_bytes} bytes")
    return size


def part_count(record: Row) -> int:
    """How many parts an upload has: none for an empty file."""
    return -(-int(record["size"]) // int(record["part_bytes"]))


def part_numbers(record: Row, numbers: object) -> list[int]:
    """Checked part numbers of an upload. Refusal 409 when it is complete, 422."""
    if record["state"] in _COMPLETE:
        raise conflict(f"file {record['id']} is complete", "complete")
    if not isinstance(numbers, list) or not all(type(number) is int for number in numbers):
        raise invalid("numbers is a list of whole numbers")
    if not all(1 <= number <= part_count(record) for number in numbers):
        raise invalid(f"parts have the numbers 1 to {part_count(record)}")
    return numbers


def begin_part(connection: Connection, file_id: int, number: int) -> PartTarget:
    """Where part `number` goes; it counts as missing until `end_part`. Refusal 404, 409."""
    record = get_record(connection, file_id)
    if record is None or record["kind"] != _FILE or record["deleted"]:
        raise not_found(f"there is no upload {file_id}")
    part_numbers(record, [number])
    offset = (number - 1) * record["part_bytes"]
    connection.execute("DELETE FROM part WHERE resource = ? AND number = ?", (file_id, number))
    return PartTarget(record["blob"], offset, min(record["part_bytes"], record["size"] - offset))


def end_part(connection: Connection, file_id: int, number: int, size_bytes: int) -> None:
    """Part `number` is on disk. Refusal 404, 409 when the upload ended meanwhile."""
    record = get_record(connection, file_id)
    if record is None or record["deleted"]:
        raise not_found(f"there is no upload {file_id}")
    part_numbers(record, [number])
    connection.execute("INSERT OR REPLACE INTO part VALUES (?, ?, ?)", (file_id, number, size_bytes))
    connection.execute(
        "UPDATE resource SET state = 'uploading' WHERE id = ? AND state = 'created'", (file_id,)
    )


def complete(connection: Connection, caller: Caller, file_id: int, parts: object, rules: Rules) -> Json:
    """Make an upload a file that everybody sees; harmless when it is one already. Refusal 409, 422."""
    record = get_file_to_change(connection, caller, file_id)
    if type(parts) is not int:
        raise invalid("parts is the number of parts")
    if record["part_bytes"] is None:
        raise conflict(f"file {file_id} was not uploaded in parts", "complete")
    if parts != part_count(record):
        raise conflict(f"file {file_id} has {part_count(record)} parts, not {parts}", "parts_missing")
    if record["state"] not in _COMPLETE:
        received = connection.execute(
            "SELECT count(*), coalesce(sum(size), 0) FROM part WHERE resource = ?", (file_id,)
        ).fetchone()
        if tuple(received) != (parts, record["size"]):
            raise conflict(
                f"{received[0]} of {parts} parts with {received[1]} of {record['size']} bytes have arrived",
                "parts_missing",
            )
        refuse_duplicate(connection, record["folder"], record["name"], rules)
        connection.execute(
            "UPDATE resource SET state = ? WHERE id = ?", (completed_state(rules.switches), file_id)
        )
        connection.execute("DELETE FROM part WHERE resource = ?", (file_id,))
        place_resource(connection, file_id, Kind.FILE, record["folder"], record["name"])
    return make_rows(connection, [existing(connection, file_id)])[0]


def update(connection: Connection, caller: Caller, file_id: int, changes: Json, rules: Rules) -> Json:
    """Change name and description. Refusal 404, 403, 409, 422."""
    record = get_file_to_change(connection, caller, file_id)
    unknown = set(changes) - {"name", "description"}
    if unknown:
        raise invalid(f"these can't be changed: {sorted(unknown)}")
    if "name" in changes:
        name = check_item_name(changes["name"], slash_allowed=rules.switches.is_on("slash_in_names"))
        refuse_duplicate(connection, record["folder"], name, rules, besides=file_id)
        place = Place(record["folder"], record["realm"], False)
        move_resource(connection, record, place, name, rules, time.time())
    if "description" in changes:
        description = changes["description"]
        if (
            not isinstance(description, str)
            or len(description) > _DESCRIPTION_MAX
            or not is_unicode(description)
        ):
            raise invalid(f"description is a text of at most {_DESCRIPTION_MAX} characters")
        connection.execute("UPDATE resource SET description = ? WHERE id = ?", (description, file_id))
    return make_rows(connection, [existing(connection, file_id)])[0]


def delete(
    connection: Connection, caller: Caller, record: Row, rules: Rules, *, immediate: bool
) -> list[str]:
    """Delete an item: softly, or for good with `immediate`. Returns the keys of blobs to be removed."""
    need_write(caller, record["realm"])
    if record["state"] in ("created", "uploading"):
        immediate = True
    if not immediate:
        if record["deleted"]:
            raise not_found(f"{record['kind']} {record['id']} is deleted", "deleted")
        soft_delete(connection, record["id"], rules, time.time())
        return []
    return purge(connection, [record["id"]], rules)


def purge(connection: Connection, resource_ids: list[int], rules: Rules) -> list[str]:
    """Forget resources and their shards altogether. Returns the keys of blobs to be removed."""
    keys = []
    for number in resource_ids:
        shards = connection.execute(
            "SELECT id, blob FROM resource WHERE id = ? OR collection = ?", (number, number)
        ).fetchall()
        for shard_id, key in shards:
            unplace_resource(connection, shard_id, rules, time.time())
            for table, column in (
                ("placement", "resource"),
                ("part", "resource"),
                ("tag", "resource"),
                ("resource", "id"),
            ):
                connection.execute(f"DELETE FROM {table} WHERE {column} = ?", (shard_id,))
            keys.append(key)
    return [key for key in keys if key is not None]


def list_files(connection: Connection, caller: Caller, selection: Selection) -> tuple[int, list[Json]]:
    """Total and one page of all files that the caller may read and that are not deleted."""
    if selection.state is not None and selection.state not in (*_COMPLETE, "created", "uploading"):
        raise bad_request(f"state can't be {selection.state!r}")
    conditions = [
        f"r.kind = '{_FILE}'",
        "r.deleted IS NULL",
        "r.realm IN (SELECT value FROM json_each(:realms))",
    ]
    values: dict[str, Any] = {
        "realms": json.dumps(sorted(caller.readable)),
        "limit": selection.limit,
        "offset": selection.offset,
    }
    for condition, name, value in (
        ("r.name = :name", "name", selection.name),
        ("instr(r.name, :part) > 0", "part", selection.name_contains or None),
        (f"{STATE_SQL} = :state", "state", selection.state),
    ):
        if value is not None:
            conditions.append(condition)
            values[name] = value
    where = f"FROM resource r WHERE {' AND '.join(conditions)}"
    count = connection.execute(f"SELECT count(*) {where}", values).fetchone()[0]
    order = selection.order_sql({column: f"r.{column}" for column in ORDER_COLUMNS})
    records = connection.execute(
        f"SELECT {RECORD_COLUMNS} {where} ORDER BY {order} LIMIT :limit OFFSET :offset", values
    ).fetchall()
    return count, make_rows(connection, records)


def need_ready(record: Row) -> Row:
    """The record of something whose contents can be read. Refusal 409."""
    if record["state"] != READY:
        raise Refusal(409, "not_ready", f"{record['kind']} {record['id']} is {record['state']}")
    return record
