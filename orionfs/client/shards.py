"""Shard collections and their shards.

Part of `types`. A shard lies in a collection, not in the folder tree, so it is named by both ids. Must
not know how bytes move (`upload`, `download`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

from . import records, upload
from .download import Signed, read_into, stream, to_file
from .errors import ValidationError
from .files import place_params
from .offers import offered, routes_of
from .people import Project
from .resource import Resource, as_id, checked_filters, checked_name, id_of
from .transport import check_done

if TYPE_CHECKING:
    import msgspec

    from .session import OrionSession

__all__ = ["Shard", "ShardCollection"]


@dataclass(eq=False, slots=True)
class ShardCollection(Resource):
    """A set of shards under a name. `state` is "open" while shards can be added, "close" afterwards.

    `metadata` is a dict of at most 256 kB of JSON; a listing lacks it: `OrionSession.refresh_resource`.
    `owner` and `project` are ids; `deleted` is when it was deleted, or None.
    """

    resource_type: ClassVar[str] = "collection"
    record: ClassVar[type[msgspec.Struct]] = records.CollectionRecord

    id: int | None = None
    name: str = ""
    path: str | None = None
    description: str = ""
    state: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    created: str = ""
    owner: int | None = None
    project: int | None = None
    tags: list[str] = field(default_factory=list)
    systemtags: list[str] = field(default_factory=list)
    deleted: str | None = None
    session: OrionSession | None = field(default=None, repr=False)

    @classmethod
    def create(
        cls,
        session: OrionSession,
        name: str,
        metadata: Mapping[str, Any] | None = None,
        project: Project | int | None = None,
        folder_path: str | None = None,
    ) -> ShardCollection:
        """Make an open collection, in `folder_path` or the user's own folder."""
        checked_name(name, "a collection")
        params = {"name": name, **place_params(session, project, folder_path)}
        if metadata is not None:
            params["metadata"] = metadata
        return session.create_resource(cls, params)

    def list_shards(self, filters: Mapping[str, Any] | None = None) -> Iterator[Shard]:
        """The shards, asked for page by page as they are taken; they may be incomplete."""
        session, _ = self.bound()
        return session.list_resources(Shard(collection=self), filters=filters)

    def shard_page(self, query: Mapping[str, Any]) -> dict[str, Any]:
        """One page of the shards, as the server sent it: `limit`, `offset`, `order_by` or filters.

        An extension: several pages can be asked for at the same time.
        """
        session, own_id = self.bound()
        wire = session.transport.wire
        route = offered(routes_of(session.transport, Shard).list, Shard, "list")
        params = checked_filters(query, wire.filters)
        response = session.transport.request(route, fill={"collection": own_id}, params=params)
        return records.answered(response, wire)

    def open(self) -> None:
        """Let shards be added again."""
        session, _ = self.bound()
        self.act(session.transport.wire.routes.open_collection)

    def close(self) -> None:
        """Let no more shards be added."""
        session, _ = self.bound()
        self.act(session.transport.wire.routes.close_collection)


@dataclass(eq=False, slots=True)
class Shard(Resource):
    """Bytes within a collection, up to 5 GB, with metadata of up to 256 kB of JSON.

    `state` is "open" at first, "temporary" once there are contents, "ready" after `close`. Without an id
    it stands for the shards of its collection: `session.get_resource(Shard(collection=c), shard_id)`.
    Ids may be larger than what JavaScript can count to. `size` in bytes; a listing lacks `metadata`.
    """

    resource_type: ClassVar[str] = "shard"
    record: ClassVar[type[msgspec.Struct]] = records.ShardRecord

    collection: ShardCollection | None = field(default=None, repr=False)
    id: int | None = None
    name: str = ""
    state: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    size: int | None = None
    created: str = ""
    owner: int | None = None
    project: int | None = None
    session: OrionSession | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.session is None and self.collection is not None:
            self.session = self.collection.session

    @classmethod
    def create(
        cls, collection: ShardCollection, name: str, metadata: Mapping[str, Any] | None = None
    ) -> Shard:
        """Make a shard without contents in an open collection."""
        session, _ = collection.bound()
        params: dict[str, Any] = {"name": checked_name(name, "a shard")}
        if metadata is not None:
            params["metadata"] = metadata
        return session.create_resource(cls(collection=collection), params)

    @classmethod
    def from_msg(cls, msg: Mapping[str, Any], session: OrionSession | None = None) -> Shard:
        """A shard from a message that names it: a dict with `id` and `collection`. Asks nothing.

        The collection may be given by its id, or by a dict that holds it.
        """
        if not isinstance(msg, Mapping) or not {"id", "collection"} <= set(msg):
            raise ValidationError("a message about a shard is a dict with id and collection")
        named = msg["collection"]
        collection_id = as_id(named.get("id")) if isinstance(named, Mapping) else as_id(named)
        return cls(ShardCollection(id=collection_id, session=session), as_id(msg["id"]))

    def place(self) -> Mapping[str, int]:
        """The id of its collection. Raises ValidationError without one."""
        if self.collection is None:
            raise ValidationError("a shard is asked for with its collection: Shard(collection=...)")
        return {"collection": id_of(self.collection)}

    def like(self) -> Self:
        """Another one in the same collection."""
        return type(self)(collection=self.collection)

    def upload_file(self, path: str | os.PathLike[str]) -> None:
        """Upload a local file as the contents; they can be replaced until `close`.

        Raises OSError for the local file, BadResponse when the shard is closed or the file too large.
        """
        session, own_id = self.bound()
        transport = session.transport
        fill = {**self.place(), "id": own_id}
        with upload.opened(path) as source:
            if source.size <= transport.server().limits.part_bytes:
                route = transport.wire.routes.shard_data
                check_done(upload.send_whole(transport, route, source, fill=fill))
            else:
                _upload_in_parts(session, source, fill)
        self.state, self.size = transport.wire.keys.state_temporary, source.size

    def download_to_file(self, path: str | os.PathLike[str]) -> None:
        """Download the contents to a local path; it appears under its name once it is complete.

        Raises NotEnoughDiskError, OSError for the local file, BadResponse before the shard is ready.
        """
        to_file(self._contents(), path, self._known_size())

    def download(self) -> Iterator[bytes]:
        """The contents in order, in chunks. What breaks off goes on where it was, a few times."""
        return stream(self._contents(), self._known_size())

    def read_into(
        self,
        fd: int,
        fd_offset: int,
        offset: int,
        length: int,
        progress: Callable[[int], None] | None = None,
    ) -> int:
        """Fetch bytes [offset, offset + length) and write them at `fd_offset` of a descriptor.

        Returns `length`; all as `File.read_into`. An extension.
        """
        return read_into(self._contents(), offset, length, fd, fd_offset, progress)

    def close(self) -> None:
        """Make the contents final: from now on they can be read, and not replaced."""
        session, _ = self.bound()
        self.act(session.transport.wire.routes.close_shard)

    def _contents(self) -> Signed:
        session, own_id = self.bound()
        fill = {**self.place(), "id": own_id}
        return Signed(session.transport, session.transport.wire.routes.download_shard, fill)

    def _known_size(self) -> int | None:
        """The length of contents that can't be replaced any more."""
        session, _ = self.bound()
        return self.size if self.state == session.transport.wire.keys.state_ready else None


def _upload_in_parts(session: OrionSession, source: upload.LocalFile, fill: Mapping[str, int]) -> None:
    """Send contents in parts. Nothing proves that a completion whose answer was lost has happened.

    (The same state, even the same size, may be that of earlier contents.) It is asked for again.
    """
    transport = session.transport
    routes, keys = transport.wire.routes, transport.wire.keys
    to = upload.Destination("shard", fill, parts=routes.shard_parts, complete=routes.shard_complete)
    answer = transport.request(routes.shard_parts, fill=fill, json={keys.size: source.size})
    plan = upload.plan_of(upload.row_of(answer), source.size, transport, answer)
    upload.send_parts(transport, source, to, plan)
