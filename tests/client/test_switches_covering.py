"""The session itself on stacks of every kind: each pair of habits meets in some row."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from orionfs.client import OrionSession
from orionfs.client.errors import BadResponse, NotFoundResponse, ValidationError
from orionfs.client.types import File
from orionfs.orion.shapes import read_item, read_page, read_tags
from tests.client.conftest import Connect
from tests.client.embedded import running_server
from tests.covering import Row, covering_rows

T = TypeVar("T")
HOME = "/project/1/user/demo"
LIMIT_S = 20.0
# So many each time, of which rows from the other end are mounted each time; all of both with --long.
QUICK_ROWS = 3
PARAMETERS = [
    pytest.param(row, id=f"{number}", marks=[] if number < QUICK_ROWS else [pytest.mark.long])
    for number, row in enumerate(reversed(covering_rows()))
]


@pytest.mark.parametrize("row", PARAMETERS)
def test_session_works_on_a_stack_of_any_habits(connect: Connect, tmp_path: Path, row: Row) -> None:
    run_scenario(connect, tmp_path, row)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_session_works_where_any_three_habits_meet(connect: Connect, tmp_path: Path) -> None:
    for number, row in enumerate(covering_rows(3)):
        folder = tmp_path / str(number)
        folder.mkdir()
        run_scenario(connect, folder, row)


def run_scenario(connect: Connect, tmp_path: Path, row: Row) -> None:
    """Upload, look, move, tag, find and remove, with every habit as it is."""
    (tmp_path / "source").write_bytes(b"contents")
    options = [part for switch in row.items() for part in ("--set", "=".join(switch))]
    with running_server(tmp_path, *options) as server:
        session = connect(server.url, server.token)
        again(row, lambda: session.create_paths(f"{HOME}/d"))
        uploaded = File.upload(session, "up", str(tmp_path / "source"))
        literal = until(lambda: read_item(session.stat_path(f"{HOME}/up")).literal)
        again(row, lambda: session.assign_paths(assignment(row, literal, uploaded.id, f"{HOME}/d", "there")))
        look(session, uploaded, literal)
        tag(session, uploaded)
        download(session, uploaded, tmp_path / "target")
        remove(session, uploaded, row)


def look(session: OrionSession, uploaded: File, literal: str) -> None:
    """Every way of listing tells the file."""
    page = until(lambda: read_page(session.ls_path(f"{HOME}/d", {"limit": 10})), is_good=lambda p: p.rows)
    assert [(item.id, item.name, item.literal) for item in page.rows] == [(uploaded.id, "there", literal)]
    assert read_item(session.stat_path(f"{HOME}/d/there")).id == uploaded.id
    assert [item.id for item in read_page(session.get_paths(uploaded)).rows] == [uploaded.id]
    assert uploaded.id in [each.id for each in session.list_resources(File, filters={"name": "there"})]
    session.refresh_resource(uploaded)
    assert (uploaded.name, uploaded.path, uploaded.size) == ("there", f"{HOME}/d/there", 8)


def tag(session: OrionSession, uploaded: File) -> None:
    session.tag_resource(uploaded, "a b", "c")
    session.untag_resource(uploaded, "c", "never")
    assert read_tags(session.list_tags(uploaded)) == ("a b",)


def download(session: OrionSession, uploaded: File, target: Path) -> None:
    session.refresh_resource_until(uploaded, "state", "ready", timeout=int(LIMIT_S))
    uploaded.download_to_file(str(target))
    assert target.read_bytes() == b"contents"


def remove(session: OrionSession, uploaded: File, row: Row) -> None:
    """By id, then the folder by its path; what is gone is not found."""
    assert session.delete_resource(uploaded)
    again(row, lambda: session.remove_paths(f"{HOME}/d"))
    until(lambda: is_missing(session, f"{HOME}/d"))


def assignment(row: Row, literal: str, id: int | None, folder: str, name: str) -> dict[str, object]:
    path = folder if row["assign_path"] == "folder" else f"{folder}/{name}"
    return {"resource_type": literal, "id": id, "path": path, "name": name}


def again(row: Row, change: Callable[[], None]) -> None:
    """A busy stack refuses the first try."""
    if row["busy"] == "yes":
        with pytest.raises(BadResponse) as busy:
            change()
        assert getattr(busy.value.response, "status_code", None) == 409
    change()


def is_missing(session: OrionSession, path: str) -> bool:
    try:
        session.ls_path(path)
    except (NotFoundResponse, ValidationError):
        return True
    return False


def until(ask: Callable[[], T], is_good: Callable[[T], object] = bool) -> T:
    """What a stack whose replicas lag tells in the end."""
    ends_at = time.monotonic() + LIMIT_S
    while True:
        try:
            answer = ask()
            if is_good(answer) or time.monotonic() > ends_at:
                assert is_good(answer)
                return answer
        except NotFoundResponse:
            if time.monotonic() > ends_at:
                raise
        time.sleep(0.1)
