"""The rows of new versions: what is to become of the bytes that a file has now; pure."""

from __future__ import annotations

import time
from dataclasses import replace

from orionfs.cache.content import Staged
from orionfs.durable.journal import UploadRow, UploadStep
from orionfs.marks import new_mark
from orionfs.outgoing.parking import Parking
from orionfs.outgoing.upload import Upload
from orionfs.tables.inodes import Inode


def new_version(
    inode: Inode, folder: str, mark: str, staged: Staged, under_way: Upload | None, parking: Parking
) -> UploadRow:
    """What is staged of a file in `folder` (its Orion path), in place of the version that is under way.

    `mark` is the name that it carries until it is in place.
    """
    replaces = inode.item.key
    if replaces is None and under_way is not None and not under_way.is_over:
        replaces = under_way.row.replaces
    step, replaces = parking.fate(inode, replaces)
    return UploadRow(
        mark=mark,
        folder=folder,
        name=inode.item.name,
        staged=staged.path.name,
        size_bytes=staged.size,
        mtime_ns=inode.local.mtime_ns or 0,
        permissions=inode.local.permissions,
        tags=inode.item.tags,
        replaces=replaces,
        step=step,
        sealed_ns=time.time_ns(),
    )


def kept_version(row: UploadRow, folder: str, name: str) -> UploadRow:
    """The same bytes as a version that stays on this machine, under another name."""
    here = replace(row, mark=new_mark(), step=UploadStep.LOCAL, replaces=None, new_id=None)
    return replace(here, folder=folder, name=name)
