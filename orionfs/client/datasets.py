"""Datasets: records that are written, then read in whole or in part.

Part of `types`. Must not know how bytes move (`upload`, `download`), nor what a record means.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from . import records, upload
from .download import Answered, stream, to_file
from .errors import (
    OrionConnectionError,
    OrionError,
    OrionServiceError,
    OrionTimeout,
    RateLimitedResponse,
    ValidationError,
)
from .files import place_params
from .people import Project
from .resource import Resource, as_id, checked_name

if TYPE_CHECKING:
    from .session import OrionSession

__all__ = ["Dataset"]

BATCH_RECORDS = 1000
BATCH_BYTES = 4 << 20
_PASSING = (OrionConnectionError, OrionServiceError, OrionTimeout, RateLimitedResponse)


@dataclass(eq=False, slots=True)
class Dataset(Resource):
    """Records under a name. `count` is their number; `dirty` until it is finalized.

    `buffer` holds records that were written here and not sent yet, `buffer_count` their number;
    `written` is the number of records that were sent. `owner` and `project` are ids; `deleted` is when
    it was deleted, else empty. Objects of a listing may lack some: `OrionSession.refresh_resource`.
    One object is written to by one thread at a time.
    """

    resource_type: ClassVar[str] = "dataset"
    record: ClassVar[type[msgspec.Struct]] = records.DatasetRecord

    path: str | None = None
    id: int | None = None
    name: str = ""
    description: str = ""
    dirty: bool = False
    created: str = ""
    count: int = 0
    owner: int | None = None
    project: int | None = None
    systemtags: list[str] = field(default_factory=list)
    deleted: str = ""
    session: OrionSession | None = field(default=None, repr=False)
    buffer: bytearray | None = field(default=None, repr=False)
    written: int = 0
    buffer_count: int = 0
    tags: list[str] = field(default_factory=list)
    state: str = ""

    @classmethod
    def create(
        cls,
        session: OrionSession,
        name: str,
        project: Project | int | None = None,
        folder_path: str | None = None,
    ) -> Dataset:
        """Make a dataset without records, in `folder_path` or the user's own folder."""
        checked_name(name, "a dataset")
        params = {"name": name, **place_params(session, project, folder_path)}
        return session.create_resource(cls, params)

    @classmethod
    def upload(
        cls,
        session: OrionSession,
        name: str,
        filename: str | os.PathLike[str],
        project: Project | int | None = None,
        folder_path: str | None = None,
    ) -> Dataset:
        """Upload a local file of records; the server reads it by the ending of its name.

        ValidationError when it can't. Raises OSError for the local file.
        """
        checked_name(name, "an upload")
        transport = session.transport
        keys = transport.wire.keys
        local = os.path.basename(os.fspath(filename))
        params = {keys.name: name, keys.filename: local, **place_params(session, project, folder_path)}
        with upload.opened(filename) as source:
            response = upload.send_whole(
                transport, transport.wire.routes.upload_dataset, source, params=params
            )
        made = cls()
        made.take(upload.row_of(response), session, response)
        return made

    def download(
        self,
        record_ids: Sequence[int] | None = None,
        offset: int | None = None,
        limit: int | None = None,
        format: str = "binary",
        fieldlist: Sequence[str] | None = None,
    ) -> bytes:
        """Records in one of the server's formats: those of `record_ids`, or `limit` of them from `offset`.

        `fieldlist` names the fields that are wanted. Raises DatasetDimensionsTooLargeError for more
        records than the server gives at once, BadResponse before the dataset is finalized.
        """
        return b"".join(stream(self._contents(record_ids, offset, limit, format, fieldlist)))

    def download_to_file(
        self,
        filename: str | os.PathLike[str],
        record_ids: Sequence[int] | None = None,
        offset: int | None = None,
        limit: int | None = None,
        format: str = "binary",
        fieldlist: Sequence[str] | None = None,
    ) -> None:
        """As `download`, into a local file that appears under its name once it is complete.

        Raises NotEnoughDiskError, OSError for the local file.
        """
        to_file(self._contents(record_ids, offset, limit, format, fieldlist), filename)

    def write(self, record: Mapping[str, Any]) -> None:
        """Append a record: values by field name, of what JSON can hold.

        Records are buffered and sent in batches; `finalize` sends the rest. When sending fails they
        stay in the buffer, and are sent with the next ones.
        """
        self.bound()
        if not isinstance(record, Mapping):
            raise ValidationError(f"a record is a dict of fields, not {type(record).__name__}")
        try:
            line = msgspec.json.encode(record)
        except (TypeError, ValueError, OverflowError, RecursionError) as exc:
            raise ValidationError(f"a record can't be sent as JSON: {exc}") from exc
        if self.buffer is None:
            self.buffer = bytearray()
        self.buffer += line + b"\n"
        self.buffer_count += 1
        if self.buffer_count >= BATCH_RECORDS or len(self.buffer) >= BATCH_BYTES:
            self._send()

    def finalize(self) -> None:
        """Send what is buffered and close the dataset: from now on it can be read, and not written."""
        session, _ = self.bound()
        if self.buffer_count:
            self._send()
        self.act(session.transport.wire.routes.finalize_dataset)

    def _send(self) -> None:
        """Send the buffer. Whether a batch with a lost answer arrived, the number of records tells."""
        session, _ = self.bound()
        if not self.written:
            session.refresh_resource(self)
        before, batch = self.count, self.buffer_count
        for attempt in range(1, upload.ATTEMPTS + 1):
            try:
                self._send_once()
                break
            except _PASSING as exc:
                if not exc.nothing_sent and self._has_grown(before, batch):
                    break
                if attempt == upload.ATTEMPTS:
                    raise
                time.sleep(upload.pause_s(exc, attempt))
        self.written += batch
        self.buffer, self.buffer_count = None, 0

    def _send_once(self) -> None:
        session, _ = self.bound()
        wire = session.transport.wire
        self.act(
            wire.routes.add_records,
            params={wire.keys.format: "json"},
            body=upload.Once(bytes(self.buffer or b"")),
            headers={"Content-Type": "application/x-ndjson"},
        )

    def _has_grown(self, before: int, batch: int) -> bool:
        session, _ = self.bound()
        try:
            session.refresh_resource(self)
        except OrionError:
            return False  # the first failure is the one to report
        return self.count == before + batch

    def _contents(
        self,
        record_ids: Sequence[int] | None,
        offset: int | None,
        limit: int | None,
        form: str,
        fieldlist: Sequence[str] | None,
    ) -> Answered:
        session, own_id = self.bound()
        wire = session.transport.wire
        params: dict[str, object] = {
            wire.keys.format: form,
            wire.filters["offset"]: offset,
            wire.filters["limit"]: limit,
        }
        if record_ids is not None:
            params[wire.keys.record_ids] = ",".join(str(as_id(each)) for each in record_ids)
        if fieldlist is not None:
            params[wire.keys.fieldlist] = ",".join(fieldlist)
        return Answered(session.transport, wire.routes.download_dataset, {"id": own_id}, params)
