"""How far what was written to a file is on its way to Orion, in a word; and one more attempt at it.

`clean`: Orion has it. `dirty`: it waits here. `uploading`: on its way now. `local-only`: Orion is not to
show it under this name. `failed: WHY`: Orion has not taken it, and it is kept. A folder says the most
urgent of what is below it. Changes nothing itself.
"""

from __future__ import annotations

from collections.abc import Iterable

from orionfs.errors import Stale
from orionfs.outgoing.relocation import is_below
from orionfs.outgoing.sync import Sync
from orionfs.outgoing.upload import Upload, UploadState
from orionfs.tables.inodes import Inode
from orionfs.vfs.files import Files

CLEAN, DIRTY, UPLOADING, FAILED, LOCAL_ONLY = "clean", "dirty", "uploading", "failed", "local-only"


class Progress:
    """Tells of the inodes of one mount."""

    def __init__(self, files: Files, sync: Sync) -> None:
        self._files = files
        self._sync = sync

    def of(self, inode: Inode) -> str:
        """The word for an inode, with the reason where Orion has not taken it."""
        if inode.children is not None:
            return _most_urgent(map(word_of, self._uploads_below(inode)))
        upload = self._files.upload_of(inode)
        if self._is_local_only(inode, upload):
            return LOCAL_ONLY
        word = word_of(upload) if upload is not None else CLEAN
        return DIRTY if word == CLEAN and self._files.is_dirty(inode) else word

    def retry(self, inode: Inode) -> None:
        """What of an inode, or below it, waits for another attempt is attempted now."""
        upload = self._files.upload_of(inode)
        uploads = self._uploads_below(inode) if inode.children is not None else [upload]
        for each in filter(None, uploads):
            self._sync.retry(each)

    def _is_local_only(self, inode: Inode, upload: Upload | None) -> bool:
        """True for what has no name on Orion, or another one there than here."""
        if self._files.parking.get(inode.item.key) is not None:
            return True
        if upload is not None:
            return upload.state in (UploadState.LOCAL, UploadState.HELD)
        return self._files.is_dirty(inode) and self._files.parking.stays_here(inode)

    def _uploads_below(self, folder: Inode) -> list[Upload]:
        try:
            path = folder.orion_path()
        except Stale:  # a folder that exists in this mount alone
            return self._sync.pending if folder.parent is None else []
        return [upload for upload in self._sync.pending if is_below(upload.row.folder, path)]


def word_of(upload: Upload) -> str:
    """The word for one version on its way."""
    if upload.error is not None:
        return f"{FAILED}: {upload.error}"
    return UPLOADING if upload.state is UploadState.RUNNING else DIRTY


def _most_urgent(words: Iterable[str]) -> str:
    ranks = (CLEAN, DIRTY, UPLOADING, FAILED)
    return max(words, key=lambda word: ranks.index(word.partition(":")[0]), default=CLEAN)
