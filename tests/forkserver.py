"""The process that has everything loaded and forks a child for each request of `tests.forked`.

`python forkserver.py ADDRESS ROOM`: listens on the unix socket ADDRESS until stdin ends; ROOM is words
that a child's command line is written over. It has one thread, and nothing open that a child could
share. A child leaves the loop, becomes what was asked for, runs it and ends as any Python does. One that
will start others leaves another fork server behind first, which is for it alone.
"""

from __future__ import annotations

import atexit
import fcntl
import gc
import importlib
import io
import json
import os
import pkgutil
import runpy
import select
import signal
import socket
import sys
import threading
import time
import warnings
from collections.abc import Sequence
from ctypes import memmove, memset
from pathlib import Path
from typing import Any

# Loaded by name when they are needed, so that nothing of ours imports them.
LAZY = (
    *("rich.console", "rich.status", "rich.progress"),
    *("uvicorn.loops.asyncio", "uvicorn.lifespan.off", "uvicorn.lifespan.on", "anyio._backends._asyncio"),
)
# What the tests put into processes.
OF_TESTS = ("tests.documented.session", "tests.documented.types", "tests.forked")
# Replaced by a process's `sitecustomize`, so not to be there before.
REPLACED = "daemon"


def load() -> None:
    """Import what any child may need."""
    import orionfs

    gc.disable()  # nothing of it goes away
    for module in pkgutil.walk_packages(orionfs.__path__, "orionfs."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in (*LAZY, *OF_TESTS):
        importlib.import_module(name)
    gc.collect()
    # Pages that no collector writes to are shared with the children.
    gc.freeze()
    gc.enable()


def listen(address: str) -> socket.socket:
    """Where requests come in."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(64)
    return listener


def serve(listener: socket.socket) -> dict[str, Any]:
    """Fork on request; returns in a child, with the request. Ends with stdin."""
    while True:
        readable, _, _ = select.select([listener.fileno(), 0], [], [])
        if listener.fileno() not in readable:
            os._exit(0)
        connection, _ = listener.accept()
        request, received = _receive(connection)
        if request and _hand_over(connection):
            # They are closed by number: their objects must not do it a second time.
            listener.detach()
            connection.detach()
            _take_descriptors(request["descriptors"], received)
            return request
        connection.close()
        for descriptor in received:
            os.close(descriptor)


def leave_another(folder: Path) -> str | socket.socket:
    """Let a fork server stay for this process: where it listens; in that one its socket.

    A process can adopt what its own children have forked only. It must have begun before this one
    changes, and it ends with it.
    """
    address = str(folder / str(os.getpid()))
    Path(address).unlink(missing_ok=True)  # of a process that had this number long ago
    listener = listen(address)
    end, _life = os.pipe()
    if os.fork():
        listener.close()
        os.close(end)
        return address
    nowhere = os.open(os.devnull, os.O_RDWR)
    number = listener.detach()
    _take_descriptors([0, 1, 2, number], [end, nowhere, nowhere, number])
    return socket.socket(fileno=number)


def _receive(connection: socket.socket) -> tuple[dict[str, Any], Sequence[int]]:
    """A request, {} if its caller is gone, and the descriptors that came with it."""
    head, received, _, _ = socket.recv_fds(connection, 8, 64)
    with connection.makefile("rb") as stream:
        body = stream.read(int.from_bytes(head, "big") + 1)
    return (json.loads(body[:-1]) if body[-1:] == b"!" else {}), received


def _hand_over(connection: socket.socket) -> bool:
    """Fork a child for the caller; True in the child, once it is the caller's."""
    told, tell = os.pipe()
    gate, key = os.pipe()
    between = os.fork()
    if not between:
        child = os.fork()
        if not child:
            os.close(key)
            os.read(gate, 1)
            return True
        os.write(tell, child.to_bytes(8, "big"))
        os._exit(0)
    os.close(gate)
    answer = os.read(told, 8)
    os.waitpid(between, 0)
    connection.sendall(answer)
    for descriptor in (told, tell, key):
        os.close(descriptor)
    return False


def _take_descriptors(numbers: Sequence[int], received: Sequence[int]) -> None:
    """Have the received descriptors under these numbers, and no others."""
    above = max(*numbers, *received) + 1
    kept = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, above) for descriptor in received]
    for number, descriptor in zip(numbers, kept, strict=True):
        os.dup2(descriptor, number)
    for descriptor in map(int, os.listdir("/proc/self/fd")):
        if descriptor not in numbers and descriptor > 2:
            try:
                os.close(descriptor)
            except OSError:  # of the listing itself
                continue


def become(request: dict[str, Any], address: str | None) -> None:
    """Take on what a process has from its start; `address` is that of its own fork server."""
    from tests import forked

    if request["is_new_session"]:
        os.setsid()
    os.chdir(request["folder"])
    os.umask(request["umask"])
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _open_streams()
    for action in request["program"]["warnings"]:
        warnings.simplefilter(action)
    forked.Server.settings = forked.settings(os.environ)
    if address is not None:
        forked.use(address)


def _open_streams() -> None:
    """As Python makes them at its start."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        ours = getattr(sys, name)
        is_through = ours.write_through
        buffer = os.fdopen(number, "wb" if number else "rb", 0 if is_through else -1, closefd=False)
        is_by_line = ours.line_buffering or (not is_through and os.isatty(number))
        stream = io.TextIOWrapper(
            buffer, ours.encoding, ours.errors, line_buffering=is_by_line, write_through=is_through
        )
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def find_modules(request: dict[str, Any]) -> None:
    """Set the path of imports, and run what stands there to be run at each start."""
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    if not request["program"]["is_safe_path"] and request["program"]["path"]:
        paths.insert(0, str(Path(request["program"]["path"]).parent))
    sys.path[:0] = [path for path in paths if path not in sys.path]
    if any(Path(path, "sitecustomize.py").exists() for path in paths):
        import orionfs

        del sys.modules[f"orionfs.{REPLACED}"]
        delattr(orionfs, REPLACED)
        sys.modules.pop("sitecustomize", None)
        importlib.import_module("sitecustomize")


def show(words: Sequence[str]) -> None:
    """Have this command line, as far as there is room: tests and people look at it."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    start, end = int(fields[45]), int(fields[46])
    line = b"\0".join(map(os.fsencode, words))[: end - start - 1]
    memset(start, 0, end - start)
    memmove(start, line, len(line))


def run(program: dict[str, Any]) -> None:
    """As Python runs it, to the end."""
    try:
        _run(program)
    except SystemExit as end:
        status = end.code or 0
        if not isinstance(status, int):
            raise
    else:
        status = 0
    _end(status)


def _end(status: int) -> None:
    """As Python ends, but for taking apart all that is loaded: to copy those pages takes longest."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    gc.collect()  # what was not closed complains
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status & 0xFF)


def _run(program: dict[str, Any]) -> None:
    if program["module"]:
        sys.argv = ["-m", *program["arguments"]]
        show([sys.executable, "-m", program["module"], *program["arguments"]])
        runpy.run_module(program["module"], run_name="__main__", alter_sys=True)
    else:
        sys.argv = [program["path"], *program["arguments"]]
        show([sys.executable, *sys.argv])
        runpy.run_path(program["path"], run_name="__main__")


def main(address: str) -> None:
    """Serve; in a child be what it is to be."""
    load()
    listener = listen(address)
    print("ready", flush=True)
    while True:
        request = serve(listener)
        other = leave_another(Path(address).parent) if _starts_others(request["program"]) else None
        if not isinstance(other, socket.socket):
            break
        listener = other
    become(request, other)
    find_modules(request)
    run(request["program"])


def _starts_others(program: dict[str, Any]) -> bool:
    return program["module"] is not None and program["arguments"][:1] in (["mount"], ["demo"])


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    main(sys.argv[1])
