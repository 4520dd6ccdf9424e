"""What stands in the journal: frozen records of what was promised to users; a leaf of `journal`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from orionfs.models import Key


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
