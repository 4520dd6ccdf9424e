"""Reading of answers whose keys, envelopes and literals nobody has promised."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orionfs.errors import RemoteFailure
from orionfs.models import Item, Kind
from orionfs.orion.shapes import first_of, read_item, read_kind, read_page, read_tags, read_time_ns

ROW = {"resource_type": "file", "id": 5, "name": "a"}


# -- envelopes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", ["results", "items", "data", "objects", "contents", "resources"])
@pytest.mark.parametrize("total", ["count", "total", "total_count"])
def test_rows_and_total_are_found_under_several_keys(rows: str, total: str) -> None:
    page = read_page({rows: [ROW], total: 7, "next": None})
    assert [row.id for row in page.rows] == [5]
    assert page.total == 7


def test_bare_list_is_a_page_without_a_total() -> None:
    page = read_page([ROW, ROW])
    assert (len(page.rows), page.total) == (2, None)


def test_empty_folder_has_no_rows() -> None:
    assert read_page({"results": [], "count": 0}).rows == ()
    assert read_page({"results": [], "count": 0}).total == 0


@pytest.mark.parametrize("total", [None, "7", 7.5, [7], {}])
def test_total_that_is_no_number_is_no_total(total: object) -> None:
    assert read_page({"results": [], "count": total}).total is None


@pytest.mark.parametrize(
    "garbage",
    [
        None,
        "text",
        5,
        True,
        {},
        {"results": None},
        {"results": {}},
        {"results": "abc"},
        {"count": 3},
        [5],
        [None],
        {"results": [{"id": 5}]},
        {"results": [[]]},
        {"results": [{"name": 5}]},
        {"results": [{"name": ""}]},
    ],
)
def test_garbage_where_a_listing_was_due_is_a_failure_of_orion(garbage: object) -> None:
    with pytest.raises(RemoteFailure):
        read_page(garbage)


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
KEYS = [
    "results",
    "count",
    "id",
    "name",
    "path",
    "resource_type",
    "size",
    "created",
    "tags",
    "state",
    "owner",
]
answers = st.dictionaries(st.sampled_from(KEYS), json_values, max_size=8)


@given(answers | json_values)
def test_any_json_is_read_or_a_failure_of_orion(answer: Any) -> None:
    for read in (read_page, read_item, read_tags):
        try:
            read(answer)
        except RemoteFailure as error:
            assert str(error)


@pytest.mark.parametrize("more", [None, "", 0, False])
def test_envelope_that_names_no_next_page_is_the_last(more: object) -> None:
    assert read_page({"results": [ROW], "next": more}).has_more is False


@pytest.mark.parametrize("more", ["https://orion/next", 2, True])
def test_envelope_that_names_a_next_page_is_not_the_last(more: object) -> None:
    assert read_page({"results": [ROW], "next": more}).has_more is True
    assert read_page({"data": {"items": [ROW]}, "hasMore": more}).has_more is True


def test_envelope_that_says_nothing_of_a_next_page_leaves_it_open() -> None:
    assert read_page({"results": [ROW]}).has_more is None
    assert read_page([ROW]).has_more is None


def test_rows_by_type_have_the_type_of_their_list_and_no_literal() -> None:
    page = read_page({"files": [{"id": 1, "name": "a"}], "ShardCollections": [], "folders": [{"name": "b"}]})
    assert [(item.kind, item.name, item.literal) for item in page.rows] == [
        (Kind.FILE, "a", ""),
        (Kind.FOLDER, "b", ""),
    ]


def test_rows_by_id_have_the_id_of_their_place_unless_they_say_their_own() -> None:
    page = read_page({"results": {"7": {"name": "a"}, "8": {"name": "b", "ID": 9}}, "count": 2})
    assert ([item.id for item in page.rows], page.total) == ([7, 9], 2)


def test_no_rows_by_id_are_an_empty_folder_only_where_a_total_says_so() -> None:
    assert read_page({"results": {}, "count": 0}).rows == ()
    with pytest.raises(RemoteFailure):
        read_page({"results": {}, "count": 1})


def test_row_in_an_envelope_of_its_own_is_read() -> None:
    assert read_item({"data": {"resource_type": "file", "ID": 5, "path": "/x/a"}}).id == 5


# Shapes at random: a listing means the same in all of them.

texts = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=8)
listed = st.lists(
    st.builds(
        Item,
        kind=st.sampled_from([Kind.FILE, Kind.DATASET, Kind.COLLECTION, Kind.FOLDER]),
        id=st.integers(1, 2**63),
        name=texts,
        size=st.none() | st.integers(0, 2**50),
        created_ns=st.just(0) | st.integers(0, 2**31).map(lambda seconds: seconds * 10**9),
        owner=st.none() | st.integers(0, 2**31),
    ),
    max_size=5,
    unique_by=lambda item: item.id,
)
SPELLINGS = [
    "_".join,
    "-".join,
    " ".join,
    lambda words: "_".join(words).upper(),
    lambda words: words[0] + "".join(word.title() for word in words[1:]),
    lambda words: "".join(word.title() for word in words),
]
WORDS = {
    "id": ["id", "resource id", "pk"],
    "name": ["name", "display name"],
    "size": ["size", "size bytes"],
    "created": ["created", "created at", "date created"],
    "owner": ["owner", "owner id"],
}
LITERALS: list[Callable[[str], str]] = [
    str,
    str.upper,
    str.title,
    lambda word: f"{word}s",
    lambda word: f"Orion{word.title()}Resource",
]
ENVELOPES: list[Callable[[list[Any], dict[str, Any]], Any]] = [
    lambda rows, by_id: rows,
    lambda rows, by_id: {"results": rows, "count": len(rows), "next": None},
    lambda rows, by_id: {"data": {"contents": rows, "totalCount": len(rows)}},
    lambda rows, by_id: {"Response": {"Data": {"Items": rows}}},
    lambda rows, by_id: {"results": by_id, "total": len(rows)},
    lambda rows, by_id: {"meta": {"page": 1}, "objects": rows},
]


@given(listed, st.data())
def test_listing_means_the_same_in_every_shape(items: list[Item], data: st.DataObject) -> None:
    spell = data.draw(st.sampled_from(SPELLINGS))
    words = {key: spell(data.draw(st.sampled_from(found)).split()) for key, found in WORDS.items()}
    say = data.draw(st.sampled_from(LITERALS))
    are_texts = data.draw(st.booleans())
    rows = []
    for item in items:
        told: dict[str, object] = {
            "id": str(item.id) if are_texts else item.id,
            "name": item.name,
            "size": item.size,
        }
        told["created"] = datetime.fromtimestamp(item.created_ns // 10**9, UTC).isoformat()
        told["owner"] = {"id": item.owner, "username": "x"} if are_texts and item.owner else item.owner
        shaped = {words[key]: value for key, value in told.items() if value is not None}
        rows.append({**shaped, "resource_type": say(item.kind.value)})
    by_id = {str(item.id): row for item, row in zip(items, rows, strict=True)}
    page = read_page(data.draw(st.sampled_from(ENVELOPES))(rows, by_id))
    assert [replace(row, literal="") for row in page.rows] == items
    assert [row.literal for row in page.rows] == [say(item.kind.value) for item in items]
    assert page.total in (None, len(items))


# -- rows ----------------------------------------------------------------------------------------


def test_row_of_this_projects_server_is_read() -> None:
    item = read_item(
        {
            **ROW,
            "path": "/project/1/team/a",
            "size": 3,
            "created": "2026-08-22T10:11:12.123456Z",
            "owner": 2,
            "project": 1,
            "state": "ready",
            "tags": ["b", "a"],
        }
    )
    created = datetime(2026, 8, 22, 10, 11, 12, 123456, tzinfo=UTC)
    assert item == Item(
        Kind.FILE, 5, "a", 3, int(created.timestamp()) * 10**9 + 123456000, "file", "ready", 2, 1, ("a", "b")
    )


def test_row_of_another_spelling_is_read() -> None:
    item = read_item({"resourceType": "FileResource", "id": "17", "path": "/x/y z/", "sizeBytes": 0})
    assert item == Item(Kind.FILE, 17, "y z", 0, literal="FileResource")


def test_row_with_almost_nothing_is_an_item_of_another_kind() -> None:
    assert read_item({"name": "a"}) == Item(Kind.OTHER, None, "a")


@pytest.mark.parametrize("id", [True, False, "", "x", "-5", 5.5, [5], {}, None, "²"])
def test_id_that_is_no_number_is_none(id: object) -> None:
    assert read_item({**ROW, "id": id}).id is None


@pytest.mark.parametrize("size", [None, -1, "5", 5.5, [5], True])
def test_size_that_makes_no_sense_is_unknown(size: object) -> None:
    assert read_item({**ROW, "size": size}).size is None


def test_name_wins_over_the_path_and_may_hold_anything() -> None:
    assert read_item({**ROW, "name": "../x/\n", "path": "/a/b"}).name == "../x/\n"


@pytest.mark.parametrize("garbage", [None, [], "text", {}, {"path": "/"}, {"name": ""}, {"name": ["a"]}])
def test_row_without_a_name_is_a_failure_of_orion(garbage: object) -> None:
    with pytest.raises(RemoteFailure):
        read_item(garbage)


# -- literals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("literal", "kind"),
    [
        ("file", Kind.FILE),
        ("File", Kind.FILE),
        ("files", Kind.FILE),
        ("dataset", Kind.DATASET),
        ("DATASET", Kind.DATASET),
        ("shard-collection", Kind.COLLECTION),
        ("ShardCollection", Kind.COLLECTION),
        ("folder", Kind.FOLDER),
        ("Directory", Kind.FOLDER),
        ("path", Kind.FOLDER),
        ("", Kind.OTHER),
        ("workfloe", Kind.OTHER),
    ],
)
def test_literal_means_a_kind_and_is_kept_as_received(literal: str, kind: Kind) -> None:
    assert read_kind(literal) is kind
    assert read_item({**ROW, "resource_type": literal}).literal == literal


def test_first_key_with_a_value_counts() -> None:
    assert first_of({"a": None, "b": 0, "c": 1}, ("a", "b", "c")) == 0
    assert first_of({}, ("a",)) is None


# -- tags and times ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tags", "texts"),
    [
        ([], ()),
        (["b", "a", "b"], ("a", "b")),
        ([{"name": "x", "project": 1}, {"tag": "y"}, {"value": 7}, {"label": "z"}, {}], ("7", "x", "y", "z")),
        ((1, None), ("1",)),
    ],
)
def test_tags_are_texts_sorted_and_each_once(tags: object, texts: tuple[str, ...]) -> None:
    assert read_tags(tags) == texts


@pytest.mark.parametrize("garbage", [None, "text", {"name": "x"}, 5, True])
def test_garbage_where_tags_were_due_is_a_failure_of_orion(garbage: object) -> None:
    with pytest.raises(RemoteFailure):
        read_tags(garbage)


@pytest.mark.parametrize(
    "text",
    [
        "2026-08-22T10:11:12.5Z",
        "2026-08-22T10:11:12.500000+00:00",
        "2026-08-22T12:11:12.500+02:00",
        "2026-08-22 10:11:12.5",
    ],
)
def test_time_is_read_with_and_without_a_zone(text: str) -> None:
    assert read_time_ns(text) == 1787393472 * 10**9 + 500_000_000


@pytest.mark.parametrize(
    "garbage",
    [None, 5, "", "yesterday", "2026-13-01", [], "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"],
)
def test_time_that_can_not_be_read_is_the_epoch(garbage: object) -> None:
    assert read_time_ns(garbage) == 0


@pytest.mark.parametrize("number", [1787393472.5, 1787393472500])
def test_time_in_seconds_or_milliseconds_is_read(number: float) -> None:
    assert read_time_ns(number) == 1787393472 * 10**9 + 500_000_000


@pytest.mark.parametrize("number", [True, -1, 0, 99_999_999, float("nan"), float("inf"), 10**30])
def test_number_that_is_no_time_is_the_epoch(number: float) -> None:
    assert read_time_ns(number) == 0


def test_time_before_the_epoch_is_negative() -> None:
    assert read_time_ns("1969-12-31T23:59:59.5Z") == -500_000_000


@given(st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)))
def test_every_moment_keeps_its_microseconds(moment: datetime) -> None:
    whole = moment.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    micros = (whole.days * 86400 + whole.seconds) * 10**6 + whole.microseconds
    assert read_time_ns(moment.isoformat() + "Z") == micros * 1000
