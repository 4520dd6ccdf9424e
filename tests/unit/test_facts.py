"""The record of what is known of a stack: kept whole, read with care."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest

from orionfs.facts import (
    CHOICES,
    UNKNOWN,
    StackFacts,
    as_json,
    facts_of,
    facts_path,
    load_facts,
    merged,
    save_facts,
)

ALL_KNOWN = StackFacts(
    **{name: values[-1] for name, values in CHOICES.items()},
    page_max=1000,
    read_lag_s=0.5,
    ranged_reads=False,
    kind_literals={"file": "File", "folder": "Folder"},
)


def test_every_text_of_the_record_has_its_choices() -> None:
    others = {"page_max", "read_lag_s", "ranged_reads", "kind_literals"}
    assert {entry.name for entry in dataclasses.fields(StackFacts)} == set(CHOICES) | others


@pytest.mark.parametrize("facts", [UNKNOWN, ALL_KNOWN, StackFacts(paging="all", read_lag_s=0.0)])
def test_what_is_saved_is_loaded(tmp_path, facts) -> None:
    path = save_facts(tmp_path / "state", "own http://orion.example", facts)
    assert path == facts_path(tmp_path / "state", "own http://orion.example")
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert load_facts(tmp_path / "state", "own http://orion.example") == facts


def test_stacks_do_not_share_a_record(tmp_path) -> None:
    save_facts(tmp_path, "one", ALL_KNOWN)
    assert load_facts(tmp_path, "two") == UNKNOWN


def test_file_does_not_tell_the_stack(tmp_path) -> None:
    path = save_facts(tmp_path, "orion.example", ALL_KNOWN)
    assert "orion.example" not in path.name + path.read_text()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'"text"', b"\xff\xfe", b'{"paging": "al'])
def test_damaged_file_is_nothing_known(tmp_path, content) -> None:
    path = save_facts(tmp_path, "stack", ALL_KNOWN)
    path.write_bytes(content)
    assert load_facts(tmp_path, "stack") == UNKNOWN


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("paging", "perhaps"),
        ("paging", 1),
        ("paging", ["all"]),
        ("page_max", 0),
        ("page_max", True),
        ("page_max", 7.5),
        ("page_max", 10**400),
        ("read_lag_s", -1),
        ("read_lag_s", math.nan),
        ("read_lag_s", math.inf),
        ("read_lag_s", "1"),
        ("ranged_reads", "yes"),
        ("kind_literals", ["file"]),
        ("kind_literals", {"file": 1}),
        ("of_another_version", "yes"),
    ],
)
def test_what_makes_no_sense_is_left_out(tmp_path, name, value) -> None:
    path = save_facts(tmp_path, "stack", StackFacts(filters="ignored"))
    path.write_text(json.dumps({**json.loads(path.read_text()), name: value}))
    assert load_facts(tmp_path, "stack") == StackFacts(filters="ignored")


def test_newer_knowledge_wins_and_older_stays() -> None:
    older = StackFacts(paging="all", busy="yes", page_max=7, kind_literals={"file": "file"})
    newer = StackFacts(paging="pages", ranged_reads=False, kind_literals={"folder": "Folder"})
    assert merged(older, newer) == StackFacts(
        paging="pages",
        busy="yes",
        page_max=7,
        ranged_reads=False,
        kind_literals={"file": "file", "folder": "Folder"},
    )
    assert merged(older, UNKNOWN) == older
    assert merged(UNKNOWN, newer) == newer


def test_plain_data_holds_what_is_known_only() -> None:
    assert as_json(UNKNOWN) == {}
    assert facts_of(as_json(ALL_KNOWN)) == ALL_KNOWN
