"""Answers as typed records: JSON in, frozen msgspec structures or plain containers out.

The one place where what a server sent is looked at before it is believed: garbage where JSON was due,
missing keys and wrong types become `BadResponse`. Which key fills which attribute is `wire`'s matter.
Used by `transport`, `types` and `session`; must not know routes or connections.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from .errors import BadResponse
from .wire import DIALECT, Wire

if TYPE_CHECKING:
    import requests

__all__ = [
    "BalanceRecord",
    "CollectionRecord",
    "DatasetRecord",
    "FileRecord",
    "FolderRecord",
    "LinkRecord",
    "PartRecord",
    "ProfileRecord",
    "ProjectRecord",
    "ServerRecord",
    "ShardRecord",
    "StateRecord",
    "UploadRecord",
    "UserRecord",
    "WorkFloeRecord",
    "answered",
    "decode",
    "documented",
    "part_records",
    "read",
    "rows",
    "rows_of_any",
    "server_record",
    "to_struct",
    "upload_record",
]

T = TypeVar("T", bound=msgspec.Struct)


class LimitsRecord(msgspec.Struct, frozen=True):
    """What the server takes at once: rows in a page, bytes in a part, bytes in a file.

    `open_ended`: and it takes uploads whose size is told at their end.
    """

    page_max: int
    part_bytes: int
    upload_max_bytes: int | None = None
    open_ended: bool = False


class ServerRecord(msgspec.Struct, frozen=True):
    """What a server says of itself to anybody."""

    server: str
    instance: str
    limits: LimitsRecord
    version: str = ""


class ItemRecord(msgspec.Struct, frozen=True):
    """What the items of the folder tree have in common; listings may leave out all but id and name."""

    id: int
    name: str
    path: str | None = None
    description: str = ""
    created: str = ""
    owner: int | None = None
    project: int | None = None
    state: str = ""
    tags: tuple[str, ...] = ()
    systemtags: tuple[str, ...] = ()


class FileRecord(ItemRecord, frozen=True):
    """A File as a row."""

    size: int | None = None
    deleted: str | None = None


class DatasetRecord(ItemRecord, frozen=True):
    """A Dataset as a row."""

    count: int = 0
    dirty: bool = False
    deleted: str = ""


class CollectionRecord(ItemRecord, frozen=True):
    """A ShardCollection as a row."""

    metadata: dict[str, Any] = {}
    deleted: str | None = None


class ShardRecord(msgspec.Struct, frozen=True):
    """A shard as a row; in which collection it is, is known of how it was asked for."""

    id: int
    name: str = ""
    size: int | None = None
    created: str = ""
    owner: int | None = None
    project: int | None = None
    state: str = ""
    metadata: dict[str, Any] = {}


class StateRecord(msgspec.Struct, frozen=True):
    """How far an item is, of whatever type."""

    id: int
    state: str = ""


class FolderRecord(msgspec.Struct, frozen=True):
    """A folder as a row."""

    id: int
    name: str
    path: str | None = None
    created: str = ""
    owner: int | None = None
    project: int | None = None
    tags: tuple[str, ...] = ()


class ProjectRecord(msgspec.Struct, frozen=True):
    """A project."""

    id: int
    name: str
    owner: int | None = None
    created: str = ""


class UserRecord(msgspec.Struct, frozen=True):
    """Any user."""

    id: int
    username: str
    email: str = ""
    first_name: str = ""
    last_name: str = ""


class ProfileRecord(UserRecord, frozen=True):
    """The user whose token the session holds."""

    default_project: int | None = None


class BalanceRecord(msgspec.Struct, frozen=True):
    """What an organization has left to spend."""

    balance: Decimal
    currency: str = ""
    as_of: str = ""


class WorkFloeRecord(msgspec.Struct, frozen=True):
    """A workfloe; its specification comes with the single object only."""

    id: int
    uuid: str = ""
    name: str = ""
    title: str = ""
    description: str = ""
    state: str = ""
    owner: int | None = None
    project: int | None = None
    created: str = ""
    tags: tuple[str, ...] = ()
    specification: dict[str, Any] = {}


class LinkRecord(msgspec.Struct, frozen=True):
    """A link as it is kept in records. `id_str` is right where a JSON reader has rounded `id`."""

    link: str
    version: int
    stack: str
    resource_type: str
    id: int | None = None
    id_str: str | None = None
    collection: int | None = None
    dataset: int | None = None


class PartRecord(msgspec.Struct, frozen=True):
    """Where one part of an upload goes; numbers start at 1."""

    number: int
    url: str


class UploadRecord(msgspec.Struct, frozen=True):
    """How a new file wants to be sent."""

    part_bytes: int
    parts: tuple[PartRecord, ...]


def decode(response: requests.Response) -> Any:
    """The JSON of an answer. Raises BadResponse for anything else."""
    try:
        return msgspec.json.decode(response.content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise BadResponse(response, f"{_what(response)}: the answer is not JSON") from exc


def read(kind: type[T], record: str, value: object, wire: Wire, response: requests.Response) -> T:
    """One decoded object as a record. Raises BadResponse when a key is missing or of another type."""
    try:
        return to_struct(kind, value, wire.records[record])
    except msgspec.ValidationError as exc:
        raise BadResponse(response, f"{_what(response)}: {record}: {exc}") from exc


def to_struct(kind: type[T], value: object, keys: Mapping[str, str]) -> T:
    """A decoded object as a record; null is as good as missing. Raises msgspec.ValidationError."""
    if not isinstance(value, dict):
        raise msgspec.ValidationError("not an object")
    found = {name: value[key] for name, key in keys.items() if value.get(key) is not None}
    return msgspec.convert(found, kind)


def server_record(value: object, wire: Wire, response: requests.Response) -> ServerRecord:
    """What a server says of itself; its limits are an object of their own."""
    limits = value.get(wire.records["server"]["limits"]) if isinstance(value, dict) else None
    checked = read(LimitsRecord, "limits", limits, wire, response)
    bare = read(_BareServer, "server", value, wire, response)
    return ServerRecord(bare.server, bare.instance, checked, bare.version)


class _BareServer(msgspec.Struct, frozen=True):
    server: str
    instance: str
    version: str = ""


def upload_record(value: object, wire: Wire, response: requests.Response) -> UploadRecord:
    """The parts of an upload; `value` is the object that holds them."""
    parts = value.get(wire.records["upload"]["parts"]) if isinstance(value, dict) else None
    found = part_records(parts, wire, response)
    bare = read(_BareUpload, "upload", value, wire, response)
    return UploadRecord(bare.part_bytes, found)


class _BareUpload(msgspec.Struct, frozen=True):
    part_bytes: int


def part_records(value: object, wire: Wire, response: requests.Response) -> tuple[PartRecord, ...]:
    """A list of parts."""
    if not isinstance(value, list):
        raise BadResponse(response, f"{_what(response)}: parts are not a list")
    return tuple(read(PartRecord, "part", part, wire, response) for part in value)


def rows(value: object, wire: Wire, response: requests.Response) -> list[dict[str, Any]]:
    """The rows of an envelope. Raises BadResponse when it has none."""
    found = value.get(wire.keys.results) if isinstance(value, dict) else None
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise BadResponse(response, f"{_what(response)}: the answer holds no list of results")
    return found


def rows_of_any(value: object, wire: Wire, response: requests.Response) -> list[dict[str, Any]]:
    """The rows of an answer in whatever envelope: bare, under any key, or in an object under one.

    Raises BadResponse when there is no list of objects.
    """
    inner = [each for each in value.values() if isinstance(each, dict)] if isinstance(value, dict) else []
    objects = [each for each in (value, *inner) if isinstance(each, dict)]
    lists = [value, *(each.get(wire.keys.results) for each in objects)]
    lists += [entry for each in objects for entry in each.values()]
    for found in lists:
        if isinstance(found, list) and all(isinstance(row, dict) for row in found):
            return found
    raise BadResponse(response, f"{_what(response)}: the answer holds no list of objects")


_PATH_NAMES = ("results", "next", "count", "resource_type", "id", "path", "name")


def answered(response: requests.Response, wire: Wire) -> dict[str, Any]:
    """An answer as the server sent it, under the documented names. Raises BadResponse for no object."""
    answer = decode(response)
    if not isinstance(answer, dict):
        raise BadResponse(response, "the answer is not an object")
    return answer if wire is DIALECT else documented(answer, wire)


def documented(answer: dict[str, Any], wire: Wire) -> dict[str, Any]:
    """An answer about paths with the documented names in place of the wire's.

    In the object itself and in the rows of its lists; what the wire does not name stays as it came.
    """
    names = {getattr(wire.keys, name): name for name in _PATH_NAMES}
    found = {}
    for key, value in answer.items():
        is_list = isinstance(value, list)
        found[names.get(key, key)] = [_renamed(row, names) for row in value] if is_list else value
    return found


def _renamed(row: object, names: Mapping[str, str]) -> object:
    return {names.get(key, key): value for key, value in row.items()} if isinstance(row, dict) else row


def _what(response: requests.Response) -> str:
    request = response.request
    return f"{request.method} {request.path_url.partition('?')[0]}"
