"""Names that no server should send, and rows that are none: nothing of it hides anything else."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orionfs.errors import RemoteFailure
from orionfs.models import NAME_MAX_BYTES, Item, Kind
from orionfs.orion.shapes import read_page
from orionfs.tables.names import base_name, decode_name, duplicate_name, encode_name, is_plain, visible_names

# Half surrogate pairs too: JSON can carry them.
any_text = st.text(st.characters(codec=None), min_size=1, max_size=6)
wild_names = st.one_of(
    any_text,
    st.sampled_from(["a", "A", "a.gz", ".", "..", "...", "/", "\0", "~", "a~file-1", "%2F", "%", " ", "\n"]),
    st.builds(str.__mul__, any_text, st.integers(50, 2000)),
    st.builds(lambda stem, end: f"{stem * 100}.{end}", any_text, any_text),
)
kinds = st.sampled_from(list(Kind))


@st.composite
def wild_folders(draw: st.DrawFn) -> list[Item]:
    """Anything, with ids of their own; folders may share a name as well."""
    rows = draw(st.lists(st.tuples(kinds, wild_names, st.integers(0, 2)), max_size=12))
    return [Item(kind, at, name, created_ns=created) for at, (kind, name, created) in enumerate(rows, 1)]


def is_for_the_kernel(name: str) -> bool:
    """Whether a directory entry can be called that."""
    return (
        0 < len(name.encode()) <= NAME_MAX_BYTES and not set(name) & {"/", "\0"} and name not in (".", "..")
    )


@given(wild_folders(), st.randoms(use_true_random=False))
def test_every_item_has_one_name_that_the_kernel_holds_whatever_it_is_called(
    items: list[Item], shuffler: random.Random
) -> None:
    shown = [item for item in items if not item.name.startswith(".orionfs-")]
    names = visible_names(items)
    assert sorted(item.id or 0 for item in names.values()) == [item.id for item in shown]
    assert all(map(is_for_the_kernel, names))
    shuffler.shuffle(items)
    assert visible_names(items) == names


@given(wild_folders())
def test_who_keeps_the_name_is_the_folder_else_the_newest(items: list[Item]) -> None:
    names = visible_names(items)
    for base in {base_name(item) for item in names.values()} & names.keys():
        sharers = [item for item in names.values() if base_name(item) == base]
        keeper = names[base]
        if keeper in sharers:
            ranks = {item.id: (item.kind is Kind.FOLDER, item.created_ns, item.id) for item in sharers}
            assert ranks[keeper.id] == max(ranks.values())


@given(wild_folders())
def test_generated_name_never_takes_a_true_one(items: list[Item]) -> None:
    names = visible_names(items)
    for name, item in names.items():
        bases = [base_name(other) for other in names.values() if base_name(other) == name]
        assert not bases or base_name(item) == name


@given(wild_folders())
def test_name_tells_whether_a_listing_is_needed_to_know_what_it_means(items: list[Item]) -> None:
    """A plain name is the true name of its item, so that Orion can be asked for it."""
    for name, item in visible_names(items).items():
        if is_plain(name):
            assert item.name == decode_name(name)


@given(any_text)
def test_encoding_only_fails_to_be_undone_for_what_utf8_has_no_form_for(name: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        assert "?" in encode_name(name)
    else:
        assert decode_name(encode_name(name)) == name


@given(kinds, wild_names, st.integers(1, 2**40))
def test_suffix_of_a_duplicate_names_type_and_id_and_is_cut_between_characters(
    kind: Kind, name: str, id: int
) -> None:
    suffixed = duplicate_name(Item(kind, id, name))
    assert f"~{kind.value}-{id}" in suffixed
    assert len(suffixed.encode()) <= NAME_MAX_BYTES
    stem = suffixed.rpartition(f"~{kind.value}-{id}")[0]
    assert encode_name(name).startswith(stem)


# -- rows ----------------------------------------------------------------------------------------

BAD_ROWS: list[Any] = [
    None,
    7,
    "a name alone",
    [],
    {},
    {"id": 9, "resource_type": "file"},
    {"id": 9, "resource_type": "file", "name": ""},
    {"id": 9, "resource_type": "file", "name": 5},
    {"id": 9, "resource_type": "file", "name": ["a"]},
    {"id": 9, "resource_type": "file", "path": "/"},
    {"id": 9, "resource_type": "file", "name": "tagged", "tags": 5},
]
ODD_ROWS: list[Any] = [
    {"resource_type": "file", "name": "without an id"},
    {"id": "x", "resource_type": "file", "name": "with an id that is none"},
    {"id": 10, "name": "of no type"},
    {"id": 11, "resource_type": 5, "name": "of a number for a type"},
    {"id": 12, "resource_type": "file", "name": "n" * 10_000},
    {"id": 13, "resource_type": "file", "name": "\ud800"},
    {"id": 14, "resource_type": "file", "name": "nul\0"},
    {"id": 15, "resource_type": "file", "name": "a/b"},
    {"id": 16, "resource_type": "file", "name": "of odd values", "size": -1, "created": {}, "owner": []},
]
good_rows = st.integers(100, 999).map(lambda id: {"id": id, "resource_type": "file", "name": f"good {id}"})


@given(
    st.lists(good_rows, min_size=1, max_size=5, unique_by=lambda row: row["id"]),
    st.lists(st.sampled_from(BAD_ROWS + ODD_ROWS), max_size=5),
    st.randoms(use_true_random=False),
)
def test_row_that_is_none_hides_no_other(
    good: list[dict[str, Any]], odd: list[Any], shuffler: random.Random
) -> None:
    rows = [*good, *odd]
    shuffler.shuffle(rows)
    page = read_page({"count": len(rows), "results": rows})
    names = visible_names(page.rows)
    assert {row["name"] for row in good} <= names.keys()
    assert page.row_count == len(rows)
    assert all(map(is_for_the_kernel, names))


@pytest.mark.parametrize("row", ODD_ROWS)
def test_odd_row_is_shown(row: Any) -> None:
    (name,) = visible_names(read_page([row]).rows)
    assert is_for_the_kernel(name)


@pytest.mark.parametrize("row", BAD_ROWS)
def test_bad_row_alone_is_no_listing(row: Any) -> None:
    with pytest.raises(RemoteFailure):
        read_page([row])
