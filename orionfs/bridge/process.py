"""One worker process, seen from the daemon: start it, call it, end it.

Used by `pool` only. Owns the descriptors, the thread and the process group that belong to a worker;
after `close` none of them is left. One call at a time; the pool sees to that. Must not know what the
calls mean.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from math import inf
from pathlib import Path
from typing import Any

from .worker import CallFailed, describe, read_message, write_message

__all__ = ["CallTimeout", "Worker", "failed"]

log = logging.getLogger(__name__)

_PROGRAM = Path(__file__).with_name("program.py")
_LOG_LINE_MAX = 4096
_DRAIN_S = 2.0
_END_S = 0.5
_SEND_S = 60.0  # where a call has no limit: a worker that listens takes a request at once
_LOOK_EVERY_S = 0.5  # a child of the worker may keep the connection open: its end is looked for as well
_NAP_MAX_S = 0.05


class CallTimeout(CallFailed):
    """No answer within the call's time; the worker was killed, what the call did is not known."""


def failed(error: str, detail: str, **more: Any) -> dict[str, Any]:
    """An `info` like `describe` makes, for failures of our own."""
    return {**describe(Exception(detail)), "error": error, **more}


class Worker:
    """A process with one session. Raises CallFailed when it can't be started.

    `source` are the arguments of the worker's program that say which session.
    """

    def __init__(
        self, python: str, source: Sequence[str], env: Mapping[str, str] | None, generation: int = 0
    ) -> None:
        self.generation = generation
        self._ids = 0
        self._is_between_calls = True
        self._is_killed = False
        self._reaping = threading.Lock()
        self._connection, theirs = socket.socketpair()
        self._output, their_output = socket.socketpair()
        command = [python, str(_PROGRAM), *source, "--fd", str(theirs.fileno())]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=their_output.fileno(),
                stderr=their_output.fileno(),
                pass_fds=[theirs.fileno()],
                env=dict(env) if env is not None else None,
                start_new_session=True,  # what the session starts ends with the worker
            )
        except OSError as exc:
            self._connection.close()
            self._output.close()
            detail = f"can't start {python}: {exc.strerror or exc}"
            raise CallFailed(failed("WorkerDied", detail, errno=exc.errno, nothing_sent=True)) from exc
        finally:
            theirs.close()
            their_output.close()
        self._listener = threading.Thread(
            target=_log_lines, args=(self._output, self._process.pid), daemon=True
        )
        self._listener.start()

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def is_alive(self) -> bool:
        """Whether the process still runs and waits for the next call."""
        # A process that was just killed may seem to run for a moment.
        return self._is_between_calls and not self._is_killed and not self._has_ended()

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
        self._signal(signal.SIGTERM)

    def close(self, timeout_s: float = 0.0) -> None:
        """Wait for the end for so long, then force it; free everything."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._await_end(timeout_s)
        self._signal(signal.SIGKILL)
        self._await_end(None)
        with self._reaping:
            self._process.wait()
        self._connection.close()
        # What was said is read to its end; what goes on holding the other side is not waited for.
        with contextlib.suppress(OSError):
            self._output.shutdown(socket.SHUT_RD)
        self._listener.join()

    def kill(self) -> None:
        """End the process at once; free everything. May be called again."""
        self.close()

    def kill_process(self) -> None:
        """End the process at once; a call under way in another thread fails and frees the rest."""
        self._is_killed = True
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        """Signal the worker and what it has started, unless it was reaped: then its id may mean another."""
        with self._reaping:
            if self._process.returncode is None:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self._process.pid, number)

    def _await_end(self, timeout_s: float | None) -> None:
        deadline, nap_s = inf if timeout_s is None else time.monotonic() + timeout_s, 0.001
        while not self._has_ended() and time.monotonic() < deadline:
            time.sleep(nap_s)
            nap_s = min(2 * nap_s, _NAP_MAX_S)

    def _has_ended(self) -> bool:
        """Whether the process has ended; it is left unreaped, so that its group can still be signalled."""
        if self._process.returncode is not None:
            return True
        try:
            return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            return True

    def _exchange(self, request: Any, timeout_s: float | None, too_slow: str) -> dict[str, Any]:
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        self._is_between_calls = False
        try:
            if request is not None:
                self._connection.settimeout(_SEND_S if timeout_s is None else max(timeout_s, 0.001))
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
        if answer is None:
            self.close(_END_S)
            detail = f"the worker ended with status {self._process.returncode}"
            raise CallFailed(failed("WorkerDied", detail))
        if not isinstance(answer, dict):
            self.kill()
            raise CallFailed(failed("WorkerDied", "the worker babbles: no answer has this form"))
        self._is_between_calls = True
        return answer

    def _receive(self, count: int, deadline: float | None) -> bytes:
        while True:
            left_s = _LOOK_EVERY_S if deadline is None else deadline - time.monotonic()
            if left_s <= 0:
                raise TimeoutError
            has_ended = self._has_ended()
            # What it said before its end is there already.
            self._connection.settimeout(0.001 if has_ended else min(left_s, _LOOK_EVERY_S))
            try:
                return self._connection.recv(count)
            except TimeoutError:
                if has_ended:
                    return b""


def _log_lines(output: socket.socket, pid: int) -> None:
    """Pass on what the session's code prints, line by line; the rest of an endless line is dropped."""
    with output, output.makefile("rb") as stream:
        is_cut = False
        while line := stream.readline(_LOG_LINE_MAX):
            text = line.decode("utf-8", "replace").rstrip()
            if text and not is_cut:
                log.info("worker %d: %s", pid, "".join(c if c.isprintable() else "?" for c in text))
            is_cut = not line.endswith(b"\n")
