"""`OrionSession`: the documented calls on an Orion stack, blocking, for use by many threads.

Names, parameters and meaning are the documented ones; what goes beyond is called an extension where it
stands. Errors are those of `errors`. The session itself holds no state besides its transport. Must not
hold routes or keys (`wire`), nor know how bytes move (`transfer`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, cast

from . import records
from .errors import (
    AuthorizationRequired,
    BadResponse,
    InvalidCredentials,
    ValidationError,
)
from .http import TotalTimeout, get_session
from .profiles import SessionConfig, get_profile_config
from .transport import Transport, check_done, raise_for_status
from .types import File, Project, Resource, UserProfile, checked_filters, project_id, tag_body
from .wire import ResourceRoutes, Route

if TYPE_CHECKING:
    import requests

__all__ = ["OrionSession", "SessionConfig", "get_profile_config", "get_session"]

R = TypeVar("R", bound=Resource)

_FIRST_PAGE = 100


class OrionSession:
    """A session with one server, as one user.

    `config` says where (default: `get_profile_config()`), `requests_session` how (default:
    `get_session()`); the requests session belongs to this session from then on. `orion_versions` is
    accepted and not used: this dialect has one version.
    """

    direct_resources = True
    """Extension: a resource made from `id` and `session` alone is as good as one that was asked for."""

    def __init__(
        self,
        config: SessionConfig | None = None,
        orion_versions: object = None,
        requests_session: requests.Session | None = None,
    ) -> None:
        self.config = config or get_profile_config()
        self.orion_versions = orion_versions
        self.transport = Transport(self.config, requests_session or get_session())

    def __repr__(self) -> str:
        return f"OrionSession({self.config!r})"

    def __enter__(self) -> OrionSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections (extension)."""
        self.transport.close()

    @property
    def instance(self) -> str:
        """Which server this is: the same text as long as its data live (extension)."""
        return self.transport.server().instance

    # ------------------------------------------------------------------ who am I

    def is_authenticated(self, reconnect: bool = False) -> bool:
        """Whether the server accepts the token. `reconnect` first asks again what server it is.

        Raises what a call raises when the server can't be asked.
        """
        if reconnect:
            self.transport.forget_server()
        try:
            self.get_user_profile()
        except (InvalidCredentials, AuthorizationRequired):
            return False
        return True

    def retrieve_token(self, username: str, password: str) -> str:
        """A new token for a user; the session's own token, if it has one, is not sent."""
        wire = self.transport.wire
        self.transport.server()
        route = wire.routes.retrieve_token
        response = self.transport.plain(
            route.method,
            self.transport.base_url + route.path,
            headers={"Content-Type": "application/json"},
            body=json.dumps({wire.keys.username: username, wire.keys.password: password}),
        )
        raise_for_status(response)
        answer = _object(records.decode(response), response)
        _require(answer, (wire.keys.token,), response)
        return str(answer[wire.keys.token])

    def get_user_profile(self) -> UserProfile:
        """The user whose token this is."""
        return self._one(UserProfile, self.transport.wire.routes.user_profile)

    def get_current_project(self) -> Project:
        """The project that the session is configured with, else the user's default project."""
        return self._one(Project, self.transport.wire.routes.current_project)

    # ------------------------------------------------------------------ paths

    def ls_path(self, path: str, query_params: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """One page of a folder's contents, as the server sent it.

        `query_params` filter, order and page it. Raises NotFoundResponse; ValidationError when `path`
        is no folder.
        """
        wire = self.transport.wire
        params = {**checked_filters(query_params), wire.keys.path: _text(path)}
        response = self.transport.request(wire.routes.ls_path, params=params)
        answer = records.decode(response)
        for row in records.rows(answer, wire, response):
            _require(row, (wire.keys.resource_type,), response)
        return _object(answer, response)

    def stat_path(self, path: str) -> dict[str, Any]:
        """What is at a path: its id, resource_type and path at least. Raises NotFoundResponse."""
        wire = self.transport.wire
        response = self.transport.request(wire.routes.stat_path, params={wire.keys.path: _text(path)})
        answer = _object(records.decode(response), response)
        _require(answer, (wire.keys.resource_type, wire.keys.id, wire.keys.path), response)
        return answer

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
            {wire.keys.id: _id_of(item), wire.keys.resource_type: item.resource_type} for item in items
        ]
        response = self.transport.request(wire.routes.get_paths, json={wire.keys.items: subjects})
        answer = records.decode(response)
        for row in records.rows(answer, wire, response):
            _require(row, (wire.keys.resource_type,), response)
        return _object(answer, response)

    def _assignment(self, given: Mapping[str, Any]) -> dict[str, Any]:
        keys = self.transport.wire.keys
        if not isinstance(given, Mapping):
            raise ValidationError(f"an assignment is a dict, not {type(given).__name__}")
        missing = {keys.resource_type, keys.id, keys.path} - set(given)
        if missing:
            raise ValidationError(f"an assignment lacks {', '.join(sorted(missing))}")
        return dict(given)

    # ------------------------------------------------------------------ resources

    def create_resource(
        self,
        resource_type: type[R],
        params: Mapping[str, Any] | None = None,
        files: Mapping[str, str | os.PathLike[str]] | None = None,
    ) -> R:
        """Make a resource from the parameters of its REST call.

        `files` (one local path, for a File) uploads contents as `File.upload` does, `params` holding
        name, project and folder_path.
        """
        given = dict(params or {})
        if files:
            if not issubclass(resource_type, File) or len(files) != 1:
                raise ValidationError("contents can be given for a File only, and once")
            made = resource_type.upload(self, path=next(iter(files.values())), **_upload_arguments(given))
            return cast("R", made)
        route = _offered(self._routes(resource_type).create, resource_type, "create")
        return self._one(resource_type, route, json=given)

    def get_resource(self, resource_type: type[R], resource_id: int, timeout: float | None = None) -> R:
        """An existing resource by its id. `timeout` bounds the call in seconds, retries included."""
        route = _offered(self._routes(resource_type).get, resource_type, "get")
        limit = None if timeout is None else TotalTimeout(timeout)
        return self._one(resource_type, route, fill={"id": _id(resource_id)}, timeout=limit)

    def list_resources(self, resource: type[R], filters: Mapping[str, Any] | None = None) -> Iterator[R]:
        """All resources of a type, asked for page by page as they are taken.

        `filters` are query parameters. Objects may be incomplete: `refresh_resource` completes them.
        """
        route = _offered(self._routes(resource).list, resource, "list")
        return self._pages(resource, route, checked_filters(filters))

    def refresh_resource(self, resource: Resource) -> None:
        """Set a resource's attributes anew from the server."""
        route = _offered(self._routes(type(resource)).get, type(resource), "refresh")
        response = self.transport.request(route, fill={"id": _id_of(resource)})
        resource.take(records.decode(response), self, response)

    def update_resource(self, resource: Resource, params: Mapping[str, Any]) -> None:
        """Change attributes on the server, then here. Not for paths: `assign_paths`."""
        route = _offered(self._routes(type(resource)).update, type(resource), "update")
        response = self.transport.request(route, fill={"id": _id_of(resource)}, json=dict(params))
        resource.take(records.decode(response), self, response)

    def delete_resource(self, resource: Resource, immediate: bool = False) -> bool:
        """Delete a resource; `immediate` for good. True when it is done; raises when it is not."""
        route = _offered(self._routes(type(resource)).delete, type(resource), "delete")
        params = {self.transport.wire.keys.immediate: "true"} if immediate else None
        self.transport.order(route, fill={"id": _id_of(resource)}, params=params)
        return True

    def _one(self, kind: type[R], route: Route, **request: Any) -> R:
        response = self.transport.request(route, **request)
        made = kind()
        made.take(records.decode(response), self, response)
        return made

    def _pages(self, kind: type[R], route: Route, filters: dict[str, Any]) -> Iterator[R]:
        wire = self.transport.wire
        offset = int(filters.pop(wire.keys.offset, 0))
        limit = filters.pop(wire.keys.limit, None)
        size = int(limit) if limit is not None else _FIRST_PAGE
        while True:
            params = {**filters, wire.keys.limit: size, wire.keys.offset: offset}
            response = self.transport.request(route, params=params)
            answer = records.decode(response)
            rows = records.rows(answer, wire, response)
            for row in rows:
                made = kind()
                made.take(row, self, response)
                yield made
            offset += len(rows)
            if not rows or not answer.get(wire.keys.next):
                return
            if limit is None:
                size = max(_FIRST_PAGE, self.transport.server().limits.page_max)

    def _routes(self, resource_type: type[Resource]) -> ResourceRoutes:
        word = getattr(resource_type, "resource_type", None)
        found = self.transport.wire.resources.get(word) if isinstance(word, str) else None
        if found is None:
            raise ValidationError(f"{_type_name(resource_type)} can't be asked for in this dialect")
        return found

    # ------------------------------------------------------------------ tags

    def list_tags(self, resource: Resource) -> Iterator[dict[str, Any]]:
        """The tags of a resource, each a dict as the server sent it."""
        response = self._tags(self.transport.wire.routes.list_tags, resource)
        return iter(records.rows(records.decode(response), self.transport.wire, response))

    def tag_resource(self, resource: Resource, *tags: str, project: Project | int | None = None) -> None:
        """Add tags. `project` is the project they belong to (default: the session's)."""
        keys = self.transport.wire.keys
        body = tag_body(tags, keys.tags)
        if project is not None:
            body[keys.project] = project_id(project)
        if tags:
            check_done(self._tags(self.transport.wire.routes.add_tags, resource, json=body))

    def untag_resource(self, resource: Resource, *tags: str, project: Project | int | None = None) -> None:
        """Remove tags; those that are not there are ignored. `project` is checked and not used."""
        if project is not None:
            project_id(project)
        body = tag_body(tags, self.transport.wire.keys.tags)
        if tags:
            check_done(self._tags(self.transport.wire.routes.remove_tags, resource, json=body))

    def _tags(self, route: Route, resource: Resource, **request: Any) -> requests.Response:
        routes = self._routes(type(resource))
        if not routes.is_taggable:
            raise ValidationError(f"{_type_name(type(resource))} can't be tagged")
        fill: dict[str, int | str] = {"plural": routes.plural, "id": _id_of(resource)}
        return self.transport.request(route, fill=fill, **request)


def _offered(route: Route | None, resource_type: type[Resource], verb: str) -> Route:
    if route is None:
        raise ValidationError(f"this dialect has no way to {verb} a {_type_name(resource_type)}")
    return route


def _type_name(resource_type: object) -> str:
    return resource_type.__name__ if isinstance(resource_type, type) else repr(resource_type)


def _text(path: object) -> str:
    if not isinstance(path, str) or not path:
        raise ValidationError(f"a path is a text that is not empty, not {path!r}")
    return path


def _id(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValidationError(f"not an id: {value!r}")
    try:
        return int(value)
    except ValueError as exc:
        raise ValidationError(f"not an id: {value!r}") from exc


def _id_of(resource: object) -> int:
    found = getattr(resource, "id", None)
    if not isinstance(resource, Resource) or found is None:
        raise ValidationError(f"not a resource with an id: {resource!r}")
    return _id(found)


def _object(answer: object, response: requests.Response) -> dict[str, Any]:
    if not isinstance(answer, dict):
        raise BadResponse(response, "the answer is not an object")
    return answer


def _require(row: Mapping[str, Any], keys: tuple[str, ...], response: requests.Response) -> None:
    missing = [key for key in keys if key not in row]
    if missing:
        raise BadResponse(response, f"the answer lacks {', '.join(missing)}")


def _upload_arguments(params: dict[str, Any]) -> dict[str, Any]:
    unknown = set(params) - {"name", "project", "folder_path"}
    if unknown or "name" not in params:
        raise ValidationError("an upload takes name, and project and folder_path if need be")
    return params
