"""Tags as they are kept and read: those that users set, and system tags, which the server sets itself.

A system tag says which job of the platform made a resource, in the form `Job <digits>`; what a user
sets in the same form stays a user's. Who may change tags is decided in `tags`; here is what rows,
listings and new resources need of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import NamedTuple

from orionfs.server.paths import Caller
from orionfs.server.problems import bad_request
from orionfs.server.store import Connection

_JOB = re.compile(r"[0-9]{1,19}")


class Tags(NamedTuple):
    """Names of the tags of one resource, in order; each once, in however many projects it was set."""

    by_users: tuple[str, ...] = ()
    by_system: tuple[str, ...] = ()


NO_TAGS = Tags()


def system_tag_of(job: str) -> str:
    """The tag of what a job makes. Refusal 400 for what is no number of a job."""
    if not _JOB.fullmatch(job):
        raise bad_request(f"a job is a number: {job!r}", "bad_job")
    return f"Job {int(job)}"


def mark_new(connection: Connection, caller: Caller, resource_id: int) -> None:
    """Give a resource that was just made the system tag of the job that made it, if one did."""
    if caller.system_tag is not None:
        connection.execute(
            "INSERT INTO tag VALUES (?, ?, ?, 1)", (resource_id, caller.system_tag, caller.project_id)
        )


def tags_of(connection: Connection, resource_ids: Sequence[int]) -> dict[int, Tags]:
    """Tags per resource; resources without tags are left out."""
    tags: dict[int, Tags] = {}
    found = connection.execute(
        "SELECT DISTINCT resource, name, is_system FROM tag"
        " WHERE resource IN (SELECT value FROM json_each(?)) ORDER BY resource, name",
        (json.dumps(list(resource_ids)),),
    )
    for number, name, is_system in found:
        by_users, by_system = tags.get(number, NO_TAGS)
        tags[number] = Tags(by_users, (*by_system, name)) if is_system else Tags((*by_users, name), by_system)
    return tags
