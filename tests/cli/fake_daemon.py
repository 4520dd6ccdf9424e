"""Stands in for `orionfs.daemon` in the processes that the command line starts.

An empty FUSE mount and a control socket, with the manners that FAKE_DAEMON (JSON) tells:
`start`: "ok", "refuse" (StartupError), "die", "raise", "hang", "mute" (mounted, but answers nothing).
`drain`, `status`, `leave`, `stop`: the lines that answer them; `linger_s`: how long it goes on after the
unmount. What it was asked stands in `asked.jsonl` of the state folder.
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
import trio.lowlevel

from orionfs.config import MountConfig, control_path
from orionfs.errors import ExitStatus, StartupError

MANNERS: dict[str, Any] = {
    "start": "ok",
    "drain": [{"done": True, "pending": 0, "failed": []}],
    "linger_s": 0,
    **json.loads(os.environ.get("FAKE_DAEMON", "{}")),
}

TOKEN: list[trio.lowlevel.TrioToken] = []


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
    TOKEN.append(trio.lowlevel.current_trio_token())
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
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=_converse, args=(config, connection), daemon=True).start()


def _converse(config: MountConfig, connection: socket.socket) -> None:
    """Lines in, lines out; the connection stays open until this process ends."""
    for line in connection.makefile():
        request = json.loads(line)
        _note(config, request)
        command = request["command"]
        if command == "stop" and "stop" not in MANNERS:
            trio.from_thread.run_sync(pyfuse3.terminate, trio_token=TOKEN[0])
        usual: list[dict[str, Any]] = [{"done": True}]
        if command == "status":
            point = str(config.mountpoint)
            usual = [{"mountpoint": point, "profile": config.profile.name, "pid": os.getpid()}]
        for answer in MANNERS.get(command, usual):
            connection.sendall(json.dumps(answer).encode() + b"\n")


def _note(config: MountConfig, request: Any) -> None:
    """What was asked is for the test to read."""
    with (config.state_dir / "asked.jsonl").open("a") as file:
        file.write(json.dumps(request) + "\n")


print("fake daemon loaded", file=sys.stderr)
