"""Who may log in with what, and what there is to be a member of: a picture of it in memory.

Requests are checked against `Accounts`, so none costs a query for its token. Users, projects and
workspaces are fixed while a server runs; tokens are not: one that was just given out is known at once.
"""

from __future__ import annotations

import json
import re
import stat as stat_modes
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from orionfs.server.founding import user_id
from orionfs.server.passwords import is_password
from orionfs.server.paths import Caller, User, caller_for
from orionfs.server.problems import Refusal, ServeError, denied
from orionfs.server.signing import Signer, looks_like_token, new_token, write_private
from orionfs.server.store import Connection

_TOKEN_WORDS = re.compile(r"Token(?::\s*|\s+)(\S+)\s*")
# An expired token is told from a wrong one for this long.
_EXPIRED_KEPT_S = 30 * 86400.0


@dataclass(frozen=True, slots=True)
class Project:
    """A project as the API tells it."""

    id: int
    name: str
    owner: int
    created: str


@dataclass(frozen=True, slots=True)
class Workspace:
    """A workspace; `members` are ids of users, none for one that is open to its whole project."""

    project: int
    id: int
    members: frozenset[int]


@dataclass(frozen=True, slots=True)
class _Login:
    """What a token is good for: `expires_s` in seconds since the epoch, None if it never does."""

    user: User
    expires_s: float | None


@dataclass(frozen=True)
class Accounts:
    """All accounts of a site. Used from many threads: tokens are added one by one, never taken away."""

    signer: Signer
    token_lifetime_s: float
    users: Mapping[int, User]  # id -> user
    projects: Mapping[int, Project]  # id -> project
    workspaces: tuple[Workspace, ...]
    _passwords: Mapping[str, str] = field(repr=False)  # name -> what is kept of the password
    _logins: dict[bytes, _Login] = field(repr=False)  # token hash -> login
    _callers: dict[tuple[int, int], Caller] = field(default_factory=dict, repr=False)

    def authenticate(self, authorization: str | None) -> User:
        """The user of an Authorization header. Refusal 401."""
        words = _TOKEN_WORDS.fullmatch(authorization or "")
        # The key is a keyed hash: how long it takes to find tells nothing about any token.
        login = self._logins.get(self.signer.token_hash(words.group(1))) if words else None
        if login is None:
            raise _unauthorised("not_authenticated", "a valid token is needed")
        if login.expires_s is not None and login.expires_s < time.time():
            raise _unauthorised("token_expired", "this token has expired; get a new one")
        return login.user

    def check_password(self, username: str, password: str) -> User:
        """The user with this password; slow, in the same time whatever is wrong. Refusal 401."""
        is_right = is_password(password, self._passwords.get(username))
        found = next((user for user in self.users.values() if user.name == username), None)
        if found is None or not is_right:
            raise _unauthorised("bad_credentials", "there is no user with this name and password")
        return found

    def give_token(self, connection: Connection, user: User) -> str:
        """A new token of a user, good from now on and after a restart."""
        token, now_s = new_token(), time.time()
        token_hash = self.signer.token_hash(token)
        connection.execute("INSERT INTO token VALUES (?, ?, ?, 0)", (token_hash, user.id, now_s))
        self._logins[token_hash] = _Login(user, _expiry(now_s, self.token_lifetime_s))
        return token

    def caller(self, user: User, project: str | None) -> Caller:
        """The user in the project of the session's header, or in the default one. Refusal 403."""
        number = user.default_project
        if project is not None:
            number = int(project) if project.isascii() and project.isdigit() and len(project) <= 19 else 0
        if number not in user.project_ids:
            raise denied(f"you are in no project {project}", "bad_project")
        if (user.id, number) not in self._callers:
            open_to_user = [
                (workspace.project, workspace.id)
                for workspace in self.workspaces
                if not workspace.members or user.id in workspace.members
            ]
            self._callers[user.id, number] = caller_for(user, number, open_to_user)
        return self._callers[user.id, number]


def _unauthorised(code: str, detail: str) -> Refusal:
    return Refusal(401, code, detail, {"WWW-Authenticate": "Token"})


def _expiry(created_s: float, lifetime_s: float) -> float | None:
    return created_s + lifetime_s if lifetime_s else None


def issue_tokens(connection: Connection, token_files: Mapping[str, Path], signer: Signer) -> None:
    """See to it that each user's token file holds a valid token: a missing one gets a new token.

    The token that a file held before it went missing is no longer valid.
    """
    if len(set(token_files.values())) < len(token_files):
        raise ServeError("two users have one token file")
    for name, path in token_files.items():
        account, token = user_id(connection, name), _read_token(path)
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


def forget_expired(connection: Connection, lifetime_s: float) -> None:
    """Drop the tokens that expired so long ago that nobody asks any more."""
    if lifetime_s:
        before_s = time.time() - lifetime_s - _EXPIRED_KEPT_S
        connection.execute("DELETE FROM token WHERE NOT is_in_file AND created_s < ?", (before_s,))


def load_accounts(connection: Connection, signer: Signer, token_lifetime_s: float) -> Accounts:
    """The accounts as they are now."""
    accounts = connection.execute("SELECT * FROM account").fetchall()
    members: dict[int, set[int]] = {}
    for project, account in connection.execute("SELECT project, account FROM member"):
        members.setdefault(account, set()).add(project)
    users = {
        row["id"]: User(
            row["id"],
            row["name"],
            row["default_project"],
            frozenset(members.get(row["id"], ())),
            row["email"],
            row["first_name"],
            row["last_name"],
            frozenset(json.loads(row["capabilities"])),
        )
        for row in accounts
    }
    logins = {}
    for row in connection.execute("SELECT * FROM token"):
        expires_s = None if row["is_in_file"] else _expiry(row["created_s"], token_lifetime_s)
        logins[row["hash"]] = _Login(users[row["account"]], expires_s)
    passwords = {row["name"]: row["password"] for row in accounts if row["password"] is not None}
    projects = {
        row["id"]: Project(row["id"], row["name"], row["owner"], row["created"])
        for row in connection.execute("SELECT * FROM project")
    }
    return Accounts(
        signer, token_lifetime_s, users, projects, _load_workspaces(connection), passwords, logins
    )


def _load_workspaces(connection: Connection) -> tuple[Workspace, ...]:
    members: dict[tuple[int, int], set[int]] = {}
    for project, number, account in connection.execute("SELECT * FROM workspace_member"):
        members.setdefault((project, number), set()).add(account)
    return tuple(
        Workspace(project, number, frozenset(members.get((project, number), ())))
        for project, number in connection.execute("SELECT project, id FROM workspace")
    )
