"""Links: made by the server, read here, followed."""

from __future__ import annotations

from typing import Any

import pytest

from orionfs.client import (
    Dataset,
    File,
    OrionLink,
    OrionSession,
    RecordLink,
    Shard,
    ShardCollection,
    ShardLink,
    errors,
)
from tests.client.fake import INFO, INFO_PATH, Fake, Reply

BIG = 2**60 + 1
LINKS = "/api/v1/storage/links"
LINK: dict[str, Any] = {
    "link": "orion",
    "version": 1,
    "stack": INFO["instance"],
    "resource_type": "file",
    "id": 7,
    "id_str": "7",
}
SHARD_LINK = {**LINK, "resource_type": "shard", "id": BIG, "id_str": str(BIG), "collection": 9}
RECORD_LINK = {**LINK, "resource_type": "record", "id": 3, "id_str": "3", "dataset": 9}


@pytest.mark.parametrize(
    ("make", "sent"),
    [
        (lambda s: s.create_link(File(id=7)), {"resource_type": "file", "id": 7}),
        (lambda s: s.create_link(Dataset(id=9)), {"resource_type": "dataset", "id": 9}),
        (
            lambda s: s.create_link(Shard(ShardCollection(id=9), BIG)),
            {"resource_type": "shard", "id": BIG, "collection": 9},
        ),
        (
            lambda s: s.create_link(Dataset(id=9), record=3),
            {"resource_type": "dataset", "id": 9, "record": 3},
        ),
    ],
)
def test_link_is_made_by_the_server_and_given_on_as_it_came(
    fake: Fake, session: OrionSession, make: Any, sent: dict[str, Any]
) -> None:
    fake.on("POST", LINKS, Reply(json={**LINK, "more": [1]}))
    assert make(session) == {**LINK, "more": [1]}
    assert fake.requests[-1].json == sent


def test_link_to_a_file_fetches_it(fake: Fake, session: OrionSession) -> None:
    fake.on("GET", "/api/v3/storage/files/7", Reply(json={"id": 7, "name": "a"}))
    link = session.get_link(LINK)
    assert isinstance(link, OrionLink)
    assert [each.path for each in fake.requests] == [INFO_PATH]
    found = link.get()
    assert isinstance(found, File)
    assert found.name == "a"


def test_link_to_a_shard_fetches_it_from_its_collection(fake: Fake, session: OrionSession) -> None:
    where = f"/api/v1/storage/collections/9/shards/{BIG}"
    fake.on("GET", where, Reply(json={"id": BIG, "name": "s", "state": "ready"}))
    link = session.get_link(SHARD_LINK)
    assert isinstance(link, ShardLink)
    assert (link.id, link.id_str, link.collection) == (BIG, str(BIG), 9)
    assert link.get().state == "ready"


def test_id_that_a_reader_of_json_has_rounded_is_right_as_text(session: OrionSession) -> None:
    rounded = {**SHARD_LINK, "id": int(float(BIG))}
    assert rounded["id"] != BIG
    assert session.get_link(rounded).id == BIG


def test_link_to_a_record_fetches_its_fields(fake: Fake, session: OrionSession) -> None:
    fake.on("GET", "/api/v1/storage/datasets/9/download", Reply(body=b'{"smiles": "C", "n": 1}\n'))
    link = session.get_link(RECORD_LINK)
    assert isinstance(link, RecordLink)
    assert link.get() == {"smiles": "C", "n": 1}
    assert fake.requests[-1].query == {"format": ["json"], "record_ids": ["3"]}


def test_record_that_comes_as_garbage_is_a_service_error(fake: Fake, session: OrionSession) -> None:
    fake.on("GET", "/api/v1/storage/datasets/9/download", Reply(body=b"<html>"))
    link = session.get_link(RECORD_LINK)
    with pytest.raises(errors.OrionServiceError, match="record 3 of dataset 9"):
        link.get()


@pytest.mark.parametrize(
    ("garbage", "said"),
    [
        (None, "a link is a dict"),
        ("orion", "a link is a dict"),
        ({}, "no link"),
        ({**LINK, "version": 2}, "another kind"),
        ({**LINK, "link": "other"}, "another kind"),
        ({**LINK, "stack": "elsewhere"}, "another stack"),
        ({**LINK, "id": "seven"}, "no link"),
        ({**LINK, "id": None, "id_str": None}, "no id"),
        ({**LINK, "id_str": "-7"}, "id is none"),
        ({**LINK, "resource_type": "job"}, "'job'"),
        ({**LINK, "resource_type": "shard"}, "'shard'"),
        ({**LINK, "resource_type": "record"}, "'record'"),
        ({1: 2}, "no link"),
    ],
)
def test_what_is_no_link_of_this_stack_is_refused_here(
    fake: Fake, session: OrionSession, garbage: Any, said: str
) -> None:
    with pytest.raises(errors.OrionLinkError, match=said) as raised:
        session.get_link(garbage)
    assert raised.value.response is None
    assert {each.path for each in fake.requests} <= {INFO_PATH}


def test_link_that_is_answered_as_garbage_is_a_bad_response(fake: Fake, session: OrionSession) -> None:
    fake.on("POST", LINKS, Reply(json={"id": 7}))
    with pytest.raises(errors.BadResponse):
        session.create_link(File(id=7))
