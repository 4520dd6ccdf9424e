"""Durable changes: what was promised to users and is not on Orion yet, and what only this machine knows.

Six tables: `uploads` (a version on its way, by the mark its upload carries), `removals` (items to go),
`folder_removals` (emptied folders that are to go), `relocations` (folders that were renamed here and are
not all at their new place), `renames` (in one call, not known to have happened) and `local` (time of the last
write here, chmod). A version is sealed by one full-sync commit after its bytes were synced. What a later
step relies on is synced before that: a version that has got its name is not found by its mark any more, and
one that is over has no staged bytes. What is merely done again if a power cut takes its commit is not, nor
are time and mode. Blocking: callers run it in a thread, one call at a time. Knows no session and no inode.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from orionfs.durable.key_columns import columns_of, key_of, key_or_none
from orionfs.durable.local_rows import SCHEMA as LOCAL_SCHEMA
from orionfs.durable.local_rows import LocalRows
from orionfs.durable.parked_rows import SCHEMA as PARKED_SCHEMA
from orionfs.durable.parked_rows import ParkedRows
from orionfs.durable.promises import (
    RelocationRow,
    Removal,
    Rename,
    UploadRow,
    UploadStep,
    rewritten,
)
from orionfs.durable.rename_rows import SCHEMA as RENAMES_SCHEMA
from orionfs.durable.rename_rows import RenameRows
from orionfs.durable.share_rows import SCHEMA as SHARES_SCHEMA
from orionfs.durable.share_rows import ShareRows
from orionfs.errors import ExitStatus, LocalDiskError, NoSpace, OrionFsError, StartupError, disk_error
from orionfs.models import Key, LocalAttributes
from orionfs.private import sync_folder

__all__ = [
    "Journal",
    "RelocationRow",
    "Removal",
    "Rename",
    "UploadRow",
    "UploadStep",
    "rewritten",
]

log = logging.getLogger(__name__)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS uploads (
    mark TEXT PRIMARY KEY,           -- name the upload carries until it is in place
    step TEXT NOT NULL,              -- UploadStep
    folder TEXT NOT NULL,            -- absolute Orion path it goes to
    name TEXT NOT NULL,              -- true name it gets there
    staged TEXT NOT NULL,            -- file name below the staging folder
    size_bytes INTEGER NOT NULL,     -- sealed length (the staged file may have grown since)
    mtime_ns INTEGER NOT NULL,
    permissions INTEGER,
    tags TEXT,                       -- JSON list to put on the new item, NULL if none is known
    replaces_kind TEXT, replaces_id INTEGER,
    new_id INTEGER,                  -- once uploaded
    sealed_ns INTEGER NOT NULL       -- order of sealing
) STRICT;
CREATE TABLE IF NOT EXISTS removals (
    kind TEXT NOT NULL, id INTEGER NOT NULL,
    path TEXT NOT NULL,
    PRIMARY KEY (kind, id)
) STRICT;
CREATE TABLE IF NOT EXISTS folder_removals (
    path TEXT PRIMARY KEY                   -- absolute Orion path
) STRICT;
CREATE TABLE IF NOT EXISTS relocations (
    old TEXT PRIMARY KEY, new TEXT NOT NULL,  -- absolute Orion paths
    old_id INTEGER,                           -- of the folder, where this stack gives folders ids
    tags TEXT NOT NULL                        -- JSON list: those of the folder itself
) STRICT;
"""
_VERSION = 3  # 1 knew no removals of folders, 2 no renames; the tables that an older one lacks are made
_READABLE_VERSIONS = (0, 1, 2, 3)
_REMOVALS_KNOW_RENAMES = (1, 2)
_UPLOAD_COLUMNS = (
    "mark, step, folder, name, staged, size_bytes, mtime_ns, permissions, tags, replaces_kind, replaces_id,"
    " new_id, sealed_ns"
)


class Journal:
    """The journal of one daemon, in its own locked folder."""

    def __init__(self, path: Path, *, on_network_disk: bool = False) -> None:
        """Open or make it. WAL does not work on network filesystems, so those get DELETE."""
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
        os.chmod(path, 0o600)
        self._db.execute(f"PRAGMA journal_mode = {'DELETE' if on_network_disk else 'WAL'}")
        self._is_lazy_allowed = not on_network_disk
        version = self._check_version(path)
        self.local = LocalRows(self._db)
        self.parked = ParkedRows(self._db, self._transaction)
        self.shares = ShareRows(self._db, self._transaction)
        self.renames = RenameRows(self._db, self._transaction, self.move_folder)
        with self._transaction(durable=True):
            for statement in (_SCHEMA + LOCAL_SCHEMA + PARKED_SCHEMA + SHARES_SCHEMA + RENAMES_SCHEMA).split(
                ";"
            ):
                self._db.execute(statement)
            if version in _REMOVALS_KNOW_RENAMES:
                self.renames.take_over_within()
            self._db.execute(f"PRAGMA user_version = {_VERSION}")

    def _check_version(self, path: Path) -> int:
        version: int
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version not in _READABLE_VERSIONS:
            self._db.close()
            raise StartupError(
                f"{path} was written by another version of orionfs: mount once with that one, so that it"
                " finishes its uploads",
                ExitStatus.CONFIG,
            )
        return version

    def close(self) -> None:
        self._db.close()

    # Uploads

    def seal(
        self,
        row: UploadRow,
        descriptor: int,
        supersedes: Iterable[UploadRow] = (),
        folder: Path | None = None,
    ) -> None:
        """Promise a version: after this returns its bytes and intention survive a power cut.

        `descriptor` is the staged file's, which lies in `folder`. Rows that this version supersedes go in the
        same commit.
        """
        try:
            os.fdatasync(descriptor)
            if folder is not None:  # or bytes without the name that the row tells
                sync_folder(folder)
        except OSError as error:
            raise disk_error(error, f"{row.path}: staged bytes") from error
        with self._transaction(durable=True):
            for old in supersedes:
                self._set_step(old.mark, UploadStep.CANCELLED)
            self._put_upload(row)

    def begun(self, row: UploadRow) -> None:
        """Something may be on Orion under a mark from now on; unless it is sealed later, it is to go."""
        with self._transaction(durable=True):
            self._put_upload(row)

    def uploaded(self, mark: str, new_id: int) -> None:
        """The bytes are on Orion under the mark, as item `new_id`; once it is renamed only that finds it."""
        with self._transaction(durable=True):
            self._db.execute(
                "UPDATE uploads SET new_id = ?, step = iif(step = ?, step, ?) WHERE mark = ?",
                (new_id, UploadStep.CANCELLED.value, UploadStep.UPLOADED.value, mark),
            )

    def placed(self, row: UploadRow, key: Key, left_over: Removal | None) -> None:
        """The item has its name: the upload ends; what it replaced becomes a removal if it is still there."""
        with self._transaction(durable=True):  # or it would get this name again after others
            self._db.execute("DELETE FROM uploads WHERE mark = ?", (row.mark,))
            self.local.put_within(key, LocalAttributes(row.mtime_ns, row.permissions))
            self.shares.placed_within(key, row.replaces)
            if left_over is not None:
                self._put_removal(left_over)
            if row.replaces is not None and row.replaces != key:
                self._drop_local(row.replaces)

    def retarget(
        self, mark: str, folder: str, name: str, replaces: Key | None, ended: str | None = None
    ) -> None:
        """A version under way gets another name, and may replace another item there; `ended` is cancelled."""
        with self._transaction(durable=True):
            if ended is not None:
                self._set_step(ended, UploadStep.CANCELLED)
            self._db.execute(
                "UPDATE uploads SET folder = ?, name = ?, replaces_kind = ?, replaces_id = ? WHERE mark = ?",
                (folder, name, *columns_of(replaces), mark),
            )

    def rewrite(self, row: UploadRow) -> None:
        """All of a version is another but its bytes, and how far they are: see `rewritten`."""
        what = (
            row.folder,
            row.name,
            row.mtime_ns,
            row.permissions,
            _tags_column(row),
            *columns_of(row.replaces),
        )
        with self._transaction(durable=True):
            self._db.execute(
                "UPDATE uploads SET folder = ?, name = ?, mtime_ns = ?, permissions = ?, tags = ?,"
                " replaces_kind = ?, replaces_id = ?, step = iif(step = ?, ?, step) WHERE mark = ?",
                (*what, UploadStep.LOCAL.value, row.step.value, row.mark),
            )

    def retag(self, mark: str, tags: Sequence[str]) -> bool:
        """A version under way gets these tags with its name; False if it is under way no more."""
        with self._transaction(durable=True):
            done = self._db.execute("UPDATE uploads SET tags = ? WHERE mark = ?", (json.dumps(tags), mark))
            return done.rowcount > 0

    def move_folder(self, old: str, new: str) -> None:
        """A folder was renamed: uploads below it go to the new path, and removals wait for what is there."""
        below = _glob_quoted(old) + "/*"
        with self._transaction(durable=True):
            self._db.execute(
                "UPDATE uploads SET folder = ? || substr(folder, ?) WHERE folder = ? OR folder GLOB ?",
                (new, len(old) + 1, old, below),
            )
            for table in ("removals", "folder_removals"):
                self._db.execute(
                    f"UPDATE {table} SET path = ? || substr(path, ?) WHERE path GLOB ?",
                    (new, len(old) + 1, below),
                )
            self.parked.move_within(old, new, below)
            self.renames.move_within(old, new, below)

    def cancel(self, mark: str, *, is_durable: bool = True) -> None:
        """The version is not wanted any more, whatever becomes of this daemon, or of this machine."""
        with self._transaction(durable=is_durable):
            self._set_step(mark, UploadStep.CANCELLED)

    def restart(self, mark: str) -> None:
        """The uploaded item was withdrawn: the version is sealed and nothing more."""
        with self._transaction():
            self._db.execute(
                "UPDATE uploads SET new_id = NULL, step = iif(step = ?, step, ?) WHERE mark = ?",
                (UploadStep.CANCELLED.value, UploadStep.SEALED.value, mark),
            )

    def drop_upload(self, mark: str) -> None:
        """Nothing of this version is left to do."""
        with self._transaction(durable=True):  # its staged bytes go next
            self._db.execute("DELETE FROM uploads WHERE mark = ?", (mark,))

    def uploads(self) -> list[UploadRow]:
        """All sealed versions that are not in place, in the order of sealing."""
        rows = self._db.execute(f"SELECT {_UPLOAD_COLUMNS} FROM uploads ORDER BY sealed_ns")
        return [_upload_row(row) for row in rows]

    # Removals

    def add_removal(self, removal: Removal, *, is_durable: bool = True) -> None:
        """An item that is to go, whatever happens to this daemon; a durable one survives a power cut."""
        with self._transaction(durable=is_durable):
            self._put_removal(removal)

    def drop_removal(self, key: Key, *, is_gone: bool = False) -> None:
        """Nothing is left to do; `is_gone`: and what only this machine knew of the item is worth nothing."""
        with self._transaction():
            self._db.execute("DELETE FROM removals WHERE kind = ? AND id = ?", columns_of(key))
            if is_gone:
                self._drop_local(key)

    def removals(self) -> list[Removal]:
        rows = self._db.execute("SELECT kind, id, path FROM removals")
        return [Removal(key_of(kind, id_), path) for kind, id_, path in rows]

    def add_folder_removal(self, path: str) -> None:
        """A folder that is to go once it is empty, whatever happens to this daemon."""
        with self._transaction():
            self._put_folder_removal(path)

    def drop_folder_removal(self, path: str) -> None:
        with self._transaction(durable=True):  # or the next folder of that name would be removed, too
            self._db.execute("DELETE FROM folder_removals WHERE path = ?", (path,))

    def folder_removals(self) -> list[str]:
        """Absolute Orion paths of folders that are to go, the deepest first."""
        paths: list[str] = [path for (path,) in self._db.execute("SELECT path FROM folder_removals")]
        return sorted(paths, key=lambda path: path.count("/"), reverse=True)

    # Folders on their way

    def add_relocation(self, row: RelocationRow) -> None:
        """A folder that is to be at its new place, whatever happens to this daemon."""
        with self._transaction(durable=True):
            self._put_relocation(row)

    def drop_relocation(self, old: str) -> None:
        """The folder is where it should be, or is not to go there."""
        with self._transaction(durable=True):  # or the next folder of that name would be moved, too
            self._db.execute("DELETE FROM relocations WHERE old = ?", (old,))

    def relocations(self) -> list[RelocationRow]:
        """All folders on their way, in the order of their renames."""
        rows = self._db.execute("SELECT old, new, old_id, tags FROM relocations ORDER BY rowid")
        return [RelocationRow(old, new, id_, tuple(json.loads(tags))) for old, new, id_, tags in rows]

    # What only this machine knows

    def set_local(self, key: Key, attributes: LocalAttributes | None) -> None:
        """Keep, or with None forget, what only this machine knows of an item."""
        with self._transaction():
            if attributes is not None:
                self.local.put_within(key, attributes)
            else:
                self._drop_local(key)

    def has_swaps_only(self) -> bool:
        """True if nothing is in it but items that are replaced, or to go."""
        tables = ("uploads", "folder_removals", "relocations", "local", "parked", "shares")
        return not any(self._db.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchone() for table in tables)

    def absorb(self, other: Journal) -> None:
        """Take over everything of a journal whose daemon is gone."""
        with self._transaction(durable=True):
            for row in other.uploads():
                self._put_upload(row)
            for removal in other.removals():
                self._put_removal(removal)
            for path in other.folder_removals():
                self._put_folder_removal(path)
            for relocation in other.relocations():
                self._put_relocation(relocation)
            for rename in other.renames.all():
                self.renames.put_within(rename)
            for key, attributes in other.local.all().items():
                self.local.put_within(key, attributes)
            for parked in other.parked.all():
                self.parked.put_within(parked)
            for key, shares in other.shares.all().items():
                self.shares.put_within(key, shares)

    def _set_step(self, mark: str, step: UploadStep) -> None:
        self._db.execute("UPDATE uploads SET step = ? WHERE mark = ?", (step.value, mark))

    def _put_upload(self, row: UploadRow) -> None:
        tags = _tags_column(row)
        values = (row.mark, row.step.value, row.folder, row.name, row.staged, row.size_bytes, row.mtime_ns)
        more = (row.permissions, tags, *columns_of(row.replaces), row.new_id, row.sealed_ns)
        self._db.execute(f"INSERT OR REPLACE INTO uploads VALUES ({','.join('?' * 13)})", values + more)

    def _put_removal(self, removal: Removal) -> None:
        self._db.execute(
            "INSERT OR REPLACE INTO removals (kind, id, path) VALUES (?, ?, ?)",
            (*columns_of(removal.key), removal.path),
        )

    def _put_folder_removal(self, path: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO folder_removals VALUES (?)", (path,))

    def _put_relocation(self, row: RelocationRow) -> None:
        values = (row.old, row.new, row.old_id, json.dumps(row.tags))
        self._db.execute("INSERT OR REPLACE INTO relocations VALUES (?, ?, ?, ?)", values)

    def _drop_local(self, key: Key) -> None:
        for table in ("local", "parked", "shares"):
            self._db.execute(f"DELETE FROM {table} WHERE kind = ? AND id = ?", columns_of(key))

    @contextmanager
    def together(self) -> Iterator[None]:
        """What is written in the block is one durable commit; what fails in it takes nothing else along."""
        with self._transaction(durable=True):
            yield

    @property
    def is_together(self) -> bool:
        """False once a full disk, say, has ended what was to be one commit."""
        return self._db.in_transaction

    @contextmanager
    def _transaction(self, *, durable: bool = False) -> Iterator[None]:
        """One commit; a durable one is synced to the disk before it returns.

        Within another one it is a part of that, and lasts as that does.
        """
        if self._db.in_transaction:
            with self._savepoint():
                yield
            return
        level = "FULL" if durable or not self._is_lazy_allowed else "NORMAL"
        try:
            self._db.execute(f"PRAGMA synchronous = {level}")
            self._db.execute("BEGIN IMMEDIATE")
            yield
            self._db.execute("COMMIT")
        except BaseException as error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                raise _journal_error(error) from error
            raise

    @contextmanager
    def _savepoint(self) -> Iterator[None]:
        try:
            self._db.execute("SAVEPOINT part")
            yield
            self._db.execute("RELEASE part")
        except BaseException as error:
            if self._db.in_transaction:  # a full disk may have ended all of it
                self._db.execute("ROLLBACK TO part")
                self._db.execute("RELEASE part")
            if isinstance(error, sqlite3.Error):
                raise _journal_error(error) from error
            raise


def _tags_column(row: UploadRow) -> str | None:
    return json.dumps(row.tags) if row.tags is not None else None


def _upload_row(row: tuple[Any, ...]) -> UploadRow:
    mark, step, folder, name, staged, size, mtime_ns, permissions, tags, kind, id_, new_id, sealed_ns = row
    return UploadRow(
        mark=mark,
        folder=folder,
        name=name,
        staged=staged,
        size_bytes=size,
        mtime_ns=mtime_ns,
        permissions=permissions,
        tags=tuple(json.loads(tags)) if tags is not None else None,
        replaces=key_or_none(kind, id_),
        new_id=new_id,
        step=UploadStep(step),
        sealed_ns=sealed_ns,
    )


def _journal_error(error: sqlite3.Error) -> OrionFsError:
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
        return NoSpace("journal: no room left on the local disk")
    return LocalDiskError(f"journal: {error}")


def _glob_quoted(text: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in text)
