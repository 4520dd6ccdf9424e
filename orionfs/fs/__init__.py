"""`orion://` for pandas, pyarrow, dask and whatever else reads through fsspec, without a mount.

    import pandas
    table = pandas.read_csv("orion://my-data/hits.csv")

Needs the extra `fsspec`; knows neither FUSE nor trio, so it is for notebooks, macOS and Windows too.
"""

from __future__ import annotations

from orionfs.fs.filesystem import OrionFileSystem

__all__ = ["OrionFileSystem"]
