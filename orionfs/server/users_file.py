"""The users file (TOML): which users, projects and workspaces there are to be, read and checked.

Knows nothing of the data folder: `founding` makes what is described here. The file holds no secret; it
names the files that do.
"""

from __future__ import annotations

import re
import stat as stat_modes
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orionfs.server.problems import ServeError

_ACCOUNT_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._@-]{0,99}")
# There in every data folder, with a token file of its own.
FIRST_USER = "demo"
CAPABILITIES = frozenset({"cost_accounting"})


@dataclass(frozen=True, slots=True)
class UserEntry:
    """One `[[users]]` table of the users file; files are taken from where it lies."""

    name: str
    token_file: Path | None = None
    password_file: Path | None = None
    projects: tuple[str | int, ...] = ()
    email: str = ""
    first_name: str = ""
    last_name: str = ""
    capabilities: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class WorkspaceEntry:
    """One workspace of a project; without members it is open to all of the project."""

    name: str
    id: int | None = None
    members: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ProjectEntry:
    """One `[[projects]]` table."""

    name: str
    id: int | None = None
    members: tuple[str, ...] = ()
    workspaces: tuple[WorkspaceEntry, ...] = ()


@dataclass(frozen=True, slots=True)
class UsersFile:
    """What a users file describes."""

    users: tuple[UserEntry, ...] = ()
    projects: tuple[ProjectEntry, ...] = ()


def read_users_file(path: Path) -> UsersFile:
    """Parse and check a users file; ServeError says what is wrong in it."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ServeError(f"the users file {path} can't be read: {error}") from error
    try:
        _refuse_unknown(content, {"users", "projects"})
        users = tuple(_user_entry(entry, path.parent) for entry in _tables(content, "users"))
        _refuse_repeated([entry.name for entry in users])
        return UsersFile(users, tuple(_project_entry(entry) for entry in _tables(content, "projects")))
    except (KeyError, ValueError) as error:
        reason = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
        raise ServeError(f"the users file {path} makes no sense: {reason}") from error


def read_password(path: Path) -> str:
    """The password in a file, its line end taken off. ServeError unless only the owner can read it."""
    try:
        password = path.read_text(encoding="utf-8").removesuffix("\n")
        mode = stat_modes.S_IMODE(path.stat().st_mode)
    except (OSError, ValueError) as error:
        raise ServeError(f"the password file {path} can't be read: {error}") from error
    if mode & 0o077:
        raise ServeError(f"others can read the password file {path}; mend that with: chmod 600 {path}")
    if not password:
        raise ServeError(f"the password file {path} is empty; write a password into it")
    return password


def _user_entry(entry: dict[str, Any], folder: Path) -> UserEntry:
    texts = ("token_file", "password_file", "email", "first_name", "last_name")
    _refuse_unknown(entry, {"name", "projects", "capabilities", *texts})
    name, given = account_name(entry["name"]), {key: _text(entry, key) for key in texts}
    if not all(type(project) in (str, int) for project in _list(entry, "projects")):
        raise ValueError(f"projects of user {name!r} are names or ids")
    capabilities = frozenset(map(str, _list(entry, "capabilities")))
    if not capabilities <= CAPABILITIES:
        raise ValueError(f"user {name!r} can't have the capability {', '.join(capabilities - CAPABILITIES)}")
    if not given["token_file"] and not given["password_file"] and name != FIRST_USER:
        raise ValueError(f"user {name!r} has neither token_file nor password_file")
    token_file, password_file = (
        folder / given[key] if given[key] else None for key in ("token_file", "password_file")
    )
    return UserEntry(
        name,
        token_file,
        password_file,
        tuple(_list(entry, "projects")),
        given["email"],
        given["first_name"],
        given["last_name"],
        capabilities,
    )


def _project_entry(entry: dict[str, Any]) -> ProjectEntry:
    _refuse_unknown(entry, {"id", "name", "members", "workspaces"})
    workspaces = tuple(
        WorkspaceEntry(workspace) if isinstance(workspace, str) else _workspace_entry(workspace)
        for workspace in _list(entry, "workspaces")
    )
    members = tuple(account_name(member) for member in _list(entry, "members"))
    return ProjectEntry(str(entry["name"]), _number(entry, "a project"), members, workspaces)


def _workspace_entry(entry: object) -> WorkspaceEntry:
    if not isinstance(entry, dict):
        raise ValueError(f"a workspace is a name or a table, not {entry!r}")
    _refuse_unknown(entry, {"id", "name", "members"})
    members = tuple(account_name(member) for member in _list(entry, "members"))
    if "members" in entry and not members:
        # Read as "everybody" this could show what was meant for nobody.
        raise ValueError(
            f"workspace {entry['name']!r} has an empty list of members;"
            " name some, or leave the list out to open it to the whole project"
        )
    return WorkspaceEntry(str(entry["name"]), _number(entry, "a workspace"), members)


def account_name(name: object) -> str:
    """`name` as the name of a user. ValueError if it can't be one."""
    if not isinstance(name, str) or not _ACCOUNT_NAME.fullmatch(name):
        raise ValueError(f"this can't be the name of a user: {name!r}")
    return name


def _number(entry: Mapping[str, Any], what: str) -> int | None:
    number = entry.get("id")
    if number is not None and (type(number) is not int or not 1 <= number < 2**63):
        raise ValueError(f"the id of {what} is a whole number, not {number!r}")
    return number


def _text(entry: Mapping[str, Any], key: str) -> str:
    value = entry.get(key, "")
    if not isinstance(value, str):
        raise ValueError(f"{key} is a text, not {value!r}")
    return value


def _list(entry: Mapping[str, Any], key: str) -> list[Any]:
    value = entry.get(key, [])
    if not isinstance(value, list):
        raise ValueError(f"{key} is a list, not {value!r}")
    return value


def _tables(content: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    tables = _list(content, key)
    if not all(isinstance(table, dict) for table in tables):
        raise ValueError(f"{key} are tables, each under [[{key}]]")
    return tables


def _refuse_unknown(entry: Mapping[str, Any], known: set[str]) -> None:
    unknown = set(entry) - known
    if unknown:
        raise ValueError(f"unknown {', '.join(sorted(unknown))}; known are {', '.join(sorted(known))}")


def _refuse_repeated(names: Sequence[str]) -> None:
    repeated = {name for name in names if names.count(name) > 1}
    if repeated:
        raise ValueError(f"user {', '.join(sorted(repeated))} is described twice")
