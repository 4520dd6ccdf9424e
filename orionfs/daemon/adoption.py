"""What earlier mounts promised and did not finish: shown in the tree at once, and carried on.

Used once, by the daemon, after it has claimed their state and before the kernel asks anything.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial
from math import inf
from pathlib import Path

from orionfs.durable.journal import Journal, Rename, UploadRow, UploadStep
from orionfs.durable.parked_rows import ParkedRow
from orionfs.errors import NameExists, NoSuchName, OrionFsError
from orionfs.models import Item, LocalAttributes
from orionfs.outgoing.parking import Parked
from orionfs.outgoing.renames import OnEnd, nobody
from orionfs.outgoing.shard_rules import collection_of, new_item
from orionfs.outgoing.sync import Sync
from orionfs.outgoing.upload import Upload
from orionfs.tables.inodes import Inode
from orionfs.tables.names import encode_name, true_name
from orionfs.tree.namespace import Namespace
from orionfs.tree.places import place_of
from orionfs.vfs.deferral import Deferral
from orionfs.vfs.files import Files
from orionfs.vfs.folder_moves import tree_follows

log = logging.getLogger(__name__)


async def adopt(journal: Journal, namespace: Namespace, files: Files, sync: Sync, deferral: Deferral) -> None:
    """Take over every relocation, rename, upload and removal of a journal."""
    if sync.renames.is_early and _was_cut_short(journal):
        beliefs = namespace.beliefs  # or what a replica that lags shows now would be believed for longer
        beliefs.freshness = replace(beliefs.freshness, early_until_s=sync.renames.early_until_s)
    await sync.relocator.resume()
    for rename in journal.renames.all():
        if rename.is_of_folder:  # first of all: what is promised in one is where that is
            await _find_out(namespace, sync, rename)
    for parked in journal.parked.all():
        await _park(namespace, files, parked)
    for rename in journal.renames.all():
        if not rename.is_of_folder:
            await _find_out(namespace, sync, rename)
    for row in journal.uploads():
        await sync.hide_half_made(row)
        if row.step is UploadStep.CANCELLED:
            sync.resume_cancelled(row)
            continue
        if row.step is UploadStep.LOCAL:
            await _keep_here(namespace, files, sync, row)
            continue
        log.info("%s: an earlier mount's upload goes on", row.path)
        try:
            inode = await _show(namespace, row, may_lag=sync.renames.is_early)
        except OrionFsError as error:
            log.info("%s can't be shown yet: %s", row.path, error)
            sync.carry_soon(sync.adopt(row, partial(_ask_again, namespace)))
        else:
            files.under_way.adopt(inode, row)
    sync.renames.find_out_adopted()  # not before, or a version would be adopted as it was until then
    for removal in journal.removals():
        sync.removals.resume(removal, is_of_before=True)
    for path in journal.folder_removals():
        deferral.resume(path, await _folder_if_there(namespace, path))


def _was_cut_short(journal: Journal) -> bool:
    """True if an earlier mount was at a change of Orion when it ended."""
    has_versions = any(row.step is not UploadStep.LOCAL for row in journal.uploads())
    others = (journal.removals(), journal.renames.all(), journal.relocations(), journal.folder_removals())
    return has_versions or any(others)


async def _find_out(namespace: Namespace, sync: Sync, rename: Rename) -> None:
    """Whether a rename that an earlier mount asked for has happened decides what is under way, and where."""
    try:
        await sync.renames.find_out(rename)
    except OrionFsError as error:
        log.info("%s: whether it was renamed is asked again: %s", rename.path, error)
        on_end = await _tree_follows(namespace, rename) if rename.is_of_folder else nobody
        sync.renames.adopt(rename, on_end)


async def _tree_follows(namespace: Namespace, rename: Rename) -> OnEnd:
    """What is shown below a folder that was, perhaps, renamed goes along; nothing is where it is not seen."""
    folder, name = rename.place
    try:
        source = await _folder_of(namespace, rename.old)
        parent = await _folder_of(namespace, folder)
    except OrionFsError as error:
        log.info("%s can't be shown where it was: %s", rename.path, error)
        return nobody
    return tree_follows(namespace, source, place_of(source), parent, encode_name(name))


async def _folder_if_there(namespace: Namespace, path: str) -> Inode | None:
    """The inode of a folder that is to go, if it can be shown."""
    try:
        return await _folder_of(namespace, path)
    except OrionFsError as error:
        log.info("%s is to be removed, and not seen: %s", path, error)
        return None


async def _park(namespace: Namespace, files: Files, row: ParkedRow) -> None:
    """An item that an earlier mount parked; whether it is still at its home, the next listing tells."""
    try:
        home = await _folder_of(namespace, row.folder)
        shown_in = await _folder_of(namespace, row.shown_folder)
    except OrionFsError as error:
        log.info("%s was renamed to %s, which can't be shown: %s", row.path, row.shown_name, error)
        return
    files.parking.register(Parked(row.item, home, shown_in, row.shown_name, -inf))
    item = row.item.renamed(true_name(row.item.kind, row.shown_name))
    namespace.commit_own(namespace.bind(shown_in, row.shown_name, item), item)


async def _keep_here(namespace: Namespace, files: Files, sync: Sync, row: UploadRow) -> None:
    """A file that stays on this machine; where its folder is gone, its bytes are kept aside."""
    try:
        folder = await _folder_of(namespace, row.folder)
    except NoSuchName as gone:
        if sync.renames.is_at(row.path):
            log.info("%s can't be shown until its folder is found: %s", row.path, gone)
            return
        kept = _keep_aside(sync.staging / row.staged)
        await sync.journal.run(lambda journal: journal.drop_upload(row.mark))
        log.info("%s: its folder is gone, so it is kept in %s: %s", row.path, kept, gone)
    except OrionFsError as error:
        log.info("%s can't be shown yet: %s", row.path, error)
    else:
        files.under_way.adopt(_show_new(namespace, folder, row), row)


def _keep_aside(staged: Path) -> Path:
    kept = staged.parent.parent / "kept" / staged.name
    kept.parent.mkdir(mode=0o700, exist_ok=True)
    staged.rename(kept)
    return kept


async def _show(namespace: Namespace, row: UploadRow, *, may_lag: bool) -> Inode:
    """The inode that stands for a version under way, as users will see it.

    `may_lag`: another file that has its name may be what was there before an earlier mount's last change.
    """
    folder = await _folder_of(namespace, row.folder)
    inode, _ = await namespace.lookup(folder, encode_name(row.name))
    if inode is not None and inode.item.key is not None and inode.item.key == row.replaces:
        namespace.note_written(inode, row.size_bytes)
        inode.local = LocalAttributes(row.mtime_ns, row.permissions)
        return inode
    is_alone = collection_of(row.mark) is None  # shards may share a name: ours is shown, the other beside it
    is_other = inode is not None and row.replaces is not None and not may_lag
    if inode is not None and is_alone and (is_other or inode.children is not None):
        raise NameExists(f"{inode.local_path()} has been changed elsewhere")
    return _show_new(namespace, folder, row)


def _show_new(namespace: Namespace, folder: Inode, row: UploadRow) -> Inode:
    local = LocalAttributes(row.mtime_ns, row.permissions)
    item = replace(new_item(row.name, row.size_bytes, row.mtime_ns, row.mark), tags=row.tags)
    return namespace.adopt_file(folder, encode_name(row.name), item, local)


def _ask_again(namespace: Namespace, upload: Upload, _item: Item) -> None:
    """A version that could not be shown is in its folder now."""
    folder = upload.row.folder
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
