"""Datasets against a server that fails on the way: written in batches, read in whole or in part."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orionfs.client import Dataset, OrionSession, datasets, errors, upload
from tests.client.fake import Fake, Reply, Seen, running_fake

BASE = "/api/v1/storage/datasets"
RECORDS = f"{BASE}/7/records"
ROW: dict[str, Any] = {
    "resource_type": "dataset",
    "id": 7,
    "name": "d",
    "path": "/p/d",
    "count": 0,
    "dirty": True,
    "state": "open",
    "deleted": None,
    "systemtags": ["Job 12"],
    "tags": ["lead"],
}


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "_RETRY_WAIT_S", 0.0)


class Records:
    """A dataset that counts what arrives; `faults` come before or after a batch was taken."""

    def __init__(self, fake: Fake) -> None:
        self.arrived: list[Any] = []
        self.before: list[Reply] = []
        self.after: list[Reply] = []
        fake.on("POST", RECORDS, self.take)
        fake.on("GET", f"{BASE}/7", lambda _seen: Reply(json=self.row()))
        fake.on("POST", f"{BASE}/7/finalize", lambda _seen: Reply(json={**self.row(), "dirty": False}))

    def row(self) -> dict[str, Any]:
        return {**ROW, "count": len(self.arrived)}

    def take(self, seen: Seen) -> Reply:
        if self.before:
            return self.before.pop(0)
        self.arrived += [json.loads(line) for line in seen.body.splitlines()]
        return self.after.pop(0) if self.after else Reply(json=self.row())


@pytest.fixture
def records(fake: Fake) -> Records:
    return Records(fake)


def test_constructor_has_the_documented_arguments_and_defaults() -> None:
    made = Dataset("/p/d", 7, "d", "why", True, "2026", 3, 1, 2, ["Job 1"], "")
    assert (made.path, made.id, made.count, made.owner, made.project) == ("/p/d", 7, 3, 1, 2)
    empty = Dataset()
    assert (empty.deleted, empty.written, empty.buffer, empty.session) == ("", 0, None, None)
    assert (empty.buffer_count, empty.systemtags, empty.dirty) == (0, [], False)


def test_create_puts_an_empty_dataset_into_a_folder(fake: Fake, session: OrionSession) -> None:
    fake.on("POST", BASE, Reply(201, json=ROW))
    made = Dataset.create(session, "d", project=3, folder_path="/p")
    assert (made.id, made.dirty, made.deleted, made.systemtags) == (7, True, "", ["Job 12"])
    assert fake.seen(BASE)[0].json == {"name": "d", "project": 3, "folder_path": "/p"}


def test_upload_names_the_local_file_so_that_its_ending_is_known(
    fake: Fake, session: OrionSession, tmp_path: Path
) -> None:
    fake.on("POST", f"{BASE}/upload", Reply(201, json={**ROW, "count": 2, "dirty": False}))
    (tmp_path / "mine.smi").write_bytes(b"C methane\nCC ethane\n")
    made = Dataset.upload(session, "two", tmp_path / "mine.smi", folder_path="/p")
    assert (made.count, made.dirty) == (2, False)
    (request,) = fake.seen(f"{BASE}/upload")
    assert request.query == {"name": ["two"], "filename": ["mine.smi"], "folder_path": ["/p"]}
    assert request.body == b"C methane\nCC ethane\n"


def test_create_resource_with_a_file_uploads_a_dataset(
    fake: Fake, session: OrionSession, tmp_path: Path
) -> None:
    fake.on("POST", f"{BASE}/upload", Reply(201, json=ROW))
    (tmp_path / "mine.csv").write_bytes(b"a,b\n1,2\n")
    made = session.create_resource(Dataset, {"name": "d"}, files={"file": tmp_path / "mine.csv"})
    assert made.id == 7


def test_records_are_buffered_and_sent_in_batches(
    fake: Fake, session: OrionSession, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets, "BATCH_RECORDS", 3)
    dataset = Dataset(id=7, session=session)
    for number in range(8):
        dataset.write({"n": number, "text": "ü"})
        assert dataset.buffer_count == (number + 1) % 3
    assert (dataset.written, dataset.count, len(fake.seen(RECORDS))) == (6, 6, 2)
    dataset.finalize()
    assert (dataset.written, dataset.buffer, dataset.buffer_count, dataset.dirty) == (8, None, 0, False)
    assert records.arrived == [{"n": number, "text": "ü"} for number in range(8)]
    assert all(each.query == {"format": ["json"]} for each in fake.seen(RECORDS))


def test_large_records_are_sent_before_they_fill_the_memory(
    fake: Fake, session: OrionSession, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets, "BATCH_BYTES", 1000)
    dataset = Dataset(id=7, session=session)
    for _ in range(4):
        dataset.write({"x": "y" * 600})
    assert (dataset.written, dataset.buffer_count) == (4, 0)


@pytest.mark.parametrize("fault", [Reply(is_reset=True), Reply(504), Reply(503)])
def test_batch_whose_answer_is_lost_is_not_sent_twice(
    session: OrionSession, records: Records, fault: Reply
) -> None:
    records.after = [fault]
    dataset = Dataset(id=7, session=session)
    dataset.write({"n": 1})
    dataset.finalize()
    assert records.arrived == [{"n": 1}]
    assert dataset.written == 1


@pytest.mark.parametrize(
    "fault", [Reply(is_reset=True), Reply(503), Reply(429, headers={"Retry-After": "0"})]
)
def test_batch_that_did_not_arrive_is_sent_again(
    session: OrionSession, records: Records, fault: Reply
) -> None:
    records.before = [fault, fault]
    dataset = Dataset(id=7, session=session)
    dataset.write({"n": 1})
    dataset.finalize()
    assert records.arrived == [{"n": 1}]


def test_batch_is_never_repeated_by_the_requests_session(fake: Fake, connect: Any, records: Records) -> None:
    from orionfs.client import get_session

    patient = connect(fake.url, requests_session=get_session({504: 5}, backoff_dict={504: (0, 0)}))
    records.after = [Reply(504)]
    dataset = Dataset(id=7, session=patient)
    dataset.write({"n": 1})
    dataset.finalize()
    assert records.arrived == [{"n": 1}]


def test_what_could_not_be_sent_stays_in_the_buffer(session: OrionSession, records: Records) -> None:
    records.before = [Reply(503, json={"detail": "later"})] * 3
    dataset = Dataset(id=7, session=session)
    dataset.write({"n": 1})
    with pytest.raises(errors.OrionServiceError, match="later"):
        dataset.finalize()
    assert (dataset.buffer_count, dataset.written) == (1, 0)
    dataset.finalize()
    assert records.arrived == [{"n": 1}]


def test_write_to_a_finalized_dataset_is_a_bad_response(session: OrionSession, records: Records) -> None:
    records.before = [Reply(409, json={"detail": "finalized", "code": "finalized"})]
    dataset = Dataset(id=7, session=session)
    dataset.write({"n": 1})
    with pytest.raises(errors.BadResponse, match="finalized"):
        dataset.finalize()


def test_download_asks_for_the_records_that_are_wanted(fake: Fake, session: OrionSession) -> None:
    fake.on("GET", f"{BASE}/7/download", Reply(body=b"contents"))
    dataset = Dataset(id=7, session=session)
    assert dataset.download() == b"contents"
    assert dataset.download([1, 2**60], 3, 4, "csv", ["a", "b"]) == b"contents"
    first, second = fake.seen(f"{BASE}/7/download")
    assert first.query == {"format": ["binary"]}
    assert second.query == {
        "format": ["csv"],
        "offset": ["3"],
        "limit": ["4"],
        "record_ids": [f"1,{2**60}"],
        "fieldlist": ["a,b"],
    }
    assert second.headers["accept-encoding"] == "identity"


def test_download_of_too_many_records_is_said_by_its_own_exception(fake: Fake, session: OrionSession) -> None:
    answer = {"detail": "at most 5 records", "code": "dimensions_too_large"}
    fake.on("GET", f"{BASE}/7/download", Reply(413, json=answer))
    with pytest.raises(errors.DatasetDimensionsTooLargeError, match="at most 5 records"):
        Dataset(id=7, session=session).download()


def test_download_that_breaks_off_begins_again(fake: Fake, session: OrionSession, tmp_path: Path) -> None:
    contents = bytes(range(256)) * 10_000
    fake.on("GET", f"{BASE}/7/download", Reply(body=contents, cut_after=1_500_000), Reply(body=contents))
    Dataset(id=7, session=session).download_to_file(tmp_path / "got", format="sdf")
    assert (tmp_path / "got").read_bytes() == contents
    assert [each.query for each in fake.seen(f"{BASE}/7/download")] == [{"format": ["sdf"]}] * 2
    assert all("range" not in each.headers for each in fake.seen(f"{BASE}/7/download"))


def test_download_that_goes_on_breaking_off_leaves_nothing(
    fake: Fake, session: OrionSession, tmp_path: Path
) -> None:
    fake.on("GET", f"{BASE}/7/download", Reply(body=b"x" * 3_000_000, cut_after=2_000_000))
    with pytest.raises(errors.OrionServiceError, match="broke off"):
        Dataset(id=7, session=session).download_to_file(tmp_path / "got")
    assert len(fake.seen(f"{BASE}/7/download")) == 3
    assert list(tmp_path.iterdir()) == []


def test_download_that_is_redirected_is_followed_without_the_token(fake: Fake, session: OrionSession) -> None:
    with running_fake() as blobs:
        blobs.on("GET", "/blob", Reply(body=b"contents"))
        fake.on("GET", f"{BASE}/7/download", Reply(307, headers={"Location": f"{blobs.url}/blob?s=1"}))
        assert Dataset(id=7, session=session).download() == b"contents"
        assert "authorization" not in blobs.requests[0].headers


def test_download_without_room_is_refused_before_it_is_read(
    fake: Fake, session: OrionSession, tmp_path: Path
) -> None:
    fake.on("GET", f"{BASE}/7/download", Reply(headers={"Content-Length": str(1 << 60)}))
    with pytest.raises(errors.NotEnoughDiskError):
        Dataset(id=7, session=session).download_to_file(tmp_path / "got")
    assert list(tmp_path.iterdir()) == []
