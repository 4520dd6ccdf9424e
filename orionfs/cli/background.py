"""Processes that go on when the command returns: started, waited for until they are ready, logged.

Both the daemon of a mount and the server of the demo are this program again, with a pipe on which they
say one JSON line when they are ready or have failed. The child's half of that is here as well.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from orionfs.cli.mounts import let_go
from orionfs.cli.terminal import printable
from orionfs.errors import ExitStatus, StartupError
from orionfs.notify import Notifier, service_manager

# More than any deadline of the daemon's own, so that its own words come first.
READY_TIMEOUT_S = 150.0
END_TIMEOUT_S = 10.0
LOG_LINES_SHOWN = 8
LOG_SIZE_MAX_BYTES = 8 * 2**20


@dataclass(frozen=True, slots=True)
class Patience:
    """How long, in seconds, a process may take until it is ready, and to end when it is told to."""

    ready_s: float = READY_TIMEOUT_S
    end_s: float = END_TIMEOUT_S


USUAL_PATIENCE = Patience()


@dataclass(frozen=True, slots=True)
class Child:
    """A process that has said that it is ready, and what it said."""

    process: subprocess.Popen[bytes]
    answer: dict[str, Any]

    def leave(self) -> None:
        """Let it go on without us."""
        let_go(self.process)

    def end(self) -> None:
        """End it, and wait until it has ended."""
        _end(self.process)


def start(
    command: str,
    arguments: Sequence[str],
    log: Path,
    *,
    stdin: int = -1,
    keep: Sequence[int] = (),
    patience: Patience = USUAL_PATIENCE,
    is_of_our_group: bool = False,
) -> Child:
    """Run `orionfs COMMAND --ready-fd N ARGUMENTS` in a session of its own and wait until it is ready.

    `stdin` and `keep` are descriptors that it inherits. Raises the StartupError that the child reports,
    or one with the end of its log if it dies without a word. An interrupt ends the child. One that is
    `is_of_our_group` leaves our session only when it is ready.
    """
    ready, child_ready = os.pipe()
    # -P: what lies in the user's working directory is not Python's to import.
    program = [sys.executable, "-P", "-m", "orionfs", command, "--ready-fd", str(child_ready)]
    log_file = open_log(log)
    log_start = os.fstat(log_file).st_size
    try:
        process = subprocess.Popen(
            [*program, *arguments],
            stdin=subprocess.DEVNULL if stdin < 0 else stdin,
            stdout=log_file,
            stderr=log_file,
            start_new_session=not is_of_our_group,
            pass_fds=(child_ready, *keep),
        )
    finally:
        os.close(child_ready)
        os.close(log_file)
    try:
        answer = _read_answer(ready, patience.ready_s)
        if answer is None:
            raise StartupError(_last_words(process, log, log_start), ExitStatus.FAILED)
        if "error" in answer:
            raise StartupError(str(answer["error"]), ExitStatus(answer["exit_status"]))
    except BaseException:
        _end(process, patience.end_s)
        raise
    finally:
        os.close(ready)
    return Child(process, answer)


def _read_answer(ready: int, limit_s: float) -> dict[str, Any] | None:
    """The line, or None if the pipe was closed without one. StartupError where none comes in time."""
    deadline = time.monotonic() + limit_s
    line = b""
    with selectors.DefaultSelector() as selector:
        selector.register(ready, selectors.EVENT_READ)
        while not line.endswith(b"\n"):
            if not selector.select(max(0.0, deadline - time.monotonic())):
                raise StartupError(f"no word within {limit_s:.0f} s: given up", ExitStatus.FAILED)
            piece = os.read(ready, 4096)
            if not piece:
                return None
            line += piece
    answer: dict[str, Any] = json.loads(line)
    return answer


def _last_words(process: subprocess.Popen[bytes], log: Path, log_start: int) -> str:
    """What a child that died had written. Its end is at hand: it has closed the pipe."""
    try:
        how = f"ended with status {process.wait(END_TIMEOUT_S)}"
    except subprocess.TimeoutExpired:
        how = "closed its pipe"
    with log.open("rb") as file:
        file.seek(log_start)
        lines = file.read().decode("utf-8", "replace").splitlines()
    for line in lines[-LOG_LINES_SHOWN:]:
        click.echo(f"  {printable(line)}", err=True)
    return f"the background process {how} before it was ready; its log is {log}"


def _end(process: subprocess.Popen[bytes], limit_s: float = END_TIMEOUT_S) -> None:
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(limit_s)
    except subprocess.TimeoutExpired:
        process.kill()
        try:
            process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            let_go(process)


# -- logs ----------------------------------------------------------------------------------------


def log_path(state_dir: Path, what: Path) -> Path:
    """The log of the mount on `what`: a name that tells it, a digest that tells two of one name apart."""
    words = re.sub(r"[^A-Za-z0-9._]+", "-", str(what)).strip("-")[-100:]
    digest = hashlib.sha256(os.fsencode(what)).hexdigest()[:8]
    return state_dir / "log" / f"{words}-{digest}.log"


def open_log(path: Path) -> int:
    """A descriptor that appends to the log; a long one is moved aside first, the one before forgotten."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    try:
        if path.stat().st_size > LOG_SIZE_MAX_BYTES:
            path.replace(path.with_suffix(".log.1"))
    except FileNotFoundError:
        pass
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


# -- the child's side ----------------------------------------------------------------------------


class Report:
    """Tells the process that started this one how the start went; without one it tells the terminal.

    `manager` is the service manager that has started this process, if one has: none that has started
    the starter.
    """

    def __init__(self, ready_fd: int | None) -> None:
        self._fd = ready_fd
        found = service_manager()
        self.manager = found if ready_fd is None else Notifier()
        if ready_fd is not None:
            # What this process starts in its turn must not keep the starter waiting.
            hold(ready_fd)

    def ready(self, message: str, **more: str) -> None:
        """All is well."""
        if self._fd is None:
            click.echo(printable(message), err=True)
        else:
            with contextlib.suppress(PermissionError):  # it has a session of its own already
                os.setsid()
            self._tell({"ok": True, "message": message, **more})

    def failed(self, error: StartupError) -> None:
        """It came to nothing; nobody is told after `ready`, but a service manager."""
        self.manager.send(STATUS=str(error))
        if self._fd is not None:
            self._tell({"error": str(error), "exit_status": int(error.exit_status)})

    def _tell(self, answer: dict[str, object]) -> None:
        fd, self._fd = self._fd, None
        if fd is None:
            return
        try:
            with os.fdopen(fd, "wb") as pipe:
                pipe.write(json.dumps(answer).encode() + b"\n")
        except BrokenPipeError:
            # The starter was killed; the mount is there all the same.
            return


def hold(descriptor: int) -> None:
    """Keep an inherited descriptor to this process; it closes when this process ends, however it ends."""
    try:
        os.set_inheritable(descriptor, False)
    except OSError as error:
        raise click.UsageError(f"descriptor {descriptor} is not open: {error.strerror}") from None
