"""`File.download_to_file` and `File.read_into`, against a blob host that fails on the way."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orionfs.client import File, OrionSession, errors
from tests.client.fake import Fake, Reply, Seen

CONTENTS = os.urandom(3 * (1 << 20) + 17)
ASK = "/api/v3/storage/files/7/download"
BLOB = "/blob"


def ranged(seen: Seen) -> Reply:
    """What a good host of contents answers."""
    found = re.fullmatch(r"bytes=(\d+)-(\d+)", seen.headers.get("range", ""))
    if found is None:
        return Reply(200, body=CONTENTS)
    first, last = int(found[1]), min(int(found[2]), len(CONTENTS) - 1)
    if first >= len(CONTENTS):
        return Reply(416, headers={"Content-Range": f"bytes */{len(CONTENTS)}"})
    told = f"bytes {first}-{last}/{len(CONTENTS)}"
    return Reply(206, body=CONTENTS[first : last + 1], headers={"Content-Range": told})


@pytest.fixture
def file(fake: Fake, session: OrionSession) -> File:
    """A File whose contents are there."""
    fake.on("GET", ASK, Reply(302, headers={"Location": f"{BLOB}?expires=99999999999&signature=secret"}))
    fake.on("GET", BLOB, ranged)
    return File(id=7, session=session)


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    found = os.open(tmp_path / "into", os.O_RDWR | os.O_CREAT)
    yield found
    os.close(found)


def leftovers(folder: Path) -> list[str]:
    return [each.name for each in folder.iterdir() if each.name.startswith(".orionfs-")]


def test_download_writes_the_whole_file(fake: Fake, file: File, tmp_path: Path) -> None:
    file.download_to_file(str(tmp_path / "got"))
    assert (tmp_path / "got").read_bytes() == CONTENTS
    assert leftovers(tmp_path) == []
    assert len(fake.seen(BLOB)) == 1


def test_empty_file_is_downloaded(fake: Fake, file: File, tmp_path: Path) -> None:
    fake.on("GET", BLOB, Reply(200))
    file.download_to_file(tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == b""


def test_download_that_breaks_off_goes_on_where_it_was(fake: Fake, file: File, tmp_path: Path) -> None:
    fake.on("GET", BLOB, Reply(200, body=CONTENTS, cut_after=2 << 20), ranged)
    file.download_to_file(tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == CONTENTS
    asked = fake.seen(BLOB)[1].headers["range"]
    assert re.fullmatch(rf"bytes=\d+-{len(CONTENTS) - 1}", asked)
    assert asked != f"bytes=0-{len(CONTENTS) - 1}"


def test_download_that_goes_on_breaking_off_leaves_the_old_file(
    fake: Fake, file: File, tmp_path: Path
) -> None:
    (tmp_path / "got").write_bytes(b"old")
    fake.on("GET", BLOB, Reply(200, body=CONTENTS, cut_after=100), Reply(206, body=b"", headers={}))
    with pytest.raises(errors.OrionServiceError):
        file.download_to_file(tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == b"old"
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("answer", [Reply(204), Reply(206, body=b"x"), Reply(304), Reply(200, body=b"short")])
def test_anything_but_the_whole_file_is_a_service_error(
    fake: Fake, file: File, tmp_path: Path, answer: Reply
) -> None:
    file.size = len(CONTENTS)
    fake.on("GET", BLOB, answer)
    with pytest.raises(errors.OrionServiceError):
        file.download_to_file(tmp_path / "got")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("location", ["http://[::1", "ftp://host/x?signature=secret", "http://a:b/"])
def test_contents_at_an_address_that_is_none_are_a_connection_error(
    fake: Fake, file: File, tmp_path: Path, location: str
) -> None:
    fake.on("GET", ASK, Reply(302, headers={"Location": location}))
    with pytest.raises(errors.OrionConnectionError) as raised:
        file.download_to_file(tmp_path / "got")
    assert "secret" not in str(raised.value)


def test_download_into_a_missing_folder_asks_nothing(fake: Fake, file: File, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        file.download_to_file(tmp_path / "missing" / "got")
    assert fake.requests == []


def test_download_through_a_link_replaces_what_it_points_to(file: File, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "real")
    file.download_to_file(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == CONTENTS


def test_download_to_a_device_leaves_the_device(file: File) -> None:
    file.download_to_file("/dev/null")
    assert Path("/dev/null").is_char_device()


def test_disk_without_room_is_told_before_anything_is_written(
    file: File, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        f_bavail, f_frsize = 1, 4096

    monkeypatch.setattr(os, "fstatvfs", lambda _fd: Full)
    with pytest.raises(errors.NotEnoughDiskError):
        file.download_to_file(tmp_path / "got")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_disk_that_fills_up_is_not_enough_disk(
    file: File, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def full(*_args: Any) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(errors.NotEnoughDiskError):
        file.download_to_file(tmp_path / "got")
    assert list(tmp_path.iterdir()) == []


def test_new_file_has_the_mode_that_open_would_give_it(file: File, tmp_path: Path) -> None:
    file.download_to_file(tmp_path / "got")
    (tmp_path / "plain").write_bytes(b"")
    assert (tmp_path / "got").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (404, errors.NotFoundResponse),
        (409, errors.BadResponse),
        (401, errors.InvalidCredentials),
        (503, errors.OrionServiceError),
        (200, errors.BadResponse),
    ],
)
def test_file_without_contents_to_fetch_is_the_documented_exception(
    fake: Fake, file: File, tmp_path: Path, status: int, kind: type[errors.OrionError]
) -> None:
    fake.on("GET", ASK, Reply(status))
    with pytest.raises(kind):
        file.download_to_file(tmp_path / "got")
    assert leftovers(tmp_path) == []


def test_range_lands_at_its_place_in_the_descriptor(fake: Fake, file: File, fd: int) -> None:
    length = (2 << 20) + 3
    assert file.read_into(fd, 11, 1000, length) == length
    assert os.pread(fd, length + 100, 11) == CONTENTS[1000 : 1000 + length]
    assert fake.seen(BLOB)[0].headers["range"] == f"bytes=1000-{1000 + length - 1}"
    assert fake.seen(BLOB)[0].headers["accept-encoding"] == "identity"


def test_range_of_no_bytes_asks_nothing(fake: Fake, file: File, fd: int) -> None:
    assert file.read_into(fd, 0, 5, 0) == 0
    assert fake.requests == []


def test_address_is_asked_for_once_and_the_connection_kept(fake: Fake, file: File, fd: int) -> None:
    for turn in range(10):
        file.read_into(fd, 0, turn * 1000, 1000)
    assert len(fake.seen(ASK)) == 1
    assert fake.connections == 1


def test_address_serves_another_object_of_the_same_id(
    fake: Fake, file: File, session: OrionSession, fd: int
) -> None:
    file.read_into(fd, 0, 0, 10)
    File(id=7, session=session).read_into(fd, 0, 0, 10)
    assert len(fake.seen(ASK)) == 1


def test_every_piece_that_was_written_is_told(file: File, fd: int) -> None:
    told: list[int] = []

    def progress(count: int) -> None:
        told.append(count)
        written = sum(told)
        assert os.pread(fd, len(CONTENTS), 0) == CONTENTS[:written]

    file.read_into(fd, 0, 0, len(CONTENTS), progress)
    assert len(told) > 1
    assert sum(told) == len(CONTENTS)


def test_that_there_are_contents_is_told_once_the_server_was_asked_for_them(file: File, fd: int) -> None:
    told: list[int] = []
    file.read_into(fd, 0, 0, 10, told.append)
    assert told == [0, 10]
    file.read_into(fd, 0, 0, 10, told.append)  # the address is known, what became of the contents is not
    assert told == [0, 10, 10]


def test_who_needs_an_address_no_more_ends_nobody_else_s_question(file: File, fd: int) -> None:
    def enough(_count: int) -> None:
        raise RuntimeError("nobody waits")

    with pytest.raises(RuntimeError):
        file.read_into(fd, 0, 0, 10, enough)
    assert file.read_into(fd, 0, 0, 10) == 10


def test_reader_that_wants_no_more_ends_its_call_and_the_next_one_works(
    fake: Fake, file: File, fd: int
) -> None:
    def enough(count: int) -> None:
        if count:
            raise KeyError("enough")

    with pytest.raises(KeyError):
        file.read_into(fd, 0, 0, len(CONTENTS), enough)
    assert file.read_into(fd, 0, 0, 10) == 10
    assert fake.connections == 2, "what was left of the body is not read as the next answer"


def test_large_ranges_keep_their_connection(fake: Fake, file: File, fd: int) -> None:
    for _ in range(3):
        file.read_into(fd, 0, 0, len(CONTENTS))
    assert fake.connections == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_address_that_is_refused_is_renewed_once_without_an_error(
    fake: Fake, file: File, fd: int, status: int
) -> None:
    file.read_into(fd, 0, 0, 10)
    fake.on("GET", BLOB, Reply(status), ranged)
    assert file.read_into(fd, 0, 0, 10) == 10
    assert len(fake.seen(ASK)) == 2
    fake.on("GET", BLOB, Reply(403, json={"detail": "signature"}))
    with pytest.raises(errors.AuthorizationRequired) as raised:
        file.read_into(fd, 0, 0, 10)
    assert "secret" not in str(raised.value)


def test_address_that_has_expired_is_not_used(fake: Fake, file: File, fd: int) -> None:
    fake.on("GET", ASK, Reply(302, headers={"Location": f"{BLOB}?expires=1000"}))
    file.read_into(fd, 0, 0, 10)
    file.read_into(fd, 0, 0, 10)
    assert len(fake.seen(ASK)) == 2


def test_range_behind_the_end_is_a_validation_error(file: File, fd: int) -> None:
    with pytest.raises(errors.ValidationError) as raised:
        file.read_into(fd, 0, len(CONTENTS), 10)
    assert raised.value.response is not None


def test_range_across_the_end_is_a_service_error(file: File, fd: int) -> None:
    with pytest.raises(errors.OrionServiceError):
        file.read_into(fd, 0, len(CONTENTS) - 5, 10)
    assert os.fstat(fd).st_size == 0


GOOD = {"Content-Range": f"bytes 0-9/{len(CONTENTS)}"}


@pytest.mark.parametrize(
    "answer",
    [
        Reply(200, body=CONTENTS[:10]),
        Reply(206, body=CONTENTS[:10]),
        Reply(206, body=CONTENTS[:10], headers={"Content-Range": "bytes 1-10/100"}),
        Reply(206, body=CONTENTS[:10], headers={"Content-Range": "some bytes"}),
        Reply(206, body=CONTENTS[:9], headers=GOOD),
        Reply(206, body=CONTENTS[:10], headers={**GOOD, "Content-Length": None}, cut_after=10),
        Reply(206, body=CONTENTS[:10], headers={**GOOD, "Content-Encoding": "gzip"}),
        Reply(206, body=CONTENTS[:10], headers=GOOD, cut_after=5),
        Reply(206, body=CONTENTS[:10], headers=GOOD, cut_after=0),
        Reply(500),
    ],
)
def test_anything_but_the_bytes_that_were_asked_for_is_a_service_error(
    fake: Fake, file: File, fd: int, answer: Reply
) -> None:
    fake.on("GET", BLOB, answer)
    with pytest.raises(errors.OrionServiceError):
        file.read_into(fd, 0, 0, 10)


def test_reset_before_the_contents_is_a_connection_error(fake: Fake, file: File, fd: int) -> None:
    fake.on("GET", BLOB, Reply(is_reset=True))
    with pytest.raises(errors.OrionConnectionError):
        file.read_into(fd, 0, 0, 10)


def test_contents_that_redirect_for_ever_are_a_bad_response(fake: Fake, file: File, fd: int) -> None:
    fake.on("GET", BLOB, Reply(302, headers={"Location": BLOB}))
    with pytest.raises(errors.BadResponse, match="too many redirects"):
        file.read_into(fd, 0, 0, 10)


def test_descriptor_that_can_t_be_written_is_an_os_error(file: File, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"")
    reading = os.open(tmp_path / "f", os.O_RDONLY)
    with pytest.raises(OSError, match="Bad file descriptor") as raised:
        file.read_into(reading, 0, 0, 10)
    os.close(reading)
    assert not isinstance(raised.value, errors.OrionError)
