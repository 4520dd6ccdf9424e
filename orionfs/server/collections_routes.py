"""Routes of collections and shards, the few that this server has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from orionfs.server import files, shards
from orionfs.server.files_routes import redirect_to_blob, store_body
from orionfs.server.paths import Caller
from orionfs.server.rows import Json, make_rows
from orionfs.server.site import Site
from orionfs.server.store import Connection
from orionfs.server.transfer import declared_length
from orionfs.server.web import api, id_in_path, json_body, page_answer, read, selection_of, write

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.routing import BaseRoute

_COLLECTION = "/api/v1/storage/collections/{cid}"
_SHARD = _COLLECTION + "/shards/{sid}"


async def create_collection(site: Site, caller: Caller, request: Request) -> Response:
    """POST collections."""
    body = await json_body(request)
    row = await write(site, lambda c: shards.create_collection(c, caller, body, site.rules))
    return JSONResponse(row, 201)


async def get_collection(site: Site, caller: Caller, request: Request) -> Response:
    """GET collections/<cid>."""
    collection_id = id_in_path(request, "cid")

    def find(connection: Connection) -> Json:
        return make_rows(connection, [shards.get_collection(connection, caller, collection_id)])[0]

    return JSONResponse(await read(site, find))


async def delete_collection(site: Site, caller: Caller, request: Request) -> Response:
    """DELETE collections/<cid>: softly, or with all shards for good with immediate=true."""
    collection_id = id_in_path(request, "cid")
    immediate = request.query_params.get("immediate", "false").lower() in ("true", "1")

    def delete(connection: Connection) -> list[str]:
        record = shards.get_collection(connection, caller, collection_id)
        return files.delete(connection, caller, record, site.rules, immediate=immediate)

    keys = await write(site, delete)
    await run_in_threadpool(site.blobs.remove, keys)
    return Response(status_code=204)


async def create_shard(site: Site, caller: Caller, request: Request) -> Response:
    """POST collections/<cid>/shards."""
    collection_id = id_in_path(request, "cid")
    name = (await json_body(request)).get("name")
    row = await write(site, lambda c: shards.create_shard(c, caller, collection_id, name, site.rules))
    return JSONResponse(row, 201)


async def list_shards(site: Site, caller: Caller, request: Request) -> Response:
    """GET collections/<cid>/shards."""
    collection_id = id_in_path(request, "cid")
    selection = selection_of(site, request)
    page = await read(site, lambda c: shards.list_shards(c, caller, collection_id, selection))
    return page_answer(request, selection, page)


async def get_shard(site: Site, caller: Caller, request: Request) -> Response:
    """GET collections/<cid>/shards/<sid>."""
    numbers = _numbers(request)
    return JSONResponse(await read(site, lambda c: shards.shard_row(shards.get_shard(c, caller, *numbers))))


async def put_shard_data(site: Site, caller: Caller, request: Request) -> Response:
    """PUT collections/<cid>/shards/<sid>/data: the whole contents, again as often as needed."""
    numbers = _numbers(request)
    limit_bytes = site.rules.switches.upload_max_bytes
    declared_length(request, limit_bytes)
    await read(site, lambda c: shards.get_open_shard(c, caller, *numbers))
    key, size = await store_body(site, request, limit_bytes)
    unused: str | None = key
    try:
        unused = await write(site, lambda c: shards.fill_shard(c, caller, *numbers, key, size))
    finally:
        await run_in_threadpool(site.blobs.remove, [unused])
    return Response(status_code=204)


async def close_shard(site: Site, caller: Caller, request: Request) -> Response:
    """POST collections/<cid>/shards/<sid>/close."""
    numbers = _numbers(request)
    return JSONResponse(await write(site, lambda c: shards.close_shard(c, caller, *numbers)))


async def download_shard(site: Site, caller: Caller, request: Request) -> Response:
    """GET collections/<cid>/shards/<sid>/download/: a redirect to a signed URL."""
    numbers = _numbers(request)
    await read(site, lambda c: files.need_ready(shards.get_shard(c, caller, *numbers)))
    return redirect_to_blob(site, numbers[1])


def _numbers(request: Request) -> tuple[int, int]:
    return id_in_path(request, "cid"), id_in_path(request, "sid")


ROUTES: list[BaseRoute] = [
    api("/api/v1/storage/collections", {"POST": create_collection}),
    api(_COLLECTION, {"GET": get_collection, "DELETE": delete_collection}),
    api(f"{_COLLECTION}/shards", {"GET": list_shards, "POST": create_shard}),
    api(_SHARD, {"GET": get_shard}),
    api(f"{_SHARD}/data", {"PUT": put_shard_data}),
    api(f"{_SHARD}/close", {"POST": close_shard}),
    api(f"{_SHARD}/download/", {"GET": download_shard}),
    api(f"{_SHARD}/download", {"GET": download_shard}),
]
