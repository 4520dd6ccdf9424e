"""Collections and their shards, as far as this server knows them: made, filled, closed, read.

A shard lies in a collection, not in the tree; its permissions are those of the collection.
"""

from __future__ import annotations

from orionfs.server.files import existing, insert_item, need_ready, target_of
from orionfs.server.filters import ORDER_COLUMNS, Selection
from orionfs.server.paths import Caller, Kind, check_item_name
from orionfs.server.permissions import Permission, need
from orionfs.server.problems import conflict, not_found
from orionfs.server.rows import Json, get_record, make_rows
from orionfs.server.store import Connection, Row, new_id
from orionfs.server.tree import Rules

_SHARD = Kind.SHARD.value


def create_collection(connection: Connection, caller: Caller, body: Json, rules: Rules) -> Json:
    """A new, open collection. Refusal 422, 404, 403, 409."""
    new = target_of(connection, caller, body.get("name"), body.get("folder_path"), body.get("project"), rules)
    record = insert_item(connection, caller, Kind.COLLECTION, new, rules, state="open")
    return make_rows(connection, [record])[0]


def get_collection(connection: Connection, caller: Caller, collection_id: int) -> Row:
    """The record of a collection that the caller may read. Refusal 404, 403."""
    record = get_record(connection, collection_id)
    if record is None or record["kind"] != Kind.COLLECTION.value or record["deleted"]:
        raise not_found(f"there is no collection {collection_id}")
    need(connection, caller, record, Permission.READ)
    return record


def create_shard(
    connection: Connection, caller: Caller, collection_id: int, name: object, rules: Rules
) -> Json:
    """A new, open, empty shard. Refusal 404, 403, 422."""
    collection = get_collection(connection, caller, collection_id)
    need(connection, caller, collection, Permission.WRITE)
    checked = check_item_name(name, slash_allowed=False)
    shard_id = new_id(connection)
    connection.execute(
        "INSERT INTO resource (id, kind, name, realm, created, owner, project, state, collection)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, 'open', ?)",
        (
            shard_id,
            _SHARD,
            checked,
            collection["realm"],
            rules.clock.now(),
            caller.user.id,
            collection["project"],
            collection_id,
        ),
    )
    return shard_row(existing(connection, shard_id))


def list_shards(
    connection: Connection, caller: Caller, collection_id: int, selection: Selection
) -> tuple[int, list[Json]]:
    """Total and one page of the shards of a collection. Refusal 404, 403."""
    get_collection(connection, caller, collection_id)
    count = connection.execute(
        "SELECT count(*) FROM resource WHERE collection = ?", (collection_id,)
    ).fetchone()[0]
    order = selection.order_sql({column: column for column in ORDER_COLUMNS})
    records = connection.execute(
        f"SELECT * FROM resource WHERE collection = ? ORDER BY {order} LIMIT ? OFFSET ?",
        (collection_id, selection.limit, selection.offset),
    ).fetchall()
    return count, [shard_row(record) for record in records]


def get_shard(connection: Connection, caller: Caller, collection_id: int, shard_id: int) -> Row:
    """The record of a shard that the caller may read. Refusal 404, 403."""
    get_collection(connection, caller, collection_id)
    record = get_record(connection, shard_id)
    if record is None or record["collection"] != collection_id:
        raise not_found(f"there is no shard {shard_id} in collection {collection_id}")
    return record


def get_open_shard(connection: Connection, caller: Caller, collection_id: int, shard_id: int) -> Row:
    """The record of a shard that the caller may fill. Refusal 404, 403, 409."""
    record = get_shard(connection, caller, collection_id, shard_id)
    need(connection, caller, record, Permission.WRITE)
    if record["state"] != "open":
        raise conflict(f"shard {shard_id} is closed", "closed")
    return record


def fill_shard(
    connection: Connection, caller: Caller, collection_id: int, shard_id: int, key: str, size_bytes: int
) -> str | None:
    """Give an open shard its contents. Returns the key of the blob that is replaced."""
    record = get_open_shard(connection, caller, collection_id, shard_id)
    connection.execute("UPDATE resource SET blob = ?, size = ? WHERE id = ?", (key, size_bytes, shard_id))
    replaced: str | None = record["blob"]
    return replaced


def close_shard(connection: Connection, caller: Caller, collection_id: int, shard_id: int) -> Json:
    """Make a shard readable and unchangeable. Refusal 404, 403, 409 when it has no contents."""
    record = get_open_shard(connection, caller, collection_id, shard_id)
    if record["blob"] is None:
        raise conflict(f"shard {shard_id} has no contents yet", "empty")
    connection.execute("UPDATE resource SET state = 'ready' WHERE id = ?", (shard_id,))
    return shard_row(need_ready(existing(connection, shard_id)))


def shard_row(record: Row) -> Json:
    """The JSON row of a shard."""
    return {
        "resource_type": _SHARD,
        "id": record["id"],
        "name": record["name"],
        "collection": record["collection"],
        "size": record["size"] or 0,
        "created": record["created"],
        "owner": record["owner"],
        "project": record["project"],
        "state": record["state"],
    }
