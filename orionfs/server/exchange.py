"""Access log: one JSON line per request, and the record of a request that other parts fill in.

The outermost ASGI layer. It gives every request its id, counts bytes, and writes the line just before
the last piece of the answer is handed over, so that whoever has an answer finds its line in the log;
dropped and broken requests get theirs when they end. Signatures and tokens never reach a line.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode

from orionfs.server.problems import ServeError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_SECRET_PARAMETERS = {"signature", "token", "authorization"}
_SCOPE_KEY = "orionfs.exchange"


@dataclass(slots=True)
class Exchange:
    """One request under way."""

    log: AccessLogFile | None
    scope: Scope
    request_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    started: float = field(default_factory=time.monotonic)
    status: int = 0
    request_bytes: int = 0
    response_bytes: int = 0
    user: str | None = None
    is_logged: bool = False

    def end(self) -> None:
        """Write the line; later calls do nothing."""
        if not self.is_logged and self.log is not None:
            self.is_logged = True
            self.log.write(self._line())

    def _line(self) -> dict[str, Any]:
        agent = next((value for name, value in self.scope["headers"] if name == b"user-agent"), b"")
        return {
            "time": time.time(),
            "method": self.scope["method"],
            "path": self.scope["path"],
            "query": _harmless_query(self.scope["query_string"]),
            "status": self.status,
            "request_bytes": self.request_bytes,
            "response_bytes": self.response_bytes,
            "ms": round((time.monotonic() - self.started) * 1000, 3),
            "user": self.user,
            "user_agent": agent.decode("latin-1"),
            "request_id": self.request_id,
        }


class AccessLogFile:
    """The log file: one write per line, so lines are whole and there at once."""

    def __init__(self, path: Path) -> None:
        try:
            self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ServeError(f"the access log {path} can't be written: {error.strerror}") from error

    def write(self, line: dict[str, Any]) -> None:
        """Append one line."""
        os.write(self._descriptor, json.dumps(line).encode() + b"\n")

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


@contextmanager
def open_access_log(path: Path | None) -> Iterator[AccessLogFile | None]:
    """The access log for as long as the block runs, if one is wanted. ServeError."""
    if path is None:
        yield None
        return
    log = AccessLogFile(path)
    try:
        yield log
    finally:
        log.close()


class ExchangeLayer:
    """ASGI layer that keeps an `Exchange` per request and gives answers their X-Request-Id."""

    def __init__(self, app: ASGIApp, log: AccessLogFile | None) -> None:
        self._app = app
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection scope."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = Exchange(self._log, scope)
        scope[_SCOPE_KEY] = exchange

        async def counted_receive() -> Message:
            message = await receive()
            exchange.request_bytes += len(message.get("body", b""))
            return message

        async def counted_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
                headers = [*message.get("headers", ()), (b"x-request-id", exchange.request_id.encode())]
                message = {**message, "headers": headers}
            else:
                if scope["method"] != "HEAD":
                    exchange.response_bytes += len(message.get("body", b""))
                if not message.get("more_body", False):
                    exchange.end()
            await send(message)

        try:
            await self._app(scope, counted_receive, counted_send)
        finally:
            exchange.end()


def exchange_of(scope: Scope) -> Exchange:
    """The exchange a scope belongs to."""
    exchange: Exchange = scope[_SCOPE_KEY]
    return exchange


def _harmless_query(query: bytes) -> str:
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    return urlencode([(name, value) for name, value in pairs if name.lower() not in _SECRET_PARAMETERS])
