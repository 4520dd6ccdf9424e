"""What happens by chance happens on the mount as on a local disk: results, errors, what is left."""

from __future__ import annotations

import errno
import os
import random
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

NAMES = ["a", "b", "c d", "é 🙂", "x.txt"]
STEPS = 250


class Chance:
    """Draws steps; the same seed draws the same ones for the mount and its twin."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def path(self) -> Path:
        return Path(*(self._random.choice(NAMES) for _ in range(self._random.choice([1, 1, 2, 2, 3]))))

    def step(self) -> Callable[[Path], Any]:
        """A function of the top folder; what it returns must be the same everywhere."""
        one, other, number = self.path(), self.path(), self._random.randrange(60_000)
        data = self._random.randbytes(self._random.choice([0, 1, 100, 5000, 70_000]))
        steps: list[Callable[[Path], Any]] = [
            lambda top: (top / one).write_bytes(data),
            lambda top: append(top / one, data),
            lambda top: write_at(top / one, data, number),
            lambda top: os.truncate(top / one, number),
            lambda top: (top / one).mkdir(),
            lambda top: (top / one).mkdir(),
            lambda top: (top / one).rmdir(),
            lambda top: (top / one).unlink(),
            lambda top: os.rename(top / one, top / other),
            lambda top: os.rename(top / one, top / other),
            lambda top: os.close(os.open(top / one, os.O_CREAT | os.O_EXCL | os.O_WRONLY)),
            lambda top: (top / one).read_bytes(),
            lambda top: sorted(os.listdir(top / one)),
            lambda top: ((top / one).is_dir(), (top / one).is_file()),
            lambda top: os.utime(top / one, (number, number)),
            lambda top: rewrite_while_read(top / one, data),
        ]
        return self._random.choice(steps)


def append(path: Path, data: bytes) -> int:
    with path.open("ab") as file:
        return file.write(data)


def write_at(path: Path, data: bytes, offset: int) -> int:
    descriptor = os.open(path, os.O_WRONLY)
    try:
        return os.pwrite(descriptor, data, offset)
    finally:
        os.close(descriptor)


def rewrite_while_read(path: Path, data: bytes) -> tuple[bytes, bytes]:
    """What a reader sees of a file before and after it is replaced."""
    with path.open("rb", buffering=0) as file:
        before = file.read(10)
        replacement = path.with_name("replacement")
        replacement.write_bytes(data)
        replacement.replace(path)
        return before, file.read()


def outcome(step: Callable[[Path], Any], top: Path) -> Any:
    try:
        return step(top)
    except OSError as error:
        # Which of the two is said of a rename is each file system's own.
        return errno.ENOTEMPTY if error.errno == errno.EEXIST else error.errno


def tree(top: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(top)): None if path.is_dir() else path.read_bytes()
        for path in sorted(top.rglob("*"))
    }


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_random_steps_end_as_on_a_local_disk(mounted, folder, tmp_path, seed) -> None:
    chance = Chance(seed)
    for number in range(STEPS):
        step = chance.step()
        assert outcome(step, folder) == outcome(step, tmp_path), f"step {number}"
    wanted = tree(tmp_path)
    assert wanted
    assert tree(folder) == wanted
    mounted.drain()
    for path, content in wanted.items():
        if content is not None:
            assert mounted.direct.content(mounted.orion_path(folder / path)) == content
    if seed == 1:
        mounted.remount()
        assert tree(folder) == wanted


def test_random_steps_of_several_at_once_end_as_on_a_local_disk(mounted, folder, tmp_path) -> None:
    """Each in a folder of its own, all below one; then the folders change places."""

    def work(number: int) -> None:
        here, there = folder / f"{number}", tmp_path / f"{number}"
        here.mkdir()
        there.mkdir()
        chance = Chance(100 + number)
        for _ in range(60):
            step = chance.step()
            assert outcome(step, here) == outcome(step, there)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    for top in (folder, tmp_path):
        for number in range(6):
            (top / f"{number}").rename(top / f"moved-{(number + 1) % 6}")
    assert tree(folder) == tree(tmp_path)
    shutil.rmtree(folder)
    mounted.drain()
    assert mounted.direct.find(mounted.orion_path(folder)) is None


def test_moves_of_one_file_by_several_never_lose_it(mounted, folder) -> None:
    (folder / "0").write_text("content")

    def move(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(40):
            try:
                os.rename(folder / str(chance.randrange(4)), folder / str(chance.randrange(4)))
            except FileNotFoundError:
                continue

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(move, range(4)))
    (name,) = os.listdir(folder)
    assert (folder / name).read_text() == "content"
    assert mounted.direct.names(mounted.orion_path(folder)) == [name]


def test_savers_of_one_file_leave_a_whole_version(mounted, folder) -> None:
    versions = {bytes([number]) * 30_000 for number in range(8)}

    def save(data: bytes) -> None:
        for _ in range(5):
            temporary = folder / f".x.{data[0]}"
            temporary.write_bytes(data)
            temporary.replace(folder / "x")
            assert (folder / "x").read_bytes() in versions

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(save, versions))
    assert os.listdir(folder) == ["x"]
    mounted.drain()
    assert mounted.direct.names(mounted.orion_path(folder)) == ["x"]
    assert mounted.direct.content(mounted.orion_path(folder / "x")) in versions
