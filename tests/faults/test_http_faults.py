"""One request of a save, a read or a listing goes wrong: the call ends well, or says that it did not.

One mount and one server for all tests of a session; each test has a folder of its own.
"""

from __future__ import annotations

import errno
import itertools
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cli.processes import wait_for
from tests.faults.conftest import watched
from tests.faults.outage import Outage, bytes_of, error_of
from tests.mount.stand import Client, Stand
from tests.server.process import HOME

pytestmark = pytest.mark.own_first

PART_BYTES = 65_536
URL_LIFETIME_S = 2.0
SMALL, LARGE = 2_000, 150_000
FOLDERS = 200

_NUMBERS = itertools.count(1)


@dataclass(frozen=True)
class Step:
    """A kind of request, by method and path, and the size of a file for which it is made."""

    name: str
    method: str
    path: str
    size: int = SMALL

    def rule(self, action: dict[str, Any]) -> dict[str, Any]:
        return {"method": self.method, "path": self.path, **action}


UPLOAD = Step("upload", "POST", "files/upload$")
BEGIN = Step("begin", "POST", "files$", LARGE)
PART = Step("part", "PUT", "^/blobs/upload/", LARGE)
COMPLETE = Step("complete", "POST", "/complete$", LARGE)
ASSIGN = Step("assign", "POST", "/paths/assign$")
DELETE = Step("delete", "DELETE", r"files/\d+$")
CREATE = Step("create", "POST", "/paths/create$")
REMOVE = Step("remove", "POST", "/paths/remove$")
LATER = "429-later"
ACTIONS: dict[str, dict[str, Any]] = {
    "500": {"action": "status", "status": 500},
    "503": {"action": "status", "status": 503},
    "429": {"action": "status", "status": 429, "retry_after": "0"},
    LATER: {"action": "status", "status": 429, "retry_after": "1"},
    "403": {"action": "status", "status": 403},
    "reset": {"action": "reset"},
    "after-reset": {"action": "after_reset"},
    "garbage": {"action": "garbage"},
    "cut": {"action": "cut", "after_bytes": 10},
    "delay": {"action": "delay", "seconds": 0.2},
}
FOLDER = Step("folder", "GET", "/paths/ls$")
REDIRECT = Step("redirect", "GET", "/download$", LARGE)
BLOB = Step("blob", "GET", r"^/blobs/\d+$", LARGE)
TELLING = ("503", "after-reset", "garbage")
ALL = ("500", "503", "429", "reset", "after-reset", "garbage", "cut", "delay")
SHORT = {
    *((Client.OWN, action) for action in ACTIONS),
    (Client.DOCUMENTED, "after-reset"),
}
CASE = ("client", "step", "action")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outage]:
    made = Outage(tmp_path_factory.mktemp("server"), {"part_bytes": str(PART_BYTES)})
    yield made
    made.close()


@pytest.fixture(scope="module")
def stand_of(tmp_path_factory: pytest.TempPathFactory, server: Outage) -> Iterator[Callable[[Client], Stand]]:
    """The mount on each session, made when it is first asked for."""
    stands: dict[Client, Stand] = {}

    def find(client: Client) -> Stand:
        if client not in stands:
            stands[client] = Stand(tmp_path_factory.mktemp("stand"), server, client)
            # Made before anybody looks, so that nothing is believed of what is in them.
            folders = [f"{HOME}/{client.name}-{number}" for number in range(FOLDERS)]
            answer = server.direct.api.create(*folders)
            assert answer.status_code == 201, answer.text
            stands[client].mount()
        return stands[client]

    yield find
    server.misbehave()
    for stand in stands.values():
        stand.close()


@pytest.fixture
def stand(
    request: pytest.FixtureRequest, stand_of: Callable[[Client], Stand], client: Client, server: Outage
) -> Iterator[Stand]:
    """The mount, whose log must stay calm while the test runs; the server behaves before and after."""
    server.misbehave()
    with watched(request, stand_of(client)) as mounted:
        yield mounted
        server.misbehave()


@pytest.fixture
def folder(stand: Stand) -> Path:
    """A folder of this test's own that the mount knows nothing of."""
    return stand.mine / f"{stand.client.name}-{next(_NUMBERS) % FOLDERS}"


def cases(steps: Sequence[Step], actions: Sequence[str], long: Sequence[str] = ()) -> list[Any]:
    """Each step with each action; where the session hardly matters it is ours in the short run."""
    return [
        pytest.param(
            client,
            step,
            action,
            id=f"{client.name.lower()}-{step.name}-{action}",
            marks=[pytest.mark.long] if action in long or (client, action) not in SHORT else [],
        )
        for client in Client
        for step in steps
        for action in (*actions, *long)
    ]


def once(step: Step, action: str, nth: int = 1, times: int = 1) -> dict[str, Any]:
    return {**step.rule(ACTIONS[action]), "nth": nth, "times": times}


# -- saves -----------------------------------------------------------------------------------------


@pytest.mark.some(8)
@pytest.mark.parametrize(
    CASE,
    [
        *cases([UPLOAD, ASSIGN, DELETE], ALL),
        *cases([BEGIN, PART, COMPLETE], TELLING, [action for action in ALL if action not in TELLING]),
        *cases([UPLOAD, ASSIGN], [LATER]),
    ],
)
def test_fault_at_a_step_of_a_save_is_overcome(stand, server, folder, step, action):
    path = folder / "doc"
    server.direct.put(stand.orion_path(path), b"old contents")
    assert path.read_bytes() == b"old contents"
    new = bytes_of(step.size)
    server.misbehave(once(step, action))
    started = time.monotonic()
    path.write_bytes(new)
    assert action != LATER or time.monotonic() - started >= 1
    stand.drain()
    assert server.direct.content(stand.orion_path(path)) == new
    assert server.leftovers("doc", folder=stand.orion_path(folder)) == []
    assert path.read_bytes() == new


@pytest.mark.some(3)
@pytest.mark.parametrize(CASE, cases([ASSIGN, DELETE], TELLING))
def test_fault_at_a_step_of_a_rename_over_a_file_is_overcome(stand, server, folder, step, action):
    server.direct.put(stand.orion_path(folder / "doc"), b"old contents")
    server.direct.put(stand.orion_path(folder / "doc.new"), b"new contents")
    assert sorted(os.listdir(folder)) == ["doc", "doc.new"]
    server.misbehave(once(step, action))
    os.rename(folder / "doc.new", folder / "doc")
    stand.drain()
    assert server.direct.content(stand.orion_path(folder / "doc")) == b"new contents"
    assert server.leftovers("doc", folder=stand.orion_path(folder)) == []


@pytest.mark.parametrize(CASE, cases([CREATE], TELLING, ["reset", "cut"]))
def test_fault_while_a_folder_is_made_and_removed_is_overcome(stand, server, folder, step, action):
    assert os.listdir(folder) == []
    server.misbehave(once(step, action))
    (folder / "made").mkdir()
    assert server.direct.names(stand.orion_path(folder)) == ["made"]
    server.misbehave(once(REMOVE, action))
    (folder / "made").rmdir()
    assert server.direct.names(stand.orion_path(folder)) == []


@pytest.mark.expect_log("may not be replaced|is not on Orion yet")
def test_save_over_what_may_not_be_removed_is_denied_and_withdrawn(stand, server, folder):
    path = folder / "doc"
    old = server.direct.put(stand.orion_path(path), b"old contents")
    assert path.read_bytes() == b"old contents"
    server.misbehave({"method": "DELETE", "path": f"/files/{old}$", **ACTIONS["403"]})
    with pytest.raises(PermissionError):
        path.write_bytes(b"new contents")
    assert server.direct.row(stand.orion_path(path))["id"] == old
    assert server.leftovers("doc", folder=stand.orion_path(folder)) == []
    server.misbehave()
    stand.drain()
    assert server.direct.content(stand.orion_path(path)) == b"new contents"
    assert server.leftovers("doc", folder=stand.orion_path(folder)) == []


@pytest.mark.expect_log("may not be replaced")
def test_rename_over_what_may_not_be_removed_is_denied_and_undone(stand, server, folder):
    old = server.direct.put(stand.orion_path(folder / "doc"), b"old contents")
    server.direct.put(stand.orion_path(folder / "other"), b"other contents")
    assert sorted(os.listdir(folder)) == ["doc", "other"]
    server.misbehave({"method": "DELETE", "path": f"/files/{old}$", **ACTIONS["403"]})
    with pytest.raises(PermissionError):
        os.rename(folder / "other", folder / "doc")
    assert server.leftovers("doc", "other", folder=stand.orion_path(folder)) == []
    assert server.direct.content(stand.orion_path(folder / "other")) == b"other contents"
    assert (folder / "doc").read_bytes() == b"old contents"
    assert (folder / "other").read_bytes() == b"other contents"


# -- reads -----------------------------------------------------------------------------------------


@pytest.mark.some(5)
@pytest.mark.parametrize(CASE, cases([REDIRECT, BLOB], [*ALL, "403"]))
def test_fault_of_a_read_is_overcome(stand, server, folder, step, action):
    content = bytes_of(step.size)
    server.put_in_parts(stand.orion_path(folder / "doc"), content)
    server.misbehave(once(step, action))
    assert (folder / "doc").read_bytes() == content
    assert (folder / "doc").read_bytes() == content


@pytest.mark.expect_log(r"WARNING orionfs.fuse.boundary: (open|read) |offline: ")
@pytest.mark.parametrize(
    "client", [Client.OWN, pytest.param(Client.DOCUMENTED, marks=pytest.mark.long)], ids=["own", "documented"]
)
def test_fault_of_every_read_is_an_error_never_other_bytes(make_stand, client):
    stand = make_stand(client, options=["inactivity_s=1"])
    content = bytes_of(SMALL)
    for action in ("garbage", "cut", "reset"):
        stand.direct.put(f"{HOME}/{action}", content)
    for action in ("garbage", "cut", "reset"):
        stand.server.misbehave({**BLOB.rule(ACTIONS[action]), "after_bytes": SMALL // 2})
        assert error_of((stand.mine / action).read_bytes) in (errno.EIO, errno.ETIMEDOUT)
        stand.server.misbehave()
        wait_for(lambda: stand.ask("status")["health"] == "online")
        assert (stand.mine / action).read_bytes() == content


def test_address_of_contents_that_has_expired_is_renewed(make_stand, client):
    stand = make_stand(client, url_lifetime_s=str(URL_LIFETIME_S))
    content = bytes_of(3 * 2**20)
    stand.direct.put(f"{HOME}/large", content)
    with (stand.mine / "large").open("rb", buffering=0) as file:
        assert file.read(4096) == content[:4096]
        time.sleep(URL_LIFETIME_S + 1)  # the server's clock, which tells nobody
        assert os.pread(file.fileno(), 4096, len(content) - 4096) == content[-4096:]


# -- names -----------------------------------------------------------------------------------------


@pytest.mark.some(4)
@pytest.mark.parametrize(CASE, cases([FOLDER], [*ALL, "403"]))
def test_fault_of_a_listing_is_overcome(stand, server, folder, step, action):
    names = [f"item-{number}" for number in range(5)]
    for name in names:
        server.direct.put(stand.orion_path(folder / name), name.encode())
    server.misbehave(once(step, action))
    assert sorted(os.listdir(folder)) == names


@pytest.mark.expect_log(r"WARNING orionfs.fuse.boundary: opendir ")
@pytest.mark.parametrize(
    "client", [Client.OWN, pytest.param(Client.DOCUMENTED, marks=pytest.mark.long)], ids=["own", "documented"]
)
def test_fault_of_every_listing_is_an_error_never_an_empty_folder(make_stand, client):
    stand = make_stand(client, options=["read_deadline_s=1"])
    stand.direct.make_folder(f"{HOME}/folder")
    stand.direct.put(f"{HOME}/folder/doc", b"contents")
    for action in ("garbage", "500"):
        stand.server.misbehave(FOLDER.rule(ACTIONS[action]))
        assert error_of(lambda: os.listdir(stand.mine / "folder")) in (errno.EIO, errno.ETIMEDOUT)
    stand.server.misbehave()
    assert os.listdir(stand.mine / "folder") == ["doc"]
