"""Programs that work on a mount until told to stop, in processes of their own; they end with 0 or say why.

Files carry their version: every line of one is "NAME VERSION".
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

LINES = 16_384
PART_BYTES = 60_000


def content(name: str, version: int) -> bytes:
    """What a file holds: some hundred KiB, read in several requests."""
    return f"{name} {version:06}\n".encode() * LINES


def read(folder: Path, names: list[str]) -> None:
    """Read every file once; all its bytes must be of one version, from whatever the kernel has cached."""
    for name in names:
        with open(folder / name, "rb", buffering=0) as file:
            parts = []
            while part := file.read(PART_BYTES):
                parts.append(part)
        whole = b"".join(parts)
        line = whole[: whole.index(b"\n") + 1]
        assert line.split()[0] == name.encode(), line
        assert whole == line * LINES, f"{name}: {sorted(set(whole.splitlines()))[:5]}"


def rename(folder: Path, _names: list[str]) -> None:
    """Give a file of one's own another name, and back."""
    (folder / "a").rename(folder / "b")
    assert os.listdir(folder) == ["b"]
    (folder / "b").rename(folder / "a")
    assert (folder / "a").exists()
    assert not (folder / "b").exists()


def list_all(folder: Path, names: list[str]) -> None:
    """See every name exactly once, and what stat says of it."""
    with os.scandir(folder) as entries:
        found = list(entries)
    assert all(entry.stat().st_size for entry in found[::20])
    seen = [entry.name for entry in found]
    assert len(seen) == len(set(seen))
    assert set(names) <= set(seen), set(names) - set(seen)


WORK: dict[str, Callable[[Path, list[str]], None]] = {"read": read, "rename": rename, "list": list_all}


def main(work: str, folder: str, stop: str, *names: str) -> None:
    """Do it again and again until the file `stop` is there, once at least; prints how often."""
    count = 0
    while not count or not os.path.exists(stop):
        WORK[work](Path(folder), list(names))
        count += 1
    print(count)


if __name__ == "__main__":
    main(*sys.argv[1:])
