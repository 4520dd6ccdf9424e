"""Stands in for `orionfs.daemon` in the processes that the command line starts.

An empty FUSE mount and a control socket, with the manners that FAKE_DAEMON (JSON) tells:
`start`: "ok", "refuse" (StartupError), "die", "raise", "hang", "mute" (mounted, but answers nothing).
`drain`: the lines that answer a drain; `linger_s`: how long it goes on after the unmount.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import stat
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pyfuse3
import trio

from orionfs.config import MountConfig, control_path
from orionfs.errors import ExitStatus, StartupError

MANNERS: dict[str, Any] = {
    "start": "ok",
    "drain": [{"done": True, "pending": 0, "failed": []}],
    "linger_s": 0,
    **json.loads(os.environ.get("FAKE_DAEMON", "{}")),
}


class Empty(pyfuse3.Operations):
    """An empty directory."""

    async def getattr(self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext) -> pyfuse3.EntryAttributes:
        attributes = pyfuse3.EntryAttributes()
        attributes.st_ino = inode
        attributes.st_mode = stat.S_IFDIR | 0o755
        attributes.st_uid, attributes.st_gid = os.getuid(), os.getgid()
        return attributes

    async def opendir(self, inode: pyfuse3.InodeT, ctx: pyfuse3.RequestContext) -> pyfuse3.FileHandleT:
        return pyfuse3.FileHandleT(inode)

    async def readdir(self, fh: Any, start_id: int, token: Any) -> None:
        return None

    async def statfs(self, ctx: pyfuse3.RequestContext) -> pyfuse3.StatvfsData:
        if MANNERS["start"] == "mute":
            await trio.sleep_forever()
        return pyfuse3.StatvfsData()


def run(config: MountConfig, ready: Callable[[str], None]) -> ExitStatus:
    """What the daemon promises to the command line."""
    start = MANNERS["start"]
    logging.getLogger("orionfs.fake").info("starting with log level %s", config.log_level)
    logging.getLogger("orionfs.fake").debug("a detail")
    if start == "refuse":
        raise StartupError("the token is not accepted: \x1b[2J", ExitStatus.CREDENTIALS)
    if start == "die":
        os._exit(9)
    if start == "raise":
        raise RuntimeError("the fake broke")
    if start == "hang":
        time.sleep(600)
    trio.run(_mount, config, ready)
    return ExitStatus.OK


async def _mount(config: MountConfig, ready: Callable[[str], None]) -> None:
    options = {*pyfuse3.default_options, "fsname=orion:1@fake", "subtype=orionfs"}
    pyfuse3.init(Empty(), str(config.mountpoint), options)
    threading.Thread(target=_control, args=(config,), daemon=True).start()
    profile = config.profile
    token = "without a token" if profile.token is None else "with a token"
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pyfuse3.main)
            ready(f"orion:1@fake (as {profile.name}, {token})")
        await trio.sleep(MANNERS["linger_s"])
    finally:
        pyfuse3.close(unmount=False)
        control_path(config.runtime_dir, config.mountpoint).unlink(missing_ok=True)


def _control(config: MountConfig) -> None:
    path = control_path(config.runtime_dir, config.mountpoint)
    path.unlink(missing_ok=True)
    connections = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        while True:
            connection, _ = listener.accept()
            connections.append(connection)
            request = json.loads(connection.makefile().readline())
            assert request["command"] == "drain", request
            for answer in MANNERS["drain"]:
                connection.sendall(json.dumps(answer).encode() + b"\n")


print("fake daemon loaded", file=sys.stderr)
