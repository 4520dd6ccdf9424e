"""Making accounts, projects, workspaces and the fixed folders of the tree, when a server starts.

`set_up` brings a data folder to what the users file describes; what an earlier one described stays.
"""

from __future__ import annotations

import json

from orionfs.server import paths
from orionfs.server.passwords import hash_password, is_password
from orionfs.server.problems import ServeError
from orionfs.server.store import Connection, get_setting, new_id, put_setting
from orionfs.server.tree import Place, Rules, make_folder, root_place, walk
from orionfs.server.users_file import (
    FIRST_USER,
    ProjectEntry,
    UserEntry,
    UsersFile,
    WorkspaceEntry,
    read_password,
)

FIRST_PROJECT = "Demo"


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
            _join(connection, number, user_id(connection, member))
    for user_entry in users_file.users:
        _describe_user(connection, user_entry)
        for project in user_entry.projects:
            _join(connection, _project_id(connection, project), user_id(connection, user_entry.name))
    for project_entry in users_file.projects:
        number = _project_id(connection, project_entry.name)
        for workspace in project_entry.workspaces:
            _ensure_workspace(connection, number, workspace)
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
    return user_id(connection, name)


def _describe_user(connection: Connection, entry: UserEntry) -> None:
    kept = connection.execute("SELECT password FROM account WHERE name = ?", (entry.name,)).fetchone()[0]
    password = None if entry.password_file is None else read_password(entry.password_file)
    if password is None:
        kept = None
    elif kept is None or not is_password(password, kept):
        kept = hash_password(password)
    connection.execute(
        "UPDATE account SET email = ?, first_name = ?, last_name = ?, capabilities = ?, password = ?"
        " WHERE name = ?",
        (
            entry.email,
            entry.first_name,
            entry.last_name,
            json.dumps(sorted(entry.capabilities)),
            kept,
            entry.name,
        ),
    )


def user_id(connection: Connection, name: str) -> int:
    """The id of a user. ServeError when there is none of this name."""
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


def _ensure_workspace(connection: Connection, project: int, entry: WorkspaceEntry) -> None:
    known = connection.execute(
        "SELECT id FROM workspace WHERE project = ? AND (name = ? OR id IS ?)",
        (project, entry.name, entry.id),
    ).fetchone()
    number = known["id"] if known is not None else entry.id
    if number is None:
        number = connection.execute("SELECT coalesce(max(id), 0) + 1 FROM workspace").fetchone()[0]
    if known is None:
        connection.execute("INSERT INTO workspace VALUES (?, ?, ?)", (project, number, entry.name))
    connection.execute("DELETE FROM workspace_member WHERE project = ? AND workspace = ?", (project, number))
    for name in entry.members:
        member = user_id(connection, name)
        is_in_project = connection.execute(
            "SELECT 1 FROM member WHERE project = ? AND account = ?", (project, member)
        ).fetchone()
        if not is_in_project:
            raise ServeError(f"user {name!r} is in workspace {entry.name!r} but not in its project")
        connection.execute(
            "INSERT OR IGNORE INTO workspace_member VALUES (?, ?, ?)", (project, number, member)
        )


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
