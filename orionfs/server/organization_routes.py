"""Routes that belong to the whole stack and not to one resource: links, the balance."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse, Response

from orionfs.server.links import make_link
from orionfs.server.paths import Caller
from orionfs.server.problems import conflict
from orionfs.server.site import Site
from orionfs.server.store import iso_time
from orionfs.server.web import api, json_body, read

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.routing import BaseRoute

_COST_ACCOUNTING = "cost_accounting"


async def create_link(site: Site, caller: Caller, request: Request) -> Response:
    """POST storage/links: nothing is kept, a link is only told."""
    body = await json_body(request)
    return JSONResponse(await read(site, lambda c: make_link(c, caller, body, site.instance)))


async def get_balance(site: Site, caller: Caller, _request: Request) -> Response:
    """GET organization/balance: what the setting says; nothing costs anything here."""
    if _COST_ACCOUNTING not in caller.user.capabilities:
        raise conflict(f"the account has no capability {_COST_ACCOUNTING!r}", "no_capability")
    return JSONResponse(
        {
            "balance": f"{site.rules.switches.balance:.2f}",
            "currency": "USD",
            "as_of": iso_time(time.time_ns() // 1000),
        }
    )


ROUTES: list[BaseRoute] = [
    api("/api/v1/storage/links", {"POST": create_link}),
    api("/api/v1/organization/balance", {"GET": get_balance}),
]
