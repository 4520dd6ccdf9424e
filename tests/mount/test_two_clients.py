"""Another session changes by chance what the mount works on: after a refresh the mount shows all of it."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from orionfs.client import File, OrionSession
from orionfs.client.errors import OrionError
from orionfs.client.profiles import SessionConfig
from orionfs.orion.shapes import read_item
from orionfs.tables.names import visible_names
from tests.mount.stand import Stand

NAMES = ["a", "b", "c", "d/a", "d/b", "d/e", "d/e/a"]
STEPS = 60
LONG_STEPS = 1500


@pytest.fixture
def session(mounted: Stand) -> Iterator[OrionSession]:
    """The other client: our own session, used as a library."""
    with OrionSession(SessionConfig(mounted.server.url, mounted.server.token)) as made:
        yield made


class Chance:
    """Draws what either of the two does next; who comes too late gets an error, and that is all."""

    def __init__(self, stand: Stand, session: OrionSession, folder: Path, source: Path, seed: int) -> None:
        self._random = random.Random(seed)
        self._session = session
        self._folder = folder
        self._orion = stand.orion_path(folder)
        self._source = source

    def step(self) -> None:
        own: list[Callable[[], Any]] = [
            lambda: (self._folder / self._name()).write_bytes(self._data()),
            lambda: (self._folder / self._name()).mkdir(),
            lambda: (self._folder / self._name()).unlink(),
            lambda: (self._folder / self._name()).rmdir(),
            lambda: os.rename(self._folder / self._name(), self._folder / self._name()),
            lambda: os.listdir(self._folder / self._random.choice(["", "d", "d/e"])),
            lambda: (self._folder / self._name()).read_bytes(),
        ]
        others: list[Callable[[], Any]] = [
            self._upload,
            self._upload,
            lambda: self._session.create_paths(self._path()),
            lambda: self._session.remove_paths(self._path()),
            self._move,
        ]
        with suppress(OSError, OrionError):
            self._random.choice(self._random.choice([own, others]))()

    def _upload(self) -> None:
        self._source.write_bytes(self._data())
        above, _, name = self._path().rpartition("/")
        File.upload(self._session, name, self._source, folder_path=above)

    def _move(self) -> None:
        row = self._session.stat_path(self._path())
        above, _, name = self._path().rpartition("/")
        place = {"path": above, "name": name}
        self._session.assign_paths({"resource_type": row["resource_type"], "id": row["id"], **place})

    def _name(self) -> str:
        return self._random.choice(NAMES)

    def _path(self) -> str:
        return f"{self._orion}/{self._name()}"

    def _data(self) -> bytes:
        return self._random.randbytes(self._random.choice([1, 100, 5000]))


def shown(folder: Path) -> dict[str, tuple[str, str]]:
    """Path below a folder of the mount -> type and id."""
    return {
        str(path.relative_to(folder)): (
            os.getxattr(path, "user.orion.type").decode(),
            os.getxattr(path, "user.orion.id").decode(),
        )
        for path in sorted(folder.rglob("*"))
    }


def held(stand: Stand, folder: str, above: str = "") -> dict[str, tuple[str, str]]:
    """The same of what Orion holds, under the names that a mount should show."""
    found: dict[str, tuple[str, str]] = {}
    for name, item in visible_names(map(read_item, stand.direct.rows(folder))).items():
        found[above + name] = (item.kind.value, str(item.id))
        if item.is_folder:
            found |= held(stand, f"{folder}/{item.name}", f"{above}{name}/")
    return found


def go(stand: Stand, session: OrionSession, folder: Path, source: Path, seed: int, steps: int) -> None:
    """So many steps of both; now and then everything is compared."""
    chance = Chance(stand, session, folder, source, seed)
    for number in range(1, steps + 1):
        chance.step()
        if number % (STEPS // 2) == 0:
            stand.drain()
            assert stand.run("refresh", folder).returncode == 0
            assert shown(folder) == held(stand, stand.orion_path(folder)), f"after {number} steps"


@pytest.mark.expect_log("flush|is not on Orion yet|rename|open|release")
def test_mount_shows_what_orion_holds_after_changes_of_two_clients(
    mounted, session, folder, tmp_path
) -> None:
    go(mounted, session, folder, tmp_path / "source", seed=1, steps=STEPS)


@pytest.mark.long
@pytest.mark.timeout(5400)
@pytest.mark.parametrize("seed", range(2, 6))
@pytest.mark.expect_log("flush|is not on Orion yet|rename|open|release")
def test_mount_shows_it_after_many_changes(mounted, session, folder, tmp_path, seed) -> None:
    go(mounted, session, folder, tmp_path / "source", seed, LONG_STEPS)
