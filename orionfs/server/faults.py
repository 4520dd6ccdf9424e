"""Faults and latency on request: an ASGI layer below the access log, above the application.

A fault plan is a JSON file that tests may rewrite while the server runs; it is read again when its
size or time of change differs. Dropping a connection needs the transport, which `connections` puts
into the scope.
"""

from __future__ import annotations

import email.utils
import json
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, Response

from orionfs.server.connections import Drop, drop_connection, pause
from orionfs.server.exchange import exchange_of
from orionfs.server.problems import ServeError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_ACTIONS = {"status", "delay", "cut", "reset", "garbage", "after_reset"}
_FIELDS = {
    "method",
    "path",
    "nth",
    "times",
    "every",
    "action",
    "status",
    "retry_after",
    "seconds",
    "after_bytes",
}
_UNLIMITED = 2**62
_DATE = re.compile(r"date\+(\d+)")


@dataclass(slots=True)
class Rule:
    """One fault: which requests (from the `nth` on, each `every`-th, `times` of them), and what happens.

    `retry_after` is sent as it is, but `date+N` as the HTTP date N seconds ahead.
    """

    action: str
    path: re.Pattern[str]
    method: str = "*"
    nth: int = 1
    times: int = _UNLIMITED
    every: int = 1
    status: int = 500
    retry_after: str | None = None
    seconds: float = 0.0
    after_bytes: int = 0
    seen: int = field(default=0, compare=False)

    def takes(self, method: str, path: str) -> bool:
        """Count a request if it matches; whether the fault happens to it."""
        if self.method not in ("*", method) or not self.path.search(path):
            return False
        self.seen += 1
        rounds, is_between = divmod(self.seen - self.nth, self.every)
        return not is_between and 0 <= rounds < self.times

    def retry_after_now(self) -> str | None:
        """What the Retry-After header says at this moment."""
        ahead = _DATE.fullmatch(self.retry_after or "")
        if ahead is None:
            return self.retry_after
        return email.utils.formatdate(time.time() + int(ahead[1]), usegmt=True)


def parse_plan(text: str) -> list[Rule]:
    """Rules of a fault plan; ServeError says what is wrong with it."""
    try:
        plan = json.loads(text)
        return [_parse_rule(rule) for rule in plan["rules"]]
    except (ValueError, TypeError, KeyError, re.error) as error:
        raise ServeError(f"the fault plan makes no sense: {error!r}") from error


def _parse_rule(rule: dict[str, Any]) -> Rule:
    unknown = set(rule) - _FIELDS
    if unknown:
        raise ValueError(f"unknown {', '.join(sorted(unknown))}")
    if rule["action"] not in _ACTIONS:
        raise ValueError(f"unknown action {rule['action']!r}; known are {', '.join(sorted(_ACTIONS))}")
    values = {name: value for name, value in rule.items() if value is not None}
    if not (type(values.get("every", 1)) is int and values.get("every", 1) > 0):
        raise ValueError(f"every is a whole number of at least 1, not {rule['every']!r}")
    return Rule(**{**values, "path": re.compile(rule.get("path", ""))})


class FaultPlan:
    """The rules of a file, as it is now. Counters start again when the file changes."""

    def __init__(self, path: Path | None) -> None:
        """Read the file at once; a missing one is an empty plan. ServeError."""
        self._path = path
        self._version: tuple[int, int, int] | None = None
        self._rules: list[Rule] = []
        self._refresh()

    def take(self, method: str, path: str) -> list[Rule]:
        """Count a request; the rules that happen to it, in the order of the file."""
        if self._path is not None:
            self._refresh()
        return [rule for rule in self._rules if rule.takes(method, path)]

    def _refresh(self) -> None:
        if self._path is None:
            return
        try:
            status = self._path.stat()
            version = (status.st_mtime_ns, status.st_size, status.st_ino)
            if version == self._version:
                return
            text = self._path.read_text(encoding="utf-8")
        except FileNotFoundError:
            self._version, self._rules = None, []
            return
        except OSError as error:
            raise ServeError(f"the fault plan {self._path} can't be read: {error.strerror}") from error
        self._rules = parse_plan(text)
        self._version = version


class FaultLayer:
    """ASGI layer that delays every request by the latency and lets the faults of the plan happen."""

    def __init__(self, app: ASGIApp, plan: FaultPlan, latency_s: float) -> None:
        self._app = app
        self._plan = plan
        self._latency_s = latency_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection scope."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            rules = self._plan.take(scope["method"], scope["path"])
        except ServeError as error:
            await _error(500, "bad_fault_plan", str(error))(scope, receive, send)
            return
        delay_s = self._latency_s + sum(rule.seconds for rule in rules if rule.action == "delay")
        if delay_s:
            await pause(scope, delay_s)
        fault = next((rule for rule in rules if rule.action != "delay"), None)
        if fault is None:
            await self._app(scope, receive, send)
        else:
            await self._happen(fault, scope, receive, send)

    async def _happen(self, fault: Rule, scope: Scope, receive: Receive, send: Send) -> None:
        if fault.action == "status":
            retry_after = fault.retry_after_now()
            headers = {} if retry_after is None else {"Retry-After": retry_after}
            response: Response = _error(fault.status, "fault", "a fault of the plan", headers)
            await response(scope, receive, send)
        elif fault.action == "garbage":
            response = Response("<html>this is no JSON", 200, media_type="application/json")
            await response(scope, receive, send)
        elif fault.action == "cut":
            await self._cut(fault.after_bytes, scope, receive, send)
        else:
            if fault.action == "after_reset":
                await self._app(scope, receive, _discard)
            exchange_of(scope).end()
            await drop_connection(scope, receive, Drop.RESET)

    async def _cut(self, after_bytes: int, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the answer begin as if it were whole and end it short of what it promised."""
        left = after_bytes
        is_cut = False

        async def send_some(message: Message) -> None:
            nonlocal left, is_cut
            if is_cut:
                return
            if message["type"] == "http.response.start":
                promised = _promised_bytes(message)
                left = min(left, promised - 1)
                is_cut = promised == 0
            else:
                body = message.get("body", b"")
                is_cut = len(body) > left or not message.get("more_body", False)
                message = {**message, "body": body[:left], "more_body": True}
                left -= len(message["body"])
            if message["type"] != "http.response.start" or not is_cut:
                await send(message)
            if is_cut:
                exchange_of(scope).end()
                await drop_connection(scope, receive, Drop.AFTER_FLUSH)

        await self._app(scope, receive, send_some)


def _promised_bytes(start: Message) -> int:
    lengths = [int(value) for name, value in start.get("headers", ()) if name.lower() == b"content-length"]
    return lengths[0] if lengths else 0


async def _discard(_message: Message) -> None:
    """Takes an answer that nobody gets."""


def _error(status: int, code: str, detail: str, headers: dict[str, str] | None = None) -> Response:
    if status < 200 or status in (204, 304):
        return Response(status_code=status, headers=headers)
    return JSONResponse({"detail": detail, "code": code}, status, headers)
