"""Rows of many items in little memory behave as a dict and a set do."""

from __future__ import annotations

import sys

from hypothesis import given
from hypothesis import strategies as st

from orionfs.models import Key, Kind, LocalAttributes
from orionfs.tables.packed import PackedKeys, PackedLocal

KEYS = [Key(Kind.FILE, id_) for id_ in (1, 2, 5, 2**62)]
KEYS += [Key(Kind.DATASET, 2), Key(Kind.SHARD, 2, 9), Key(Kind.FILE, 2, 9)]
SOME = [LocalAttributes(), LocalAttributes(0, 0), LocalAttributes(-5, 0o7777), LocalAttributes(2**62, None)]
FILES = st.dictionaries(st.sampled_from([key.id for key in KEYS[:4]]), st.sampled_from(SOME))
CHANGES = st.lists(st.tuples(st.sampled_from(KEYS), st.sampled_from([None, *SOME])))


@given(FILES, CHANGES)
def test_attributes_are_those_of_a_dict(files: dict[int, LocalAttributes], changes: list) -> None:
    packed = PackedLocal((id_, files[id_].mtime_ns, files[id_].permissions) for id_ in sorted(files))
    plain = {Key(Kind.FILE, id_): found for id_, found in files.items()}
    for key, found in changes:
        if found is None:
            assert packed.pop(key, None) == plain.pop(key, None)
        else:
            packed[key] = plain[key] = found
    assert dict(packed) == plain
    assert (len(packed), bool(packed)) == (len(plain), bool(plain))
    assert [key in packed for key in KEYS] == [key in plain for key in KEYS]
    assert [packed.get(key) for key in KEYS] == [plain.get(key) for key in KEYS]


@given(FILES, CHANGES)
def test_keys_are_those_of_a_set(files: dict[int, LocalAttributes], changes: list) -> None:
    packed, plain = PackedKeys(sorted(files)), {Key(Kind.FILE, id_) for id_ in files}
    for key, found in changes:
        for each in (packed, plain):
            (each.discard if found is None else each.add)(key)
    assert (set(packed), len(packed)) == (plain, len(plain))
    assert [key in packed for key in KEYS] == [key in plain for key in KEYS]


def test_an_item_costs_a_few_bytes() -> None:
    local = PackedLocal((id_, id_, None) for id_ in range(10_000))
    held = [sys.getsizeof(each) for each in (local._ids, local._mtimes, local._modes)]
    assert sum(held) + sys.getsizeof(PackedKeys(range(10_000))._ids) < 40 * 10_000
