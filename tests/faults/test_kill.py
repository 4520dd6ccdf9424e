"""kill -9 of the daemon, and of the server, while one file is saved again and again.

Whatever the moment: afterwards the file is one whole version that was saved, not older than the last
save that was reported as done, and nothing else is left on Orion.
"""

from __future__ import annotations

import os
import random
import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.cli.processes import wait_for
from tests.faults.conftest import leave, watched
from tests.faults.outage import Outage
from tests.faults.saver import body, save
from tests.faults.saving import Saver, version_of
from tests.mount.stand import Client, Stand
from tests.server.process import HOME

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


def whole_version(stand: Stand, folder: str = HOME, *beside: str) -> int:
    """The version that the file has on Orion, with nothing left beside it but what may be."""
    server, direct = stand.server, stand.direct
    assert isinstance(server, Outage)
    there = [name for name in beside if direct.find(f"{folder}/{name}")]
    assert server.leftovers("doc", *there, folder=folder) == []
    for name in there:
        version_of(direct.content(f"{folder}/{name}"))
    return version_of(direct.content(f"{folder}/doc"))


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
        saver.wait_until_begun(victim)
        time.sleep(dice.uniform(0, 1.2 * usual_s))
        stand.kill()
        saver.wait()
        recover(stand)
        version = whole_version(stand, HOME, "doc.new")
        print(f"begun {saver.begun}, saved {saver.saved}, there {version}")
        assert max(safe, saver.saved) <= version <= saver.begun
        assert version_of(path.read_bytes()) == version
        done, safe = saver.begun, version
    save(style, str(path), body(done + 1))
    stand.umount()
    assert whole_version(stand) == done + 1


@pytest.mark.parametrize(
    ("client", "style"),
    [
        pytest.param(Client.OWN, "truncate", id="own-truncate", marks=pytest.mark.long),
        pytest.param(Client.OWN, "rename", id="own-rename"),
        pytest.param(Client.DOCUMENTED, "rename", id="documented-rename", marks=pytest.mark.long),
    ],
)
@KEPT
@pytest.mark.timeout(110)
def test_daemon_killed_during_saves_leaves_a_whole_saved_version(make_stand, client, style):
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    stand = make_stand(client, **SWITCHES)
    kill_at_random(stand, style, saves=12, kills=1, seed=seed)


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
    is_tagged: bool = False

    def rule(self, action: str) -> dict[str, object]:
        """From this request on, all of its kind come to this."""
        return {"method": self.method, "path": self.path, "nth": self.nth, "action": action}

    def count(self, server: Outage, since: int) -> int:
        """How many requests of this kind the server has seen the end of since a mark."""
        rows = server.rows(since)
        return sum(row.method == self.method and re.search(self.path, row.path) is not None for row in rows)


STEPS = [
    Step("upload", "POST", "files/upload$"),
    Step("begin", "POST", "files$", is_large=True),
    Step("part", "PUT", "^/blobs/upload/", nth=2, is_large=True),
    Step("complete", "POST", "/complete$", is_large=True),
    Step("tag", "POST", r"files/\d+/tags$", is_tagged=True),
    Step("assign", "POST", "/paths/assign$"),
    Step("delete", "DELETE", r"files/\d+$"),
    Step("rename-assign", "POST", "/paths/assign$", nth=2, style="rename"),
    Step("rename-delete", "DELETE", r"files/\d+$", style="rename"),
]
WHEN = {"before": "reset", "after": "after_reset"}
SMALL_VERSION = next(version for version in range(2, 99) if len(body(version)) < 60_000)
LARGE_VERSION = next(version for version in range(2, 99) if len(body(version)) > 140_000)


@pytest.fixture(scope="module")
def step_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outage]:
    server = Outage(tmp_path_factory.mktemp("server"), SWITCHES)
    yield server
    server.close()


@pytest.fixture(scope="module")
def step_stand(tmp_path_factory: pytest.TempPathFactory, step_server: Outage) -> Iterator[Stand]:
    stand = Stand(tmp_path_factory.mktemp("stand"), step_server)
    stand.mount()
    yield stand
    leave(stand)


@pytest.mark.some(6)
@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_daemon_killed_at_a_step_leaves_a_whole_version(request, step_stand, step_server, step, when):
    with watched(request, step_stand) as stand:
        folder = stand.mine / f"{step.name}-{when}"
        folder.mkdir()
        path = folder / "doc"
        path.write_bytes(body(1))
        if step.is_tagged:
            os.setxattr(path, "user.orion.tag.lead", b"")
        mark = step_server.mark()
        step_server.misbehave(step.rule(WHEN[when]))
        version = LARGE_VERSION if step.is_large else SMALL_VERSION
        saver = Saver(step.style, path, version, version)
        wait_for(lambda: step.count(step_server, mark) >= step.nth)
        stand.kill()
        saver.wait()
        step_server.misbehave()
        recover(stand)
        # Over the file itself a version is promised before the first request, else it is beside it.
        wanted = (version,) if step.style == "truncate" else (1, version)
        assert whole_version(stand, stand.orion_path(folder), "doc.new") in wanted
        save(step.style, str(path), body(version + 1))
        assert whole_version(stand, stand.orion_path(folder)) == version + 1
        assert not step.is_tagged or stand.direct.tags(stand.orion_path(path)) == ["lead"]


@pytest.mark.parametrize(
    "client",
    [Client.OWN, pytest.param(Client.DOCUMENTED, marks=pytest.mark.long)],
    ids=lambda client: client.name.lower(),
)
def test_rename_that_replicas_do_not_show_yet_after_a_kill_replaces_what_it_was_to(make_stand, client):
    stand = make_stand(client, read_lag_s="0.8")
    server, new, old = stand.server, stand.mine / "new", stand.mine / "old"
    new.write_bytes(b"new")
    old.write_bytes(b"old")
    mark = server.mark()
    server.misbehave({"method": "POST", "path": "/paths/assign$", "action": "after_reset"})
    with subprocess.Popen(["mv", "-T", new, old], stderr=subprocess.DEVNULL) as mover:
        wait_for(lambda: any("/paths/assign" in row.path for row in server.rows(mark)))
        stand.kill()
    assert mover.returncode != 0
    server.misbehave()
    recover(stand)
    wait_for(lambda: [row["name"] for row in stand.direct.rows(HOME)] == ["old"])
    assert stand.direct.content(f"{HOME}/old") == b"new"
    assert old.read_bytes() == b"new"


@pytest.mark.expect_log("is not on Orion yet")
@pytest.mark.parametrize(
    "client",
    [Client.OWN, pytest.param(Client.DOCUMENTED, marks=pytest.mark.long)],
    ids=lambda client: client.name.lower(),
)
def test_folder_that_was_moved_just_before_a_kill_takes_along_what_waits_below(make_stand, client):
    stand = make_stand(client, options=["write_back"])
    server, old, new = stand.server, stand.mine / "old", stand.mine / "new"
    (old / "deep").mkdir(parents=True)
    mark = server.mark()
    server.misbehave(
        {"method": "POST", "path": "files/upload$", "action": "status", "status": 503},
        {"method": "POST", "path": "/paths/assign$", "action": "after_reset"},
    )
    (old / "deep" / "kept").write_bytes(b"kept")
    with subprocess.Popen(["mv", old, new], stderr=subprocess.DEVNULL) as mover:
        wait_for(lambda: any("/paths/assign" in row.path for row in server.rows(mark)))
        stand.kill()
    assert mover.returncode != 0
    server.misbehave()
    recover(stand)
    assert stand.direct.tree(HOME) == [("new", None), ("new/deep", None), ("new/deep/kept", b"kept")]
    assert (new / "deep" / "kept").read_bytes() == b"kept"


# -- the server ------------------------------------------------------------------------------------


@STYLES
@pytest.mark.expect_log(r"offline: |is not on Orion yet|WARNING orionfs.fuse.boundary: ")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("kills", [1, pytest.param(20, marks=pytest.mark.long)])
def test_server_killed_during_saves_costs_nothing_that_was_saved(make_stand, style, kills):
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    dice = random.Random(seed)
    stand = make_stand(Client.OWN if style == "rename" else Client.DOCUMENTED, **SWITCHES)
    server = stand.server
    server.misbehave(SLOW)
    saver = Saver(style, stand.mine / "doc", 1, 10_000, stubborn=True)
    for _ in range(kills):
        saver.wait_until_saved(2)
        time.sleep(dice.uniform(0, 0.2))
        server.kill()
        saver.wait_until_failed()
        server.start()
    saver.wait_until_saved(1)
    saver.end()
    stand.drain()
    version = whole_version(stand, HOME, "doc.new")
    assert saver.saved <= version <= saver.begun
    assert version_of((stand.mine / "doc").read_bytes()) == version


# -- the daemon, while a folder moves ----------------------------------------------------------------

TREE = {"a": b"a", "sub": None, "sub/b": b"b", "sub/deep": None, "sub/deep/c": b"c"}


@pytest.mark.parametrize(
    ("path", "nth"),
    [("/paths/assign$", 2), pytest.param("/paths/remove$", 1, marks=pytest.mark.long)],
)
def test_daemon_killed_while_a_folder_moves_leaves_each_item_at_one_place(make_stand, path, nth):
    stand = make_stand(Client.OWN, folders_assignable="no")
    server, old, new = stand.server, stand.mine / "old", stand.mine / "new"
    server.misbehave()
    old.mkdir()
    for name, contents in TREE.items():
        if contents is None:
            stand.direct.make_folder(f"{HOME}/old/{name}")
        else:
            stand.direct.put(f"{HOME}/old/{name}", contents)
    mark = server.mark()
    server.misbehave({"method": "POST", "path": path, "nth": nth, "action": "delay", "seconds": 30})
    old.rename(new)
    assert sorted(os.listdir(new)) == ["a", "sub"]
    wait_for(lambda: any("/paths/assign" in row.path for row in server.rows(mark)))
    stand.kill()
    server.misbehave()
    there = dict(stand.direct.tree(HOME))
    for name, contents in TREE.items():
        if contents is not None:
            assert (f"old/{name}" in there) != (f"new/{name}" in there)
    stand.run("umount", stand.point)
    stand.mount()
    assert (new / "sub" / "deep" / "c").read_bytes() == b"c"
    assert os.listdir(stand.mine) == ["new"]
    stand.drain()
    assert stand.direct.tree(HOME) == [("new", None), *((f"new/{name}", TREE[name]) for name in TREE)]
