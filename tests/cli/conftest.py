"""The command line as a program of its own, with or without a daemon that is a fake."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orionfs import profiles
from orionfs.mountinfo import mount_at, read_mountinfo
from tests.cli.processes import PLAIN_UID

REPOSITORY = Path(__file__).resolve().parents[2]

# Python runs a module of this name when it starts; this one puts the fake where the daemon would be.
SITECUSTOMIZE = """
import importlib.abc, importlib.util, sys

class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "orionfs.daemon":
            return importlib.util.spec_from_file_location(name, {fake!r})

sys.meta_path.insert(0, Finder())
"""


class CommandLine:
    """Runs `orionfs ARGUMENTS` as a shell would, with an environment of its own."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment
        self.prefix: list[str] = []

    def command(self, *arguments: str | Path) -> list[str]:
        return [*self.prefix, sys.executable, "-P", "-m", "orionfs", *map(str, arguments)]

    def start(self, *arguments: str | Path, **more: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command(*arguments),
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **more,
        )

    def __call__(self, *arguments: str | Path, **more: Any) -> subprocess.CompletedProcess[str]:
        with self.start(*arguments, **more) as process:
            out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def behave(self, **manners: Any) -> None:
        """How the fake daemons that are started from now on behave."""
        self.environment["FAKE_DAEMON"] = json.dumps(manners)

    def become_plain_user(self, home: Path) -> None:
        """From now on run as a user without rights, but for reading: the program may lie in root's home."""
        ids = [f"--reuid={PLAIN_UID}", f"--regid={PLAIN_UID}", "--clear-groups"]
        self.prefix = ["setpriv", *ids, "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
        for name in [name for name in self.environment if name.startswith("XDG_")]:
            del self.environment[name]
        own = {"HOME": str(home), "XDG_RUNTIME_DIR": str(home / "run"), "ORIONFS_TOKEN": "the-secret"}
        self.environment |= {**own, "ORIONFS_URL": "http://127.0.0.1:9"}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of the test's own, with a profile to mount."""
    for variable in ("CONFIG_HOME", "CACHE_HOME", "STATE_HOME", "DATA_HOME"):
        monkeypatch.setenv(f"XDG_{variable}", str(tmp_path / variable.lower()))
    # The path of a socket has 107 bytes at most.
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "r"))
    monkeypatch.setenv("HOME", str(tmp_path))
    profiles.write_profile("default", {"url": "http://127.0.0.1:9", "token": "the-secret"})
    return tmp_path


@pytest.fixture
def point(home: Path) -> Iterator[Path]:
    """A mount point; what is mounted there at the end is taken away."""
    point = home / "orion"
    point.mkdir()
    yield point
    while mount_at(read_mountinfo(), point) is not None:
        subprocess.run(
            ["umount", "-l", point] if os.geteuid() == 0 else ["fusermount3", "-uz", point], check=True
        )


@pytest.fixture
def plain_home() -> Iterator[Path]:
    """A home of a plain user, where that user can reach it; pytest's own folders are private."""
    home = Path(tempfile.mkdtemp(prefix="orionfs-plain-"))
    os.chown(home, PLAIN_UID, PLAIN_UID)
    yield home
    for entry in read_mountinfo():
        if entry.mountpoint.is_relative_to(home):
            subprocess.run(["umount", "-l", entry.mountpoint], check=True)
    shutil.rmtree(home)


@pytest.fixture
def orionfs(home: Path) -> CommandLine:
    """The command line as it is."""
    paths = [str(REPOSITORY), os.environ.get("PYTHONPATH", "")]
    return CommandLine({**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))})


@pytest.fixture
def faked(orionfs: CommandLine, tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    """The command line with the fake daemon."""
    folder = tmp_path_factory.mktemp("fake")
    fake = Path(__file__).with_name("fake_daemon.py")
    (folder / "sitecustomize.py").write_text(SITECUSTOMIZE.format(fake=str(fake)))
    orionfs.environment["PYTHONPATH"] = os.pathsep.join([str(folder), orionfs.environment["PYTHONPATH"]])
    return orionfs


@pytest.fixture
def asked(home: Path) -> Callable[[], list[dict[str, Any]]]:
    """What the fake daemons were asked on their control sockets."""
    path = home / "state_home" / "orionfs" / "asked.jsonl"
    return lambda: [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def is_mounted(point: Path) -> Callable[[], bool]:
    """Whether something is mounted on the mount point."""
    return lambda: mount_at(read_mountinfo(), point) is not None
