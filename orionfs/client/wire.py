"""Routes and JSON keys as data: this project's dialect, not the vendor's.

The vendor publishes no REST contract. What stands here is spoken between `orionfs.client` and
`orionfs.server` and claimed of nothing else; only the two download routes are publicly known. No
other module of the client holds a route or a key, so that another table of the same form is enough
to speak another dialect. Frozen values, no behaviour but filling in a route.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

__all__ = ["DIALECT", "Keys", "ResourceRoutes", "Route", "Routes", "Wire"]


@dataclass(frozen=True, slots=True)
class Route:
    """A method and a path; the path may hold `{names}` to be filled with ids."""

    method: str
    path: str

    def fill(self, **ids: int | str) -> str:
        """The path with its names filled in."""
        return self.path.format(**ids)


@dataclass(frozen=True, slots=True)
class Routes:
    """Calls that belong to no single type of resource, and the steps of an upload and a download."""

    server_info: Route = Route("GET", "/api/v1/orionfs")
    retrieve_token: Route = Route("POST", "/api/v1/token")
    user_profile: Route = Route("GET", "/api/v1/users/me")
    current_project: Route = Route("GET", "/api/v1/projects/current")
    stat_path: Route = Route("GET", "/api/v1/storage/paths/stat")
    ls_path: Route = Route("GET", "/api/v1/storage/paths/ls")
    create_paths: Route = Route("POST", "/api/v1/storage/paths/create")
    remove_paths: Route = Route("POST", "/api/v1/storage/paths/remove")
    assign_paths: Route = Route("POST", "/api/v1/storage/paths/assign")
    get_paths: Route = Route("POST", "/api/v1/storage/paths/get")
    upload_small: Route = Route("POST", "/api/v3/storage/files/upload")
    upload_parts: Route = Route("POST", "/api/v3/storage/files/{id}/parts")
    upload_complete: Route = Route("POST", "/api/v3/storage/files/{id}/complete")
    download_file: Route = Route("GET", "/api/v3/storage/files/{id}/download")
    list_tags: Route = Route("GET", "/api/v1/storage/{plural}/{id}/tags")
    add_tags: Route = Route("POST", "/api/v1/storage/{plural}/{id}/tags")
    remove_tags: Route = Route("DELETE", "/api/v1/storage/{plural}/{id}/tags")


@dataclass(frozen=True, slots=True)
class ResourceRoutes:
    """What can be done to one type of resource; None: not offered."""

    plural: str
    list: Route | None = None
    create: Route | None = None
    get: Route | None = None
    update: Route | None = None
    delete: Route | None = None
    is_taggable: bool = False


@dataclass(frozen=True, slots=True)
class Keys:
    """Keys of JSON objects, query parameters and headers outside the records of resources."""

    username: str = "username"
    password: str = "password"
    token: str = "token"
    project_header: str = "X-Orion-Project"
    token_form: str = "Token:{token}"
    results: str = "results"
    next: str = "next"
    limit: str = "limit"
    offset: str = "offset"
    path: str = "path"
    paths: str = "paths"
    assignments: str = "assignments"
    items: str = "items"
    resource_type: str = "resource_type"
    id: str = "id"
    name: str = "name"
    tags: str = "tags"
    project: str = "project"
    folder_path: str = "folder_path"
    size: str = "size"
    immediate: str = "immediate"
    upload: str = "upload"
    part_bytes: str = "part_bytes"
    parts: str = "parts"
    numbers: str = "numbers"
    expires: str = "expires"
    server_name: str = "orionfs"
    state_ready: str = "ready"


@dataclass(frozen=True, slots=True)
class Wire:
    """A whole dialect. `records` maps each record's attributes to the JSON keys they are read from."""

    routes: Routes
    keys: Keys
    resources: Mapping[str, ResourceRoutes]
    records: Mapping[str, Mapping[str, str]]


def _same(*names: str) -> Mapping[str, str]:
    return MappingProxyType({name: name for name in names})


_FILES = "/api/v3/storage/files"
_PROJECTS = "/api/v1/projects"

_RESOURCES = {
    "file": ResourceRoutes(
        plural="files",
        list=Route("GET", _FILES),
        create=Route("POST", _FILES),
        get=Route("GET", f"{_FILES}/{{id}}"),
        update=Route("PATCH", f"{_FILES}/{{id}}"),
        delete=Route("DELETE", f"{_FILES}/{{id}}"),
        is_taggable=True,
    ),
    "folder": ResourceRoutes(plural="folders", is_taggable=True),
    "project": ResourceRoutes(
        plural="projects",
        list=Route("GET", _PROJECTS),
        get=Route("GET", f"{_PROJECTS}/{{id}}"),
    ),
    "user": ResourceRoutes(plural="users"),
}

_RECORDS = {
    "server": _same("server", "version", "instance", "limits"),
    "limits": _same("page_max", "part_bytes", "upload_max_bytes"),
    "file": _same(
        "id", "name", "path", "description", "size", "created", "owner", "project", "state", "tags", "deleted"
    ),
    "folder": _same("id", "name", "path", "created", "owner", "project", "tags"),
    "project": _same("id", "name", "owner", "created"),
    "user": _same("id", "username", "email", "first_name", "last_name"),
    "profile": _same("id", "username", "email", "first_name", "last_name", "default_project"),
    "upload": _same("part_bytes", "parts"),
    "part": _same("number", "url"),
}

DIALECT = Wire(Routes(), Keys(), MappingProxyType(_RESOURCES), MappingProxyType(_RECORDS))
