"""Answers as typed records: JSON in, frozen msgspec structures or plain containers out.

The one place where what a server sent is looked at before it is believed: garbage where JSON was due,
missing keys and wrong types become `BadResponse`. Which key fills which attribute is `wire`'s matter.
Used by `transport`, `types` and `session`; must not know routes or connections.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from .errors import BadResponse
from .wire import Wire

if TYPE_CHECKING:
    import requests

__all__ = [
    "FileRecord",
    "FolderRecord",
    "PartRecord",
    "ProfileRecord",
    "ProjectRecord",
    "ServerRecord",
    "UploadRecord",
    "UserRecord",
    "decode",
    "read",
    "rows",
]

T = TypeVar("T", bound=msgspec.Struct)


class LimitsRecord(msgspec.Struct, frozen=True):
    """What the server takes at once: rows in a page, bytes in a part, bytes in a file."""

    page_max: int
    part_bytes: int
    upload_max_bytes: int | None = None


class ServerRecord(msgspec.Struct, frozen=True):
    """What a server says of itself to anybody."""

    server: str
    instance: str
    limits: LimitsRecord
    version: str = ""


class FileRecord(msgspec.Struct, frozen=True):
    """A File as a row; listings may leave out all but id and name."""

    id: int
    name: str
    path: str | None = None
    description: str = ""
    size: int | None = None
    created: str = ""
    owner: int | None = None
    project: int | None = None
    state: str = ""
    tags: tuple[str, ...] = ()
    deleted: str | None = None


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


class ProfileRecord(msgspec.Struct, frozen=True):
    """The user whose token the session holds."""

    id: int
    username: str
    email: str = ""
    first_name: str = ""
    last_name: str = ""
    default_project: int | None = None


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
    if not isinstance(value, dict):
        raise BadResponse(response, f"{_what(response)}: {record} is not an object")
    try:
        return msgspec.convert(_renamed(value, wire.records[record]), kind)
    except msgspec.ValidationError as exc:
        raise BadResponse(response, f"{_what(response)}: {record}: {exc}") from exc


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


def _renamed(value: dict[str, Any], keys: Mapping[str, str]) -> dict[str, Any]:
    return {name: value[key] for name, key in keys.items() if key in value}


def _what(response: requests.Response) -> str:
    request = response.request
    return f"{request.method} {request.path_url.partition('?')[0]}"
