"""What can be done to files, datasets and collections alike: list, get, change, delete; once for all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from orionfs.server import files
from orionfs.server.listing import list_items
from orionfs.server.paths import Caller, Kind
from orionfs.server.rows import Json, make_rows
from orionfs.server.site import Site
from orionfs.server.store import Connection
from orionfs.server.web import Handler, id_in_path, json_body, page_answer, read, selection_of, write

if TYPE_CHECKING:
    from starlette.requests import Request


@dataclass(frozen=True, slots=True)
class ItemHandlers:
    """Handlers for the route of a kind, and by method those for the route of one item."""

    list: Handler
    of_one: dict[str, Handler]


def item_handlers(kind: Kind) -> ItemHandlers:
    """The handlers of one kind; the id of an item is `{id}` in its route."""

    async def list_all(site: Site, caller: Caller, request: Request) -> Response:
        """GET: all that the caller may read, in any state."""
        selection = selection_of(site, request)
        page = await read(site, lambda c: list_items(c, caller, kind, selection))
        return page_answer(request, selection, page)

    async def get_item(site: Site, caller: Caller, request: Request) -> Response:
        """GET <id>: its complete row, also when it is deleted."""
        number = id_in_path(request, "id")

        def find(connection: Connection) -> Json:
            record = files.get_item(connection, caller, kind, number, with_deleted=True)
            return make_rows(connection, [record])[0]

        return JSONResponse(await read(site, find))

    async def update_item(site: Site, caller: Caller, request: Request) -> Response:
        """PATCH <id>: name, description; of collections metadata."""
        number = id_in_path(request, "id")
        changes = await json_body(request)
        row = await write(site, lambda c: files.update(c, caller, kind, number, changes, site.rules))
        return JSONResponse(row)

    async def delete_item(site: Site, caller: Caller, request: Request) -> Response:
        """DELETE <id>: softly, or for good with immediate=true."""
        number = id_in_path(request, "id")
        immediate = request.query_params.get("immediate", "false").lower() in ("true", "1")

        def delete(connection: Connection) -> list[str]:
            record = files.get_item(connection, caller, kind, number, with_deleted=True)
            return files.delete(connection, caller, record, site.rules, immediate=immediate)

        keys = await write(site, delete)
        await run_in_threadpool(site.blobs.remove, keys)
        return Response(status_code=204)

    return ItemHandlers(list_all, {"GET": get_item, "PATCH": update_item, "DELETE": delete_item})
