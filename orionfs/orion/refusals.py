"""What goes wrong with the first questions to Orion, in words: what happened, to what, what to do.

Used before anything is mounted, listed or written, so that one mistake has one wording. Never shows a
token. Must not know mounting, nor the terminal.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from orionfs.errors import (
    AccessDenied,
    CredentialsRefused,
    ExitStatus,
    OrionFsError,
    StartupError,
    TimedOut,
    WrongServer,
)
from orionfs.profiles import ENVIRONMENT, VENDOR_CLIENT, Profile, config_path, is_listed


@contextmanager
def in_words(profile: Profile) -> Iterator[None]:
    """Errors of the first questions to Orion as StartupError, for a terminal."""
    try:
        yield
    except (AccessDenied, CredentialsRefused) as error:
        raise StartupError(
            f"Orion does not accept the credentials of {_named(profile)}: {_said(error)}; "
            f"{_new_token(profile)}",
            ExitStatus.CREDENTIALS,
        ) from error
    except TimedOut as error:
        raise StartupError(f"Orion can't be reached: {_said(error)}", ExitStatus.UNREACHABLE) from error
    except WrongServer as error:
        raise StartupError(f"{_named(profile)}: {_said(error)}", ExitStatus.FAILED) from error
    except OrionFsError as error:
        raise StartupError(
            f"Orion does not answer as it should: {_said(error)}", ExitStatus.FAILED
        ) from error


def explained(error: StartupError, profile: Profile) -> StartupError:
    """The error, with the reason why a name that may be a slip of the pen went to OpenEye's client."""
    if profile.client != VENDOR_CLIENT or is_listed(profile):
        return error
    return StartupError(
        f"{error} ({config_path()} has no profile {profile.name!r}, so it was taken for one of OpenEye's "
        "client)",
        error.exit_status,
    )


def _said(error: OrionFsError) -> str:
    # The name of our own call says nothing to anybody.
    return str(error).removeprefix("whoami: ").removeprefix("retrieve_token: ")


def _named(profile: Profile) -> str:
    return f"profile {profile.name!r}" if profile.name != ENVIRONMENT else "ORIONFS_URL"


def _new_token(profile: Profile) -> str:
    if profile.client == VENDOR_CLIENT:
        return "a new token is given with: ocli config profile"
    if profile.token_file is not None:
        return f"put a new token into {profile.token_file}"
    if profile.name == ENVIRONMENT:
        return "set ORIONFS_TOKEN to a new one"
    return f"give a new one with: orionfs config profile {profile.name} --token-stdin"
