"""Contents on disk: one plain file per resource below `blobs/`, named by a random key.

Knows nothing of metadata: keys come from and go to its callers. What `BlobWriter.commit` has returned
from is on disk with its name; contents whose key no resource carries are garbage, removed by
`remove_strays` when a server starts. All calls block: run them in worker threads.
"""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

from orionfs.server.problems import conflict
from orionfs.server.signing import sync_directory

_IOV_MAX = 512
_BUFFER_BYTES = 1024 * 1024


class BlobWriter:
    """Writes bytes one after the other into a blob from `offset` on; use as a context manager."""

    def __init__(self, descriptor: int, offset: int, seal: Seal | None) -> None:
        self._descriptor = descriptor
        self._start = offset
        self._offset = offset
        self._seal = seal

    def __enter__(self) -> BlobWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the writing; what was not committed may be lost in a power cut."""
        os.close(self._descriptor)

    @property
    def size(self) -> int:
        """Bytes written."""
        return self._offset - self._start

    def write(self, chunks: Sequence[bytes]) -> None:
        """Write the chunks in order. Refusal 409 when the upload was completed meanwhile."""
        if self._seal is None:
            self._write(chunks)
            return
        with self._seal.lock:
            if self._seal.is_sealed:
                raise conflict("this upload is complete", "complete")
            self._write(chunks)

    def write_all(self, pieces: Iterable[bytes]) -> None:
        """Write pieces as they come, however small: about a MiB of them at a time."""
        pending = bytearray()
        for piece in pieces:
            pending += piece
            if len(pending) >= _BUFFER_BYTES:
                self.write([bytes(pending)])
                pending.clear()
        self.write([bytes(pending)])

    def commit(self) -> None:
        """Everything written is on disk when this returns."""
        os.fdatasync(self._descriptor)

    def _write(self, chunks: Sequence[bytes]) -> None:
        pending = [memoryview(chunk) for chunk in chunks if chunk]
        while pending:
            written = os.pwritev(self._descriptor, pending[:_IOV_MAX], self._offset)
            self._offset += written
            while pending and written >= len(pending[0]):
                written -= len(pending.pop(0))
            if written:
                pending[0] = pending[0][written:]


class Seal:
    """Ends the writing of one upload: a late, repeated part must not touch what is complete."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.is_sealed = False
        self.holders = 0


class Seals:
    """Seals of the uploads that somebody works on now, by file id."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seals: dict[int, Seal] = {}

    @contextmanager
    def hold(self, file_id: int) -> Iterator[Seal]:
        """The seal that all who hold it for this upload share."""
        with self._lock:
            seal = self._seals.setdefault(file_id, Seal())
            seal.holders += 1
        try:
            yield seal
        finally:
            with self._lock:
                seal.holders -= 1
                if not seal.holders:
                    del self._seals[file_id]

    @contextmanager
    def closing(self, file_id: int) -> Iterator[None]:
        """No part of this upload is written within, nor afterwards unless the block raises."""
        with self.hold(file_id) as seal:
            with seal.lock:
                seal.is_sealed = True
            try:
                yield
            except BaseException:
                with seal.lock:
                    seal.is_sealed = False
                raise


class Blobs:
    """The blobs of one data folder."""

    def __init__(self, root: Path) -> None:
        self._root = root
        root.mkdir(mode=0o700, exist_ok=True)
        # Folders whose names are on disk: what a server left here that was killed is put there now.
        self._kept = {path.name for path in root.iterdir()}
        sync_directory(root)

    def new_key(self) -> str:
        """A key for a blob that is not there yet."""
        return secrets.token_hex(16)

    def path(self, key: str) -> Path:
        """Where a blob lies."""
        return self._root / key[:2] / key

    def create(self, key: str, *, is_synced: bool = True) -> BlobWriter:
        """A writer for a new, empty blob. Its name is on disk before this returns, if asked."""
        path = self.path(key)
        self._make_folder(path.parent, is_synced=is_synced)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        if is_synced:
            sync_directory(path.parent)
        return BlobWriter(descriptor, 0, None)

    def _make_folder(self, folder: Path, *, is_synced: bool) -> None:
        if folder.name in self._kept:
            return
        folder.mkdir(mode=0o700, exist_ok=True)
        if is_synced:
            sync_directory(self._root)
            self._kept.add(folder.name)

    def open_part(self, key: str, offset: int, seal: Seal) -> BlobWriter:
        """A writer for one part of an upload, at its offset in the blob."""
        return BlobWriter(os.open(self.path(key), os.O_WRONLY | os.O_CLOEXEC), offset, seal)

    def reopen(self, key: str, offset: int) -> BlobWriter:
        """A writer for what follows the first `offset` bytes; nobody else may write to this blob."""
        return BlobWriter(os.open(self.path(key), os.O_WRONLY | os.O_CLOEXEC), offset, None)

    def remove(self, keys: Iterable[str | None]) -> None:
        """Remove blobs; those that are gone already are no error."""
        for key in keys:
            if key is not None:
                with suppress(FileNotFoundError):
                    self.path(key).unlink()

    def remove_strays(self, known: Container[str]) -> int:
        """Remove what no resource carries; returns how many files."""
        strays = [path for path in self._root.glob("[0-9a-f][0-9a-f]/*") if path.name not in known]
        self.remove(path.name for path in strays)
        return len(strays)
