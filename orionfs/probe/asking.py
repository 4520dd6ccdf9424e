"""Asking a stack and changing things on it, one call after the other, with patience.

`Desk` is all that the probe knows of a session. It asks again where that may help, tries a change that
met a conflict again (a stack may say so while it is busy), and looks at things for as long as a stack
has been seen to lag. It notes both. Blocking; for one thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from orionfs.bridge import CallFailed, SessionCalls
from orionfs.errors import (
    AccessDenied,
    Conflict,
    CredentialsRefused,
    FileTooLarge,
    InvalidCall,
    NoSuchName,
    OrionFsError,
    Throttled,
    Unreachable,
)
from orionfs.orion.failures import failure_of, pause_before_retry_s
from orionfs.probe.answers import Listing, Row, listing_of

REFUSALS = (InvalidCall, Conflict, NoSuchName, AccessDenied, CredentialsRefused, FileTooLarge)
"""Errors that are an answer: the stack was asked and said no."""

_SERVICE_UNAVAILABLE = 503
_FIRST_FAILURE = 300
_LOOK_EVERY_S = 0.1
_TRIES = 4
_UNREACHABLE_TRIES = 2
_PAGES_MAX = 100
_ROWS_ASKED = (2_000, 1_000, 100)  # the first is more than any page is thought to hold

_May = Callable[[OrionFsError, int], bool]


@dataclass(frozen=True, slots=True)
class Pace:
    """How patient the probe is, in seconds where nothing else is said."""

    absence_s: float = 1.0  # what does not appear for so long, and beyond the lag, is not there
    lag_max_s: float = 30.0
    busy_pauses_s: tuple[float, ...] = (0.3, 1.0)
    call_s: float = 30.0  # one call with all its repetitions
    experiments_s: float = 90.0  # then no further experiment begins
    cleaning_s: float = 60.0
    folders: int = 50  # looked into, of what is there
    rows: int = 1_200  # made, to see where a page ends
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)
    clock: Callable[[], float] = field(default=time.monotonic, repr=False)


class Desk:
    """Calls of one session. Errors are OrionFsErrors."""

    def __init__(self, calls: SessionCalls, pace: Pace) -> None:
        self._calls = calls
        self.pace = pace
        self.has_ranges = calls.ranged
        self.rows_asked = _ROWS_ASKED[0]
        self.lag_s = 0.0
        self.changes = 0
        self.busy = 0
        self._changed_at = pace.clock()

    def now(self) -> float:
        """Seconds of a clock that only goes forward."""
        return self.pace.clock()

    # Calls

    def ask(self, verb: str, *args: Any) -> Any:
        """A call that changes nothing."""
        return self._repeated(verb, args, _may_be_asked_again)

    def ls(self, path: str, query: Mapping[str, Any] | None = None) -> Listing:
        """One listing."""
        return listing_of(self.ask("ls_path", path, query))

    def ls_most(self, path: str, offset: int = 0) -> Listing:
        """As much of a folder as one answer holds; a stack that refuses large pages is asked for less."""
        before = self.rows_asked
        for rows in (before, *(fewer for fewer in _ROWS_ASKED if fewer < before)):
            self.rows_asked = rows
            try:
                return self.ls(path, {"limit": rows, "offset": offset} if offset else {"limit": rows})
            except InvalidCall as error:
                refusal = error
        self.rows_asked = before  # it was not for the number
        raise refusal

    def ls_whole(self, path: str) -> list[Listing]:
        """All pages of a small folder."""
        pages = [self.ls(path)]
        known = {repr(row) for row in pages[0].rows}
        while pages[-1].rows and (pages[0].total is None or len(known) < pages[0].total):
            page = self.ls(path, {"offset": len(known)})
            new = {repr(row) for row in page.rows} - known
            if not new or len(pages) == _PAGES_MAX:
                break
            known |= new
            pages.append(page)
        return pages

    def stat(self, path: str) -> Row | None:
        """What is at a path, None where nothing is."""
        try:
            answer: Row = self.ask("stat_path", path)
        except NoSuchName:
            return None
        return answer

    def change(self, verb: str, *args: Any) -> Any:
        """A call that changes something. A conflict that goes away by itself is noted as busy."""
        pauses_s = iter(self.pace.busy_pauses_s)
        is_repeated = False
        while True:
            try:
                answer = self._repeated(verb, args, _did_nothing)
            except Conflict:
                pause_s = next(pauses_s, None)
                if pause_s is None:
                    raise
            else:
                break
            finally:
                self._changed_at = self.now()
            self.pace.sleep(pause_s)
            is_repeated = True
        self.changes += 1
        self.busy += is_repeated
        return answer

    def _repeated(self, verb: str, args: tuple[Any, ...], may: _May) -> Any:
        ends_at = self.now() + self.pace.call_s
        attempt = 0
        while True:
            try:
                return getattr(self._calls, verb)(*args)
            except CallFailed as failed:
                error = failure_of(verb, args, failed.info)
                attempt += 1
                pause_s = pause_before_retry_s(error, attempt) if may(error, attempt) else None
                if pause_s is None or self.now() + pause_s > ends_at:
                    raise error from failed
            self.pace.sleep(pause_s)

    # Looking

    def look(self, is_so: Callable[[], bool], limit_s: float | None = None) -> bool:
        """Whether something has come about since the last change.

        An absence is believed after `limit_s`, or as long as this stack was seen to lag.
        """
        limit_s = limit_s or max(self.pace.absence_s, 2 * self.lag_s)
        started = self.now()
        is_first = True
        while not is_so():
            if self.now() - started > limit_s:
                return False
            is_first = False
            self.pace.sleep(_LOOK_EVERY_S)
        if not is_first:
            self.lag_s = max(self.lag_s, self.now() - self._changed_at)
        return True


def _may_be_asked_again(error: OrionFsError, attempt: int) -> bool:
    if error.status is not None and error.status < _FIRST_FAILURE:
        return False  # an answer that this session can't read: it comes again
    return attempt <= (_UNREACHABLE_TRIES if isinstance(error, Unreachable) else _TRIES)


def _did_nothing(error: OrionFsError, _attempt: int) -> bool:
    """Whether a change that ended so can be sent again without asking what became of it."""
    return isinstance(error, Throttled) or error.status in (_SERVICE_UNAVAILABLE, 403)
