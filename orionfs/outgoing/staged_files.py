"""The files in the staging folder, and who still needs them: open files, and versions on their way.

The last use of one removes it, unless it has become a cache file by then. Blocking, but short. Must not know
what the files are for.
"""

from __future__ import annotations

import os
import uuid
from collections import Counter
from pathlib import Path

from orionfs.cache.content import GAPS_SUFFIX, Staged
from orionfs.errors import disk_error


class StagedFiles:
    """The staging folder of one daemon."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._uses: Counter[str] = Counter()

    def new(self, *, has_gaps: bool = False) -> Staged:
        """An empty file, with one use. Raises NoSpace, LocalDiskError.

        One with gaps shows that by its name until `filled`, in case nobody gets to filling them.
        """
        suffix = GAPS_SUFFIX if has_gaps else ""
        staged = Staged(self._folder / f"{uuid.uuid4().hex}{suffix}", create=True)
        self.use(staged.path.name)
        return staged

    def has_room(self, size: int) -> bool:
        """True if the disk could hold so many bytes more."""
        try:
            room = os.statvfs(self._folder)
        except OSError as error:
            raise disk_error(error, "staging") from error
        return room.f_bavail * room.f_frsize >= size

    def open(self, name: str, size: int) -> Staged:
        """A version that is under way, for reading; one use more. `size` is its own, in bytes."""
        staged = Staged(self._folder / name, create=False)
        staged.size = size
        staged.is_frozen = True
        self.use(name)
        return staged

    def filled(self, staged: Staged) -> None:
        """A file has all of its bytes from now on. Raises LocalDiskError."""
        before, after = staged.path, staged.path.with_suffix("")
        try:
            os.rename(before, after)
        except OSError as error:
            raise disk_error(error, "staging") from error
        staged.path = after
        self._uses[after.name] = self._uses.pop(before.name)

    def use(self, name: str) -> None:
        """One use more."""
        self._uses[name] += 1

    def release(self, name: str) -> None:
        """One use less; the last one removes the file."""
        self._uses[name] -= 1
        if self._uses[name] <= 0:
            del self._uses[name]
            (self._folder / name).unlink(missing_ok=True)
