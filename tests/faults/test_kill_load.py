"""kill -9 of the daemon, or of the server, at random points while several programs save, rename and remove.

Whatever the moment and in both write modes: what a call reported as done is on Orion after the next mount,
a call that was cut off has happened or has not, every item is a whole version, and none is there twice or
under a name that nobody gave it.
"""

from __future__ import annotations

import errno
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from orionfs.models import MARK_PREFIX
from tests.cli.processes import wait_for
from tests.faults import loader
from tests.faults.outage import Outage
from tests.faults.saving import version_of
from tests.mount.stand import Stand

pytestmark = pytest.mark.own_first

SWITCHES = {"part_bytes": "65536"}
# Every tenth request, after a delay that spreads the points where a save can be cut.
FAULTS = [
    {"path": "/", "nth": 10, "every": 20, "action": "status", "status": 503},
    {"path": "/", "nth": 20, "every": 20, "action": "after_reset"},
    {"path": "/", "action": "delay", "seconds": 0.004},
]
LOADERS = 3
LOAD_S = 0.5
DRAINED_S = 60.0
LAG_S = 3.0
MODES = pytest.mark.parametrize("options", [[], ["write_back"]], ids=["through", "back"])

Version = int | None  # None: no such file


class Load:
    """A loader on one folder, and what its files may be by what it was told."""

    def __init__(self, stand: Stand, number: int) -> None:
        self.stand = stand
        self.folder = stand.mine / f"load-{number}"
        self.folder.mkdir()
        self.versions = 1
        self.done = 0
        self.may_be: dict[str, set[Version]] = {name: {None} for name in loader.NAMES}
        self._said = stand.folder / f"said-{number}"
        self._process: subprocess.Popen[str] | None = None

    def start(self, seed: int) -> None:
        command = [sys.executable, "-I", loader.__file__, str(self.folder), str(seed), str(self.versions)]
        with self._said.open("w") as said:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=said, stderr=subprocess.PIPE, text=True
            )

    @property
    def has_begun(self) -> bool:
        return self._said.stat().st_size > 0

    def end(self) -> None:
        """Let it end, and learn from all that it said."""
        assert self._process is not None
        _, complaints = self._process.communicate()
        assert complaints == ""
        lines = [json.loads(line) for line in self._said.read_text().splitlines()]
        for call, status in zip(lines[::2], [*lines[1::2], None][: len(lines[::2])], strict=True):
            self._learn(call, status)

    def _learn(self, call: list[str | int], status: int | None) -> None:
        verb, name, *more = call
        assert isinstance(name, str)
        self.versions += 1
        self.done += status == 0
        if status == errno.ENOENT:  # nothing to rename or to remove, as far as the mount can know
            assert None in self.may_be[name]
            return
        is_done = status == 0
        before = set(self.may_be[name])
        wanted: set[Version] = {int(more[0])} if verb in ("save", "sync") else {None}
        self.may_be[name] = wanted if is_done else before | wanted
        if verb == "rename":
            other = str(more[0])
            self.may_be[other] = before - {None} if is_done else self.may_be[other] | before

    def check(self) -> None:
        """Orion has what was reported, each once; from now on that is what there is."""
        rows = self.stand.direct.rows(self.stand.orion_path(self.folder))
        names = [row["name"] for row in rows]
        assert len(names) == len(set(names)), names
        assert set(names) <= set(loader.NAMES), names
        there: dict[str, Version] = dict.fromkeys(loader.NAMES)
        there |= {row["name"]: version_of(self.stand.direct.api.content(row["id"])) for row in rows}
        wrong = {
            name: (there[name], self.may_be[name]) for name in there if there[name] not in self.may_be[name]
        }
        assert wrong == {}, self.folder
        seen = {path.name: version_of(path.read_bytes()) for path in self.folder.iterdir()}
        assert seen == {name: version for name, version in there.items() if version is not None}
        self.may_be = {name: {version} for name, version in there.items()}


def next_mount(stand: Stand) -> None:
    """What the mount that was killed has begun comes to an end."""
    stand.run("umount", stand.point)
    assert not stand.is_mounted
    stand.mount()
    stand.drain()


def begin(loads: list[Load], dice: random.Random) -> None:
    """All are at work, and have been for a moment."""
    for load in loads:
        load.start(dice.randrange(2**32))
    wait_for(lambda: all(load.has_begun for load in loads))
    time.sleep(dice.uniform(0.0, LOAD_S))


def load_and_kill(
    stand: Stand, kills: int, seed: int, cut: Callable[[], None], go_on: Callable[[], None]
) -> None:
    """`cut` is what happens to those at work; once they have ended, `go_on` has all that was begun end."""
    print(f"seed {seed}")
    dice = random.Random(seed)
    server = stand.server
    assert isinstance(server, Outage)
    loads = [Load(stand, number) for number in range(LOADERS)]
    for _ in range(kills):
        server.misbehave(*FAULTS)
        begin(loads, dice)
        cut()
        for load in loads:
            load.end()
        server.misbehave()
        go_on()
        for load in loads:
            load.check()
    assert sum(load.done for load in loads) > kills
    assert stand.run("umount", stand.point).returncode == 0
    assert not list(Path(stand.home / "state").rglob("staged/*"))


@MODES
@pytest.mark.expect_log("WARNING")
@pytest.mark.timeout(5400)
@pytest.mark.parametrize("kills", [10, pytest.param(200, marks=pytest.mark.long)])
def test_daemon_killed_under_load_loses_nothing_that_was_reported(make_stand, client, options, kills):
    stand = make_stand(client, options=options, **SWITCHES)
    load_and_kill(stand, kills, random.randrange(2**32), stand.kill, partial(next_mount, stand))


def next_mount_once_heard(stand: Stand) -> None:
    """The same where replicas lag: it goes on from what they show, and is compared once they show all."""
    next_mount(stand)
    time.sleep(LAG_S)  # of the server: nothing else tells that all of its replicas have heard
    assert stand.run("refresh", stand.point).returncode == 0


@MODES
@pytest.mark.long
@pytest.mark.expect_log("WARNING")
@pytest.mark.timeout(5400)
def test_daemon_killed_while_replicas_lag_loses_nothing_that_was_reported(make_stand, client, options):
    stand = make_stand(client, options=options, read_lag_s=str(LAG_S), **SWITCHES)
    load_and_kill(stand, 15, random.randrange(2**32), stand.kill, partial(next_mount_once_heard, stand))
    stand.mount()
    wait_for(lambda: marked(stand) == [], DRAINED_S)  # some of which nobody had waited for


def marked(stand: Stand) -> list[str]:
    """What uploads have left under their marks, as far as replicas show it."""
    names = [row["name"] for row in stand.direct.rows(stand.direct.home)]
    return [name for name in names if name.startswith(MARK_PREFIX)]


def restart_server(stand: Stand) -> None:
    """The mount lives on, and says of each call whether it was done."""
    assert isinstance(stand.server, Outage)
    stand.server.kill()
    stand.server.start()


def wait_drained(stand: Stand) -> None:
    wait_for(lambda: stand.ask("drain")["pending"] == 0, DRAINED_S)


@MODES
@pytest.mark.expect_log("WARNING")
@pytest.mark.timeout(5400)
@pytest.mark.parametrize("kills", [2, pytest.param(100, marks=pytest.mark.long)])
def test_server_killed_under_load_costs_nothing_that_was_reported(make_stand, client, options, kills):
    stand = make_stand(client, options=options, **SWITCHES)
    seed = random.randrange(2**32)
    load_and_kill(stand, kills, seed, partial(restart_server, stand), partial(wait_drained, stand))
