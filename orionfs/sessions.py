"""The session that a profile means, behind the calls that `remote` makes.

`own`: our client in this process. `module:factory`: any session object that offers the documented
methods, in worker processes under its own interpreter. One door from the mount to `orionfs.client`.
"""

from __future__ import annotations

import os
import secrets
import sys
from dataclasses import replace

from orionfs import __version__
from orionfs.bridge import BridgePool, Calls, InProcess, SessionCalls
from orionfs.client import OrionSession, SessionConfig, get_session, types
from orionfs.config import OWN_CLIENT, Profile, Token
from orionfs.errors import ExitStatus, StartupError

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
    timeout_s = min(_REQUEST_TIMEOUT_S, change_deadline_s)
    requests_session = get_session({}, request_timeout=timeout_s, agent=f"orionfs/{__version__}")
    config = SessionConfig(url=profile.url, token=profile.token.value, project=profile.project)
    return InProcess(Calls(OrionSession(config=config, requests_session=requests_session), types))


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
    return f"{profile.client} {profile.url or profile.name}"


def _in_workers(profile: Profile) -> SessionCalls:
    environment = dict(os.environ)
    if profile.url is not None:
        environment["ORIONFS_URL"] = profile.url
    if profile.token is not None:
        environment["ORIONFS_TOKEN"] = profile.token.value
    python = profile.client_python or sys.executable
    return BridgePool(python, profile.client, contents_timeout_s=_UPLOAD_TIMEOUT_S, env=environment)
