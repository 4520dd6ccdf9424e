"""Bytes down: whole, in ranges, as a stream, or into a file that appears when it is complete.

Used by the types that have contents. Memory is bounded by a chunk, whatever the size; lengths are always
checked; what breaks off goes on where it stopped, a few times. Contents at a signed address are fetched
without the token, and without following a redirect blindly. Must not know the types: what is fetched is a
`Source` here.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from urllib3.exceptions import HTTPError, ReadTimeoutError

from . import errors, local
from .transport import Transport, documented_errors, raise_for_status
from .wire import Route

if TYPE_CHECKING:
    import requests

__all__ = ["Answered", "Signed", "Source", "read_into", "stream", "to_file"]

CHUNK_BYTES = 1 << 20
_FIRST_PIECE_BYTES = 1 << 16  # somebody may wait for the first bytes alone
_PIECE_BYTES = 1 << 18  # receiving and writing is fastest in pieces that stay in the processor's cache
_ATTEMPTS = 3
_HOPS_MAX = 5
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
_AS_IS = {"Accept-Encoding": "identity"}
# How stores of blobs refuse an address that has expired; they do not agree.
_EXPIRED = frozenset({400, 401, 403, 404, 410})
_buffers = threading.local()


@dataclass(frozen=True, slots=True)
class Signed:
    """Contents that a route redirects to; `fill` says whose. The address is remembered."""

    transport: Transport
    route: Route
    fill: Mapping[str, int]
    has_ranges = True

    def open(
        self, byte_range: str | None = None, on_found: Callable[[], None] = lambda: None
    ) -> requests.Response:
        """The answer with the contents, body not yet read. An address that is refused is renewed once.

        `on_found` is called where the server had to be asked for an address, and has told one: the contents
        are there.
        """
        headers = {**_AS_IS, **({} if byte_range is None else {"Range": f"bytes={byte_range}"})}
        for is_renewed in (False, True):
            url = self._address(on_found)
            response = _follow(self.transport, url, headers)
            if response.status_code in _EXPIRED and not is_renewed:
                self._forget(url)
                response.close()
                continue
            break
        return _checked(response, url)

    def _address(self, on_found: Callable[[], None]) -> str:
        told: list[str] = []

        def ask() -> str:
            told.append(self._ask())
            return told[0]

        url = self.transport.addresses.get(self._path(), ask, self.transport.wire.keys.expires)
        if told:  # what it raises is not for those who wait for the same address
            on_found()
        return url

    def _forget(self, url: str) -> None:
        self.transport.addresses.forget(self._path(), url)

    def _path(self) -> str:
        return self.route.fill(**self.fill)

    def _ask(self) -> str:
        response = self.transport.request(self.route, fill=self.fill, follows_by_hand=True)
        if not response.headers.get("Location"):
            raise errors.BadResponse(response, f"GET {self._path()}: no redirect to the contents")
        return _target(response)


@dataclass(frozen=True, slots=True)
class Answered:
    """Contents that a route answers with; they come whole only. A redirect is followed as well."""

    transport: Transport
    route: Route
    fill: Mapping[str, int]
    params: Mapping[str, Any]
    has_ranges = False

    def open(self, byte_range: str | None = None) -> requests.Response:
        """The answer with the contents, body not yet read."""
        assert byte_range is None
        response = self.transport.request(
            self.route,
            fill=self.fill,
            params=self.params,
            headers=_AS_IS,
            follows_by_hand=True,
            stream=True,
        )
        if response.is_redirect:
            url = _target(response)
            response.close()
            response = _follow(self.transport, url, _AS_IS)
        return _checked(response, response.url)


Source = Signed | Answered


def _checked(response: requests.Response, url: str) -> requests.Response:
    if not response.ok:
        with documented_errors(url):
            _ = response.content
        raise_for_status(response)
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        response.close()
        raise errors.OrionServiceError("contents came in an encoding that was not asked for", response)
    return response


def _target(response: requests.Response) -> str:
    """Where a redirect leads to. Raises OrionConnectionError for what is no address."""
    with documented_errors(response.url):
        return urljoin(response.url, response.headers["Location"])


def _follow(transport: Transport, url: str, headers: Mapping[str, str]) -> requests.Response:
    for _ in range(_HOPS_MAX):
        response = transport.plain("GET", url, headers=headers, stream=True)
        if not response.is_redirect:
            return response
        url = _target(response)
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


def _chunks(response: requests.Response, length: int) -> Iterator[bytes]:
    """The body in chunks. Raises OrionServiceError when it breaks off before `length` bytes, or after."""
    done = 0
    try:
        with documented_errors(response.url):
            for chunk in response.iter_content(CHUNK_BYTES):
                done += len(chunk)
                yield chunk
    except errors.OrionConnectionError as exc:
        told = f"contents broke off after {done} of {length} bytes"
        raise errors.OrionServiceError(told, response) from exc
    finally:
        response.close()
    if done != length:
        raise errors.OrionServiceError(f"{done} bytes came where {length} were due", response)


def stream(
    source: Source, size: int | None = None, announce: Callable[[int], None] | None = None
) -> Generator[bytes, None, None]:
    """All contents in order, in chunks; other than `size` bytes are an OrionServiceError.

    What breaks off goes on where it was, a few times; contents without ranges do not. The length is
    announced before the first chunk.
    """
    response = source.open()
    length = _whole(response, size)
    if announce is not None:
        try:
            announce(length)
        except BaseException:
            response.close()
            raise
    done, attempt = 0, 1
    while True:
        start = done
        try:
            for chunk in _chunks(response, length - start):
                done += len(chunk)
                yield chunk
            return
        except (errors.OrionServiceError, errors.OrionTimeout):
            if attempt == _ATTEMPTS or done >= length or not source.has_ranges:
                raise
        attempt += 1
        response = source.open(f"{done}-{length - 1}")
        _check_range(response, done, length - done)


def pwrite_all(fd: int, data: bytes | memoryview, offset: int) -> None:
    """Write all of `data` at `offset`. Raises OSError."""
    view = memoryview(data)
    while view:
        written = local.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written


def read_into(
    source: Signed,
    offset: int,
    length: int,
    fd: int,
    fd_offset: int,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Fetch bytes [offset, offset + length) and write them at `fd_offset` of a descriptor.

    `progress` hears of each piece that was written, in bytes, and of 0 once the server has said where the
    contents are, if it was asked; what it raises ends the call. Returns `length`. Raises OrionServiceError
    for any other number of bytes, ValidationError for a range that lies outside the contents, OSError for
    the descriptor.
    """
    if offset < 0 or length < 0:
        raise errors.ValidationError("offset and length can't be negative")
    if length == 0:
        return 0
    on_found = partial(progress, 0) if progress is not None else lambda: None
    response = source.open(f"{offset}-{offset + length - 1}", on_found)
    _check_range(response, offset, length)
    at = fd_offset
    with closing(_pieces(response, length)) as pieces:
        for piece in pieces:
            pwrite_all(fd, piece, at)
            at += len(piece)
            if progress is not None:
                progress(len(piece))
    return length


def _pieces(response: requests.Response, length: int) -> Generator[memoryview, None, None]:
    """The body in pieces of one buffer, each valid until the next one is asked for. Errors as `_chunks`."""
    buffer, body, done = _buffer(), _body(response), 0
    piece_bytes = _FIRST_PIECE_BYTES
    try:
        while count := _receive(response, body, buffer[:piece_bytes], f"{done} of {length} bytes"):
            done, piece_bytes = done + count, _PIECE_BYTES
            yield buffer[:count]
        if done == length:
            response.raw.release_conn()
    finally:
        response.close()
    if done != length:
        raise errors.OrionServiceError(f"{done} bytes came where {length} were due", response)


def _buffer() -> memoryview:
    """The buffer of this thread."""
    if not hasattr(_buffers, "buffer"):
        _buffers.buffer = memoryview(bytearray(_PIECE_BYTES))
    found: memoryview = _buffers.buffer
    return found


def _body(response: requests.Response) -> Any:
    """What the body is read from: urllib3's own `readinto` would copy every byte twice more."""
    inner = getattr(response.raw, "_fp", None)
    return inner if isinstance(inner, HTTPResponse) else response.raw


def _receive(response: requests.Response, body: Any, buffer: memoryview, so_far: str) -> int:
    where = response.url.partition("?")[0]
    try:
        count: int = body.readinto(buffer)
    except (TimeoutError, ReadTimeoutError) as exc:
        raise errors.OrionTimeout(f"{where}: no answer in time") from exc
    except (OSError, HTTPException, HTTPError) as exc:
        raise errors.OrionServiceError(f"contents broke off after {so_far}", response) from exc
    return count


def to_file(source: Source, path: str | os.PathLike[str], size: int | None = None) -> None:
    """Fetch all contents to a local path; other than `size` bytes are an OrionServiceError.

    The file appears under its name only when it is complete; a device or pipe is written to directly.
    Raises NotEnoughDiskError, other OSErrors as they are.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        with open(target, "wb", buffering=0) as sink, closing(stream(source, size)) as chunks:
            for chunk in chunks:
                _write_all(sink.fileno(), chunk)
        return
    beside = target.with_name(f".orionfs-{secrets.token_hex(8)}.part")
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | local.BINARY, 0o666)
    try:
        try:
            _fetch_whole(source, fd, size)
        finally:
            os.close(fd)
        os.replace(beside, target)
    except BaseException as exc:
        beside.unlink(missing_ok=True)
        if isinstance(exc, OSError) and exc.errno in _NO_ROOM:
            raise errors.NotEnoughDiskError(f"no room for the download: {target}") from exc
        raise


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _fetch_whole(source: Source, fd: int, size: int | None) -> None:
    """Fetch into a new file; contents without ranges begin again after they broke off."""
    attempt = 1
    while True:
        at = 0
        try:
            with closing(stream(source, size, lambda length: _check_room(fd, length))) as chunks:
                for chunk in chunks:
                    pwrite_all(fd, chunk, at)
                    at += len(chunk)
            return
        except (errors.OrionServiceError, errors.OrionTimeout):
            if attempt == _ATTEMPTS or source.has_ranges or at == 0:
                raise
        attempt += 1
        os.ftruncate(fd, 0)


def _check_room(fd: int, size: int) -> None:
    free = local.free_bytes(fd)
    if free is not None and size > free:
        raise errors.NotEnoughDiskError(f"{size} bytes to download, the disk has room for less")
