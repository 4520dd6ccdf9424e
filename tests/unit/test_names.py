"""Visible names: a bijection, and every item of a folder reachable."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from orionfs.errors import NameTooLong, NotUnicode
from orionfs.models import Item, Kind
from orionfs.tables.names import base_name, decode_name, encode_name, from_kernel, is_hidden, visible_names

PIECES = ("%", "%2F", "2F", "25", "%25", "00", "%00", "2E", "%2E", ".", "..", "/", "\0", "a", " ", "\n", "~")
MORE = ("😀", "e\u0301", "é", "ß", "\u202e", "-", ".oedb", ".gz", "file", "~file-1")

true_names = st.lists(st.sampled_from(PIECES + MORE), min_size=1, max_size=6).map("".join) | st.text(
    min_size=1, max_size=8
)
visible_texts = true_names.filter(lambda name: name not in (".", "..") and not set(name) & {"/", "\0"})


def item(name: str, id: int, kind: Kind = Kind.FILE, created_ns: int = 0) -> Item:
    return Item(kind, id, name, created_ns=created_ns)


# -- escapes -------------------------------------------------------------------------------------


@given(true_names)
@example("%2E\n")
@example("%25252E%2E")
def test_any_true_name_comes_back_from_its_visible_form(name: str) -> None:
    visible = encode_name(name)
    assert decode_name(visible) == name
    assert visible not in ("", ".", "..")
    assert not set(visible) & {"/", "\0"}


@given(visible_texts)
@example("%2E\n")
@example("%252F")
def test_any_name_a_user_gives_is_listed_back_as_it_was_given(name: str) -> None:
    assert encode_name(decode_name(name)) == name


@given(st.lists(true_names, min_size=2, max_size=2, unique=True))
def test_two_true_names_never_look_alike(names: list[str]) -> None:
    assert encode_name(names[0]) != encode_name(names[1])


@pytest.mark.parametrize(
    ("true_name", "visible"),
    [
        ("a/b", "a%2Fb"),
        ("a\0b", "a%00b"),
        (".", "%2E"),
        ("..", "%2E%2E"),
        ("...", "..."),
        ("%2F", "%252F"),
        ("%252F", "%25252F"),
        ("%2E", "%252E"),
        ("%2E%2E", "%252E%2E"),
        ("100%", "100%"),
        ("50%25", "50%25"),
        ("%2f", "%2f"),
        ("a%2Eb", "a%2Eb"),
        ("%2E\n", "%2E\n"),
        ("new\nline", "new\nline"),
    ],
)
def test_only_what_must_be_escaped_is(true_name: str, visible: str) -> None:
    assert encode_name(true_name) == visible


def test_name_of_255_bytes_is_taken_and_one_more_is_too_long() -> None:
    assert from_kernel(b"x" * 255) == "x" * 255
    with pytest.raises(NameTooLong):
        from_kernel("é".encode() * 128)


def test_name_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(NotUnicode):
        from_kernel(b"\xff")


def test_marks_of_uploads_are_hidden() -> None:
    assert is_hidden(".orionfs-0123")
    assert not is_hidden("x.orionfs-0123")
    assert visible_names([item(".orionfs-0123", 1), item("a", 2)]).keys() == {"a"}


# -- duplicates ----------------------------------------------------------------------------------

kinds = st.sampled_from([Kind.FILE, Kind.DATASET, Kind.COLLECTION])
few_names = st.sampled_from(
    [
        "hits",
        "hits.oedb",
        "hits.csv",
        "hits~file-1",
        "hits~file-2.csv",
        "hits~dataset-3.oedb",
        "x" * 300,
        "é" * 140,
    ]
) | st.text("ab.~", min_size=1, max_size=3)


@st.composite
def folders(draw: st.DrawFn) -> list[Item]:
    """What a folder may hold: equal names of several kinds, ids unique within a kind, folders unique."""
    rows = draw(st.lists(st.tuples(kinds, few_names, st.integers(0, 3)), max_size=10))
    items = [item(name, at + 1, kind, created_ns) for at, (kind, name, created_ns) in enumerate(rows)]
    subfolders = draw(st.lists(few_names, unique=True, max_size=3))
    return items + [item(name, 100 + at, Kind.FOLDER) for at, name in enumerate(subfolders)]


@given(folders(), st.randoms(use_true_random=False))
def test_every_item_has_one_name_of_at_most_255_bytes_in_any_order(
    items: list[Item], shuffler: random.Random
) -> None:
    names = visible_names(items)
    assert sorted(map(str, names.values())) == sorted(map(str, items))
    assert all(0 < len(name.encode()) <= 255 for name in names)
    shuffled = list(items)
    shuffler.shuffle(shuffled)
    assert visible_names(shuffled) == names


@given(folders())
def test_name_that_nobody_shares_is_kept(items: list[Item]) -> None:
    bases = [base_name(i) for i in items]
    names = visible_names(items)
    for each, base in zip(items, bases, strict=True):
        if bases.count(base) == 1 and len(base.encode()) <= 255:
            assert names[base] == each


def by_name(items: Sequence[Item]) -> dict[str, int | None]:
    return {name: found.id for name, found in visible_names(items).items()}


def test_newest_item_keeps_the_name_and_others_get_a_suffix_before_the_extension() -> None:
    items = [item("hits.csv", 5, created_ns=20), item("hits.csv", 7, created_ns=10)]
    assert by_name(items) == {"hits.csv": 5, "hits~file-7.csv": 7}


def test_of_two_items_of_one_time_the_larger_id_is_the_newer() -> None:
    assert by_name([item("a", 5), item("a", 7)]) == {"a": 7, "a~file-5": 5}


def test_folder_keeps_the_name_whatever_the_ages() -> None:
    items = [item("a", 5, created_ns=99), item("a", 3, Kind.FOLDER)]
    assert by_name(items) == {"a": 3, "a~file-5": 5}


def test_dataset_carries_its_extension_and_shares_a_name_with_a_file_that_has_it() -> None:
    items = [item("hits", 12, Kind.DATASET), item("hits", 13)]
    assert by_name(items) == {"hits.oedb": 12, "hits": 13}
    items = [item("hits", 12, Kind.DATASET), item("hits.oedb", 13, created_ns=1)]
    assert by_name(items) == {"hits~dataset-12.oedb": 12, "hits.oedb": 13}


def test_file_and_dataset_of_one_number_have_different_names() -> None:
    items = [item("a.oedb", 5), item("a", 5, Kind.DATASET), item("a.oedb", 9, created_ns=1)]
    assert by_name(items) == {"a.oedb": 9, "a~file-5.oedb": 5, "a~dataset-5.oedb": 5}


def test_generated_name_that_is_also_a_true_name_gets_a_further_mark() -> None:
    items = [item("a", 1), item("a", 2), item("a~file-1", 3)]
    assert by_name(items) == {"a": 2, "a~file-1": 3, "a~file-1~": 1}


def test_overlong_name_is_cut_and_marked_and_keeps_its_extension() -> None:
    names = by_name([item("x" * 300 + ".sdf", 1), item("x" * 300 + ".sdf", 2)])
    assert sorted(names.values(), key=str) == [1, 2]
    assert all(len(name) == 255 and name.endswith(".sdf") for name in names)


def test_overlong_name_is_not_cut_within_a_character() -> None:
    (name,) = visible_names([item("😀" * 100, 1)])
    assert name.startswith("😀" * 60)
    assert name.endswith("~file-1")


def test_extension_is_not_what_begins_the_name_or_is_longer_than_32() -> None:
    assert by_name([item(".bashrc", 1), item(".bashrc", 2)]) == {".bashrc": 2, ".bashrc~file-1": 1}
    long = "a." + "b" * 40
    assert by_name([item(long, 1), item(long, 2)]) == {long: 2, f"{long}~file-1": 1}


def test_name_with_a_slash_is_escaped_and_dots_too() -> None:
    assert by_name([item("a/b", 1), item(".", 2), item("..", 3)]) == {"a%2Fb": 1, "%2E": 2, "%2E%2E": 3}


def test_name_that_utf8_has_no_form_for_hides_nobody_else() -> None:
    """JSON can carry half a surrogate pair; one such row must not make its folder unreadable."""
    names = visible_names([item("\ud800", 1), item("a", 2)])
    assert names["a"].id == 2
    assert all(name.encode() for name in names)
