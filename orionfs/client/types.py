"""Resources of an Orion stack as Python objects.

Used by programs and by `session`, which makes and refreshes them. Attributes are what the server last
said; changing one changes nothing there (`OrionSession.update_resource` does). `File.read_into`,
`Folder` and making an object from an id alone are this library's extensions. Must not know routes.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from . import records, transfer
from .errors import ValidationError

if TYPE_CHECKING:
    import msgspec
    import requests

    from .session import OrionSession

__all__ = ["File", "Folder", "OrionUser", "Project", "Resource", "UserProfile"]


class Resource:
    """Base of what has an id. `resource_type` is the word that paths and tags use for it."""

    __slots__ = ()
    resource_type: ClassVar[str]
    record: ClassVar[type[msgspec.Struct]]

    def take(self, row: object, session: OrionSession, response: requests.Response) -> None:
        """Set all attributes from a row of the server. Raises BadResponse when it is not one."""
        wire = session.transport.wire
        found = records.read(self.record, self.resource_type, row, wire, response)
        values = {name: getattr(found, name) for name in self.record.__struct_fields__}
        for name, value in {**values, "session": session}.items():
            setattr(self, name, list(value) if isinstance(value, tuple) else value)


@dataclass(eq=False, slots=True)
class File(Resource):
    """A file: bytes that never change, under a name.

    `size` in bytes; `created` as ISO 8601 text in UTC; `owner` and `project` are ids; `path` is its
    place in the folder tree; `state` is "ready" once the contents are complete; `deleted` is when it
    was deleted, or None. Objects of a listing may lack some: `OrionSession.refresh_resource`.
    """

    resource_type: ClassVar[str] = "file"
    record: ClassVar[type[msgspec.Struct]] = records.FileRecord

    id: int | None = None
    name: str = ""
    path: str | None = None
    description: str = ""
    size: int | None = None
    created: str = ""
    owner: int | None = None
    project: int | None = None
    state: str = ""
    tags: list[str] = field(default_factory=list)
    deleted: str | None = None
    session: OrionSession | None = field(default=None, repr=False)

    @classmethod
    def upload(
        cls,
        session: OrionSession,
        name: str,
        path: str | os.PathLike[str],
        project: Project | int | None = None,
        folder_path: str | None = None,
    ) -> File:
        """Upload a local file as a new item called `name`, into `folder_path` or the user's own folder.

        The size is taken once, at the start; a file that becomes shorter meanwhile is a
        ValidationError. Raises OSError for the local file.
        """
        if not isinstance(name, str) or not name:
            raise ValidationError("an upload needs a name")
        keys = session.transport.wire.keys
        place: dict[str, object] = {}
        if project is not None:
            place[keys.project] = project_id(project)
        if folder_path is not None:
            place[keys.folder_path] = folder_path
        row, response = transfer.upload(session.transport, name, path, place)
        made = cls()
        made.take(row, session, response)
        return made

    def download_to_file(self, path: str | os.PathLike[str]) -> None:
        """Download the contents to a local path; it appears under its name once it is complete.

        Raises NotEnoughDiskError, OSError for the local file.
        """
        session, file_id = self._bound()
        transfer.download(session.transport, file_id, path, self.size)

    def read_into(self, fd: int, fd_offset: int, offset: int, length: int) -> int:
        """Fetch bytes [offset, offset + length) and write them at `fd_offset` of a descriptor.

        Returns `length`: a shorter body is an OrionServiceError, a range outside the file a
        ValidationError. An extension; the address of the contents is remembered by the session.
        """
        session, file_id = self._bound()
        return transfer.read_into(session.transport, file_id, offset, length, fd, fd_offset)

    def _bound(self) -> tuple[OrionSession, int]:
        if self.session is None or self.id is None:
            raise ValidationError("a File needs a session and an id to reach its contents")
        return self.session, self.id


@dataclass(eq=False, slots=True)
class Folder(Resource):
    """A folder, known by its id. An extension: good for tags."""

    resource_type: ClassVar[str] = "folder"
    record: ClassVar[type[msgspec.Struct]] = records.FolderRecord

    id: int | None = None
    name: str = ""
    path: str | None = None
    created: str = ""
    owner: int | None = None
    project: int | None = None
    tags: list[str] = field(default_factory=list)
    session: OrionSession | None = field(default=None, repr=False)


@dataclass(eq=False, slots=True)
class Project(Resource):
    """A project; `owner` is a user's id."""

    resource_type: ClassVar[str] = "project"
    record: ClassVar[type[msgspec.Struct]] = records.ProjectRecord

    id: int | None = None
    name: str = ""
    owner: int | None = None
    created: str = ""
    session: OrionSession | None = field(default=None, repr=False)


@dataclass(eq=False, slots=True)
class OrionUser(Resource):
    """Any user of the stack."""

    resource_type: ClassVar[str] = "user"
    record: ClassVar[type[msgspec.Struct]] = records.UserRecord

    id: int | None = None
    username: str = ""
    email: str = ""
    first_name: str = ""
    last_name: str = ""
    session: OrionSession | None = field(default=None, repr=False)


@dataclass(eq=False, slots=True)
class UserProfile(Resource):
    """The user whose token the session holds; `default_project` is a project's id."""

    resource_type: ClassVar[str] = "profile"
    record: ClassVar[type[msgspec.Struct]] = records.ProfileRecord

    id: int | None = None
    username: str = ""
    email: str = ""
    first_name: str = ""
    last_name: str = ""
    default_project: int | None = None
    session: OrionSession | None = field(default=None, repr=False)


def project_id(project: Project | int) -> int:
    """The id of a project that is given as an object or as an id."""
    found = project.id if isinstance(project, Project) else project
    if not isinstance(found, int) or isinstance(found, bool):
        raise ValidationError(f"not a project: {project!r}")
    return found


def tag_body(tags: tuple[str, ...], key: str) -> dict[str, Any]:
    """The JSON object of a call about tags. Raises ValidationError for what is no tag."""
    if not all(isinstance(tag, str) and tag for tag in tags):
        raise ValidationError("a tag is a text that is not empty")
    return {key: list(tags)}


def checked_filters(filters: Mapping[str, Any] | None) -> dict[str, Any]:
    """Filters of a listing as query parameters."""
    if filters is None:
        return {}
    if not isinstance(filters, Mapping):
        raise ValidationError("filters are a dict of query parameters")
    return {name: _query_value(value) for name, value in filters.items()}


def _query_value(value: object) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return ",".join(str(each) for each in value)
    return value
