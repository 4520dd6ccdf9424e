"""The figures of a mount for Prometheus, on a port of loopback or a unix socket; the door for its library.

Whoever connects may read them: how often, how long and how many, never a path, a name or a token. Answers
one request a connection. Must not know what is measured where.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from orionfs.errors import ExitStatus, StartupError
from orionfs.metrics import Figures, Timings

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric

log = logging.getLogger(__name__)

_REQUEST_MAX_BYTES = 8192
_PATIENCE_S = 5.0
_PATHS = ("/", "/metrics")


def make_registry(figures: Callable[[], Figures]) -> CollectorRegistry:
    """What is asked for figures at each scrape. Raises StartupError without the library that writes them."""
    try:
        import prometheus_client
    except ImportError as error:
        raise StartupError(
            "--metrics takes prometheus-client: install it with: pip install 'orionfs[metrics]'",
            ExitStatus.CONFIG,
        ) from error
    registry = prometheus_client.CollectorRegistry()
    prometheus_client.ProcessCollector(registry=registry)
    registry.register(_Collector(figures))
    return registry


async def serve(
    address: str,
    figures: Callable[[], Figures],
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer until cancelled; `address` is HOST:PORT or unix:PATH. Starts with the address there is then.

    Raises StartupError where the library or the address is not to be had.
    """
    registry = make_registry(figures)
    is_unix = address.startswith("unix:")
    try:
        listener = _on_socket(Path(address.removeprefix("unix:"))) if is_unix else _on_port(address)
    except OSError as error:
        raise StartupError(
            f"--metrics {address}: {error.strerror}; choose another address", ExitStatus.CONFIG
        ) from error
    where = address if is_unix else f"http://{address.rpartition(':')[0]}:{listener.getsockname()[1]}/metrics"
    log.info("figures are served on %s", where)

    async def answer(stream: trio.SocketStream) -> None:
        await _answer(stream, registry)

    with listener:
        listener.listen()
        task_status.started(where)
        try:
            await trio.serve_listeners(answer, [trio.SocketListener(listener)])
        finally:
            if is_unix:
                _remove(address)


def _on_port(address: str) -> trio.socket.SocketType:
    host, _, port = address.rpartition(":")
    family = socket.AF_INET6 if host == "[::1]" else socket.AF_INET
    bound = socket.socket(family)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(("127.0.0.1" if host == "localhost" else host.strip("[]"), int(port)))
    except OSError:
        bound.close()
        raise
    return trio.socket.from_stdlib_socket(bound)


def _on_socket(path: Path) -> trio.socket.SocketType:
    """A socket for its owner alone; one that a daemon which died has left is replaced."""
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(path.lstat().st_mode) and not _is_served(path):
            path.unlink()
    bound = socket.socket(socket.AF_UNIX)
    try:
        bound.bind(str(path))
        os.chmod(path, 0o600)
    except OSError:
        bound.close()
        raise
    return trio.socket.from_stdlib_socket(bound)


def _remove(address: str) -> None:
    Path(address.removeprefix("unix:")).unlink(missing_ok=True)


def _is_served(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as peer:
        return peer.connect_ex(str(path)) == 0


async def _answer(stream: trio.SocketStream, registry: CollectorRegistry) -> None:
    async with stream:
        try:
            with trio.move_on_after(_PATIENCE_S):
                head = await _head_of(stream)
                if head is not None:
                    await stream.send_all(_answer_to(head, registry))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            log.debug("a reader of figures went away")
        except Exception:
            log.exception("a request for figures failed")  # and the mount goes on


async def _head_of(stream: trio.SocketStream) -> str | None:
    """Request line and headers; None where they do not end, or are too long."""
    head = b""
    async for data in stream:
        head += data
        if b"\r\n\r\n" in head or b"\n\n" in head:
            return head.decode("latin-1")
        if len(head) > _REQUEST_MAX_BYTES:
            return None
    return None


def _answer_to(head: str, registry: CollectorRegistry) -> bytes:
    request, *headers = head.splitlines()
    from prometheus_client.exposition import choose_encoder

    method, _, rest = request.partition(" ")
    if method not in ("GET", "HEAD") or rest.split(" ")[0].partition("?")[0] not in _PATHS:
        return _http("404 Not Found", "text/plain", b"figures are at /metrics\n", has_body=method != "HEAD")
    named = (line.partition(":") for line in headers)
    accept = next((value.strip() for name, _, value in named if name.lower() == "accept"), "")
    encode, content_type = choose_encoder(accept)
    return _http("200 OK", content_type, encode(registry), has_body=method == "GET")


def _http(status: str, content_type: str, body: bytes, *, has_body: bool) -> bytes:
    lines = (f"HTTP/1.1 {status}", f"Content-Type: {content_type}", f"Content-Length: {len(body)}")
    head = "\r\n".join([*lines, "Connection: close", "", ""])
    return head.encode("latin-1") + (body if has_body else b"")


# -- figures as metrics --------------------------------------------------------------------------


class _Collector:
    """Makes metrics of the figures that there are when it is asked."""

    def __init__(self, figures: Callable[[], Figures]) -> None:
        self._figures = figures

    def describe(self) -> list[Metric]:
        """Nothing is asked for before the first scrape."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All metrics of one mount."""
        found = self._figures()
        yield _single(
            "orionfs_info", "gauge", "What runs here", 1, version=found.version, mountpoint=found.mountpoint
        )
        yield _single(
            "orionfs_online", "gauge", "1 if Orion answers and accepts the credentials", found.is_online
        )
        yield from _timed("orionfs_operation", "operation", "Requests of the kernel", found.operations)
        yield from _timed(
            "orionfs_request", "call", "Calls to Orion, without waiting for their turn", found.traffic.calls
        )
        yield from _counted(found)
        yield from _queues(found)


def _counted(found: Figures) -> Iterator[Metric]:
    traffic = found.traffic
    yield _single(
        "orionfs_downloaded_bytes", "counter", "Bytes of contents that came", traffic.downloaded_bytes
    )
    yield _single("orionfs_uploaded_bytes", "counter", "Bytes of contents that went", traffic.uploaded_bytes)
    reads = _family("orionfs_content_reads", "counter", "Reads of contents", ["result"])
    reads.add_metric(["hit"], found.reads.hits)
    reads.add_metric(["miss"], found.reads.misses)
    yield reads
    yield _single(
        "orionfs_name_questions",
        "counter",
        "Questions about names that no cache could answer",
        found.questions,
    )
    yield _single(
        "orionfs_entries_invalidated",
        "counter",
        "Names that the kernel was told to forget",
        found.entries_invalidated,
    )
    yield _single("orionfs_pending_changes", "gauge", "Changes that are not on Orion yet", found.pending)
    yield _single("orionfs_inodes", "gauge", "Inodes that are held", found.inodes)


def _queues(found: Figures) -> Iterator[Metric]:
    for name, help_ in (
        ("in_flight", "Calls to Orion that are under way"),
        ("waiting", "Calls to Orion that wait for their turn"),
        ("places", "Calls to Orion that may be under way now"),
    ):
        family = _family(f"orionfs_calls_{name}", "gauge", help_, ["queue"])
        for queue, state in found.queues.items():
            family.add_metric([queue], getattr(state, name))
        yield family


def _timed(prefix: str, label: str, what: str, timings: Timings) -> Iterator[Metric]:
    from prometheus_client import core

    seconds = core.HistogramMetricFamily(f"{prefix}_seconds", f"{what}: how long they took", labels=[label])
    longest = _family(f"{prefix}_max_seconds", "gauge", f"{what}: the longest so far", [label])
    errors = _family(f"{prefix}_errors", "counter", f"{what}: how many failed", [label, "error"])
    for name, timing in timings.items():
        ends = [(repr(end_s), count) for end_s, count in timing.below_s()]
        seconds.add_metric([name], [*ends, ("+Inf", timing.count)], timing.total_s)
        longest.add_metric([name], timing.max_s)
        for error, count in timing.errors.items():
            errors.add_metric([name, error], count)
    yield from (seconds, longest, errors)


def _single(name: str, kind: str, help_: str, value: float, **labels: str) -> Metric:
    family = _family(name, kind, help_, list(labels))
    family.add_metric(list(labels.values()), value)
    found: Metric = family
    return found


def _family(name: str, kind: str, help_: str, labels: list[str]) -> Any:
    from prometheus_client import core

    made = core.CounterMetricFamily if kind == "counter" else core.GaugeMetricFamily
    return made(name, help_, labels=labels)
