"""Contents that pass through memory, for want of room on the disk: a few pieces, the ones used last.

Used by `fetch` alone. A read still succeeds when the cache can hold nothing; it is only remembered for as
long as memory for it lasts. Must not know the cache.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from dataclasses import dataclass
from functools import partial

from orionfs.errors import NoSuchName, OrionFsError, RemoteFailure, Stale
from orionfs.models import Key
from orionfs.orion.limiter import Priority
from orionfs.orion.parts import Part
from orionfs.orion.remote import Remote
from orionfs.tasks import Background

PIECE_BYTES = 2**20
_PIECES_MAX = 48
_AHEAD_PIECES = 8


@dataclass(eq=False, slots=True)
class _Piece:
    """Some bytes of a version in a file without a name, in memory."""

    part: Part
    fd: int
    users: int = 0
    error: OrionFsError | None = None
    is_kept: bool = True


class Asides:
    """What passes through memory in one mount."""

    def __init__(self, remote: Remote, background: Background) -> None:
        self._remote = remote
        self._background = background
        self._pieces: OrderedDict[tuple[Key, int], _Piece] = OrderedDict()

    async def read(self, key: Key, size: int, offset: int, end: int, ahead_to: int) -> bytes:
        """Bytes [offset, end) of a version of `size` bytes; up to `ahead_to` more will be wanted soon.

        Raises Stale, and what else the session fails with.
        """
        wanted = self._numbers(offset, end)
        soon = self._numbers(end, min(ahead_to, end + _AHEAD_PIECES * PIECE_BYTES))
        pieces = [self._piece(key, size, number, Priority.FOREGROUND) for number in wanted]
        try:
            for number in soon:
                self._let_go(self._piece(key, size, number, Priority.PREFETCH))
            return b"".join([await self._read(piece, offset, end) for piece in pieces])
        finally:
            for piece in pieces:
                self._let_go(piece)
            self._forget()

    def close(self) -> None:
        """Free the memory."""
        for piece in self._pieces.values():
            os.close(piece.fd)
        self._pieces.clear()

    def _numbers(self, start: int, end: int) -> range:
        return range(start // PIECE_BYTES, -(-end // PIECE_BYTES))

    def _piece(self, key: Key, size: int, number: int, priority: Priority) -> _Piece:
        """The piece, on its way or here already; one user more."""
        piece = self._pieces.get((key, number))
        if piece is None:
            start = number * PIECE_BYTES
            part = Part(
                start, min(start + PIECE_BYTES, size), self._remote.line, base=start, priority=priority
            )
            piece = self._pieces[key, number] = _Piece(part, os.memfd_create("orionfs", os.MFD_CLOEXEC))
            piece.users += 1  # its fetch
            self._background.start(f"fetch of {key.id}", partial(self._fetch, key, number, piece))
        self._pieces.move_to_end((key, number))
        piece.users += 1
        return piece

    async def _fetch(self, key: Key, number: int, piece: _Piece) -> None:
        try:
            await self._remote.read_into(key, piece.part, piece.fd)
        except NoSuchName as error:
            piece.error = Stale(f"{key.kind.value} {key.id} is not on Orion any more: {error}")
        except OrionFsError as error:
            piece.error = error
        except Exception as error:
            piece.error = RemoteFailure(f"{key.kind.value} {key.id}: {type(error).__name__}")
            raise
        finally:
            piece.part.finish()
            if piece.error is not None and self._pieces.get((key, number)) is piece:
                del self._pieces[key, number]  # who wants it asks again
                piece.is_kept = False
            self._let_go(piece)

    async def _read(self, piece: _Piece, offset: int, end: int) -> bytes:
        start, end = max(offset, piece.part.start), min(end, piece.part.end)
        await piece.part.wait_for(end)
        if piece.error is not None:
            raise piece.error
        return os.pread(piece.fd, end - start, start - piece.part.base)

    def _let_go(self, piece: _Piece) -> None:
        piece.users -= 1
        if not piece.users and not piece.is_kept:
            os.close(piece.fd)

    def _forget(self) -> None:
        """Keep what was used last, and what somebody waits for."""
        for at in list(self._pieces):
            if len(self._pieces) <= _PIECES_MAX:
                return
            if self._pieces[at].users == 0:
                os.close(self._pieces.pop(at).fd)
