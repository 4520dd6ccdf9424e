"""What `stat` says of an inode, from what is known of it; pure."""

from __future__ import annotations

from dataclasses import dataclass

from orionfs.models import Attributes, Kind
from orionfs.tables.inodes import Inode

OPEN_VALID_S = 300.0
"""For how long the kernel may believe what we say of an open file: it keeps its version."""

UNKNOWN_SIZE_BYTES = 1
"""Told where nobody knows it: never 0, or tar, rsync and shutil would copy an empty file and exit 0."""

UNDATED_NS = 315_619_200 * 10**9
"""Told of what nobody dates, the 2nd of January 1980: zip archives hold no year before, in any time zone."""


@dataclass(frozen=True, slots=True)
class Permissions:
    """Permission bits of what has none of its own on this machine."""

    file: int = 0o644
    folder: int = 0o755


def attributes_of(inode: Inode, valid_s: float, default: Permissions) -> Attributes:
    """The attributes of an inode whose name holds for `valid_s` seconds."""
    if inode.is_ordinary:
        return _of_ordinary(inode, valid_s, default.file)
    is_directory = inode.children is not None
    size = inode.written_size if inode.written_size is not None else inode.item.size
    permissions = inode.local.permissions
    if permissions is None:
        permissions = default.folder if is_directory else default.file
    mtime_ns = inode.local.mtime_ns
    if mtime_ns is None:
        mtime_ns = inode.mtime_ns or _date_for(inode)
    attributes_valid_s = max(valid_s, OPEN_VALID_S) if inode.opens else valid_s
    if is_directory:
        size = 0
    elif size is None:
        size, attributes_valid_s = UNKNOWN_SIZE_BYTES, 0.0
    return Attributes(
        inode.number, is_directory, permissions, size, mtime_ns, mtime_ns, valid_s, attributes_valid_s
    )


def _of_ordinary(inode: Inode, valid_s: float, permissions: int) -> Attributes:
    """The same in short for most inodes: a folder may give a hundred thousand of them at once."""
    size, created_ns = inode.item.size_and_created_ns
    attributes_valid_s = valid_s
    if size is None:
        size, attributes_valid_s = UNKNOWN_SIZE_BYTES, 0.0
    mtime_ns = created_ns or _date_for(inode)
    return Attributes(inode.number, False, permissions, size, mtime_ns, mtime_ns, valid_s, attributes_valid_s)


def _date_for(inode: Inode) -> int:
    """For what Orion does not date: the same at every mount. A shard is as old as its collection."""
    above = inode.parent
    is_shard = above is not None and above.item.kind is Kind.COLLECTION
    return (above.item.created_ns if above is not None and is_shard else 0) or UNDATED_NS
