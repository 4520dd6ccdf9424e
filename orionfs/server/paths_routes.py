"""Routes of paths and tags, profile, projects, server info."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from orionfs.server import dialect, habits, listing, removing, tags, tree
from orionfs.server.accounts import Project
from orionfs.server.paths import KINDS_OF_PLACES, Caller
from orionfs.server.problems import bad_request, denied, not_found
from orionfs.server.rows import Json, make_rows
from orionfs.server.site import Site
from orionfs.server.store import Connection
from orionfs.server.web import (
    api,
    id_in_path,
    json_body,
    list_in_body,
    page_answer,
    page_of,
    read,
    selection_of,
    site_of,
    write,
)

if TYPE_CHECKING:
    from starlette.requests import Request


async def server_info(request: Request) -> Response:
    """GET /api/v1/orionfs: what this server is, for anybody."""
    site = site_of(request)
    switches = site.rules.switches
    limits = {
        "page_max": switches.page_max,
        "part_bytes": switches.part_bytes,
        "upload_max_bytes": switches.upload_max_bytes,
    }
    return JSONResponse(
        {"server": "orionfs", "version": site.version, "instance": site.instance, "limits": limits}
    )


async def get_profile(_site: Site, caller: Caller, _request: Request) -> Response:
    """GET users/me."""
    user = caller.user
    return JSONResponse(
        {
            "id": user.id,
            "username": user.name,
            "email": "",
            "first_name": "",
            "last_name": "",
            "default_project": user.default_project,
        }
    )


async def get_current_project(site: Site, caller: Caller, _request: Request) -> Response:
    """GET projects/current: the project of the session."""
    return JSONResponse(_project_row(site.accounts.projects[caller.project_id]))


async def get_project(site: Site, caller: Caller, request: Request) -> Response:
    """GET projects/<id>."""
    number = id_in_path(request, "id")
    if number not in site.accounts.projects:
        raise not_found(f"there is no project {number}")
    if number not in caller.user.project_ids:
        raise denied(f"you are not in project {number}")
    return JSONResponse(_project_row(site.accounts.projects[number]))


async def list_projects(site: Site, caller: Caller, request: Request) -> Response:
    """GET projects: those the caller is a member of."""
    selection = selection_of(site, request)
    rows = [_project_row(site.accounts.projects[number]) for number in sorted(caller.user.project_ids)]
    page = rows[selection.offset : selection.offset + selection.limit]
    return page_answer(request, selection, (len(rows), page))


def _project_row(project: Project) -> Json:
    return {"id": project.id, "name": project.name, "owner": project.owner, "created": project.created}


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


async def list_tags(site: Site, caller: Caller, request: Request) -> Response:
    """GET storage/<type>/<id>/tags."""
    kind, number = _tagged(site, request)
    listing = await read(site, lambda c: tags.list_tags(c, caller, kind, number))
    return JSONResponse(dialect.listing_answer(listing, site.rules.switches))


async def add_tags(site: Site, caller: Caller, request: Request) -> Response:
    """POST storage/<type>/<id>/tags."""
    kind, number = _tagged(site, request)
    body: dict[str, Any] = await json_body(request)
    answer = await write(
        site, lambda c: tags.add_tags(c, caller, kind, number, body.get("tags"), body.get("project"))
    )
    return JSONResponse(answer)


async def remove_tags(site: Site, caller: Caller, request: Request) -> Response:
    """DELETE storage/<type>/<id>/tags with a body."""
    kind, number = _tagged(site, request)
    body: dict[str, Any] = await json_body(request)
    answer = await write(site, lambda c: tags.remove_tags(c, caller, kind, number, body.get("tags")))
    return JSONResponse(answer)


def _tagged(site: Site, request: Request) -> tuple[str, int]:
    kind = KINDS_OF_PLACES.get(request.path_params["type"])
    if kind is None:
        raise not_found(f"there are no {request.path_params['type']}")
    habits.refuse_folder_id(kind.value, site.rules.switches)
    return kind.value, id_in_path(request, "id")


ROUTES: list[BaseRoute] = [
    Route("/api/v1/orionfs", server_info, methods=["GET"]),
    api("/api/v1/users/me", {"GET": get_profile}),
    api("/api/v1/projects/current", {"GET": get_current_project}),
    api("/api/v1/projects/{id}", {"GET": get_project}),
    api("/api/v1/projects", {"GET": list_projects}),
    api("/api/v1/storage/paths/stat", {"GET": stat}),
    api("/api/v1/storage/paths/ls", {"GET": ls}),
    api("/api/v1/storage/paths/create", {"POST": create_paths}),
    api("/api/v1/storage/paths/remove", {"POST": remove_paths}),
    api("/api/v1/storage/paths/assign", {"POST": assign_paths}),
    api("/api/v1/storage/paths/get", {"POST": get_paths}),
    api("/api/v1/storage/{type}/{id}/tags", {"GET": list_tags, "POST": add_tags, "DELETE": remove_tags}),
]
