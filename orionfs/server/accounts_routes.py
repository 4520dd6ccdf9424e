"""Routes of server info, tokens, users, profile, projects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from orionfs.server.accounts import Project
from orionfs.server.filters import Selection
from orionfs.server.paths import Caller, User
from orionfs.server.problems import bad_request, denied, not_found
from orionfs.server.rows import Json
from orionfs.server.site import Site
from orionfs.server.web import api, heeded_query, id_in_path, json_body, page_answer, selection_of, site_of

if TYPE_CHECKING:
    from starlette.requests import Request

_CREDENTIALS_MAX_BYTES = 64 * 1024


async def server_info(request: Request) -> Response:
    """GET /api/v1/orionfs: what this server is, for anybody."""
    site = site_of(request)
    switches = site.rules.switches
    limits = {
        "page_max": switches.page_max,
        "part_bytes": switches.part_bytes,
        "upload_max_bytes": switches.upload_max_bytes,
        "open_ended": True,
    }
    return JSONResponse(
        {"server": "orionfs", "version": site.version, "instance": site.instance, "limits": limits}
    )


async def create_token(request: Request) -> Response:
    """POST token: a new token for a name and a password, for anybody who knows both."""
    site = site_of(request)
    body = await json_body(request, _CREDENTIALS_MAX_BYTES)
    username, password = body.get("username"), body.get("password")
    if not isinstance(username, str) or not isinstance(password, str):
        raise bad_request("username and password are texts")

    def log_in() -> str:
        user = site.accounts.check_password(username, password)
        return site.accounts.give_token(site.database, user)

    # Whoever asks in masses waits here, without a thread and without memory for the hash.
    async with site.password_checks:
        token = await run_in_threadpool(log_in)
    return JSONResponse({"token": token}, headers={"Cache-Control": "no-store"})


async def get_profile(_site: Site, caller: Caller, _request: Request) -> Response:
    """GET users/me."""
    return JSONResponse({**_user_row(caller.user), "default_project": caller.user.default_project})


async def list_users(site: Site, caller: Caller, request: Request) -> Response:
    """GET users: those who share a project with the caller, the caller among them."""
    selection = selection_of(site, request)
    rows = [_user_row(user) for user in site.accounts.users.values() if _is_known_to(caller, user)]
    return _page_of(request, selection, rows, "username", dict(heeded_query(site, request)).get("username"))


async def get_user(site: Site, caller: Caller, request: Request) -> Response:
    """GET users/<id>."""
    number = id_in_path(request, "id")
    user = site.accounts.users.get(number)
    if user is None or not _is_known_to(caller, user):
        raise not_found(f"there is no user {number}")
    return JSONResponse(_user_row(user))


def _is_known_to(caller: Caller, user: User) -> bool:
    return not caller.user.project_ids.isdisjoint(user.project_ids)


def _user_row(user: User) -> Json:
    return {
        "id": user.id,
        "username": user.name,
        "email": user.email,
        "first_name": user.first_name,
        "last_name": user.last_name,
    }


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
    rows = [_project_row(site.accounts.projects[number]) for number in caller.user.project_ids]
    return _page_of(request, selection, rows, "name", selection.filters.name)


def _project_row(project: Project) -> Json:
    return {"id": project.id, "name": project.name, "owner": project.owner, "created": project.created}


def _page_of(
    request: Request, selection: Selection, rows: list[Json], name_key: str, name: str | None
) -> Response:
    """One page of rows that are all in memory: by id, unless by the name that is under `name_key`."""
    part, folded = selection.filters.name_contains or "", (selection.filters.name_icontains or "").casefold()
    chosen = [
        row
        for row in rows
        if name in (None, row[name_key]) and part in row[name_key] and folded in row[name_key].casefold()
    ]
    key = name_key if selection.order_column == "name" else "id"
    chosen.sort(key=lambda row: row[key], reverse=selection.order_by.startswith("-"))
    page = chosen[selection.offset : selection.offset + selection.limit]
    return page_answer(request, selection, (len(chosen), page))


ROUTES: list[BaseRoute] = [
    Route("/api/v1/orionfs", server_info, methods=["GET"]),
    Route("/api/v1/token", create_token, methods=["POST"]),
    api("/api/v1/users/me", {"GET": get_profile}),
    api("/api/v1/users/{id}", {"GET": get_user}),
    api("/api/v1/users", {"GET": list_users}),
    api("/api/v1/projects/current", {"GET": get_current_project}),
    api("/api/v1/projects/{id}", {"GET": get_project}),
    api("/api/v1/projects", {"GET": list_projects}),
]
