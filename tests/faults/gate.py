"""A door before a server that lets in who has the token of the day, and nobody else: tokens end at will.

Passes requests on, with the server's own token in place of the day's; signed addresses need none.
"""

from __future__ import annotations

import http.client
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

_OPEN = ("/api/v1/orionfs", "/blobs/")
_NOT_PASSED_ON = {
    "host",
    "authorization",
    "connection",
    "transfer-encoding",
    "content-length",
    "date",
    "server",
}
_EXPIRED = json.dumps({"detail": "this token has expired; get a new one", "code": "token_expired"}).encode()


class Gate:
    """Listens on a port of its own; `tokens` are those that are good now."""

    def __init__(self, server_url: str, server_token: str, token: str) -> None:
        self.tokens = {token}
        self.refused = 0
        self.passed: set[str] = set()  # tokens that were let in
        self._listener = _Listener(("127.0.0.1", 0), _handler(self, server_url, server_token))
        self._thread = threading.Thread(target=self._listener.serve_forever, args=(0.05,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._listener.server_address[1]}"

    def close(self) -> None:
        """Let nobody in any more."""
        self._listener.shutdown()
        self._thread.join()
        self._listener.server_close()

    def lets_in(self, authorization: str) -> bool:
        """Whether this is a token of now; counted."""
        token = authorization.removeprefix("Token:")
        if token not in self.tokens:
            self.refused += 1
            return False
        self.passed.add(token)
        return True


class _Listener(ThreadingHTTPServer):
    def handle_error(self, *_: Any) -> None:
        """A client that went away is no news."""


def _handler(gate: Gate, server_url: str, server_token: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            """Nothing."""

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            is_open = self.path.startswith(_OPEN)
            if not is_open and not gate.lets_in(self.headers.get("Authorization", "")):
                self._say(401, {"Content-Type": "application/json"}, _EXPIRED)
                return
            connection = http.client.HTTPConnection(urlsplit(server_url).netloc, timeout=30)
            headers = {k: v for k, v in self.headers.items() if k.lower() not in _NOT_PASSED_ON}
            if not is_open:
                headers["Authorization"] = f"Token:{server_token}"
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            content = answer.read()
            connection.close()
            self._say(answer.status, dict(answer.getheaders()), content)

        def _say(self, status: int, headers: dict[str, str], content: bytes) -> None:
            self.send_response(status)
            for name, value in headers.items():
                if name.lower() not in _NOT_PASSED_ON:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = handle_any  # noqa: N815

    return Handler
