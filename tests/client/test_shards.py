"""Collections and shards: states, contents in one request and in parts, ids that JavaScript can't count."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from orionfs.client import OrionSession, Shard, ShardCollection, errors, upload
from orionfs.client.resource import METADATA_MAX_BYTES
from tests.client.fake import Fake, Reply, Seen

BASE = "/api/v1/storage/collections"
BIG = 2**60 + 1
SHARD = f"{BASE}/7/shards/{BIG}"
PART_BYTES = 1 << 20
CONTENTS = os.urandom(2 * PART_BYTES + 5)
ROW: dict[str, Any] = {"id": 7, "name": "c", "path": "/p/c", "state": "open", "metadata": {"a": [1]}}
SHARD_ROW: dict[str, Any] = {"id": BIG, "id_str": str(BIG), "name": "s", "collection": 7, "state": "open"}


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "_RETRY_WAIT_S", 0.0)


@pytest.fixture
def collection(session: OrionSession) -> ShardCollection:
    return ShardCollection(id=7, session=session)


@pytest.fixture
def shard(collection: ShardCollection) -> Shard:
    return Shard(collection=collection, id=BIG)


@pytest.fixture
def parts(fake: Fake) -> dict[int, bytes]:
    """Routes of contents in parts that work; what arrived, by number."""
    arrived: dict[int, bytes] = {}

    def part(number: int) -> Any:
        def put(seen: Seen) -> Reply:
            arrived[number] = seen.body
            return Reply(204)

        return put

    urls = [{"number": n, "url": f"/blobs/upload/{BIG}/{n}?signature=s"} for n in range(1, 4)]
    fake.on("POST", f"{SHARD}/parts", Reply(json={"part_bytes": PART_BYTES, "parts": urls}))
    for number in range(1, 4):
        fake.on("PUT", f"/blobs/upload/{BIG}/{number}", part(number))
    fake.on("POST", f"{SHARD}/complete", Reply(json={**SHARD_ROW, "state": "temporary"}))
    return arrived


def test_collection_is_made_opened_and_closed(fake: Fake, session: OrionSession) -> None:
    fake.on("POST", BASE, Reply(201, json=ROW))
    fake.on("POST", f"{BASE}/7/close", Reply(json={**ROW, "state": "close"}))
    fake.on("POST", f"{BASE}/7/open", Reply(json=ROW))
    made = ShardCollection.create(session, "c", metadata={"a": [1]}, folder_path="/p")
    assert (made.id, made.state, made.metadata) == (7, "open", {"a": [1]})
    assert fake.seen(BASE)[0].json == {"name": "c", "folder_path": "/p", "metadata": {"a": [1]}}
    made.close()
    assert made.state == "close"
    made.open()
    assert made.state == "open"


def test_shards_are_listed_incomplete_and_completed_by_refresh(
    fake: Fake, session: OrionSession, collection: ShardCollection
) -> None:
    fake.on("GET", f"{BASE}/7/shards", Reply(json={"results": [SHARD_ROW], "next": None}))
    fake.on("GET", SHARD, Reply(json={**SHARD_ROW, "metadata": {"m": 1}, "size": 3}))
    (found,) = collection.list_shards({"states": ["open", "ready"]})
    assert (found.id, found.metadata, found.collection) == (BIG, {}, collection)
    assert fake.requests[-1].query["states"] == ["open", "ready"]
    session.refresh_resource(found)
    assert (found.metadata, found.size) == ({"m": 1}, 3)


def test_shard_is_got_by_its_collection_and_id(
    fake: Fake, session: OrionSession, collection: ShardCollection
) -> None:
    fake.on("GET", SHARD, Reply(json=SHARD_ROW))
    found = session.get_resource(Shard(collection=collection), BIG)
    assert (found.id, found.name, found.collection, found.session) == (BIG, "s", collection, session)


def test_shard_is_updated_and_deleted_in_its_collection(
    fake: Fake, session: OrionSession, shard: Shard
) -> None:
    fake.on("PATCH", SHARD, Reply(json={**SHARD_ROW, "name": "t"}))
    fake.on("DELETE", SHARD, Reply(204))
    session.update_resource(shard, {"name": "t", "metadata": {"m": 1}})
    assert shard.name == "t"
    assert fake.requests[-1].json == {"name": "t", "metadata": {"m": 1}}
    assert session.delete_resource(shard) is True


@pytest.mark.parametrize(
    "msg",
    [
        {"id": BIG, "collection": 7},
        {"id": str(BIG), "collection": "7"},
        {"id": BIG, "collection": {"id": 7, "name": "c"}, "more": 1},
    ],
)
def test_shard_comes_out_of_a_message(fake: Fake, session: OrionSession, msg: dict[str, Any]) -> None:
    fake.on("POST", f"{SHARD}/close", Reply(json={**SHARD_ROW, "state": "ready"}))
    found = Shard.from_msg(msg, session=session)
    assert fake.requests == []
    found.close()
    assert (found.id, found.state) == (BIG, "ready")


def test_small_contents_go_in_one_request(
    fake: Fake, session: OrionSession, collection: ShardCollection, tmp_path: Path
) -> None:
    fake.on("POST", f"{BASE}/7/shards", Reply(201, json=SHARD_ROW))
    fake.on("PUT", f"{SHARD}/data", Reply(204))
    (tmp_path / "f").write_bytes(b"small")
    made = Shard.create(collection, "s", metadata={"m": 1})
    assert fake.requests[-1].json == {"name": "s", "metadata": {"m": 1}}
    made.upload_file(tmp_path / "f")
    assert (made.state, made.size, fake.requests[-1].body) == ("temporary", 5, b"small")


def test_large_contents_go_in_parts_without_the_token(
    fake: Fake, shard: Shard, parts: dict[int, bytes], tmp_path: Path
) -> None:
    (tmp_path / "f").write_bytes(CONTENTS)
    shard.upload_file(tmp_path / "f")
    assert b"".join(parts[number] for number in sorted(parts)) == CONTENTS
    assert (shard.state, shard.size) == ("temporary", len(CONTENTS))
    assert fake.seen(f"{SHARD}/parts")[0].json == {"size": len(CONTENTS)}
    assert fake.seen(f"{SHARD}/complete")[0].json == {"parts": 3}
    assert all("authorization" not in each.headers for each in fake.requests if each.method == "PUT")


def test_lost_answer_to_complete_is_asked_for_again(
    fake: Fake, shard: Shard, parts: dict[int, bytes], tmp_path: Path
) -> None:
    """A shard that may be refilled shows by nothing whether these contents are the ones it has."""
    (tmp_path / "f").write_bytes(CONTENTS)
    done = Reply(json={**SHARD_ROW, "state": "temporary"})
    fake.on("POST", f"{SHARD}/complete", Reply(is_reset=True), Reply(504), done)
    shard.upload_file(tmp_path / "f")
    assert len(fake.seen(f"{SHARD}/complete")) == 3
    assert [each for each in fake.requests if each.method == "DELETE"] == []


def test_part_that_fails_ends_the_upload_and_the_shard_stays(
    fake: Fake, shard: Shard, parts: dict[int, bytes], tmp_path: Path
) -> None:
    (tmp_path / "f").write_bytes(CONTENTS)
    fake.on("PUT", f"/blobs/upload/{BIG}/2", Reply(413, json={"detail": "too much"}))
    with pytest.raises(errors.BadResponse, match="too much"):
        shard.upload_file(tmp_path / "f")
    assert fake.seen(f"{SHARD}/complete") == []
    assert [each for each in fake.requests if each.method == "DELETE"] == []
    assert shard.state == ""


@pytest.fixture
def contents(fake: Fake) -> None:
    def blob(seen: Seen) -> Reply:
        found = re.fullmatch(r"bytes=(\d+)-(\d+)", seen.headers.get("range", ""))
        if found is None:
            return Reply(200, body=CONTENTS)
        first, last = int(found[1]), int(found[2])
        told = f"bytes {first}-{last}/{len(CONTENTS)}"
        return Reply(206, body=CONTENTS[first : last + 1], headers={"Content-Range": told})

    where = f"/blob?expires={10**11}&signature=secret"
    fake.on("GET", f"{SHARD}/download/", Reply(302, headers={"Location": where}))
    fake.on("GET", "/blob", Reply(200, body=CONTENTS, cut_after=PART_BYTES + 3), blob)


@pytest.mark.usefixtures("contents")
def test_download_streams_in_order_and_goes_on_where_it_broke_off(fake: Fake, shard: Shard) -> None:
    assert b"".join(shard.download()) == CONTENTS
    assert re.fullmatch(rf"bytes=\d+-{len(CONTENTS) - 1}", fake.seen("/blob")[1].headers["range"])
    assert len(fake.seen(f"{SHARD}/download/")) == 1


@pytest.mark.usefixtures("contents")
def test_download_to_file_writes_all(shard: Shard, tmp_path: Path) -> None:
    shard.download_to_file(tmp_path / "got")
    assert (tmp_path / "got").read_bytes() == CONTENTS


@pytest.mark.usefixtures("contents")
def test_length_is_believed_of_what_can_t_change_any_more(shard: Shard) -> None:
    shard.size, shard.state = 4, "temporary"
    assert b"".join(shard.download()) == CONTENTS
    shard.state = "ready"
    with pytest.raises(errors.OrionServiceError, match="not 4"):
        list(shard.download())


@pytest.mark.usefixtures("contents")
def test_download_that_is_given_up_gives_its_connection_back(shard: Shard, fake: Fake) -> None:
    chunks = shard.download()
    assert len(next(chunks)) == PART_BYTES
    del chunks
    assert b"".join(shard.download()) == CONTENTS


def test_shard_that_is_not_ready_is_a_bad_response(fake: Fake, shard: Shard) -> None:
    fake.on("GET", f"{SHARD}/download/", Reply(409, json={"detail": "not ready", "code": "not_ready"}))
    with pytest.raises(errors.BadResponse, match="not ready"):
        list(shard.download())


def test_metadata_up_to_the_limit_are_sent(fake: Fake, session: OrionSession) -> None:
    fake.on("POST", BASE, Reply(201, json=ROW))
    largest = {"x": "y" * (METADATA_MAX_BYTES - len('{"x":""}'))}
    assert ShardCollection.create(session, "c", metadata=largest).id == 7
    with pytest.raises(errors.ValidationError, match=f"{METADATA_MAX_BYTES + 1} bytes"):
        ShardCollection.create(session, "c", metadata={"x": largest["x"] + "y"})
    assert len(fake.seen(BASE)) == 1
