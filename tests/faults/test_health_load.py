"""Credentials that change and servers that stop, while programs read and write."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from orionfs.errors import ExitStatus
from tests.cli.processes import wait_for
from tests.faults.gate import Gate
from tests.faults.outage import Outage, error_of
from tests.faults.saver import body
from tests.faults.working import Worker, at_work
from tests.mount.server import HOME
from tests.mount.stand import Client, Stand

OFFLINE = r"offline: |is not on Orion yet|WARNING orionfs.fuse.boundary: "
READ_DEADLINE_S, CHANGE_DEADLINE_S, INACTIVITY_S = 5.0, 6.0, 6.0
IMPATIENT = (
    f"read_deadline_s={READ_DEADLINE_S}",
    f"change_deadline_s={CHANGE_DEADLINE_S}",
    f"inactivity_s={INACTIVITY_S}",
)
WORKERS = 3
# A save has a question, an upload and a change; on a machine with other work.
LATEST_S = READ_DEADLINE_S + INACTIVITY_S + CHANGE_DEADLINE_S + 5
BACK_WITHIN_S = 8.0


# -- tokens ----------------------------------------------------------------------------------------


class Rotating:
    """A mount through a gate; its token stands in a file, and is good until the next one is."""

    def __init__(self, stand: Stand) -> None:
        self.stand = stand
        self.file = stand.home / "token"
        self.gate = Gate(stand.server.url, stand.server.token, self._write(0))
        config = stand.home / "config" / "orionfs" / "config.toml"
        lines = [
            "[profile.default]",
            f'url = "{self.gate.url}"',
            f'token_file = "{self.file}"',
            'client = "own"',
        ]
        config.write_text("\n".join([*lines, ""]))

    def _write(self, number: int) -> str:
        """As a site does it: a token is good before it is given out."""
        token = f"token-of-day-{number}"
        if number:
            self.gate.tokens = self.gate.tokens | {token}
        new = self.file.with_suffix(".new")
        new.touch(mode=0o600)
        new.write_text(token)
        new.rename(self.file)
        return token

    def rotate(self, number: int) -> None:
        """The next token is there, then the one before it ends; returns when the mount has noticed."""
        token = self._write(number)
        self.gate.tokens = {token}
        wait_for(lambda: token in self.gate.passed)


@pytest.fixture
def rotating(make_stand):
    made = Rotating(make_stand(Client.OWN, is_mounted=False))
    made.stand.mount("metadata_ttl_s=0.2")
    yield made
    made.stand.umount()
    made.gate.close()


def test_token_rotated_fifty_times_under_load_fails_no_call(rotating) -> None:
    stand = rotating.stand
    with at_work(stand, WORKERS) as workers:
        for number in range(1, 51):
            rotating.rotate(number)
    stand.drain()
    assert [each.failures for each in workers] == [[]] * WORKERS
    assert [each.wrong for each in workers] == [[]] * WORKERS
    for each in workers:
        assert stand.direct.content(stand.orion_path(each.path)) == body(each.acknowledged)
    assert rotating.gate.refused >= 50
    # Read again once for all calls that waited.
    assert stand.log.count("the one that stands in its file now is used") == 50
    assert "token-of-day" not in stand.log


@pytest.mark.expect_log("refused: Orion does not accept the credentials")
def test_token_that_ended_is_told_and_mended_by_a_new_one_in_its_file(rotating) -> None:
    stand = rotating.stand
    stand.direct.put(f"{HOME}/file", b"contents")
    assert "file" in os.listdir(stand.mine)
    assert (stand.mine / "file").read_bytes() == b"contents"
    rotating.gate.tokens = {"of somebody else"}
    wait_for(lambda: error_of(lambda: os.listdir(stand.team)) == errno.EACCES)
    found = stand.ask("status")
    assert found["health"] == "refused"
    assert "this token has expired; get a new one" in found["health_cause"]
    time.sleep(0.3)  # the listing has outlived its TTL
    assert "file" in os.listdir(stand.mine)
    assert (stand.mine / "file").read_bytes() == b"contents"
    assert error_of(lambda: (stand.mine / "new").mkdir()) == errno.EACCES
    rotating._write(1)
    wait_for(lambda: stand.ask("status")["health"] == "online")
    (stand.mine / "new").mkdir()
    assert stand.log.count("refused: ") == 1


# -- a server that stops ---------------------------------------------------------------------------


@pytest.mark.expect_log(OFFLINE)
@pytest.mark.timeout(300)
@pytest.mark.parametrize("away_s", [2, pytest.param(30, marks=pytest.mark.long)])
def test_server_stopped_under_load_costs_nothing_that_was_acknowledged(make_stand, away_s) -> None:
    stand: Stand = make_stand(Client.OWN, options=[*IMPATIENT, "metadata_ttl_s=0.5"])
    server = stand.server
    assert isinstance(server, Outage)
    with at_work(stand, WORKERS) as workers:
        wait_for(lambda: all(each.acknowledged >= 2 for each in workers))
        server.kill()
        time.sleep(away_s)
        server.start()
        began = time.monotonic()
        wait_for(lambda: stand.ask("status")["health"] == "online")
        assert time.monotonic() - began < BACK_WITHIN_S
        before = [each.acknowledged for each in workers]
        wait_for(lambda: all(each.acknowledged > old for each, old in zip(workers, before, strict=True)), 60)
    assert_nothing_lost(stand, workers)
    assert any(each.failures for each in workers)


def assert_nothing_lost(stand: Stand, workers: list[Worker]) -> None:
    failures = [failure for each in workers for failure in each.failures]
    assert {failure.errno for failure in failures} <= {errno.ETIMEDOUT}
    assert [failure for failure in failures if failure.took_s > LATEST_S] == []
    assert [wrong for each in workers for wrong in each.wrong] == []
    for each in workers:
        each.save(each.begun + 1)  # whatever was being saved when it ended
    stand.drain()
    assert stand.is_healthy
    for each in workers:
        assert stand.direct.content(stand.orion_path(each.path)) == body(each.begun + 1)
    server = stand.server
    assert isinstance(server, Outage)
    assert server.leftovers(*(each.folder.name for each in workers)) == []


# -- many files onto a mount without a network -------------------------------------------------------


@pytest.fixture
def many_files(tmp_path, request) -> Path:
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(request.param):
        (folder / f"file-{number:04}").write_bytes(b"%d" % number)
    return folder


def copy_into(stand: Stand, folder: Path) -> tuple[int, str, float]:
    """`cp -r` of what is in a folder into one that the mount knows: status, complaints, seconds."""
    (stand.mine / "known").mkdir()
    assert os.listdir(stand.mine / "known") == []
    stand.server.kill()
    while stand.ask("status")["health"] == "online":
        error_of(lambda: os.listdir(stand.team))
    began = time.monotonic()
    done = subprocess.run(
        ["cp", "-r", f"{folder}/.", str(stand.mine / "known")],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    return done.returncode, done.stderr, time.monotonic() - began


MANY = pytest.mark.parametrize(
    "many_files",
    [60, pytest.param(1000, marks=pytest.mark.long)],
    indirect=True,
    ids=lambda count: str(count),
)


@MANY
@pytest.mark.timeout(900)
@pytest.mark.expect_log(OFFLINE)
def test_copy_of_many_files_onto_an_offline_mount_fails_soon(make_stand, many_files) -> None:
    stand: Stand = make_stand(Client.OWN)
    status, complaints, took_s = copy_into(stand, many_files)
    count = len(os.listdir(many_files))
    assert status == 1
    assert complaints.count("Connection timed out") == count
    assert took_s < 30 + 0.3 * count
    assert stand.ask("status")["pending"] == count  # every byte is kept
    # One line of a kind in a minute, however many calls failed so.
    assert sum("flush /my-data/known/" in line for line in stand.log.splitlines()) <= 2 + took_s / 60
    began = time.monotonic()
    done = stand.run("umount", stand.point, "--timeout", "1")
    assert done.returncode == ExitStatus.NOT_UPLOADED
    assert time.monotonic() - began < 10
    stand.kill()
    shutil.rmtree(stand.home / "state")  # what is kept is not what this is about


@MANY
@pytest.mark.timeout(900)
@pytest.mark.expect_log(OFFLINE)
def test_copy_of_many_files_onto_an_offline_mount_that_writes_back_succeeds(make_stand, many_files) -> None:
    stand: Stand = make_stand(Client.OWN, options=["write_back"])
    status, complaints, _ = copy_into(stand, many_files)
    assert (status, complaints) == (0, "")
    names = sorted(os.listdir(many_files))
    assert sorted(os.listdir(stand.mine / "known")) == names
    stand.server.start()
    wait_for(lambda: stand.ask("status")["health"] == "online")
    stand.drain()
    assert sorted(row["name"] for row in stand.direct.rows(f"{HOME}/known")) == names
