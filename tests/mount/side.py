"""A folder on the mount, or its twin on a local disk: what can be done in it, with what is open there.

Every method answers with what the caller may compare between the two; errors are OSError.
"""

from __future__ import annotations

import errno
import mmap
import os
import random
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NAMES = ["a", "b", "c d", "é 🙂", "x.txt"]
SLOTS = 4
OFFSET_MAX = 60_000
SIZES = [0, 1, 100, 5000, 70_000]
ACCESSES = [os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_RDWR]
EXTRAS = [0, 0, os.O_CREAT, os.O_CREAT | os.O_EXCL, os.O_TRUNC, os.O_APPEND, os.O_CREAT | os.O_TRUNC]
UNOPENED = "not open"


class Side:
    """A folder, and descriptors that stay open in it."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self._open: dict[int, int] = {}  # slot -> descriptor

    def __truediv__(self, path: Path) -> Path:
        return self.top / path

    def tree(self) -> dict[str, bytes | None]:
        """Paths and contents; None: a folder."""
        return {
            str(path.relative_to(self.top)): None if path.is_dir() else path.read_bytes()
            for path in sorted(self.top.rglob("*"))
        }

    def open(self, slot: int, path: Path, flags: int) -> str:
        """Keep a file open; what the slot held is closed first."""
        self.close(slot)
        descriptor = os.open(self / path, flags, 0o644)
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            return "folder"
        self._open[slot] = descriptor
        return "file"

    def close(self, slot: int) -> None:
        """Close what the slot holds; it is free then, even after an error."""
        if slot in self._open:
            os.close(self._open.pop(slot))

    def close_all(self) -> None:
        """Nothing stays open, whatever is said of it."""
        for slot in list(self._open):
            try:
                self.close(slot)
            except OSError:
                continue

    def use(self, slot: int, do: Callable[[int], Any]) -> Any:
        """Do something with the descriptor of a slot."""
        return do(self._open[slot]) if slot in self._open else UNOPENED


@dataclass(frozen=True)
class Step:
    """Something to do on a side; what comes of it must be the same on both."""

    words: str
    do: Callable[[Side], Any]

    def outcome(self, side: Side) -> Any:
        """What it returns, or the number of its error."""
        try:
            return self.do(side)
        except OSError as error:
            # Which of the two is said of a rename is each file system's own.
            return errno.ENOTEMPTY if error.errno == errno.EEXIST else error.errno


class Chance:
    """Draws steps; the same seed draws the same ones for the mount and its twin."""

    def __init__(self, seed: int, *, has_open_files: bool = True) -> None:
        self._random = random.Random(seed)
        self._has_open_files = has_open_files

    def step(self) -> Step:
        """The next step."""
        draw = self._random.choice([_of_paths, _of_slots] if self._has_open_files else [_of_paths])
        steps = draw(self)
        words = self._random.choice(list(steps))
        return Step(words, steps[words])

    def path(self) -> Path:
        return Path(*(self._random.choice(NAMES) for _ in range(self._random.choice([1, 1, 2, 2, 3]))))

    def data(self) -> bytes:
        return self._random.randbytes(self._random.choice(SIZES))

    def number(self, below: int = OFFSET_MAX) -> int:
        return self._random.randrange(below)

    def flags(self) -> int:
        return self._random.choice(ACCESSES) | self._random.choice(EXTRAS)


def _of_paths(chance: Chance) -> dict[str, Callable[[Side], Any]]:
    one, other, number, data = chance.path(), chance.path(), chance.number(), chance.data()
    return {
        f"write {len(data)} to {one}": lambda top: (top / one).write_bytes(data),
        f"append {len(data)} to {one}": lambda top: append(top / one, data),
        f"write {len(data)} at {number} of {one}": lambda top: write_at(top / one, data, number),
        f"truncate {one} to {number}": lambda top: os.truncate(top / one, number),
        f"make folder {one}": lambda top: (top / one).mkdir(),
        f"make the folder {one}": lambda top: (top / one).mkdir(),
        f"remove folder {one}": lambda top: (top / one).rmdir(),
        f"unlink {one}": lambda top: (top / one).unlink(),
        f"rename {one} to {other}": lambda top: os.rename(top / one, top / other),
        f"move {one} to {other}": lambda top: os.rename(top / one, top / other),
        f"create {one}": lambda top: create(top / one),
        f"read {one}": lambda top: (top / one).read_bytes(),
        f"list {one}": lambda top: sorted(os.listdir(top / one)),
        f"look at {one}": lambda top: ((top / one).is_dir(), (top / one).is_file()),
        f"set the time of {one}": lambda top: os.utime(top / one, (number, number)),
        f"replace {one} while it is read": lambda top: replace_while_read(top / one, data),
    }


def _of_slots(chance: Chance) -> dict[str, Callable[[Side], Any]]:
    """More than one way to open, or most slots would be empty."""
    slot, path, other, flags = chance.number(SLOTS), chance.path(), chance.path(), chance.flags()
    start, end, data = chance.number(), chance.number(), chance.data()

    def using(do: Callable[[int], Any]) -> Callable[[Side], Any]:
        return lambda side: side.use(slot, do)

    return {
        f"{slot}: open {path} {flags:o}": lambda side: side.open(slot, path, flags),
        f"{slot}: open {other} to read and write": lambda side: side.open(
            slot, other, os.O_RDWR | os.O_CREAT
        ),
        f"{slot}: open {other} to read": lambda side: side.open(slot, other, os.O_RDONLY),
        f"{slot}: close": lambda side: side.close(slot),
        f"{slot}: read {end}": using(lambda fd: os.read(fd, end)),
        f"{slot}: read {end} at {start}": using(lambda fd: os.pread(fd, end, start)),
        f"{slot}: write {len(data)}": using(lambda fd: os.write(fd, data)),
        f"{slot}: write {len(data)} at {start}": using(lambda fd: os.pwrite(fd, data, start)),
        f"{slot}: go to {start}": using(lambda fd: os.lseek(fd, start, os.SEEK_SET)),
        f"{slot}: go to the end": using(lambda fd: os.lseek(fd, 0, os.SEEK_END)),
        f"{slot}: truncate to {end}": using(lambda fd: os.ftruncate(fd, end)),
        f"{slot}: sync": using(os.fsync),
        f"{slot}: size": using(lambda fd: os.fstat(fd).st_size),
        f"{slot}: map and read": using(read_mapped),
        f"{slot}: map and write at {start}": using(lambda fd: write_mapped(fd, start, data)),
    }


def create(path: Path) -> None:
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))


def append(path: Path, data: bytes) -> int:
    with path.open("ab") as file:
        return file.write(data)


def write_at(path: Path, data: bytes, offset: int) -> int:
    descriptor = os.open(path, os.O_WRONLY)
    try:
        return os.pwrite(descriptor, data, offset)
    finally:
        os.close(descriptor)


def replace_while_read(path: Path, data: bytes) -> tuple[bytes, bytes]:
    """What a reader sees of a file before and after it is replaced."""
    with path.open("rb", buffering=0) as file:
        before = file.read(10)
        replacement = path.with_name("replacement")
        replacement.write_bytes(data)
        replacement.replace(path)
        return before, file.read()


def read_mapped(descriptor: int) -> bytes | str:
    """All of it through a mapping."""
    if not os.fstat(descriptor).st_size:
        return "empty"
    with mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as mapped:
        return bytes(mapped)


def write_mapped(descriptor: int, start: int, data: bytes) -> int | str:
    """Store into a mapping, as far as the file goes; how much that was."""
    size = os.fstat(descriptor).st_size
    if not size:
        return "empty"
    with mmap.mmap(descriptor, 0) as mapped:
        piece = data[: max(0, size - start)]
        mapped[start : start + len(piece)] = piece
        mapped.flush()
        return len(piece)
