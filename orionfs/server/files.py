"""Files as resources: making them, uploading in parts, completing, changing, deleting.

Functions over a connection inside a transaction; the bytes go through `blobs`, elsewhere. A file is
shown by ls and stat from the moment it is complete, never before.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from orionfs.server.habits import completed_state, refuse_empty
from orionfs.server.marks import mark_new
from orionfs.server.metadata import encode_metadata
from orionfs.server.paths import (
    Caller,
    Kind,
    check_item_name,
    is_unicode,
    join_path,
    project_of_realm,
    user_realm,
)
from orionfs.server.permissions import Permission, need, need_at
from orionfs.server.problems import Refusal, conflict, invalid, not_found, too_large
from orionfs.server.removing import move_resource, soft_delete
from orionfs.server.rows import READY, Json, get_record, make_rows
from orionfs.server.store import Connection, Row, new_id
from orionfs.server.tree import (
    Place,
    Rules,
    find_folder,
    name_is_taken,
    place_resource,
    unplace_resource,
)
from orionfs.server.uploads import (
    Upload,
    check_part_count,
    forget_shard_upload,
    need_all_parts,
    upload_of_file,
)

_DESCRIPTION_MAX = 65536


@dataclass(frozen=True, slots=True)
class NewFile:
    """Where a new file goes, checked."""

    name: str
    place: Place
    project_id: int | None


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
    need_at(caller, place.realm, Permission.WRITE)
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
    mark_new(connection, caller, number)
    if state != "created":
        place_resource(connection, number, kind, new.place.id, new.name)
    return existing(connection, number)


def existing(connection: Connection, resource_id: object) -> Row:
    """The record of a resource that is known to be there."""
    record = get_record(connection, resource_id)
    if record is None:
        raise not_found(f"there is no resource {resource_id}")
    return record


def get_item(
    connection: Connection, caller: Caller, kind: Kind, item_id: int, *, with_deleted: bool = False
) -> Row:
    """The record of an item of this kind that the caller may read. Refusal 404, 403."""
    record = get_record(connection, item_id)
    if record is None or record["kind"] != kind.value:
        raise not_found(f"there is no {kind.value} {item_id}")
    need(connection, caller, record, Permission.READ)
    if record["deleted"] and not with_deleted:
        raise not_found(f"{kind.value} {item_id} is deleted", "deleted")
    return record


def get_item_to_change(connection: Connection, caller: Caller, kind: Kind, item_id: int) -> Row:
    """The record of an item of this kind that the caller may change. Refusal 404, 403."""
    record = get_item(connection, caller, kind, item_id)
    need(connection, caller, record, Permission.WRITE)
    return record


def get_upload(connection: Connection, caller: Caller, file_id: int) -> Upload:
    """The upload of a file that the caller may change. Refusal 404, 403, 409 for one without parts."""
    return _upload_of(get_item_to_change(connection, caller, Kind.FILE, file_id))


def _upload_of(record: Row) -> Upload:
    upload = upload_of_file(record)
    if upload is None:
        raise conflict(f"file {record['id']} was not uploaded in parts", "complete")
    return upload


def check_size(size: object, rules: Rules) -> int:
    """`size` as the length of a file. Refusal 422, 413."""
    if type(size) is not int or size < 0:
        raise invalid("size is a whole number of bytes")
    refuse_empty(size, rules.switches)
    if size > rules.switches.upload_max_bytes:
        raise too_large(f"files have at most {rules.switches.upload_max_bytes} bytes")
    return size


def complete(
    connection: Connection, caller: Caller, file_id: int, parts: object, size: object, rules: Rules
) -> Json:
    """Make an upload a file that everybody sees; harmless when it is one already. Refusal 409, 413, 422.

    `size` is asked of one that was begun without, and has to be the right one where it is told.
    """
    record = get_item_to_change(connection, caller, Kind.FILE, file_id)
    upload = _upload_of(record)
    if upload.size_bytes is None:
        upload = replace(upload, size_bytes=check_size(size, rules))
    elif size is not None and size != upload.size_bytes:
        raise conflict(f"{upload.owner} has {upload.size_bytes} bytes, not {size!r}", "parts_missing")
    check_part_count(upload, parts)
    if not upload.is_complete:
        need_all_parts(connection, upload)
        refuse_duplicate(connection, record["folder"], record["name"], rules)
        connection.execute(
            "UPDATE resource SET state = ?, size = ? WHERE id = ?",
            (completed_state(rules.switches), upload.size_bytes, file_id),
        )
        connection.execute("DELETE FROM part WHERE resource = ?", (file_id,))
        place_resource(connection, file_id, Kind.FILE, record["folder"], record["name"])
    return make_rows(connection, [existing(connection, file_id)])[0]


def update(
    connection: Connection, caller: Caller, kind: Kind, item_id: int, changes: Json, rules: Rules
) -> Json:
    """Change name and description, and of a collection its metadata. Refusal 404, 403, 409, 422."""
    record = get_item_to_change(connection, caller, kind, item_id)
    known = {"name", "description"} | ({"metadata"} if kind is Kind.COLLECTION else set())
    unknown = set(changes) - known
    if unknown:
        raise invalid(f"these can't be changed: {sorted(unknown)}")
    if "name" in changes:
        name = check_item_name(changes["name"], slash_allowed=rules.switches.is_on("slash_in_names"))
        refuse_duplicate(connection, record["folder"], name, rules, besides=item_id)
        place = Place(record["folder"], record["realm"], False)
        move_resource(connection, record, place, name, rules, time.time())
    if "description" in changes:
        set_description(connection, item_id, changes["description"])
    if "metadata" in changes:
        set_metadata(connection, item_id, changes["metadata"])
    return make_rows(connection, [existing(connection, item_id)])[0]


def set_description(connection: Connection, item_id: int, description: object) -> None:
    """Describe an item. Refusal 422."""
    if not isinstance(description, str) or len(description) > _DESCRIPTION_MAX or not is_unicode(description):
        raise invalid(f"description is a text of at most {_DESCRIPTION_MAX} characters")
    connection.execute("UPDATE resource SET description = ? WHERE id = ?", (description, item_id))


def set_metadata(connection: Connection, resource_id: int, metadata: object) -> None:
    """Give a collection or a shard its metadata. Refusal 422."""
    connection.execute(
        "UPDATE resource SET metadata = ? WHERE id = ?", (encode_metadata(metadata), resource_id)
    )


def delete(
    connection: Connection, caller: Caller, record: Row, rules: Rules, *, immediate: bool
) -> list[str]:
    """Delete an item: softly, or for good with `immediate`. Returns the keys of blobs to be removed."""
    need(connection, caller, record, Permission.DELETE)
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
            keys += forget_shard_upload(connection, shard_id)
            unplace_resource(connection, shard_id, rules, time.time())
            for table, column in (
                ("placement", "resource"),
                ("part", "resource"),
                ("tag", "resource"),
                ("share", "resource"),
                ("record_mark", "dataset"),
                ("workfloe", "resource"),
                ("resource", "id"),
            ):
                connection.execute(f"DELETE FROM {table} WHERE {column} = ?", (shard_id,))
            keys.append(key)
    return [key for key in keys if key is not None]


def need_ready(record: Row) -> Row:
    """The record of something whose contents can be read. Refusal 409."""
    if record["state"] != READY:
        raise Refusal(409, "not_ready", f"{record['kind']} {record['id']} is {record['state']}")
    return record
