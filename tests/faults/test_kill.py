"""kill -9 of the daemon, and of the server, while one file is saved again and again.

Whatever the moment: afterwards the file is one whole version that was saved, not older than the last
save that was reported as done, and nothing else is left on Orion.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.cli.processes import wait_for
from tests.faults.outage import Outage
from tests.faults.saver import Saver, body, save, version_of
from tests.mount.stand import Client, Stand
from tests.server.process import HOME

DOC = f"{HOME}/doc"
# Several requests for one save, so that the points where it can be cut are spread.
SWITCHES = {"part_bytes": "65536"}
SLOW = {"action": "delay", "seconds": 0.008}
STYLES = pytest.mark.parametrize("style", ["truncate", "rename"])
KEPT = pytest.mark.expect_log("what was being written when an earlier mount ended is kept")


def recover(stand: Stand) -> None:
    """Away with the dead mount, and the next one brings to an end what the last one began."""
    stand.run("umount", stand.point)
    assert not stand.is_mounted
    stand.mount()
    stand.drain()


def whole_version(server: Outage, *beside: str) -> int:
    """The version that the file has on Orion, with nothing left beside it."""
    there = [name for name in beside if server.direct.find(f"{HOME}/{name}")]
    assert server.leftovers("doc", *there) == []
    for name in there:
        version_of(server.direct.content(f"{HOME}/{name}"))
    return version_of(server.direct.content(DOC))


# -- the daemon, at random points ------------------------------------------------------------------


def kill_at_random(stand: Stand, style: str, saves: int, kills: int, seed: int) -> None:
    server = stand.server
    assert isinstance(server, Outage)
    dice = random.Random(seed)
    server.misbehave(SLOW)
    path = stand.mine / "doc"
    save(style, str(path), body(1))
    started = time.monotonic()
    save(style, str(path), body(2))
    usual_s = time.monotonic() - started
    done = safe = 2
    victims = {*dice.sample(range(3, saves), kills), saves}
    for victim in sorted(victims):
        saver = Saver(style, path, done + 1, victim)
        wait_for(lambda victim=victim, saver=saver: saver.begun == victim or saver.is_over)
        time.sleep(dice.uniform(0, 1.2 * usual_s))
        stand.kill()
        saver.wait()
        recover(stand)
        version = whole_version(server, "doc.new")
        print(f"begun {saver.begun}, saved {saver.saved}, there {version}")
        assert max(safe, saver.saved) <= version <= saver.begun
        assert version_of(path.read_bytes()) == version
        done, safe = saver.begun, version
    save(style, str(path), body(done + 1))
    stand.umount()
    assert whole_version(server) == done + 1


@STYLES
@KEPT
@pytest.mark.timeout(110)
def test_daemon_killed_during_saves_leaves_a_whole_saved_version(client, make_stand, style):
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    stand = make_stand(client, **SWITCHES)
    kill_at_random(stand, style, saves=20, kills=7 if client is Client.OWN else 3, seed=seed)


@STYLES
@KEPT
@pytest.mark.long
@pytest.mark.timeout(600)
def test_daemon_killed_during_many_saves_leaves_a_whole_saved_version(client, make_stand, style):
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    kill_at_random(make_stand(client, **SWITCHES), style, saves=200, kills=80, seed=seed)


# -- the daemon, at each step ----------------------------------------------------------------------


@dataclass(frozen=True)
class Step:
    """The `nth` request of a kind during a save; `is_large`: of a version sent in parts."""

    name: str
    method: str
    path: str
    nth: int = 1
    is_large: bool = False
    style: str = "truncate"

    def rule(self, action: str) -> dict[str, object]:
        """From this request on, all of its kind come to this."""
        return {"method": self.method, "path": self.path, "nth": self.nth, "action": action}

    def count(self, server: Outage) -> int:
        """How many requests of this kind the server has seen the end of."""
        return sum(
            row.method == self.method and re.search(self.path, row.path) is not None for row in server.rows()
        )


STEPS = [
    Step("upload", "POST", "files/upload$"),
    Step("begin", "POST", "files$", is_large=True),
    Step("part", "PUT", "^/blobs/upload/", nth=2, is_large=True),
    Step("complete", "POST", "/complete$", is_large=True),
    Step("assign", "POST", "/paths/assign$"),
    Step("delete", "DELETE", r"files/\d+$"),
    Step("rename-assign", "POST", "/paths/assign$", nth=2, style="rename"),
    Step("rename-delete", "DELETE", r"files/\d+$", style="rename"),
]
WHEN = {"before": "reset", "after": "after_reset"}
SMALL_VERSION = next(version for version in range(2, 99) if len(body(version)) < 60_000)
LARGE_VERSION = next(version for version in range(2, 99) if len(body(version)) > 140_000)


@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_daemon_killed_at_a_step_leaves_a_whole_version(make_stand, step, when):
    stand = make_stand(**SWITCHES)
    server = stand.server
    server.direct.put(DOC, body(1))
    before = step.count(server)
    server.misbehave(step.rule(WHEN[when]))
    version = LARGE_VERSION if step.is_large else SMALL_VERSION
    saver = Saver(step.style, stand.mine / "doc", version, version)
    wait_for(lambda: step.count(server) >= before + step.nth)
    stand.kill()
    saver.wait()
    server.misbehave()
    recover(stand)
    assert whole_version(server, "doc.new") in (1, version)
    if step.style == "truncate":
        # It was sealed before the first request.
        assert version_of(server.direct.content(DOC)) == version
    save(step.style, str(stand.mine / "doc"), body(version + 1))
    assert whole_version(server) == version + 1


# -- the server ------------------------------------------------------------------------------------


@STYLES
@pytest.mark.expect_log("offline: |is not on Orion yet|no answer within|^.* (WARNING|INFO) .*(flush|rename|release|open|create|lookup)")
@pytest.mark.timeout(110)
def test_server_killed_during_saves_costs_nothing_that_was_saved(client, make_stand, style):
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    stand = make_stand(client, **SWITCHES)
    server = stand.server
    server.misbehave(SLOW)
    saver = Saver(style, stand.mine / "doc", 1, 10_000, stubborn=True)
    for _ in range(2 if client is Client.OWN else 1):
        saved = saver.saved
        wait_for(lambda saved=saved: saver.saved > saved + 1)
        time.sleep(dice.uniform(0, 0.2))
        server.kill()
        failed = len(saver.failed)
        wait_for(lambda failed=failed: len(saver.failed) > failed)
        server.start()
    saved = saver.saved
    wait_for(lambda: saver.saved > saved)
    saver.end()
    stand.drain()
    version = whole_version(server, "doc.new")
    assert saver.saved <= version <= saver.begun
    assert version_of((stand.mine / "doc").read_bytes()) == version
