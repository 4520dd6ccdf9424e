"""Records on disk: appended, found again, safe from what a crash left; large datasets in little memory."""

from __future__ import annotations

import json
import random
import threading
import time
from pathlib import Path

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from orionfs.server.blobs import Blobs
from orionfs.server.datasets import MARK_EVERY, Wanted, append_frames, new_contents, read_numbers
from orionfs.server.problems import Refusal
from tests.server.process import DATASETS, wait_until

MIB = 1024 * 1024
RECORD = {"smiles": "c1ccccc1", "title": "benzene", "notes": "x" * 550}


@pytest.fixture(scope="module")
def blobs(tmp_path_factory):
    return Blobs(tmp_path_factory.mktemp("records") / "blobs")


def append(blobs, before, records):
    with blobs.reopen(before.key, before.size_bytes) as writer:
        return append_frames(writer, records, before)


def all_marks(parts):
    return tuple(mark for contents in parts for mark in contents.marks)


def found(blobs, parts, numbers):
    contents = parts[-1]
    whole = type(contents)(contents.key, contents.size_bytes, contents.count, all_marks(parts))
    return list(read_numbers(blobs.path(contents.key), whole, numbers))


@given(st.lists(st.integers(0, 2 * MARK_EVERY + 2), min_size=1, max_size=3), st.data())
def test_any_record_is_found_however_records_were_appended(blobs, batches, data):
    parts = [new_contents(blobs)]
    for size in batches:
        start = parts[-1].count
        parts.append(append(blobs, parts[-1], ({"n": start + number} for number in range(size))))
    count = parts[-1].count
    assert count == sum(batches)
    assert [record for record, _ in all_marks(parts)] == list(range(1, count + 1, MARK_EVERY))
    asked = data.draw(st.lists(st.integers(1, count), max_size=5)) if count else []
    assert found(blobs, parts, asked) == [(number, {"n": number - 1}) for number in asked]
    assert [number for number, _ in found(blobs, parts, range(1, count + 1))] == list(range(1, count + 1))


def test_what_was_not_acknowledged_is_written_over(blobs):
    first = new_contents(blobs, [{"n": 0}])
    append(blobs, first, ({"lost": "x" * number} for number in range(600)))
    again = append(blobs, first, [{"n": 1}, {"n": 2}])
    assert found(blobs, [first, again], [1, 2, 3]) == [(1, {"n": 0}), (2, {"n": 1}), (3, {"n": 2})]


def test_upload_that_is_refused_leaves_no_blob(blobs):
    def records():
        yield {"n": 0}
        raise Refusal(422, "bad_record", "record 2: nonsense")

    before = set(blobs.path("00").parent.parent.glob("*/*"))
    with pytest.raises(Refusal):
        new_contents(blobs, records())
    assert set(blobs.path("00").parent.parent.glob("*/*")) == before


@given(st.integers(0, 50), st.integers(0, 60), st.none() | st.integers(0, 60))
def test_range_of_records_is_what_slicing_says(count, offset, limit):
    end = None if limit is None else offset + limit
    expected = list(range(1, count + 1))[offset:end]
    assert list(Wanted(offset, limit).numbers(count, records_max=100)) == expected


@pytest.mark.parametrize("round_number", range(2))
def test_kill_while_records_are_appended_loses_no_batch_that_was_acknowledged(start, round_number):
    """After it the dataset holds whole batches only, in order, and takes the next."""
    chance = random.Random(round_number)
    server = start()
    with server.api() as api:
        row = api.post(DATASETS, {"name": "d"}).json()
    route = f"{DATASETS}/{row['id']}"
    acknowledged = 0

    def content(batch):
        return "".join(json.dumps({"batch": batch, "n": number}) + "\n" for number in range(300)).encode()

    def work_until_killed():
        nonlocal acknowledged
        with server.api() as api:
            try:
                while True:
                    answer = api.request("POST", f"{route}/records?format=json", data=content(acknowledged))
                    assert answer.status_code == 200, answer.text
                    acknowledged += 1
            except requests.RequestException:
                return

    writer = threading.Thread(target=work_until_killed)
    writer.start()
    wait_until(lambda: acknowledged > 2)
    time.sleep(chance.uniform(0, 0.3))
    server.kill()
    writer.join()

    with start().api() as api:
        batches = api.get(route).json()["count"] // 300
        assert batches in (acknowledged, acknowledged + 1)
        assert api.request("POST", f"{route}/records?format=json", data=content(batches)).status_code == 200
        assert api.post(f"{route}/finalize").json()["count"] == (batches + 1) * 300
        lines = api.get(f"{route}/download?format=json").content.splitlines()
        expected = [{"batch": batch, "n": n} for batch in range(batches + 1) for n in range(300)]
        assert [json.loads(line) for line in lines] == expected


def peak_memory(process) -> int:
    """The most memory that a process has had so far, in bytes."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


@pytest.mark.long
def test_large_dataset_costs_the_server_little_memory(start, tmp_path):
    """40,000 records in 24 MB: uploaded, appended, and downloaded in three forms within a few MiB."""
    server = start()
    small, large = tmp_path / "small.json", tmp_path / "large.json"
    line = json.dumps(RECORD) + "\n"
    small.write_text(line * 5_000)
    large.write_text(line * 40_000)

    def exercise(api, source, count):
        query = {"name": source.name, "filename": source.name}
        with source.open("rb") as stream:
            row = api.request("POST", f"{DATASETS}/upload", params=query, data=stream).json()
        assert row["count"] == count
        for form in ("binary", "csv", "smi"):
            answer = api.get(f"{DATASETS}/{row['id']}/download", params={"format": form}, stream=True)
            length = sum(len(piece) for piece in answer.iter_content(MIB))
            assert length == int(answer.headers["content-length"])
        other = api.post(DATASETS, {"name": "other"}).json()
        with source.open("rb") as stream:
            answer = api.request("POST", f"{DATASETS}/{other['id']}/records?format=json", data=stream)
        assert answer.json()["count"] == count

    with server.api() as api:
        exercise(api, small, 5_000)
        before = peak_memory(server.process)
        exercise(api, large, 40_000)
        assert peak_memory(server.process) - before < 16 * MIB
