"""`OrionSession`: the documented calls on an Orion stack, blocking, for use by many threads.

Names, parameters and meaning are the documented ones; what goes beyond is called an extension where it
stands. Errors are those of `errors`. The session itself holds no state besides its transport. Here are
the calls about resources and about who one is; `path_calls` and `sharing_calls` are the others. Must not
hold routes or keys (`wire`), nor know how bytes move (`upload`, `download`).
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, cast

from . import links, records
from .errors import AuthorizationRequired, BadResponse, InvalidCredentials, OrionTimeout, ValidationError
from .http import TotalTimeout, get_session
from .links import OrionLink, RecordLink, ShardLink
from .offers import offered, routes_of, type_name
from .path_calls import PathCalls
from .place import in_orion
from .profiles import SessionConfig, get_profile_config
from .resource import Resource, as_id, checked_filters, id_of, sent_params
from .sharing_calls import SharingCalls
from .transport import Transport
from .types import CurrentBalance, Dataset, File, Project, UserProfile
from .wire import DIALECT, Route
from .wire_file import load_wire

if TYPE_CHECKING:
    import requests

__all__ = ["APISession", "OrionSession", "SessionConfig", "get_profile_config", "get_session", "in_orion"]

R = TypeVar("R", bound=Resource)

_FIRST_PAGE = 100


class OrionSession(PathCalls, SharingCalls):
    """A session with one server, as one user.

    `config` says where (default: `get_profile_config()`), `requests_session` how (default:
    `get_session()`); the requests session belongs to this session from then on. `orion_versions` is
    accepted and not used: this dialect has one version. Raises OrionError for a config's wire that can't
    be read.
    """

    direct_resources = True
    """Extension: a resource made from `id` and `session` alone is as good as one that was asked for."""

    config: SessionConfig
    orion_versions: object

    def __init__(
        self,
        config: SessionConfig | None = None,
        orion_versions: object = None,
        requests_session: requests.Session | None = None,
    ) -> None:
        self.config = config or get_profile_config()
        self.orion_versions = orion_versions
        wire = DIALECT if self.config.wire is None else load_wire(self.config.wire)
        self.transport = Transport(self.config, requests_session or get_session(), wire)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.config!r})"

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

    def get_user_profile(self) -> UserProfile:
        """The user whose token this is."""
        return self._one(UserProfile, self.transport.wire.routes.user_profile)

    def get_current_project(self) -> Project:
        """The project that the session is configured with, else the user's default project."""
        return self._one(Project, self.transport.wire.routes.current_project)

    def get_current_balance(self) -> CurrentBalance:
        """What the organization has left. BadResponse without the capability to see that."""
        return self._one(CurrentBalance, self.transport.wire.routes.current_balance)

    def retrieve_token(self, username: str, password: str) -> str:
        """A new token of a user; needs none. Raises InvalidCredentials."""
        keys = self.transport.wire.keys
        body = {keys.username: _login(username), keys.password: _login(password)}
        response = self.transport.ask_as_stranger(self.transport.wire.routes.retrieve_token, body)
        answer = records.decode(response)
        token = answer.get(keys.token) if isinstance(answer, dict) else None
        if not isinstance(token, str) or not token:
            raise BadResponse(response, "the answer holds no token")
        return token

    # ------------------------------------------------------------------ resources

    def get_link(self, link_dict: Mapping[str, Any]) -> OrionLink | RecordLink | ShardLink:
        """The object of a link's dict; its `get()` fetches what is linked to. Raises OrionLinkError."""
        return links.parsed(link_dict, self)

    def create_resource(
        self,
        resource_type: type[R] | R,
        params: Mapping[str, Any] | None = None,
        files: Mapping[str, str | os.PathLike[str]] | None = None,
    ) -> R:
        """Make a resource from the parameters of its REST call.

        `files` (one local path, for a File or a Dataset) uploads contents as their `upload` does,
        `params` holding name, project and folder_path.
        """
        if files:
            return self._uploaded(resource_type, dict(params or {}), files)
        route = offered(routes_of(self.transport, resource_type).create, resource_type, "create")
        return self._one(resource_type, route, json=self._params(resource_type, params or {}))

    def get_resource(self, resource_type: type[R] | R, resource_id: int, timeout: float | None = None) -> R:
        """An existing resource by its id; a shard by `Shard(collection=...)` for a type.

        `timeout` bounds the call in seconds, retries included.
        """
        route = offered(routes_of(self.transport, resource_type).get, resource_type, "get")
        limit = None if timeout is None else TotalTimeout(timeout)
        return self._one(resource_type, route, fill={"id": as_id(resource_id)}, timeout=limit)

    def list_resources(self, resource: type[R] | R, filters: Mapping[str, Any] | None = None) -> Iterator[R]:
        """All resources of a type, asked for page by page as they are taken.

        `filters` are query parameters; a list of values is sent as several. Objects may be incomplete:
        `refresh_resource` completes them.
        """
        route = offered(routes_of(self.transport, resource).list, resource, "list")
        new = _new(resource)
        return self._pages(new, route, new.place(), checked_filters(filters, self.transport.wire.filters))

    def refresh_resource(self, resource: Resource) -> None:
        """Set a resource's attributes anew from the server."""
        self._refresh(resource, None)

    def refresh_resource_until(
        self,
        resource: Resource,
        attribute: str,
        until_value: Any,
        timeout: float = 60,
        sleep_time: float = 1,
    ) -> None:
        """Refresh a resource until an attribute has a value, every `sleep_time` seconds.

        Raises OrionTimeout when it has another one after `timeout` seconds.
        """
        if not hasattr(resource, attribute):
            raise ValidationError(f"a {type_name(resource)} has no attribute {attribute!r}")
        deadline = time.monotonic() + timeout
        while True:
            self._refresh(resource, max(0.001, deadline - time.monotonic()))
            value = getattr(resource, attribute)
            if value == until_value:
                return
            if time.monotonic() + sleep_time > deadline:
                told = f"{attribute} is {value!r} after {timeout} s, not {until_value!r}"
                raise OrionTimeout(f"{type_name(resource)} {getattr(resource, 'id', '')}: {told}")
            time.sleep(sleep_time)

    def update_resource(self, resource: Resource, params: Mapping[str, Any]) -> None:
        """Change attributes on the server, then here. Not for paths: `assign_paths`."""
        route = offered(routes_of(self.transport, resource).update, resource, "update")
        response = self.transport.request(route, fill=_fill_of(resource), json=self._params(resource, params))
        resource.take(records.decode(response), self, response)

    def delete_resource(self, resource: Resource, immediate: bool = False) -> bool:
        """Delete a resource; `immediate` for good. True when it is done; raises when it is not."""
        route = offered(routes_of(self.transport, resource).delete, resource, "delete")
        params = {self.transport.wire.keys.immediate: "true"} if immediate else None
        self.transport.order(route, fill=_fill_of(resource), params=params)
        return True

    def _one(
        self, kind: type[R] | R, route: Route, fill: Mapping[str, int] | None = None, **request: Any
    ) -> R:
        made = _new(kind)
        response = self.transport.request(route, fill={**made.place(), **(fill or {})}, **request)
        made.take(records.decode(response), self, response)
        return made

    def _refresh(self, resource: Resource, limit_s: float | None) -> None:
        routes = self.transport.wire.routes
        timeout = None if limit_s is None else TotalTimeout(limit_s)
        fill: Mapping[str, int] = {}
        if isinstance(resource, UserProfile):
            route = routes.user_profile
        elif isinstance(resource, CurrentBalance):
            route = routes.current_balance
        else:
            route = offered(routes_of(self.transport, resource).get, resource, "refresh")
            fill = _fill_of(resource)
        response = self.transport.request(route, fill=fill, timeout=timeout)
        resource.take(records.decode(response), self, response)

    def _pages(self, kind: R, route: Route, fill: Mapping[str, int], filters: dict[str, Any]) -> Iterator[R]:
        wire = self.transport.wire
        limit_key, offset_key = wire.filters["limit"], wire.filters["offset"]
        offset = as_id(filters.pop(offset_key, None) or 0)
        limit = filters.pop(limit_key, None)
        size = as_id(limit) if limit is not None else _FIRST_PAGE
        while True:
            params = {**filters, limit_key: size, offset_key: offset}
            response = self.transport.request(route, fill=fill, params=params)
            answer = records.decode(response)
            rows = records.rows(answer, wire, response)
            for row in rows:
                made = kind.like()
                made.take(row, self, response)
                yield made
            offset += len(rows)
            if not rows or not answer.get(wire.keys.next):
                return
            if limit is None:
                size = max(_FIRST_PAGE, self.transport.server().limits.page_max)

    def _params(self, resource: Resource | type[Resource], params: Mapping[str, Any]) -> dict[str, Any]:
        wire = self.transport.wire
        names = {**wire.records[resource.resource_type], "folder_path": wire.keys.folder_path}
        return sent_params(params, names, metadata_key=names.get("metadata", wire.keys.metadata))

    def _uploaded(
        self,
        resource_type: type[R] | R,
        params: dict[str, Any],
        files: Mapping[str, str | os.PathLike[str]],
    ) -> R:
        if not isinstance(resource_type, type) or not issubclass(resource_type, File | Dataset):
            raise ValidationError("contents can be given for a File or a Dataset only")
        unknown = set(params) - {"name", "project", "folder_path"}
        if len(files) != 1 or unknown or "name" not in params:
            raise ValidationError("an upload takes one file, name, and project and folder_path if need be")
        made = resource_type.upload(self, params.pop("name"), next(iter(files.values())), **params)
        return cast("R", made)


def _new(kind: type[R] | R) -> R:
    if isinstance(kind, Resource):
        return kind.like()
    return kind()


def _fill_of(resource: Resource) -> dict[str, int]:
    return {**resource.place(), "id": id_of(resource)}


def _login(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValidationError("a token is given for a username and a password, both texts")
    return value


class _LazySession(OrionSession):
    """A session that is made of the default profile by the first thread that uses it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        if name not in ("config", "orion_versions", "transport"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        with self._lock:
            if name not in self.__dict__:
                OrionSession.__init__(self)
        return self.__dict__[name]

    def __repr__(self) -> str:
        return "APISession"

    def close(self) -> None:
        """Close the connections, if it has been used."""
        if "transport" in self.__dict__:
            super().close()


APISession: OrionSession = _LazySession()
"""A session with the default profile, or the one that ORION_PROFILE names; made when it is first used."""
