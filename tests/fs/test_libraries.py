"""What people read with: pandas, pyarrow, h5py and dask's way of sharing, on `orion://` paths.

They take a second to load, and every worker of a run loads all modules: each test loads what it needs.
"""

from __future__ import annotations

import fsspec
import pytest

from tests.fs.conftest import place_of
from tests.mount.stand import Client


@pytest.fixture(scope="module")
def table():
    """A table of pandas's."""
    import pandas

    return pandas.DataFrame({"name": ["aspirin", "caffeine"], "mass": [180.16, 194.19]})


@pytest.fixture
def storage(fs, profile) -> dict[str, str]:
    """What pandas is told beside the path."""
    return {"profile": profile}


def test_pandas_writes_and_reads_csv(fs, orion, folder, storage, table):
    import pandas

    orion.direct.put(f"{place_of(folder)}/x.csv", b"name,mass\naspirin,180.16\ncaffeine,194.19\n")
    read = pandas.read_csv(f"orion://{folder}/x.csv", storage_options=storage)
    pandas.testing.assert_frame_equal(read, table)
    table.to_csv(f"orion://{folder}/made/y.csv", index=False, storage_options=storage)
    assert orion.direct.content(f"{place_of(folder)}/made/y.csv").decode() == table.to_csv(index=False)


def test_parquet_is_written_and_read_by_column(fs, folder, storage, table):
    import pandas
    import pyarrow.parquet

    table.to_parquet(f"orion://{folder}/x.parquet", storage_options=storage)
    read = pandas.read_parquet(f"orion://{folder}/x.parquet", columns=["mass"], storage_options=storage)
    assert read["mass"].tolist() == table["mass"].tolist()
    whole = pyarrow.parquet.read_table(f"{folder}/x.parquet", filesystem=fs)
    assert whole.to_pandas().equals(table)


def test_parquet_of_many_files_is_one_data_set(fs, folder, table):
    import pyarrow.parquet

    pyarrow.parquet.write_to_dataset(
        pyarrow.Table.from_pandas(table), f"{folder}/set", partition_cols=["name"], filesystem=fs
    )
    assert len(fs.glob(f"{folder}/set/name=*/*.parquet")) == 2
    read = pyarrow.parquet.read_table(f"{folder}/set", filesystem=fs).to_pandas()
    assert sorted(read["mass"]) == sorted(table["mass"])


def test_hdf5_is_written_and_read(fs, folder, tmp_path):
    import h5py

    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["values"] = list(range(10_000))
    fs.put(str(tmp_path / "x.h5"), f"{folder}/x.h5")
    with fs.open(f"{folder}/x.h5") as opened, h5py.File(opened, "r") as file:
        assert file["values"][9_990:].tolist() == list(range(9_990, 10_000))


def test_caches_of_fsspec_stand_before_it(fs, orion, folder, profile, tmp_path):
    orion.direct.put(f"{place_of(folder)}/file", b"one")
    options = {
        "orion": {"profile": profile},
        "filecache": {"cache_storage": str(tmp_path), "check_files": True},
    }
    with fsspec.open(f"filecache::orion://{folder}/file", **options) as file:
        assert file.read() == b"one"
    orion.direct.replace(f"{place_of(folder)}/file", b"two")
    fs.invalidate_cache()
    with fsspec.open(f"filecache::orion://{folder}/file", **options) as file:
        assert file.read() == b"two", "other contents have another key"


@pytest.mark.parametrize("client", [Client.OWN], ids=["own"], indirect=True)
def test_mapper_keeps_chunks_as_stores_of_arrays_do(fs, folder):
    """zarr and its like store each chunk under a key."""
    store = fs.get_mapper(f"{folder}/array", create=True)
    store["zarr.json"] = b"{}"
    store["c/0/0"] = b"chunk"
    assert sorted(store) == ["c/0/0", "zarr.json"]
    assert store["c/0/0"] == b"chunk"
    with pytest.raises(KeyError):
        store["c/0/1"]
    del store["c/0/0"]
    assert sorted(store) == ["zarr.json"]
