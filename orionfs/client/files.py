"""Files and folders: what has a place in the folder tree and no structure of its own.

Part of `types`. Making an object from an id alone, `File.read_into` and `Folder` are this library's
extensions. Must not know how bytes move (`upload`, `download`).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from . import download, records, upload
from .errors import OrionError
from .people import Project, project_id
from .resource import Resource, checked_name

if TYPE_CHECKING:
    import msgspec

    from .session import OrionSession
    from .transport import Transport

__all__ = ["File", "Folder", "place_params"]


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
    systemtags: list[str] = field(default_factory=list)

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
        checked_name(name, "an upload")
        transport = session.transport
        routes, keys = transport.wire.routes, transport.wire.keys
        params = {keys.name: name, **place_params(session, project, folder_path)}
        with upload.opened(path) as source:
            if source.size <= transport.server().limits.part_bytes:
                response = upload.send_whole(transport, routes.upload_small, source, params=params)
                row = upload.row_of(response)
            else:
                row, response = _upload_in_parts(transport, source, params)
        made = cls()
        made.take(row, session, response)
        return made

    def download_to_file(self, path: str | os.PathLike[str]) -> None:
        """Download the contents to a local path; it appears under its name once it is complete.

        Raises NotEnoughDiskError, OSError for the local file.
        """
        download.to_file(self._contents(), path, self.size)

    def read_into(
        self,
        fd: int,
        fd_offset: int,
        offset: int,
        length: int,
        progress: Callable[[int], None] | None = None,
    ) -> int:
        """Fetch bytes [offset, offset + length) and write them at `fd_offset` of a descriptor.

        `progress` is told how many more bytes were written, piece by piece; what it raises ends the call.
        Returns `length`: a shorter body is an OrionServiceError, a range outside the file a
        ValidationError. An extension; the address of the contents is remembered by the session.
        """
        return download.read_into(self._contents(), offset, length, fd, fd_offset, progress)

    def _contents(self) -> download.Signed:
        session, file_id = self.bound()
        transport = session.transport
        return download.Signed(transport, transport.wire.routes.download_file, {"id": file_id})


def place_params(
    session: OrionSession, project: Project | int | None, folder_path: str | None
) -> dict[str, Any]:
    """The parameters that say where something new goes; without any, into the user's own folder."""
    keys = session.transport.wire.keys
    params: dict[str, Any] = {}
    if project is not None:
        params[keys.project] = project_id(project)
    if folder_path is not None:
        params[keys.folder_path] = folder_path
    return params


def _upload_in_parts(
    transport: Transport, source: upload.LocalFile, params: dict[str, Any]
) -> upload.RowAndAnswer:
    """Make the item, send its parts, complete it; an item that can't be completed is removed."""
    wire = transport.wire
    offered = wire.resources["file"]
    if offered.create is None:
        raise OrionError("this dialect has no route to create a file")
    created = transport.request(offered.create, json={**params, wire.keys.size: source.size})
    row = upload.row_of(created)
    file_id = records.read(records.FileRecord, "file", row, wire, created).id
    to = upload.Destination(
        record="file",
        fill={"id": file_id},
        parts=wire.routes.upload_parts,
        complete=wire.routes.upload_complete,
        get=offered.get,
        delete=offered.delete,
        states_done=frozenset({wire.keys.state_ready, wire.keys.state_processing}),
    )
    try:
        plan = upload.plan_of(row.get(wire.keys.upload), source.size, transport, created)
        return upload.send_parts(transport, source, to, plan)
    except BaseException:
        upload.abandoned(transport, to)
        raise


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
