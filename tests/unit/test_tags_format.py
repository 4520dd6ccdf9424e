"""Tags as text of one extended attribute."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from orionfs.errors import NotUnicode
from orionfs.xattrs.attribute_text import format_tags, parse_tags

tag_texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=8)


@given(st.lists(tag_texts | st.sampled_from(["\\", "\\n", "\n", "a\\\nb", " ", "a, b: c"]), max_size=5))
@example([" "])
@example(["\t", "x"])
@example(["\r"])
@example(["\\\\n", "\\n\\"])
def test_tags_of_any_text_come_back(tags: list[str]) -> None:
    assert parse_tags(format_tags(tuple(tags)).encode()) == tuple(tags)


def test_tags_are_one_a_line() -> None:
    assert format_tags(("lead", "hit: 7, β")) == "lead\nhit: 7, β"
    assert format_tags(()) == ""
    assert format_tags(("a\nb", "c\\d")) == "a\\nb\nc\\\\d"


@pytest.mark.parametrize("value", [b"", b"\n", b"\n\n"])
def test_empty_lines_are_no_tags(value: bytes) -> None:
    assert parse_tags(value) == ()


def test_final_newline_of_an_editor_is_no_tag() -> None:
    assert parse_tags(b"a\nb\n") == ("a", "b")


def test_value_that_is_not_utf8_is_refused_and_not_repeated() -> None:
    """The error is logged, and values of attributes have no business in a log."""
    with pytest.raises(NotUnicode) as error:
        parse_tags(b"secret\xff")
    assert "secret" not in str(error.value)
