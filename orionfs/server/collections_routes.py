"""Routes of collections and their shards."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from orionfs.server import files, shards
from orionfs.server.files_routes import redirect_to_blob, signed_parts, signed_upload, store_body
from orionfs.server.items_routes import item_handlers
from orionfs.server.paths import Caller, Kind
from orionfs.server.rows import Json
from orionfs.server.site import Site
from orionfs.server.store import Connection
from orionfs.server.transfer import declared_length
from orionfs.server.uploads import upload_of_shard
from orionfs.server.web import (
    Handler,
    api,
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

_COLLECTIONS = "/api/v1/storage/collections"
_SHARDS = f"{_COLLECTIONS}/{{id}}/shards"
_SHARD = f"{_SHARDS}/{{sid}}"


async def create_collection(site: Site, caller: Caller, request: Request) -> Response:
    """POST collections."""
    body = await json_body(request)
    row = await write(site, lambda c: shards.create_collection(c, caller, body, site.rules))
    return JSONResponse(row, 201)


def _into_state(state: str) -> Handler:
    async def set_state(site: Site, caller: Caller, request: Request) -> Response:
        """POST collections/<id>/open and .../close."""
        number = id_in_path(request, "id")
        return JSONResponse(await write(site, lambda c: shards.set_state(c, caller, number, state)))

    return set_state


async def create_shard(site: Site, caller: Caller, request: Request) -> Response:
    """POST collections/<id>/shards."""
    number = id_in_path(request, "id")
    body = await json_body(request)
    row = await write(site, lambda c: shards.create_shard(c, caller, number, body, site.rules))
    return JSONResponse(row, 201)


async def list_shards(site: Site, caller: Caller, request: Request) -> Response:
    """GET collections/<id>/shards."""
    number = id_in_path(request, "id")
    selection = selection_of(site, request)
    page = await read(site, lambda c: shards.list_shards(c, caller, number, selection))
    return page_answer(request, selection, page)


async def get_shard(site: Site, caller: Caller, request: Request) -> Response:
    """GET .../shards/<sid>."""
    numbers = _numbers(request)
    return JSONResponse(await read(site, lambda c: shards.shard_row(shards.get_shard(c, caller, *numbers))))


async def update_shard(site: Site, caller: Caller, request: Request) -> Response:
    """PATCH .../shards/<sid>: name, metadata."""
    numbers = _numbers(request)
    changes = await json_body(request)
    return JSONResponse(await write(site, lambda c: shards.update_shard(c, caller, *numbers, changes)))


async def delete_shard(site: Site, caller: Caller, request: Request) -> Response:
    """DELETE .../shards/<sid>: for good."""
    numbers = _numbers(request)
    keys = await write(site, lambda c: shards.delete_shard(c, caller, *numbers, site.rules))
    await run_in_threadpool(site.blobs.remove, keys)
    return Response(status_code=204)


async def put_shard_data(site: Site, caller: Caller, request: Request) -> Response:
    """PUT .../shards/<sid>/data: the whole contents in one request, again as often as needed."""
    numbers = _numbers(request)
    limit_bytes = min(site.rules.switches.part_bytes, site.rules.switches.shard_max_bytes)
    declared_length(request, limit_bytes)
    await read(site, lambda c: shards.get_unfinished_shard(c, caller, *numbers))
    key, size = await store_body(site, request, limit_bytes)
    unused = [key]
    try:
        unused = await write(site, lambda c: shards.fill_shard(c, caller, *numbers, key, size))
    finally:
        await run_in_threadpool(site.blobs.remove, unused)
    return Response(status_code=204)


async def send_parts(site: Site, caller: Caller, request: Request) -> Response:
    """POST .../shards/<sid>/parts: begin new contents of a size, or renew the URLs of parts."""
    numbers = _numbers(request)
    body = await json_body(request)
    if "size" not in body:
        upload = await read(site, lambda c: shards.get_upload(c, caller, *numbers))
        parts = signed_parts(site, upload.id, upload.check_numbers(body.get("numbers")))
        return JSONResponse({"part_bytes": upload.part_bytes, "parts": parts})
    size = shards.check_size(body["size"], site.rules)
    key = site.blobs.new_key()

    def begin(connection: Connection) -> tuple[Json, list[str]]:
        upload, unused = shards.begin_upload(connection, caller, numbers, key, size, site.rules)
        site.blobs.create(key).close()
        return signed_upload(site, upload), unused

    return await _answer(site, begin)


async def complete_parts(site: Site, caller: Caller, request: Request) -> Response:
    """POST .../shards/<sid>/complete: all parts have been sent."""
    numbers = _numbers(request)
    parts = (await json_body(request)).get("parts")

    def complete() -> tuple[Json, list[str]]:
        def work(connection: Connection) -> tuple[Json, list[str]]:
            return shards.complete_upload(connection, caller, *numbers, parts)

        upload = site.database.read(lambda c: upload_of_shard(c, numbers[1]))
        if upload is None:
            return site.database.write(work)
        with site.seals.closing(upload.id):
            return site.database.write(work)

    row, unused = await run_in_threadpool(complete)
    await run_in_threadpool(site.blobs.remove, unused)
    return JSONResponse(row)


async def close_shard(site: Site, caller: Caller, request: Request) -> Response:
    """POST .../shards/<sid>/close."""
    numbers = _numbers(request)
    return await _answer(site, lambda c: shards.close_shard(c, caller, *numbers))


async def _answer(site: Site, work: Callable[[Connection], tuple[Json, list[str]]]) -> Response:
    """The answer of a change after which some blobs are needed no more."""
    row, unused = await write(site, work)
    await run_in_threadpool(site.blobs.remove, unused)
    return JSONResponse(row)


async def download_shard(site: Site, caller: Caller, request: Request) -> Response:
    """GET .../shards/<sid>/download/: a redirect to a signed URL."""
    numbers = _numbers(request)
    await read(site, lambda c: files.need_ready(shards.get_shard(c, caller, *numbers)))
    return redirect_to_blob(site, numbers[1])


def _numbers(request: Request) -> tuple[int, int]:
    return id_in_path(request, "id"), id_in_path(request, "sid")


_GENERIC = item_handlers(Kind.COLLECTION)

ROUTES: list[BaseRoute] = [
    api(_COLLECTIONS, {"GET": _GENERIC.list, "POST": create_collection}),
    api(f"{_COLLECTIONS}/{{id}}", _GENERIC.of_one),
    api(f"{_COLLECTIONS}/{{id}}/open", {"POST": _into_state(shards.OPEN)}),
    api(f"{_COLLECTIONS}/{{id}}/close", {"POST": _into_state(shards.CLOSED)}),
    api(_SHARDS, {"GET": list_shards, "POST": create_shard}),
    api(_SHARD, {"GET": get_shard, "PATCH": update_shard, "DELETE": delete_shard}),
    api(f"{_SHARD}/data", {"PUT": put_shard_data}),
    api(f"{_SHARD}/parts", {"POST": send_parts}),
    api(f"{_SHARD}/complete", {"POST": complete_parts}),
    api(f"{_SHARD}/close", {"POST": close_shard}),
    api(f"{_SHARD}/download/", {"GET": download_shard}),
    api(f"{_SHARD}/download", {"GET": download_shard}),
]
