"""Versions that Orion is not to see under their name: those that stay here, those on their way to another.

What each name means is `localnames`; this puts it on uploads and ends it when its time is over. Used by
`sync` alone, which carries out what is held no longer. Must not know inodes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from math import inf
from weakref import WeakValueDictionary

import trio

from orionfs.durable.journal import UploadRow, UploadStep
from orionfs.localnames import LocalNames, NameClass
from orionfs.outgoing.shard_rules import collection_of
from orionfs.outgoing.upload import Upload, UploadState
from orionfs.tables.names import encode_name
from orionfs.tasks import Background

_STILL_OPEN_S = 60.0


class Holding:
    """Holds back what bears a name that is not its last one."""

    def __init__(
        self, names: LocalNames, background: Background, carry_soon: Callable[[Upload], None]
    ) -> None:
        self.names = names
        self._background = background
        self._carry_soon = carry_soon
        self._watched: set[str] = set()  # marks
        self._held: WeakValueDictionary[str, Upload] = WeakValueDictionary()  # mark -> upload, or was so
        self._is_over = False

    def classify(self, upload: Upload) -> None:
        """Say of an upload what its row says: it is new, or has another name now."""
        row = upload.row
        if row.step is UploadStep.LOCAL:
            upload.state = UploadState.LOCAL
        elif upload.state in (UploadState.LOCAL, UploadState.HELD):
            upload.state = UploadState.WAITING
        name = encode_name(row.name)
        is_shard = collection_of(row.mark) is not None  # it could not be given another name
        upload.is_kept_back = is_shard or self.names.class_of(name) is NameClass.PROBE
        left_s = self._left_s(row, self.names.hold_s(name, row.size_bytes))
        is_held = left_s > 0 and not self._is_over
        upload.held_until_s = trio.current_time() + left_s if is_held else -inf
        if is_held:
            self._held[row.mark] = upload

    def watch(self, upload: Upload) -> None:
        """See to it that an upload which is held is shown when its time is over."""
        if upload.row.mark not in self._watched:
            self._watched.add(upload.row.mark)
            self._background.start(f"hold of {upload.row.path}", partial(self._until_over, upload))

    def end(self, *, is_last: bool) -> None:
        """Who waits for all that is pending waits for this too; `is_last`: the mount ends, so show all."""
        self._is_over = self._is_over or is_last
        for upload in list(self._held.values()):
            if is_last or upload.is_kept_back:
                upload.held_until_s = -inf
                if upload.state is UploadState.HELD:
                    upload.hurry.set()

    async def _until_over(self, upload: Upload) -> None:
        try:
            while upload.state is UploadState.HELD and upload.is_held:
                with trio.move_on_after(upload.held_until_s - trio.current_time()):
                    await upload.hurry.wait()
                upload.hurry = trio.Event()
                if not upload.is_held and upload.held_until_s > -inf and upload.is_in_use():
                    upload.held_until_s = trio.current_time() + _STILL_OPEN_S
        finally:
            self._watched.discard(upload.row.mark)
        if upload.state is UploadState.HELD:
            self._carry_soon(upload)

    @staticmethod
    def _left_s(row: UploadRow, hold_s: float) -> float:
        """Of the time that a version is held; what an earlier daemon sealed has had some of it."""
        age_s = max(0.0, (time.time_ns() - row.sealed_ns) / 1e9)
        return hold_s - age_s
