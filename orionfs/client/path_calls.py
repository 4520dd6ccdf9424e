"""The calls of a session that are about paths: listing, making, removing, moving.

The part of `OrionSession` that knows the folder tree. Answers are handed through as the server sent them:
nothing public says what they look like, so they are checked for being an object and for nothing else. With
a wire from a file, its names are turned back into the documented ones. Must not know types' contents.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from . import records
from .errors import ValidationError
from .resource import Resource, checked_filters, id_of
from .transport import Transport

if TYPE_CHECKING:
    import requests

__all__ = ["PathCalls"]

_ASSIGNMENT = ("resource_type", "id", "path")


class PathCalls:
    """What a session says of paths. `transport` is the session's."""

    transport: Transport

    def ls_path(self, path: str, query_params: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """One page of a folder's contents, or of what is found below it, as the server sent it.

        `query_params` filter, order, page and search it. Raises NotFoundResponse; ValidationError when
        `path` is no folder.
        """
        wire = self.transport.wire
        params = {**checked_filters(query_params, wire.filters), wire.keys.path: _text(path)}
        return self._answered(self.transport.request(wire.routes.ls_path, params=params))

    def stat_path(self, path: str) -> dict[str, Any]:
        """What is at a path: its id, resource_type and path at least. Raises NotFoundResponse."""
        wire = self.transport.wire
        params = {wire.keys.path: _text(path)}
        return self._answered(self.transport.request(wire.routes.stat_path, params=params))

    def create_paths(self, *paths: str) -> None:
        """Make folders."""
        if paths:
            routes, keys = self.transport.wire.routes, self.transport.wire.keys
            self.transport.order(routes.create_paths, json={keys.paths: [_text(path) for path in paths]})

    def remove_paths(self, *paths: str) -> None:
        """Remove what is at these paths."""
        if paths:
            routes, keys = self.transport.wire.routes, self.transport.wire.keys
            self.transport.order(routes.remove_paths, json={keys.paths: [_text(path) for path in paths]})

    def assign_paths(self, *assignments: Mapping[str, Any]) -> None:
        """Put items into folders: each needs resource_type, id and path (a folder); name renames it."""
        if assignments:
            routes, keys = self.transport.wire.routes, self.transport.wire.keys
            checked = [self._assignment(each) for each in assignments]
            self.transport.order(routes.assign_paths, json={keys.assignments: checked})

    def get_paths(self, *items: Resource) -> dict[str, Any]:
        """The paths of items, as the server sent them."""
        wire = self.transport.wire
        subjects = [
            {wire.keys.id: id_of(item), wire.keys.resource_type: wire.literal_of(item.resource_type)}
            for item in items
        ]
        request = self.transport.request(wire.routes.get_paths, json={wire.keys.items: subjects})
        return self._answered(request)

    def _assignment(self, given: Mapping[str, Any]) -> dict[str, Any]:
        if not isinstance(given, Mapping):
            raise ValidationError(f"an assignment is a dict, not {type(given).__name__}")
        missing = set(_ASSIGNMENT) - set(given)
        if missing:
            raise ValidationError(f"an assignment lacks {', '.join(sorted(missing))}")
        keys = self.transport.wire.keys
        names = {name: getattr(keys, name) for name in (*_ASSIGNMENT, "name")}
        return {names.get(name, name): value for name, value in given.items()}

    def _answered(self, response: requests.Response) -> dict[str, Any]:
        return records.answered(response, self.transport.wire)


def _text(path: object) -> str:
    if not isinstance(path, str) or not path:
        raise ValidationError(f"a path is a text that is not empty, not {path!r}")
    return path
