"""Where contents can be fetched from: signed addresses, remembered until they expire.

Used by `download`. At most `LIMIT` addresses are kept, the longest unused ones go first. Threads that
need the same one at the same time share a single question. Must not know HTTP.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

__all__ = ["Addresses"]

LIMIT = 4096
# An address is not used in its last seconds: the request has to arrive before it expires.
_MARGIN_S = 5.0
# What carries no time is not believed for long.
_UNDATED_S = 60.0


@dataclass(frozen=True, slots=True)
class _Address:
    url: str
    until_s: float


class Addresses:
    """A bounded memory of addresses by key, safe for use by many threads."""

    def __init__(self, clock: Callable[[], float], limit: int = LIMIT) -> None:
        self._clock = clock
        self._limit = limit
        self._lock = threading.Lock()
        self._known: OrderedDict[Hashable, _Address] = OrderedDict()
        self._asked: dict[Hashable, Future[str]] = {}

    def __len__(self) -> int:
        return len(self._known)

    def get(self, key: Hashable, ask: Callable[[], str], expires_key: str) -> str:
        """The address of `key`: remembered, or from `ask()`, which one thread calls for all waiting.

        `expires_key` names the query parameter with the end of validity in seconds since the epoch.
        Raises what `ask` raises.
        """
        with self._lock:
            known = self._known.get(key)
            if known is not None and known.until_s > self._clock():
                self._known.move_to_end(key)
                return known.url
            waiting = self._asked.get(key)
            if waiting is None:
                mine = self._asked[key] = Future()
        if waiting is not None:
            return waiting.result()
        try:
            url = ask()
        except BaseException as exc:
            with self._lock:
                del self._asked[key]
            mine.set_exception(exc)
            raise
        with self._lock:
            del self._asked[key]
            self._remember(key, _Address(url, self._until_s(url, expires_key)))
        mine.set_result(url)
        return url

    def forget(self, key: Hashable, url: str) -> None:
        """Do not use this address again; a newer one of the same key stays."""
        with self._lock:
            known = self._known.get(key)
            if known is not None and known.url == url:
                del self._known[key]

    def _remember(self, key: Hashable, address: _Address) -> None:
        self._known[key] = address
        self._known.move_to_end(key)
        while len(self._known) > self._limit:
            self._known.popitem(last=False)

    def _until_s(self, url: str, expires_key: str) -> float:
        values = parse_qs(urlsplit(url).query).get(expires_key, [""])
        try:
            return float(values[0]) - _MARGIN_S
        except ValueError:
            return self._clock() + _UNDATED_S
