"""The program of a worker process: makes one session and answers calls until nobody listens.

Run by path, under the interpreter of the session's client, by `process`. Standard library only, syntax
of Python 3.8; of orionfs it has `worker`, the file beside it, and nothing else. What the session prints
goes to the daemon's log. Must not know what the calls mean.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import inspect
import os
import select
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or __package__:
    from . import worker
else:
    # By path and under a name that no session's module has: this folder is on no path of imports.
    _FILE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "worker.py")
    _SPEC = importlib.util.spec_from_file_location("_orionfs_worker", _FILE)
    worker = importlib.util.module_from_spec(_SPEC)
    sys.modules[_SPEC.name] = worker
    _SPEC.loader.exec_module(worker)

__all__ = ["load", "main", "serve", "vendor_session"]

# How the vendor's session tries again by itself: little, since who waits for a call knows for how long.
_RETRIED = (502, 503, 504)
_REQUEST_TIMEOUT_S = 60
_RETRY_TIMEOUT_S = 60


def load(factory: str) -> tuple[Any, Any]:
    """The session and its types from `module:attribute`; a callable that is no session is called."""
    module_name, _, attribute = factory.partition(":")
    found: Any = importlib.import_module(module_name)
    for name in attribute.split("."):
        found = getattr(found, name)
    is_session = not isinstance(found, type) and hasattr(found, "ls_path")
    session = found if is_session or not callable(found) else found()
    types = getattr(found, "types", None)
    if types is None:
        package = type(session).__module__.rpartition(".")[0]
        types = importlib.import_module(package + ".types")
    return session, types


def vendor_session(profile: str | None) -> tuple[Any, Any]:
    """A session of the vendor's client, made of one of its own profiles (None: its default), and its types.

    Names are the documented ones; arguments go by keyword, since their order differs between versions,
    and one that a version does not have is left out.
    """
    module = importlib.import_module("orionclient.session")
    retries = dict.fromkeys(_RETRIED, 1)
    requests_session = _known(
        module.get_session,
        retry_dict=retries,
        request_timeout=_REQUEST_TIMEOUT_S,
        retry_timeout=_RETRY_TIMEOUT_S,
    )
    config = module.get_profile_config(profile=profile)
    session = _known(module.OrionSession, config=config, requests_session=requests_session)
    return session, importlib.import_module("orionclient.types")


def _known(function: Callable[..., Any], **arguments: Any) -> Any:
    """Call with those of the arguments that the function has."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return function(**arguments)
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        names = {parameter.name for parameter in parameters}
        arguments = {name: value for name, value in arguments.items() if name in names}
    return function(**arguments)


def serve(connection: socket.socket, make: Callable[[], tuple[Any, Any]]) -> None:
    """Make the session, say so, answer requests one by one until the other side is gone."""
    try:
        calls = worker.Calls(*make())
    except Exception as exc:  # anything can happen in foreign code; the pool hears what it was
        traceback.print_exc()
        worker.write_message(connection, {"failed": worker.describe(exc)})
        return
    worker.write_message(connection, {"ready": True, "ranged": calls.ranged})
    while True:
        request = worker.read_message(connection.recv)
        if request is None:
            return
        answer = _answer(calls, request)
        try:
            worker.write_message(connection, answer)
        except (TypeError, ValueError) as exc:  # no plain data; nothing of it was sent yet
            worker.write_message(connection, {"id": request["id"], "failed": worker.describe(exc)})


def _answer(calls: worker.Calls, request: dict[str, Any]) -> dict[str, Any]:
    try:
        verb = request["verb"]
        if verb.startswith("_"):
            raise AttributeError(f"no such verb: {verb}")
        return {"id": request["id"], "ok": getattr(calls, verb)(*request["args"])}
    except Exception as exc:  # the call failed, not the worker
        info = worker.describe(exc)
        if info["error"] not in worker.DOCUMENTED_ERRORS and not isinstance(exc, OSError):
            traceback.print_exc()
        return {"id": request.get("id"), "failed": info}


def _end_with_the_other_side(connection: socket.socket) -> None:
    """End even in the middle of a call when nobody is left to hear its answer."""
    watched = select.poll()
    watched.register(connection, 0)
    watched.poll()
    os._exit(0)


def main() -> None:
    """Entry of the process: `python program.py (--factory module:attribute | --vendor NAME) --fd N`.

    An empty NAME is the vendor's default profile.
    """
    parser = argparse.ArgumentParser()
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--factory")
    source.add_argument("--vendor")
    parser.add_argument("--fd", required=True, type=int)
    options = parser.parse_args()
    if options.factory is not None:
        make = partial(load, options.factory)
    else:
        make = partial(vendor_session, options.vendor or None)
    # What the session prints goes where it can be read, line by line: a worker that is ended flushes nothing.
    os.dup2(2, 1)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # of a process it is a text file
    # The folder of this file would hide modules of the session's interpreter.
    own = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or ".") != own]
    connection = socket.socket(fileno=options.fd)
    connection.set_inheritable(False)
    watcher = threading.Thread(target=_end_with_the_other_side, args=(connection,), daemon=True)
    watcher.start()
    serve(connection, make)


if __name__ == "__main__":
    main()
