"""A session of this process behind the verbs: one that is itself safe for threads.

Used by `remote` from its worker threads. Credentials that are refused are asked for again where the
session's maker can tell newer ones. Must not know whose session it is.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from .growing import GrowingCalls
from .renewal import Renewal
from .verbs import Verbs
from .worker import CallFailed, Calls, describe

__all__ = ["InProcess"]


@dataclass(eq=False, slots=True)
class _Session:
    """One session and how many calls are under way in it."""

    calls: Calls
    calls_under_way: int = 0


class InProcess(Verbs):
    """The verbs of one session after another.

    `renew` makes another session once credentials were refused, or says that there are no other ones
    (None). `end` frees a session in which no call is under way any more, `forget` its idle connections.
    """

    def __init__(
        self,
        calls: Calls,
        renew: Callable[[], Calls | None] = lambda: None,
        end: Callable[[Calls], None] = lambda _calls: None,
        forget: Callable[[Calls], None] = lambda _calls: None,
    ) -> None:
        self.ranged = calls.ranged
        self.paged_shards = calls.paged_shards
        self.lists_shares = calls.lists_shares
        self._make, self._end, self._forget = renew, end, forget
        self.open_ended = isinstance(calls, GrowingCalls) and calls.open_ended
        self._lock = threading.Lock()
        self._session = _Session(calls)
        self._renewal = Renewal(self._renew)

    def call(self, verb: str, *args: object, timeout_s: float | None = None) -> Any:  # noqa: ARG002
        """Carry out one verb; a limit in time is the session's own matter."""
        return self._renewal.call(partial(self._call, verb, args))

    def forget_connections(self) -> None:
        """Of the session; those of calls that are under way go on."""
        self._forget(self._session.calls)

    def close(self) -> None:
        """Free the session. Calls that are under way end as they may."""
        self._end(self._session.calls)

    def _call(self, verb: str, args: tuple[object, ...]) -> Any:
        with self._in_use() as calls:
            try:
                return getattr(calls, verb)(*args)
            except Exception as exc:  # a session may raise anything: that is what CallFailed is for
                raise CallFailed(describe(exc)) from exc

    @contextlib.contextmanager
    def _in_use(self) -> Iterator[Calls]:
        with self._lock:
            session = self._session
            session.calls_under_way += 1
        try:
            yield session.calls
        finally:
            with self._lock:
                session.calls_under_way -= 1
            self._end_if_unused(session)

    def _renew(self) -> bool:
        calls = self._make()
        if calls is None:
            return False
        with self._lock:
            old, self._session = self._session, _Session(calls)
        self._end_if_unused(old)
        return True

    def _end_if_unused(self, session: _Session) -> None:
        with self._lock:
            is_over = session is not self._session and not session.calls_under_way
        if is_over:
            self._end(session.calls)
