"""What stands in a journal: its tables, and their rows as records; pure.

A part of `journal`, which reads and writes them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from orionfs.models import Key

SCHEMA = """
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
    instead_kind TEXT, instead_id INTEGER,  -- only once this item has the path
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
CREATE TABLE IF NOT EXISTS local (
    kind TEXT NOT NULL, id INTEGER NOT NULL, mtime_ns INTEGER, permissions INTEGER, PRIMARY KEY (kind, id)
) STRICT;
"""


class UploadStep(Enum):
    """How far a sealed version has come; a step is written down after it was done."""

    LOCAL = "local"  # stays on this machine: its name is one that Orion is not to see
    SEALED = "sealed"
    UPLOADED = "uploaded"
    CANCELLED = "cancelled"  # not wanted any more; what it may have left on Orion is still to be removed


@dataclass(frozen=True, slots=True)
class UploadRow:
    """One sealed version: its bytes, where they go, what they replace."""

    mark: str
    folder: str
    name: str
    staged: str
    size_bytes: int
    mtime_ns: int
    permissions: int | None = None
    tags: tuple[str, ...] | None = None
    replaces: Key | None = None
    new_id: int | None = None
    step: UploadStep = UploadStep.SEALED
    sealed_ns: int = 0

    @property
    def path(self) -> str:
        return f"{self.folder.rstrip('/')}/{self.name}"


@dataclass(frozen=True, slots=True)
class Removal:
    """An item to be removed from Orion; `path` is where users knew it.

    With `instead` it goes only if that item has the path: a rename was promised, and may not have
    happened.
    """

    key: Key
    path: str
    instead: Key | None = None


@dataclass(frozen=True, slots=True)
class RelocationRow:
    """A folder that was renamed from `old` to `new` (absolute Orion paths), its id and tags if known."""

    old: str
    new: str
    old_id: int | None = None
    tags: tuple[str, ...] = ()


def rewritten(now: UploadRow, row: UploadRow) -> UploadRow:
    """A version as far as it is now, with another name and attributes; one that stayed here may leave."""
    step = row.step if now.step is UploadStep.LOCAL else now.step
    return replace(row, step=step, new_id=now.new_id)
