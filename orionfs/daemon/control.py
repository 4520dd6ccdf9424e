"""The control socket of one mount: JSON lines in, JSON lines out, to its owner only.

`drain` waits for uploads and tells of progress, `status` says what there is, `stop` ends the mount. A
connection stays open until the peer or the daemon goes away, which is how a peer learns of the end.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import struct
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Any

import trio

log = logging.getLogger(__name__)

_PEER_CREDENTIALS = struct.Struct("3i")  # pid, uid, gid: struct ucred of <sys/socket.h>
_REQUEST_MAX_BYTES = 65536

Answers = AsyncGenerator[Mapping[str, Any], None]
Command = Callable[[Mapping[str, Any]], Answers]


async def serve(
    path: Path,
    commands: Mapping[str, Command],
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer until cancelled; the socket file is removed at the end."""
    _remove(path)
    listener = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with listener:
        await listener.bind(str(path))
        os.chmod(path, 0o600)
        listener.listen()
        task_status.started()
        try:
            await trio.serve_listeners(partial(_converse, commands), [trio.SocketListener(listener)])
        finally:
            _remove(path)


async def _converse(commands: Mapping[str, Command], stream: trio.SocketStream) -> None:
    async with stream:
        try:
            if _peer_uid(stream) not in (os.getuid(), 0):
                return
            buffered = b""
            async for data in stream:
                buffered += data
                *lines, buffered = buffered.split(b"\n")
                for line in lines:
                    await _answer(stream, line, commands)
                if len(buffered) > _REQUEST_MAX_BYTES:
                    return
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            log.debug("a peer of the control socket went away")
        except Exception:
            log.exception("a request on the control socket failed")  # and the mount goes on


async def _answer(stream: trio.SocketStream, line: bytes, commands: Mapping[str, Command]) -> None:
    try:
        request = json.loads(line)
        command = commands[request["command"]]
    except (ValueError, KeyError, TypeError):
        await _say(stream, {"error": f"unknown request; known: {', '.join(commands)}"})
        return
    async with aclosing(command(request)) as answers:
        async for answer in answers:
            await _say(stream, answer)


async def _say(stream: trio.SocketStream, answer: Mapping[str, Any]) -> None:
    await stream.send_all(json.dumps(answer).encode() + b"\n")


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


def _peer_uid(stream: trio.SocketStream) -> int:
    raw = stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER_CREDENTIALS.size)
    assert isinstance(raw, bytes)
    uid: int = _PEER_CREDENTIALS.unpack(raw)[1]
    return uid
