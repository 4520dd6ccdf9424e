"""Routes and JSON keys as data: this project's dialect, not the vendor's.

The vendor publishes no REST contract. What stands here is spoken between `orionfs.client` and
`orionfs.server` and claimed of nothing else; only the two download routes are publicly known. No
other module of the client holds a route or a key, so that another table of the same form is enough
to speak another dialect (`wire_file` reads one). Frozen values, no behaviour but filling in and translating.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

__all__ = ["DIALECT", "Keys", "Limits", "ResourceRoutes", "Route", "Routes", "Wire"]

_FILES = "/api/v3/storage/files"
_DATASETS = "/api/v1/storage/datasets"
_COLLECTIONS = "/api/v1/storage/collections"
_SHARDS = f"{_COLLECTIONS}/{{collection}}/shards"
_PROJECTS = "/api/v1/projects"
_USERS = "/api/v1/users"
_WORKFLOES = "/api/v1/workfloes"


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
    """Calls that belong to no single type of resource, and the steps of uploads and downloads.

    `server_info` is None where the host is not to be asked whether it speaks this dialect.
    """

    server_info: Route | None = Route("GET", "/api/v1/orionfs")
    retrieve_token: Route = Route("POST", "/api/v1/token")
    user_profile: Route = Route("GET", f"{_USERS}/me")
    current_project: Route = Route("GET", f"{_PROJECTS}/current")
    current_balance: Route = Route("GET", "/api/v1/organization/balance")
    stat_path: Route = Route("GET", "/api/v1/storage/paths/stat")
    ls_path: Route = Route("GET", "/api/v1/storage/paths/ls")
    create_paths: Route = Route("POST", "/api/v1/storage/paths/create")
    remove_paths: Route = Route("POST", "/api/v1/storage/paths/remove")
    assign_paths: Route = Route("POST", "/api/v1/storage/paths/assign")
    get_paths: Route = Route("POST", "/api/v1/storage/paths/get")
    create_link: Route = Route("POST", "/api/v1/storage/links")
    upload_small: Route = Route("POST", f"{_FILES}/upload")
    upload_parts: Route = Route("POST", f"{_FILES}/{{id}}/parts")
    upload_complete: Route = Route("POST", f"{_FILES}/{{id}}/complete")
    download_file: Route = Route("GET", f"{_FILES}/{{id}}/download")
    upload_dataset: Route = Route("POST", f"{_DATASETS}/upload")
    add_records: Route = Route("POST", f"{_DATASETS}/{{id}}/records")
    finalize_dataset: Route = Route("POST", f"{_DATASETS}/{{id}}/finalize")
    download_dataset: Route = Route("GET", f"{_DATASETS}/{{id}}/download")
    open_collection: Route = Route("POST", f"{_COLLECTIONS}/{{id}}/open")
    close_collection: Route = Route("POST", f"{_COLLECTIONS}/{{id}}/close")
    shard_data: Route = Route("PUT", f"{_SHARDS}/{{id}}/data")
    shard_parts: Route = Route("POST", f"{_SHARDS}/{{id}}/parts")
    shard_complete: Route = Route("POST", f"{_SHARDS}/{{id}}/complete")
    close_shard: Route = Route("POST", f"{_SHARDS}/{{id}}/close")
    download_shard: Route = Route("GET", f"{_SHARDS}/{{id}}/download/")
    list_tags: Route = Route("GET", "/api/v1/storage/{plural}/{id}/tags")
    add_tags: Route = Route("POST", "/api/v1/storage/{plural}/{id}/tags")
    remove_tags: Route = Route("DELETE", "/api/v1/storage/{plural}/{id}/tags")


@dataclass(frozen=True, slots=True)
class ResourceRoutes:
    """What can be done to one type of resource; None: not offered.

    `literal` is what the server calls the type in its answers (empty: as we do).
    """

    plural: str
    literal: str = ""
    list: Route | None = None
    create: Route | None = None
    get: Route | None = None
    update: Route | None = None
    delete: Route | None = None
    share: Route | None = None
    unshare: Route | None = None
    shares: Route | None = None
    is_taggable: bool = False


@dataclass(frozen=True, slots=True)
class Keys:
    """Keys of JSON objects, query parameters, headers and literals outside the records of resources."""

    project_header: str = "X-Orion-Project"
    job_header: str = "X-Orion-Job"
    token_form: str = "Token:{token}"
    results: str = "results"
    next: str = "next"
    count: str = "count"
    path: str = "path"
    paths: str = "paths"
    assignments: str = "assignments"
    items: str = "items"
    resource_type: str = "resource_type"
    id: str = "id"
    name: str = "name"
    metadata: str = "metadata"
    tags: str = "tags"
    project: str = "project"
    user: str = "user"
    permissions: str = "permissions"
    username: str = "username"
    password: str = "password"
    token: str = "token"
    folder_path: str = "folder_path"
    filename: str = "filename"
    size: str = "size"
    open_ended: str = "open_ended"
    immediate: str = "immediate"
    upload: str = "upload"
    parts: str = "parts"
    numbers: str = "numbers"
    format: str = "format"
    record_ids: str = "record_ids"
    fieldlist: str = "fieldlist"
    collection: str = "collection"
    record: str = "record"
    expires: str = "expires"
    server_name: str = "orionfs"
    link_name: str = "orion"
    state_ready: str = "ready"
    state_processing: str = "processing"
    state_temporary: str = "temporary"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a server takes at once, where it is not asked for that (`server_info` is None)."""

    page_max: int = 1000
    part_bytes: int = 8 << 20


@dataclass(frozen=True, slots=True)
class Wire:
    """A whole dialect.

    `records` maps each record's attributes to the JSON keys they are read from (and sent as), `filters`
    the documented query parameters of listings to those that are sent; others go as they are given.
    """

    routes: Routes
    keys: Keys
    resources: Mapping[str, ResourceRoutes]
    records: Mapping[str, Mapping[str, str]]
    filters: Mapping[str, str]
    limits: Limits = Limits()

    def literal_of(self, word: str) -> str:
        """What the server calls the type that is `word` here."""
        routes = self.resources.get(word)
        return routes.literal if routes is not None and routes.literal else word

    def word_of(self, literal: str) -> str:
        """Our word for a type as the server calls it; what is not known stays as it is."""
        return next((word for word in self.resources if self.literal_of(word) == literal), literal)


def _same(*names: str) -> Mapping[str, str]:
    return MappingProxyType({name: name for name in names})


def _shared(plural: str, base: str) -> ResourceRoutes:
    """An item of the folder tree: everything can be done to it."""
    return ResourceRoutes(
        plural=plural,
        list=Route("GET", base),
        create=Route("POST", base),
        get=Route("GET", f"{base}/{{id}}"),
        update=Route("PATCH", f"{base}/{{id}}"),
        delete=Route("DELETE", f"{base}/{{id}}"),
        share=Route("POST", f"{base}/{{id}}/shares"),
        unshare=Route("DELETE", f"{base}/{{id}}/shares"),
        shares=Route("GET", f"{base}/{{id}}/shares"),
        is_taggable=True,
    )


_RESOURCES = {
    "file": _shared("files", _FILES),
    "dataset": _shared("datasets", _DATASETS),
    "collection": _shared("collections", _COLLECTIONS),
    "shard": ResourceRoutes(
        plural="shards",
        list=Route("GET", _SHARDS),
        create=Route("POST", _SHARDS),
        get=Route("GET", f"{_SHARDS}/{{id}}"),
        update=Route("PATCH", f"{_SHARDS}/{{id}}"),
        delete=Route("DELETE", f"{_SHARDS}/{{id}}"),
    ),
    "folder": ResourceRoutes(plural="folders", is_taggable=True),
    "project": ResourceRoutes(
        plural="projects", list=Route("GET", _PROJECTS), get=Route("GET", f"{_PROJECTS}/{{id}}")
    ),
    "user": ResourceRoutes(plural="users", list=Route("GET", _USERS), get=Route("GET", f"{_USERS}/{{id}}")),
    "workfloe": ResourceRoutes(
        plural="workfloes",
        list=Route("GET", _WORKFLOES),
        create=Route("POST", _WORKFLOES),
        get=Route("GET", f"{_WORKFLOES}/{{id}}"),
        update=Route("PATCH", f"{_WORKFLOES}/{{id}}"),
        delete=Route("DELETE", f"{_WORKFLOES}/{{id}}"),
        is_taggable=True,
    ),
}

_ITEM = ("id", "name", "path", "description", "created", "owner", "project", "state", "tags", "systemtags")
_PERSON = ("id", "username", "email", "first_name", "last_name")

_RECORDS = {
    "server": _same("server", "version", "instance", "limits"),
    "limits": _same("page_max", "part_bytes", "upload_max_bytes", "open_ended"),
    "file": _same(*_ITEM, "deleted", "size"),
    "dataset": _same(*_ITEM, "deleted", "count", "dirty"),
    "collection": _same(*_ITEM, "deleted", "metadata"),
    "shard": _same("id", "name", "size", "created", "owner", "project", "state", "metadata"),
    "folder": _same("id", "name", "path", "created", "owner", "project", "tags"),
    "project": _same("id", "name", "owner", "created"),
    "user": _same(*_PERSON),
    "profile": _same(*_PERSON, "default_project"),
    "balance": _same("balance", "currency", "as_of"),
    "workfloe": _same(
        "id",
        "uuid",
        "name",
        "title",
        "description",
        "state",
        "owner",
        "project",
        "created",
        "tags",
        "specification",
    ),
    "link": _same("link", "version", "stack", "resource_type", "id", "id_str", "collection", "dataset"),
    "upload": _same("part_bytes", "parts"),
    "part": _same("number", "url"),
}

_FILTERS = _same(
    "name",
    "name_contains",
    "name_icontains",
    "path_contains",
    "title",
    "uuid",
    "username",
    "search",
    "types",
    "tags",
    "tag_filters",
    "systag_filters",
    "tag_match",
    "state",
    "states",
    "deleted",
    "expired",
    "owner",
    "project",
    "order_by",
    "limit",
    "offset",
)

DIALECT = Wire(Routes(), Keys(), MappingProxyType(_RESOURCES), MappingProxyType(_RECORDS), _FILTERS)
