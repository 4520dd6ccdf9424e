"""What recorded answers mean to the probe."""

from __future__ import annotations

import json
from typing import Any

import pytest

from orionfs.models import Kind
from orionfs.probe import findings
from orionfs.probe.answers import (
    Listing,
    id_of,
    kind_of,
    listing_of,
    name_of,
    size_of,
    spelling_of,
    style_of,
    written_in,
)
from orionfs.probe.findings import Cut, Evidence, Filtered, Finding, Paged, chosen, look_at
from orionfs.probe.ranging import ranges_of
from orionfs.probe.report import REPLACED, keys_of, report_of

FILE = {"resource_type": "file", "id": 7, "name": "a.txt", "size": 5, "created": "2026-01-02T03:04:05Z",
        "owner": 1, "project": 1, "tags": [], "path": "/project/1/team/a.txt"}  # fmt: skip
FOLDER = {"resource_type": "folder", "id": 8, "name": "sub", "created": "2026-01-02T03:04:05Z", "owner": 1}
BARE_FILE = {"resource_type": "file", "id": 9, "path": "/project/1/team/b.txt"}

PLAIN = {"count": 2, "next": None, "previous": None, "results": [FILE, FOLDER]}
ITEMS = {"items": [FILE], "total": 3}
NESTED = {"data": {"contents": [FILE, FOLDER], "total_count": 2}}
BARE = {"contents": [FOLDER]}


def rows(*rows: dict[str, Any], total: int | None = None) -> Listing:
    return listing_of({"results": list(rows), "count": len(rows) if total is None else total})


def seen(*listed: dict[str, Any], **more: Any) -> Evidence:
    return Evidence(listings=[rows(*listed)], **more)


# -- answers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "envelope", "count", "total"),
    [
        (PLAIN, "results", 2, 2),
        (ITEMS, "items", 1, 3),
        (NESTED, "nested", 2, 2),
        (BARE, "bare", 1, None),
        ([FILE, FOLDER], None, 2, None),
        ({"files": [FILE], "folders": [FOLDER]}, None, 2, None),
        ({"answer": {"rows": [FILE]}, "count": 9}, None, 1, 9),
        ({"results": {"7": FILE, "8": FOLDER}, "totalResults": 2}, None, 2, 2),
        ({"Objects": [FILE], "hasMore": False}, None, 1, None),
        ({}, None, 0, None),
        (None, None, 0, None),
        ("garbage", None, 0, None),
        ({"results": "garbage"}, None, 0, None),
        ({"results": [1, None, FILE]}, "results", 1, None),
    ],
)
def test_envelope_is_recognised(answer, envelope, count, total) -> None:
    listing = listing_of(answer)
    assert (listing.envelope, len(listing.rows), listing.total) == (envelope, count, total)


def test_listing_that_tells_more_than_it_gives_is_cut() -> None:
    assert listing_of(ITEMS).is_cut()
    assert not listing_of(PLAIN).is_cut()
    assert not listing_of(BARE).is_cut()


@pytest.mark.parametrize(
    ("row", "id", "name", "size", "kind"),
    [
        (FILE, 7, "a.txt", 5, Kind.FILE),
        (BARE_FILE, 9, "b.txt", None, Kind.FILE),
        ({"Resource-Type": "files", "Id": "5", "NAME": "y", "SIZE_BYTES": 3}, 5, "y", 3, Kind.FILE),
        ({"ID": "12", "Name": "x", "size_bytes": 0, "type": "SHARDCOLLECTION"}, 12, "x", 0, Kind.COLLECTION),
        ({"id": True, "name": "", "size": -1}, None, "", None, Kind.OTHER),
        ({"id": "seven", "sizeBytes": True, "resourceType": "Folder"}, None, "", None, Kind.FOLDER),
    ],
)
def test_row_is_read_in_any_spelling(row, id, name, size, kind) -> None:
    assert (id_of(row), name_of(row), size_of(row), kind_of(row)) == (id, name, size, kind)


@pytest.mark.parametrize(
    ("keys", "spelling"),
    [
        (["id", "created", "owner"], "plain"),
        (["ID"], "long"),
        (["id", "date_created"], "long"),
        (["id", "ownerId"], "camel"),
        (["id", "name", "path"], None),
        (["created", "ownerId"], None),
        ([], None),
    ],
)
def test_spelling_of_keys_is_recognised(keys, spelling) -> None:
    assert spelling_of([dict.fromkeys(keys, 1)]) == spelling


@pytest.mark.parametrize(
    ("literals", "style"),
    [
        ({Kind.FILE: "file", Kind.FOLDER: "folder"}, "word"),
        ({Kind.FILE: "File", Kind.COLLECTION: "ShardCollection"}, "class"),
        ({Kind.FOLDER: "FOLDER"}, "upper"),
        ({Kind.FILE: "file", Kind.FOLDER: "FOLDER"}, "other"),
        ({Kind.FILE: "orion.File"}, "other"),
        ({}, None),
    ],
)
def test_style_of_literals_is_recognised(literals, style) -> None:
    assert style_of(literals) == style


def test_literal_that_was_not_seen_follows_those_that_were() -> None:
    assert [written_in(style, Kind.FILE) for style in ("word", "class", "upper", "other", None)] == [
        "file",
        "File",
        "FILE",
        "file",
        "file",
    ]


# -- questions -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("question", "evidence", "value"),
    [
        ("envelope", Evidence(listings=[listing_of(NESTED)]), "nested"),
        ("envelope", Evidence(listings=[listing_of({"results": []})]), None),
        ("envelope", Evidence(listings=[listing_of([FILE])]), None),
        ("envelope", Evidence(listings=[listing_of(BARE), listing_of(PLAIN)]), None),
        ("keys", Evidence(stats=[FILE]), "plain"),
        ("keys", Evidence(stats=[BARE_FILE]), None),
        ("stat_details", Evidence(stats=[{"ID": 1, "ResourceType": "File", "PATH": "/x"}]), "no"),
        ("literals", seen(FOLDER), "word"),
        ("literals", Evidence(), None),
        ("folder_ids", seen(FOLDER), "yes"),
        ("folder_ids", seen({**FOLDER, "id": None}), "no"),
        ("folder_ids", seen(FOLDER, {"resource_type": "folder", "name": "x"}), None),
        ("folder_ids", seen(FILE), None),
        ("list_sizes", seen(FILE, BARE_FILE), "yes"),
        ("list_sizes", seen(BARE_FILE), "no"),
        ("list_sizes", seen(FOLDER), None),
        ("list_times", seen(FILE), "yes"),
        ("list_times", seen(FOLDER, BARE_FILE), "no"),
        ("list_times", seen(FOLDER), "yes"),
        ("list_times", seen(), None),
        ("list_tags", seen(FILE), "yes"),
        ("list_tags", seen(BARE_FILE), None),
        ("list_tags", seen(BARE_FILE, tagged={9}), "no"),
        ("stat_details", Evidence(stats=[FILE]), "yes"),
        ("stat_details", Evidence(stats=[BARE_FILE]), "no"),
        ("stat_details", Evidence(), None),
        ("duplicate_names", seen(FILE, {**FILE, "id": 70}), "allowed"),
        ("duplicate_names", seen(FILE, {**FOLDER, "name": "a.txt"}), None),
        ("duplicate_names", Evidence(listings=[rows(FILE), rows(FILE)]), None),
        ("paging", Evidence(paged=[Paged(rows(FILE), rows(FOLDER))]), "pages"),
        ("paging", Evidence(paged=[Paged(rows(FILE, FOLDER), rows(FILE, FOLDER))]), "all"),
        ("paging", Evidence(paged=[Paged(rows(FILE), rows(FILE))]), None),
        ("paging", Evidence(paged=[Paged(rows(), rows())]), None),
        ("paging", Evidence(), None),
        ("filters", Evidence(filtered=[Filtered("a.txt", rows(FILE))]), "honoured"),
        ("filters", Evidence(filtered=[Filtered("a.txt", rows(FILE, FOLDER))]), "ignored"),
        ("filters", Evidence(filtered=[Filtered("a.txt", rows())]), None),
        ("page_max", Evidence(cuts=[Cut(7, 2000), Cut(1000, 2000)]), 1000),
        ("page_max", Evidence(), None),
    ],
)
def test_evidence_answers_a_question(question, evidence, value) -> None:
    found = getattr(findings, question)(evidence)
    assert (found.name, found.value) == (question, value)
    assert bool(found.why)


def test_no_evidence_is_no_answer_to_any_question() -> None:
    assert {finding.value for finding in look_at(Evidence()).values()} == {None}


def test_what_was_tried_goes_before_what_was_seen_if_it_tells_something() -> None:
    seen = {"paging": Finding("paging", "pages", "seen"), "filters": Finding("filters", None, "not seen")}
    tried = {"paging": Finding("paging", None, "failed"), "filters": Finding("filters", None, "failed")}
    found = {each.name: each for each in chosen(seen, tried, {"busy": "needs writing"})}
    assert found["paging"] == seen["paging"]
    assert found["filters"] == tried["filters"]
    assert found["busy"] == Finding("busy", None, "needs writing")


@pytest.mark.parametrize("size", [0, 1, 2, 6, 7, 48, 20_000])
def test_ranges_cover_every_byte_once(size) -> None:
    covered = sorted(at for offset, length in ranges_of(size) for at in range(offset, offset + length))
    assert covered == list(range(size))


# -- the report ----------------------------------------------------------------------------------------


def test_keys_that_may_be_data_are_replaced() -> None:
    secret_rows = {
        "project_x": [{**FILE, "name": "project_x", "alice": 1, "owner_name": "alice", "5512": 1}],
        "by id": {},
    }
    evidence = Evidence(listings=[listing_of(secret_rows)])
    assert keys_of(evidence)["envelope"] == [REPLACED]
    assert REPLACED in keys_of(evidence)["file"]
    text = json.dumps(report_of([], evidence, "0"))
    assert not any(word in text for word in ("project_x", "alice", "5512", "by id", "a.txt"))
    assert "owner_name" in text


def test_envelope_by_ids_does_not_tell_the_ids() -> None:
    evidence = Evidence(listings=[listing_of({"results": {"7": FILE, "8": FOLDER}})])
    assert keys_of(evidence)["envelope"] == ["results", f"results.{REPLACED}"]


def test_item_that_is_called_like_a_key_does_not_hide_the_key() -> None:
    assert "size" in keys_of(seen({**FILE, "name": "size"}))["file"]


def test_report_tells_values_and_reasons() -> None:
    told = report_of([Finding("page_max", 7, "seen"), Finding("busy", None, "why not")], seen(FILE), "1.2")
    assert told["findings"] == {
        "page_max": {"value": 7, "how": "seen"},
        "busy": {"value": None, "how": "why not"},
    }
    assert told["literals"] == {"file": "file"}
    assert (told["format"], told["orionfs"]) == (1, "1.2")
