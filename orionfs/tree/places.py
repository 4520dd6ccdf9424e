"""Where an inode is, and whether names may change there; pure.

What decides is what this mount knows of its own tree. Must not know what is believed of Orion.
"""

from __future__ import annotations

from orionfs.errors import InvalidCall, NoSuchName, NotADirectory, NotPermitted
from orionfs.outgoing.shard_rules import check_open
from orionfs.tables.inodes import Inode


def place_of(inode: Inode) -> tuple[Inode, str]:
    """Parent and visible name. Raises NoSuchName if detached, NotPermitted for what the mount made."""
    if inode.anchor is not None or inode.parent is None:
        raise NotPermitted(f"{inode.local_path()} is part of the mount")
    if not inode.is_attached:
        raise NoSuchName(inode.local_path())
    return inode.parent, inode.name


def check_may_change(folder: Inode) -> None:
    """Raises what forbids to make or remove names in a folder: NotADirectory, ReadOnly, NotPermitted."""
    if folder.children is None:
        raise NotADirectory(folder.local_path())
    check_open(folder)
    if folder.is_virtual:
        raise NotPermitted("the top of the mount is made by orionfs; work inside its folders")


def check_places(source: Inode, parent: Inode) -> None:
    """Raises what forbids a rename of `source` into `parent`, whatever is there."""
    check_may_change(parent)
    check_may_change(place_of(source)[0])
    ancestor: Inode | None = parent
    while ancestor is not None:
        if ancestor is source:
            raise InvalidCall(f"{source.local_path()} can't be moved into itself")
        ancestor = ancestor.parent
