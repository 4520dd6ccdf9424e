"""Exceptions as plain data."""

from __future__ import annotations

import pytest

from orionfs.bridge import CallFailed, describe
from orionfs.client import errors
from tests.bridge.factories import NotFoundResponse, Response


class OrionError(Exception):
    """Named as the documented base."""


class SomethingNewer(OrionError):
    """A class of a newer client."""


def test_answer_s_status_text_code_and_headers_are_told() -> None:
    headers = {"X-Request-Id": "r1", "Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}
    told = describe(NotFoundResponse(Response(404, headers, {"detail": "not here", "code": "gone"})))
    assert told == {
        "error": "NotFoundResponse",
        "status": 404,
        "detail": "not here",
        "request_id": "r1",
        "retry_after": "Wed, 21 Oct 2026 07:28:00 GMT",
        "code": "gone",
        "errno": None,
        "refused": False,
        "nothing_sent": False,
    }


def test_undocumented_class_is_told_by_its_nearest_documented_base() -> None:
    assert describe(SomethingNewer("x"))["error"] == "OrionError"
    assert describe(ZeroDivisionError("x"))["error"] == "ZeroDivisionError"


def test_all_documented_names_are_known() -> None:
    from orionfs.bridge.worker import DOCUMENTED_ERRORS

    assert set(errors.__all__) == DOCUMENTED_ERRORS


def test_answer_that_can_t_be_read_is_left_out() -> None:
    told = describe(NotFoundResponse(Response(502)))
    assert (told["status"], told["code"], told["request_id"]) == (502, None, None)
    told = describe(NotFoundResponse(None))
    assert (told["status"], told["error"]) == (None, "NotFoundResponse")


@pytest.mark.parametrize(
    "text",
    [
        "sent Authorization: Token:s3cr3t0123456789",
        "Token s3cr3t0123456789 is not known",
        "GET /blobs/1?expires=5&signature=s3cr3t&x=1",
        "{'password': 's3cr3t'}",
        '{"token":"s3cr3t"}',
    ],
)
def test_secrets_are_not_told(text: str) -> None:
    assert "s3cr3t" not in describe(Exception(text))["detail"]


def test_ordinary_text_is_told_as_it_is_but_short_and_printable() -> None:
    assert describe(Exception("the token is not known"))["detail"] == "the token is not known"
    assert describe(Exception("a\nb\x1b[1m"))["detail"] == "a b [1m"
    assert len(describe(Exception("x" * 10_000))["detail"]) == 500
    assert describe(KeyboardInterrupt())["detail"] == "KeyboardInterrupt"


def test_refused_connection_is_found_however_deep() -> None:
    outer = errors.OrionConnectionError("x")
    outer.__cause__ = RuntimeError(RuntimeError(ConnectionRefusedError(111, "refused")))
    assert describe(outer)["refused"]
    assert describe(outer)["nothing_sent"]
    assert not describe(errors.OrionConnectionError("x"))["refused"]


def test_what_certainly_never_arrived_is_told() -> None:
    lost = errors.OrionTimeout("x")
    lost.nothing_sent = True
    assert describe(lost)["nothing_sent"]
    assert not describe(errors.OrionTimeout("x"))["nothing_sent"]


def test_errors_of_files_tell_their_number() -> None:
    assert describe(OSError(28, "no space"))["errno"] == 28


def test_failure_that_is_described_already_stays_as_it_is() -> None:
    info = {"error": "X", "detail": "y", "status": 409}
    assert describe(CallFailed(info)) is info
    assert str(CallFailed(info)) == "X (409): y"
