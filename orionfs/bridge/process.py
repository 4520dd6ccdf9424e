"""One worker process, seen from the daemon: start it, call it, end it.

Used by `pool` only. Owns the descriptors and the threads that belong to a worker; after `close` none
of them is left. One call at a time; the pool sees to that. Must not know what the calls mean.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from typing import IO, Any

from . import worker
from .worker import CallFailed, read_message, write_message

__all__ = ["CallTimeout", "Worker", "failed"]

log = logging.getLogger(__name__)

_LOG_LINE_MAX = 4096
_DRAIN_S = 2.0
_END_S = 0.5


class CallTimeout(CallFailed):
    """No answer within the call's time; the worker was killed, what the call did is not known."""


def failed(error: str, detail: str, **more: Any) -> dict[str, Any]:
    """An `info` like `describe` makes, for failures of our own."""
    return {**worker.describe(Exception(detail)), "error": error, **more}


class Worker:
    """A process with one session. Raises CallFailed when it can't be started."""

    def __init__(self, python: str, factory: str, env: Mapping[str, str] | None) -> None:
        self._ids = 0
        self._is_between_calls = True
        self._connection, theirs = socket.socketpair()
        command = [python, worker.__file__, "--factory", factory, "--fd", str(theirs.fileno())]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                pass_fds=[theirs.fileno()],
                env=dict(env) if env is not None else None,
            )
        except OSError as exc:
            self._connection.close()
            detail = f"can't start {python}: {exc.strerror or exc}"
            raise CallFailed(failed("WorkerDied", detail, errno=exc.errno, nothing_sent=True)) from exc
        finally:
            theirs.close()
        self._listener = threading.Thread(
            target=_log_lines, args=(self._process.stderr, self._process.pid), daemon=True
        )
        self._listener.start()

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def is_alive(self) -> bool:
        """Whether the process still runs and waits for the next call."""
        return self._is_between_calls and self._process.poll() is None

    def await_ready(self, timeout_s: float) -> None:
        """Wait until the session is made; before any call. Raises CallFailed when it can't be."""
        answer = self._exchange(None, timeout_s, f"the worker was not ready within {timeout_s} s")
        if "failed" in answer:
            self.close(_DRAIN_S)
            raise CallFailed({**answer["failed"], "nothing_sent": True})

    def call(self, verb: str, args: Sequence[object], timeout_s: float | None) -> Any:
        """One call. After CallTimeout or an `info` with error WorkerDied the worker is gone."""
        self._ids += 1
        request = {"id": self._ids, "verb": verb, "args": list(args)}
        answer = self._exchange(request, timeout_s, f"{verb} took longer than {timeout_s} s")
        if answer.get("id") != self._ids:
            self.kill()
            raise CallFailed(failed("WorkerDied", "the worker answered something else"))
        if "failed" in answer:
            raise CallFailed(answer["failed"])
        return answer.get("ok")

    def terminate(self) -> None:
        """Ask the process to end."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()

    def close(self, timeout_s: float = 0.0) -> None:
        """Wait for the end for so long, then force it; free everything."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._connection.close()
        # Something the session has started may hold the pipe open: then its listener stays with it.
        self._listener.join(_DRAIN_S)

    def kill(self) -> None:
        """End the process at once; free everything. May be called again."""
        self.kill_process()
        self.close()

    def kill_process(self) -> None:
        """End the process at once; a call under way in another thread fails and frees the rest."""
        self._process.kill()

    def _exchange(self, request: Any, timeout_s: float | None, too_slow: str) -> dict[str, Any]:
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        self._is_between_calls = False
        try:
            if request is not None:
                self._limit(deadline)
                write_message(self._connection, request)
            answer = read_message(lambda count: self._receive(count, deadline))
        except TimeoutError as exc:
            self.kill()
            raise CallTimeout(failed("CallTimeout", too_slow)) from exc
        except ValueError as exc:
            self.kill()
            raise CallFailed(failed("WorkerDied", f"the worker babbles: {exc}")) from exc
        except OSError:
            answer = None  # with something unread at the other side its end is a reset
        if not isinstance(answer, dict):
            self.close(_END_S)
            detail = f"the worker ended with status {self._process.returncode}"
            raise CallFailed(failed("WorkerDied", detail))
        self._is_between_calls = True
        return answer

    def _receive(self, count: int, deadline: float | None) -> bytes:
        self._limit(deadline)
        return self._connection.recv(count)

    def _limit(self, deadline: float | None) -> None:
        if deadline is None:
            self._connection.settimeout(None)
            return
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        self._connection.settimeout(left_s)


def _log_lines(stream: IO[bytes] | None, pid: int) -> None:
    """Pass on what the session's code prints, line by line, and close the pipe at its end."""
    if stream is None:
        return
    with stream:
        while line := stream.readline(_LOG_LINE_MAX):
            text = line.decode("utf-8", "replace").rstrip()
            if text:
                log.info("worker %d: %s", pid, "".join(c if c.isprintable() else "?" for c in text))
