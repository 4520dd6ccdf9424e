"""A tiny HTTP server that answers what a test tells it, faults included, and remembers what it got."""

from __future__ import annotations

import json
import socket
import ssl
import struct
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

INFO = {
    "server": "orionfs",
    "version": "1",
    "instance": "0123456789abcdef",
    "limits": {"page_max": 1000, "part_bytes": 1 << 20, "upload_max_bytes": 1 << 40},
}
INFO_PATH = "/api/v1/orionfs"


@dataclass(frozen=True, slots=True)
class Seen:
    """A request as it arrived."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: `json` or `body`; only `cut_after` bytes of it; or no answer but a reset.

    A header that is None is left out.
    """

    status: int = 200
    json: Any = None
    body: bytes = b""
    headers: Mapping[str, str | None] = field(default_factory=dict)
    cut_after: int | None = None
    is_reset: bool = False
    held_until: threading.Event | None = None


Answer = Reply | Callable[[Seen], Reply]


class Fake:
    """`on` says what is answered; the last answer to a route is repeated."""

    def __init__(self, server: ThreadingHTTPServer) -> None:
        self._answers: dict[tuple[str, str], list[Answer]] = {}
        self._lock = threading.Lock()
        self.requests: list[Seen] = []
        self.connections = 0
        self.open_connections = 0
        self.url = f"http://127.0.0.1:{server.server_address[1]}"
        self.on("GET", INFO_PATH, Reply(json=INFO))

    def on(self, method: str, path: str, *answers: Answer) -> None:
        """Answer these, one after the other, from now on."""
        self._answers[method, path] = list(answers)

    def count(self, change: int) -> None:
        """A connection more, or one less."""
        with self._lock:
            self.connections += max(change, 0)
            self.open_connections += change

    def seen(self, path: str, method: str | None = None) -> list[Seen]:
        """Requests of a path so far."""
        return [each for each in self.requests if each.path == path and method in (None, each.method)]

    def answer(self, seen: Seen) -> Reply:
        """What a request gets."""
        with self._lock:
            self.requests.append(seen)
            answers = self._answers.get((seen.method, seen.path))
            if not answers:
                return Reply(404, json={"detail": f"nothing at {seen.path}", "code": "not_found"})
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
        return answer if isinstance(answer, Reply) else answer(seen)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    fake: Fake

    def setup(self) -> None:
        super().setup()
        self.fake.count(1)

    def finish(self) -> None:
        super().finish()
        self.fake.count(-1)

    def handle_any(self) -> None:
        try:
            self._handle_any()
        except ConnectionError:
            self.close_connection = True  # a client that has given up

    def _handle_any(self) -> None:
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        query = parse_qs(parts.query, keep_blank_values=True)
        headers = {name.lower(): value for name, value in self.headers.items()}
        reply = self.fake.answer(Seen(self.command, parts.path, query, headers, body))
        if reply.held_until is not None:
            reply.held_until.wait(10)
        if reply.is_reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            return
        self._send(reply)

    def _send(self, reply: Reply) -> None:
        payload = reply.body if reply.json is None else json.dumps(reply.json).encode()
        self.send_response(reply.status)
        headers = {"Content-Length": str(len(payload)), **reply.headers}
        for name, value in headers.items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(payload[: reply.cut_after])
        self.wfile.flush()
        if reply.cut_after is not None:
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing to say."""


for _verb in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"):
    setattr(_Handler, f"do_{_verb}", _Handler.handle_any)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that gave up is no error of a test's; anything else is."""
        if not isinstance(sys.exception(), ConnectionError | ssl.SSLError):
            super().handle_error(request, client_address)


@contextmanager
def running_fake(tls: ssl.SSLContext | None = None) -> Iterator[Fake]:
    """A fake that listens on loopback, with TLS if there is a context for it."""

    class Handler(_Handler):
        pass

    server = _Server(("127.0.0.1", 0), Handler)
    if tls is not None:
        # The handshake is the connection's own thread's matter.
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    fake = Handler.fake = Fake(server)
    if tls is not None:
        fake.url = fake.url.replace("http:", "https:")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
