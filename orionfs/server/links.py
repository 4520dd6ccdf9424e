"""Links: small JSON objects that name a resource, a shard or a record of this stack for good.

A link grants nothing: whoever follows it needs the permission to read what it names. Functions over a
connection inside a transaction.
"""

from __future__ import annotations

from orionfs.server.files import get_item
from orionfs.server.paths import Caller, Kind
from orionfs.server.problems import bad_request, invalid, not_found
from orionfs.server.rows import Json
from orionfs.server.shards import get_shard
from orionfs.server.store import Connection

_VERSION = 1
_LINKABLE = {Kind.FILE.value, Kind.DATASET.value, Kind.COLLECTION.value, Kind.SHARD.value}


def make_link(connection: Connection, caller: Caller, body: Json, stack: str) -> Json:
    """The link to what `body` names: `resource_type` and `id`; of a shard `collection` too.

    With `record`, the id of a record of a dataset, the link is to that record. Refusal 400, 403, 404, 422.
    """
    kind, number = body.get("resource_type"), body.get("id")
    if not isinstance(kind, str) or type(number) is not int:
        raise bad_request("a resource is named by resource_type (a text) and id (a number)")
    if kind not in _LINKABLE:
        raise invalid(f"there are no links to a {kind!r}", "not_linkable")
    if kind == Kind.SHARD.value:
        collection = _number_in(body, "collection")
        get_shard(connection, caller, collection, number)
        return {**_link(stack, kind, number), "collection": collection}
    record = get_item(connection, caller, Kind(kind), number)
    if body.get("record") is None:
        return _link(stack, kind, number)
    if kind != Kind.DATASET.value:
        raise invalid(f"a {kind} has no records", "not_linkable")
    record_id = _number_in(body, "record")
    if not 1 <= record_id <= record["count"]:
        raise not_found(f"dataset {number} has no record {record_id}")
    return {**_link(stack, "record", record_id), "dataset": number}


def _number_in(body: Json, key: str) -> int:
    number = body.get(key)
    if type(number) is not int:
        raise bad_request(f"{key} is the id of a {key}: a number")
    return number


def _link(stack: str, kind: str, number: int) -> Json:
    return {
        "link": "orion",
        "version": _VERSION,
        "stack": stack,
        "resource_type": kind,
        "id": number,
        "id_str": str(number),
    }
