"""A person at a terminal: reads what a program asks and types an answer."""

from __future__ import annotations

import fcntl
import os
import select
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence

TIMEOUT_S = 20.0


class Person:
    """Starts a program on a terminal of its own; `close` ends it."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._terminal, program_side = os.openpty()
        # A password is asked for on the controlling terminal, whatever stdin is.
        self._process = subprocess.Popen(
            command,
            env=dict(environment),
            stdin=program_side,
            stdout=program_side,
            stderr=program_side,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(program_side)
        self.screen = ""

    def close(self) -> None:
        """End the program if it has not ended."""
        self._process.kill()
        self._process.wait()
        os.close(self._terminal)

    def answer(self, question: str, text: str) -> None:
        """Wait until the question is the last thing on the screen, and type."""
        self._read(lambda: self.screen.rstrip().endswith(question))
        os.write(self._terminal, text.encode())
        self.screen += "⏎"

    def see(self, words: str) -> None:
        """Wait until words are on the screen."""
        self._read(lambda: words in self.screen)

    def type(self, text: str) -> None:
        """Type without being asked."""
        os.write(self._terminal, text.encode())

    def wait(self) -> int:
        """The exit status, once all is on the screen."""
        self._read(lambda: False)
        return self._process.wait(TIMEOUT_S)

    def _read(self, is_enough: Callable[[], bool]) -> None:
        deadline = time.monotonic() + TIMEOUT_S
        while not is_enough():
            ready, _, _ = select.select([self._terminal], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"not what was waited for: {self.screen!r}"
            try:
                piece = os.read(self._terminal, 65536)
            except OSError:  # the other side is closed
                return
            if not piece:
                return
            self.screen += piece.decode("utf-8", "replace")
