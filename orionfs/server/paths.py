"""Paths, names and who may do what where: pure functions, no database, no HTTP.

A path is '/' followed by names; nothing in it is resolved ('.' and '..' are names like others).
A *realm* is the part of the tree that one rule of permission covers: 'organization', '1/team',
'1/user/demo', '1/workspace/5'; the levels above them are '' (everybody may list) and '1' (members
of project 1 may list). Every resource row carries the realm it lies in.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from orionfs.server.problems import bad_request, invalid

NAME_MAX_CHARACTERS = 1024
TOP_REALM = ""
ORGANIZATION_REALM = "organization"


class Kind(Enum):
    """Literals of `resource_type`."""

    FILE = "file"
    DATASET = "dataset"
    COLLECTION = "collection"
    FOLDER = "folder"
    SHARD = "shard"
    WORKFLOE = "workfloe"


KINDS_OF_PLACES = {
    "files": Kind.FILE,
    "datasets": Kind.DATASET,
    "collections": Kind.COLLECTION,
    "folders": Kind.FOLDER,
    "workfloes": Kind.WORKFLOE,
}


@dataclass(frozen=True, slots=True)
class User:
    """An account; `project_ids` are the projects it is a member of."""

    id: int
    name: str
    default_project: int
    project_ids: frozenset[int]
    email: str = ""
    first_name: str = ""
    last_name: str = ""
    capabilities: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the account, the project its session is configured with, the realms it may use.

    `system_tag` is the tag of whatever this request makes, when a job of the platform sent it.
    """

    user: User
    project_id: int
    readable: frozenset[str]
    writable: frozenset[str]
    system_tag: str | None = None


def split_path(path: object) -> tuple[str, ...]:
    """The names of a path, () for '/'; one trailing '/' is harmless. Refusal 400 for anything else."""
    if not isinstance(path, str) or not path.startswith("/"):
        raise bad_request(f"a path starts with '/': {path!r}", "bad_path")
    names = tuple(path[1:].removesuffix("/").split("/")) if path != "/" else ()
    if any(not name or "\0" in name or not is_unicode(name) for name in names):
        raise bad_request(f"a path has no empty names and no NUL: {path!r}", "bad_path")
    return names


def join_path(names: Iterable[str]) -> str:
    """The path of these names."""
    return "/" + "/".join(names)


def check_item_name(name: object, *, slash_allowed: bool) -> str:
    """`name` as the name of an item; Refusal 422 if it can't be one."""
    checked = _check_name(name)
    if "/" in checked and not slash_allowed:
        raise invalid(f"a name has no '/': {checked!r}", "bad_name")
    return checked


def check_folder_name(name: object) -> str:
    """`name` as the name of a folder; Refusal 422 if it can't be one."""
    checked = _check_name(name)
    if "/" in checked or checked in (".", ".."):
        raise invalid(f"this can't be the name of a folder: {checked!r}", "bad_name")
    return checked


def _check_name(name: object) -> str:
    if not isinstance(name, str) or not name or "\0" in name or not is_unicode(name):
        raise invalid("a name is a text of at least one character, without NUL", "bad_name")
    if len(name) > NAME_MAX_CHARACTERS:
        raise invalid(f"a name has at most {NAME_MAX_CHARACTERS} characters", "bad_name")
    return name


def is_unicode(text: str) -> bool:
    """Whether a text can be UTF-8: JSON can carry lone surrogates, which can't."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def project_realm(project_id: int) -> str:
    """Realm of the levels of a project that only list what is below them."""
    return str(project_id)


def user_realm(project_id: int, username: str) -> str:
    """Realm of one member's own data."""
    return f"{project_id}/user/{username}"


def team_realm(project_id: int) -> str:
    """Realm of the data that all members of a project share."""
    return f"{project_id}/team"


def workspace_realm(project_id: int, workspace_id: int) -> str:
    """Realm of one workspace."""
    return f"{project_id}/workspace/{workspace_id}"


def is_listing_only(realm: str) -> bool:
    """Whether folders of this realm only lead to others: nothing can be put there."""
    return realm == TOP_REALM or realm.isdigit()


def project_of_realm(realm: str) -> int | None:
    """The project a realm belongs to; None for the organization and the top."""
    first = realm.partition("/")[0]
    return int(first) if first.isdigit() else None


def caller_for(user: User, project_id: int, workspaces: Iterable[tuple[int, int]]) -> Caller:
    """What `user` may read and write; `workspaces` are (project id, workspace id) of those open to it."""
    writable = {ORGANIZATION_REALM}
    for member_of in user.project_ids:
        writable |= {team_realm(member_of), user_realm(member_of, user.name)}
    writable |= {workspace_realm(p, w) for p, w in workspaces if p in user.project_ids}
    listing_only = {TOP_REALM} | {project_realm(p) for p in user.project_ids}
    return Caller(user, project_id, frozenset(writable | listing_only), frozenset(writable))
