"""What stands in the journal: frozen records of what was promised to users; a leaf of `journal`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from orionfs.models import Key, Kind, LocalAttributes


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
    """An item to be removed from Orion; `path` is where users knew it."""

    key: Key
    path: str


@dataclass(frozen=True, slots=True)
class Rename:
    """A rename of an item or a folder on Orion, from `old` to `path` (absolute Orion paths), that may happen.

    If it does, the item `replaced` goes; the version with the mark `ended`, which was under way to `path`
    when it was asked for, is not wanted any more, and the one with the mark `follows`, a newer one of the
    item, goes to `path` as well. Versions that were begun later replace the item where they would have
    replaced `replaced`, or nothing if that is None. With a folder goes all that is promised below it.
    """

    key: Key
    old: str
    path: str
    replaced: Key | None = None
    ended: str | None = None
    follows: str | None = None

    @property
    def place(self) -> tuple[str, str]:
        """Folder and name that the item is to have."""
        folder, _, name = self.path.rpartition("/")
        return folder, name

    @property
    def is_of_folder(self) -> bool:
        return self.key.kind is Kind.FOLDER

    @property
    def has_consequences(self) -> bool:
        """False where nothing else depends on whether it happens."""
        return self.is_of_folder or any(
            each is not None for each in (self.replaced, self.ended, self.follows)
        )

    def is_at(self, path: str) -> bool:
        """True if what a path means depends on it."""
        return any(
            path == end or (self.is_of_folder and path.startswith(f"{end}/")) for end in (self.old, self.path)
        )


@dataclass(frozen=True, slots=True)
class RelocationRow:
    """A folder that was renamed from `old` to `new` (absolute Orion paths), its id and tags if known."""

    old: str
    new: str
    old_id: int | None = None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Glimpse:
    """What a journal of another daemon shows: how many changes are unfinished, what it knows of items.

    `staged` are the files that its uploads need, with their sizes (bytes).
    """

    unfinished: int
    local: Mapping[Key, LocalAttributes]
    staged: Mapping[str, int] = field(default_factory=dict)


def marked_to_go(mark: str, folder: str) -> UploadRow:
    """Nothing is to be under a mark, which no version has, or has any more: it is its own name."""
    return UploadRow(mark, folder, mark, mark, 0, 0, step=UploadStep.CANCELLED)


def rewritten(now: UploadRow, row: UploadRow) -> UploadRow:
    """A version as far as it is now, with another name and attributes; one that stayed here may leave."""
    step = row.step if now.step is UploadStep.LOCAL else now.step
    return replace(row, step=step, new_id=now.new_id)
