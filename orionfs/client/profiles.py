"""Where a session connects: `SessionConfig`, and finding it.

Used by `session.py` and by programs. Profiles are read from the config file of orionfs by the same
rules as `orionfs mount` has; this reader stands by itself, so that the library needs nothing of the
mount. The token never shows in a repr. Must not open connections, nor write the file.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .errors import OrionError

__all__ = ["SessionConfig", "get_profile_config"]

_TEXTS = ("url", "token", "token_file", "username", "client", "client_python", "orion_profile", "wire")
_KEYS = (*_TEXTS, "project", "workspaces", "mountpoint")  # the last two are about the mount alone
_OWN_CLIENTS = ("own", "auto", None)


@dataclass(frozen=True, slots=True)
class SessionConfig:
    """A server and an account on it.

    `url` is the server's address with scheme; `project` the id of the project to work in (None: the
    user's default project); `username` is for display only; `wire` is a file with the routes and keys
    of that server, if it does not speak our own dialect.
    """

    url: str
    token: str = field(repr=False)
    project: int | None = None
    username: str | None = None
    wire: Path | None = None


def get_profile_config(profile: str | None = None) -> SessionConfig:
    """The configuration of a profile.

    Without a name it is that of ORIONFS_URL and ORIONFS_TOKEN if they are set, else the profile that
    ORION_PROFILE names, else "default". Raises OrionError, in one line, when there is none, or when a
    file is not private or makes no sense.
    """
    if not profile and (found := _config_of_environment()) is not None:
        return found
    name = profile or os.environ.get("ORION_PROFILE") or "default"
    path = _config_path()
    tables = _tables(path)
    if name not in tables:
        known = ", ".join(sorted(tables)) or "none"
        raise OrionError(
            f"no profile {name!r} in {path} (there: {known}): make it with: orionfs config profile {name}, "
            "or set ORIONFS_URL and ORIONFS_TOKEN"
        )
    return _config_of_table(tables[name], f"[profile.{name}] in {path}", path.parent)


def _config_of_environment() -> SessionConfig | None:
    url, token = os.environ.get("ORIONFS_URL", ""), os.environ.get("ORIONFS_TOKEN", "")
    if not url and not token:
        return None
    if not url or not token:
        there, missing = ("ORIONFS_URL", "ORIONFS_TOKEN") if url else ("ORIONFS_TOKEN", "ORIONFS_URL")
        raise OrionError(f"{there} is set but {missing} is not: set both, or neither to use a profile")
    return SessionConfig(url=url.strip(), token=token.strip())


def _config_path() -> Path:
    folder = os.environ.get("XDG_CONFIG_HOME", "").strip() or "~/.config"
    return Path(folder).expanduser() / "orionfs" / "config.toml"


def _tables(path: Path) -> Mapping[str, object]:
    """The profiles of the config file; none if it is missing."""
    text = _read_private(path)
    try:
        tables = tomllib.loads(text or "").get("profile", {})
    except tomllib.TOMLDecodeError as error:
        raise OrionError(f"{path} is not TOML: {error}") from None
    if not isinstance(tables, dict):
        raise OrionError(f"'profile' in {path} is not a table: write [profile.NAME]")
    return tables


def _config_of_table(table: object, where: str, folder: Path) -> SessionConfig:
    if not isinstance(table, dict):
        raise OrionError(f"{where} is not a table")
    for key in table:
        if key not in _KEYS:
            raise OrionError(f"unknown key {key!r} in {where}; known: {', '.join(sorted(_KEYS))}")
    text = {key: _text_of(table, key, where) for key in _TEXTS}
    if text["client"] not in _OWN_CLIENTS:
        raise OrionError(f"{where} is for another client ({text['client']}): use that one")
    token = _token_of(text, where, folder)
    if text["url"] is None or token is None:
        if text["client"] != "own" and text["url"] is None and token is None:
            raise OrionError(f"{where} is a profile of OpenEye's client: use that one")
        missing = "url" if text["url"] is None else "token or token_file"
        raise OrionError(f"{where} has no {missing}")
    project = table.get("project")
    if project is not None and (type(project) is not int or project < 1):
        raise OrionError(f"'project' in {where} is not a number of a project")
    wire = _wire_of(text, where, folder)
    return SessionConfig(text["url"].rstrip("/"), token, project, text["username"], wire)


def _wire_of(text: Mapping[str, str | None], where: str, folder: Path) -> Path | None:
    if text["wire"] is None:
        return None
    file = folder / Path(text["wire"]).expanduser()
    try:
        with file.open("rb"):
            return file
    except OSError as error:
        raise OrionError(f"{file}, the 'wire' of {where}, can't be read: {error.strerror}") from error


def _text_of(table: Mapping[str, object], key: str, where: str) -> str | None:
    value = table.get(key)
    if value is not None and (not isinstance(value, str) or not value):
        raise OrionError(f"{key!r} in {where} is not a text")
    return value


def _token_of(text: Mapping[str, str | None], where: str, folder: Path) -> str | None:
    token, token_file = text["token"], text["token_file"]
    if token is not None and token_file is not None:
        raise OrionError(f"{where} has both token and token_file: keep one")
    if token_file is not None:
        file = folder / Path(token_file).expanduser()
        token = _read_private(file)
        if token is None:
            raise OrionError(f"the token file {file} does not exist")
        token, where = token.strip(), str(file)
    # Anything else can't stand in a header; the value itself is never part of a message.
    if token is not None and not re.fullmatch(r"[!-~]+", token):
        raise OrionError(f"the token in {where} is none: visible ASCII characters without spaces are needed")
    return token


def _read_private(path: Path) -> str | None:
    """Text of a file that only we can read, None if it is missing; OrionError if others can read it."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            is_told = hasattr(os, "getuid")  # elsewhere modes say nothing of who may read it
            if is_told and status.st_uid != os.getuid():
                raise OrionError(f"{path} belongs to another user (uid {status.st_uid}): it is not read")
            if is_told and status.st_mode & 0o077:
                raise OrionError(f"{path} can be read by others; mend it with: chmod 600 {path}")
            return file.read().decode()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OrionError(f"{path} can't be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise OrionError(f"{path} is not UTF-8 text") from None
