"""The log of a daemon: for people or as JSON, fit for the journal, and no line a thousand times.

Writes to stderr, wherever that leads. Trouble of one kind with Orion or the network is told once a minute,
with how often it came; what is about one item (it may not be removed, there is no room) some times more.
Knows our errors, since they tell which is which; must not know who logs what.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TextIO

from orionfs.config import LOG_FORMATS
from orionfs.errors import OrionFsError, origin_of
from orionfs.printable import printable

FORMATS = LOG_FORMATS

WINDOW_S = 60.0
KINDS_MAX = 1000
_OF_ONE_ITEM_MAX = 10  # lines of a kind in a window
# <N> before a line is its priority for the journal, sd-daemon(3); the numbers are those of syslog(3).
_PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}

Kind = tuple[object, ...]


def write_to_stderr(level: str, form: str) -> None:
    """Let everything that is logged from now on go to stderr, in one of FORMATS."""
    handler = Lines(sys.stderr, _formatter(form, is_for_journal=leads_to_journal(sys.stderr)))
    logging.getLogger().addHandler(handler)
    # The level is about our own words: what libraries say at DEBUG holds signed addresses.
    logging.getLogger("orionfs").setLevel(level)


def tell_held_back() -> None:
    """Say what was held back for a minute; to be called now and then."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, Lines):
            handler.tell_held_back()


def leads_to_journal(stream: TextIO) -> bool:
    """Whether systemd says that this stream is connected to its journal."""
    told = os.environ.get("JOURNAL_STREAM", "")
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return told == f"{found.st_dev}:{found.st_ino}"


# -- one line ------------------------------------------------------------------------------------


def _formatter(form: str, *, is_for_journal: bool) -> logging.Formatter:
    return _AsJson() if form == "json" else _ForPeople(is_for_journal)


class _ForPeople(logging.Formatter):
    """Time, level, who says it, what; the journal has its own times and levels."""

    def __init__(self, is_for_journal: bool) -> None:
        super().__init__("%(asctime)s ")
        self._is_for_journal = is_for_journal

    def format(self, record: logging.LogRecord) -> str:
        # A newline in a name must not forge a line.
        said = f"{record.name}: {printable(record.getMessage())}{_more(record)}"
        lines = [said, *self._traceback(record)]
        if self._is_for_journal:
            return "\n".join(f"<{_PRIORITIES.get(record.levelno, 6)}>{line}" for line in lines)
        return f"{self.formatTime(record)} {record.levelname} " + "\n".join(lines)

    def _traceback(self, record: logging.LogRecord) -> list[str]:
        return self.formatException(record.exc_info).splitlines() if record.exc_info else []


class _AsJson(logging.Formatter):
    """One object a line; what is not known has no key."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        error = error_in(record)
        fields = {
            "time": at,
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **about(record),
            **(told_by(error) if error is not None else {}),
            "more": getattr(record, "more", 0) or None,
            "traceback": self.formatException(record.exc_info) if record.exc_info else None,
        }
        return json.dumps({name: value for name, value in fields.items() if value is not None})


def about(record: logging.LogRecord) -> Mapping[str, Any]:
    """What a record is about, as its logger said: operation, path, inode."""
    found: Mapping[str, Any] = getattr(record, "about", {})
    return found


def error_in(record: logging.LogRecord) -> OrionFsError | None:
    """The error of ours that a record tells."""
    args = record.args if isinstance(record.args, tuple) else ()
    return next((arg for arg in args if isinstance(arg, OrionFsError)), None)


def told_by(error: OrionFsError) -> Mapping[str, Any]:
    """What is known of an error beside its text."""
    origin = origin_of(error)
    return {
        "error": type(error).__name__,
        "request": origin.verb,
        "status": origin.status,
        "request_id": origin.request_id,
    }


def _more(record: logging.LogRecord) -> str:
    more = getattr(record, "more", 0)
    return f" ({more} more like this in the last minute)" if more else ""


# -- not a thousand times ------------------------------------------------------------------------


def kind_of(record: logging.LogRecord) -> tuple[Kind, int] | None:
    """What makes a record one of many, and how many of them are told a minute; None: always told.

    Who logs it may give it a `kind`, of which one is told.
    """
    named = getattr(record, "kind", None)
    if named is not None:
        return (record.name, named), 1
    error = error_in(record)
    if error is None or record.exc_info or (record.levelno >= logging.ERROR and not about(record)):
        return None
    kind = (record.name, record.levelno, record.msg, type(error), about(record).get("operation"))
    return kind, 1 if error.is_retryable else _OF_ONE_ITEM_MAX


@dataclass(slots=True)
class _Window:
    """The minute of one kind: what was told in it, what was not, and the last of those."""

    since_s: float
    told: int = 0
    held_back: int = 0
    last: logging.LogRecord | None = None


class Lines(logging.StreamHandler[TextIO]):
    """Lines on a stream, those of one kind not more often than is useful."""

    def __init__(
        self, stream: TextIO, formatter: logging.Formatter, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(stream)
        self.setFormatter(formatter)
        self._clock = clock
        self._windows: dict[Kind, _Window] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Write it, or count it."""
        found = kind_of(record)
        if found is None or self._is_told(record, *found):
            super().emit(record)

    def tell_held_back(self) -> None:
        """Write the last of each kind whose minute is over, with how many there were."""
        self.acquire()
        try:
            self._end_windows(self._clock() - WINDOW_S)
        finally:
            self.release()

    def close(self) -> None:
        """Nothing is kept to itself."""
        self.acquire()
        try:
            self._end_windows(self._clock())
        finally:
            self.release()
        super().close()

    def _is_told(self, record: logging.LogRecord, kind: Kind, count_max: int) -> bool:
        now_s = self._clock()
        window = self._windows.get(kind)
        if window is None or now_s - window.since_s >= WINDOW_S:
            if window is None and len(self._windows) >= KINDS_MAX:
                self._end_windows(now_s)
            record.more = window.held_back if window is not None else 0
            self._windows[kind] = _Window(now_s, told=1)
            return True
        if window.told < count_max:
            window.told += 1
            return True
        window.held_back += 1
        window.last = record
        return False

    def _end_windows(self, begun_by_s: float) -> None:
        """What was held back in a minute has one line, which is the first of the next minute."""
        for kind, window in list(self._windows.items()):
            if window.since_s > begun_by_s:
                continue
            del self._windows[kind]
            if window.last is not None:
                window.last.more = window.held_back - 1
                self._windows[kind] = _Window(self._clock(), told=1)
                super().emit(window.last)
