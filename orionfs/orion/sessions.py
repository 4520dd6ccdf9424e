"""The session that a profile means, behind the calls that `remote` makes.

`own`: our client in this process, begun anew with the token that its file holds when the old one is
refused. `vendor`: OpenEye's client in worker processes under the interpreter that has it.
`module:factory`: any session object that offers the documented methods, in such processes as well. One
door from the mount to `orionfs.client`.
"""

from __future__ import annotations

import importlib
import logging
import os
import secrets
import sys
import threading
from dataclasses import replace
from typing import Any

from orionfs import __version__
from orionfs.bridge import BridgePool, Calls, GrowingCalls, InProcess, SessionCalls, describe, find_client
from orionfs.client import OrionSession, SessionConfig, get_session, types
from orionfs.client.errors import OrionError
from orionfs.errors import ExitStatus, StartupError
from orionfs.orion.failures import failure_of
from orionfs.profiles import (
    ENVIRONMENT,
    OWN_CLIENT,
    VENDOR_CLIENT,
    Profile,
    Token,
    load_profile,
    read_token_file,
)

log = logging.getLogger(__name__)

_REQUEST_TIMEOUT_S = 60  # Orion's load balancer cuts at 60 s; deadlines of calls are `remote`'s
_UPLOAD_TIMEOUT_S = 3600.0


def connect(profile: Profile, change_deadline_s: float, *, is_stored: bool = False) -> SessionCalls:
    """The calls of a profile's session; nothing is sent yet. Raises StartupError.

    No single request of our own client waits longer for an answer than `change_deadline_s`. `is_stored`:
    the profile is as its file has it, so that a newer token may be found there.
    """
    if profile.client == OWN_CLIENT:
        return _in_process(profile, min(_REQUEST_TIMEOUT_S, change_deadline_s), is_stored)
    if profile.client == VENDOR_CLIENT:
        return _of_vendor(profile)
    return _in_workers(profile)


def new_token(profile: Profile, password: str) -> Token:
    """A new token of the profile's user from its own server, by password. Raises OrionFsError."""
    with _own_session(profile, Token(""), _REQUEST_TIMEOUT_S) as session:
        try:
            return Token(session.retrieve_token(profile.username or "", password))
        except Exception as exc:  # as in the bridge: a session may raise anything
            raise failure_of("retrieve_token", (), describe(exc)) from exc


def connect_as_stranger(profile: Profile) -> SessionCalls | None:
    """A session with the same stack whose token nobody has given; None where that can't be had.

    It talks to no host that the profile's own session does not talk to.
    """
    if profile.client != OWN_CLIENT:
        return None
    made_up = Token(secrets.token_hex(20))
    return connect(replace(profile, token=made_up, token_file=None), _REQUEST_TIMEOUT_S)


def stack_name(profile: Profile) -> str:
    """What tells one stack from another where its session does not say."""
    if profile.client == VENDOR_CLIENT:
        return f"{profile.client} {profile.orion_profile or 'default'}"
    return f"{profile.client} {profile.url or profile.name}"


# Our own client


def _in_process(profile: Profile, timeout_s: float, is_stored: bool) -> SessionCalls:
    if profile.url is None or profile.token is None:
        raise StartupError(f"profile {profile.name} has no url and token", ExitStatus.CONFIG)
    newest = _NewestToken(profile.token, profile, is_stored)

    def make(token: Token) -> Calls:
        return GrowingCalls(_own_session(profile, token, timeout_s), types)

    def renew() -> Calls | None:
        token = newest.read_again()
        return None if token is None else make(token)

    # A session whose connections were closed opens new ones.
    made = InProcess(make(profile.token), renew, Calls.close, Calls.close)
    made.client_version = __version__
    return made


def _own_session(profile: Profile, token: Token, timeout_s: float) -> OrionSession:
    requests_session = get_session({}, request_timeout=timeout_s, agent=f"orionfs/{__version__}")
    config = SessionConfig(profile.url or "", token.value, profile.project, profile.username, profile.wire)
    try:
        return OrionSession(config=config, requests_session=requests_session)
    except OrionError as error:  # of the wire file: nothing has been sent yet
        raise StartupError(f"profile {profile.name}: {error}", ExitStatus.CONFIG) from error


class _NewestToken:
    """A token, and the file that may hold a newer one: its own, or that of the profiles."""

    def __init__(self, token: Token, profile: Profile, is_stored: bool) -> None:
        self._token = token
        self._profile = profile
        self._is_stored = is_stored and profile.name != ENVIRONMENT

    def read_again(self) -> Token | None:
        """The token of the file, if it is another one than before."""
        try:
            token = self._read()
        except StartupError as error:
            log.debug("Orion refused the token, and there is no other: %s", error)
            return None
        if token is None or token == self._token:
            return None
        log.info("Orion refused the token: the one that stands in its file now is used")
        self._token = token
        return token

    def _read(self) -> Token | None:
        if self._profile.token_file is not None:
            return read_token_file(self._profile.token_file)
        stored = load_profile(self._profile.name) if self._is_stored else None
        # A token for another server goes to that one only.
        return stored.token if stored is not None and stored.url == self._profile.url else None


# Sessions in worker processes


def _of_vendor(profile: Profile) -> SessionCalls:
    discovery = find_client(profile.client_python)
    found = discovery.found
    if found is None or found.python is None:
        raise StartupError(f"OpenEye's client can't be used: {discovery.problem}", ExitStatus.CONFIG)
    log.info("OpenEye's client %s under %s", found.client_version or "(of no told version)", found.python)
    ours = ("ORIONFS_URL", "ORIONFS_TOKEN")  # the vendor's profile knows where and who
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    pool = BridgePool(
        found.python,
        None,
        vendor_profile=profile.orion_profile,
        contents_timeout_s=_UPLOAD_TIMEOUT_S,
        env=environment,
    )
    pool.client_version = found.client_version
    return pool


def _in_workers(profile: Profile) -> SessionCalls:
    environment = dict(os.environ)
    if profile.url is not None:
        environment["ORIONFS_URL"] = profile.url
    if profile.token is not None:
        environment["ORIONFS_TOKEN"] = profile.token.value
    python = profile.client_python or sys.executable
    return BridgePool(python, profile.client, contents_timeout_s=_UPLOAD_TIMEOUT_S, env=environment)


# A session that somebody has made already


def calls_of(session: Any) -> SessionCalls:
    """The calls of a session object in this process, which goes on being its maker's.

    Only our own is known to be safe for threads: of any other one a single call is made at a time.
    """
    package = type(session).__module__.rpartition(".")[0]
    try:
        its_types = importlib.import_module(f"{package}.types")
    except ImportError as error:
        raise StartupError(
            f"{type(session).__name__} is no session of Orion: {error}", ExitStatus.USAGE
        ) from error
    calls = Calls(session, its_types)
    return InProcess(calls) if isinstance(session, OrionSession) else _OneAtATime(calls)


class _OneAtATime(InProcess):
    """A session that is not safe for threads, behind the verbs."""

    def __init__(self, calls: Calls) -> None:
        super().__init__(calls)
        self.metadata_at_once = self.contents_at_once = 1
        self._alone = threading.Lock()

    def call(self, verb: str, *args: object, timeout_s: float | None = None) -> Any:
        """Carry out one verb, when no other one is under way."""
        with self._alone:
            return super().call(verb, *args, timeout_s=timeout_s)
