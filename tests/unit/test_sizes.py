"""Sizes on the disk: kept by version, shared, and never more than a loss of requests."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from orionfs.models import Key, Kind
from orionfs.orion.sizes import SizeStore, Told

FILE = Key(Kind.FILE, 5)
SHARD = Key(Kind.SHARD, 2**62 + 1, 7)


def store(folder: Path, account: str = "demo") -> SizeStore:
    return SizeStore(folder, "stack", account)


def test_what_was_put_is_there_for_the_next_and_for_the_one_beside(tmp_path) -> None:
    first, beside = store(tmp_path), store(tmp_path)
    first.put([(FILE, Told(0, 17)), (SHARD, Told(2**40, 18))])
    assert beside.get([FILE, SHARD]) == {FILE: Told(0, 17), SHARD: Told(2**40, 18)}
    first.close()
    beside.close()
    assert store(tmp_path).get([SHARD]) == {SHARD: Told(2**40, 18)}


def test_versions_are_told_apart_by_kind_id_and_collection(tmp_path) -> None:
    kept = store(tmp_path)
    kept.put([(FILE, Told(1, 1)), (SHARD, Told(2, 2))])
    others = [Key(Kind.SHARD, 5), Key(Kind.FILE, 6), Key(Kind.SHARD, SHARD.id, 8), Key(Kind.DATASET, 5)]
    assert kept.get(others) == {}
    assert store(tmp_path, "somebody").get([FILE]) == {}


def test_many_are_asked_for_at_once(tmp_path) -> None:
    kept = store(tmp_path)
    keys = [Key(Kind.FILE, number) for number in range(1, 2001)]
    kept.put([(key, Told(key.id, 0)) for key in keys])
    assert {key: told.size for key, told in kept.get(keys).items()} == {key: key.id for key in keys}


def test_file_is_private(tmp_path) -> None:
    store(tmp_path / "cache").put([(FILE, Told(1, 1))])
    (path,) = (tmp_path / "cache").glob("*.db")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("damage", ["garbage", "folder"])
def test_damaged_file_is_no_error(tmp_path, damage) -> None:
    first = store(tmp_path)
    first.close()
    (path,) = tmp_path.glob("*.db")
    if damage == "garbage":
        path.write_bytes(b"no database" * 1000)
    else:
        path.unlink()
        path.mkdir()
    kept = store(tmp_path)
    kept.put([(FILE, Told(1, 1))])
    assert kept.get([FILE]) == {}


def test_closed_store_keeps_and_tells_nothing(tmp_path) -> None:
    kept = store(tmp_path)
    kept.close()
    kept.put([(FILE, Told(1, 1))])
    assert kept.get([FILE]) == {}
