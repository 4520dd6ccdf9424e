"""HTTP sessions: retries with backoff, the token, and a twin without one.

Owns everything that is about `requests` and not about Orion. `get_session` is documented API; the
rest serves `transport.py`. A session made here may be used by many threads at once: nothing of it
changes after it was made (cookies are refused). Must not know routes, JSON or the documented errors.
"""

from __future__ import annotations

import email.utils
import importlib.metadata
import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Hashable, Mapping
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter

__all__ = [
    "CONNECTION_FAILED",
    "Retryable",
    "TokenAuth",
    "TotalTimeout",
    "add_nothing",
    "get_session",
    "is_nothing_sent",
    "origin",
    "without_credentials",
]

log = logging.getLogger(__name__)

CONNECTION_FAILED = 0
"""Pseudo status of `retry_dict` and `backoff_dict`: the connection failed or broke."""

DEFAULT_RETRIES: Mapping[int, int] = {CONNECTION_FAILED: 3, 429: 5, 502: 3, 503: 5, 504: 3}
DEFAULT_BACKOFF = (1, 30)
# Connections are made when they are needed; one that finds no place afterwards would be closed.
_POOL_SIZE = 1024
_HOSTS_MAX = 8
# A second time does the same as the first: may be sent again although an answer got lost.
_REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS", "PUT"})
_TELLING_HEADERS = ("X-Request-Id", "X-Amz-Request-Id", "X-Amz-Id-2", "X-Amz-Cf-Id", "X-Amzn-Trace-Id")


class TotalTimeout(float):
    """A timeout in seconds that bounds all attempts of a request together, waits included."""


class Retryable(HTTPAdapter):
    """Sends a request again after a failure, a limited number of times per HTTP status.

    Waits grow from base to cap with jitter; Retry-After (seconds or date) is the least that is
    waited. What can't wait within `retry_timeout` seconds in total ends with the last answer.
    """

    def __init__(
        self,
        retry_dict: Mapping[int, int],
        *,
        request_timeout: float = 60,
        retry_timeout: float = 3600,
        backoff_dict: Mapping[int, tuple[float, float]] | None = None,
        log_failed_headers: bool = False,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        super().__init__(pool_maxsize=_POOL_SIZE, pool_block=False)
        self._connections: dict[Hashable, Any] = {}  # origin and TLS settings -> its pool of connections
        self.retry_dict = dict(retry_dict)
        self.backoff_dict = dict(backoff_dict or {})
        self.request_timeout = request_timeout
        self.retry_timeout = retry_timeout
        self.log_failed_headers = log_failed_headers
        self._sleep, self._clock, self._wall_clock, self._jitter = sleep, clock, wall_clock, jitter

    def send(  # type: ignore[override]  # the stub names only some of the arguments requests passes
        self, request: requests.PreparedRequest, *, timeout: Any = None, **kwargs: Any
    ) -> requests.Response:
        """Send until it succeeds or may not be tried again; the last answer, or the last exception."""
        limit = float(timeout) if isinstance(timeout, TotalTimeout) else self.retry_timeout
        deadline = self._clock() + limit
        if timeout is None:
            timeout = self.request_timeout
        used: Counter[int] = Counter()
        while True:
            answer = self._attempt(request, timeout, kwargs)
            status = answer.status_code if isinstance(answer, requests.Response) else CONNECTION_FAILED
            used[status] += 1
            wait_s = self._wait_s(status, used[status], answer)
            may_retry = used[status] <= self.retry_dict.get(status, 0) and _may_repeat(request, answer)
            if not may_retry or self._clock() + wait_s >= deadline:
                break
            if isinstance(answer, requests.Response):
                answer.close()
            log.debug("%s %s: status %d, again in %.2f s", request.method, _path(request), status, wait_s)
            self._sleep(wait_s)
            if isinstance(timeout, TotalTimeout):
                timeout = TotalTimeout(max(deadline - self._clock(), 0.001))
        if isinstance(answer, requests.Response):
            return answer
        raise answer

    def get_connection_with_tls_context(
        self, request: requests.PreparedRequest, verify: Any, proxies: Any = None, cert: Any = None
    ) -> Any:
        """The pool of connections to a host; found once, not for each request."""
        if proxies:
            return super().get_connection_with_tls_context(request, verify, proxies, cert)
        scheme, _, rest = (request.url or "").partition("://")
        key = (scheme, rest.partition("/")[0], verify, cert)
        found = self._connections.get(key)
        if found is None or found.pool is None:  # None: urllib3 has closed it to make room for others
            found = super().get_connection_with_tls_context(request, verify, proxies, cert)
            self._connections = (
                {**self._connections, key: found} if len(self._connections) < _HOSTS_MAX else {}
            )
        return found

    def request_url(self, request: requests.PreparedRequest, proxies: Any) -> str:
        """What stands in the request line; only a proxy is told more than the path."""
        if proxies or request.path_url.startswith("//"):
            return super().request_url(request, proxies)
        return request.path_url

    def close(self) -> None:
        """Close all connections now; a later request opens new ones.

        urllib3 closes a pool when nothing refers to it, and an error that broke a connection does so,
        in a cycle, until garbage is collected.
        """
        for manager in (self.poolmanager, *self.proxy_manager.values()):
            for key in manager.pools.keys():  # noqa: SIM118 (no mapping: iterating it is refused)
                pool = manager.pools.get(key)
                if pool is not None:
                    pool.close()
        self._connections = {}
        super().close()

    def _attempt(
        self, request: requests.PreparedRequest, timeout: Any, kwargs: dict[str, Any]
    ) -> requests.Response | requests.RequestException:
        try:
            response = super().send(request, timeout=timeout, **kwargs)
            if not kwargs.get("stream"):
                _ = response.content  # read here: an answer that breaks off counts as a broken connection
        except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as exc:
            return exc
        if self.log_failed_headers and response.status_code >= 400:
            told = {name: response.headers[name] for name in _TELLING_HEADERS if name in response.headers}
            log.warning("%s %s: %d, headers %s", request.method, _path(request), response.status_code, told)
        return response

    def _wait_s(
        self, status: int, attempt: int, answer: requests.Response | requests.RequestException
    ) -> float:
        base_s, cap_s = self.backoff_dict.get(status, DEFAULT_BACKOFF)
        longest_s = min(cap_s, base_s * 2 ** min(attempt - 1, 30))
        wait_s: float = longest_s * (0.5 + 0.5 * self._jitter())
        if isinstance(answer, requests.Response):
            wait_s = max(wait_s, retry_after_s(answer, self._wall_clock) or 0)
        return wait_s


def retry_after_s(response: requests.Response, wall_clock: Callable[[], float] = time.time) -> float | None:
    """Seconds that an answer's Retry-After asks for, in either form; None without a usable one.

    A date is measured against the answer's own Date, so that clocks need not agree.
    """
    value = response.headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    then = _http_date(value)
    if then is None:
        return None
    now = _http_date(response.headers.get("Date", ""))
    return max(0.0, then - (wall_clock() if now is None else now))


def _http_date(value: str) -> float | None:
    try:
        return email.utils.parsedate_to_datetime(value).timestamp()
    except (ValueError, OverflowError):
        return None


def _path(request: requests.PreparedRequest) -> str:
    return urlsplit(request.url or "").path


def _may_repeat(
    request: requests.PreparedRequest, answer: requests.Response | requests.RequestException
) -> bool:
    body: Any = request.body
    if body is not None and iter(body) is body:
        return False  # an iterator is used up
    if isinstance(answer, requests.Response):
        return True
    return request.method in _REPEATABLE or is_nothing_sent(answer)


def is_nothing_sent(exc: BaseException) -> bool:
    """Whether this error of requests proves that the request never left this machine."""
    if isinstance(exc, requests.ConnectTimeout | requests.exceptions.SSLError):
        return True
    reason = getattr(exc.args[0], "reason", None) if exc.args else None
    if isinstance(exc, requests.exceptions.ProxyError):
        # A proxy that was reached may have passed the request on; one that refused a tunnel has not.
        reason = getattr(reason, "original_error", reason)
        if str(reason).startswith("Tunnel connection failed"):
            return True
    return any(cls.__name__ == "NewConnectionError" for cls in type(reason).__mro__)


def origin(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port of a URL. Raises ValueError for what is no URL."""
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    port = parts.port or {"http": 80, "https": 443}.get(scheme)
    return scheme, (parts.hostname or "").lower(), port


class TokenAuth(requests.auth.AuthBase):
    """Adds a token to requests to one server, and to no other. Raises ValueError for what is no URL.

    As `session.auth` it also keeps requests from looking into ~/.netrc, whose `default` line would
    replace the token.
    """

    def __init__(self, url: str, header: str) -> None:
        # as requests writes it: host names are encoded on the way
        self._origin = origin(requests.Request("GET", url).prepare().url or "")
        self._header = header

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if origin(request.url or "") == self._origin:
            request.headers["Authorization"] = self._header
        return request


def add_nothing(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """An `auth` that adds nothing: requests without one would be given what ~/.netrc says."""
    return request


def user_agent() -> str:
    """`orionfs/VERSION`; what every request names itself."""
    try:
        return f"orionfs/{importlib.metadata.version('orionfs')}"
    except importlib.metadata.PackageNotFoundError:
        return "orionfs/source"


class _Session(requests.Session):
    """Asks the environment for proxies and CA once a host: a third of what a small request costs."""

    def __init__(self) -> None:
        super().__init__()
        self._merged: dict[Hashable, Any] = {}

    def merge_environment_settings(self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any) -> Any:
        if proxies:
            return super().merge_environment_settings(url, proxies, stream, verify, cert)
        own = (self.trust_env, self.verify, self.cert, tuple(self.proxies.items()))
        key = (origin(str(url)), stream, verify, cert, own)
        if key not in self._merged:
            self._merged[key] = super().merge_environment_settings(url, proxies, stream, verify, cert)
        merged = self._merged[key]
        return {**merged, "proxies": dict(merged["proxies"])}

    def resolve_redirects(self, *args: Any, yield_requests: bool = False, **kwargs: Any) -> Any:
        """The requests that a redirect leads to; none just for `Response.next`, which is never looked at.

        It would be made for every redirect that is not followed, and take as long as following it.
        """
        if yield_requests:
            return iter(())
        return super().resolve_redirects(*args, **kwargs)


def get_session(
    retry_dict: Mapping[int, int] | None = None,
    request_timeout: float = 60,
    retry_timeout: float = 3600,
    backoff_dict: Mapping[int, tuple[float, float]] | None = None,
    log_failed_headers: bool = False,
    *,
    agent: str | None = None,
) -> requests.Session:
    """A requests session that tries again by itself.

    `retry_dict` maps a status to how often it is tried again (default: `DEFAULT_RETRIES`; `{}`:
    never), `CONNECTION_FAILED` standing for connections that fail; `backoff_dict` maps a status to
    (first wait, longest wait) in seconds. `request_timeout` bounds each attempt, in seconds without a
    byte; `retry_timeout` all attempts together. Failed answers' request ids are logged on request.
    `agent` (an extension) replaces the user agent.
    """
    session = _Session()
    adapter = Retryable(
        DEFAULT_RETRIES if retry_dict is None else retry_dict,
        request_timeout=request_timeout,
        retry_timeout=retry_timeout,
        backoff_dict=backoff_dict,
        log_failed_headers=log_failed_headers,
    )
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    session.headers["User-Agent"] = agent or user_agent()
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return session


def without_credentials(session: requests.Session) -> requests.Session:
    """A twin over the same connections, CA, proxies and user agent: no Authorization, no netrc."""
    twin = _Session()
    for prefix, adapter in session.adapters.items():
        twin.mount(prefix, adapter)
    twin.verify, twin.cert, twin.proxies = session.verify, session.cert, session.proxies
    twin.trust_env = session.trust_env
    twin.headers["User-Agent"] = session.headers.get("User-Agent", user_agent())
    twin.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    twin.auth = add_nothing
    return twin
