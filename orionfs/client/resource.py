"""What all resources have in common, and the arguments that calls about them take.

Used by the modules of the types and of the session. A resource's attributes are what the server last
said. Must not know routes, nor any single type.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

import msgspec

from . import records
from .errors import ValidationError
from .wire import Route

if TYPE_CHECKING:
    import requests

    from .session import OrionSession

__all__ = [
    "METADATA_MAX_BYTES",
    "Resource",
    "as_id",
    "checked_filters",
    "checked_metadata",
    "checked_name",
    "checked_tags",
    "id_of",
    "sent_params",
]

METADATA_MAX_BYTES = 256 * 1024


class Resource:
    """Base of what a server tells about. `resource_type` is the word that paths, tags and tables use."""

    __slots__ = ()
    resource_type: ClassVar[str]
    record: ClassVar[type[msgspec.Struct]]
    session: OrionSession | None

    def take(self, row: object, session: OrionSession, response: requests.Response) -> None:
        """Set all attributes from a row of the server. Raises BadResponse when it is not one."""
        wire = session.transport.wire
        found = records.read(self.record, self.resource_type, row, wire, response)
        values = {name: getattr(found, name) for name in self.record.__struct_fields__}
        for name, value in {**values, "session": session}.items():
            setattr(self, name, list(value) if isinstance(value, tuple) else value)

    def place(self) -> Mapping[str, int]:
        """Ids that stand in its routes besides its own. Raises ValidationError when it lacks them."""
        return {}

    def like(self) -> Self:
        """A new one at the same place, nothing of it known yet."""
        return type(self)()

    def bound(self) -> tuple[OrionSession, int]:
        """Its session and id. Raises ValidationError when it lacks one."""
        if self.session is None or getattr(self, "id", None) is None:
            raise ValidationError(f"a {type(self).__name__} needs a session and an id for that")
        return self.session, id_of(self)

    def act(self, route: Route, **request: Any) -> None:
        """Call a route about it, and take the row that is answered."""
        session, own_id = self.bound()
        response = session.transport.request(route, fill={**self.place(), "id": own_id}, **request)
        self.take(records.decode(response), session, response)


def as_id(value: object) -> int:
    """An id as a number; it may be given as text. Raises ValidationError."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValidationError(f"not an id: {value!r}")
    try:
        return int(value)
    except ValueError as exc:
        raise ValidationError(f"not an id: {value!r}") from exc


def id_of(resource: object) -> int:
    """The id of a resource. Raises ValidationError for anything without one."""
    found = getattr(resource, "id", None)
    if not isinstance(resource, Resource) or found is None:
        raise ValidationError(f"not a resource with an id: {resource!r}")
    return as_id(found)


def checked_name(name: object, what: str) -> str:
    """A name for something new. Raises ValidationError."""
    if not isinstance(name, str) or not name:
        raise ValidationError(f"{what} needs a name")
    return name


def checked_tags(tags: tuple[str, ...]) -> list[str]:
    """Tags as they are sent. Raises ValidationError for what is no tag."""
    if not all(isinstance(tag, str) and tag for tag in tags):
        raise ValidationError("a tag is a text that is not empty")
    return list(tags)


def checked_metadata(metadata: object) -> dict[str, Any]:
    """Metadata as they are sent: an object of at most 256 kB of JSON. Raises ValidationError."""
    if not isinstance(metadata, Mapping):
        raise ValidationError(f"metadata are a dict, not {type(metadata).__name__}")
    try:
        size = len(msgspec.json.encode(metadata))
    except (TypeError, ValueError, OverflowError, RecursionError) as exc:
        raise ValidationError(f"metadata can't be sent as JSON: {exc}") from exc
    if size > METADATA_MAX_BYTES:
        raise ValidationError(f"metadata of {size} bytes: at most {METADATA_MAX_BYTES} can be kept")
    return dict(metadata)


def sent_params(params: Mapping[str, Any], names: Mapping[str, str], metadata_key: str) -> dict[str, Any]:
    """Parameters of a resource under the names that are sent; others go as they are given."""
    if not isinstance(params, Mapping):
        raise ValidationError(f"parameters are a dict, not {type(params).__name__}")
    sent = {names.get(name, name): _one_value(value) for name, value in params.items()}
    if metadata_key in sent:
        sent[metadata_key] = checked_metadata(sent[metadata_key])
    return sent


def checked_filters(filters: Mapping[str, Any] | None, names: Mapping[str, str]) -> dict[str, Any]:
    """Filters of a listing as query parameters, under the names that are sent.

    A list is sent as a parameter for each of its values, a resource as its id, a moment as ISO 8601.
    Raises ValidationError.
    """
    if filters is None:
        return {}
    if not isinstance(filters, Mapping):
        raise ValidationError("filters are a dict of query parameters")
    return {names.get(name, name): _query_value(value) for name, value in filters.items()}


def _query_value(value: object) -> object:
    if isinstance(value, Iterable) and not isinstance(value, str | Mapping | bytes):
        return [_query_text(each) for each in value]
    return None if value is None else _query_text(value)


def _query_text(value: object) -> str:
    value = _one_value(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime.date):
        return value.isoformat()
    if not isinstance(value, str | int | float):
        raise ValidationError(f"not a value to filter with: {value!r}")
    return str(value)


def _one_value(value: object) -> object:
    return id_of(value) if isinstance(value, Resource) else value
