"""Accounts, projects, workspaces and their tokens: made when the server starts, fixed while it runs.

Owns the users file (TOML), the fixed folders of the tree and the token files. Requests are checked
against `Accounts`, a picture of all that in memory, so no request costs a query for its token.
"""

from __future__ import annotations

import hmac
import re
import stat as stat_modes
import time
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orionfs.server import paths
from orionfs.server.paths import Caller, User, caller_for
from orionfs.server.problems import Refusal, ServeError, denied
from orionfs.server.signing import Signer, looks_like_token, new_token, write_private
from orionfs.server.store import Connection, get_setting, new_id, put_setting
from orionfs.server.tree import Place, Rules, make_folder, root_place, walk

FIRST_USER = "demo"
FIRST_PROJECT = "Demo"
_ACCOUNT_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._@-]{0,99}")
_TOKEN_WORDS = re.compile(r"Token(?::\s*|\s+)(\S+)\s*")


@dataclass(frozen=True, slots=True)
class Project:
    """A project as the API tells it."""

    id: int
    name: str
    owner: int
    created: str


@dataclass(frozen=True, slots=True)
class UserEntry:
    """One `[[users]]` table of the users file."""

    name: str
    token_file: Path
    projects: tuple[str | int, ...] = ()


@dataclass(frozen=True, slots=True)
class ProjectEntry:
    """One `[[projects]]` table; workspaces are (id or None, name)."""

    name: str
    id: int | None = None
    members: tuple[str, ...] = ()
    workspaces: tuple[tuple[int | None, str], ...] = ()


@dataclass(frozen=True, slots=True)
class UsersFile:
    """What a users file describes."""

    users: tuple[UserEntry, ...] = ()
    projects: tuple[ProjectEntry, ...] = ()


@dataclass(frozen=True)
class Accounts:
    """Who may log in with what, and what there is to be a member of."""

    signer: Signer
    users: Mapping[bytes, User]  # token hash -> user
    projects: Mapping[int, Project]  # id -> project
    workspaces: tuple[tuple[int, int], ...]  # (project id, workspace id)
    _callers: dict[tuple[int, int], Caller] = field(default_factory=dict, repr=False)

    def authenticate(self, authorization: str | None) -> User:
        """The user of an Authorization header. Refusal 401."""
        words = _TOKEN_WORDS.fullmatch(authorization or "")
        given = self.signer.token_hash(words.group(1)) if words else b""
        found: User | None = None
        for known, user in self.users.items():
            if hmac.compare_digest(known, given):
                found = user
        if found is None:
            raise Refusal(401, "not_authenticated", "a valid token is needed", {"WWW-Authenticate": "Token"})
        return found

    def caller(self, user: User, project: str | None) -> Caller:
        """The user in the project of the session's header, or in the default one. Refusal 403."""
        number = user.default_project
        if project is not None:
            number = int(project) if project.isascii() and project.isdigit() and len(project) < 19 else 0
        if number not in user.project_ids:
            raise denied(f"you are in no project {project}", "bad_project")
        if (user.id, number) not in self._callers:
            self._callers[user.id, number] = caller_for(user, number, self.workspaces)
        return self._callers[user.id, number]


def read_users_file(path: Path) -> UsersFile:
    """Parse and check a users file; ServeError says what is wrong in it."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ServeError(f"the users file {path} can't be read: {error}") from error
    try:
        _refuse_unknown(content, {"users", "projects"})
        return UsersFile(
            tuple(_user_entry(entry, path.parent) for entry in content.get("users", ())),
            tuple(_project_entry(entry) for entry in content.get("projects", ())),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        reason = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
        raise ServeError(f"the users file {path} makes no sense: {reason}") from error


def _user_entry(entry: dict[str, Any], folder: Path) -> UserEntry:
    _refuse_unknown(entry, {"name", "token_file", "projects"})
    return UserEntry(
        _account_name(entry["name"]), folder / entry["token_file"], tuple(entry.get("projects", ()))
    )


def _project_entry(entry: dict[str, Any]) -> ProjectEntry:
    _refuse_unknown(entry, {"id", "name", "members", "workspaces"})
    number = entry.get("id")
    if number is not None and (type(number) is not int or number < 1):
        raise ValueError(f"a project id is a whole number, not {number!r}")
    workspaces = []
    for workspace in entry.get("workspaces", ()):
        if isinstance(workspace, str):
            workspaces.append((None, workspace))
        else:
            _refuse_unknown(workspace, {"id", "name"})
            workspaces.append((workspace.get("id"), str(workspace["name"])))
    members = tuple(_account_name(member) for member in entry.get("members", ()))
    return ProjectEntry(str(entry["name"]), number, members, tuple(workspaces))


def _refuse_unknown(entry: Mapping[str, Any], known: set[str]) -> None:
    unknown = set(entry) - known
    if unknown:
        raise ValueError(f"unknown {', '.join(sorted(unknown))}; known are {', '.join(sorted(known))}")


def _account_name(name: object) -> str:
    if not isinstance(name, str) or not _ACCOUNT_NAME.fullmatch(name):
        raise ValueError(f"this can't be the name of a user: {name!r}")
    return name


def set_up(connection: Connection, users_file: UsersFile, rules: Rules) -> None:
    """Make whatever of the first user, the first project and the users file is missing."""
    if get_setting(connection, "root_id") is None:
        _make_root(connection, rules)
    first_user = _ensure_user(connection, FIRST_USER)
    first_project = _ensure_project(connection, ProjectEntry(FIRST_PROJECT, 1), first_user, rules)
    _join(connection, first_project, first_user)
    for user_entry in users_file.users:
        _ensure_user(connection, user_entry.name)
    for project_entry in users_file.projects:
        number = _ensure_project(connection, project_entry, first_user, rules)
        for member in project_entry.members:
            _join(connection, number, _user_id(connection, member))
        for workspace_id, name in project_entry.workspaces:
            _ensure_workspace(connection, number, workspace_id, name)
    for user_entry in users_file.users:
        for project in user_entry.projects:
            _join(connection, _project_id(connection, project), _user_id(connection, user_entry.name))
    _set_default_projects(connection)
    _ensure_fixed_folders(connection, rules)


def _make_root(connection: Connection, rules: Rules) -> None:
    root_id = new_id(connection)
    connection.execute(
        "INSERT INTO resource (id, kind, name, realm, created, owner, state, is_fixed)"
        " VALUES (?, 'folder', '', '', ?, 1, 'ready', 1)",
        (root_id, rules.clock.now()),
    )
    put_setting(connection, "root_id", root_id)


def _ensure_user(connection: Connection, name: str) -> int:
    connection.execute("INSERT OR IGNORE INTO account (name, default_project) VALUES (?, 0)", (name,))
    return _user_id(connection, name)


def _user_id(connection: Connection, name: str) -> int:
    found = connection.execute("SELECT id FROM account WHERE name = ?", (name,)).fetchone()
    if found is None:
        raise ServeError(f"the users file names a user {name!r} that it does not describe")
    return int(found["id"])


def _project_id(connection: Connection, project: str | int) -> int:
    found = connection.execute(
        "SELECT id FROM project WHERE id IS ? OR name IS ?", (project, project)
    ).fetchone()
    if found is None:
        raise ServeError(f"the users file names a project {project!r} that it does not describe")
    return int(found["id"])


def _ensure_project(connection: Connection, entry: ProjectEntry, owner: int, rules: Rules) -> int:
    found = connection.execute(
        "SELECT id, name FROM project WHERE name = ? OR id IS ?", (entry.name, entry.id)
    ).fetchall()
    if not found:
        number: int = connection.execute(
            "INSERT INTO project (id, name, owner, created) VALUES (?, ?, ?, ?) RETURNING id",
            (entry.id, entry.name, owner, rules.clock.now()),
        ).fetchone()[0]
        return number
    if len(found) > 1 or found[0]["name"] != entry.name or entry.id not in (None, found[0]["id"]):
        raise ServeError(f"project {entry.name!r} with id {entry.id}: one of the two is another project's")
    return int(found[0]["id"])


def _ensure_workspace(connection: Connection, project: int, number: int | None, name: str) -> None:
    known = connection.execute(
        "SELECT id FROM workspace WHERE project = ? AND (name = ? OR id IS ?)", (project, name, number)
    ).fetchone()
    if known is None:
        if number is None:
            number = connection.execute("SELECT coalesce(max(id), 0) + 1 FROM workspace").fetchone()[0]
        connection.execute("INSERT INTO workspace VALUES (?, ?, ?)", (project, number, name))


def _join(connection: Connection, project: int, user: int) -> None:
    connection.execute("INSERT OR IGNORE INTO member VALUES (?, ?)", (project, user))


def _set_default_projects(connection: Connection) -> None:
    connection.execute(
        "UPDATE account SET default_project ="
        " coalesce((SELECT min(project) FROM member WHERE account = account.id), 0)"
        " WHERE default_project = 0"
    )
    homeless = connection.execute("SELECT name FROM account WHERE default_project = 0").fetchone()
    if homeless is not None:
        raise ServeError(f"user {homeless['name']!r} is in no project")


def _ensure_fixed_folders(connection: Connection, rules: Rules) -> None:
    _ensure_folder(connection, ("organization",), paths.ORGANIZATION_REALM, rules)
    _ensure_folder(connection, ("project",), paths.TOP_REALM, rules)
    for (number,) in connection.execute("SELECT id FROM project ORDER BY id").fetchall():
        above = ("project", str(number))
        for names in ((), ("user",), ("workspace",)):
            _ensure_folder(connection, above + names, paths.project_realm(number), rules)
        _ensure_folder(connection, (*above, "team"), paths.team_realm(number), rules)
    for number, name in connection.execute(
        "SELECT m.project, a.name FROM member m JOIN account a ON a.id = m.account ORDER BY 1, 2"
    ).fetchall():
        _ensure_folder(
            connection, ("project", str(number), "user", name), paths.user_realm(number, name), rules
        )
    for number, workspace_id, name in connection.execute("SELECT * FROM workspace ORDER BY 1, 2").fetchall():
        _ensure_folder(
            connection,
            ("project", str(number), "workspace", str(workspace_id)),
            paths.workspace_realm(number, workspace_id),
            rules,
            name,
        )


def _ensure_folder(
    connection: Connection, names: tuple[str, ...], realm: str, rules: Rules, display_name: str | None = None
) -> Place:
    places = walk(connection, names)
    if len(places) == len(names) + 1:
        return places[-1]
    return make_folder(
        connection,
        places[-1] if places else root_place(connection),
        names[-1],
        1,
        rules,
        realm=realm,
        is_fixed=True,
        display_name=display_name,
    )


def issue_tokens(connection: Connection, token_files: Mapping[str, Path], signer: Signer) -> None:
    """See to it that each user's token file holds a valid token: a missing one gets a new token.

    The token that a file held before it went missing is no longer valid.
    """
    if len(set(token_files.values())) < len(token_files):
        raise ServeError("two users have one token file")
    for name, path in token_files.items():
        account, token = _user_id(connection, name), _read_token(path)
        is_known = (
            token is not None
            and connection.execute(
                "SELECT 1 FROM token WHERE hash = ? AND account = ?", (signer.token_hash(token), account)
            ).fetchone()
        )
        connection.execute("DELETE FROM token WHERE account = ? AND is_in_file", (account,))
        if token is None or not is_known:
            token = new_token()
            write_private(path, token.encode() + b"\n")
        connection.execute(
            "INSERT OR REPLACE INTO token VALUES (?, ?, ?, 1)",
            (signer.token_hash(token), account, time.time()),
        )


def _read_token(path: Path) -> str | None:
    """The token in a file, None if there is no file. Never overwrite what is no token file."""
    try:
        text = path.read_text(encoding="utf-8").strip()
        mode = path.stat().st_mode
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ServeError(f"the token file {path} can't be read: {error}") from error
    if not looks_like_token(text):
        raise ServeError(f"{path} exists and is no token file; move it away or name another")
    if stat_modes.S_IMODE(mode) & 0o077:
        path.chmod(0o600)
    return text


def load_accounts(connection: Connection, signer: Signer) -> Accounts:
    """The accounts as they are now."""
    members: dict[int, set[int]] = {}
    for project, account in connection.execute("SELECT project, account FROM member"):
        members.setdefault(account, set()).add(project)
    users = {}
    for row in connection.execute("SELECT t.hash, a.* FROM token t JOIN account a ON a.id = t.account"):
        users[row["hash"]] = User(
            row["id"], row["name"], row["default_project"], frozenset(members.get(row["id"], ()))
        )
    projects = {
        row["id"]: Project(row["id"], row["name"], row["owner"], row["created"])
        for row in connection.execute("SELECT * FROM project")
    }
    workspaces = tuple((row[0], row[1]) for row in connection.execute("SELECT project, id FROM workspace"))
    return Accounts(signer, users, projects, workspaces)
