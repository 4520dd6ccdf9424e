"""Failures of a session as our errors, by tables, and whether and when trying again makes sense; pure.

`info` is what `bridge.worker.describe` made of an exception: documented class name, status, text.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from time import time
from typing import Any

from orionfs.bridge import REFUSED_CODES
from orionfs.errors import (
    AccessDenied,
    Busy,
    Conflict,
    CredentialsRefused,
    FileTooLarge,
    InvalidCall,
    NoSpace,
    NoSuchName,
    OrionFsError,
    QuotaExceeded,
    RemoteFailure,
    Throttled,
    TimedOut,
    Unreachable,
    WrongServer,
    disk_error,
)

_FORBIDDEN_PAUSE_S = 1.0  # a 403 can be transient on Orion, so it is tried once more
_BACKOFF_CAP_S = 8.0

_NOT_DONE = frozenset({405, 501, 503})  # of the failures: nothing was begun

_BY_STATUS: Mapping[int, type[OrionFsError]] = {
    400: InvalidCall,
    401: CredentialsRefused,
    403: AccessDenied,
    404: NoSuchName,
    409: Conflict,
    413: FileTooLarge,
    422: InvalidCall,
    429: Throttled,
    507: QuotaExceeded,
}
_BY_CLASS: Mapping[str, type[OrionFsError]] = {
    "InvalidCredentials": CredentialsRefused,
    "AuthorizationRequired": AccessDenied,
    "NotFoundResponse": NoSuchName,
    "RateLimitedResponse": Throttled,
    "ValidationError": InvalidCall,
    "OrionConnectionError": Unreachable,
    "OrionTimeout": TimedOut,
    "NotEnoughDiskError": NoSpace,
    "CallTimeout": TimedOut,
}


def failure_of(verb: str, args: Sequence[Any], info: Mapping[str, Any]) -> OrionFsError:
    """Our error for what a session said: by status where there is one, else by documented class."""
    status = info.get("status")
    kind = _BY_STATUS.get(status) if isinstance(status, int) else None
    if status == 403 and info.get("code") in REFUSED_CODES:
        kind = CredentialsRefused
    if kind is None and status is None and info.get("error") == "OrionError":
        kind = WrongServer  # our client refuses to talk to it
    kind = kind or _BY_CLASS.get(str(info.get("error")))
    if kind is None and status is None and isinstance(info.get("errno"), int):
        return disk_error(OSError(info["errno"], str(info.get("detail"))), verb)  # of this machine's disk
    kind = kind or RemoteFailure
    request_id = str(info["request_id"]) if info.get("request_id") else None
    told_id = f" [request {request_id}]" if request_id else ""
    subject = f"{verb} {subject_of(args)}".rstrip()
    reason = str(info.get("detail") or info.get("error"))
    error = kind(f"{subject}: {reason}{told_id}")
    error.verb, error.request_id, error.reason = verb, request_id, reason
    error.status = status if isinstance(status, int) else None
    error.is_unclear = _is_unclear(error, info)
    error.retry_after_s = parse_retry_after_s(info.get("retry_after"))
    return error


def _is_unclear(error: OrionFsError, info: Mapping[str, Any]) -> bool:
    """A request that may have arrived got no answer, or one of something between Orion and us."""
    if info.get("nothing_sent") or isinstance(error, Throttled) or error.status in _NOT_DONE:
        return False
    return isinstance(error, TimedOut | RemoteFailure)


def parse_retry_after_s(value: Any) -> float | None:
    """Seconds to wait from a Retry-After header in either form: seconds, or an HTTP date."""
    if not isinstance(value, str) or not value.strip():
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        due = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, due.timestamp() - time())


def pause_before_retry_s(error: OrionFsError, attempt: int) -> float | None:
    """How long to wait before another attempt, or None if there is to be none."""
    if isinstance(error, CredentialsRefused):
        return None  # they were read again already
    if error.status == 403:
        return _FORBIDDEN_PAUSE_S if attempt == 1 else None
    if not error.is_retryable:
        return None
    backoff_s = min(_BACKOFF_CAP_S, 0.1 * 2.0**attempt) * random.uniform(0.5, 1.0)
    return max(backoff_s, error.retry_after_s or 0.0)


def subject_of(args: Sequence[Any]) -> str:
    """What a call was about, for messages: a path, or a kind and an id."""
    if args and isinstance(args[0], list):
        return ", ".join(str(a.get("path") if isinstance(a, dict) else a) for a in args[0][:3])
    return " ".join(str(arg) for arg in args[:2] if isinstance(arg, str | int))


def busy(conflict: Conflict) -> Busy:
    """What a 409 means where no name can be taken."""
    error = Busy(str(conflict))
    error.__cause__ = conflict
    error.status, error.retry_after_s = conflict.status, conflict.retry_after_s
    return error


def empty_refused(name: str) -> InvalidCall:
    """A file without bytes can't go to this stack."""
    return InvalidCall(
        f"{name}: this stack takes no empty files, so it stays on this machine until it has contents"
    )
