"""A program that replaces two files again and again, and others that look at them meanwhile.

`renamed` is replaced by renaming a new file over it, `saved` by emptying it and writing it again. A version
is one word, many times. Each program ends with 0, or says what it met.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.mount.server import REPOSITORY

WORDS = 8_000  # more than the kernel reads at once
_PIECE_BYTES = 40_000


def content(version: int) -> bytes:
    """What a version holds."""
    return b"%07d " % version * WORDS


def replace(folder: Path, version: int) -> None:
    """What careful programs do, and what a shell does for `>`."""
    new = folder / "new"
    new.write_bytes(content(version))
    new.rename(folder / "renamed")
    (folder / "saved").write_bytes(content(version))


# Looking


def look(folder: Path, copies: Path) -> None:
    """Read, stat, list and copy both as programs do: whoever was there is there."""
    check_whole(read(folder / "renamed"))
    check_sound((folder / "saved").read_bytes())
    with os.scandir(folder) as entries:
        names = {entry.name for entry in entries}
    assert {"renamed", "saved"} <= names, names
    for name in ("renamed", "saved"):
        assert (folder / name).exists()
        (folder / name).lstat()
        shutil.copy2(folder / name, copies / name)
    check_whole((copies / "renamed").read_bytes())
    check_sound((copies / "saved").read_bytes())


def read(path: Path) -> bytes:
    """All of a file, by several calls."""
    with open(path, "rb", buffering=0) as file:
        parts = []
        while part := file.read(_PIECE_BYTES):
            parts.append(part)
    return b"".join(parts)


def check_whole(found: bytes) -> None:
    """It is one version, to its end."""
    assert found == found[:8] * WORDS, f"{len(found)} bytes of {sorted(set(found.split()))[:5]}"


def check_sound(found: bytes) -> None:
    """It is as much of a version as was there: it is empty first, then grows."""
    assert len(found) <= len(content(0)), len(found)
    assert set(found) <= set(b"0123456789 \0"), found[:100]


# Both at once


def replace_while_others_look(folder: Path, stop: Path, times: int, lookers: int) -> None:
    """Replace both files so often; nobody must meet an error of any kind."""
    replace(folder, 0)
    works = ["replace", *["look"] * lookers]
    started = [_start(work, folder, stop, times) for work in works]
    said = [started[0].communicate()[0]]
    stop.touch()
    said += [each.communicate()[0] for each in started[1:]]
    assert [each.returncode for each in started] == [0] * len(started), "\n".join(said)
    assert read(folder / "renamed") == read(folder / "saved") == content(times)


def _start(work: str, folder: Path, stop: Path, times: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.mount.replacing", work, folder, stop, str(times)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def main(work: str, folder: str, stop: str, times: str) -> None:
    """Replace so many times, or look until there is a file `stop`; prints how often."""
    count = 0
    if work == "replace":
        for count in range(1, int(times) + 1):
            replace(Path(folder), count)
    else:
        with tempfile.TemporaryDirectory() as copies:
            while not count or not os.path.exists(stop):
                look(Path(folder), Path(copies))
                count += 1
    print(count)


if __name__ == "__main__":
    main(*sys.argv[1:])
