"""A place of the probe's own on a stack, and the promise that nothing of it stays behind.

Everything that is made goes through `Scratch`, which writes it down *before* it asks for it: a call that
was cut off may have worked. `clean` takes all of it away, whatever this stack's habits are; `left` says
at any time what is still there, or may be.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from orionfs.errors import AccessDenied, NoSuchName, OrionFsError, RemoteFailure, Unreachable
from orionfs.models import MARK_PREFIX, Kind
from orionfs.probe.answers import Listing, id_of, kind_of, name_of
from orionfs.probe.asking import Desk

_BATCH = 200
_ROUNDS = 3
_PAGES_MAX = 400


@dataclass(frozen=True, slots=True)
class Leftover:
    """Something of the probe's that is still on the stack, or may be; `id` where it has one."""

    path: str
    id: int | None


@dataclass(slots=True)
class Upload:
    """A File of ours: the name it carried first, where it is, its id once that is known."""

    mark: str
    content: bytes
    path: str
    id: int | None = None
    state: str = ""
    is_gone: bool = False


class Scratch:
    """A folder in `parent`; uploads land in `home` before they get a place."""

    def __init__(self, desk: Desk, parent: str, home: str) -> None:
        self._desk = desk
        self._key = uuid.uuid4().hex
        self._home = home
        self.parent = parent
        self.path = f"{parent.rstrip('/')}/{MARK_PREFIX}probe-{self._key}"
        self._id: int | None = None
        self._folders: list[str] = []
        self._uploads: list[Upload] = []
        self.removes_whole = False  # seen: a folder goes with what is in it

    # Making

    def folder(self, *names: str) -> str:
        """The path of a folder in here; it need not be there."""
        return "/".join((self.path, *(MARK_PREFIX + name for name in names)))

    def mark(self, word: str) -> str:
        """A name that nothing else has, anywhere."""
        return f"{MARK_PREFIX}{self._key[:12]}-{word}"

    def make(self, *paths: str) -> None:
        """Make folders, in batches that a stack can take. Raises OrionFsError."""
        for at in range(0, len(paths), _BATCH):
            batch = paths[at : at + _BATCH]
            self._folders += batch
            self._desk.change("create_paths", list(batch))

    def is_there(self) -> bool:
        """Whether the scratch folder is seen. Raises OrionFsError."""
        row = self._desk.stat(self.path)
        if row is not None:
            self._id = id_of(row)
        return row is not None

    def expect(self, path: str) -> None:
        """A folder may come to be there."""
        self._folders.append(path)

    def upload(self, word: str, content: bytes) -> Upload:
        """Upload a File under a name of its own. Raises OrionFsError."""
        mark = self.mark(word)
        made = Upload(mark, content, f"{self._home}/{mark}")
        self._uploads.append(made)
        with tempfile.TemporaryDirectory(prefix="orionfs-probe-") as folder:
            file = Path(folder, "contents")
            file.write_bytes(content)
            attributes = self._desk.change("upload", made.mark, os.fspath(file))
        made.id = id_of(attributes)
        if made.id is None:
            raise RemoteFailure("the answer to an upload tells no id")
        made.state = str(attributes.get("state") or "")
        return made

    # Cleaning

    def left(self) -> list[Leftover]:
        """What is not known to be gone."""
        items = [Leftover(each.path, each.id) for each in self._uploads if not each.is_gone]
        return [*items, *([Leftover(self.path, self._id)] if self._folders else [])]

    def clean(self) -> None:
        """Take everything away that can be; `left` tells what can't. Raises what a dead stack raises."""
        ends_at = self._desk.now() + self._desk.pace.cleaning_s
        for _ in range(_ROUNDS):
            for upload in self._uploads:
                if not upload.is_gone:
                    self._discard(upload)
            with contextlib.suppress(AccessDenied):  # it can be transient, so there is another round
                self._remove_folders(ends_at)
            if not self.left() or self._desk.now() > ends_at:
                return

    def _discard(self, upload: Upload) -> None:
        """Delete a File by its id; one whose upload was cut off is looked for."""
        try:
            ids = {upload.id} if upload.id is not None else self._ids_of(upload)
            for id in ids:
                self.delete(id)
            upload.is_gone = True
        except Unreachable:
            raise
        except OrionFsError:
            return

    def delete(self, id: int) -> None:
        """Delete a File softly; it may be gone. Raises OrionFsError."""
        try:
            self._desk.change("delete", Kind.FILE.value, id)
        except NoSuchName:
            return

    def _ids_of(self, upload: Upload) -> set[int]:
        """Ids of what an upload without an answer has left: usually nothing."""
        found: set[int | None] = set()

        def is_there() -> bool:
            row = self._desk.stat(f"{self._home}/{upload.mark}")
            rows = self._desk.ask("find", Kind.FILE.value, {"name": upload.mark})
            found.update(id_of(each) for each in rows if name_of(each) == upload.mark)
            found.add(None if row is None else id_of(row))
            return found != {None}

        self._desk.look(is_there)
        return {id for id in found if id is not None}

    def _remove_folders(self, ends_at: float) -> None:
        if not self._folders:
            return
        if self.removes_whole:
            self._remove([self.path])
        else:
            paths = list(dict.fromkeys(reversed(self._folders)))
            for at in range(0, len(paths), _BATCH):
                if self._desk.now() < ends_at:
                    self._remove(paths[at : at + _BATCH])
        if self._is_gone():
            self._folders.clear()
            return
        self._sweep(self.path, ends_at)

    def _remove(self, paths: Sequence[str]) -> None:
        """Remove folders, all at once if the stack lets us, else in halves: what is gone is no error.

        Raises AccessDenied, Unreachable.
        """
        try:
            self._desk.change("remove_paths", list(paths))
        except (Unreachable, AccessDenied):
            raise
        except OrionFsError:
            self._remove_halves(paths)

    def _remove_halves(self, paths: Sequence[str]) -> None:
        if len(paths) > 1:
            middle = len(paths) // 2
            self._remove(paths[:middle])
            self._remove(paths[middle:])

    def _is_gone(self) -> bool:
        try:
            return self._desk.look(lambda: not self.is_there())
        except Unreachable:
            raise
        except OrionFsError:
            return False

    def _sweep(self, path: str, ends_at: float) -> None:
        """Remove a folder by what is listed in it: for what nobody has written down."""
        try:
            for listing in self._pages(path):
                for row in listing.rows:
                    if self._desk.now() > ends_at:
                        return
                    self._sweep_row(path, kind_of(row), name_of(row), id_of(row), ends_at)
        except (Unreachable, AccessDenied):
            raise
        except OrionFsError:
            return
        self._remove([path])

    def _sweep_row(self, path: str, kind: Kind, name: str, id: int | None, ends_at: float) -> None:
        if kind is Kind.FOLDER:
            self._sweep(f"{path}/{name}", ends_at)
        elif id is not None and kind is Kind.FILE:
            self.delete(id)
        else:
            self._remove([f"{path}/{name}"])

    def _pages(self, path: str) -> Iterator[Listing]:
        """Listings of what is left in a folder until there is none, or nothing new."""
        known: set[tuple[str, int | None]] = set()
        for _ in range(_PAGES_MAX):
            listing = self._desk.ls(path, {"limit": _BATCH, "offset": 0})
            rows = {(name_of(row), id_of(row)) for row in listing.rows}
            if rows <= known:
                return
            known |= rows
            yield listing
