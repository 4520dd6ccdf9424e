"""Routes of what is said about a resource beside its row: its tags and its shares."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, Response

from orionfs.server import dialect, habits, shares, tags
from orionfs.server.paths import KINDS_OF_PLACES, Caller
from orionfs.server.problems import invalid, not_found
from orionfs.server.site import Site
from orionfs.server.web import api, id_in_path, json_body, read, write

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.routing import BaseRoute

_SHARABLE = ("files", "datasets", "collections")
_NOT_SHARABLE = ("folders", "workfloes")


async def list_tags(site: Site, caller: Caller, request: Request) -> Response:
    """GET storage/<type>/<id>/tags."""
    kind, number = _tagged(site, request)
    listing = await read(site, lambda c: tags.list_tags(c, caller, kind, number))
    return JSONResponse(dialect.listing_answer(listing, site.rules.switches))


async def add_tags(site: Site, caller: Caller, request: Request) -> Response:
    """POST storage/<type>/<id>/tags."""
    kind, number = _tagged(site, request)
    body = await json_body(request)
    answer = await write(
        site, lambda c: tags.add_tags(c, caller, kind, number, body.get("tags"), body.get("project"))
    )
    return JSONResponse(answer)


async def remove_tags(site: Site, caller: Caller, request: Request) -> Response:
    """DELETE storage/<type>/<id>/tags with a body."""
    kind, number = _tagged(site, request)
    body = await json_body(request)
    answer = await write(site, lambda c: tags.remove_tags(c, caller, kind, number, body.get("tags")))
    return JSONResponse(answer)


async def list_shares(site: Site, caller: Caller, request: Request) -> Response:
    """GET storage/<type>/<id>/shares."""
    subject = _sharable(request)
    found = await read(site, lambda c: shares.list_shares(c, caller, subject))
    for row in found["results"]:
        user = site.accounts.users.get(row.get("user"))
        project = site.accounts.projects.get(row.get("project"))
        row["name"] = next((holder.name for holder in (user, project) if holder is not None), None)
    return JSONResponse(dialect.listing_answer(found, site.rules.switches))


async def share(site: Site, caller: Caller, request: Request) -> Response:
    """POST storage/<type>/<id>/shares."""
    subject = _sharable(request)
    body = await json_body(request)
    holder = shares.holder_in(body, site.accounts.users, site.accounts.projects)
    answer = await write(site, lambda c: shares.share(c, caller, subject, holder, body.get("permissions")))
    return JSONResponse(answer)


async def unshare(site: Site, caller: Caller, request: Request) -> Response:
    """DELETE storage/<type>/<id>/shares with a body."""
    subject = _sharable(request)
    body = await json_body(request)
    holder = shares.holder_in(body, site.accounts.users, site.accounts.projects)
    await write(site, lambda c: shares.unshare(c, caller, subject, holder))
    return Response(status_code=204)


def _sharable(request: Request) -> dict[str, str | int]:
    word = request.path_params["type"]
    if word in _NOT_SHARABLE:
        raise invalid(f"{word} can't be shared", "not_sharable")
    if word not in _SHARABLE:
        raise not_found(f"there are no {word}")
    return {"resource_type": KINDS_OF_PLACES[word].value, "id": id_in_path(request, "id")}


def _tagged(site: Site, request: Request) -> tuple[str, int]:
    word = request.path_params["type"]
    kind = KINDS_OF_PLACES.get(word)
    if kind is None:
        raise not_found(f"there are no {word}")
    habits.refuse_folder_id(kind.value, site.rules.switches)
    return kind.value, id_in_path(request, "id")


ROUTES: list[BaseRoute] = [
    api("/api/v1/storage/{type}/{id}/tags", {"GET": list_tags, "POST": add_tags, "DELETE": remove_tags}),
    *(
        api(f"{base}/{{type}}/{{id}}/shares", {"GET": list_shares, "POST": share, "DELETE": unshare})
        for base in ("/api/v1/storage", "/api/v3/storage", "/api/v1")
    ),
]
