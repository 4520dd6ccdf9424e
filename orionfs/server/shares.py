"""Sharing files, datasets and collections with users and with all members of a project.

What a share grants is decided in `permissions`; here shares are made, replaced and taken away. Nobody
gives away more than he has.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any

from orionfs.server.paths import Caller
from orionfs.server.permissions import NOTHING, Permission, need
from orionfs.server.problems import bad_request, invalid
from orionfs.server.removing import find_resource
from orionfs.server.rows import Json
from orionfs.server.store import Connection

_WORDS = {permission.name.lower(): permission for permission in Permission if permission.name}


@dataclass(frozen=True, slots=True)
class Holder:
    """Whom something is shared with: `kind` is "user" or "project"."""

    kind: str
    id: int


def holder_in(body: Json, users: Container[int], projects: Container[int]) -> Holder:
    """Whom a body names, one of all there are. Refusal 400, 422."""
    named = [kind for kind in ("user", "project") if body.get(kind) is not None]
    if len(named) != 1:
        raise bad_request("something is shared with one user or one project, given by its id")
    kind, number = named[0], body[named[0]]
    if type(number) is not int or number not in {"user": users, "project": projects}[kind]:
        raise invalid(f"there is no {kind} {number!r}", f"unknown_{kind}")
    return Holder(kind, number)


def share(
    connection: Connection, caller: Caller, reference: Mapping[str, Any], holder: Holder, words: object
) -> Json:
    """Let `holder` do what `words` say with a resource, instead of what an earlier share said.

    Returns all its shares. Refusal 404, 403, 422.
    """
    permissions = _permissions_in(words)
    record = find_resource(connection, caller, dict(reference))
    need(connection, caller, record, Permission.SHARE | permissions)
    connection.execute(
        "INSERT OR REPLACE INTO share VALUES (?, ?, ?, ?)",
        (record["id"], holder.kind, holder.id, permissions.value),
    )
    return _shares_of(connection, record["id"])


def list_shares(connection: Connection, caller: Caller, reference: Mapping[str, Any]) -> Json:
    """With whom a resource is shared, for whoever may read it. Refusal 404, 403."""
    record = find_resource(connection, caller, dict(reference))
    need(connection, caller, record, Permission.READ)
    return _shares_of(connection, record["id"])


def _shares_of(connection: Connection, resource_id: int) -> Json:
    found = connection.execute(
        "SELECT holder_kind, holder, permissions FROM share WHERE resource = ? ORDER BY holder_kind, holder",
        (resource_id,),
    )
    rows = [{kind: number, "permissions": _words_of(Permission(bits))} for kind, number, bits in found]
    return {"results": rows}


def unshare(connection: Connection, caller: Caller, reference: Mapping[str, Any], holder: Holder) -> None:
    """Take a share away, if there is one. Refusal 404, 403."""
    record = find_resource(connection, caller, dict(reference))
    need(connection, caller, record, Permission.SHARE)
    connection.execute(
        "DELETE FROM share WHERE resource = ? AND holder_kind = ? AND holder = ?",
        (record["id"], holder.kind, holder.id),
    )


def _permissions_in(words: object) -> Permission:
    """Whoever may do anything may read, too."""
    if words is None:
        words = []
    if not isinstance(words, list) or not all(isinstance(word, str) and word in _WORDS for word in words):
        raise invalid(f"permissions is a list of {', '.join(_WORDS)}", "bad_permission")
    permissions = Permission.READ
    for word in words:
        permissions |= _WORDS[word]
    return permissions


def _words_of(permissions: Permission) -> list[str]:
    return [word for word, permission in _WORDS.items() if permission & permissions != NOTHING]
