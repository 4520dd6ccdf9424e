"""The fourteen documented exceptions, by name and with the documented arguments.

Raised by everything in `orionfs.client`; the only errors besides OSError (local files) that a caller
of the library has to expect. Those that come from an answer keep it as `.response`. Messages are for
people: method, path, status, what the server said; never a query string (signed URLs) nor a token.
Must not know how answers are fetched.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from requests import Response

__all__ = [
    "AuthorizationRequired",
    "BadResponse",
    "DatasetDimensionsTooLargeError",
    "InvalidAPIVersion",
    "InvalidCredentials",
    "NotEnoughDiskError",
    "NotFoundResponse",
    "OrionConnectionError",
    "OrionError",
    "OrionLinkError",
    "OrionServiceError",
    "OrionTimeout",
    "RateLimitedResponse",
    "ValidationError",
]

_DETAIL_MAX = 300


def explain(response: Response) -> str:
    """One line about an answer: request, status, the server's own sentence and its request id."""
    request = response.request
    line = f"{request.method} {urlsplit(request.url or '').path}: {response.status_code}"
    said = _sentence(response) or response.reason or ""
    if said:
        line += f" {said}"
    request_id = response.headers.get("X-Request-Id")
    return f"{line} (request {request_id})" if request_id else line


def _sentence(response: Response) -> str:
    detail = _said(response, "detail")
    return "".join(c if c.isprintable() else "?" for c in detail[:_DETAIL_MAX])


def code_of(response: Response) -> str:
    """The word by which the server tells one refusal from another; empty without one."""
    return _said(response, "code")


def _said(response: Response, key: str) -> str:
    try:
        answer = json.loads(response.content)
    except (ValueError, RecursionError):
        return ""
    found = answer.get(key) if isinstance(answer, dict) else None
    return found if isinstance(found, str) else ""


class OrionError(Exception):
    """Base of all errors of the client.

    `response` is the answer that caused it, if there was one. `nothing_sent` (an extension) is true
    when the request certainly never reached the server, so that a change can't have happened.
    """

    def __init__(self, message: str = "", response: Response | None = None) -> None:
        super().__init__(message)
        self.response = response
        self.nothing_sent = False


class InvalidCredentials(OrionError):
    """The server does not know the session's token (401)."""


class _ResponseError(OrionError):
    """An answer that is an error; `custom_error_msg` replaces the text made from the answer."""

    def __init__(self, response: Response, custom_error_msg: str | None = None) -> None:
        super().__init__(custom_error_msg or explain(response), response)


class AuthorizationRequired(_ResponseError):
    """The account may not do this (403)."""


class BadResponse(_ResponseError):
    """The server refused (4xx without a class of its own), or its answer is not what was due."""


class NotFoundResponse(_ResponseError):
    """There is nothing of that path or id (404)."""


class RateLimitedResponse(_ResponseError):
    """Too many requests (429); `response.headers` may hold Retry-After."""


class InvalidAPIVersion(_ResponseError):
    """The stack does not offer the API version that the call needs (406, or code `api_version`)."""

    def __init__(self, response: Response) -> None:
        super().__init__(response)


class ValidationError(OrionError):
    """Arguments that make no sense, found here (no `response`) or by the server (400, 416, 422)."""


class OrionConnectionError(OrionError):
    """No connection, or it broke before the answer was complete."""


class OrionServiceError(OrionError):
    """The server failed (5xx), or sent other contents than it had promised."""


class OrionTimeout(OrionError):
    """No answer within the time that was allowed."""


class OrionLinkError(OrionError):
    """A link that is not valid: garbage, or of another stack."""


class NotEnoughDiskError(OrionError):
    """The local disk has no room for a download."""


class DatasetDimensionsTooLargeError(OrionError):
    """More records of a dataset than the server gives at once (413): ask for a range of them."""
