"""Processes of Python that are forked from one that has everything loaded, instead of started.

Hundreds of tests start `orionfs`, and to import it takes most of such a process's life. While `forking`
is on, `subprocess.Popen` asks a fork server (`tests.forkserver`) for what it would have started: a child
of the caller's own, with the descriptors, environment, folder and session that it asked for, which runs
the same `__main__`. What the server can't be sure to do the same way is started as ever: another
interpreter, other options of Python's, another locale, another user.
"""

from __future__ import annotations

import contextlib
import ctypes
import inspect
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
START_TIMEOUT_S = 100
PR_SET_CHILD_SUBREAPER = 36

_STARTED = subprocess.Popen
_SIGNATURE = inspect.signature(_STARTED._execute_child)  # type: ignore[attr-defined]
_LIBC = ctypes.CDLL(None, use_errno=True)
# What Popen can be asked for beside the usual, and what it says then.
_USUAL = {"gid": None, "gids": None, "uid": None, "process_group": -1, "preexec_fn": None, "shell": False}
# These of Python's variables are done for a child; all others Python reads at its start only.
_DONE_LATER = {"PYTHONPATH", "PYTHONWARNINGS"}
_ACTIONS = {"error", "default"}


@dataclass(frozen=True, slots=True)
class Program:
    """A command line of Python's, read."""

    module: str | None
    path: str | None  # of the program, where it is no module
    is_safe_path: bool  # -P
    warnings: list[str]
    arguments: list[str]


def read_command(command: Sequence[str], environment: Mapping[str, str]) -> Program | None:
    """What a command would run, None if it is to be started."""
    words = list(map(os.fspath, command))
    if words[:1] != [Server.executable] or not all(isinstance(word, str) for word in words):
        return None
    del words[0]
    is_safe_path, actions = False, [each for each in environment.get("PYTHONWARNINGS", "").split(",") if each]
    while words[:1] == ["-P"] or words[:1] == ["-W"]:
        if words.pop(0) == "-P":
            is_safe_path = True
        else:
            actions.append(words.pop(0))
    if not words or not set(actions) <= _ACTIONS:
        return None
    if words[:2] == ["-m", "orionfs"]:
        return Program("orionfs", None, is_safe_path, actions, words[2:])
    if not words[0].startswith("-") and _is_ours(Path(words[0])):
        return Program(None, words[0], is_safe_path, actions, words[1:])
    return None


def _is_ours(program: Path) -> bool:
    return program.is_absolute() and program.is_relative_to(REPOSITORY) and program.suffix == ".py"


def settings(environment: Mapping[str, str]) -> dict[str, str]:
    """What an interpreter makes up its mind by when it starts."""
    return {
        name: value
        for name, value in environment.items()
        if name.startswith(("PYTHON", "LC_", "LANG")) and name not in _DONE_LATER
    }


# -- the caller's side ---------------------------------------------------------------------------


class Server:
    """Where the fork server of this process listens."""

    address: str | None = None
    executable = sys.executable
    settings: dict[str, str]
    is_off = False
    # While a child is handed over this process adopts orphans, and must not adopt others'.
    adopting = threading.Lock()


class Popen(subprocess.Popen):
    """A process that is forked where that is the same, else started."""

    def _execute_child(self, *arguments: Any) -> None:
        asked = _SIGNATURE.bind(self, *arguments).arguments
        program = _program_of(asked)
        if program is None:
            super()._execute_child(*arguments)  # type: ignore[misc]
            return
        pipes = [
            asked[name] for name in ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
        ]
        streams = [pipes[0], pipes[3], pipes[5]]
        descriptors = {number: number if fd == -1 else fd for number, fd in enumerate(streams)}
        descriptors |= {int(fd): int(fd) for fd in asked["pass_fds"]}
        self.pid = _ask(program, asked, descriptors)
        self._child_created = True
        self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]


def _program_of(asked: Mapping[str, Any]) -> Program | None:
    environment = os.environ if asked["env"] is None else asked["env"]
    command = asked["args"]
    if Server.is_off or Server.address is None or isinstance(command, (str, bytes, os.PathLike)):
        return None
    if asked["executable"] is not None or any(asked[name] != usual for name, usual in _USUAL.items()):
        return None
    if settings(environment) != Server.settings or not _finds_the_same(environment):
        return None
    return read_command(command, environment)


def _finds_the_same(environment: Mapping[str, str]) -> bool:
    """Whether what is loaded is what would be found; a `sitecustomize` may add to it."""
    folders = [Path(path) for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path]
    return all(each == REPOSITORY or (each / "sitecustomize.py").exists() for each in folders)


def _ask(program: Program, asked: Mapping[str, Any], descriptors: Mapping[int, int]) -> int:
    """The pid of a child that runs the program."""
    assert Server.address is not None
    environment = os.environ if asked["env"] is None else asked["env"]
    folder = os.path.abspath(asked["cwd"] or ".")
    os.stat(folder)  # as Popen raises for one that is missing
    request = {
        "program": asdict(program),
        "environment": {os.fsdecode(name): os.fsdecode(value) for name, value in environment.items()},
        "folder": folder,
        "umask": asked["umask"] if asked["umask"] >= 0 else _umask(),
        "is_new_session": bool(asked["start_new_session"]),
        "descriptors": list(descriptors),
    }
    with socket.socket(socket.AF_UNIX) as connection, Server.adopting:
        connection.connect(Server.address)
        body = json.dumps(request).encode()
        socket.send_fds(connection, [len(body).to_bytes(8)], list(descriptors.values()))
        connection.sendall(body)
        with _adopting():
            connection.sendall(b"!")
            return int.from_bytes(connection.recv(8), "big")


def _umask() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("\nUmask:")[2].split()[0], 8)


@contextlib.contextmanager
def _adopting() -> Iterator[None]:
    """The fork server's grandchild becomes a child of this process when the one between has ended."""
    _LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        _LIBC.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


@contextlib.contextmanager
def forking() -> Iterator[None]:
    """Have `subprocess.Popen` fork what it can, in this process and in all that are forked for it."""
    folder = tempfile.mkdtemp(prefix="ofs-")
    Server.settings = settings(os.environ)
    server = subprocess.Popen(
        # The room for the words of a child's command line.
        [sys.executable, "-P", str(REPOSITORY / "tests" / "forkserver.py"), f"{folder}/s", " " * 4000],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONWARNINGS": ""},
    )
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        assert server.stdout.readline() == b"ready\n", "the fork server did not start"
        use(f"{folder}/s")
        yield
    finally:
        subprocess.Popen = _STARTED  # type: ignore[misc]
        Server.address = None
        server.stdin.close()
        server.wait(START_TIMEOUT_S)
        server.stdout.close()
        shutil.rmtree(folder)


def use(address: str) -> None:
    """From now on fork."""
    Server.address = address
    subprocess.Popen = Popen  # type: ignore[misc]
