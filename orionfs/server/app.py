"""The ASGI application of one site: all routes, error answers, and the layers around them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.applications import Starlette

from orionfs.server import (
    accounts_routes,
    collections_routes,
    datasets_routes,
    files_routes,
    organization_routes,
    paths_routes,
    sharing_routes,
    workfloes_routes,
)
from orionfs.server.exchange import AccessLogFile, ExchangeLayer
from orionfs.server.faults import FaultLayer, FaultPlan
from orionfs.server.renaming_layer import RenamingLayer
from orionfs.server.site import Site
from orionfs.server.web import EXCEPTION_HANDLERS

if TYPE_CHECKING:
    from starlette.types import ASGIApp


def make_app(site: Site, plan: FaultPlan, latency_s: float, log: AccessLogFile | None) -> ASGIApp:
    """The application: access log outside, then latency and faults, a renamed dialect, the routes."""
    modules = (
        accounts_routes,
        organization_routes,
        paths_routes,
        files_routes,
        datasets_routes,
        collections_routes,
        sharing_routes,
        workfloes_routes,
    )
    routes = [route for module in modules for route in module.ROUTES]
    app = Starlette(routes=routes, exception_handlers=EXCEPTION_HANDLERS)
    app.router.redirect_slashes = False
    app.state.site = site
    spoken: ASGIApp = RenamingLayer(app) if site.rules.switches.wire == "renamed" else app
    return ExchangeLayer(FaultLayer(spoken, plan, latency_s), log)
