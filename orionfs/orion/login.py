"""Who a profile makes us, asked before anything is mounted or written; what goes wrong in words.

Used by the daemon at its start and by `orionfs config profile`, so that one mistake has one wording:
what happened, to what, what to do. Never shows a token. Must not know mounting, nor the terminal.
"""

from __future__ import annotations

import trio

from orionfs.errors import ExitStatus, StartupError
from orionfs.models import Account
from orionfs.orion.refusals import in_words
from orionfs.orion.remote import Limits, Remote
from orionfs.orion.sessions import connect, new_token, stack_name
from orionfs.profiles import Profile, Token


def try_out(profile: Profile, deadline_s: float) -> Account:
    """Connect once and ask who we are; blocks for `deadline_s` at most. Raises StartupError."""
    calls = connect(profile, deadline_s)
    try:
        with in_words(profile):
            remote = Remote(calls, Limits(read_deadline_s=deadline_s))
            return trio.run(remote.whoami, stack_name(profile))
    finally:
        calls.close()


def token_by_password(profile: Profile, password: str) -> Token:
    """A new token of the profile's user; the password is sent to its server. Raises StartupError."""
    try:
        with in_words(profile):
            return new_token(profile, password)
    except StartupError as error:
        if error.exit_status is not ExitStatus.CREDENTIALS:
            raise
        raise StartupError(
            f"{profile.url} does not accept user {profile.username!r} with this password", error.exit_status
        ) from error
