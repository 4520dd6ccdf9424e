"""A process that is forked is what one would be that is started."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import forked

# Ours, so forked; what it says is about itself.
LOOKS = Path(__file__).with_name("looks.py")


def looks(**how) -> dict[str, object]:
    command = [sys.executable, *how.pop("options", []), str(LOOKS), "a word"]
    done = subprocess.run(command, capture_output=True, check=True, timeout=60, **how)
    return json.loads(done.stdout)


@pytest.fixture
def started(monkeypatch):
    """The same, from a process that is started."""

    def look(**how):
        monkeypatch.setattr(forked.Server, "is_off", True)
        seen = looks(**how)
        monkeypatch.setattr(forked.Server, "is_off", False)
        return seen

    return look


def test_child_sees_what_one_that_is_started_sees(started, tmp_path) -> None:
    (tmp_path / "input").write_text("said")
    environment = {
        **os.environ,
        "ORIONFS_PROFILE": "ä",
        "PYTHONWARNINGS": "error",
        "PYTEST_PID": str(os.getpid()),
    }
    with (tmp_path / "input").open() as stream, (tmp_path / "kept").open("w") as kept:
        how = {"cwd": tmp_path, "env": environment, "umask": 0o27, "start_new_session": True}
        how |= {"stdin": stream, "pass_fds": (kept.fileno(),), "options": ["-P", "-W", "default"]}
        seen = looks(**how)
        stream.seek(0)
        assert started(**how) == {**seen, "is_forked": False}
    assert seen["is_forked"]
    assert seen["stdin"] == "said"
    assert seen["umask"] == 0o27
    assert seen["is_our_child"]


@pytest.mark.parametrize(
    "how",
    [
        {"env": {**os.environ, "LC_ALL": "C"}},
        {"env": {**os.environ, "PYTHONUTF8": "0"}},
        {"env": {**os.environ, "PYTHONPATH": "/some/place"}},
        {"options": ["-I"]},
        {"options": ["-W", "ignore"]},
        {"preexec_fn": os.getpid},
    ],
)
def test_what_could_make_a_difference_is_started(how) -> None:
    assert not looks(**how)["is_forked"]


@pytest.mark.parametrize(("told", "status"), [("exit 7", 7), ("raise", 1), ("kill", -9), ("nothing", 0)])
def test_end_is_the_callers_to_see(told, status) -> None:
    with subprocess.Popen([sys.executable, str(LOOKS), told], stderr=subprocess.PIPE) as process:
        _, said = process.communicate(timeout=60)
    assert process.returncode == status
    assert (b"RuntimeError: as told" in said) == (told == "raise")


def test_folder_that_is_missing_is_the_callers_error(tmp_path) -> None:
    with pytest.raises(FileNotFoundError):
        looks(cwd=tmp_path / "none")
