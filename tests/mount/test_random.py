"""What happens by chance happens on the mount as on a local disk: results, errors, what is left."""

from __future__ import annotations

import errno
import os
import random
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.mount.conftest import fresh_folder

pytestmark = pytest.mark.own_first

NAMES = ["a", "b", "c d", "é 🙂", "x.txt"]
STEPS = 250


@dataclass(frozen=True)
class Step:
    """Something to do below a top folder; what comes of it must be the same everywhere."""

    words: str
    do: Callable[[Path], Any]

    def outcome(self, top: Path) -> Any:
        """What it returns, or the number of its error."""
        try:
            return self.do(top)
        except OSError as error:
            # Which of the two is said of a rename is each file system's own.
            return errno.ENOTEMPTY if error.errno == errno.EEXIST else error.errno


class Chance:
    """Draws steps; the same seed draws the same ones for the mount and its twin."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def path(self) -> Path:
        return Path(*(self._random.choice(NAMES) for _ in range(self._random.choice([1, 1, 2, 2, 3]))))

    def step(self) -> Step:
        one, other, number = self.path(), self.path(), self._random.randrange(60_000)
        data = self._random.randbytes(self._random.choice([0, 1, 100, 5000, 70_000]))
        steps: dict[str, Callable[[Path], Any]] = {
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
        words = self._random.choice(list(steps))
        return Step(words, steps[words])


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


def tree(top: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(top)): None if path.is_dir() else path.read_bytes()
        for path in sorted(top.rglob("*"))
    }


def go(stand, folder: Path, twin: Path, seed: int) -> None:
    """The same steps in both; the same comes of them, here and on Orion."""
    chance = Chance(seed)
    done: list[str] = []
    for _ in range(STEPS):
        step = chance.step()
        wanted = step.outcome(twin)
        done.append(f"{step.words}: {wanted!r:.60}")
        assert step.outcome(folder) == wanted, "\n".join(done)
    assert tree(folder) == tree(twin)
    stand.drain()
    assert stand.direct.tree(stand.orion_path(folder)) == sorted(tree(twin).items())


@pytest.mark.parametrize("seed", [1, 2])
def test_random_steps_end_as_on_a_local_disk(mounted, folder, tmp_path, seed) -> None:
    go(mounted, folder, tmp_path, seed)
    if seed == 1:
        mounted.remount()
        assert tree(folder) == tree(tmp_path)


@pytest.mark.parametrize("seed", [3, 4])
def test_random_steps_end_so_where_little_is_believed(impatient, request, tmp_path, seed) -> None:
    go(impatient, fresh_folder(impatient, request), tmp_path, seed)


def test_random_steps_end_so_where_listings_tell_little(odd, request, tmp_path) -> None:
    go(odd, fresh_folder(odd, request), tmp_path, seed=5)


def test_random_steps_of_several_at_once_end_as_on_a_local_disk(mounted, folder, tmp_path) -> None:
    """Each in a folder of its own, all below one; then the folders change places."""

    def work(number: int) -> None:
        here, there = folder / f"{number}", tmp_path / f"{number}"
        here.mkdir()
        there.mkdir()
        chance = Chance(100 + number)
        for _ in range(60):
            step = chance.step()
            assert step.outcome(here) == step.outcome(there), step.words

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
