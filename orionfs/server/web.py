"""Between HTTP and the rest: callers, JSON bodies, worker threads, error answers.

Used by all route modules. Every API route goes through `api`, which refuses requests without a valid
token before anything else is looked at. What blocks runs in worker threads.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeVar

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from orionfs.server import habits
from orionfs.server.exchange import exchange_of
from orionfs.server.filters import Selection, parse_selection
from orionfs.server.marks import system_tag_of
from orionfs.server.paths import Caller, User
from orionfs.server.problems import Refusal, bad_request, not_found, too_large
from orionfs.server.rows import Json, envelope
from orionfs.server.site import Site
from orionfs.server.store import Connection

_T = TypeVar("_T")
Handler = Callable[[Site, Caller, Request], Awaitable[Response]]

JSON_BODY_MAX_BYTES = 16 * 1024 * 1024
_ID_DIGITS_MAX = 19  # of 2^63 - 1
_CLIENT_GONE = 499
_CODES = {404: "not_found", 405: "method_not_allowed"}


def site_of(request: Request) -> Site:
    """The site a request is for."""
    site: Site = request.app.state.site
    return site


def api(path: str, methods: dict[str, Handler]) -> Route:
    """A route for callers with a token: one handler per method."""

    async def endpoint(request: Request) -> Response:
        site = site_of(request)
        user = _authenticated(site, request)
        exchange_of(request.scope).user = user.name
        caller = site.accounts.caller(user, request.headers.get("x-orion-project"))
        job = request.headers.get("x-orion-job")
        if job is not None:
            caller = replace(caller, system_tag=system_tag_of(job))
        handler = methods.get(request.method) or methods["GET"]
        return await handler(site, caller, request)

    return Route(path, endpoint, methods=list(methods))


def _authenticated(site: Site, request: Request) -> User:
    try:
        return site.accounts.authenticate(request.headers.get("authorization"))
    except Refusal as refusal:
        raise habits.as_unauthenticated(refusal, site.rules.switches) from None


async def read(site: Site, work: Callable[[Connection], _T]) -> _T:
    """`work` on the metadata, in a worker thread."""
    return await run_in_threadpool(site.database.read, work)


async def write(site: Site, work: Callable[[Connection], _T]) -> _T:
    """`work` in one transaction on the metadata, in a worker thread; on disk when this returns."""
    return await run_in_threadpool(site.database.write, work)


async def json_body(request: Request, limit_bytes: int = JSON_BODY_MAX_BYTES) -> Json:
    """The body as a JSON object. Refusal 400, 413."""
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > limit_bytes:
            raise too_large(f"a JSON body has at most {limit_bytes} bytes here")
    try:
        body = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise bad_request("the body is no JSON", "bad_json") from error
    if not isinstance(body, dict):
        raise bad_request("the body is no JSON object", "bad_json")
    return body


async def list_in_body(request: Request, key: str) -> list[Any]:
    """The list under `key` of a JSON body. Refusal 400."""
    found = (await json_body(request)).get(key)
    if not isinstance(found, list):
        raise bad_request(f"{key} is a list")
    return found


def id_in_path(request: Request, name: str) -> int:
    """A number in the route's path; what can't be an id is not found."""
    text = request.path_params[name]
    if not (text.isascii() and text.isdigit() and len(text) <= _ID_DIGITS_MAX):
        raise not_found(f"there is nothing with the id {text}")
    return int(text)


def heeded_query(site: Site, request: Request) -> list[tuple[str, str]]:
    """The parameters of a listing request that count here."""
    return habits.heeded(request.query_params.multi_items(), site.rules.switches)


def selection_of(site: Site, request: Request) -> Selection:
    """The page that a listing request asks for. Refusal 400."""
    switches = site.rules.switches
    return habits.paged(parse_selection(heeded_query(site, request), switches.page_max), switches)


def page_of(request: Request, selection: Selection, page: tuple[int, list[Json]]) -> Json:
    """A page with its envelope, its rows as listings tell them."""
    switches = site_of(request).rules.switches
    base_url = str(request.url.replace(query=""))
    rows = [habits.listed(row, switches) for row in page[1]]
    return envelope(base_url, request.query_params.multi_items(), selection, page[0], rows)


def page_answer(request: Request, selection: Selection, page: tuple[int, list[Json]]) -> Response:
    """A listing's answer."""
    return JSONResponse(page_of(request, selection, page))


async def answer_refusal(_request: Request, error: Exception) -> Response:
    """The JSON answer of a Refusal."""
    if not isinstance(error, Refusal):
        raise error
    return JSONResponse({"detail": error.detail, "code": error.code}, error.status, error.headers)


async def answer_http_exception(_request: Request, error: Exception) -> Response:
    """The JSON answer for routes and methods that do not exist."""
    if not isinstance(error, HTTPException):
        raise error
    code = _CODES.get(error.status_code, "error")
    return JSONResponse({"detail": error.detail, "code": code}, error.status_code, error.headers)


async def answer_bug(_request: Request, _error: Exception) -> Response:
    """The JSON answer when the server itself fails."""
    return JSONResponse({"detail": "the server failed", "code": "server_error"}, 500)


async def answer_nobody(_request: Request, _error: Exception) -> Response:
    """The client hung up while it was sending: this only ends up in the access log."""
    return Response(status_code=_CLIENT_GONE)


EXCEPTION_HANDLERS: dict[Any, Callable[[Request, Exception], Awaitable[Response]]] = {
    Refusal: answer_refusal,
    HTTPException: answer_http_exception,
    ClientDisconnect: answer_nobody,
    Exception: answer_bug,
}
