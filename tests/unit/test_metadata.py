"""What `stat` says: the short way for ordinary files says what the long one does."""

from __future__ import annotations

import pytest

from orionfs.models import InodeNumber, Item, Kind
from orionfs.tables.inodes import Inode
from orionfs.tables.metadata import Permissions, attributes_of


@pytest.mark.parametrize("size", [None, 0, 10, 2**70])
@pytest.mark.parametrize("created_ns", [0, 1_700_000_000_000_000_001])
def test_file_of_which_nothing_is_known_here_has_the_same_attributes_as_any_other(
    size: int | None, created_ns: int
) -> None:
    inode = Inode(InodeNumber(77), None, "x", Item(Kind.FILE, 5, "x", size, created_ns))
    assert inode.is_ordinary
    short = attributes_of(inode, 3.0, Permissions())
    inode.mtime_ns = created_ns  # from now on it has something of its own
    assert not inode.is_ordinary
    assert attributes_of(inode, 3.0, Permissions()) == short
