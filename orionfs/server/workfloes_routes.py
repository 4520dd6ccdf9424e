"""Routes of workfloes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, Response

from orionfs.server import workfloes
from orionfs.server.paths import Caller
from orionfs.server.site import Site
from orionfs.server.web import (
    api,
    heeded_query,
    id_in_path,
    json_body,
    page_answer,
    read,
    selection_of,
    write,
)

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.routing import BaseRoute

_WORKFLOES = "/api/v1/workfloes"


async def list_workfloes(site: Site, caller: Caller, request: Request) -> Response:
    """GET workfloes."""
    selection = selection_of(site, request)
    query = dict(heeded_query(site, request))
    title, identity = query.get("title"), query.get("uuid")
    page = await read(site, lambda c: workfloes.list_workfloes(c, caller, selection, title, identity))
    return page_answer(request, selection, page)


async def create_workfloe(site: Site, caller: Caller, request: Request) -> Response:
    """POST workfloes."""
    body = await json_body(request)
    return JSONResponse(await write(site, lambda c: workfloes.create(c, caller, body, site.rules)), 201)


async def get_workfloe(site: Site, caller: Caller, request: Request) -> Response:
    """GET workfloes/<id>: with its specification."""
    number = id_in_path(request, "id")
    return JSONResponse(await read(site, lambda c: workfloes.get(c, caller, number)))


async def update_workfloe(site: Site, caller: Caller, request: Request) -> Response:
    """PATCH workfloes/<id>: title, description, state."""
    number = id_in_path(request, "id")
    changes = await json_body(request)
    return JSONResponse(await write(site, lambda c: workfloes.update(c, caller, number, changes)))


async def delete_workfloe(site: Site, caller: Caller, request: Request) -> Response:
    """DELETE workfloes/<id>: for good."""
    number = id_in_path(request, "id")
    await write(site, lambda c: workfloes.delete(c, caller, number, site.rules))
    return Response(status_code=204)


ROUTES: list[BaseRoute] = [
    api(_WORKFLOES, {"GET": list_workfloes, "POST": create_workfloe}),
    api(f"{_WORKFLOES}/{{id}}", {"GET": get_workfloe, "PATCH": update_workfloe, "DELETE": delete_workfloe}),
]
