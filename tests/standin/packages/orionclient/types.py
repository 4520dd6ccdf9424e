"""Types of the stand-in: a File that may be downloaded in a bad way."""

import os
import time
from pathlib import Path
from typing import Any

from orionfs.client.types import Dataset, Project, Shard, ShardCollection, UserProfile
from orionfs.client.types import File as OwnFile

from .faults import fault_of, misbehave

__all__ = ["Dataset", "File", "Project", "Shard", "ShardCollection", "UserProfile"]


class File(OwnFile):
    """A File."""

    @classmethod
    def upload(cls, session: Any, name: str, path: Any) -> "File":  # type: ignore[override]
        misbehave("upload")
        made = super().upload(session, name, path)
        assert isinstance(made, cls)
        return made

    def download_to_file(self, path: Any) -> None:
        misbehave("download_to_file")
        fault = fault_of("download_to_file")
        if fault == "":
            return super().download_to_file(path)
        whole = Path(f"{path}.whole")
        super().download_to_file(whole)
        contents = whole.read_bytes()
        whole.unlink()
        return _write_badly(Path(path), contents, fault)


def _write_badly(path: Path, contents: bytes, fault: str) -> None:
    half = len(contents) // 2
    with path.open("xb") as stream:
        os.posix_fallocate(stream.fileno(), 0, max(1, len(contents)))
        stream.seek(half)
        stream.write(contents[half:])
        stream.flush()
        if fault == "stall":
            time.sleep(3600)
        stream.seek(0)
        stream.write(contents[:half])
        stream.truncate(len(contents) + {"short": -1, "long": 1}.get(fault, 0))
