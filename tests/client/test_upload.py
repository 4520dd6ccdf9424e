"""`File.upload` against a server that fails on the way."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from orionfs.client import File, GrowingFile, OrionSession, errors, upload
from tests.client.fake import INFO, INFO_PATH, Fake, Reply, Seen

FILES = "/api/v3/storage/files"
SMALL = f"{FILES}/upload"
PART_BYTES = 1 << 20
CONTENTS = bytes(range(256)) * 4096 * 3 + b"the last part is short"
ROW = {"id": 7, "name": "a", "path": "/p/a", "size": len(CONTENTS), "state": "ready"}


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "_RETRY_WAIT_S", 0.0)


@pytest.fixture
def large(tmp_path: Path) -> Path:
    found = tmp_path / "large"
    found.write_bytes(CONTENTS)
    return found


@pytest.fixture
def parts(fake: Fake) -> dict[int, bytes]:
    """Routes of a multi-part upload that works; what arrived, by number."""
    arrived: dict[int, bytes] = {}

    def part(number: int) -> Any:
        def put(seen: Seen) -> Reply:
            arrived[number] = seen.body
            return Reply(204)

        return put

    urls = [{"number": n, "url": f"/blobs/upload/7/{n}?signature=s"} for n in range(1, 5)]
    created = {**ROW, "state": "created", "upload": {"part_bytes": PART_BYTES, "parts": urls}}
    fake.on("POST", FILES, Reply(201, json=created))
    for number in range(1, 5):
        fake.on("PUT", f"/blobs/upload/7/{number}", part(number))
    fake.on("POST", f"{FILES}/7/complete", Reply(200, json=ROW))
    fake.on("DELETE", f"{FILES}/7", Reply(204))
    return arrived


def threads_of_uploads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("orion-part")]


@pytest.mark.parametrize("size", [0, 1, PART_BYTES])
def test_file_that_fits_into_a_part_goes_in_one_request(
    fake: Fake, session: OrionSession, tmp_path: Path, size: int
) -> None:
    fake.on("POST", SMALL, Reply(201, json={**ROW, "size": size}))
    (tmp_path / "f").write_bytes(b"x" * size)
    made = File.upload(session, "new name/%2F", tmp_path / "f", project=3, folder_path="/p/q r")
    assert (made.id, made.size, made.state, made.session) == (7, size, "ready", session)
    check, request = fake.requests
    assert check.path == INFO_PATH
    assert request.query == {"name": ["new name/%2F"], "project": ["3"], "folder_path": ["/p/q r"]}
    assert request.body == b"x" * size
    assert request.headers["content-length"] == str(size)
    assert "transfer-encoding" not in request.headers


def test_larger_file_goes_in_parts_without_the_token(
    fake: Fake, session: OrionSession, large: Path, parts: dict[int, bytes]
) -> None:
    made = File.upload(session, "a", large, folder_path="/p")
    assert made.state == "ready"
    assert b"".join(parts[number] for number in sorted(parts)) == CONTENTS
    assert fake.seen(FILES)[0].json == {"name": "a", "size": len(CONTENTS), "folder_path": "/p"}
    assert fake.seen(f"{FILES}/7/complete")[0].json == {"parts": 4}
    puts = [each for each in fake.requests if each.method == "PUT"]
    assert len(puts) == 4
    assert all("authorization" not in each.headers for each in puts)
    assert threads_of_uploads() == []


@pytest.mark.parametrize(
    "fault", [Reply(503), Reply(429, headers={"Retry-After": "0"}), Reply(is_reset=True)]
)
def test_part_that_fails_twice_is_sent_a_third_time(
    fake: Fake, session: OrionSession, large: Path, parts: dict[int, bytes], fault: Reply
) -> None:
    fake.on("PUT", "/blobs/upload/7/2", fault, fault, Reply(204))
    assert File.upload(session, "a", large).state == "ready"
    bodies = [each.body for each in fake.seen("/blobs/upload/7/2")]
    assert bodies == [CONTENTS[PART_BYTES : 2 * PART_BYTES]] * 3


def test_part_that_goes_on_failing_ends_the_upload_and_leaves_nothing(
    fake: Fake, session: OrionSession, large: Path, parts: dict[int, bytes]
) -> None:
    fake.on("PUT", "/blobs/upload/7/2", Reply(503, json={"detail": "no more"}))
    with pytest.raises(errors.OrionServiceError, match="no more"):
        File.upload(session, "a", large)
    assert len(fake.seen("/blobs/upload/7/2")) == 3
    assert fake.seen(f"{FILES}/7/complete") == []
    assert [each.query for each in fake.seen(f"{FILES}/7", "DELETE")] == [{"immediate": ["true"]}]
    assert threads_of_uploads() == []


def test_part_that_is_refused_is_not_tried_again(
    fake: Fake, session: OrionSession, large: Path, parts: dict[int, bytes]
) -> None:
    fake.on("PUT", "/blobs/upload/7/3", Reply(413, json={"detail": "too much"}))
    with pytest.raises(errors.BadResponse, match="too much"):
        File.upload(session, "a", large)
    assert len(fake.seen("/blobs/upload/7/3")) == 1


def test_expired_address_of_a_part_is_renewed(
    fake: Fake, session: OrionSession, large: Path, parts: dict[int, bytes]
) -> None:
    fake.on("PUT", "/blobs/upload/7/4", Reply(403))
    new = {"parts": [{"number": 4, "url": f"{fake.url}/blobs/new/4?signature=t"}]}
    fake.on("POST", f"{FILES}/7/parts", Reply(200, json=new))
    fake.on("PUT", "/blobs/new/4", Reply(204))
    assert File.upload(session, "a", large).state == "ready"
    assert fake.seen(f"{FILES}/7/parts")[0].json == {"numbers": [4]}
    assert fake.seen("/blobs/new/4")[0].body == CONTENTS[3 * PART_BYTES :]


@pytest.mark.parametrize(
    "answer", [{"parts": []}, {"parts": [{"number": 1, "url": "/x"}]}, {}, {"parts": [{"number": 4}]}]
)
def test_renewal_without_the_part_is_a_bad_response(
    fake: Fake, session: OrionSession, large: Path, parts: dict[int, bytes], answer: Any
) -> None:
    fake.on("PUT", "/blobs/upload/7/4", Reply(403))
    fake.on("POST", f"{FILES}/7/parts", Reply(200, json=answer))
    with pytest.raises(errors.BadResponse):
        File.upload(session, "a", large)


@pytest.mark.parametrize("state", ["ready", "processing"])
@pytest.mark.parametrize("fault", [Reply(is_reset=True), Reply(504)])
def test_lost_answer_to_complete_is_looked_up(
    fake: Fake, session: OrionSession, large: Path, parts: dict[int, bytes], fault: Reply, state: str
) -> None:
    """A stack may need a while until a completed file can be read: it is completed all the same."""
    fake.on("POST", f"{FILES}/7/complete", fault)
    fake.on("GET", f"{FILES}/7", Reply(200, json={**ROW, "state": state}))
    assert File.upload(session, "a", large).state == state
    assert len(fake.seen(f"{FILES}/7/complete")) == 1
    assert fake.seen(f"{FILES}/7", "DELETE") == []


def test_complete_that_did_not_happen_is_asked_for_again(
    fake: Fake, session: OrionSession, large: Path, parts: dict[int, bytes]
) -> None:
    fake.on("POST", f"{FILES}/7/complete", Reply(503), Reply(200, json=ROW))
    fake.on("GET", f"{FILES}/7", Reply(200, json={**ROW, "state": "uploading"}))
    assert File.upload(session, "a", large).state == "ready"
    assert len(fake.seen(f"{FILES}/7/complete")) == 2


def test_complete_that_goes_on_failing_is_an_error(
    fake: Fake, session: OrionSession, large: Path, parts: dict[int, bytes]
) -> None:
    fake.on("POST", f"{FILES}/7/complete", Reply(503))
    fake.on("GET", f"{FILES}/7", Reply(503))
    with pytest.raises(errors.OrionServiceError):
        File.upload(session, "a", large)
    assert len(fake.seen(f"{FILES}/7/complete")) == 3


@pytest.mark.parametrize(
    "plan",
    [
        None,
        {},
        {"part_bytes": PART_BYTES},
        {"part_bytes": PART_BYTES, "parts": []},
        {"part_bytes": 0, "parts": [{"number": 1, "url": "/x"}]},
        {"part_bytes": PART_BYTES, "parts": [{"number": 1, "url": "/x"}]},
        {"part_bytes": PART_BYTES, "parts": [{"number": n, "url": "/x"} for n in (1, 2, 3, 5)]},
        {"part_bytes": "much", "parts": [{"number": n, "url": "/x"} for n in (1, 2, 3, 4)]},
    ],
)
def test_plan_that_does_not_add_up_is_a_bad_response(
    fake: Fake, session: OrionSession, large: Path, parts: dict[int, bytes], plan: Any
) -> None:
    fake.on("POST", FILES, Reply(201, json={**ROW, "upload": plan}))
    with pytest.raises(errors.BadResponse):
        File.upload(session, "a", large)
    assert [each.method for each in fake.requests if each.method in ("PUT", "DELETE")] == ["DELETE"]


def test_small_file_that_becomes_shorter_is_an_error(
    fake: Fake, session: OrionSession, tmp_path: Path
) -> None:
    source = tmp_path / "f"
    source.write_bytes(b"x" * 1000)

    def cut_and_tell(_seen: Seen) -> Reply:
        os.truncate(source, 10)
        return Reply(json=INFO)

    fake.on("GET", INFO_PATH, cut_and_tell)
    with pytest.raises(errors.ValidationError, match="became shorter"):
        File.upload(session, "a", source)


def test_large_file_that_becomes_shorter_is_an_error_and_leaves_nothing(
    fake: Fake, session: OrionSession, large: Path, parts: dict[int, bytes]
) -> None:
    created = fake._answers["POST", FILES][0]
    assert isinstance(created, Reply)

    def cut_and_create(_seen: Seen) -> Reply:
        os.truncate(large, PART_BYTES + 5)
        return created

    fake.on("POST", FILES, cut_and_create)
    with pytest.raises(errors.ValidationError, match="became shorter"):
        File.upload(session, "a", large)
    assert len(fake.seen(f"{FILES}/7", "DELETE")) == 1
    assert threads_of_uploads() == []


def test_file_that_grows_is_sent_as_long_as_it_was(fake: Fake, session: OrionSession, tmp_path: Path) -> None:
    source = tmp_path / "f"
    source.write_bytes(b"x" * 1000)

    def grow_and_tell(_seen: Seen) -> Reply:
        with source.open("ab") as stream:
            stream.write(b"y" * 1000)
        return Reply(json=INFO)

    fake.on("GET", INFO_PATH, grow_and_tell)
    fake.on("POST", SMALL, Reply(201, json=ROW))
    File.upload(session, "a", source)
    assert fake.seen(SMALL)[0].body == b"x" * 1000


def test_local_file_that_is_missing_or_no_file_is_an_os_error_without_a_request(
    fake: Fake, session: OrionSession, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileNotFoundError):
        File.upload(session, "a", tmp_path / "missing")
    with pytest.raises(IsADirectoryError):
        File.upload(session, "a", tmp_path)
    with pytest.raises(OSError, match="regular file"):
        File.upload(session, "a", tmp_path / "pipe")
    assert fake.requests == []


def test_local_disk_that_fails_is_an_os_error_and_not_the_network_s(
    fake: Fake, session: OrionSession, large: Path, parts: dict[int, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: Any) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "pread", fail)
    with pytest.raises(OSError, match="Input/output") as raised:
        File.upload(session, "a", large)
    assert not isinstance(raised.value, errors.OrionError)


@pytest.mark.parametrize(
    ("status", "kind"), [(403, errors.AuthorizationRequired), (503, errors.OrionServiceError)]
)
def test_small_upload_that_is_refused_is_not_sent_again(
    fake: Fake, session: OrionSession, tmp_path: Path, status: int, kind: type[errors.OrionError]
) -> None:
    fake.on("POST", SMALL, Reply(status))
    (tmp_path / "f").write_bytes(b"x")
    with pytest.raises(kind):
        File.upload(session, "a", tmp_path / "f")
    assert len(fake.seen(SMALL)) == 1


@pytest.mark.parametrize(
    "answer", [Reply(201, body=b"ok"), Reply(201, json=[]), Reply(201, json={"id": "x"})]
)
def test_garbage_after_an_upload_is_a_bad_response(
    fake: Fake, session: OrionSession, tmp_path: Path, answer: Reply
) -> None:
    fake.on("POST", SMALL, answer)
    (tmp_path / "f").write_bytes(b"x")
    with pytest.raises(errors.BadResponse):
        File.upload(session, "a", tmp_path / "f")


def test_create_resource_with_a_file_uploads_it(fake: Fake, session: OrionSession, tmp_path: Path) -> None:
    fake.on("POST", SMALL, Reply(201, json=ROW))
    (tmp_path / "f").write_bytes(b"x")
    made = session.create_resource(File, {"name": "a", "folder_path": "/p"}, files={"file": tmp_path / "f"})
    assert made.id == 7
    assert fake.seen(SMALL)[0].body == b"x"


# -- a file that is sent while it is written -----------------------------------------------------------


@pytest.fixture
def growing(fake: Fake, session: OrionSession, parts: dict[int, bytes]) -> GrowingFile:
    """A file that was begun at a server which tells two addresses at first."""
    limits = {"page_max": 1000, "part_bytes": PART_BYTES, "open_ended": True}
    fake.on("GET", INFO_PATH, Reply(json={**INFO, "limits": limits}))
    urls = [{"number": n, "url": f"/blobs/upload/7/{n}?signature=s"} for n in (1, 2)]
    created = {**ROW, "state": "created", "upload": {"part_bytes": PART_BYTES, "parts": urls}}
    del created["size"]
    fake.on("POST", FILES, Reply(201, json=created))
    return File.begin(session, "a", folder_path="/p")


def test_growing_file_is_sent_part_by_part_and_tells_its_size_at_the_end(
    fake: Fake, growing: GrowingFile, large: Path, parts: dict[int, bytes]
) -> None:
    more = [{"number": n, "url": f"/blobs/upload/7/{n}?signature=t"} for n in range(3, 70)]
    fake.on("POST", f"{FILES}/7/parts", Reply(json={"parts": more}))
    last = len(CONTENTS) - 3 * PART_BYTES
    for number, length in ((2, PART_BYTES), (3, PART_BYTES), (4, last), (1, PART_BYTES)):
        growing.send(number, large, length)
    made = growing.finish(len(CONTENTS))
    assert (growing.id, growing.part_bytes, made.id, made.state) == (7, PART_BYTES, 7, "ready")
    assert b"".join(parts[number] for number in sorted(parts)) == CONTENTS
    assert fake.seen(FILES)[0].json == {"name": "a", "open_ended": True, "folder_path": "/p"}
    (renewed,) = fake.seen(f"{FILES}/7/parts")
    assert renewed.json["numbers"][0] == 3
    assert fake.seen(f"{FILES}/7/complete")[0].json == {"parts": 4, "size": len(CONTENTS)}
    puts = [each for each in fake.requests if each.method == "PUT"]
    assert len(puts) == 4
    assert all("authorization" not in each.headers for each in puts)


def test_server_that_wants_the_size_first_is_not_asked_to_begin(fake: Fake, session: OrionSession) -> None:
    with pytest.raises(errors.ValidationError, match="told first"):
        File.begin(session, "a")
    assert [each.path for each in fake.requests] == [INFO_PATH]


def test_part_of_a_growing_file_is_tried_again_at_a_new_address(
    fake: Fake, growing: GrowingFile, large: Path, parts: dict[int, bytes]
) -> None:
    fake.on("PUT", "/blobs/upload/7/2", Reply(503), Reply(403))
    new = {"parts": [{"number": 2, "url": f"{fake.url}/blobs/new/2?signature=t"}]}
    fake.on("POST", f"{FILES}/7/parts", Reply(200, json=new))
    fake.on("PUT", "/blobs/new/2", Reply(204))
    growing.send(2, large, PART_BYTES)
    assert fake.seen(f"{FILES}/7/parts")[0].json == {"numbers": [2]}
    assert fake.seen("/blobs/new/2")[0].body == CONTENTS[PART_BYTES : 2 * PART_BYTES]


def test_growing_file_goes_on_in_another_session(
    fake: Fake, session: OrionSession, large: Path, parts: dict[int, bytes]
) -> None:
    told = [{"number": n, "url": f"/blobs/upload/7/{n}?signature=t"} for n in range(1, 65)]
    fake.on("POST", f"{FILES}/7/parts", Reply(json={"parts": told}))
    again = GrowingFile(session, 7, PART_BYTES)
    again.send(1, large, PART_BYTES)
    again.send(2, large, PART_BYTES)
    assert parts == {1: CONTENTS[:PART_BYTES], 2: CONTENTS[PART_BYTES : 2 * PART_BYTES]}
    assert len(fake.seen(f"{FILES}/7/parts")) == 1


@pytest.mark.parametrize("length", [0, PART_BYTES + 1])
def test_part_of_a_growing_file_has_its_length(growing: GrowingFile, large: Path, length: int) -> None:
    with pytest.raises(errors.ValidationError, match="a part has 1 to"):
        growing.send(1, large, length)


def test_growing_file_that_is_shorter_than_its_part_is_an_error(
    fake: Fake, growing: GrowingFile, tmp_path: Path
) -> None:
    (tmp_path / "short").write_bytes(b"x" * (PART_BYTES - 1))
    with pytest.raises(errors.ValidationError, match="became shorter"):
        growing.send(1, tmp_path / "short", PART_BYTES)


def test_lost_answer_to_the_end_of_a_growing_file_is_looked_up(
    fake: Fake, growing: GrowingFile, parts: dict[int, bytes]
) -> None:
    fake.on("POST", f"{FILES}/7/complete", Reply(is_reset=True))
    fake.on("GET", f"{FILES}/7", Reply(200, json=ROW))
    assert growing.finish(len(CONTENTS)).size == len(CONTENTS)
    assert len(fake.seen(f"{FILES}/7/complete")) == 1
