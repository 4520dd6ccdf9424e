"""What happens by chance happens on the mount as on a local disk: results, errors, what is left.

With faults of the server errors are allowed, wrong bytes never.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.mount.conftest import fresh_folder
from tests.mount.side import Chance, Side

pytestmark = pytest.mark.own_first

STEPS = 500
# The mark of a case does not win over that of its test, which would end the mount first.
LONG = pytest.param(5000, marks=[pytest.mark.long, pytest.mark.timeout(5400)])
# What may come of a fault that goes on; nothing that a step itself brings about.
FAULTY = {errno.EIO, errno.ETIMEDOUT, errno.EBUSY, errno.ESTALE}
# Every tenth request: a quarter each of what servers and networks do.
FAULTS = [
    {"path": "/", "nth": 10, "every": 40, "action": "status", "status": 503},
    {"path": "/", "nth": 20, "every": 40, "action": "reset"},
    {"path": "/", "nth": 30, "every": 40, "action": "after_reset"},
    {"path": "/", "nth": 40, "every": 40, "action": "cut", "after_bytes": 40},
]


def go(stand, folder: Path, twin: Path, seed: int, steps: int) -> None:
    """The same steps in both; the same comes of them, here and on Orion."""
    print(f"seed {seed}")
    chance, here, there = Chance(seed), Side(folder), Side(twin)
    done: list[str] = []
    try:
        for _ in range(steps):
            step = chance.step()
            wanted = step.outcome(there)
            done.append(f"{step.words}: {wanted!r:.60}")
            assert step.outcome(here) == wanted, "\n".join(done[-200:])
    finally:
        here.close_all()
        there.close_all()
    assert here.tree() == there.tree()
    stand.drain()
    assert stand.direct.tree(stand.orion_path(folder)) == sorted(there.tree().items())


@pytest.mark.parametrize("steps", [STEPS, LONG])
def test_random_steps_end_as_on_a_local_disk(mounted, folder, tmp_path, steps) -> None:
    go(mounted, folder, tmp_path, random.randrange(2**32), steps)
    mounted.remount()
    assert Side(folder).tree() == Side(tmp_path).tree()


@pytest.mark.parametrize("steps", [STEPS // 2, LONG])
def test_random_steps_end_so_where_little_is_believed(impatient, request, tmp_path, steps) -> None:
    go(impatient, fresh_folder(impatient, request), tmp_path, random.randrange(2**32), steps)


@pytest.mark.parametrize("steps", [STEPS // 2, LONG])
def test_random_steps_end_so_with_write_back(make_stand, shared_server, request, tmp_path, steps) -> None:
    stand = make_stand(server=shared_server, options=["write_back"])
    go(stand, fresh_folder(stand, request), tmp_path, random.randrange(2**32), steps)


@pytest.mark.parametrize("steps", [STEPS // 2, LONG])
def test_random_steps_end_so_where_listings_tell_little(odd, request, tmp_path, steps) -> None:
    go(odd, fresh_folder(odd, request), tmp_path, random.randrange(2**32), steps)


@pytest.mark.parametrize("options", [["cache_limit_bytes=1"]], ids=["evicted"])
@pytest.mark.parametrize("steps", [STEPS, LONG])
def test_random_steps_end_so_whatever_is_kept_here(make_stand, client, tmp_path, options, steps) -> None:
    stand = make_stand(client, options=options)
    folder = stand.mine / "x"
    folder.mkdir()
    go(stand, folder, tmp_path, random.randrange(2**32), steps)
    stand.remount()
    assert Side(folder).tree() == Side(tmp_path).tree()


@pytest.mark.expect_log("offline: |attempt|WARNING|is not on Orion yet")
@pytest.mark.parametrize(
    ("options", "steps"),
    [
        pytest.param([], STEPS, id="through", marks=pytest.mark.timeout(300)),
        pytest.param(["write_back"], 100, id="back"),
        pytest.param([], *LONG.values, id="through-5000", marks=LONG.marks),
        pytest.param(["write_back"], *LONG.values, id="back-5000", marks=LONG.marks),
    ],
)
def test_random_steps_among_faults_never_bring_wrong_bytes(
    make_stand, client, tmp_path, options, steps
) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    stand = make_stand(client, options=["cache_limit_bytes=1", *options])
    here, there = Side(stand.mine / "x"), Side(tmp_path)
    here.top.mkdir()
    stand.server.misbehave(*FAULTS)
    chance = Chance(seed, has_open_files=False)
    for _ in range(steps):
        step = chance.step()
        before = there.tree()
        wanted = step.outcome(there)
        outcome = step.outcome(here)
        if outcome == wanted:
            continue
        is_fault = isinstance(outcome, int) and outcome in FAULTY
        assert is_fault, f"{step.words}: {outcome!r:.200} for {wanted!r:.200}"
        stand.server.misbehave()
        _meet(here, there, before)
        stand.server.misbehave(*FAULTS)
    stand.server.misbehave()
    stand.drain()
    assert here.tree() == there.tree()
    assert stand.direct.tree(stand.orion_path(here.top)) == sorted(there.tree().items())


def _meet(here: Side, there: Side, before: dict[str, bytes | None]) -> None:
    """After an error either is right, what was or what was wanted; the twin goes on from what there is."""
    found, after = here.tree(), there.tree()
    for path in {*found, *before, *after}:
        versions = [tree.get(path, "nothing") for tree in (before, after)]
        assert found.get(path, "nothing") in versions, path
    shutil.rmtree(there.top)
    there.top.mkdir()
    for path, content in found.items():
        if content is None:
            (there / Path(path)).mkdir()
        else:
            (there / Path(path)).write_bytes(content)


def test_random_steps_of_several_at_once_end_as_on_a_local_disk(mounted, folder, tmp_path) -> None:
    """Each in a folder of its own, all below one; then the folders change places."""

    def work(number: int) -> None:
        here, there = folder / f"{number}", tmp_path / f"{number}"
        here.mkdir()
        there.mkdir()
        chance, sides = Chance(100 + number), (Side(here), Side(there))
        for _ in range(60):
            step = chance.step()
            assert step.outcome(sides[0]) == step.outcome(sides[1]), step.words
        for side in sides:
            side.close_all()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    for top in (folder, tmp_path):
        for number in range(6):
            (top / f"{number}").rename(top / f"moved-{(number + 1) % 6}")
    assert Side(folder).tree() == Side(tmp_path).tree()
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
