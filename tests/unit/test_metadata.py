"""What `stat` says: the short way for ordinary files says what the long one does."""

from __future__ import annotations

import pytest

from orionfs.models import InodeNumber, Item, Kind, LocalAttributes
from orionfs.tables.inodes import Inode
from orionfs.tables.metadata import UNDATED_NS, Permissions, attributes_of


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


@pytest.mark.parametrize(
    ("above", "mtime_ns"),
    [
        (Item(Kind.COLLECTION, 4, "above", created_ns=1_700_000_000_000_000_001), 1_700_000_000_000_000_001),
        (Item(Kind.COLLECTION, 4, "above"), UNDATED_NS),
        (Item(Kind.FOLDER, 4, "above", created_ns=1_700_000_000_000_000_001), UNDATED_NS),
    ],
)
def test_what_nobody_dates_is_as_old_as_its_collection_or_has_a_date_that_archives_can_hold(
    above: Item, mtime_ns: int
) -> None:
    folder = Inode(InodeNumber(76), None, "above", above)
    inode = Inode(InodeNumber(77), folder, "x", Item(Kind.FILE, 5, "x", 10))
    told = attributes_of(inode, 3.0, Permissions())
    assert (told.mtime_ns, told.ctime_ns) == (mtime_ns, mtime_ns)
    inode.local = LocalAttributes(mtime_ns=0)  # somebody has set it so
    assert attributes_of(inode, 3.0, Permissions()).mtime_ns == 0


def test_folder_that_nobody_dates_has_a_date() -> None:
    folder = Inode(InodeNumber(77), None, "x", Item(Kind.FOLDER, 5, "x"))
    assert attributes_of(folder, 3.0, Permissions()).mtime_ns == UNDATED_NS
