"""Uploads that begin before anybody knows how long they get, as verbs of our own session.

For a session in the daemon's own process: a documented-only one has no such thing, and no path of a file
that still grows is handed to another process. Must not know the mount.
"""

from __future__ import annotations

from typing import Any

from .worker import Calls

__all__ = ["GrowingCalls"]


class GrowingCalls(Calls):
    """The verbs of a session whose Files can `begin`; `open_ended` says whether they can."""

    def __init__(self, session: Any, types: Any) -> None:
        super().__init__(session, types)
        self.open_ended = hasattr(getattr(types, "File", None), "begin")
        self._growing: dict[int, Any] = {}

    def begin_upload(self, name: str) -> dict[str, Any]:
        """Begin a new item without contents: its `id`, and how long its parts are (`part_bytes`)."""
        begun = self._types.File.begin(self._session, name)
        self._growing[begun.id] = begun
        return {"id": begun.id, "part_bytes": begun.part_bytes}

    def send_part(self, id: int, part_bytes: int, number: int, path: str, length: int) -> None:
        """Send part `number` (from 1): `length` bytes of a local file from where the part begins."""
        self._growing_file(id, part_bytes).send(number, path, length)

    def finish_upload(self, id: int, part_bytes: int, size: int) -> dict[str, Any]:
        """All parts of a file of `size` bytes have been sent; the attributes of the new item."""
        finished = self._shown(self._growing_file(id, part_bytes).finish(size))
        self._growing.pop(id, None)
        return finished

    def delete(self, kind: str, id: Any) -> None:
        """See `Calls.delete`; what was begun and is not wanted goes the same way."""
        super().delete(kind, id)
        if kind == "file":
            self._growing.pop(id, None)

    def _growing_file(self, id: int, part_bytes: int) -> Any:
        """One that this session, or one before it, has begun."""
        found = self._growing.get(id)
        if found is None:
            found = self._growing.setdefault(id, self._types.GrowingFile(self._session, id, part_bytes))
        return found
