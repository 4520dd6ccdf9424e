"""The sessions of the README, taken: each one bash from the first command to the last."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from orionfs.mountinfo import ORIONFS_TYPE, read_mountinfo
from tests.docs import readme
from tests.docs.readme import REPOSITORY, Step
from tests.docs.terminal import Terminal, agrees, uniform

pytestmark = pytest.mark.needs_fuse

COMMAND_TIMEOUT_S = 30
README_PORT = "8470"


def tour(chapter: str = "tour") -> list[Step]:
    """All that one types in the chapter of the tour, or in another one that is a session."""
    blocks = (block for block in readme.blocks("console") if chapter in block.chapter)
    return [step for block in blocks for step in readme.steps(block)]


@pytest.fixture
def home(tmp_path) -> Path:
    """A home that is empty, as on the first day."""
    home = tmp_path / "you"
    home.mkdir(mode=0o700)
    return home


@pytest.fixture
def terminal(home, tmp_path) -> Iterator[Terminal]:
    """A shell in that home, with `orionfs` on its PATH."""
    programs, runtime = tmp_path / "bin", tmp_path / "run"
    programs.mkdir()
    runtime.mkdir(mode=0o700)
    command = programs / "orionfs"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -P -m orionfs "$@"\n')
    command.chmod(0o755)
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "ORION", "LC_"))
    }
    environment = {
        **inherited,
        "HOME": str(home),
        "LC_ALL": "C.UTF-8",
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": str(REPOSITORY),
        "XDG_RUNTIME_DIR": str(runtime),
    }
    terminal = Terminal(home, environment)
    yield terminal
    terminal.close()
    for entry in read_mountinfo():
        if entry.fs_type == ORIONFS_TYPE and entry.mountpoint.is_relative_to(home):
            subprocess.run([command, "umount", entry.mountpoint], env=environment, check=False, timeout=60)


def free_port() -> str:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return str(taken.getsockname()[1])


@pytest.mark.parametrize(("chapter", "steps_min"), [("tour", 31), ("Tags, shares", 15)])
def test_session_shows_what_the_readme_shows(terminal, home, chapter, steps_min) -> None:
    steps, port = tour(chapter), free_port()
    assert len(steps) >= steps_min
    for step in steps:
        command = step.command.replace(README_PORT, port)
        shown = terminal.type(command, len(step.output), COMMAND_TIMEOUT_S)
        told = uniform(step.output, "/home/you")
        assert agrees(told, uniform(shown, str(home))), (
            f"README.md, line {step.line}: $ {step.command}\n"
            + "\n".join(["told:", *step.output, "shown:", *shown])
        )
    mounted = [entry.mountpoint for entry in read_mountinfo() if entry.mountpoint.is_relative_to(home)]
    assert mounted == []


def test_tour_knows_every_program_of_a_first_day() -> None:
    typed = " ".join(step.command for step in tour())
    for program in ("ls", "cp", "cat", "mv", "setfattr", "getfattr", "sed -i", "df", "rsync"):
        assert f"{program} " in typed
    for command in ("demo", "mount", "umount", "serve"):
        assert f"orionfs {command} " in typed
