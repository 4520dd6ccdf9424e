"""Credentials that were refused are read again: once for all calls that wait.

Used by whatever makes the calls of a session: it says how to begin anew, this says when. A refused
call has changed nothing, so it is made again afterwards. Must not know tokens.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from .worker import CallFailed

__all__ = ["REFUSED_CODES", "Renewal"]

_T = TypeVar("_T")
REFUSED_CODES = frozenset({"bad_credentials", "not_authenticated", "token_expired"})
"""What our server calls credentials that it does not accept, with whatever status."""

_GENERATIONS_A_CALL = 10  # new ones may have been replaced before the call arrives with them
_DOUBT_PAUSE_S = 10.0  # between questions whether a 403 is about the credentials


class Renewal:
    """Counts generations of a session's credentials.

    `renew` begins a new generation and says whether there is one; it is asked again `pause_s` seconds
    later at the earliest, since an account that is locked fails every call. `whoami` is a call that every
    account may make: a 403 that does not say why is about the credentials if that is refused as well.
    """

    def __init__(
        self, renew: Callable[[], bool], pause_s: float = 0.0, *, whoami: Callable[[], object] | None = None
    ) -> None:
        self._renew = renew
        self._pause_s = pause_s
        self._whoami = whoami
        self._lock = threading.Lock()
        self._next_s = 0.0
        self._next_doubt_s = 0.0
        self.generation = 0

    def call(self, attempt: Callable[[], _T]) -> _T:
        """The answer of a call, tried again on credentials read again if the old ones were refused."""
        for _ in range(_GENERATIONS_A_CALL):
            generation = self.generation
            try:
                return attempt()
            except CallFailed as failed:
                if not self._are_refused(failed.info, generation) or not self._is_renewed(generation):
                    raise
        return attempt()

    def _are_refused(self, info: Mapping[str, Any], generation: int) -> bool:
        """Whether the credentials were not accepted; a permission that is missing is something else."""
        if _is_about_credentials(info):
            return True
        if self._whoami is None or info.get("status") != 403 or info.get("code") is not None:
            return False
        return self.generation != generation or self._is_nobody(self._whoami)

    def _is_nobody(self, whoami: Callable[[], object]) -> bool:
        with self._lock:
            if time.monotonic() < self._next_doubt_s:
                return False
            self._next_doubt_s = time.monotonic() + _DOUBT_PAUSE_S
        try:
            whoami()
        except CallFailed as failed:
            return _is_about_credentials(failed.info) or failed.info.get("status") == 403
        return False

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


def _is_about_credentials(info: Mapping[str, Any]) -> bool:
    is_unknown = info.get("status") == 401 or info.get("error") == "InvalidCredentials"
    return is_unknown or info.get("code") in REFUSED_CODES
