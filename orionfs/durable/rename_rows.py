"""The journal's table of renames on Orion: asked for, and not known to have happened or not.

What a rename means for the versions under way at either of its paths is written down in the same commit as
its end, so no crash leaves one without the other. A part of `journal`, which opens the database and gives
the transactions. Blocking, one thread.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from orionfs.durable.key_columns import columns_of, key_of, key_or_none
from orionfs.durable.promises import Removal, Rename, UploadStep
from orionfs.models import Key

SCHEMA = """
CREATE TABLE IF NOT EXISTS renames (
    kind TEXT NOT NULL, id INTEGER NOT NULL,  -- the item, or the folder
    old TEXT NOT NULL, path TEXT NOT NULL,    -- absolute Orion paths: where it was, where it is to be
    replaced_kind TEXT, replaced_id INTEGER,  -- the item that goes from there
    ended TEXT,                               -- mark of the version that was under way to that path
    follows TEXT,                             -- mark of a newer version of the item
    PRIMARY KEY (kind, id)
) STRICT;
"""
_COLUMNS = "kind, id, old, path, replaced_kind, replaced_id, ended, follows"
_PATHS = ("old", "path")


class RenameRows:
    """The table, in the database of a journal."""

    def __init__(
        self,
        db: Any,
        transaction: Callable[..., AbstractContextManager[None]],
        move_folder: Callable[[str, str], None],
    ) -> None:
        """`move_folder` takes all that is promised below a folder from its old path to the new one."""
        self._db = db
        self._transaction = transaction
        self._move_folder = move_folder

    def put(self, rename: Rename) -> None:
        """A rename is about to be asked for; survives a power cut."""
        with self._transaction(durable=True):
            self.put_within(rename)

    def put_within(self, rename: Rename) -> None:
        """The same within a transaction of the journal."""
        marks = (rename.ended, rename.follows)
        values = (*columns_of(rename.key), rename.old, rename.path, *columns_of(rename.replaced), *marks)
        self._db.execute(f"INSERT OR REPLACE INTO renames VALUES ({','.join('?' * 8)})", values)

    def drop(self, rename: Rename) -> None:
        """A rename has not happened, and will not."""
        with self._transaction(durable=True):  # or a later one to the same place would be taken for it
            self._drop_within(rename.key)

    def happened(self, rename: Rename, removal: Removal | None) -> None:
        """A rename has happened, with all that follows; `removal` is what is still to go from its path."""
        with self._transaction(durable=True):
            self._drop_within(rename.key)
            if rename.is_of_folder:
                self._move_folder(rename.old, rename.path)
            else:
                self._end(rename.ended)
                self._go_along(rename)
                self._rebase(rename)
            if removal is not None:
                self._db.execute(
                    "INSERT OR REPLACE INTO removals (kind, id, path) VALUES (?, ?, ?)",
                    (*columns_of(removal.key), removal.path),
                )

    def all(self) -> list[Rename]:
        """Every rename whose end is not known, in the order of asking."""
        rows = self._db.execute(f"SELECT {_COLUMNS} FROM renames ORDER BY rowid")
        return [
            Rename(key_of(kind, id_), old, path, key_or_none(*replaced), ended, follows)
            for kind, id_, old, path, *replaced, ended, follows in rows
        ]

    def move_within(self, old: str, new: str, below: str) -> None:
        """A folder was renamed; `below` is the GLOB pattern of all below it."""
        for column in _PATHS:
            self._db.execute(
                f"UPDATE renames SET {column} = ? || substr({column}, ?) WHERE {column} GLOB ?",
                (new, len(old) + 1, below),
            )

    def take_over_within(self) -> None:
        """What earlier versions wrote down as removals that depend on a rename."""
        if "instead_kind" not in [
            column for _, column, *_ in self._db.execute("PRAGMA table_info(removals)")
        ]:
            return
        rows = self._db.execute(
            "SELECT kind, id, path, instead_kind, instead_id FROM removals WHERE instead_kind IS NOT NULL"
        ).fetchall()
        for kind, id_, path, *instead in rows:
            self.put_within(Rename(key_of(*instead), path, path, key_of(kind, id_)))
            self._db.execute("DELETE FROM removals WHERE kind = ? AND id = ?", (kind, id_))

    def _drop_within(self, key: Key) -> None:
        self._db.execute("DELETE FROM renames WHERE kind = ? AND id = ?", columns_of(key))

    def _end(self, mark: str | None) -> None:
        self._db.execute("UPDATE uploads SET step = ? WHERE mark = ?", (UploadStep.CANCELLED.value, mark))

    def _go_along(self, rename: Rename) -> None:
        self._db.execute(
            "UPDATE uploads SET folder = ?, name = ? WHERE mark = ?", (*rename.place, rename.follows)
        )

    def _rebase(self, rename: Rename) -> None:
        """What was begun later to replace the same, or nothing, replaces the item that came in between."""
        self._db.execute(
            "UPDATE uploads SET replaces_kind = ?, replaces_id = ? WHERE replaces_kind IS ?"
            " AND replaces_id IS ? AND rtrim(folder, '/') = ? AND name = ? AND mark IS NOT ?",
            (*columns_of(rename.key), *columns_of(rename.replaced), *rename.place, rename.ended),
        )
