"""Bytes up and down: small and multi-part uploads, whole and ranged downloads.

Used by `types.File`. Memory is bounded by a few chunks, whatever the size; lengths are always checked;
contents come and go without the token, over addresses the server has signed. Must not know `File`.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from . import errors, records
from .http import retry_after_s
from .transport import Transport, check_done, documented_errors, raise_for_status

if TYPE_CHECKING:
    import requests

__all__ = ["download", "read_into", "upload"]

CHUNK_BYTES = 1 << 20
_PART_THREADS = 4
_PART_ATTEMPTS = 3
_DOWNLOAD_ATTEMPTS = 3
_RETRY_WAIT_S = 0.5
_RETRY_WAIT_MAX_S = 30.0
_HOPS_MAX = 5
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
_PASSING_STATUS = frozenset({403, 408, 429, 460, 500, 502, 503, 504})


# ---------------------------------------------------------------------- up


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
                chunk = os.pread(self._fd, min(CHUNK_BYTES, end - at), at)
            except OSError as exc:
                raise _SourceFailed(exc) from exc
            if not chunk:
                raise _SourceFailed(errors.ValidationError("the file became shorter while it was sent"))
            at += len(chunk)
            yield chunk


def upload(
    transport: Transport, name: str, path: str | os.PathLike[str], place: Mapping[str, object]
) -> tuple[dict[str, Any], requests.Response]:
    """Send a local file as a new item; the finished item's row and the answer it came in.

    `place` holds the optional folder and project, by their keys. One request when it fits into a
    part, else several parts at a time. Raises OSError for the local file.
    """
    with open(path, "rb", buffering=0, opener=_open_at_once) as source:
        found = os.fstat(source.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "only a regular file can be uploaded", os.fspath(path))
        try:
            if found.st_size <= transport.server().limits.part_bytes:
                return _upload_small(transport, name, source.fileno(), found.st_size, place)
            return _MultiPart(transport, source.fileno(), found.st_size).run(name, place)
        except _SourceFailed as exc:
            raise exc.args[0] from exc


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a pipe would be waited for


def _upload_small(
    transport: Transport, name: str, fd: int, size: int, place: Mapping[str, object]
) -> tuple[dict[str, Any], requests.Response]:
    response = transport.request(
        transport.wire.routes.upload_small,
        params={transport.wire.keys.name: name, **place},
        body=_Slice(fd, 0, size, threading.Event()) if size else b"",
        headers={"Content-Type": "application/octet-stream"},
    )
    return _row(response), response


def _row(response: requests.Response) -> dict[str, Any]:
    row = records.decode(response)
    if not isinstance(row, dict):
        raise errors.BadResponse(response, "the answer to an upload is not an object")
    return row


class _MultiPart:
    """One upload in parts. Its threads have ended when `run` returns or raises."""

    def __init__(self, transport: Transport, fd: int, size: int) -> None:
        self._transport, self._fd, self._size = transport, fd, size
        self._keys = transport.wire.keys
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._failure: BaseException | None = None

    def run(self, name: str, place: Mapping[str, object]) -> tuple[dict[str, Any], requests.Response]:
        """Create the item, send its parts, complete it; an item that can't be completed is removed."""
        wire = self._transport.wire
        create = wire.resources["file"].create
        if create is None:
            raise errors.OrionError("this dialect has no route to create a file")
        created = self._transport.request(
            create, json={self._keys.name: name, self._keys.size: self._size, **place}
        )
        row = _row(created)
        file_id = records.read(records.FileRecord, "file", row, wire, created).id
        try:
            plan = records.upload_record(row.get(self._keys.upload), wire, created)
            self._check_plan(plan, created)
            self._send_parts(file_id, plan)
            return self._complete(file_id, len(plan.parts))
        except BaseException:
            self._abandon(file_id)
            raise

    def _check_plan(self, plan: records.UploadRecord, created: requests.Response) -> None:
        numbers = sorted(part.number for part in plan.parts)
        expected = -(-self._size // plan.part_bytes) if plan.part_bytes > 0 else 0
        if not numbers or numbers != list(range(1, expected + 1)):
            raise errors.BadResponse(created, "the parts of the upload do not add up to the file")

    def _send_parts(self, file_id: int, plan: records.UploadRecord) -> None:
        threads = min(_PART_THREADS, len(plan.parts))
        with ThreadPoolExecutor(threads, thread_name_prefix="orion-part") as pool:
            try:
                wait([pool.submit(self._send_part, file_id, part, plan.part_bytes) for part in plan.parts])
            except BaseException:
                self._stopped.set()
                raise
        if self._failure is not None:
            raise self._failure

    def _send_part(self, file_id: int, part: records.PartRecord, part_bytes: int) -> None:
        """Send one part; the first failure of any part is kept and stops the others."""
        offset = (part.number - 1) * part_bytes
        body = _Slice(self._fd, offset, min(part_bytes, self._size - offset), self._stopped)
        try:
            self._send_patiently(file_id, part, body)
        except BaseException as exc:
            with self._lock:
                if self._failure is None:
                    self._failure = exc
            self._stopped.set()

    def _send_patiently(self, file_id: int, part: records.PartRecord, body: _Slice) -> None:
        url = part.url
        for attempt in range(1, _PART_ATTEMPTS + 1):
            if self._stopped.is_set():
                return
            failure = self._try_part(url, body)
            if failure is None:
                return
            if attempt == _PART_ATTEMPTS:
                raise failure
            self._stopped.wait(_pause_s(failure, attempt))
            if isinstance(failure, errors.AuthorizationRequired):
                url = self._renewed_url(file_id, part.number)

    def _try_part(self, url: str, body: _Slice) -> errors.OrionError | None:
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

    def _renewed_url(self, file_id: int, number: int) -> str:
        response = self._transport.request(
            self._transport.wire.routes.upload_parts,
            fill={"id": file_id},
            json={self._keys.numbers: [number]},
        )
        answer = _row(response)
        for part in records.part_records(answer.get(self._keys.parts), self._transport.wire, response):
            if part.number == number:
                return part.url
        raise errors.BadResponse(response, f"no new address for part {number}")

    def _complete(self, file_id: int, count: int) -> tuple[dict[str, Any], requests.Response]:
        """Completing is asked again after a lost answer: it may have happened, and is looked up first."""
        route = self._transport.wire.routes.upload_complete
        body = {self._keys.parts: count}
        attempt = 1
        while True:
            try:
                response = self._transport.request(route, fill={"id": file_id}, json=body)
                return _row(response), response
            except (errors.OrionConnectionError, errors.OrionTimeout, errors.OrionServiceError) as exc:
                if attempt == _PART_ATTEMPTS:
                    raise
                self._stopped.wait(_pause_s(exc, attempt))
            found = self._if_ready(file_id)
            if found is not None:
                return found
            attempt += 1

    def _if_ready(self, file_id: int) -> tuple[dict[str, Any], requests.Response] | None:
        get = self._transport.wire.resources["file"].get
        if get is None:
            return None
        try:
            response = self._transport.request(get, fill={"id": file_id})
        except (errors.OrionConnectionError, errors.OrionTimeout, errors.OrionServiceError):
            return None
        row = _row(response)
        state = records.read(records.FileRecord, "file", row, self._transport.wire, response).state
        return (row, response) if state == self._keys.state_ready else None

    def _abandon(self, file_id: int) -> None:
        delete = self._transport.wire.resources["file"].delete
        if delete is None:
            return
        try:
            self._transport.request(delete, fill={"id": file_id}, params={self._keys.immediate: "true"})
        except errors.OrionError:
            return  # the first failure is the one to report; the server shows no unfinished items


def _pause_s(failure: errors.OrionError, attempt: int) -> float:
    asked_s = retry_after_s(failure.response) if failure.response is not None else None
    doubled_s: float = _RETRY_WAIT_S * 2 ** (attempt - 1)
    return min(_RETRY_WAIT_MAX_S, max(asked_s or 0.0, doubled_s))


# ---------------------------------------------------------------------- down


def _address(transport: Transport, file_id: int) -> str:
    route = transport.wire.routes.download_file

    def ask() -> str:
        response = transport.request(route, fill={"id": file_id}, follows_by_hand=True)
        location = response.headers.get("Location")
        if not location:
            raise errors.BadResponse(response, f"GET {route.fill(id=file_id)}: no redirect to the contents")
        return urljoin(response.url, location)

    return transport.addresses.get(file_id, ask, transport.wire.keys.expires)


def _open(transport: Transport, file_id: int, byte_range: str | None) -> requests.Response:
    """The answer with the contents, body not yet read. An address that is refused is renewed once."""
    headers = {"Accept-Encoding": "identity"}
    if byte_range is not None:
        headers["Range"] = f"bytes={byte_range}"
    for is_renewed in (False, True):
        url = _address(transport, file_id)
        response = _follow(transport, url, headers)
        if response.status_code == 403 and not is_renewed:
            transport.addresses.forget(file_id, url)
            response.close()
            continue
        break
    if not response.ok:
        with documented_errors(url):
            _ = response.content
        raise_for_status(response)
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        response.close()
        raise errors.OrionServiceError("contents came in an encoding that was not asked for", response)
    return response


def _follow(transport: Transport, url: str, headers: Mapping[str, str]) -> requests.Response:
    for _ in range(_HOPS_MAX):
        response = transport.plain("GET", url, headers=headers, stream=True)
        if not response.is_redirect:
            return response
        url = urljoin(url, response.headers["Location"])
        response.close()
    raise errors.BadResponse(response, f"{urlsplit(url).path}: too many redirects")


def _whole(response: requests.Response, size: int | None) -> int:
    """The length of an answer that is the whole file; `size` is what is known of it."""
    promised = _promised(response)
    if response.status_code == 200 and size in (None, promised):
        return promised
    response.close()
    told = f"contents came with status {response.status_code} and {promised} bytes, not {size}"
    raise errors.OrionServiceError(told, response)


def _promised(response: requests.Response) -> int:
    """The body's length by its header. Raises OrionServiceError without one."""
    value = response.headers.get("Content-Length", "")
    if not (value.isascii() and value.isdigit()):
        response.close()
        raise errors.OrionServiceError("contents came without a length", response)
    return int(value)


def _check_range(response: requests.Response, offset: int, length: int) -> None:
    found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    asked = (offset, offset + length - 1)
    is_asked = response.status_code == 206 and found and (int(found[1]), int(found[2])) == asked
    if is_asked and _promised(response) == length:
        return
    response.close()
    got = response.headers.get("Content-Range", "no range")
    raise errors.OrionServiceError(f"asked for bytes {asked[0]}-{asked[1]}, got {got}", response)


def _copy(response: requests.Response, length: int, write: Callable[[bytes, int], None]) -> int:
    """Pass the body on in chunks with their offset in it.

    Raises OrionServiceError when it breaks off before `length` bytes.
    """
    done = 0
    try:
        with documented_errors(response.url):
            for chunk in response.iter_content(CHUNK_BYTES):
                write(chunk, done)
                done += len(chunk)
    except errors.OrionConnectionError as exc:
        told = f"contents broke off after {done} of {length} bytes"
        raise errors.OrionServiceError(told, response) from exc
    finally:
        response.close()
    if done != length:
        raise errors.OrionServiceError(f"{done} bytes came where {length} were due", response)
    return done


def pwrite_all(fd: int, data: bytes, offset: int) -> None:
    """Write all of `data` at `offset`. Raises OSError."""
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written


def read_into(transport: Transport, file_id: int, offset: int, length: int, fd: int, fd_offset: int) -> int:
    """Fetch bytes [offset, offset + length) of a file and write them at `fd_offset` of a descriptor.

    Returns `length`. Raises OrionServiceError for any other number of bytes, ValidationError for a
    range that lies outside the file, OSError for the descriptor.
    """
    if offset < 0 or length < 0:
        raise errors.ValidationError("offset and length can't be negative")
    if length == 0:
        return 0
    response = _open(transport, file_id, f"{offset}-{offset + length - 1}")
    _check_range(response, offset, length)
    return _copy(response, length, lambda chunk, at: pwrite_all(fd, chunk, fd_offset + at))


def download(
    transport: Transport, file_id: int, path: str | os.PathLike[str], size: int | None = None
) -> None:
    """Fetch a whole file to a local path; other than `size` bytes are an OrionServiceError.

    It appears under its name only when it is complete; a device or pipe is written to directly.
    Raises NotEnoughDiskError, other OSErrors as they are.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        with open(target, "wb", buffering=0) as sink:
            _fetch_in_order(transport, file_id, sink.fileno(), size)
        return
    beside = target.with_name(f".orionfs-{secrets.token_hex(8)}.part")
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        try:
            _fetch_whole(transport, file_id, fd, size)
        finally:
            os.close(fd)
        os.replace(beside, target)
    except BaseException as exc:
        beside.unlink(missing_ok=True)
        if isinstance(exc, OSError) and exc.errno in _NO_ROOM:
            raise errors.NotEnoughDiskError(f"no room for the download: {target}") from exc
        raise


def _fetch_in_order(transport: Transport, file_id: int, fd: int, known_size: int | None) -> None:
    def write(chunk: bytes, _at: int) -> None:
        view = memoryview(chunk)
        while view:
            view = view[os.write(fd, view) :]

    response = _open(transport, file_id, None)
    _copy(response, _whole(response, known_size), write)


def _fetch_whole(transport: Transport, file_id: int, fd: int, known_size: int | None) -> None:
    """Fetch into a new file; what breaks off goes on where it stopped, a few times."""
    response = _open(transport, file_id, None)
    size = _whole(response, known_size)
    _check_room(fd, size)
    have, start, attempt = 0, 0, 1

    def write(chunk: bytes, at: int) -> None:
        nonlocal have
        pwrite_all(fd, chunk, start + at)
        have = start + at + len(chunk)

    while True:
        try:
            _copy(response, size - start, write)
            return
        except (errors.OrionServiceError, errors.OrionTimeout):
            if attempt == _DOWNLOAD_ATTEMPTS or have >= size:
                raise
        attempt, start = attempt + 1, have
        response = _open(transport, file_id, f"{start}-{size - 1}")
        _check_range(response, start, size - start)


def _check_room(fd: int, size: int) -> None:
    disk = os.fstatvfs(fd)
    if size > disk.f_bavail * disk.f_frsize:
        raise errors.NotEnoughDiskError(f"{size} bytes to download, the disk has room for less")
