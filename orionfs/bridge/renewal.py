"""Credentials that were refused are read again: once for all calls that wait.

Used by whatever makes the calls of a session: it says how to begin anew, this says when. A refused
call has changed nothing, so it is made once more afterwards. Must not know tokens.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from .worker import CallFailed

__all__ = ["Renewal"]

_T = TypeVar("_T")
_REFUSED_CODES = frozenset({"bad_credentials", "token_expired"})  # of stacks that answer 403


class Renewal:
    """Counts generations of a session's credentials.

    `renew` begins a new generation and says whether there is one; it is asked again `pause_s` seconds
    later at the earliest, since an account that is locked fails every call.
    """

    def __init__(self, renew: Callable[[], bool], pause_s: float = 0.0) -> None:
        self._renew = renew
        self._pause_s = pause_s
        self._lock = threading.Lock()
        self._next_s = 0.0
        self.generation = 0

    def call(self, attempt: Callable[[], _T]) -> _T:
        """The answer of a call, tried once more on credentials read again if the old ones were refused."""
        generation = self.generation
        try:
            return attempt()
        except CallFailed as failed:
            if not _are_refused(failed.info) or not self._is_renewed(generation):
                raise
        return attempt()

    def _is_renewed(self, generation: int) -> bool:
        """Whether newer credentials than those of `generation` are there, or could be had."""
        with self._lock:
            if self.generation != generation:
                return True
            if time.monotonic() < self._next_s:
                return False
            self._next_s = time.monotonic() + self._pause_s
            if self._renew():
                self.generation += 1
            return self.generation != generation


def _are_refused(info: Mapping[str, Any]) -> bool:
    """Whether the credentials were not accepted; a permission that is missing is something else."""
    is_unknown = info.get("status") == 401 or info.get("error") == "InvalidCredentials"
    return is_unknown or info.get("code") in _REFUSED_CODES
