"""`orionfs status` and `orionfs adopt` as programs, with a daemon that is a fake: what is told, and how."""

from __future__ import annotations

import json
import os
import platform
import signal
from pathlib import Path

import pytest

from orionfs import config
from orionfs.cli.status_table import blocks, sized
from orionfs.models import Account
from orionfs.state import claim
from tests.cli.person import Person
from tests.cli.processes import daemons_of, wait_for

ACCOUNT = Account("lab stack", "demo", 1, 1, "Demo")
NEEDS_FUSE = pytest.mark.needs_fuse
TOLD = {
    "mountpoint": "/m",
    "profile": "default",
    "pid": 7,
    "version": "1",
    "stack": "a stack",
    "user": "demo",
    "project": "Demo",
    "root": None,
    "read_only": False,
    "write_back": True,
    "since": 1000.0,
    "health": "offline",
    "health_since": 4000.0,
    "health_cause": "connection refused",
    "pending": 12,
    "pending_bytes": 3 * 2**20,
    "uploads": [
        {
            "path": f"/f/{number}\x1b",
            "state": "uploading",
            "bytes": 2**20,
            "sent_bytes": 2**18,
            "since": 4590.0,
            "error": None,
        }
        for number in range(12)
    ],
    "kept": [{"file": "/k/a b", "bytes": 5, "modified": 0.0, "has_gaps": True}],
    "setbacks": [{"at": 900.0, "message": "x was changed elsewhere"}],
    "metrics": {
        "requests": {"ls_path": {"count": 1200}, "get": {"count": 34}},
        "downloaded_bytes": 2048,
        "uploaded_bytes": 0,
    },
}


def survey(*mounts: object, left: object = ()) -> dict[str, object]:
    return {"at": 4600.0, "mounts": mounts, "left": left}


def lines_of(found: dict[str, object]) -> list[str]:
    return [f"{what}: {words}" for _, rows in blocks(found) for what, words, _ in rows]


# -- what is shown -------------------------------------------------------------------------------


def test_block_of_a_mount_tells_what_is_wrong_since_when_and_what_waits() -> None:
    cache = {"folder": "/c", "limit_bytes": 2**30, "used_bytes": 3 * 2**28}
    found = survey({"state": "answers", "source": "orion:Demo@stack", **TOLD, "cache": cache})
    assert blocks(found)[0][0] == "/m  orion:Demo@stack"
    lines = lines_of(found)
    assert lines[:7] == [
        "health: offline for 10 min: connection refused",
        "account: demo in Demo, profile default, write-back",
        "stack: a stack",
        "daemon: pid 7, version 1, mounted for 1 h",
        "cache: 768.0 MiB of 1.0 GiB in /c",
        "requests: 1,234; 2.0 KiB of contents down, 0 B up",
        "to upload: 12 changes, 3.0 MiB",
    ]
    assert lines[7] == ": /f/0\\x1b  25 % of 1.0 MiB, uploading for 10 s"
    assert lines[17] == ": and 2 more"
    assert "5 B, of which a part is missing, written 1970-01-01" in lines[18]
    assert lines[18].endswith("fetch it with: cp '/k/a b' .")
    assert lines[19] == "before: 1 h 1 min ago: x was changed elsewhere"


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("dead", "its daemon is gone; mend it with: orionfs mount '/m m'"),
        ("does not answer", "it does not answer; mend it with: orionfs umount --force '/m m'"),
    ],
)
def test_mount_that_is_ill_is_told_with_what_mends_it(state, words) -> None:
    found = survey({"state": state, "mountpoint": "/m m", "source": "orion:1@x"})
    assert lines_of(found) == [f"health: {words}"]


def test_nothing_mounted_is_said() -> None:
    assert blocks(survey()) == [("nothing of orionfs is mounted", [])]


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (2**31, "2.0 GiB"), (2**50, "1024.0 TiB")],
)
def test_sizes_in_words(count, words) -> None:
    assert sized(count) == words


# -- the command ---------------------------------------------------------------------------------


@NEEDS_FUSE
def test_every_mount_is_told_also_a_dead_one(faked, home) -> None:
    points = [home / name for name in ("a", "b")]
    for point in points:
        point.mkdir()
        faked("mount", point)
    (second,) = daemons_of(points[1])
    try:
        assert faked("status", points[1]).returncode == 0
        os.kill(second, signal.SIGKILL)
        wait_for(lambda: daemons_of(points[1]) == [])
        done = faked("status", "--json")
        told = json.loads(done.stdout)
        mine = {
            mount["mountpoint"]: mount
            for mount in told["mounts"]
            if mount["mountpoint"].startswith(str(home))
        }
        assert done.returncode == 1
        assert [mount["state"] for mount in mine.values()] == ["answers", "dead"]
        assert mine[str(points[0])]["profile"] == "default"
        assert {mount["source"] for mount in mine.values()} == {"orion:1@fake"}
        assert "its daemon is gone" in faked("status", points[1]).stdout
        assert faked("status", points[0]).returncode == 0
    finally:
        for point in points:
            faked("umount", point)


@NEEDS_FUSE
def test_daemon_that_hangs_is_told_and_hangs_nobody(faked, point) -> None:
    faked("mount", point)
    (daemon,) = daemons_of(point)
    os.kill(daemon, signal.SIGSTOP)
    try:
        site = faked.environment["PYTHONPATH"].split(os.pathsep)[0] + "/sitecustomize.py"
        with open(site, "a") as file:
            file.write("\nimport orionfs.cli.surveying\norionfs.cli.surveying.ASK_TIMEOUT_S = 0.3\n")
        done = faked("status", point)
    finally:
        os.kill(daemon, signal.SIGCONT)
    assert done.returncode == 1
    assert f"it does not answer; mend it with: orionfs umount --force {point}" in done.stdout


def test_what_is_no_mount_is_refused_and_nothing_mounted_is_no_error(orionfs, home) -> None:
    done = orionfs("status", home)
    assert (done.returncode, done.stderr) == (6, f"orionfs: {home} is not a mount of orionfs\n")
    assert "left by earlier mounts" not in orionfs("status").stdout


@NEEDS_FUSE
def test_mount_of_another_session_is_known_to_answer(faked, point) -> None:
    faked("mount", point)
    faked.environment["XDG_RUNTIME_DIR"] += "2"
    done = faked("status", point)
    assert done.returncode == 0
    assert "it answers; its control socket lies where another XDG_RUNTIME_DIR says" in done.stdout


@NEEDS_FUSE
def test_watching_goes_on_until_an_interrupt(faked, point) -> None:
    faked("mount", point)
    with faked.start("status", "--json", "--watch", point) as process:
        assert process.stdout is not None
        seen = [json.loads(process.stdout.readline()) for _ in range(2)]
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    assert [[mount["state"] for mount in each["mounts"]] for each in seen] == [["answers"]] * 2
    assert seen[0]["at"] < seen[1]["at"]


@NEEDS_FUSE
def test_on_a_terminal_it_is_shown_in_place(faked, point) -> None:
    faked("mount", point)
    person = Person(faked.command("status", "--watch", point), {**faked.environment, "TERM": "xterm"})
    try:
        person.see("to upload")
        person.type("\x03")
        assert person.wait() == 0
    finally:
        person.close()


# -- what earlier mounts have left ---------------------------------------------------------------


def leave(monkeypatch: pytest.MonkeyPatch, host: str) -> Path:
    """What a daemon on a host has left that died while something was open."""
    with monkeypatch.context() as patch:
        patch.setattr(platform, "node", lambda: host)
        state = claim(config.state_folder(), ACCOUNT)
    (state.staging / f"open-{host}").write_bytes(b"unsealed")
    state.close()
    return state.path


def test_what_dead_daemons_have_left_is_told_with_what_fetches_it(orionfs, home, monkeypatch) -> None:
    mine, theirs = leave(monkeypatch, platform.node()), leave(monkeypatch, "login2")
    done = orionfs("status")
    assert done.stderr == ""
    assert "left by earlier mounts" in done.stdout
    assert f"fetch it with: cp {mine}/staged/open-{platform.node()} ." in done.stdout
    assert "host login2" in done.stdout
    told = json.loads(orionfs("status", "--json").stdout)["left"]
    assert [(each["folder"], each["is_this_host"], each["in_use"]) for each in told] == [
        (str(mine), True, False),
        (str(theirs), False, False),
    ]
    assert [kept["bytes"] for each in told for kept in each["kept"]] == [8, 8]


def test_adopt_takes_over_what_another_host_has_left(orionfs, home, monkeypatch) -> None:
    theirs = leave(monkeypatch, "login2")
    done = orionfs("adopt", "login2")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(
        "taken over from login2: 1 file that nobody had closed of demo at lab_stack\n"
    )
    assert not theirs.exists()
    told = json.loads(orionfs("status", "--json").stdout)["left"]
    assert [each["is_this_host"] for each in told] == [True]
    assert "login3 has left nothing below" in orionfs("adopt", "login3").stderr
    assert "had nothing that waits" in orionfs("adopt", "login2").stdout


def test_adopt_refuses_what_is_in_use_and_this_host(orionfs, home, monkeypatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(platform, "node", lambda: "login2")
        living = claim(config.state_folder(), ACCOUNT)
    done = orionfs("adopt", "login2")
    assert done.returncode == 1
    assert f"in use by a mount on login2, so it stays there: {living.path}" in done.stderr
    assert "host login2" in orionfs("status").stdout
    living.close()
    leave(monkeypatch, platform.node())
    done = orionfs("adopt", platform.node())
    assert (done.returncode, "is this host" in done.stderr) == (3, True)


def test_adopt_on_a_network_disk_asks_first(orionfs, home, monkeypatch) -> None:
    theirs = leave(monkeypatch, "login2")
    site = home / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        "import orionfs.cli.adopt\norionfs.cli.adopt._is_shared = lambda folder: True\n"
    )
    orionfs.environment["PYTHONPATH"] = os.pathsep.join([str(site), orionfs.environment["PYTHONPATH"]])
    assert orionfs("adopt", "login2").returncode == 2
    person = Person(orionfs.command("adopt", "login2"), orionfs.environment)
    try:
        person.answer("[y/N]:", "n\n")
        assert person.wait() == 1
    finally:
        person.close()
    assert theirs.exists()
    assert orionfs("adopt", "--yes", "login2").returncode == 0
