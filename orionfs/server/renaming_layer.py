"""The ASGI layer of `wire=renamed`: requests and answers of another dialect, translated by `renaming`.

It lies right around the routes, which know nothing of it; faults and the access log lie outside and see
paths as they were asked. Only JSON is taken apart: contents of files and of records stream through as
they are, and so do errors.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse

from orionfs.server import renaming
from orionfs.server.web import JSON_BODY_MAX_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_JSON = b"application/json"
# Last words of routes whose bodies are contents, even where the contents are JSON.
_TAKING_CONTENTS = frozenset({"upload", "records", "data"})
_GIVING_CONTENTS = frozenset({"download"})


class RenamingLayer:
    """Answers another dialect's requests with the application that speaks this one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection scope."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = renaming.own_path(scope["path"])
        if path is None:
            await JSONResponse({"detail": "Not Found", "code": "not_found"}, 404)(scope, receive, send)
            return
        query = renaming.own_query(path, scope["query_string"].decode("latin-1"))
        own_scope = {
            **scope,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode("latin-1"),
            "headers": renaming.own_headers(scope["headers"]),
        }
        last_word = path.rstrip("/").rpartition("/")[2]
        if last_word not in _TAKING_CONTENTS and _is_json(scope["headers"]):
            receive = _OwnBody(receive)
        await self._app(own_scope, receive, _RenamedAnswer(send, is_contents=last_word in _GIVING_CONTENTS))


class _OwnBody:
    """A `receive` that hands out a JSON body, translated, in one piece; one that is too long as it comes."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._read: list[Message] | None = None

    async def __call__(self) -> Message:
        if self._read is None:
            self._read = await self._read_body()
        return self._read.pop(0) if self._read else await self._receive()

    async def _read_body(self) -> list[Message]:
        messages: list[Message] = []
        size = 0
        while size <= JSON_BODY_MAX_BYTES:
            message = await self._receive()
            messages.append(message)
            if message["type"] != "http.request":
                break
            size += len(message.get("body", b""))
            if not message.get("more_body", False):
                body = b"".join(message.get("body", b"") for message in messages)
                return [{"type": "http.request", "body": _translated(body, renaming.own_json)}]
        return messages


class _RenamedAnswer:
    """A `send` that translates the headers of an answer, and its body if that is JSON and no error."""

    def __init__(self, send: Send, *, is_contents: bool) -> None:
        self._send = send
        self._is_contents = is_contents
        self._start: Message | None = None
        self._body = bytearray()

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            start = {**message, "headers": [_renamed(*header) for header in message.get("headers", ())]}
            if message["status"] < 400 and not self._is_contents and _is_json(start["headers"]):
                self._start = start
            else:
                await self._send(start)
        elif self._start is None:
            await self._send(message)
        else:
            self._body += message.get("body", b"")
            if not message.get("more_body", False):
                await self._send_translated(self._start)

    async def _send_translated(self, start: Message) -> None:
        body = _translated(bytes(self._body), renaming.renamed_json)
        others = [(name, value) for name, value in start["headers"] if name != b"content-length"]
        await self._send({**start, "headers": [*others, (b"content-length", b"%d" % len(body))]})
        await self._send({"type": "http.response.body", "body": body})


def _is_json(headers: list[tuple[bytes, bytes]]) -> bool:
    return any(name == b"content-type" and value.startswith(_JSON) for name, value in headers)


def _renamed(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    if name == b"location":
        return name, renaming.renamed_url(value.decode("latin-1")).encode("latin-1")
    return name, b"Bearer" if name == b"www-authenticate" else value


def _translated(body: bytes, rename: Callable[[Any], Any]) -> bytes:
    """A JSON body with other names; what is no JSON stays as it is, for others to refuse."""
    try:
        text = json.dumps(rename(json.loads(body)), separators=(",", ":"), ensure_ascii=False)
        # Half a surrogate pair is no Unicode, and it is for the routes to say so.
        return text.encode("utf-8", "surrogatepass")
    except (ValueError, RecursionError):
        return body
