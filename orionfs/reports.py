"""The last error of each item, for whoever asks the item what went wrong with it: bounded, in memory.

An item is known by its inode number, or by its identity on Orion where work in the background knows no
inode. Texts are kept, not exceptions, which would keep all they have seen. Must not know who fails or asks.
"""

from __future__ import annotations

import errno
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from orionfs.errors import ChangedElsewhere, OrionFsError, origin_of
from orionfs.models import InodeNumber, Key

ITEMS_MAX = 10_000
SETBACKS_MAX = 100
_NS_PER_S = 10**9


@dataclass(frozen=True, slots=True)
class Report:
    """One error: which call of a program, or work behind it, failed, and what Orion said then.

    `verb` is the call of the session that failed and `status` its HTTP status, where there was one.
    """

    call: str
    error: str
    message: str
    at_ns: int
    verb: str | None = None
    status: int | None = None
    request_id: str | None = None

    def text(self) -> str:
        """One `name: value` a line; what is not known has no line."""
        at = datetime.fromtimestamp(self.at_ns / _NS_PER_S, UTC).isoformat(timespec="seconds")
        fields = {
            "time": at,
            "call": self.call,
            "error": self.error,
            "request": self.verb,
            "status": self.status,
            "request-id": self.request_id,
            "message": " ".join(self.message.split()),
        }
        return "\n".join(f"{name}: {value}" for name, value in fields.items() if value is not None)


class Reports:
    """The last error of each item; beyond `items_max` the one that was noted first is forgotten."""

    def __init__(self, now_ns: Callable[[], int] = time.time_ns, items_max: int = ITEMS_MAX) -> None:
        self._now_ns = now_ns
        self._items_max = items_max
        self._reports: OrderedDict[InodeNumber | Key, Report] = OrderedDict()
        self.setbacks: OrderedDict[str, int] = OrderedDict()
        """What users ought to know of the last days, in words, and when (ns since 1970).

        That is: what was put beside the version of somebody else, and what Orion would not remove.
        """

    def __len__(self) -> int:
        return len(self._reports)

    def note(self, about: InodeNumber | Key, call: str, error: OrionFsError) -> None:
        """`call` failed for an item: it is its last error from now on."""
        origin = origin_of(error)
        self._reports[about] = Report(
            call,
            errno.errorcode.get(error.errno, str(error.errno)),
            str(error),
            self._now_ns(),
            origin.verb,
            origin.status,
            origin.request_id,
        )
        self._reports.move_to_end(about)
        if len(self._reports) > self._items_max:
            self._reports.popitem(last=False)
        if isinstance(error, ChangedElsewhere):
            self._note_setback(str(error))

    def note_refusal(self, path: str, error: OrionFsError) -> None:
        """Orion would not remove what was at a path, and it is seen again."""
        self._note_setback(f"{path} could not be removed, and is there again: {error}")

    def _note_setback(self, words: str) -> None:
        self.setbacks[words] = self._now_ns()
        self.setbacks.move_to_end(words)
        if len(self.setbacks) > SETBACKS_MAX:
            self.setbacks.popitem(last=False)

    def last(self, *about: InodeNumber | Key | None) -> Report | None:
        """The newest error of an item, by any of the names it has."""
        found = [self._reports[each] for each in about if each is not None and each in self._reports]
        return max(found, key=lambda report: report.at_ns, default=None)

    def clear(self, *about: InodeNumber | Key | None) -> None:
        """Forget the errors of an item."""
        for each in about:
            if each is not None and each in self._reports:
                del self._reports[each]
