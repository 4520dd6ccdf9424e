"""Which folders come next in a walk: orders, leaps, what is passed by, and that the books are right."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orionfs.models import Item, Kind
from orionfs.tables.inodes import Inode, InodeTable
from orionfs.tables.walks import LEAD_AT_FIRST, LEAD_MAX, Order, Stop, Visit, Walk


class Tree:
    """Folders by path; the root is the empty path."""

    def __init__(self) -> None:
        self.table = InodeTable(Item(Kind.FOLDER, None, ""))
        self.root = self.table.add_top("top", Item(Kind.FOLDER, None, "top"), "/top")

    def folder(self, path: str) -> Inode:
        inode = self.root
        for name in filter(None, path.split("/")):
            inode = self.table.bind(inode, name, Item(Kind.FOLDER, None, name))
            inode.pins += 1
        return inode


@pytest.fixture
def tree() -> Tree:
    return Tree()


def begun(tree: Tree, names: str, first: str) -> Walk:
    """A walk of folders with these names in the root, that has entered the first of them."""
    walk = Walk(tree.root, names.split())
    walk.begin(tree.folder(first))
    return walk


def asked(tree: Tree, walk: Walk, count: int) -> list[str]:
    """The next folders, by path; as asked for, and listed with nothing in them."""
    paths = []
    for _ in range(count):
        upcoming = walk.take_next()
        if upcoming is None:
            break
        above, name = upcoming
        path = f"{above.folder.local_path().removeprefix('/top')}/{name}".lstrip("/")
        folder = tree.folder(path)
        assert walk.add(above, name, folder) is not None
        paths.append(path)
    return paths


def test_siblings_after_the_first_and_then_its_children_before_them(tree) -> None:
    walk = begun(tree, "a b c d", "a")
    assert asked(tree, walk, 1) == ["b"]
    walk.tell(tree.folder("a"), ["x", "y"], 2)
    assert asked(tree, walk, 9) == ["a/x", "a/y", "c", "d"]
    walk.tell(tree.folder("b"), ["z"], 1)
    assert asked(tree, walk, 9) == ["b/z"]


@pytest.mark.parametrize(
    ("names", "entered", "order", "following"),
    [
        ("c a b", "c", Order.ENTRIES, ["a", "b"]),
        ("c a b", "a", Order.NAMES, ["b", "c"]),
        ("b A c", "A", Order.NAMES, ["b", "c"]),
        ("B a c", "a", Order.FOLDED, ["B", "c"]),
        (".git c a b", "a", Order.NAMES, ["b", "c", ".git"]),
        (".git c a b", "b", Order.ENTRIES, []),
    ],
)
def test_first_folder_shows_the_order(tree, names, entered, order, following) -> None:
    walk = begun(tree, names, entered)
    assert walk.order is order
    assert asked(tree, walk, 9) == following


def test_second_folder_shows_the_order_where_the_first_does_not(tree) -> None:
    walk = begun(tree, "a d c b", "a")
    assert asked(tree, walk, 1) == ["d"]
    assert walk.visit(tree.folder("b")) is Visit.BY_LEAP
    assert walk.order is Order.NAMES
    assert asked(tree, walk, 9) == ["c"]


def test_unforeseeable_order_ends_in_asking_for_all(tree) -> None:
    walk = begun(tree, "a b c d e f", "d")
    walk.visit(tree.folder("f"))
    walk.visit(tree.folder("b"))  # it was passed by
    assert sorted(asked(tree, walk, 9)) == ["a", "c", "e"]


@pytest.mark.parametrize(
    ("visited", "kind", "lead"),
    [
        ("b", Visit.AHEAD, 2 * LEAD_AT_FIRST),
        ("c", Visit.NEXT, 2 * LEAD_AT_FIRST),
        ("d", Visit.BY_LEAP, LEAD_AT_FIRST // 2),
        ("new", Visit.UNKNOWN, LEAD_AT_FIRST),
    ],
)
def test_lead_follows_from_how_well_a_visit_was_foreseen(tree, visited, kind, lead) -> None:
    walk = begun(tree, "a b c d e", "a")
    asked(tree, walk, 1)
    assert walk.visit(tree.folder(visited)) is kind
    assert walk.lead == lead


def test_lead_ends_at_its_bound_and_comes_back_from_nothing(tree) -> None:
    names = [f"n{number:03}" for number in range(100)]
    walk = begun(tree, " ".join(names), names[0])
    for name in names[1:50]:
        walk.visit(tree.folder(name))
    assert walk.lead == LEAD_MAX
    walk.hold_back()
    assert walk.lead == LEAD_AT_FIRST
    walk.stop()
    assert walk.lead == 0
    walk.visit(tree.folder(names[50]))
    assert walk.lead == 1


def test_walk_expects_what_is_in_its_path_only(tree) -> None:
    walk = begun(tree, "a b", "a")
    walk.tell(tree.folder("a"), ["x"], 1)
    walk.visit(tree.folder("a/x"))
    assert all(walk.expects(tree.folder(path)) for path in ("a", "b", "a/x", "a/new", "a/x/y"))
    assert not walk.expects(tree.root)
    assert not walk.expects(tree.folder("b/x"))


def test_passed_folders_are_ahead_no_more(tree) -> None:
    walk = begun(tree, "a b c d", "a")
    asked(tree, walk, 3)
    walk.tell(tree.folder("b"), [], 10)
    walk.tell(tree.folder("d"), [], 1)
    assert (walk.ahead_count, walk.ahead_items) == (3, 11)
    walk.visit(tree.folder("c"))
    assert (walk.ahead_count, walk.ahead_items) == (1, 1)
    walk.visit(tree.folder("d"))
    assert (walk.ahead_count, walk.ahead_items) == (0, 0)


NAMES = st.sampled_from("abcdef")


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["visit", "tell", "ask"]), st.lists(NAMES, max_size=3), st.permutations("abcd")
        )
    )
)
@settings(max_examples=200, deadline=None)
def test_books_are_right_whatever_a_walker_does(steps) -> None:
    tree = Tree()
    walk = Walk(tree.root, list("abcd"))
    for what, names, inside in steps:
        folder = tree.folder("/".join(names))
        if what == "visit" and walk.expects(folder):
            walk.visit(folder)
        elif what == "tell":
            walk.tell(folder, inside, len(names))
        elif what == "ask":
            asked(tree, walk, 2)
        ahead = list(itertools.chain.from_iterable(below(stop) for stop in walk._path))
        assert walk.ahead_count == len(ahead)
        assert walk.ahead_items == sum(stop.item_count for stop in ahead)
        assert len({stop.folder.number for stop in (*ahead, *walk._path)}) == len(ahead) + len(walk._path)


def below(stop: Stop) -> list[Stop]:
    return [each for child in stop.ahead.values() for each in (child, *below(child))]
