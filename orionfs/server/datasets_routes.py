"""Routes of datasets: making, uploading as records, appending, finalizing, downloading in any form."""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse, Response

from orionfs.server import datasets, files
from orionfs.server.datasets import Contents, Wanted
from orionfs.server.files_routes import keep_or_remove, store_body, target_in_query
from orionfs.server.items_routes import item_handlers
from orionfs.server.paths import Caller, Kind
from orionfs.server.problems import bad_request, not_found
from orionfs.server.record_formats import Format, format_called, format_of_name, read_records
from orionfs.server.record_writing import write_records
from orionfs.server.rows import Json
from orionfs.server.site import Site
from orionfs.server.store import Connection
from orionfs.server.transfer import BlobResponse, declared_length
from orionfs.server.web import api, id_in_path, json_body, read, write

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.routing import BaseRoute

_DATASETS = "/api/v1/storage/datasets"
_BUFFER_BYTES = 1024 * 1024


async def create_dataset(site: Site, caller: Caller, request: Request) -> Response:
    """POST datasets: a new one without records, open."""
    body = await json_body(request)

    def target(connection: Connection) -> files.NewFile:
        return files.target_of(
            connection, caller, body.get("name"), body.get("folder_path"), body.get("project"), site.rules
        )

    await read(site, target)
    contents = await run_in_threadpool(datasets.new_contents, site.blobs)

    def insert(connection: Connection) -> Json:
        row = datasets.insert_dataset(
            connection, caller, target(connection), contents, datasets.OPEN, site.rules
        )
        if body.get("description") is not None:
            files.set_description(connection, row["id"], body["description"])
        return datasets.row_of(connection, row["id"])

    return JSONResponse(await keep_or_remove(site, contents.key, insert), 201)


async def upload_dataset(site: Site, caller: Caller, request: Request) -> Response:
    """POST datasets/upload: a whole dataset in one request, finalized."""
    form = format_of_name(request.query_params.get("filename", ""))
    target = target_in_query(site, caller, request)
    declared_length(request, site.rules.switches.upload_max_bytes)
    await read(site, target)
    spool, _ = await store_body(site, request, site.rules.switches.upload_max_bytes)

    def convert() -> Contents:
        with site.blobs.path(spool).open("rb", buffering=_BUFFER_BYTES) as stream:
            return datasets.new_contents(site.blobs, read_records(stream, form))

    try:
        contents = await run_in_threadpool(convert)
    finally:
        await run_in_threadpool(site.blobs.remove, [spool])

    def insert(connection: Connection) -> Json:
        return datasets.insert_dataset(
            connection, caller, target(connection), contents, datasets.READY, site.rules
        )

    return JSONResponse(await keep_or_remove(site, contents.key, insert), 201)


async def append_records(site: Site, caller: Caller, request: Request) -> Response:
    """POST datasets/<id>/records: more records for a dataset that is not finalized."""
    number = id_in_path(request, "id")
    form = format_called(request.query_params.get("format", Format.BINARY.value))
    declared_length(request, site.rules.switches.upload_max_bytes)
    await read(site, lambda c: datasets.get_open(c, caller, number))
    spool, _ = await store_body(site, request, site.rules.switches.upload_max_bytes)
    try:
        return JSONResponse(await run_in_threadpool(_append, site, caller, number, spool, form))
    finally:
        await run_in_threadpool(site.blobs.remove, [spool])


def _append(site: Site, caller: Caller, number: int, spool: str, form: Format) -> Json:
    # One at a time: where the next record goes is known when the one before is acknowledged.
    with site.seals.hold(number) as seal, seal.lock:
        record = site.database.read(lambda c: datasets.get_open(c, caller, number))
        before = Contents(record["blob"], record["size"], record["count"])
        try:
            writer = site.blobs.reopen(before.key, before.size_bytes)
        except FileNotFoundError as error:
            raise not_found(f"there is no dataset {number}") from error
        with writer, site.blobs.path(spool).open("rb", buffering=_BUFFER_BYTES) as stream:
            after = datasets.append_frames(writer, read_records(stream, form), before)
        return site.database.write(lambda c: datasets.acknowledge(c, caller, number, after))


async def finalize_dataset(site: Site, caller: Caller, request: Request) -> Response:
    """POST datasets/<id>/finalize: no more records; now it can be read."""
    number = id_in_path(request, "id")
    return JSONResponse(await write(site, lambda c: datasets.finalize(c, caller, number)))


async def download_dataset(site: Site, caller: Caller, request: Request) -> Response:
    """GET datasets/<id>/download: its records in a form, all of them or some."""
    number = id_in_path(request, "id")
    query = request.query_params
    form = format_called(query.get("format", Format.BINARY.value))
    wanted, names = _wanted_records(query), _field_names(query)

    def open_form() -> BlobResponse:
        contents = site.database.read(lambda c: _readable_contents(c, caller, number))
        ids = wanted.numbers(contents.count, site.rules.switches.dataset_records_max)
        try:
            if form is Format.BINARY and names is None and wanted == Wanted():
                path, size = site.blobs.path(contents.key), contents.size_bytes
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            else:
                descriptor, size = _written(site, contents, ids, form, names)
        except FileNotFoundError as error:
            raise not_found(f"there is no dataset {number}") from error
        chosen = hashlib.sha256(repr((form, wanted, names)).encode()).hexdigest()[:16]
        return BlobResponse(descriptor, size, f"{site.instance[:8]}-{number}-{chosen}", request)

    return await run_in_threadpool(open_form)


def _readable_contents(connection: Connection, caller: Caller, number: int) -> Contents:
    record = files.get_item(connection, caller, Kind.DATASET, number)
    return datasets.contents_of(connection, files.need_ready(record))


def _written(
    site: Site, contents: Contents, ids: Sequence[int], form: Format, names: Sequence[str] | None
) -> tuple[int, int]:
    """Records in a form, in a file that goes when it is closed: its descriptor and its length."""
    key, path = site.blobs.new_key(), site.blobs.path(contents.key)
    try:
        with site.blobs.create(key, is_synced=False) as writer:
            writer.write_all(write_records(lambda: datasets.read_numbers(path, contents, ids), form, names))
            return os.open(site.blobs.path(key), os.O_RDONLY | os.O_CLOEXEC), writer.size
    finally:
        site.blobs.remove([key])


def _wanted_records(query: Mapping[str, str]) -> Wanted:
    ids = query.get("record_ids")
    if ids is None:
        return Wanted(_whole_number(query, "offset") or 0, _whole_number(query, "limit"))
    if "offset" in query or "limit" in query:
        raise bad_request("records are chosen by record_ids, or by offset and limit")
    texts = ids.split(",")
    if not all(_is_number(text) for text in texts):
        raise bad_request(f"record_ids is a list of numbers: {ids!r}")
    return Wanted(ids=tuple(int(text) for text in texts))


def _whole_number(query: Mapping[str, str], name: str) -> int | None:
    text = query.get(name)
    if text is not None and not _is_number(text):
        raise bad_request(f"{name} is a whole number: {text!r}")
    return None if text is None else int(text)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 18


def _field_names(query: Mapping[str, str]) -> tuple[str, ...] | None:
    """Names of fields with commas between them; one that holds a comma stands in quotes."""
    text = query.get("fieldlist")
    if not text:
        return None
    try:
        (names,) = csv.reader([text], strict=True)
    except (csv.Error, ValueError) as error:
        raise bad_request(f"fieldlist is a list of names of fields: {text!r}") from error
    return tuple(names)


_GENERIC = item_handlers(Kind.DATASET)

ROUTES: list[BaseRoute] = [
    api(_DATASETS, {"GET": _GENERIC.list, "POST": create_dataset}),
    api(f"{_DATASETS}/upload", {"POST": upload_dataset}),
    api(f"{_DATASETS}/{{id}}", _GENERIC.of_one),
    api(f"{_DATASETS}/{{id}}/records", {"POST": append_records}),
    api(f"{_DATASETS}/{{id}}/finalize", {"POST": finalize_dataset}),
    api(f"{_DATASETS}/{{id}}/download", {"GET": download_dataset}),
]
