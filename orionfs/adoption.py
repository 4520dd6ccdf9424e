"""What earlier mounts promised and did not finish: shown in the tree at once, and carried on.

Used once, by the daemon, after it has claimed their state and before the kernel asks anything.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from orionfs.errors import NoSuchName, OrionFsError
from orionfs.files import Files
from orionfs.inodes import Inode
from orionfs.journal import Journal, UploadRow, UploadStep
from orionfs.models import LocalAttributes
from orionfs.names import encode_name
from orionfs.namespace import Namespace
from orionfs.shard_rules import new_item
from orionfs.sync import Sync

log = logging.getLogger(__name__)


async def adopt(journal: Journal, namespace: Namespace, files: Files, sync: Sync) -> None:
    """Take over every relocation, upload and removal of a journal."""
    await sync.relocator.resume()
    for row in journal.uploads():
        if row.step is UploadStep.CANCELLED:
            sync.resume_cancelled(row)
            continue
        log.info("%s: an earlier mount's upload goes on", row.path)
        try:
            inode = await _show(namespace, row)
        except OrionFsError as error:
            log.info("%s can't be shown yet: %s", row.path, error)
            sync.carry_soon(sync.adopt(row, lambda _upload, _item: None))
        else:
            files.adopt_upload(inode, row)
    for removal in journal.removals():
        sync.resume_removal(removal)


async def _show(namespace: Namespace, row: UploadRow) -> Inode:
    """The inode that stands for a version under way, as users will see it."""
    folder = await _folder_of(namespace, row.folder)
    name = encode_name(row.name)
    inode, _ = await namespace.lookup(folder, name)
    local = LocalAttributes(row.mtime_ns, row.permissions)
    if inode is not None and inode.children is None:
        namespace.note_written(inode, row.size_bytes)
        inode.local = local
        return inode
    item = replace(new_item(row.name, row.size_bytes, row.mtime_ns, row.mark), tags=row.tags)
    return namespace.adopt_file(folder, name, item, local)


async def _folder_of(namespace: Namespace, path: str) -> Inode:
    """The inode of an Orion folder below one of the tops."""
    for top in namespace.inodes.tops():
        anchor = (top.anchor or "").rstrip("/")
        if path == anchor or path.startswith(anchor + "/"):
            inode = top
            for name in path[len(anchor) :].split("/"):
                inode = await namespace.child(inode, encode_name(name)) if name else inode
            return inode
    raise NoSuchName(f"{path} is not in this mount")
