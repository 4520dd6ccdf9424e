"""Inode numbers and what keeps an inode alive."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orionfs.errors import Stale
from orionfs.models import InodeNumber, Item, Key, Kind
from orionfs.tables.inodes import ROOT_NUMBER, Inode, InodeTable, number_of

TOP = "/project/1/user/demo"


def file(id: int | None, name: str = "a", size: int | None = 3, mark: str | None = None) -> Item:
    return Item(Kind.FILE, id, name, size, mark=mark)


def folder(name: str, id: int | None = None) -> Item:
    return Item(Kind.FOLDER, id, name)


@pytest.fixture
def table() -> InodeTable:
    return InodeTable(folder(""))


@pytest.fixture
def top(table: InodeTable) -> Inode:
    return table.add_top("my-data", folder("demo"), TOP)


def looked_up(inode: Inode) -> Inode:
    inode.lookups += 1
    return inode


# -- numbers -------------------------------------------------------------------------------------


def test_numbers_are_the_same_in_every_table_and_above_the_roots(top: Inode, table: InodeTable) -> None:
    other = InodeTable(folder(""))
    other_top = other.add_top("elsewhere", folder("demo"), TOP)
    for item in (file(5), folder("sub", 9), Item(Kind.DATASET, 5, "a")):
        here, there = table.bind(top, item.name + ".x", item), other.bind(other_top, item.name + ".x", item)
        assert here.number == there.number
        assert ROOT_NUMBER < here.number < 2**63


def test_file_and_dataset_of_one_number_are_two_inodes(table: InodeTable, top: Inode) -> None:
    one = table.bind(top, "a", file(5))
    other = table.bind(top, "a.oedb", Item(Kind.DATASET, 5, "a"))
    assert one.number != other.number


def test_folders_number_comes_from_its_path_whether_it_has_an_id_or_not(
    table: InodeTable, top: Inode
) -> None:
    inode = table.bind(top, "sub", folder("sub"))
    assert inode.number == number_of(f"folder:{TOP}/sub")
    assert table.bind(top, "sub", folder("sub", 77)) is inode


def test_number_that_is_taken_gives_way_to_the_next(table: InodeTable, top: Inode) -> None:
    moved = looked_up(table.bind(top, "sub", folder("sub")))
    table.attach(moved, top, "other")
    moved.item = moved.item.renamed("other")
    newcomer = table.bind(top, "sub", folder("sub"))
    assert newcomer is not moved
    assert newcomer.number == moved.number + 1


def test_seed_of_half_a_surrogate_pair_has_a_number() -> None:
    assert number_of("\ud800") > 1


# -- binding -------------------------------------------------------------------------------------


def test_same_version_keeps_its_inode_and_takes_the_newer_item(table: InodeTable, top: Inode) -> None:
    inode = table.bind(top, "a", file(5))
    tagged = replace(file(5), tags=("x",))
    assert table.bind(top, "a", tagged) is inode
    assert inode.item is tagged


def test_row_without_a_size_does_not_forget_the_size(table: InodeTable, top: Inode) -> None:
    inode = table.bind(top, "a", file(5, size=7))
    table.bind(top, "a", file(5, size=None))
    assert inode.item.size == 7


def test_other_version_under_the_name_is_another_inode(table: InodeTable, top: Inode) -> None:
    old = looked_up(table.bind(top, "a", file(5)))
    new = table.bind(top, "a", file(6))
    assert new.number != old.number
    assert not old.is_attached
    assert table.get(old.number) is old
    assert table.get(new.number) is new


def test_version_that_was_renamed_elsewhere_keeps_its_inode(table: InodeTable, top: Inode) -> None:
    inode = looked_up(table.bind(top, "a", file(5)))
    sub = looked_up(table.bind(top, "sub", folder("sub")))
    assert table.bind(sub, "b", file(5, "b")) is inode
    assert (inode.parent, inode.name) == (sub, "b")
    assert top.children is not None
    assert "a" not in top.children


def test_upload_under_way_is_told_from_another_by_its_mark(table: InodeTable, top: Inode) -> None:
    inode = table.bind(top, "a", file(None, mark="m1"))
    assert table.bind(top, "a", file(None, mark="m1")) is inode
    assert table.bind(top, "a", file(None, mark="m2")) is not inode


def test_content_written_here_keeps_its_number_even_after_it_was_forgotten(
    table: InodeTable, top: Inode
) -> None:
    inode = looked_up(table.bind(top, "a", file(5)))
    number = inode.number
    table.rebind(inode, file(6))
    assert inode.number == number
    table.forget(number, 1)
    with pytest.raises(Stale):
        table.get(number)
    assert table.bind(top, "a", file(6)).number == number


# -- life ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["lookups", "opens", "pins"])
def test_inode_lives_while_it_is_in_use(table: InodeTable, top: Inode, field: str) -> None:
    inode = table.bind(top, "a", file(5))
    setattr(inode, field, 1)
    table.collect(inode)
    assert table.get(inode.number) is inode
    setattr(inode, field, 0)
    table.collect(inode)
    with pytest.raises(Stale):
        table.get(inode.number)
    assert top.children == {}


def test_forgetting_a_child_frees_the_parents_that_nobody_needs(table: InodeTable, top: Inode) -> None:
    sub = table.bind(top, "sub", folder("sub"))
    leaf = looked_up(table.bind(sub, "a", file(5)))
    assert len(table) == 4
    table.forget(leaf.number, 1)
    assert len(table) == 2
    assert list(table) == [table.root, top]


def test_parent_stays_while_a_child_is_known(table: InodeTable, top: Inode) -> None:
    sub = looked_up(table.bind(top, "sub", folder("sub")))
    looked_up(table.bind(sub, "a", file(5)))
    table.forget(sub.number, 1)
    assert table.get(sub.number) is sub


@pytest.mark.parametrize(("number", "lookups"), [(12345, 1), (0, 1), (-1, 5), (2**64, 2**64)])
def test_forgetting_what_is_not_known_changes_nothing(
    table: InodeTable, top: Inode, number: int, lookups: int
) -> None:
    table.forget(number, lookups)
    assert len(table) == 2


def test_forgetting_more_than_was_looked_up_is_the_end_of_it(table: InodeTable, top: Inode) -> None:
    inode = looked_up(table.bind(top, "a", file(5)))
    table.forget(inode.number, 99)
    with pytest.raises(Stale):
        table.get(inode.number)


def test_root_and_tops_are_never_forgotten(table: InodeTable, top: Inode) -> None:
    table.forget(ROOT_NUMBER, 99)
    table.forget(top.number, 99)
    assert table.get(ROOT_NUMBER) is table.root
    assert table.get(top.number) is top


def test_detached_inode_lives_until_its_last_handle_closes(table: InodeTable, top: Inode) -> None:
    inode = table.bind(top, "a", file(5))
    inode.opens = 1
    table.detach(inode)
    assert table.get(inode.number) is inode
    assert top.children == {}
    inode.opens = 0
    table.collect(inode)
    with pytest.raises(Stale):
        table.get(inode.number)


def test_collected_number_that_another_inode_took_stays_the_others(table: InodeTable, top: Inode) -> None:
    old = looked_up(table.bind(top, "a", file(5)))
    table.forget(old.number, 1)
    new = looked_up(table.bind(top, "a", file(5)))
    table.collect(old)
    assert table.get(InodeNumber(new.number)) is new


# -- places --------------------------------------------------------------------------------------


def test_attach_detaches_what_had_the_name(table: InodeTable, top: Inode) -> None:
    target = looked_up(table.bind(top, "b", file(5, "b")))
    source = looked_up(table.bind(top, "a", file(6)))
    table.attach(source, top, "b")
    assert not target.is_attached
    assert top.children == {"b": source}


def test_attach_to_its_own_place_changes_nothing(table: InodeTable, top: Inode) -> None:
    inode = looked_up(table.bind(top, "a", file(6)))
    table.attach(inode, top, "a")
    assert inode.is_attached
    assert top.children == {"a": inode}


def test_attach_elsewhere_frees_the_old_parent(table: InodeTable, top: Inode) -> None:
    sub = table.bind(top, "sub", folder("sub"))
    inode = looked_up(table.bind(sub, "a", file(6)))
    table.attach(inode, top, "a")
    with pytest.raises(Stale):
        table.get(sub.number)


def test_orion_path_is_of_true_names_and_local_path_of_visible_ones(table: InodeTable, top: Inode) -> None:
    sub = table.bind(top, "a~folder-9", folder("a", 9))
    inode = table.bind(sub, "x%2Fy", file(5, "x/y"))
    assert inode.orion_path() == f"{TOP}/a/x/y"
    assert inode.local_path() == "/my-data/a~folder-9/x%2Fy"


def test_mount_of_the_whole_stack_has_paths_from_the_root(table: InodeTable) -> None:
    table.root.anchor = "/"
    assert table.root.orion_path() == "/"
    assert table.bind(table.root, "project", folder("project")).orion_path() == "/project"
    assert not table.root.is_virtual


def test_virtual_root_has_no_place_on_orion(table: InodeTable) -> None:
    assert table.root.is_virtual
    with pytest.raises(Stale):
        table.root.orion_path()


def test_repr_tells_what_is_detached(table: InodeTable, top: Inode) -> None:
    inode = looked_up(table.bind(top, "a", file(5)))
    assert "detached" not in repr(inode)
    table.detach(inode)
    assert "file:5 detached" in repr(inode)
    assert inode.item.key == Key(Kind.FILE, 5)
