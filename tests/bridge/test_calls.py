"""`Calls`: plain data over a session, with and without our extensions."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from orionfs.bridge import CallFailed, Calls, InProcess
from tests.bridge import factories


@pytest.fixture
def session() -> factories.Session:
    return factories.Session()


@pytest.fixture
def calls(session: factories.Session) -> InProcess:
    return InProcess(Calls(session, factories.Types))


@pytest.fixture
def direct_session() -> factories.DirectSession:
    return factories.DirectSession()


@pytest.fixture
def direct(direct_session: factories.DirectSession) -> InProcess:
    return InProcess(Calls(direct_session, factories.DirectTypes))


def test_whoami_gives_simple_attributes_however_they_are_kept(calls: InProcess, direct: InProcess) -> None:
    told = calls.whoami()
    assert told["profile"] == {"id": 2**60 + 1, "username": "somebody"}
    assert told["instance"] is None
    assert direct.whoami()["instance"] == "abc"


def test_attributes_are_public_and_simple(calls: InProcess) -> None:
    assert calls.get("file", 7) == {
        "id": 7,
        "name": "a",
        "created": "2026-01-02T03:04:05",
        "tags": ["x", "y"],
        "metadata": {"size_bytes": 5},
    }


def test_paths_are_passed_on_as_documented(calls: InProcess, session: factories.Session) -> None:
    assert calls.ls_path("/p", {"limit": 2}) == {"path": "/p", "query": {"limit": 2}}
    assert calls.stat_path("/p") == {"path": "/p"}
    calls.create_paths(["/a", "/b"])
    calls.remove_paths(["/c"])
    calls.assign_paths([{"id": 1}])
    assert session.asked == [("create", ("/a", "/b")), ("remove", ("/c",)), ("assign", ({"id": 1},))]


def test_find_gives_a_hundred_at_most(calls: InProcess, session: factories.Session) -> None:
    found = calls.find("file", {"name": "a"})
    assert [each["id"] for each in found] == list(range(100))
    assert session.asked == [("list", {"name": "a"})]


def test_upload_and_download_go_through_local_files(calls: InProcess, tmp_path: Path) -> None:
    (tmp_path / "up").write_text("four")
    assert calls.upload("name", str(tmp_path / "up"))["id"] == 4
    calls.download("file", 5, str(tmp_path / "down"))
    assert (tmp_path / "down").read_text() == "contents of 5"


def test_resource_is_asked_for_once_and_kept(calls: InProcess, session: factories.Session) -> None:
    assert calls.list_tags("file", 7) == [{"name": "t7"}]
    calls.tag("file", 7, ["a", "b"])
    calls.untag("file", 7, ["b"])
    assert session.asked == [("get", 7), ("tag", 7, ("a", "b")), ("untag", 7, ("b",))]


def test_at_most_256_resources_are_kept(calls: InProcess, session: factories.Session) -> None:
    for number in range(257):
        calls.list_tags("file", number)
    session.asked.clear()
    calls.list_tags("file", 1)
    calls.list_tags("file", 0)
    assert session.asked == [("get", 0)]


def test_deleted_resource_is_not_kept(calls: InProcess, session: factories.Session) -> None:
    calls.delete("file", 7)
    calls.list_tags("file", 7)
    assert session.asked == [("get", 7), ("get", 7)]


def test_get_always_asks(calls: InProcess, session: factories.Session) -> None:
    calls.get("file", 7)
    calls.get("file", 7)
    assert session.asked == [("get", 7), ("get", 7)]


def test_delete_that_says_false_has_failed(calls: InProcess) -> None:
    with pytest.raises(CallFailed, match="file 13 was not deleted"):
        calls.delete("file", 13)


def test_direct_resources_cost_no_request(direct: InProcess, direct_session: factories.DirectSession) -> None:
    direct.list_tags("file", 7)
    direct.delete("file", 7)
    assert direct_session.asked == []


def test_ranged_is_found_by_looking(calls: InProcess, direct: InProcess) -> None:
    assert (calls.ranged, direct.ranged) == (False, True)


def test_range_lands_in_the_descriptor_or_fails(direct: InProcess, tmp_path: Path) -> None:
    fd = os.open(tmp_path / "f", os.O_RDWR | os.O_CREAT)
    pieces: list[int] = []
    assert direct.read_into("file", 7, 100, 10, fd, 3, pieces.append) == 10
    assert pieces == [10]
    assert os.pread(fd, 100, 3) == b"r" * 10
    with pytest.raises(CallFailed, match="10 of 11 bytes") as failed:
        direct.read_into("file", 7, 100, 11, fd, 3)
    os.close(fd)
    assert failed.value.info["error"] == "OrionServiceError"


@pytest.mark.parametrize("kind", ["dataset", "collection", "folder", "rubbish", "_"])
def test_kind_without_a_type_fails(calls: InProcess, kind: str) -> None:
    with pytest.raises(CallFailed, match="no type for") as failed:
        calls.get(kind, 1)
    assert failed.value.info["error"] == "ValidationError"


def test_any_exception_of_the_session_becomes_call_failed(calls: InProcess) -> None:
    with pytest.raises(CallFailed) as missing:
        calls.stat_path("/missing")
    assert isinstance(missing.value.__cause__, factories.NotFoundResponse)
    with pytest.raises(CallFailed) as bug:
        calls.stat_path("/bug")
    assert bug.value.info["error"] == "KeyError"
    with pytest.raises(CallFailed) as no_file:
        calls.upload("a", "/does/not/exist")
    assert (no_file.value.info["error"], no_file.value.info["errno"]) == ("FileNotFoundError", 2)
