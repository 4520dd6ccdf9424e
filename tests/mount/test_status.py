"""`orionfs status` of real mounts: what it tells while uploads hang, and how soon, whatever else hangs."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from orionfs.state import safe_name
from tests.cli.processes import wait_for
from tests.docs import readme
from tests.mount.server import Direct
from tests.mount.stand import Client, Stand

STALLED = 99
ASKED = 21
WITHIN_S = 0.1
LARGE_BYTES = 9 * 2**20  # in parts


def told(stand: Stand, *arguments: str) -> dict:
    """What the command says of this mount."""
    done = stand.run("status", "--json", *arguments)
    assert done.stderr == ""
    found: dict = json.loads(done.stdout)
    return found


def rows(heading: str) -> set[str]:
    """Keys that a table of the README has, by the heading of its first column."""
    table = readme.text().partition(f"| {heading} |")[2].partition("\n\n")[0]
    return {key for line in table.splitlines()[2:] for key in _keys(line.split("|")[1])}


def _keys(cell: str) -> list[str]:
    return [key.strip().strip("`") for key in cell.split(",")]


@pytest.mark.parametrize("client", list(Client), ids=["own", "documented"])
def test_upload_that_is_on_its_way_is_told_with_how_far_it_is(
    make_stand: Callable[..., Stand], client: Client
) -> None:
    stand = make_stand(client, options=["write_back"])
    stand.server.misbehave({"method": "PUT", "path": "/", "action": "delay", "seconds": 100})
    with (stand.mine / "large").open("wb") as file:
        file.write(bytes(LARGE_BYTES))
    wait_for(lambda: stand.ask("status")["uploads"] != [])
    wait_for(lambda: stand.ask("status")["uploads"][0]["sent_bytes"] > 0)
    found = told(stand, str(stand.point))
    (mount,) = found["mounts"]
    (upload,) = mount["uploads"]
    assert (upload["path"], upload["state"], upload["bytes"]) == (
        f"{Direct.home}/large",
        "uploading",
        LARGE_BYTES,
    )
    assert 0 < upload["sent_bytes"] <= LARGE_BYTES
    assert mount["pending_bytes"] == LARGE_BYTES - upload["sent_bytes"]
    assert (mount["pending"], mount["write_back"], mount["health"]) == (1, True, "online")
    assert "large" in stand.run("status", stand.point).stdout
    stand.kill()
    stand.discard()
    stand.server.misbehave()


def test_keys_are_those_of_the_readme(mounted: Stand) -> None:
    (mounted.mine / "status.txt").write_bytes(b"x")
    found = told(mounted, str(mounted.point))
    assert set(found) == rows("Key")
    (mount,) = found["mounts"]
    assert set(mount) == rows("Key of a mount")
    assert 0 < mount["cache"]["used_bytes"] < mount["cache"]["limit_bytes"]


@pytest.mark.expect_log("what was being written when an earlier mount ended is kept")
def test_what_a_killed_daemon_was_writing_is_told_with_the_command_that_fetches_it(
    make_stand: Callable[..., Stand],
) -> None:
    stand = make_stand()
    fd = os.open(stand.mine / "open", os.O_WRONLY | os.O_CREAT)
    os.write(fd, b"never closed")
    stand.kill()
    with contextlib.suppress(OSError):
        os.close(fd)
    (left,) = told(stand)["left"]
    assert set(left) == rows("Key of `left`")
    stand.mount()
    (mount,) = told(stand, str(stand.point))["mounts"]
    (kept,) = mount["kept"]
    shown = stand.run("status", stand.point).stdout
    assert f"cp {kept['file']} ." in shown
    with open(kept["file"], "rb") as file:
        assert file.read() == b"never closed"


@pytest.mark.expect_log("what was being written when an earlier mount ended is kept")
def test_what_another_host_has_left_goes_up_once_it_is_adopted(make_stand: Callable[..., Stand]) -> None:
    stand = make_stand(options=["write_back"])
    stand.server.misbehave({"method": "PUT", "path": "/", "action": "status", "status": 503})
    (stand.mine / "closed").write_bytes(b"promised")
    fd = os.open(stand.mine / "open", os.O_WRONLY | os.O_CREAT)
    os.write(fd, b"never closed")
    stand.kill()
    with contextlib.suppress(OSError):
        os.close(fd)
    stand.server.misbehave()
    # As if all of that had been on another node of a cluster with one home.
    states = stand.home / "state" / "orionfs"
    (states / safe_name(platform.node())).rename(states / safe_name("login2"))
    stand.mount()
    assert "closed" not in os.listdir(stand.mine)
    (left,) = told(stand)["left"]
    assert (left["host"], left["is_this_host"], left["pending"], len(left["kept"])) == ("login2", False, 1, 1)
    adopted = stand.run("adopt", "login2")
    assert (adopted.returncode, adopted.stderr) == (0, "")
    assert "taken over from login2: 1 change and 1 file that nobody had closed of demo" in adopted.stdout
    stand.remount()
    stand.drain()
    assert stand.direct.content(f"{Direct.home}/closed") == b"promised"
    found = told(stand)
    assert found["left"] == []
    (kept,) = next(m for m in found["mounts"] if m["mountpoint"] == str(stand.point))["kept"]
    assert kept["bytes"] == len(b"never closed")


@pytest.mark.expect_log("no byte|no answer|offline")
def test_status_answers_at_once_while_reads_hang(make_stand: Callable[..., Stand]) -> None:
    stand = make_stand()
    for number in range(STALLED):
        stand.direct.put(f"{Direct.home}/f{number:02}", b"x" * 100)
    os.listdir(stand.mine)
    stand.server.misbehave({"path": "/blobs/", "action": "delay", "seconds": 100})
    readers = [
        threading.Thread(target=_read, args=(stand.mine / f"f{number:02}",), daemon=True)
        for number in range(STALLED)
    ]
    for reader in readers:
        reader.start()
    wait_for(lambda: sum(map(stand.ask("status")["daemon_calls"].get, ("open", "read"), (0, 0))) >= STALLED)
    took_s = []
    for _ in range(ASKED):
        begun = time.monotonic()
        stand.ask("status")
        took_s.append(time.monotonic() - begun)
    assert statistics.median(took_s) < WITHIN_S
    stand.kill()
    for reader in readers:
        reader.join(20)
    stand.discard()
    stand.server.misbehave()


def _read(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.read_bytes()
