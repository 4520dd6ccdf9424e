"""Collections and their shards: opened and closed, filled, replaced, finished, read.

A shard lies in a collection, not in the tree; its permissions are those of the collection. It is `open`
until it has contents, `temporary` while they may still be replaced, `ready` from its close on. Functions
over a connection inside a transaction; the bytes go through `blobs`, elsewhere.
"""

from __future__ import annotations

from orionfs.server.files import (
    existing,
    get_item,
    get_item_to_change,
    insert_item,
    need_ready,
    purge,
    set_description,
    set_metadata,
    target_of,
)
from orionfs.server.filters import ORDER_COLUMNS, Selection
from orionfs.server.marks import mark_new
from orionfs.server.metadata import decode_metadata
from orionfs.server.paths import Caller, Kind, check_item_name
from orionfs.server.permissions import Permission, need
from orionfs.server.problems import conflict, invalid, not_found, too_large
from orionfs.server.rows import Json, get_record, make_rows
from orionfs.server.store import Connection, Row, new_shard_id
from orionfs.server.tree import Rules
from orionfs.server.uploads import (
    Upload,
    begin_shard_upload,
    check_part_count,
    forget_shard_upload,
    need_all_parts,
    upload_of_shard,
)

OPEN, CLOSED = "open", "close"  # of collections; "open" is the first state of a shard as well
_TEMPORARY, _READY = "temporary", "ready"
_SHARD = Kind.SHARD.value


def create_collection(connection: Connection, caller: Caller, body: Json, rules: Rules) -> Json:
    """A new, open collection. Refusal 422, 404, 403, 409."""
    new = target_of(connection, caller, body.get("name"), body.get("folder_path"), body.get("project"), rules)
    record = insert_item(connection, caller, Kind.COLLECTION, new, rules, state=OPEN)
    set_metadata(connection, record["id"], body.get("metadata"))
    if body.get("description") is not None:
        set_description(connection, record["id"], body["description"])
    return make_rows(connection, [existing(connection, record["id"])])[0]


def set_state(connection: Connection, caller: Caller, collection_id: int, state: str) -> Json:
    """Open or close a collection; harmless when it is so already. Refusal 404, 403."""
    get_item_to_change(connection, caller, Kind.COLLECTION, collection_id)
    connection.execute("UPDATE resource SET state = ? WHERE id = ?", (state, collection_id))
    return make_rows(connection, [existing(connection, collection_id)])[0]


def create_shard(
    connection: Connection, caller: Caller, collection_id: int, body: Json, rules: Rules
) -> Json:
    """A new, open, empty shard. Refusal 404, 403, 422, 409 when the collection is closed."""
    collection = get_item_to_change(connection, caller, Kind.COLLECTION, collection_id)
    _need_open(collection)
    name = check_item_name(body.get("name"), slash_allowed=False)
    shard_id = new_shard_id(connection)
    connection.execute(
        "INSERT INTO resource (id, kind, name, realm, created, owner, project, state, collection)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            shard_id,
            _SHARD,
            name,
            collection["realm"],
            rules.clock.now(),
            caller.user.id,
            collection["project"],
            OPEN,
            collection_id,
        ),
    )
    mark_new(connection, caller, shard_id)
    set_metadata(connection, shard_id, body.get("metadata"))
    return shard_row(existing(connection, shard_id))


def _need_open(collection: Row) -> None:
    if collection["state"] == CLOSED:
        raise conflict(f"collection {collection['id']} is closed", "closed")


def list_shards(
    connection: Connection, caller: Caller, collection_id: int, selection: Selection
) -> tuple[int, list[Json]]:
    """Total and one page of the shards of a collection, without their metadata. Refusal 404, 403."""
    get_item(connection, caller, Kind.COLLECTION, collection_id)
    columns = {column: column for column in ("id", "name", "kind", "state", "owner", "project")}
    conditions, values = selection.filters.conditions({**columns, "path": "name"})
    chosen = f"FROM resource WHERE {' AND '.join(['collection = :collection', *conditions])}"
    values["collection"] = collection_id
    count = connection.execute(f"SELECT count(*) {chosen}", values).fetchone()[0]
    order = selection.order_sql({column: column for column in ORDER_COLUMNS})
    records = connection.execute(
        f"SELECT * {chosen} ORDER BY {order} LIMIT :limit OFFSET :offset",
        {**values, "limit": selection.limit, "offset": selection.offset},
    ).fetchall()
    return count, [shard_row(record, is_complete=False) for record in records]


def get_shard(connection: Connection, caller: Caller, collection_id: int, shard_id: int) -> Row:
    """The record of a shard that the caller may read. Refusal 404, 403."""
    get_item(connection, caller, Kind.COLLECTION, collection_id)
    record = get_record(connection, shard_id)
    if record is None or record["collection"] != collection_id:
        raise not_found(f"there is no shard {shard_id} in collection {collection_id}")
    return record


def get_unfinished_shard(connection: Connection, caller: Caller, collection_id: int, shard_id: int) -> Row:
    """The record of a shard that the caller may still change. Refusal 404, 403, 409."""
    record = get_shard(connection, caller, collection_id, shard_id)
    need(connection, caller, record, Permission.WRITE)
    if record["state"] == _READY:
        raise conflict(f"shard {shard_id} is closed", "closed")
    return record


def update_shard(
    connection: Connection, caller: Caller, collection_id: int, shard_id: int, changes: Json
) -> Json:
    """Change name and metadata of a shard that is not ready. Refusal 404, 403, 409, 422."""
    get_unfinished_shard(connection, caller, collection_id, shard_id)
    unknown = set(changes) - {"name", "metadata"}
    if unknown:
        raise invalid(f"these can't be changed: {sorted(unknown)}")
    if "name" in changes:
        name = check_item_name(changes["name"], slash_allowed=False)
        connection.execute("UPDATE resource SET name = ? WHERE id = ?", (name, shard_id))
    if "metadata" in changes:
        set_metadata(connection, shard_id, changes["metadata"])
    return shard_row(existing(connection, shard_id))


def delete_shard(
    connection: Connection, caller: Caller, collection_id: int, shard_id: int, rules: Rules
) -> list[str]:
    """Forget a shard of a collection that is open. Returns the keys of blobs that nobody needs any more."""
    record = get_shard(connection, caller, collection_id, shard_id)
    need(connection, caller, record, Permission.DELETE)
    _need_open(existing(connection, collection_id))
    return purge(connection, [shard_id], rules)


def check_size(size: object, rules: Rules) -> int:
    """`size` as the length of a shard's contents. Refusal 422, 413."""
    if type(size) is not int or size < 0:
        raise invalid("size is a whole number of bytes")
    if size > rules.switches.shard_max_bytes:
        raise too_large(f"shards have at most {rules.switches.shard_max_bytes} bytes")
    return size


def fill_shard(
    connection: Connection, caller: Caller, collection_id: int, shard_id: int, key: str, size_bytes: int
) -> list[str]:
    """Give a shard its contents in one. Returns the keys of blobs that nobody needs any more."""
    record = get_unfinished_shard(connection, caller, collection_id, shard_id)
    unused = forget_shard_upload(connection, shard_id)
    return unused + _replace(connection, record, key, size_bytes, None)


def begin_upload(
    connection: Connection,
    caller: Caller,
    numbers: tuple[int, int],
    key: str,
    size_bytes: int,
    rules: Rules,
) -> tuple[Upload, list[str]]:
    """New contents in parts for the shard (collection id, shard id), and the keys of blobs not needed."""
    get_unfinished_shard(connection, caller, *numbers)
    unused = forget_shard_upload(connection, numbers[1])
    part_bytes, created = rules.switches.part_bytes, rules.clock.now()
    return begin_shard_upload(connection, numbers[1], key, size_bytes, part_bytes, created), unused


def get_upload(connection: Connection, caller: Caller, collection_id: int, shard_id: int) -> Upload:
    """The parts under way for a shard. Refusal 404, 403, 409 when there are none."""
    get_unfinished_shard(connection, caller, collection_id, shard_id)
    upload = upload_of_shard(connection, shard_id)
    if upload is None:
        raise conflict(f"no parts are under way for shard {shard_id}", "parts_missing")
    return upload


def complete_upload(
    connection: Connection, caller: Caller, collection_id: int, shard_id: int, parts: object
) -> tuple[Json, list[str]]:
    """Make parts the contents of their shard; harmless when they are already. Refusal 409, 422.

    The row, and the keys of blobs that nobody needs any more.
    """
    record = get_unfinished_shard(connection, caller, collection_id, shard_id)
    upload = upload_of_shard(connection, shard_id)
    unused: list[str] = []
    if upload is None and _was_uploaded_in(record, parts):
        return shard_row(record), unused
    upload = get_upload(connection, caller, collection_id, shard_id)
    check_part_count(upload, parts)
    size_bytes = need_all_parts(connection, upload)
    forget_shard_upload(connection, shard_id)
    unused = _replace(connection, record, upload.key, size_bytes, upload.part_bytes)
    return shard_row(existing(connection, shard_id)), unused


def _was_uploaded_in(record: Row, parts: object) -> bool:
    """Whether the contents of a shard came in so many parts: the answer to a complete may get lost."""
    return record["part_bytes"] is not None and parts == -(-record["size"] // record["part_bytes"])


def _replace(
    connection: Connection, record: Row, key: str, size_bytes: int, part_bytes: int | None
) -> list[str]:
    connection.execute(
        "UPDATE resource SET blob = ?, size = ?, part_bytes = ?, state = ? WHERE id = ?",
        (key, size_bytes, part_bytes, _TEMPORARY, record["id"]),
    )
    return [] if record["blob"] is None else [record["blob"]]


def close_shard(
    connection: Connection, caller: Caller, collection_id: int, shard_id: int
) -> tuple[Json, list[str]]:
    """Make a shard readable and unchangeable; harmless when it is so. Refusal 404, 403, 409 without contents.

    The row, and the keys of blobs that nobody needs any more.
    """
    record = get_shard(connection, caller, collection_id, shard_id)
    need(connection, caller, record, Permission.WRITE)
    if record["state"] == OPEN:
        raise conflict(f"shard {shard_id} has no contents yet", "empty")
    connection.execute("UPDATE resource SET state = ? WHERE id = ?", (_READY, shard_id))
    unused = forget_shard_upload(connection, shard_id)
    return shard_row(need_ready(existing(connection, shard_id))), unused


def shard_row(record: Row, *, is_complete: bool = True) -> Json:
    """The JSON row of a shard; metadata are part of the complete one only."""
    row = {
        "resource_type": _SHARD,
        "id": record["id"],
        "id_str": str(record["id"]),
        "name": record["name"],
        "collection": record["collection"],
        "size": record["size"] or 0,
        "created": record["created"],
        "owner": record["owner"],
        "project": record["project"],
        "state": record["state"],
    }
    return {**row, "metadata": decode_metadata(record["metadata"])} if is_complete else row
