"""Routes of paths: stat, ls, create, remove, assign, get."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, Response

from orionfs.server import listing, removing, tree
from orionfs.server.paths import Caller
from orionfs.server.problems import bad_request
from orionfs.server.rows import Json, make_rows
from orionfs.server.site import Site
from orionfs.server.store import Connection
from orionfs.server.web import (
    api,
    list_in_body,
    page_answer,
    read,
    selection_of,
    write,
)

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.routing import BaseRoute


async def stat(site: Site, caller: Caller, request: Request) -> Response:
    """GET storage/paths/stat."""
    path = _path_of(request)
    return JSONResponse(await read(site, lambda c: tree.stat(c, caller, path, site.rules)))


async def ls(site: Site, caller: Caller, request: Request) -> Response:
    """GET storage/paths/ls."""
    path = _path_of(request)
    selection = selection_of(site, request)
    page = await read(site, lambda c: listing.ls(c, caller, path, selection, site.rules))
    return page_answer(request, selection, page)


def _path_of(request: Request) -> str:
    path = request.query_params.get("path")
    if path is None:
        raise bad_request("the parameter path is needed")
    return path


async def create_paths(site: Site, caller: Caller, request: Request) -> Response:
    """POST storage/paths/create."""
    paths = await list_in_body(request, "paths")
    rows = await write(site, lambda c: tree.create_folders(c, caller, paths, site.rules))
    return JSONResponse({"results": rows}, 201)


async def remove_paths(site: Site, caller: Caller, request: Request) -> Response:
    """POST storage/paths/remove."""
    paths = await list_in_body(request, "paths")
    await write(site, lambda c: removing.remove_paths(c, caller, paths, site.rules))
    return Response(status_code=204)


async def assign_paths(site: Site, caller: Caller, request: Request) -> Response:
    """POST storage/paths/assign."""
    assignments = await list_in_body(request, "assignments")
    await write(site, lambda c: removing.assign(c, caller, assignments, site.rules))
    return Response(status_code=204)


async def get_paths(site: Site, caller: Caller, request: Request) -> Response:
    """POST storage/paths/get."""
    items = await list_in_body(request, "items")

    def find_all(connection: Connection) -> list[Json]:
        return make_rows(connection, [removing.find_resource(connection, caller, item) for item in items])

    if not all(isinstance(item, dict) for item in items):
        raise bad_request("items is a list of objects with resource_type and id")
    return JSONResponse({"results": await read(site, find_all)})


ROUTES: list[BaseRoute] = [
    api("/api/v1/storage/paths/stat", {"GET": stat}),
    api("/api/v1/storage/paths/ls", {"GET": ls}),
    api("/api/v1/storage/paths/create", {"POST": create_paths}),
    api("/api/v1/storage/paths/remove", {"POST": remove_paths}),
    api("/api/v1/storage/paths/assign", {"POST": assign_paths}),
    api("/api/v1/storage/paths/get", {"POST": get_paths}),
]
