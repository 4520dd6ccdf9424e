"""Bodies in and out: request bodies into blobs, blobs into answers with single ranges.

Nothing is held whole in memory; disk work happens in worker threads, about a MiB at a time.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from orionfs.server.blobs import BlobWriter
from orionfs.server.connections import is_connected
from orionfs.server.problems import Refusal, bad_request, too_large

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

_CHUNK_BYTES = 1024 * 1024
_RANGE = re.compile(r"bytes=\s*(\d{0,18})\s*-\s*(\d{0,18})\s*")


def declared_length(request: Request, limit_bytes: int) -> int:
    """Content-Length of a request. Refusal 400 without one, 413 above the limit."""
    text = request.headers.get("content-length", "")
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise bad_request("a Content-Length is needed", "length_required")
    if int(text) > limit_bytes:
        raise too_large(f"at most {limit_bytes} bytes are taken here, not {text}")
    return int(text)


async def receive_into(request: Request, writer: BlobWriter, limit_bytes: int) -> int:
    """Write a request's body; returns its length once it is on disk. Refusal 413, ClientDisconnect."""
    received = 0
    pending: list[bytes] = []
    pending_bytes = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > limit_bytes:
            raise too_large(f"at most {limit_bytes} bytes are taken here")
        pending.append(chunk)
        pending_bytes += len(chunk)
        if pending_bytes >= _CHUNK_BYTES:
            await run_in_threadpool(writer.write, pending)
            pending, pending_bytes = [], 0
    await run_in_threadpool(_finish, writer, pending)
    return received


def _finish(writer: BlobWriter, pending: list[bytes]) -> None:
    writer.write(pending)
    writer.commit()


def requested_range(header: str | None, size_bytes: int) -> tuple[int, int] | None:
    """(first byte, end) of a Range header; None means the whole. Refusal 416.

    Whatever is not one well-formed range of bytes is ignored, as RFC 9110 allows.
    """
    found = _RANGE.fullmatch(header or "")
    if found is None or not (found[1] or found[2]):
        return None
    if found[1]:
        start = int(found[1])
        end = int(found[2]) + 1 if found[2] else size_bytes
        if found[2] and end <= start:
            return None
    else:
        start, end = max(0, size_bytes - int(found[2])), size_bytes
    if start >= size_bytes or end <= start:
        raise Refusal(
            416,
            "range_not_satisfiable",
            f"there are {size_bytes} bytes",
            {"Content-Range": f"bytes */{size_bytes}"},
        )
    return start, min(end, size_bytes)


class BlobResponse(Response):
    """Streams a part of an open file; owns its descriptor and closes it, whatever happens.

    It is made in a worker thread, since it reads its first piece then: one hop less before an answer begins.
    """

    def __init__(self, descriptor: int, size_bytes: int, tag: str, request: Request) -> None:
        self._descriptor = descriptor
        try:
            etag = f'"{tag}"'
            part = _range_asked_for(request, etag, size_bytes)
            self._at, self._end = part or (0, size_bytes)
            headers = {
                "Content-Length": str(self._end - self._at),
                "Accept-Ranges": "bytes",
                "ETag": etag,
                "Cache-Control": "private",
            }
            if part is not None:
                headers["Content-Range"] = f"bytes {self._at}-{self._end - 1}/{size_bytes}"
            super().__init__(
                status_code=200 if part is None else 206,
                headers=headers,
                media_type="application/octet-stream",
            )
            if request.method == "HEAD":
                self._end = self._at
            self._is_empty = self._at == self._end
            self._piece = self._read_piece()
        except BaseException:
            os.close(descriptor)
            raise

    def _read_piece(self) -> bytes:
        """The next piece to send; empty at the end."""
        wanted = min(_CHUNK_BYTES, self._end - self._at)
        piece = os.pread(self._descriptor, wanted, self._at)
        if wanted and not piece:
            raise RuntimeError(f"a blob is shorter than its record says: {self._at} < {self._end}")
        return piece

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer, piece by piece, for as long as somebody listens."""
        try:
            await send(
                {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
            )
            while self._piece and is_connected(scope):
                piece, self._at = self._piece, self._at + len(self._piece)
                is_more = self._at < self._end
                await send({"type": "http.response.body", "body": piece, "more_body": is_more})
                self._piece = await run_in_threadpool(self._read_piece) if is_more else b""
            while self._piece and (await receive())["type"] != "http.disconnect":
                continue  # nobody listens any more, and the server may not have noticed yet
            if self._is_empty:
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            os.close(self._descriptor)


def _range_asked_for(request: Request, etag: str, size_bytes: int) -> tuple[int, int] | None:
    """What a request wants of contents; None: all. Refusal 416."""
    if request.headers.get("if-range", etag) != etag:
        return None
    return requested_range(request.headers.get("range"), size_bytes)
