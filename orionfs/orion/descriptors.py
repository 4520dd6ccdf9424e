"""Descriptors that go to a thread which may outlive its caller, and come back closed.

Used by `remote` for the arguments of its calls. Must not know what a call does.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple


class Borrowed(NamedTuple):
    """A descriptor among the arguments of a call; valid for as long as its caller waits."""

    fd: int


class OwnDescriptor:
    """A duplicate for a thread that may outlive its caller: it never writes to a reused number.

    The thread that takes it closes it, at once when it is done; a call that never starts gives it up.
    """

    def __init__(self, fd: int) -> None:
        self._fd = os.dup(fd)
        self._lock = threading.Lock()
        self._is_taken = False

    def take(self) -> int:
        with self._lock:
            self._is_taken = True
            return self._fd

    def give_up(self) -> None:
        with self._lock:
            if not self._is_taken:
                self._is_taken = True
                os.close(self._fd)

    def close(self) -> None:
        os.close(self._fd)


def invoke(verb: Callable[..., Any], args: Sequence[Any]) -> Any:
    """Call, in a worker thread, with descriptors for their duplicates, which are closed at its end."""
    owned = [arg for arg in args if isinstance(arg, OwnDescriptor)]
    try:
        return verb(*(arg.take() if isinstance(arg, OwnDescriptor) else arg for arg in args))
    finally:
        for own in owned:
            own.close()
