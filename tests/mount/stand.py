"""One mount under test: the daemon in its own process, with a home and folders of its own.

The server may be shared by several stands. A test works on the mount as any program does; what the
daemon says is read from its log, what it asks from the server's.
"""

from __future__ import annotations

import contextlib
import enum
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from orionfs.config import control_path
from orionfs.facts import facts_of, save_facts
from orionfs.mountinfo import mount_at, read_mountinfo
from tests.cli.processes import wait_for
from tests.documented.shapes import PLAIN, SEED_VARIABLE, shapes_of_run
from tests.mount.server import REPOSITORY, Direct, Row, Server

COMMAND_TIMEOUT_S = 100
CONTROL_TIMEOUT_S = 60

_FOLDERS = {
    "XDG_CONFIG_HOME": "config",
    "XDG_CACHE_HOME": "cache",
    "XDG_STATE_HOME": "state",
    "XDG_DATA_HOME": "data",
    "XDG_RUNTIME_DIR": "run",
}
_RECORD = re.compile(r"\d{4}-\d\d-\d\d [\d:,]+ (?P<level>[A-Z]+) [\w.]+: ")


class Client(enum.Enum):
    """The sessions that a mount must work on; the values are what a profile says."""

    OWN = "own"
    DOCUMENTED = "tests.documented.session:make_session"


class Counted:
    """What the server was asked while something was done."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.rows: list[Row] = []

    @property
    def cost(self) -> list[str]:
        """What counts: requests of our own session, calls of the documented one; a word each."""
        return [row.word for row in self.rows if self._client is Client.OWN or row.is_call]

    def of(self, word: str) -> list[Row]:
        """The requests of one kind."""
        return [row for row in self.rows if row.word == word]

    def __repr__(self) -> str:
        return "\n".join(["asked:", *map(str, self.rows)])


class Stand:
    """A mount of one account on a server; made unmounted."""

    def __init__(
        self,
        folder: Path,
        server: Server,
        client: Client = Client.OWN,
        options: Sequence[str] = (),
        *,
        is_probed: bool = True,
    ) -> None:
        """`is_probed`: the mount knows what a probe would have kept of this server."""
        self.folder = folder
        self.server = server
        self.client = client
        # What is asked in the background would be counted as well.
        self.options = ["refresh_folders=0", *options]
        self.point = folder / "orion"
        self.mine = self.point / "my-data"
        self.team = self.point / "team-data"
        self.home = folder / "home"
        self.environment = _environment(self.home)
        self.prefix: list[str] = []
        self.said = ""  # by the last mount
        self._pids: list[int] = []
        self.point.mkdir()
        for each in ("", *_FOLDERS.values()):
            (self.home / each).mkdir(mode=0o700)
        self.write_profile(server.url, server.token)
        if is_probed:
            self.write_facts()

    def write_profile(self, url: str, token: str, name: str = "default") -> None:
        """A config with this profile alone."""
        config = self.home / "config" / "orionfs" / "config.toml"
        config.parent.mkdir(mode=0o700, exist_ok=True)
        values = {"url": url, "token": token, "client": self.client.value}
        lines = [f"[profile.{name}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items())]
        config.touch(mode=0o600)
        config.write_text("\n".join([*lines, ""]))

    def write_facts(self) -> None:
        """Keep what the server does under both names that it may have: its own word, its address."""
        facts = facts_of({**self.server.habits, "kind_literals": self._literals()})
        documented = f"{self.client.value} {self.server.url}"
        for stack in (self.server.direct.api.get("/api/v1/orionfs").json()["instance"], documented):
            save_facts(self.home / "state" / "orionfs", stack, facts)

    def _literals(self) -> dict[str, str]:
        """Kind -> literal, as the rows that the mount gets say it."""
        literals = {
            kind: self.server.literal_of(kind) for kind in ("file", "dataset", "collection", "folder")
        }
        shapes = shapes_of_run() if self.client is Client.DOCUMENTED else None
        if shapes is None:
            return literals
        return {kind: shapes.row({"resource_type": lit})["resource_type"] for kind, lit in literals.items()}

    @property
    def direct(self) -> Direct:
        """Another machine of the same account."""
        return self.server.direct

    def orion_path(self, path: Path) -> str:
        """Where on Orion a path below the mount point is, names taken as they are."""
        top, *names = path.relative_to(self.point).parts
        return "/".join([{"my-data": Direct.home, "team-data": Direct.team}[top], *names])

    # Life

    def run(self, *arguments: str | Path, **more: Any) -> subprocess.CompletedProcess[str]:
        """`orionfs ARGUMENTS`, as from a shell."""
        return subprocess.run(
            [*self.prefix, sys.executable, "-P", "-m", "orionfs", *map(str, arguments)],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=COMMAND_TIMEOUT_S,
            **more,
        )

    @property
    def is_mounted(self) -> bool:
        return mount_at(read_mountinfo(), self.point) is not None

    @property
    def is_healthy(self) -> bool:
        """Mounted, by a daemon that lives."""
        return self.is_mounted and bool(self._pids) and is_alive(self._pids[0])

    def mount(self, *more: str, arguments: Sequence[str] = ()) -> None:
        """Mount with more options of `-o` and other arguments; anything but success is an error."""
        options = [part for option in (*self.options, *more) for part in ("-o", option)]
        done = self.run("mount", self.point, *options, *arguments)
        assert (done.returncode, done.stderr) == (0, ""), done
        self.said = done.stdout
        self._pids = [self.pid(), *_children(self.pid())]

    def umount(self) -> None:
        """Unmount in order: everything uploaded, and no process left."""
        pids = {*self._pids, *_children(self._pids[0])}
        done = self.run("umount", self.point)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), done
        assert not self.is_mounted
        wait_for(lambda: not any(map(is_alive, pids)))
        self._pids = []

    def remount(self, *more: str) -> None:
        """Unmount and mount again: nothing is believed from before."""
        self.umount()
        self.mount(*more)

    def kill(self) -> None:
        """End the daemon as a power cut would; the mount stays, dead."""
        if self._pids and is_alive(self._pids[0]):
            os.kill(self._pids[0], signal.SIGKILL)
        wait_for(lambda: not any(map(is_alive, self._pids)))

    def discard(self) -> None:
        """Away with it, whatever state it is in, and with what it has promised."""
        self.kill()
        self._pids = []
        if self.is_mounted:
            assert self.run("umount", self.point).returncode == 0
        for path in (self.home / "state" / "orionfs").iterdir():
            if path.name not in ("log", "stacks"):
                shutil.rmtree(path)

    def close(self) -> None:
        """Leave nothing behind: in order if it lives."""
        if self.is_healthy:
            self.umount()
        elif self.is_mounted or self._pids:
            self.discard()

    def pid(self) -> int:
        """The daemon's."""
        return int(self.ask("status")["pid"])

    # Talking

    def ask(self, command: str) -> dict[str, Any]:
        """The last answer of the daemon to a command on its control socket."""
        runtime = Path(self.environment["XDG_RUNTIME_DIR"]) / "orionfs"
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(CONTROL_TIMEOUT_S)
            connection.connect(str(control_path(runtime, self.point)))
            connection.sendall(json.dumps({"command": command}).encode() + b"\n")
            with connection.makefile("rb") as answers:
                for line in answers:
                    answer: dict[str, Any] = json.loads(line)
                    if command != "drain" or answer.get("done"):
                        return answer
        raise AssertionError(f"no answer to {command}")

    def drain(self) -> None:
        """Wait until all that was written is on Orion."""
        answer = self.ask("drain")
        assert (answer["pending"], answer["failed"]) == (0, []), answer

    @contextlib.contextmanager
    def counting(self) -> Iterator[Counted]:
        """Count what is asked in the block and by what it leaves to be done."""
        counted = Counted(self.client)
        start = self.server.mark()
        yield counted
        self.drain()
        self.server.mark()
        counted.rows = self.server.rows(start)

    # The log

    @property
    def log(self) -> str:
        """Everything the daemons of this mount said."""
        return "".join(path.read_text() for path in sorted((self.home / "state").rglob("*.log")))

    def complaints(self, start: int, declared: Sequence[str]) -> list[str]:
        """What was said since `start` that is no plain record below WARNING, and not declared.

        A line without the head of a record belongs to the one before: a traceback, or something that
        printed past the log.
        """
        entries: list[str] = []
        for line in self.log[start:].splitlines():
            if _RECORD.match(line) or not entries:
                entries.append(line)
            else:
                entries[-1] += "\n" + line
        wild = [entry for entry in entries if not _is_calm(entry)]
        return [entry for entry in wild if not any(re.search(pattern, entry) for pattern in declared)]


def _is_calm(entry: str) -> bool:
    head = _RECORD.match(entry)
    return head is not None and head["level"] in ("DEBUG", "INFO") and "\n" not in entry


def _environment(home: Path) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ORION")}
    folders = {variable: str(home / folder) for variable, folder in _FOLDERS.items()}
    return {
        **inherited,
        **folders,
        "HOME": str(home),
        "PYTHONPATH": str(REPOSITORY),
        SEED_VARIABLE: os.environ.get(SEED_VARIABLE, PLAIN),
        # They are lines of the log then, and the log is looked at.
        "PYTHONWARNINGS": "default",
    }


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and is not reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False
