"""Bytes up: in one request, or in several parts at a time.

Used by the types that have contents. Memory is bounded by a few chunks, whatever the size; what a local
file's length was at the start is sent, no more and no less; parts go without the token, to addresses the
server has signed. Must not know the types: an item is a `Destination` here.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from . import errors, local, records
from .http import retry_after_s
from .transport import Transport, check_done, raise_for_status
from .wire import Route

if TYPE_CHECKING:
    import requests

__all__ = [
    "ATTEMPTS",
    "Destination",
    "LocalFile",
    "Once",
    "PartSender",
    "RowAndAnswer",
    "abandoned",
    "opened",
    "pause_s",
    "plan_of",
    "row_of",
    "send_parts",
    "send_whole",
    "slice_of",
]

CHUNK_BYTES = 1 << 20
_PART_THREADS = 4
ATTEMPTS = 3
_RETRY_WAIT_S = 0.5
_RETRY_WAIT_MAX_S = 30.0
_PASSING_STATUS = frozenset({403, 408, 429, 460, 500, 502, 503, 504})

RowAndAnswer = tuple[dict[str, Any], "requests.Response"]
"""The row of an item as it is after an upload, and the answer that it came in."""


@dataclass(frozen=True, slots=True)
class LocalFile:
    """An open regular file, as long as it was when it was opened."""

    fd: int
    size: int


class Once:
    """A request body that is never sent a second time unseen: what appends would append twice."""

    def __init__(self, payload: bytes) -> None:
        self._length = len(payload)
        self._rest = iter((payload,))

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self._rest)


@dataclass(frozen=True, slots=True)
class Destination:
    """An item whose contents go up in parts: its routes, and what fills them.

    After a lost answer it is looked up by `get`: one of `states_done` proves that it was completed. What
    can't be completed is removed by `delete`. Where those are None, it is not.
    """

    record: str
    fill: Mapping[str, int]
    parts: Route
    complete: Route
    get: Route | None = None
    delete: Route | None = None
    states_done: frozenset[str] = frozenset()


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[LocalFile]:
    """A local file to be sent within the block. Raises OSError, also for what is no regular file.

    A file that fails or becomes shorter meanwhile is an error of its own, not the network's.
    """
    with open(path, "rb", buffering=0, opener=_open_at_once) as source:
        found = os.fstat(source.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "only a regular file can be uploaded", os.fspath(path))
        try:
            yield LocalFile(source.fileno(), found.st_size)
        except _SourceFailed as exc:
            raise exc.args[0] from exc


def send_whole(transport: Transport, route: Route, source: LocalFile, **request: Any) -> requests.Response:
    """Send a file as the body of one request; the answer."""
    return transport.request(
        route,
        body=_Slice(source.fd, 0, source.size, threading.Event()) if source.size else b"",
        headers={"Content-Type": "application/octet-stream"},
        **request,
    )


def send_parts(
    transport: Transport, source: LocalFile, to: Destination, plan: records.UploadRecord
) -> RowAndAnswer:
    """Send a file in the parts of a plan and complete it; no thread of it is left afterwards."""
    return _MultiPart(transport, source, to).run(plan)


def abandoned(transport: Transport, to: Destination) -> None:
    """Remove an item that can't be completed; that this fails as well is not told."""
    if to.delete is None:
        return
    try:
        transport.request(to.delete, fill=to.fill, params={transport.wire.keys.immediate: "true"})
    except errors.OrionError:
        return  # the first failure is the one to report; the server shows no unfinished items


def slice_of(source: LocalFile, offset: int, length: int) -> Iterable[bytes]:
    """A part of a local file as a request body, which can be sent again."""
    return _Slice(source.fd, offset, length, threading.Event())


def row_of(response: requests.Response) -> dict[str, Any]:
    """The object that an answer holds. Raises BadResponse."""
    row = records.decode(response)
    if not isinstance(row, dict):
        raise errors.BadResponse(response, "the answer to an upload is not an object")
    return row


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | local.WITHOUT_WAITING | local.BINARY)  # a pipe would be waited for


class _SourceFailed(Exception):
    """The local file failed while it was sent; not an OSError, which would look like the network's."""


class _Slice:
    """A part of an open file as a request body: `Content-Length` from len(), chunks by iterating.

    Iterating again starts again, so that the same body can be sent again.
    """

    def __init__(self, fd: int, offset: int, length: int, stopped: threading.Event) -> None:
        self._fd, self._offset, self._length, self._stopped = fd, offset, length, stopped

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[bytes]:
        at, end = self._offset, self._offset + self._length
        while at < end:
            if self._stopped.is_set():
                raise _SourceFailed(errors.OrionError("another part could not be sent"))
            try:
                chunk = local.pread(self._fd, min(CHUNK_BYTES, end - at), at)
            except OSError as exc:
                raise _SourceFailed(exc) from exc
            if not chunk:
                raise _SourceFailed(errors.ValidationError("the file became shorter while it was sent"))
            yield chunk
            at += len(chunk)
            # Reads go by offset, so the position is free to tell whoever looks from outside how far this is.
            os.lseek(self._fd, len(chunk), os.SEEK_CUR)


def plan_of(
    row: object, size: int, transport: Transport, response: requests.Response
) -> records.UploadRecord:
    """The parts that a server wants `size` bytes in. Raises BadResponse when they do not add up."""
    plan = records.upload_record(row, transport.wire, response)
    numbers = sorted(part.number for part in plan.parts)
    expected = -(-size // plan.part_bytes) if plan.part_bytes > 0 else 0
    if not numbers or numbers != list(range(1, expected + 1)):
        raise errors.BadResponse(response, "the parts of the upload do not add up to the file")
    return plan


class _MultiPart:
    """One upload in parts. Its threads have ended when `run` returns or raises."""

    def __init__(self, transport: Transport, source: LocalFile, to: Destination) -> None:
        self._keys = transport.wire.keys
        self._source = source
        self._stopped = threading.Event()
        self._sender = PartSender(transport, to, self._stopped)
        self._lock = threading.Lock()
        self._failure: BaseException | None = None

    def run(self, plan: records.UploadRecord) -> RowAndAnswer:
        threads = min(_PART_THREADS, len(plan.parts))
        with ThreadPoolExecutor(threads, thread_name_prefix="orion-part") as pool:
            try:
                wait([pool.submit(self._send_part, part, plan.part_bytes) for part in plan.parts])
            except BaseException:
                self._stopped.set()
                raise
        if self._failure is not None:
            raise self._failure
        return self._sender.complete({self._keys.parts: len(plan.parts)})

    def _send_part(self, part: records.PartRecord, part_bytes: int) -> None:
        """Send one part; the first failure of any part is kept and stops the others."""
        offset = (part.number - 1) * part_bytes
        length = min(part_bytes, self._source.size - offset)
        try:
            body = _Slice(self._source.fd, offset, length, self._stopped)
            self._sender.send(part.number, part.url, body)
        except BaseException as exc:
            with self._lock:
                if self._failure is None:
                    self._failure = exc
            self._stopped.set()


class PartSender:
    """Sends parts of one upload, and completes it; used by several threads.

    Once `stopped` is set it waits for nothing and tries nothing again.
    """

    def __init__(self, transport: Transport, to: Destination, stopped: threading.Event) -> None:
        self._transport, self._to, self._stopped = transport, to, stopped
        self._keys = transport.wire.keys

    def send(self, number: int, url: str, body: Iterable[bytes]) -> None:
        """Send one part to its address, which is asked for anew where it is out of date."""
        for attempt in range(1, ATTEMPTS + 1):
            if self._stopped.is_set():
                return
            failure = self._try_part(url, body)
            if failure is None:
                return
            if attempt == ATTEMPTS:
                raise failure
            self._stopped.wait(pause_s(failure, attempt))
            if isinstance(failure, errors.AuthorizationRequired):
                url = self.addresses([number])[number]

    def _try_part(self, url: str, body: Iterable[bytes]) -> errors.OrionError | None:
        try:
            absolute = urljoin(self._transport.base_url + "/", url)
            response = self._transport.plain("PUT", absolute, body=body)
            raise_for_status(response)
            check_done(response)
        except errors.OrionError as exc:
            if exc.response is None or exc.response.status_code in _PASSING_STATUS or exc.response.ok:
                return exc
            raise
        return None

    def addresses(self, numbers: list[int]) -> dict[int, str]:
        """Where these parts go, by number. Raises BadResponse unless all are told."""
        response = self._transport.request(
            self._to.parts, fill=self._to.fill, json={self._keys.numbers: numbers}
        )
        told = row_of(response).get(self._keys.parts)
        found = {part.number: part.url for part in records.part_records(told, self._transport.wire, response)}
        missing = set(numbers) - set(found)
        if missing:
            raise errors.BadResponse(response, f"no new address for part {min(missing)}")
        return found

    def complete(self, body: Mapping[str, int]) -> RowAndAnswer:
        """Completing is asked again after a lost answer: it may have happened, and is looked up first."""
        attempt = 1
        while True:
            try:
                response = self._transport.request(self._to.complete, fill=self._to.fill, json=dict(body))
                return row_of(response), response
            except (errors.OrionConnectionError, errors.OrionTimeout, errors.OrionServiceError) as exc:
                if attempt == ATTEMPTS:
                    raise
                self._stopped.wait(pause_s(exc, attempt))
            found = self._if_done()
            if found is not None:
                return found
            attempt += 1

    def _if_done(self) -> RowAndAnswer | None:
        if self._to.get is None:
            return None
        try:
            response = self._transport.request(self._to.get, fill=self._to.fill)
        except (errors.OrionConnectionError, errors.OrionTimeout, errors.OrionServiceError):
            return None
        row = row_of(response)
        found = records.read(records.StateRecord, self._to.record, row, self._transport.wire, response)
        return (row, response) if found.state in self._to.states_done else None


def pause_s(failure: errors.OrionError, attempt: int) -> float:
    """How long to wait after so many attempts: longer each time, and as long as the server asks for."""
    asked_s = retry_after_s(failure.response) if failure.response is not None else None
    doubled_s: float = _RETRY_WAIT_S * 2 ** (attempt - 1)
    return min(_RETRY_WAIT_MAX_S, max(asked_s or 0.0, doubled_s))
