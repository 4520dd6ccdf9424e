"""What a session's failure means to us, and whether trying again makes sense."""

from __future__ import annotations

import errno
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from orionfs import errors
from orionfs.bridge.worker import DOCUMENTED_ERRORS
from orionfs.orion.failures import failure_of, parse_retry_after_s, pause_before_retry_s, subject_of


def failed(error: str = "BadResponse", status: int | None = None, **info: Any) -> errors.OrionFsError:
    return failure_of("ls_path", ("/a",), {"error": error, "status": status, "detail": "why", **info})


BY_STATUS = {
    400: errors.InvalidCall,
    401: errors.CredentialsRefused,
    403: errors.AccessDenied,
    404: errors.NoSuchName,
    405: errors.RemoteFailure,
    409: errors.Conflict,
    413: errors.FileTooLarge,
    422: errors.InvalidCall,
    429: errors.Throttled,
    460: errors.RemoteFailure,
    500: errors.RemoteFailure,
    502: errors.RemoteFailure,
    503: errors.RemoteFailure,
    504: errors.RemoteFailure,
    507: errors.QuotaExceeded,
}
BY_CLASS = {
    "OrionError": errors.WrongServer,
    "InvalidCredentials": errors.CredentialsRefused,
    "AuthorizationRequired": errors.AccessDenied,
    "BadResponse": errors.RemoteFailure,
    "NotFoundResponse": errors.NoSuchName,
    "RateLimitedResponse": errors.Throttled,
    "InvalidAPIVersion": errors.RemoteFailure,
    "ValidationError": errors.InvalidCall,
    "OrionConnectionError": errors.Unreachable,
    "OrionServiceError": errors.RemoteFailure,
    "OrionTimeout": errors.TimedOut,
    "OrionLinkError": errors.RemoteFailure,
    "NotEnoughDiskError": errors.NoSpace,
    "DatasetDimensionsTooLargeError": errors.RemoteFailure,
}


def test_every_documented_class_is_in_this_test() -> None:
    assert BY_CLASS.keys() == DOCUMENTED_ERRORS


@pytest.mark.parametrize(("status", "kind"), BY_STATUS.items())
def test_status_means_an_error_whatever_the_class(status: int, kind: type[errors.OrionFsError]) -> None:
    for name in BY_CLASS:
        error = failed(name, status)
        assert type(error) is kind or (kind is errors.RemoteFailure and type(error) is BY_CLASS[name])
        assert error.status == status
    assert type(failed("SomethingElse", status)) is kind


@pytest.mark.parametrize(("name", "kind"), BY_CLASS.items())
def test_class_means_an_error_where_there_is_no_status(name: str, kind: type[errors.OrionFsError]) -> None:
    error = failed(name)
    assert type(error) is kind
    assert error.status is None


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("CallTimeout", errors.TimedOut),
        ("WorkerDied", errors.RemoteFailure),
        ("KeyError", errors.RemoteFailure),
        ("", errors.RemoteFailure),
    ],
)
def test_what_is_not_documented_is_a_failure_of_orion(name: str, kind: type[errors.OrionFsError]) -> None:
    assert type(failed(name)) is kind


def test_garbage_for_a_failure_is_a_failure_of_orion() -> None:
    error = failure_of("stat_path", (), {"status": "403", "error": None})
    assert (type(error), error.status) == (errors.RemoteFailure, None)


def test_message_names_call_subject_detail_and_request() -> None:
    assert str(failed(request_id="r7")) == "ls_path /a: why [request r7]"
    assert str(failed(detail=None)) == "ls_path /a: BadResponse"


@pytest.mark.parametrize(
    ("args", "subject"),
    [
        (("/a/b", {"limit": 1}), "/a/b"),
        (("file", 5, ["secret tag"]), "file 5"),
        ((["/a", "/b", "/c", "/d"],), "/a, /b, /c"),
        (([{"path": "/a", "id": 5}],), "/a"),
        ((), ""),
        ((".orionfs-1", "/local/path"), ".orionfs-1 /local/path"),
    ],
)
def test_subject_is_a_path_or_a_kind_and_an_id(args: tuple[Any, ...], subject: str) -> None:
    assert subject_of(args) == subject


# -- unclear ---


@pytest.mark.parametrize(
    ("info", "is_unclear"),
    [
        ({"error": "OrionConnectionError"}, True),
        ({"error": "CallTimeout"}, True),
        ({"error": "WorkerDied"}, True),
        ({"error": "OrionServiceError", "status": 502}, True),
        ({"error": "OrionServiceError", "status": 460}, True),
        ({"error": "OrionServiceError", "status": 503}, False),
        ({"error": "RateLimitedResponse", "status": 429}, False),
        ({"error": "BadResponse", "status": 409}, False),
        ({"error": "OrionConnectionError", "nothing_sent": True}, False),
        ({"error": "CallTimeout", "nothing_sent": True}, False),
    ],
)
def test_failure_without_an_answer_of_orion_is_unclear(info: dict[str, Any], is_unclear: bool) -> None:
    assert failed(**info).is_unclear is is_unclear


# -- Retry-After ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "seconds"), [("0", 0.0), ("7", 7.0), (" 120 ", 120.0)])
def test_retry_after_in_seconds_is_read(value: str, seconds: float) -> None:
    assert parse_retry_after_s(value) == seconds


def test_retry_after_as_a_date_is_read() -> None:
    due = datetime.now(UTC) + timedelta(seconds=90)
    found = parse_retry_after_s(format_datetime(due, usegmt=True))
    assert found is not None
    assert 80 < found <= 90
    assert parse_retry_after_s("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0


@pytest.mark.parametrize(
    "value", [None, "", "  ", "soon", "-5", "1.5", 7, "Wed, 99 Oct 2015 07:28:00 GMT", "0x10", "²"]
)
def test_retry_after_of_another_form_is_none(value: object) -> None:
    assert parse_retry_after_s(value) is None


# -- pauses --------------------------------------------------------------------------------------


def test_forbidden_is_tried_once_more_after_a_second() -> None:
    assert pause_before_retry_s(failed(status=403), 1) == 1.0
    assert pause_before_retry_s(failed(status=403), 2) is None


@pytest.mark.parametrize("status", [400, 401, 404, 409, 413, 422, 507])
def test_certain_refusal_is_not_tried_again(status: int) -> None:
    assert pause_before_retry_s(failed(status=status), 1) is None


@pytest.mark.parametrize("status", [429, 460, 500, 502, 503, 504, None])
def test_pauses_grow_with_jitter_up_to_eight_seconds(status: int | None) -> None:
    for attempt, longest_s in [(1, 0.2), (2, 0.4), (3, 0.8), (6, 6.4), (7, 8.0), (50, 8.0)]:
        pauses = [pause_before_retry_s(failed(status=status), attempt) for _ in range(50)]
        assert all(pause is not None and longest_s / 2 <= pause <= longest_s for pause in pauses)
        assert len(set(pauses)) > 1


def test_orions_own_word_on_when_to_come_back_counts_if_it_is_later() -> None:
    assert pause_before_retry_s(failed(status=503, retry_after="20"), 1) == 20.0
    pause = pause_before_retry_s(failed(status=503, retry_after="0"), 1)
    assert pause is not None
    assert 0.1 <= pause <= 0.2


def test_no_failure_of_a_session_ever_means_try_again_to_the_caller() -> None:
    kinds = {*BY_STATUS.values(), *BY_CLASS.values()}
    assert all(kind.errno not in (errno.EAGAIN, 0) for kind in kinds)
