"""The calls of a session that attach something to a resource: tags, shares, links.

The part of `OrionSession` that knows what can be tagged, shared and linked to. Must not hold routes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from . import links, records
from .datasets import Dataset
from .errors import ValidationError
from .offers import offered, routes_of, type_name
from .people import OrionUser, Project, UserProfile, project_id
from .resource import Resource, as_id, checked_tags, id_of
from .shards import Shard
from .transport import Transport, check_done
from .wire import Route

if TYPE_CHECKING:
    import requests

__all__ = ["SharingCalls"]

PERMISSIONS = ("read", "write", "delete", "share")


class SharingCalls:
    """What a session attaches to resources. `transport` is the session's."""

    transport: Transport

    # ------------------------------------------------------------------ tags

    def list_tags(self, resource: Resource) -> Iterator[dict[str, Any]]:
        """The tags of a resource, each a dict as the server sent it."""
        response = self._tags(self.transport.wire.routes.list_tags, resource)
        return iter(records.rows_of_any(records.decode(response), self.transport.wire, response))

    def tag_resource(self, resource: Resource, *tags: str, project: Project | int | None = None) -> None:
        """Add tags. `project` is the project they belong to (default: the session's)."""
        keys = self.transport.wire.keys
        body: dict[str, Any] = {keys.tags: checked_tags(tags)}
        if project is not None:
            body[keys.project] = project_id(project)
        if tags:
            check_done(self._tags(self.transport.wire.routes.add_tags, resource, json=body))

    def untag_resource(self, resource: Resource, *tags: str, project: Project | int | None = None) -> None:
        """Remove tags; those that are not there are ignored. `project` is checked and not used."""
        if project is not None:
            project_id(project)
        body = {self.transport.wire.keys.tags: checked_tags(tags)}
        if tags:
            check_done(self._tags(self.transport.wire.routes.remove_tags, resource, json=body))

    def _tags(self, route: Route, resource: Resource, **request: Any) -> requests.Response:
        routes = routes_of(self.transport, resource)
        if not routes.is_taggable:
            raise ValidationError(f"{type_name(resource)} can't be tagged")
        fill: dict[str, int | str] = {"plural": routes.plural, "id": id_of(resource)}
        return self.transport.request(route, fill=fill, **request)

    # ------------------------------------------------------------------ shares

    def share_resource(
        self,
        resource: Resource,
        share_with: OrionUser | UserProfile | Project,
        permissions: Sequence[str] | None = None,
    ) -> None:
        """Let a user or a project's members use a resource; what was shared with them before is replaced.

        `permissions` are of read, write, delete, share (default: read).
        """
        route = offered(routes_of(self.transport, resource).share, resource, "share")
        keys = self.transport.wire.keys
        body = {**self._partner(share_with), keys.permissions: _checked_permissions(permissions)}
        self.transport.order(route, fill={"id": id_of(resource)}, json=body)

    def unshare_resource(self, resource: Resource, share_with: OrionUser | UserProfile | Project) -> None:
        """Take a share back; harmless where there is none."""
        route = offered(routes_of(self.transport, resource).unshare, resource, "unshare")
        self.transport.order(route, fill={"id": id_of(resource)}, json=self._partner(share_with))

    def list_shares(self, resource: Resource) -> list[dict[str, Any]]:
        """With whom a resource is shared (extension): each a dict as the server sent it."""
        route = offered(routes_of(self.transport, resource).shares, resource, "list the shares of")
        response = self.transport.request(route, fill={"id": id_of(resource)})
        return list(records.rows_of_any(records.decode(response), self.transport.wire, response))

    def _partner(self, share_with: object) -> dict[str, int]:
        keys = self.transport.wire.keys
        if isinstance(share_with, OrionUser | UserProfile):
            return {keys.user: id_of(share_with)}
        if isinstance(share_with, Project):
            return {keys.project: id_of(share_with)}
        raise ValidationError(f"shared is with an OrionUser or a Project, not with {share_with!r}")

    # ------------------------------------------------------------------ links

    def create_link(self, resource: Resource, record: int | None = None) -> dict[str, Any]:
        """A link to a File, Dataset, ShardCollection or Shard, as a dict that can be kept in a record.

        `record` (an extension) links to a record of a Dataset instead, by its id: 1, 2 and so on.
        """
        wire = self.transport.wire
        keys = wire.keys
        body: dict[str, Any] = {
            keys.resource_type: wire.literal_of(_linkable(resource, record)),
            keys.id: id_of(resource),
        }
        if isinstance(resource, Shard):
            body[keys.collection] = resource.place()["collection"]
        if record is not None:
            body[keys.record] = as_id(record)
        response = self.transport.request(wire.routes.create_link, json=body)
        made = records.decode(response)
        records.read(records.LinkRecord, "link", made, wire, response)
        link: dict[str, Any] = made
        return link


def _linkable(resource: Resource, record: int | None) -> str:
    id_of(resource)
    if resource.resource_type not in links.KINDS:
        raise ValidationError(f"there are no links to a {type_name(resource)}")
    if record is not None and not isinstance(resource, Dataset):
        raise ValidationError(f"a {type_name(resource)} has no records to link to")
    return resource.resource_type


def _checked_permissions(permissions: Sequence[str] | None) -> list[str]:
    if permissions is None:
        return [PERMISSIONS[0]]
    unknown = [each for each in permissions if each not in PERMISSIONS]
    if isinstance(permissions, str) or unknown:
        raise ValidationError(f"permissions are a list of {', '.join(PERMISSIONS)}, not {permissions!r}")
    return list(permissions) or [PERMISSIONS[0]]
