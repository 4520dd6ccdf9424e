"""Files of `orion://` that are open: read through the content cache, uploaded at close.

What is written is seen under its name once all of it is on Orion; until then what had the name stays.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fsspec.spec import AbstractBufferedFile

from orionfs.cache.windows import Window
from orionfs.fs.errors import in_python

if TYPE_CHECKING:
    from orionfs.fs.access import Access
    from orionfs.fs.contents import Source
    from orionfs.fs.filesystem import OrionFileSystem
    from orionfs.fs.tree import Node

_CHUNK_BYTES = 2**20
_LINE_BYTES = 2**16


class OrionReader(AbstractBufferedFile):  # type: ignore[misc]  # fsspec has no types
    """One version, read from wherever; it stays that version whatever becomes of its name."""

    def __init__(
        self, fs: OrionFileSystem, path: str, node: Node, info: dict[str, Any], **options: Any
    ) -> None:
        self._node = node
        self._window = Window()
        self._source: Source | None = None
        self._access: Access | None = None
        with in_python(path):
            source = self._opened(fs.access)
        # What was read is in the content cache; a second copy of it would be in the way.
        options = {**options, "cache_type": "none", "size": source.size}
        super().__init__(fs, path, "rb", **options)
        self.details = {**info, "size": source.size}

    def _opened(self, access: Access) -> Source:
        """The version, opened by this process: one that was forked opens it itself."""
        if self._source is None or self._access is not access:
            self._access, self._source = access, access.contents.open(self._node.item)
        return self._source

    def _fetch_range(self, start: int, end: int) -> bytes:
        with in_python(self.path):
            access = self.fs.access
            source = self._opened(access)
            ahead_to = self._window.advance(start, end - start)
            data: bytes = access.contents.read(source, start, end, ahead_to)
            return data

    def readuntil(self, char: bytes = b"\n", blocks: int | None = None) -> bytes:
        """All up to and with a character; what is read beyond it lies in the content cache."""
        line: bytes = super().readuntil(char, blocks or _LINE_BYTES)
        return line

    def close(self) -> None:
        """Let the version go."""
        if not self.closed and self._source is not None and self._access is not None:
            self._access.contents.close(self._source)
            self._source = None
        super().close()

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (self.fs, self.path, self.loc)


def _reopened(fs: OrionFileSystem, path: str, at: int) -> OrionReader:
    file: OrionReader = fs.open(path, "rb")
    file.seek(at)
    return file


class OrionWriter(AbstractBufferedFile):  # type: ignore[misc]  # fsspec has no types
    """A version in the making."""

    def __init__(self, fs: OrionFileSystem, path: str, mode: str, **options: Any) -> None:
        self._staged: Path | None = None
        super().__init__(fs, path, mode, **options)
        with in_python(path):
            self._staged = fs.access.contents.stage()
        self._file = self._staged.open("r+b")
        if mode == "ab":
            self._begin_with_what_is_there()

    def _begin_with_what_is_there(self) -> None:
        try:
            with self.fs.open(self.path, "rb") as there:
                shutil.copyfileobj(there, self._file, _CHUNK_BYTES)
        except FileNotFoundError:
            return
        except BaseException:
            self.discard()
            self.closed = True
            raise
        self.loc = self._file.tell()

    def _upload_chunk(self, final: bool = False) -> bool:
        """To the disk; the last one, to Orion."""
        try:
            self._file.write(self.buffer.getbuffer())
            if final:
                self._file.close()
                if self.autocommit:
                    self.commit()
        except BaseException:
            self.discard()
            self.closed = True
            raise
        return True

    def close(self) -> None:
        """Finish it: what was written goes to Orion. Raises OSError where it does not."""
        if self.closed:
            return
        try:
            if not self.forced:
                self.flush(force=True)
        finally:
            self.closed = True

    def commit(self) -> None:
        """Upload it and give it its name."""
        assert self._staged is not None
        try:
            self.fs.put_in_place(self._staged, self.path, is_new=self.mode == "xb")
        finally:
            self.discard()

    def discard(self) -> None:
        """Throw away what was written."""
        self._file.close()
        if self._staged is not None:
            with contextlib.suppress(OSError):
                os.unlink(self._staged)
