"""The last error of an item: what is told of it, and that it is bounded."""

from __future__ import annotations

import itertools

from orionfs.errors import AccessDenied, Busy, NoSpace
from orionfs.models import InodeNumber, Key, Kind
from orionfs.orion.failures import failure_of
from orionfs.reports import Reports

FILE = InodeNumber(17)
KEY = Key(Kind.FILE, 5)
REFUSED = {"error": "AuthorizationRequired", "status": 403, "detail": "not yours", "request_id": "r-1"}


def reports(items_max: int = 100) -> Reports:
    return Reports(itertools.count(10**9, 10**9).__next__, items_max)


def test_error_of_orion_is_told_with_its_request() -> None:
    kept = reports()
    kept.note(FILE, "flush", failure_of("upload", ["doc"], REFUSED))
    report = kept.last(FILE)
    assert report is not None
    assert report.text().split("\n") == [
        "time: 1970-01-01T00:00:01+00:00",
        "call: flush",
        "error: EACCES",
        "request: upload",
        "status: 403",
        "request-id: r-1",
        "message: upload doc: not yours [request r-1]",
    ]


def test_error_of_this_machine_has_no_request() -> None:
    kept = reports()
    kept.note(FILE, "write", NoSpace("staging:\nno room left"))
    report = kept.last(FILE)
    assert report is not None
    assert report.text().split("\n") == [
        "time: 1970-01-01T00:00:01+00:00",
        "call: write",
        "error: ENOSPC",
        "message: staging: no room left",
    ]


def test_error_that_came_of_another_one_tells_the_request_of_that() -> None:
    refused = failure_of("delete", ["file", 5], REFUSED)
    told = AccessDenied("what is there may not be replaced")
    told.__cause__ = refused
    kept = reports()
    kept.note(FILE, "rename", told)
    report = kept.last(FILE)
    assert report is not None
    assert (report.verb, report.status, report.request_id) == ("delete", 403, "r-1")
    assert report.message == "what is there may not be replaced"


def test_last_error_counts_by_whatever_name_the_item_has() -> None:
    kept = reports()
    kept.note(KEY, "removal", AccessDenied("first"))
    kept.note(FILE, "flush", Busy("second"))
    assert (report := kept.last(FILE, KEY)) is not None
    assert report.message == "second"
    kept.note(KEY, "removal", AccessDenied("third"))
    assert (report := kept.last(FILE, KEY)) is not None
    assert report.message == "third"
    assert kept.last(None, InodeNumber(18)) is None


def test_cleared_error_is_gone_by_all_names() -> None:
    kept = reports()
    kept.note(KEY, "removal", AccessDenied("one"))
    kept.note(FILE, "flush", AccessDenied("two"))
    kept.clear(FILE, KEY, None)
    assert kept.last(FILE, KEY) is None


def test_no_more_errors_are_kept_than_the_limit() -> None:
    kept = reports(items_max=3)
    for number in range(2, 7):
        kept.note(InodeNumber(number), "read", Busy(str(number)))
    kept.note(InodeNumber(4), "read", Busy("again"))
    kept.note(InodeNumber(8), "read", Busy("8"))
    assert len(kept) == 3
    assert [number for number in range(2, 9) if kept.last(InodeNumber(number))] == [4, 6, 8]
