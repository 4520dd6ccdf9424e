"""Tags of files, datasets, collections and folders: plain texts, each with the project it was set in."""

from __future__ import annotations

from orionfs.server.files import check_project
from orionfs.server.paths import Caller, is_unicode
from orionfs.server.problems import invalid
from orionfs.server.removing import find_resource
from orionfs.server.rows import Json
from orionfs.server.store import Connection
from orionfs.server.tree import need_write

_TAG_MAX_CHARACTERS = 1024
_TAGS_MAX = 1000


def list_tags(connection: Connection, caller: Caller, kind: str, resource_id: int) -> Json:
    """Tags of a resource. Refusal 404, 403."""
    find_resource(connection, caller, {"resource_type": kind, "id": resource_id})
    found = connection.execute(
        "SELECT name, project FROM tag WHERE resource = ? ORDER BY name", (resource_id,)
    )
    return {"results": [{"name": name, "project": project} for name, project in found]}


def add_tags(
    connection: Connection, caller: Caller, kind: str, resource_id: int, tags: object, project: object
) -> Json:
    """Set tags; those that are set already stay as they are. Refusal 404, 403, 422."""
    record = find_resource(connection, caller, {"resource_type": kind, "id": resource_id})
    need_write(caller, record["realm"])
    project_id = caller.project_id if project is None else check_project(caller, project)
    connection.executemany(
        "INSERT OR IGNORE INTO tag VALUES (?, ?, ?)",
        [(resource_id, tag, project_id) for tag in _check_tags(tags)],
    )
    return list_tags(connection, caller, kind, resource_id)


def remove_tags(connection: Connection, caller: Caller, kind: str, resource_id: int, tags: object) -> Json:
    """Take tags away; unknown ones are ignored. Refusal 404, 403, 422."""
    record = find_resource(connection, caller, {"resource_type": kind, "id": resource_id})
    need_write(caller, record["realm"])
    connection.executemany(
        "DELETE FROM tag WHERE resource = ? AND name = ?", [(resource_id, tag) for tag in _check_tags(tags)]
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
