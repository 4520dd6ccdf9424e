"""What the server says when it can't or won't: refusals of one request and failures to start.

Used by every module of the server; knows nothing of HTTP libraries. A `Refusal` is the JSON error
answer `{"detail", "code"}` of this project's dialect with its status; a `ServeError` is one line for
the person who started the server.
"""

from __future__ import annotations

from collections.abc import Mapping


class ServeError(Exception):
    """The server can't start; `str()` is one line for people: what, which path, what to do."""


class Refusal(Exception):
    """A request that is not carried out: HTTP status, a stable code word, a sentence for people."""

    def __init__(self, status: int, code: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = dict(headers or {})


def bad_request(detail: str, code: str = "bad_request") -> Refusal:
    """400: the request itself is malformed."""
    return Refusal(400, code, detail)


def denied(detail: str, code: str = "permission_denied") -> Refusal:
    """403: the account may not do this here."""
    return Refusal(403, code, detail)


def not_found(detail: str, code: str = "not_found") -> Refusal:
    """404: there is no such thing."""
    return Refusal(404, code, detail)


def conflict(detail: str, code: str = "conflict") -> Refusal:
    """409: what is there now does not allow it."""
    return Refusal(409, code, detail)


def too_large(detail: str) -> Refusal:
    """413: more bytes than this server takes."""
    return Refusal(413, "too_large", detail)


def invalid(detail: str, code: str = "invalid") -> Refusal:
    """422: well-formed, but the values make no sense."""
    return Refusal(422, code, detail)
