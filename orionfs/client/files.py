"""Files and folders: what has a place in the folder tree and no structure of its own.

Part of `types`. Making an object from an id alone, `File.read_into`, `File.begin` and `Folder` are this
library's extensions. Must not know how bytes move (`upload`, `download`).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from . import download, records, upload
from .errors import OrionError, ValidationError
from .people import Project, project_id
from .resource import Resource, checked_name

if TYPE_CHECKING:
    import msgspec
    import requests

    from .session import OrionSession
    from .transport import Transport
    from .wire import Wire

__all__ = ["File", "Folder", "GrowingFile", "place_params"]

_ADDRESSES_AT_ONCE = 64


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

    @classmethod
    def begin(
        cls,
        session: OrionSession,
        name: str,
        project: Project | int | None = None,
        folder_path: str | None = None,
    ) -> GrowingFile:
        """Begin a new item whose contents are sent part by part, before anybody knows how long they get.

        An extension. Raises ValidationError where the server wants to be told the size first.
        """
        checked_name(name, "an upload")
        transport = session.transport
        if not transport.server().limits.open_ended:
            raise ValidationError("this server takes no upload whose size it is not told first")
        params = {transport.wire.keys.name: name, **place_params(session, project, folder_path)}
        made = _created(transport, {**params, transport.wire.keys.open_ended: True})
        file_id, told, response = made
        plan = records.upload_record(told, transport.wire, response)
        return GrowingFile(session, file_id, plan.part_bytes, {part.number: part.url for part in plan.parts})

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

        `progress` is told how many more bytes were written, piece by piece, and 0 once the server has said
        where they are, if it was asked; what it raises ends the call.
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
    file_id, told, created = _created(transport, {**params, transport.wire.keys.size: source.size})
    to = _destination(transport.wire, file_id)
    try:
        plan = upload.plan_of(told, source.size, transport, created)
        return upload.send_parts(transport, source, to, plan)
    except BaseException:
        upload.abandoned(transport, to)
        raise


def _created(transport: Transport, params: dict[str, Any]) -> tuple[int, Any, requests.Response]:
    """A new item without contents: its id, what is told of how it wants to be sent, the answer."""
    wire = transport.wire
    create = wire.resources["file"].create
    if create is None:
        raise OrionError("this dialect has no route to create a file")
    response = transport.request(create, json=params)
    row = upload.row_of(response)
    file_id = records.read(records.FileRecord, "file", row, wire, response).id
    return file_id, row.get(wire.keys.upload), response


def _destination(wire: Wire, file_id: int) -> upload.Destination:
    offered = wire.resources["file"]
    return upload.Destination(
        record="file",
        fill={"id": file_id},
        parts=wire.routes.upload_parts,
        complete=wire.routes.upload_complete,
        get=offered.get,
        delete=offered.delete,
        states_done=frozenset({wire.keys.state_ready, wire.keys.state_processing}),
    )


class GrowingFile:
    """A file that is being sent while it is written. Nobody sees it before `finish`; safe for threads.

    Part `number` (from 1) holds the bytes from `(number - 1) * part_bytes` on; all but the last one are
    of that length, and they may come in any order. What is never finished the server removes in the end;
    `OrionSession.delete_resource(File(id=...))` does at once.
    """

    def __init__(
        self, session: OrionSession, id: int, part_bytes: int, addresses: Mapping[int, str] | None = None
    ) -> None:
        """`addresses` are those that are known of parts; others are asked for."""
        self.session, self.id, self.part_bytes = session, id, part_bytes
        self._addresses = dict(addresses or {})
        self._lock = threading.Lock()
        to = _destination(session.transport.wire, id)
        self._sender = upload.PartSender(session.transport, to, threading.Event())

    def __repr__(self) -> str:
        return f"<GrowingFile {self.id} in parts of {self.part_bytes}>"

    def send(self, number: int, path: str | os.PathLike[str], length: int) -> None:
        """Send one part: `length` bytes of a local file from where the part begins. Raises OSError for it."""
        if not 0 < length <= self.part_bytes:
            raise ValidationError(f"a part has 1 to {self.part_bytes} bytes, not {length}")
        with upload.opened(path) as source:
            body = upload.slice_of(source, (number - 1) * self.part_bytes, length)
            self._sender.send(number, self._address(number), body)

    def finish(self, size: int) -> File:
        """All parts of a file of `size` bytes have been sent. Raises BadResponse where that is not so."""
        keys = self.session.transport.wire.keys
        parts = -(-size // self.part_bytes)
        row, response = self._sender.complete({keys.parts: parts, keys.size: size})
        made = File()
        made.take(row, self.session, response)
        return made

    def _address(self, number: int) -> str:
        with self._lock:
            if number not in self._addresses:
                numbers = range(number, number + _ADDRESSES_AT_ONCE)
                self._addresses |= self._sender.addresses(list(numbers))
            return self._addresses.pop(number)


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
