"""One server and one account: calls a route, maps every failure to a documented exception.

Used by the session, the types, `upload` and `download`; shared by all threads of a session, so what
changes (the checked server, remembered download addresses) is behind a lock. Owns the rule that a token
goes only to a host which has said, asked without one, that it speaks this dialect, or for which a wire
from a file says that it is not to be asked. Must not know what the routes mean.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec
import requests

from . import errors, records
from .addresses import Addresses
from .http import TokenAuth, add_nothing, is_nothing_sent, without_credentials
from .place import job_id
from .profiles import SessionConfig
from .wire import DIALECT, Route, Wire

__all__ = ["Transport", "check_done", "documented_errors", "raise_for_status"]

_REFUSAL = (
    "{url} is not an orionfs server ({why}), so your token was not sent to it. For a real Orion stack "
    "install OpenEye's own client (openeye-orionplatform, from OpenEye's package index; the orionclient "
    "on PyPI is something else) and let orionfs use that."
)
_USER_INFO = re.compile(r"//[^/@]*@")
# Answers that may come from something between us and an orionfs server.
_TEMPLATES_MAX = 16
_PASSING = frozenset({408, 429, 500, 502, 503, 504})


def raise_for_status(response: requests.Response) -> None:
    """Raise the documented exception of an answer that is not a success."""
    status = response.status_code
    if 200 <= status < 300:
        return
    code = errors.code_of(response)
    if status == 406 or code == "api_version":
        raise errors.InvalidAPIVersion(response)
    if status == 401:
        raise errors.InvalidCredentials(errors.explain(response), response)
    if status == 403:
        raise errors.AuthorizationRequired(response)
    if status == 404:
        raise errors.NotFoundResponse(response)
    if status == 429:
        raise errors.RateLimitedResponse(response)
    if status == 413 and code == "dimensions_too_large":
        raise errors.DatasetDimensionsTooLargeError(errors.explain(response), response)
    if status in (400, 416, 422):
        raise errors.ValidationError(errors.explain(response), response)
    if status >= 500:
        raise errors.OrionServiceError(errors.explain(response), response)
    raise errors.BadResponse(response)


def check_done(response: requests.Response) -> None:
    """Raise BadResponse unless a success is one of this server's: without contents, or JSON."""
    if response.status_code != 204:
        records.decode(response)


@contextmanager
def documented_errors(url: str) -> Iterator[None]:
    """Turn what requests raises into the documented exceptions; `url` is shown without its query."""
    where = _USER_INFO.sub("//", url.partition("?")[0])
    try:
        yield
    except requests.RequestException as exc:
        raise _translated(exc, where) from exc
    except UnicodeError as exc:
        raise errors.ValidationError(f"{where}: text that is not Unicode: {exc}") from exc
    except ValueError as exc:
        raise errors.OrionConnectionError(f"{where}: {_reason(exc)}") from exc
    except OSError as exc:  # what the environment names as the CA is no such file
        unusable = errors.OrionConnectionError(f"{where}: {exc}")
        unusable.nothing_sent = True
        raise unusable from exc


def _translated(exc: requests.RequestException, where: str) -> errors.OrionError:
    kind: type[errors.OrionError] = errors.OrionConnectionError
    if isinstance(exc, requests.Timeout) or _is_slow_body(exc):
        kind = errors.OrionTimeout
    found = kind(f"{where}: {_reason(exc)}")
    # ValueError: requests refused the URL itself
    found.nothing_sent = is_nothing_sent(exc) or isinstance(exc, ValueError)
    return found


def _is_slow_body(exc: requests.RequestException) -> bool:
    cause = exc.args[0] if exc.args else None
    return any(cls.__name__ == "ReadTimeoutError" for cls in type(cause).__mro__)


def _reason(exc: BaseException) -> str:
    if isinstance(exc, requests.Timeout):
        return "no answer in time"
    if isinstance(exc, ValueError):
        return "not a usable address"
    seen: BaseException | None = exc
    for _ in range(10):
        if isinstance(seen, OSError) and seen.strerror and not isinstance(seen, requests.RequestException):
            return seen.strerror
        inner = seen.args[0] if seen is not None and seen.args else None
        reason = getattr(inner, "reason", inner)
        seen = reason if isinstance(reason, BaseException) else getattr(seen, "__cause__", None)
        if seen is None:
            break
    return "the connection failed or broke off"


class Transport:
    """Calls routes of one server with one token. Safe for use by many threads."""

    def __init__(
        self, config: SessionConfig, requests_session: requests.Session, wire: Wire = DIALECT
    ) -> None:
        self.config = config
        self.wire = wire
        self.base_url = config.url.rstrip("/")
        self._auth = _auth_of(config, wire)
        requests_session.auth = self._auth
        self._authenticated = requests_session
        self._plain = without_credentials(requests_session)
        self._lock = threading.Lock()
        self._server: records.ServerRecord | None = None
        self.addresses = Addresses(time.time)
        self._templates: dict[Hashable, requests.PreparedRequest] = {}
        self._plain_templates: dict[Hashable, requests.PreparedRequest] = {}

    def close(self) -> None:
        """Close pooled connections; a later call opens new ones."""
        self._authenticated.close()
        self._plain.close()

    # ------------------------------------------------------------------ the server

    def server(self) -> records.ServerRecord:
        """What the server says of itself, asked once, without the token.

        Raises OrionError when it is no orionfs server.
        """
        with self._lock:
            if self._server is None:
                self._server = self._ask_server()
            return self._server

    @property
    def is_asked(self) -> bool:
        """Whether the server is asked what it is; a wire from a file may say that it is not."""
        return self.wire.routes.server_info is not None

    def forget_server(self) -> None:
        """Check the server again before the next request."""
        with self._lock:
            self._server = None

    def _ask_server(self) -> records.ServerRecord:
        route = self.wire.routes.server_info
        if route is None:
            limits = records.LimitsRecord(self.wire.limits.page_max, self.wire.limits.part_bytes)
            return records.ServerRecord(self.wire.keys.server_name, self.base_url, limits)
        url = self.base_url + route.path
        with documented_errors(url):
            response = self._plain.request(route.method, url, allow_redirects=False)
        if response.status_code in _PASSING:
            raise_for_status(response)
        if response.status_code != 200:
            raise self._refusal(f"it answered {response.status_code}")
        try:
            found = records.server_record(records.decode(response), self.wire, response)
        except errors.BadResponse as exc:
            raise self._refusal("its answer is another one") from exc
        if found.server != self.wire.keys.server_name:
            raise self._refusal("it calls itself something else")
        return found

    def _refusal(self, why: str) -> errors.OrionError:
        return errors.OrionError(_REFUSAL.format(url=self.base_url, why=why))

    # ------------------------------------------------------------------ calls with the token

    def ask(self, route: Route, *, timeout: float | None = None, **request: Any) -> Any:
        """Call a route; the decoded JSON of the answer. Arguments as for `request`."""
        return records.decode(self.request(route, timeout=timeout, **request))

    def order(self, route: Route, **request: Any) -> None:
        """Have something done, and be sure that this server says so: 204, or JSON. Raises BadResponse.

        A proxy's page for people comes with 200 as well. Arguments as for `request`.
        """
        check_done(self.request(route, **request))

    def request(
        self,
        route: Route,
        *,
        fill: Mapping[str, int | str] | None = None,
        params: Mapping[str, Any] | None = None,
        json: object = None,
        body: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        follows_by_hand: bool = False,
        stream: bool = False,
    ) -> requests.Response:
        """Call a route with the token. Raises the documented exception of anything but a success.

        `json` is encoded, `body` streamed as it is; with `stream` the answer's body is left to the
        caller. A redirect is an error unless the caller `follows_by_hand`.
        """
        self._check_token()
        self.server()
        sent_headers = {**self._standing_headers(), **(headers or {})}
        data: Any = body
        if json is not None:
            data, sent_headers["Content-Type"] = _encoded(json), "application/json"
        url = self.base_url + route.fill(**(fill or {}))
        with documented_errors(url):
            prepared = self._prepared(route.method, url, sent_headers, params, data)
            settings = self._authenticated.merge_environment_settings(prepared.url, {}, stream, None, None)
            response = self._authenticated.send(prepared, timeout=timeout, allow_redirects=False, **settings)
            if not response.ok:
                _ = response.content
        if not (follows_by_hand and response.is_redirect):
            raise_for_status(response)
        return response

    def _prepared(
        self, method: str, url: str, headers: Mapping[str, str], params: Any, data: Any
    ) -> requests.PreparedRequest:
        """A request as the session would prepare it; those without a body differ in their address alone."""
        session = self._authenticated
        if data is not None:
            return session.prepare_request(
                requests.Request(method, url, headers, data=data, params=params, auth=self._auth)
            )
        standing = (method, tuple(headers.items()), tuple(session.headers.items()))
        template = self._templates.get(standing)
        if template is None:
            bare = requests.Request(method, self.base_url, headers, auth=self._auth)
            template = session.prepare_request(bare)
            if len(self._templates) < _TEMPLATES_MAX:  # what asks for ranges is never the same
                self._templates = {**self._templates, standing: template}
        prepared = template.copy()
        prepared.prepare_url(url, params)
        return prepared

    def _standing_headers(self) -> dict[str, str]:
        """What every call says of where it comes from: the project, and the job it is made in."""
        keys, job = self.wire.keys, job_id()
        said = {keys.project_header: self.config.project, keys.job_header: job}
        return {name: str(value) for name, value in said.items() if value is not None}

    def _check_token(self) -> None:
        token = self.config.token
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            raise errors.InvalidCredentials("the token is empty or holds characters that no token has")

    # ------------------------------------------------------------------ without the token

    def ask_as_stranger(self, route: Route, json: object) -> requests.Response:
        """Call a route of this server without the token. Raises as `request` does."""
        self.server()
        response = self.plain(
            route.method,
            self.base_url + route.path,
            headers={"Content-Type": "application/json"},
            body=_encoded(json),
        )
        raise_for_status(response)
        return response

    def plain(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
        stream: bool = False,
    ) -> requests.Response:
        """A request to any host, without the token; the answer whatever its status."""
        with documented_errors(url):
            prepared = self._prepared_plain(method, url, headers or {}, body)
            settings = self._plain.merge_environment_settings(prepared.url, {}, stream, None, None)
            return self._plain.send(prepared, allow_redirects=False, **settings)

    def _prepared_plain(
        self, method: str, url: str, headers: Mapping[str, str], body: Any
    ) -> requests.PreparedRequest:
        """The same for such a request: ranges of one file differ in their headers alone."""
        if body is not None:
            return self._plain.prepare_request(requests.Request(method, url, headers, data=body))
        template = self._plain_templates.get((method, url))
        if template is None:
            template = self._plain.prepare_request(requests.Request(method, url))
            others = self._plain_templates if len(self._plain_templates) < _TEMPLATES_MAX else {}
            self._plain_templates = {**others, (method, url): template}
        prepared = template.copy()
        prepared.headers.update(headers)
        return prepared


def _auth_of(config: SessionConfig, wire: Wire) -> Any:
    try:
        return TokenAuth(config.url, wire.keys.token_form.format(token=config.token))
    except ValueError:
        return add_nothing  # no URL at all: the first request says so


def _encoded(value: object) -> bytes:
    try:
        return msgspec.json.encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as exc:
        raise errors.ValidationError(f"can't be sent as JSON: {exc}") from exc
