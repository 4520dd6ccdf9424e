"""Changing and listing the tags of files, datasets, collections and folders.

A tag is a plain text and belongs to the project it was set in: the same one may be set in several.
"""

from __future__ import annotations

from orionfs.server.files import check_project
from orionfs.server.marks import NO_TAGS, tags_of
from orionfs.server.paths import Caller, is_unicode
from orionfs.server.permissions import Permission, need
from orionfs.server.problems import invalid
from orionfs.server.removing import find_resource
from orionfs.server.rows import Json
from orionfs.server.store import Connection

_TAG_MAX_CHARACTERS = 1024
_TAGS_MAX = 1000


def list_tags(connection: Connection, caller: Caller, kind: str, resource_id: int) -> Json:
    """Tags of a resource, those of all projects. Refusal 404, 403."""
    find_resource(connection, caller, {"resource_type": kind, "id": resource_id}, is_placed=False)
    found = connection.execute(
        "SELECT name, project, is_system FROM tag WHERE resource = ? ORDER BY name, project", (resource_id,)
    )
    return {
        "results": [
            {"name": name, "project": project or None, "system": bool(is_system)}
            for name, project, is_system in found
        ]
    }


def add_tags(
    connection: Connection, caller: Caller, kind: str, resource_id: int, tags: object, project: object
) -> Json:
    """Set tags; those that are set already stay as they are. Refusal 404, 403, 422."""
    record = find_resource(connection, caller, {"resource_type": kind, "id": resource_id}, is_placed=False)
    need(connection, caller, record, Permission.WRITE)
    project_id = caller.project_id if project is None else check_project(caller, project)
    connection.executemany(
        "INSERT OR IGNORE INTO tag VALUES (?, ?, ?, 0)",
        [(resource_id, tag, project_id) for tag in _check_tags(tags)],
    )
    return list_tags(connection, caller, kind, resource_id)


def remove_tags(connection: Connection, caller: Caller, kind: str, resource_id: int, tags: object) -> Json:
    """Take users' tags away, in whatever project they were set; unknown ones are ignored.

    Refusal 404, 403, 422; 422 "system_tag" for what is a system tag and nothing else.
    """
    record = find_resource(connection, caller, {"resource_type": kind, "id": resource_id}, is_placed=False)
    need(connection, caller, record, Permission.WRITE)
    checked, present = _check_tags(tags), tags_of(connection, [resource_id]).get(resource_id, NO_TAGS)
    for tag in checked:
        if tag in present.by_system and tag not in present.by_users:
            raise invalid(f"{tag!r} is a system tag, which only the server sets", "system_tag")
    connection.executemany(
        "DELETE FROM tag WHERE resource = ? AND name = ? AND NOT is_system",
        [(resource_id, tag) for tag in checked],
    )
    return list_tags(connection, caller, kind, resource_id)


def _check_tags(tags: object) -> list[str]:
    if not isinstance(tags, list) or len(tags) > _TAGS_MAX:
        raise invalid(f"tags is a list of at most {_TAGS_MAX} texts")
    for tag in tags:
        if not isinstance(tag, str) or not tag or "\0" in tag or len(tag) > _TAG_MAX_CHARACTERS:
            raise invalid(f"a tag is a text of 1 to {_TAG_MAX_CHARACTERS} characters", "bad_tag")
        if not is_unicode(tag):
            raise invalid("a tag is Unicode text", "bad_tag")
    return tags
