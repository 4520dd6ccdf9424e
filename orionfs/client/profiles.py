"""Where a session connects: `SessionConfig`, and finding it.

Used by `session.py` and by programs. The token never shows in a repr. This release reads the
environment only (`ORIONFS_URL`, `ORIONFS_TOKEN`). Must not open connections.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from .errors import OrionError

__all__ = ["SessionConfig", "get_profile_config"]


@dataclass(frozen=True, slots=True)
class SessionConfig:
    """A server and an account on it.

    `url` is the server's address with scheme; `project` the id of the project to work in (None: the
    user's default project); `username` is for display only; `wire` is a file with another table of routes
    and keys (None: this project's dialect).
    """

    url: str
    token: str = field(repr=False)
    project: int | None = None
    username: str | None = None
    wire: Path | None = None


def get_profile_config(profile: str | None = None) -> SessionConfig:
    """The configuration of a profile; without a name, what the environment says.

    Raises OrionError when there is none.
    """
    if profile is not None:
        raise OrionError(f"no profile is called {profile!r}: set ORIONFS_URL and ORIONFS_TOKEN instead")
    url, token = os.environ.get("ORIONFS_URL"), os.environ.get("ORIONFS_TOKEN")
    if not url or not token:
        raise OrionError("nothing says where to connect: set ORIONFS_URL and ORIONFS_TOKEN")
    return SessionConfig(url=url.strip(), token=token.strip())
