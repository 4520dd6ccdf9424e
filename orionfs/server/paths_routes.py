"""Routes of paths: stat, ls, create, remove, assign, get."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response

from orionfs.server import dialect, habits, listing, removing, tree
from orionfs.server.paths import Caller
from orionfs.server.problems import bad_request
from orionfs.server.rows import Json, make_rows
from orionfs.server.site import Site
from orionfs.server.store import Connection
from orionfs.server.web import (
    api,
    list_in_body,
    page_of,
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
    row = await read(site, lambda c: tree.stat(c, caller, path, site.rules))
    switches = site.rules.switches
    return JSONResponse(dialect.row_answer(habits.stat_told(row, switches), switches))


async def ls(site: Site, caller: Caller, request: Request) -> Response:
    """GET storage/paths/ls."""
    path = _path_of(request)
    selection = selection_of(site, request)
    page = await read(site, lambda c: listing.ls(c, caller, path, selection, site.rules))
    return JSONResponse(dialect.listing_answer(page_of(request, selection, page), site.rules.switches))


def _path_of(request: Request) -> str:
    path = request.query_params.get("path")
    if path is None:
        raise bad_request("the parameter path is needed")
    return path


async def create_paths(site: Site, caller: Caller, request: Request) -> Response:
    """POST storage/paths/create."""
    paths = await list_in_body(request, "paths")
    _refuse_first(site, caller, "create", paths)
    rows = await write(site, lambda c: tree.create_folders(c, caller, paths, site.rules))
    return JSONResponse({"results": [habits.told(row, site.rules.switches) for row in rows]}, 201)


async def remove_paths(site: Site, caller: Caller, request: Request) -> Response:
    """POST storage/paths/remove."""
    paths = await list_in_body(request, "paths")
    _refuse_first(site, caller, "remove", paths)
    await write(site, lambda c: removing.remove_paths(c, caller, paths, site.rules))
    return Response(status_code=204)


async def assign_paths(site: Site, caller: Caller, request: Request) -> Response:
    """POST storage/paths/assign."""
    asked = await list_in_body(request, "assignments")
    _refuse_first(site, caller, "assign", asked)
    assignments = [dialect.own_assignment(assignment, site.rules.switches) for assignment in asked]
    await write(site, lambda c: removing.assign(c, caller, assignments, site.rules))
    return Response(status_code=204)


def _refuse_first(site: Site, caller: Caller, verb: str, subjects: list[Any]) -> None:
    if site.rules.switches.is_on("busy"):
        site.busy.refuse_first(caller.user.id, verb, subjects)


async def get_paths(site: Site, caller: Caller, request: Request) -> Response:
    """POST storage/paths/get."""
    switches = site.rules.switches
    asked = await list_in_body(request, "items")
    if not all(isinstance(item, dict) for item in asked):
        raise bad_request("items is a list of objects with resource_type and id")
    items = [dialect.own_item(item, switches) for item in asked]
    for item in items:
        habits.refuse_folder_id(item.get("resource_type"), switches)

    def find_all(connection: Connection) -> list[Json]:
        return make_rows(connection, [removing.find_resource(connection, caller, item) for item in items])

    return JSONResponse(dialect.listing_answer({"results": await read(site, find_all)}, switches))


ROUTES: list[BaseRoute] = [
    api("/api/v1/storage/paths/stat", {"GET": stat}),
    api("/api/v1/storage/paths/ls", {"GET": ls}),
    api("/api/v1/storage/paths/create", {"POST": create_paths}),
    api("/api/v1/storage/paths/remove", {"POST": remove_paths}),
    api("/api/v1/storage/paths/assign", {"POST": assign_paths}),
    api("/api/v1/storage/paths/get", {"POST": get_paths}),
]
