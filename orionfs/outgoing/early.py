"""What of the files that are being written goes to Orion before they are closed, and how far writers may be
ahead of that.

Whoever writes is followed; once enough of a staged file was written in one go, its parts leave behind the
writer, what was there before first (`early_upload`). A write or a truncate of what has left gives that
up: then all of it goes when it is closed, as everything does where the session can't send a file of which
nobody knows how long it gets, or with write-back. In that case nobody is slowed: `close` takes as long as
it takes. Sealing a version `claim`s its early upload, which is `carry`'s from then on.

Owns which staged file has an early upload. Hears of writes from `staging`, of seals from `under_way`.
Must not know inodes.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from math import inf
from pathlib import Path
from weakref import WeakSet

from orionfs.cache.content import Staged
from orionfs.durable.journal import UploadRow, UploadStep
from orionfs.errors import Conflict, InvalidCall, NoSuchName
from orionfs.models import Item
from orionfs.outgoing.early_upload import EarlyUpload, Means, Pressure, Writing
from orionfs.outgoing.shard_rules import collection_of

__all__ = ["EarlyUploads", "Means", "Pressure", "Writing"]

log = logging.getLogger(__name__)


class EarlyUploads:
    """The early uploads of one mount."""

    def __init__(self, means: Means, *, is_wanted: bool) -> None:
        self._means = means
        self.sweeps = means.sweeps
        self._is_possible = is_wanted
        self._followed: dict[Staged, EarlyUpload] = {}
        self._claimed: dict[str, tuple[Staged, EarlyUpload]] = {}  # by mark
        self._given_up = WeakSet[Staged]()  # whose writers go back to what has left

    # What staging tells

    def note_written(self, staged: Staged, size_before: int, start: int, end: int, writing: Writing) -> None:
        """`[start, end)` of a staged file, which was so long before, has been written."""
        upload = self._upload_of(staged, size_before, start, writing)
        if upload is None:
            return
        leaving = upload.leaving
        if leaving.has_left(start, end) or leaving.has_gaps or writing.name() is None:
            self._give_up(staged)
            return
        upload.note_written(start, end)

    def note_truncated(self, staged: Staged, size_before: int, size: int, writing: Writing) -> None:
        """A staged file, which was so long before, has this length now."""
        upload = self._followed.get(staged)
        if upload is None and size_before == 0:
            upload = self._upload_of(staged, size_before, 0, writing)
        if upload is None:
            return
        if upload.leaving.has_left(size, inf):
            self._give_up(staged)
        else:
            upload.leaving.cut(size)

    def moved(self, old: Staged, new: Staged, writing: Writing) -> None:
        """The writer of a staged file goes on in a copy of it."""
        if old in self._given_up:
            self._given_up.add(new)
        upload = self._followed.pop(old, None)
        if upload is not None:
            self._followed[new] = upload
            upload.goes_on_in(writing)

    def _give_up(self, staged: Staged) -> None:
        """Nothing of a staged file leaves before it is closed, unless it is emptied."""
        self._given_up.add(staged)
        self.leave(staged)

    def leave(self, staged: Staged) -> None:
        """Nothing of a staged file leaves before it is sealed."""
        upload = self._followed.pop(staged, None)
        if upload is not None:
            upload.give_up()

    def is_behind(self, staged: Staged) -> bool:
        """True if the writer of a staged file is to wait `until_room`."""
        upload = self._followed.get(staged)
        return upload is not None and upload.is_behind

    async def until_room(self, staged: Staged) -> None:
        """Wait until less than what may be is unsent, or a part has not left for too long."""
        upload = self._followed.get(staged)
        if upload is not None:
            await upload.until_room()

    def _upload_of(
        self, staged: Staged, size_before: int, start: int, writing: Writing
    ) -> EarlyUpload | None:
        """The early upload of a staged file that is written at `start`, which may be where that begins."""
        found = self._followed.get(staged)
        if size_before == 0:
            self._given_up.discard(staged)
        elif found is not None and found.has_jumped_to(start):
            found = None
        if found is not None or staged in self._given_up or not self._can_begin:
            return found
        what = writing.name()
        if what is None:
            return None
        self._followed[staged] = made = EarlyUpload(
            self._means, writing, what, start if size_before else None, self._end
        )
        return made

    @property
    def _can_begin(self) -> bool:
        return self._is_possible and self._means.remote.can_send_early

    def _end(self) -> None:
        self._is_possible = False

    # What becomes of a version

    async def until_begun(self, staged: Staged) -> None:
        """Wait until it is known whether a staged file that is about to be sealed has an early upload."""
        upload = self._followed.get(staged)
        if upload is not None:
            await upload.until_begun()

    def claim(self, staged: Staged, row: UploadRow) -> UploadRow:
        """The row of a version, with the mark and id of its early upload if it has one.

        Whoever changes the staged file from now on is another version's writer.
        """
        upload = self._followed.get(staged)
        is_for_orion = row.step is UploadStep.SEALED and collection_of(row.mark) is None
        if upload is None or upload.mark is None or upload.is_over or not is_for_orion:
            self.leave(staged)
            return row
        del self._followed[staged]
        self._claimed[upload.mark] = staged, upload
        return replace(row, mark=upload.mark, new_id=upload.id)

    def disclaim(self, staged: Staged) -> None:
        """The version could not be sealed."""
        for mark, (of, upload) in list(self._claimed.items()):
            if of is staged:
                del self._claimed[mark]
                upload.give_up()

    async def finish(self, row: UploadRow, path: Path) -> Item | None:
        """Send the rest of a version, whose bytes are at `path`; one attempt, after which it may go on.

        None: nothing of it has left early, or that is of no use, and gone.
        """
        _, upload = self._claimed.get(row.mark, (None, None))
        if upload is None:
            return None
        try:
            item = await upload.finish(path, row.size_bytes)
        except (NoSuchName, Conflict, InvalidCall) as error:
            log.info("%s: what has left early is of no use, so all of it is sent: %s", row.path, error)
            await upload.withdraw()
            await self.stop(row.mark)
            return None
        del self._claimed[row.mark]
        return item

    def sent_bytes(self, mark: str) -> int:
        """How much of a version has left before it was closed, or since, in whole parts."""
        _, upload = self._claimed.get(mark, (None, None))
        return 0 if upload is None else len(upload.leaving.sent) * upload.leaving.part_bytes

    async def stop(self, mark: str) -> None:
        """A version is not wanted any more: nothing of it is on its way when this returns."""
        _, upload = self._claimed.pop(mark, (None, None))
        if upload is not None:
            await upload.stop()
