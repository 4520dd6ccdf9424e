"""Links: references to resources that are kept in records and mean the same to every reader.

A link is a dict; as an object it fetches what it means. Used by `sharing` and by programs. Must not know
routes; which keys a link's dict has is `wire`'s matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import msgspec

from . import records
from .datasets import Dataset
from .errors import OrionLinkError, OrionServiceError
from .files import File
from .resource import Resource
from .shards import Shard, ShardCollection

if TYPE_CHECKING:
    from .session import OrionSession

__all__ = ["KINDS", "OrionLink", "RecordLink", "ShardLink", "parsed"]

VERSION = 1
_LINKED: Mapping[str, type[Resource]] = {
    kind.resource_type: kind for kind in (File, Dataset, ShardCollection)
}
_RECORD = "record"
KINDS = frozenset({*_LINKED, Shard.resource_type})
_MESSAGE_MAX = 80


@dataclass(frozen=True, slots=True)
class OrionLink:
    """A link to a File, a Dataset or a ShardCollection. `link` is the dict it was read from."""

    id: int
    resource_type: str
    link: Mapping[str, Any] = field(repr=False, compare=False)
    session: OrionSession = field(repr=False, compare=False)

    def get(self) -> File | Dataset | ShardCollection:
        """Fetch what is linked to. Raises NotFoundResponse."""
        found = self.session.get_resource(_LINKED[self.resource_type], self.id)
        return cast("File | Dataset | ShardCollection", found)


@dataclass(frozen=True, slots=True)
class ShardLink:
    """A link to a shard. `collection` is the id of the collection it is in."""

    id: int
    collection: int
    link: Mapping[str, Any] = field(repr=False, compare=False)
    session: OrionSession = field(repr=False, compare=False)

    @property
    def id_str(self) -> str:
        """The id as text, for readers of JSON whose numbers end at 2^53."""
        return str(self.id)

    def get(self) -> Shard:
        """Fetch the shard, not its contents. Raises NotFoundResponse."""
        collection = ShardCollection(id=self.collection, session=self.session)
        return self.session.get_resource(Shard(collection=collection), self.id)


@dataclass(frozen=True, slots=True)
class RecordLink:
    """A link to a record. `dataset` is the id of the dataset it is in."""

    id: int
    dataset: int
    link: Mapping[str, Any] = field(repr=False, compare=False)
    session: OrionSession = field(repr=False, compare=False)

    def get(self) -> dict[str, Any]:
        """Fetch the record: its values by field name. Raises NotFoundResponse."""
        contents = Dataset(id=self.dataset, session=self.session).download([self.id], format="json")
        try:
            return msgspec.json.decode(contents, type=dict[str, Any])
        except msgspec.DecodeError as exc:
            told = f"record {self.id} of dataset {self.dataset} is not one JSON object"
            raise OrionServiceError(told) from exc


def parsed(link: object, session: OrionSession) -> OrionLink | RecordLink | ShardLink:
    """The object of a link's dict. Raises OrionLinkError for garbage and for links of other stacks."""
    if not isinstance(link, Mapping):
        raise OrionLinkError(f"a link is a dict, not {type(link).__name__}")
    transport = session.transport
    try:
        found = records.to_struct(records.LinkRecord, dict(link), transport.wire.records["link"])
    except msgspec.ValidationError as exc:
        raise OrionLinkError(f"this is no link: {exc}") from exc
    if (found.link, found.version) != (transport.wire.keys.link_name, VERSION):
        raise OrionLinkError(f"this link is of another kind: {found.link[:_MESSAGE_MAX]!r} {found.version}")
    if transport.is_asked and found.stack != session.instance:
        raise OrionLinkError(f"this link is of another stack: {found.stack[:_MESSAGE_MAX]!r}")
    return _object(found, link, session)


def _object(
    found: records.LinkRecord, link: Mapping[str, Any], session: OrionSession
) -> OrionLink | RecordLink | ShardLink:
    own_id = _id_of(found)
    kind = session.transport.wire.word_of(found.resource_type)
    if kind == Shard.resource_type and found.collection is not None:
        return ShardLink(own_id, found.collection, link, session)
    if kind == _RECORD and found.dataset is not None:
        return RecordLink(own_id, found.dataset, link, session)
    if kind in _LINKED:
        return OrionLink(own_id, kind, link, session)
    raise OrionLinkError(f"nothing is known of links to {found.resource_type[:_MESSAGE_MAX]!r} like this")


def _id_of(found: records.LinkRecord) -> int:
    """The id; as text where it is there, since a reader of JSON may have rounded the number."""
    text = found.id_str
    if text is not None:
        if text.isascii() and text.isdigit():
            return int(text)
        raise OrionLinkError(f"this link's id is none: {text[:_MESSAGE_MAX]!r}")
    if found.id is None:
        raise OrionLinkError("this link names no id")
    return found.id
