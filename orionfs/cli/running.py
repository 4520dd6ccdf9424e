"""One command run to its end: signals are passed on to it, its end is told as a shell tells it.

A signal that a terminal makes goes to all processes of the foreground, the command among them, so only
those that somebody has sent are passed on. Must not know what the command works on.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from types import FrameType, TracebackType

from orionfs.cli.terminal import printable

PASSED_ON = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
ENDING = (signal.SIGTERM, signal.SIGHUP)
_SI_KERNEL = 0x80  # siginfo's si_code of what no process has sent, sigaction(2)

# What shells report.
NOT_EXECUTABLE, NOT_FOUND, SIGNALLED = 126, 127, 128


class CannotRun(Exception):
    """The command could not be started; `status` is what a shell would report."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Ended(BaseException):
    """A signal ends what is done; `status` is what a shell would report of it."""

    def __init__(self, number: int) -> None:
        super().__init__(f"ended by {signal.Signals(number).name}")
        self.status = SIGNALLED + number


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """A block that SIGTERM and SIGHUP end in order, by raising Ended; further ones do nothing."""
    numbers = [each for each in ENDING if signal.getsignal(each) is not signal.SIG_IGN]

    def end(number: int, _frame: FrameType | None) -> None:
        for each in numbers:
            signal.signal(each, signal.SIG_IGN)
        raise Ended(number)

    before = [(each, signal.signal(each, end)) for each in numbers]
    try:
        yield
    finally:
        for each, handler in before:
            signal.signal(each, handler)


class Signals:
    """A context in which the signals of PASSED_ON end nothing, and how long we may still take is known.

    After SIGTERM that is `grace_s`, since whoever sends one kills a little later; after SIGINT or
    SIGQUIT, once no command runs any more, there is no time left.
    """

    def __init__(self, limit_s: float, grace_s: float) -> None:
        self._limit_s = limit_s
        self._grace_s = grace_s
        self._ends_at: float | None = None
        self._is_running = False
        self._handlers: dict[signal.Signals, object] = {}

    def __enter__(self) -> Signals:
        for number in PASSED_ON:
            # What our starter ignores (nohup) is ignored by the command as well.
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._handlers[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # as it was given

    def left_s(self) -> float:
        """How long what follows the command may take from now, in seconds."""
        if self._ends_at is None:
            self._ends_at = time.monotonic() + self._limit_s
        return self._ends_at - time.monotonic()

    def run(self, command: Sequence[str], environment: Mapping[str, str]) -> int:
        """Run a command to its end; its status, 128 + N if signal N ended it. Raises CannotRun."""
        looked_for = {*self._handlers, signal.SIGCHLD}
        # Who was started with it ignored would never hear of the command's end.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, looked_for)
        self._is_running = True
        try:
            process = _start(command, environment, before)
            while process.poll() is None:
                told = signal.sigwaitinfo(looked_for)
                if told.si_signo == signal.SIGCHLD:
                    continue
                if told.si_code != _SI_KERNEL:
                    process.send_signal(told.si_signo)
                self._note(told.si_signo)
        finally:
            self._is_running = False
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return process.returncode if process.returncode >= 0 else SIGNALLED - process.returncode

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self._note(number)

    def _note(self, number: int) -> None:
        if number == signal.SIGTERM:
            self._end_within(self._grace_s)
        elif number in (signal.SIGINT, signal.SIGQUIT) and not self._is_running:
            self._end_within(0.0)

    def _end_within(self, limit_s: float) -> None:
        ends_at = time.monotonic() + limit_s
        self._ends_at = ends_at if self._ends_at is None else min(self._ends_at, ends_at)


def _start(
    command: Sequence[str], environment: Mapping[str, str], mask: set[int | signal.Signals]
) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            command,
            env=environment,
            # Only one thread is there, and the mask of what is blocked is inherited.
            preexec_fn=partial(signal.pthread_sigmask, signal.SIG_SETMASK, mask),
        )
    except FileNotFoundError as error:
        raise CannotRun(f"{printable(command[0])}: command not found", NOT_FOUND) from error
    except OSError as error:
        words = f"{printable(command[0])} can't be run: {error.strerror}"
        raise CannotRun(words, NOT_EXECUTABLE) from error
