"""A call that its caller may stop waiting for.

`remote` makes one handle a call and lets it `carry` the call; whoever carries the call out in this
context finds it with `current`, and says how it can be ended. Giving up may come from any thread, at
any time, and ends nothing but this call. Must not know what calls are.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import TypeVar

__all__ = ["CallHandle", "current"]

T = TypeVar("T")


class CallHandle:
    """One call, seen by who waits for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._end: Callable[[], None] | None = None
        self.is_given_up = False

    def give_up(self) -> None:
        """Nobody waits any longer: end the call if it is under way, or let it never begin."""
        with self._lock:
            self.is_given_up = True
            if self._end is not None:
                self._end()

    def carry(self, call: Callable[[], T]) -> T:
        """Make a call that this handle ends."""
        token = _CURRENT.set(self)
        try:
            return call()
        finally:
            _CURRENT.reset(token)

    @contextlib.contextmanager
    def ended_by(self, end: Callable[[], None]) -> Iterator[bool]:
        """While the block runs, `end` (which must not wait) is what ends it; False if it must not begin."""
        with self._lock:
            if not self.is_given_up:
                self._end = end
        try:
            yield not self.is_given_up
        finally:
            with self._lock:
                self._end = None


_CURRENT: ContextVar[CallHandle | None] = ContextVar("orionfs_call", default=None)


def current() -> CallHandle:
    """The handle of the call that is being made in this context; one of its own where nobody gave one."""
    return _CURRENT.get() or CallHandle()
