"""The uvicorn door: running an ASGI application on a socket, and the connection below a request.

Knows uvicorn's protocol classes; nothing else does. It puts the transport of a connection into the
scope of its requests, so that faults can drop it and streams can notice that nobody listens.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from enum import Enum
from types import FrameType
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from orionfs.server.problems import ServeError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

_SCOPE_KEY = "orionfs.transport"
_ENDING_KEY = "orionfs.ending"
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_BACKLOG = 512
_HEADERS_MAX_BYTES = 256 * 1024


class Drop(Enum):
    """How a connection ends: what was sent still arrives, or nothing does."""

    AFTER_FLUSH = "after flush"
    RESET = "reset"


_Protocol: Any = AutoHTTPProtocol


class _TransportProtocol(_Protocol):  # type: ignore[misc]
    """uvicorn's HTTP protocol whose scopes carry their transport."""

    app: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        inner: Any = self.app

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            scope[_SCOPE_KEY] = self.transport
            await inner(scope, receive, send)

        self.app = app


async def drop_connection(scope: Scope, receive: Receive, how: Drop) -> None:
    """End the connection of a request; returns when the server has noticed that it is gone."""
    transport: asyncio.Transport = scope[_SCOPE_KEY]
    if how is Drop.RESET:
        descriptor = transport.get_extra_info("socket")
        if descriptor is not None:
            with contextlib.suppress(OSError):
                descriptor.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    else:
        transport.close()
    while (await receive())["type"] != "http.disconnect":
        pass


def is_connected(scope: Scope) -> bool:
    """Whether somebody still listens to the answer of this request."""
    transport: asyncio.Transport | None = scope.get(_SCOPE_KEY)
    return transport is None or not transport.is_closing()


async def pause(scope: Scope, seconds: float) -> None:
    """Let a request wait, but no longer than the server goes on: it would be cut off."""
    ending: asyncio.Event | None = scope.get(_ENDING_KEY)
    if ending is None:
        await asyncio.sleep(seconds)
        return
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await ending.wait()


class _Server(uvicorn.Server):
    """uvicorn's server that says when it listens and returns on a signal instead of dying of it.

    `ending` is set as soon as it begins to end.
    """

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None], ending: asyncio.Event) -> None:
        super().__init__(config)
        self._ready = ready
        self._ending = ending

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Nothing waits any longer; what is being answered is answered."""
        self._ending.set()
        await super().shutdown(sockets)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start listening, then say so."""
        await super().startup(sockets)
        if self.started:
            self._ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Let SIGINT and SIGTERM end the server in order, in the main thread."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._end) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _end(self, _number: int, _frame: FrameType | None) -> None:
        self.should_exit = True


def listen(host: str, port: int) -> tuple[socket.socket, str]:
    """A listening socket (port 0: any free one) and its base URL. ServeError."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        # asyncio sends small pieces at once only on sockets that say they are TCP: without it each
        # answer waits 40 ms for an acknowledgement (measured).
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(_BACKLOG)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise ServeError(f"can't listen on {host} port {port}: {error.strerror or error}") from error
    shown = f"[{host}]" if ":" in host else host
    return listener, f"http://{shown}:{listener.getsockname()[1]}"


def run(app: ASGIApp, listener: socket.socket, ready: Callable[[], None], *, until_eof: bool) -> None:
    """Serve until SIGINT or SIGTERM, or until stdin reaches its end if asked."""
    ending = asyncio.Event()

    async def told(scope: Scope, receive: Receive, send: Send) -> None:
        scope[_ENDING_KEY] = ending
        await app(scope, receive, send)

    config = uvicorn.Config(
        told,
        http=_TransportProtocol,
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=2,
        h11_max_incomplete_event_size=_HEADERS_MAX_BYTES,
        backlog=_BACKLOG,
    )
    server = _Server(config, ready, ending)
    if until_eof:
        threading.Thread(target=_end_at_eof, args=(server,), name="until-eof", daemon=True).start()
    server.run(sockets=[listener])


def _end_at_eof(server: uvicorn.Server) -> None:
    with contextlib.suppress(OSError):
        while os.read(0, 65536):
            pass
    server.should_exit = True
