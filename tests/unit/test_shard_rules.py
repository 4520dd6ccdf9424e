"""What may be done in a collection, as rules."""

from __future__ import annotations

import pytest

from orionfs.models import MARK_PREFIX, Item, Kind
from orionfs.orion.shapes import read_kind, read_shard, read_shards
from orionfs.outgoing.shard_rules import collection_of, is_open, is_ready, mark_for, new_item


def collection(state: str) -> Item:
    return Item(Kind.COLLECTION, 7, "set", state=state)


@pytest.mark.parametrize(
    ("state", "is_it"),
    [("", True), ("open", True), ("OPEN", True), ("filling", True), ("close", False), ("Closed", False)],
)
def test_collection_is_open_unless_it_is_known_not_to_be(state, is_it) -> None:
    assert is_open(collection(state)) is is_it


@pytest.mark.parametrize(
    ("state", "is_it"), [("", True), ("Ready", True), ("open", False), ("temporary", False)]
)
def test_shard_is_ready_by_its_state(state, is_it) -> None:
    assert is_ready(Item(Kind.SHARD, 1, "s", state=state)) is is_it


def test_mark_of_an_upload_names_its_collection() -> None:
    mark = f"{MARK_PREFIX}0123abcd"
    shard_mark = mark_for(collection("open"), mark)
    assert shard_mark.startswith(MARK_PREFIX)
    assert (collection_of(shard_mark), collection_of(mark)) == (7, None)
    assert mark_for(Item(Kind.FOLDER, 7, "folder"), mark) == mark
    made = new_item("a", 3, 4, shard_mark)
    assert (made.kind, made.collection, made.key) == (Kind.SHARD, 7, None)
    assert new_item("a", 3, 4, mark).kind is Kind.FILE


@pytest.mark.parametrize(
    ("row", "name", "size"),
    [
        ({"ID": str(2**62), "Name": "s", "State": "ready", "sizeBytes": 5}, "s", 5),
        ({"id": 2**62, "name": "", "state": "open", "size": 0}, f"shard-{2**62}", None),
        ({"id": 2**62, "metadata": {}}, f"shard-{2**62}", None),
        ({"id": 2**62, "name": "s", "size": 5}, "s", 5),
    ],
)
def test_row_of_a_shard_is_read_whatever_its_spelling(row, name, size) -> None:
    item = read_shard(row, 7)
    assert (item.kind, item.id, item.name, item.size, item.collection) == (Kind.SHARD, 2**62, name, size, 7)
    assert item.key is not None
    assert item.key.reference == [7, 2**62]
    assert read_shards({"count": 1, "results": [row]}, 7).rows == (item,)


def test_literals_of_shards_and_collections_are_told_apart() -> None:
    assert read_kind("ShardCollection") is Kind.COLLECTION
    assert read_kind("Shard") is Kind.SHARD
