"""What earlier mounts promised and did not finish: shown in the tree at once, and carried on.

Used once, by the daemon, after it has claimed their state and before the kernel asks anything.
"""

from __future__ import annotations

import logging
from functools import partial

from orionfs.carry import Upload
from orionfs.errors import NameExists, NoSuchName, OrionFsError
from orionfs.files import Files
from orionfs.inodes import Inode
from orionfs.journal import Journal, UploadRow, UploadStep
from orionfs.models import Item, Key, Kind, LocalAttributes
from orionfs.names import encode_name
from orionfs.namespace import Namespace
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
            sync.carry_soon(sync.adopt(row, partial(_ask_again, namespace, row.folder)))
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
    if inode is not None and _is_of(row, inode):
        namespace.note_written(inode, row.size_bytes)
        inode.local = local
        return inode
    if inode is not None and (row.replaces is not None or inode.children is not None):
        raise NameExists(f"{inode.local_path()} has been changed elsewhere")
    item = Item(
        Kind.FILE, None, row.name, row.size_bytes, row.mtime_ns, Kind.FILE.value, tags=row.tags, mark=row.mark
    )
    return namespace.adopt_file(folder, name, item, local)


def _is_of(row: UploadRow, inode: Inode) -> bool:
    """True if what has the name is what an upload replaces, or what it has already brought there."""
    key = inode.item.key
    return key is not None and key in (row.replaces, Key(Kind.FILE, row.new_id or 0))


def _ask_again(namespace: Namespace, folder: str, _upload: Upload, _item: Item) -> None:
    """A version that could not be shown is in its folder now."""
    for inode in namespace.inodes:
        is_real = inode.children is not None and not inode.is_virtual and not inode.is_view
        if is_real and inode.orion_path().rstrip("/") == folder.rstrip("/"):
            namespace.beliefs.doubt(inode)


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
