"""The session that a profile means, behind the calls that `remote` makes.

`own`: our client in this process. `module:factory`: any session object that offers the documented
methods, in worker processes under its own interpreter. One door from the mount to `orionfs.client`.
"""

from __future__ import annotations

import os
import sys

from orionfs import __version__
from orionfs.bridge import BridgePool, Calls, InProcess, SessionCalls, describe
from orionfs.client import OrionSession, SessionConfig, get_session, types
from orionfs.errors import ExitStatus, StartupError
from orionfs.failures import failure_of
from orionfs.profiles import OWN_CLIENT, Profile, Token

_REQUEST_TIMEOUT_S = 60  # Orion's load balancer cuts at 60 s; deadlines of calls are `remote`'s
_UPLOAD_TIMEOUT_S = 3600.0


def connect(profile: Profile, change_deadline_s: float) -> SessionCalls:
    """The calls of a profile's session; nothing is sent yet. Raises StartupError.

    No single request of our own client waits longer for an answer than `change_deadline_s`.
    """
    if profile.client != OWN_CLIENT:
        return _in_workers(profile)
    if profile.url is None or profile.token is None:
        raise StartupError(f"profile {profile.name} has no url and token", ExitStatus.CONFIG)
    session = _own_session(profile, profile.url, profile.token.value, change_deadline_s)
    return InProcess(Calls(session, types))


def new_token(profile: Profile, password: str) -> Token:
    """A new token of the profile's user from its own server, by password. Raises OrionFsError."""
    session = _own_session(profile, profile.url or "", "", _REQUEST_TIMEOUT_S)
    with session:
        try:
            return Token(session.retrieve_token(profile.username or "", password))
        except Exception as exc:  # as in the bridge: a session may raise anything
            raise failure_of("retrieve_token", (), describe(exc)) from exc


def _own_session(profile: Profile, url: str, token: str, timeout_s: float) -> OrionSession:
    requests_session = get_session(
        {}, request_timeout=min(_REQUEST_TIMEOUT_S, timeout_s), agent=f"orionfs/{__version__}"
    )
    config = SessionConfig(url, token, profile.project, profile.username, profile.wire)
    return OrionSession(config=config, requests_session=requests_session)


def stack_name(profile: Profile) -> str:
    """What tells one stack from another where its session does not say."""
    return f"{profile.client} {profile.url or profile.name}"


def _in_workers(profile: Profile) -> SessionCalls:
    environment = dict(os.environ)
    if profile.url is not None:
        environment["ORIONFS_URL"] = profile.url
    if profile.token is not None:
        environment["ORIONFS_TOKEN"] = profile.token.value
    python = profile.client_python or sys.executable
    return BridgePool(python, profile.client, contents_timeout_s=_UPLOAD_TIMEOUT_S, env=environment)
