"""Talking to the daemon of a mount on its control socket: JSON lines out, JSON lines in."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from orionfs.config import control_path, runtime_folders
from orionfs.mountinfo import MountEntry

CONNECT_TIMEOUT_S = 3.0
_PEER_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid: struct ucred of <sys/socket.h>


def connect(point: Path, entry: MountEntry) -> socket.socket | None:
    """The control socket of the daemon of a mount; None if there is none that listens."""
    uid = os.getuid() if entry.owner_uid is None else entry.owner_uid
    tried = (connect_to(control_path(folder, point)) for folder in runtime_folders(uid))
    return next((connection for connection in tried if connection is not None), None)


def connect_to(path: Path) -> socket.socket | None:
    """A connection to a control socket; None if nobody listens there."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(CONNECT_TIMEOUT_S)  # one that hangs takes none once enough wait for it
    try:
        connection.connect(str(path))
    except OSError:
        connection.close()
        return None
    return connection


def order(connection: socket.socket, command: str, limit_s: float, **more: Any) -> dict[str, Any] | None:
    """The first answer to a command; None if none comes in time, or no sense."""
    try:
        connection.settimeout(limit_s)
        connection.sendall(json.dumps({"command": command, **more}).encode() + b"\n")
        return next(answers(connection, limit_s), None)
    except (OSError, ValueError):
        return None


class DaemonEnd:
    """The end of the process at the other end of a control socket, for who waits until all is let go of.

    It goes on for a while after its socket is closed: a mount that began before it ended would find its
    state folder in use. A context.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER_CREDENTIALS.size)
        self.pid: int | None = int(_PEER_CREDENTIALS.unpack(raw)[0]) or None
        """None where this process can't see it."""
        self._pidfd = -1
        if self.pid is not None:
            with suppress(OSError):  # it has ended already, or the kernel is an old one
                self._pidfd = os.pidfd_open(self.pid)

    def __enter__(self) -> DaemonEnd:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pidfd >= 0:
            os.close(self._pidfd)

    def is_within(self, timeout_s: float) -> bool:
        """Whether it comes in time."""
        if self._pidfd < 0:
            return _is_closed_within(self._connection, timeout_s)
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        return bool(poll.poll(1000 * timeout_s))

    def kill(self) -> None:
        """End it now. A pid that is somebody else's by now is not touched."""
        with suppress(ProcessLookupError, PermissionError):
            if self._pidfd >= 0:
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)


def _is_closed_within(connection: socket.socket, timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while (left_s := deadline - time.monotonic()) > 0:
        connection.settimeout(left_s)
        try:
            if not connection.recv(65536):
                return True
        except TimeoutError:
            return False
        except OSError:
            return True
    return False


def answers(
    connection: socket.socket, timeout_s: float, *, is_in_all: bool = True
) -> Iterator[dict[str, Any]]:
    """The JSON objects that come in, one a line, until nothing comes in time; for each, or in all.

    Raises OSError and ValueError.
    """
    received = b""
    deadline = time.monotonic() + timeout_s
    while (left_s := deadline - time.monotonic()) > 0:
        connection.settimeout(left_s)
        piece = connection.recv(65536)
        if not piece:
            return
        *lines, received = (received + piece).split(b"\n")
        for line in lines:
            answer = json.loads(line)
            if not isinstance(answer, dict):
                raise ValueError("the daemon's answer is not an object")
            yield answer
        if not is_in_all:
            deadline = time.monotonic() + timeout_s
