"""Routes of files and their contents: making, uploading, completing, changing, downloading."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from orionfs.server import files, habits, uploads
from orionfs.server.items_routes import item_handlers
from orionfs.server.paths import Caller, Kind
from orionfs.server.problems import bad_request, not_found
from orionfs.server.rows import Json, get_record, make_rows
from orionfs.server.site import Site
from orionfs.server.store import Connection
from orionfs.server.transfer import BlobResponse, declared_length, receive_into
from orionfs.server.web import (
    api,
    id_in_path,
    json_body,
    read,
    site_of,
    write,
)

if TYPE_CHECKING:
    from starlette.requests import Request


async def create_file(site: Site, caller: Caller, request: Request) -> Response:
    """POST files: begin an upload in parts; an open-ended one tells its size when it is complete."""
    body = await json_body(request)
    is_open = body.get("open_ended") is True and "size" not in body
    size = None if is_open else files.check_size(body.get("size"), site.rules)
    part_bytes = site.rules.switches.part_bytes
    key = site.blobs.new_key()

    def insert(connection: Connection) -> Json:
        new = files.target_of(
            connection, caller, body.get("name"), body.get("folder_path"), body.get("project"), site.rules
        )
        site.blobs.create(key).close()
        record = files.insert_item(
            connection,
            caller,
            Kind.FILE,
            new,
            site.rules,
            state="created",
            size=size,
            key=key,
            part_bytes=part_bytes,
        )
        upload = uploads.upload_of_file(record)
        assert upload is not None
        return {**make_rows(connection, [record])[0], "upload": signed_upload(site, upload)}

    return JSONResponse(await write(site, insert), 201)


def signed_upload(site: Site, upload: uploads.Upload) -> Json:
    """How new contents want to be sent: the size of parts, and a URL for each of those there are at first."""
    parts = signed_parts(site, upload.id, upload.numbers_at_first)
    return {"part_bytes": upload.part_bytes, "parts": parts}


def signed_parts(site: Site, upload_id: int, numbers: list[int] | range) -> list[Json]:
    """URLs of the parts with these numbers."""
    return [
        {"number": number, "url": site.signer.sign_url("PUT", f"/blobs/upload/{upload_id}/{number}")}
        for number in numbers
    ]


async def upload_small(site: Site, caller: Caller, request: Request) -> Response:
    """POST files/upload: a whole file in one request."""
    limit_bytes = min(site.rules.switches.part_bytes, site.rules.switches.upload_max_bytes)
    habits.refuse_empty(declared_length(request, limit_bytes), site.rules.switches)
    target = target_in_query(site, caller, request)
    await read(site, target)
    key, size = await store_body(site, request, limit_bytes)

    def insert(connection: Connection) -> Json:
        record = files.insert_item(
            connection,
            caller,
            Kind.FILE,
            target(connection),
            site.rules,
            state=habits.completed_state(site.rules.switches),
            size=size,
            key=key,
        )
        return make_rows(connection, [record])[0]

    return JSONResponse(await keep_or_remove(site, key, insert), 201)


def target_in_query(site: Site, caller: Caller, request: Request) -> Callable[[Connection], files.NewFile]:
    """Looks where the item goes that a request's parameters tell to make. Refusal 400 at once, more later."""
    query = request.query_params
    project = query.get("project")
    if project is not None and not (project.isascii() and project.isdigit() and len(project) < 19):
        raise bad_request(f"project is a number: {project!r}")

    def target(connection: Connection) -> files.NewFile:
        return files.target_of(
            connection,
            caller,
            query.get("name"),
            query.get("folder_path"),
            None if project is None else int(project),
            site.rules,
        )

    return target


async def store_body(site: Site, request: Request, limit_bytes: int) -> tuple[str, int]:
    """A request's body in a new blob, on disk: its key and size. Nothing stays when this raises."""
    key = site.blobs.new_key()
    try:
        with await run_in_threadpool(site.blobs.create, key) as writer:
            return key, await receive_into(request, writer, limit_bytes)
    except BaseException:
        site.blobs.remove([key])
        raise


async def keep_or_remove(site: Site, key: str, insert: Callable[[Connection], Json]) -> Json:
    """Give a new blob its record, or remove it when that is refused."""
    try:
        return await write(site, insert)
    except Exception:
        await run_in_threadpool(site.blobs.remove, [key])
        raise


async def renew_parts(site: Site, caller: Caller, request: Request) -> Response:
    """POST files/<id>/parts: fresh URLs for parts."""
    file_id = id_in_path(request, "id")
    numbers = (await json_body(request)).get("numbers")

    def check(connection: Connection) -> list[int]:
        return files.get_upload(connection, caller, file_id).check_numbers(numbers)

    return JSONResponse({"parts": signed_parts(site, file_id, await read(site, check))})


async def put_part(request: Request) -> Response:
    """PUT of a part to its signed URL; may be repeated until the file is complete."""
    site = site_of(request)
    _check_signature(site, request)
    file_id, number = id_in_path(request, "id"), id_in_path(request, "number")
    with site.seals.hold(file_id) as seal:
        limit_bytes = site.rules.switches.upload_max_bytes
        target = await write(site, lambda c: uploads.begin_part(c, file_id, number, limit_bytes))
        declared_length(request, target.size_bytes)
        with await run_in_threadpool(site.blobs.open_part, target.key, target.offset, seal) as writer:
            size = await receive_into(request, writer, target.size_bytes)
        await write(site, lambda c: uploads.end_part(c, file_id, number, size))
    return Response(status_code=204)


def _check_signature(site: Site, request: Request) -> None:
    query = request.query_params
    site.signer.check_url(
        request.method, request.url.path, query.get("expires", ""), query.get("signature", "")
    )


async def complete_file(site: Site, caller: Caller, request: Request) -> Response:
    """POST files/<id>/complete: all parts have been sent."""
    file_id = id_in_path(request, "id")
    body = await json_body(request)
    parts, size = body.get("parts"), body.get("size")

    def complete() -> Json:
        with site.seals.closing(file_id):
            return site.database.write(lambda c: files.complete(c, caller, file_id, parts, size, site.rules))

    return JSONResponse(await run_in_threadpool(complete))


async def download_file(site: Site, caller: Caller, request: Request) -> Response:
    """GET files/<id>/download: a redirect to a signed URL of its contents."""
    file_id = id_in_path(request, "id")
    with_deleted = site.rules.switches.is_on("removed_downloads")

    def need_contents(connection: Connection) -> None:
        record = files.get_item(connection, caller, Kind.FILE, file_id, with_deleted=with_deleted)
        files.need_ready(record)

    await read(site, need_contents)
    return redirect_to_blob(site, file_id)


def redirect_to_blob(site: Site, resource_id: int) -> Response:
    """302 to the contents of a resource, readable for a while without a token."""
    location = site.signer.sign_url("GET", f"/blobs/{resource_id}")
    return Response(status_code=302, headers={"Location": location})


async def get_blob(request: Request) -> Response:
    """GET and HEAD of contents by signed URL."""
    site = site_of(request)
    _check_signature(site, request)
    number = id_in_path(request, "id")

    def open_blob() -> BlobResponse:
        record = site.database.read(lambda c: get_record(c, number))
        if record is None or record["blob"] is None or record["state"] != "ready":
            raise not_found(f"there are no contents of {number}")
        try:
            descriptor = os.open(site.blobs.path(record["blob"]), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise not_found(f"there are no contents of {number}") from error
        return BlobResponse(descriptor, record["size"], f"{site.instance[:8]}-{number}", request)

    return await run_in_threadpool(open_blob)


_GENERIC = item_handlers(Kind.FILE)

ROUTES: list[BaseRoute] = [
    api("/api/v3/storage/files", {"GET": _GENERIC.list, "POST": create_file}),
    api("/api/v3/storage/files/upload", {"POST": upload_small}),
    api("/api/v3/storage/files/{id}", _GENERIC.of_one),
    api("/api/v3/storage/files/{id}/parts", {"POST": renew_parts}),
    api("/api/v3/storage/files/{id}/complete", {"POST": complete_file}),
    api("/api/v3/storage/files/{id}/download", {"GET": download_file}),
    Route("/blobs/upload/{id}/{number}", put_part, methods=["PUT"]),
    Route("/blobs/{id}", get_blob, methods=["GET"]),
]
