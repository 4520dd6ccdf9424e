"""Contents that come in parts: what is missing, where a part goes, when they are whole.

An upload belongs to a file that is not complete yet, whose record it is, or holds new contents of a
shard (table `upload`), which keeps those it has until the new ones are complete. A file may be begun
before anybody knows how long it gets: its record has no size until it is complete. Functions over a
connection inside a transaction; who may do it is for their callers to ask.
"""

from __future__ import annotations

from dataclasses import dataclass

from orionfs.server.paths import Kind
from orionfs.server.problems import conflict, invalid, not_found, too_large
from orionfs.server.rows import PROCESSING, READY, get_record
from orionfs.server.store import Connection, Row, new_id

OPEN_PARTS_AT_ONCE = 64
"""Of how many parts an upload tells the addresses at first where nobody knows how many there will be."""

_OPEN_PARTS_MAX = 2**31


@dataclass(frozen=True, slots=True)
class Upload:
    """Contents under way; `owner` names what they are for, for people. No size: its end is open."""

    id: int
    key: str
    size_bytes: int | None
    part_bytes: int
    owner: str
    is_complete: bool = False

    @property
    def part_count(self) -> int | None:
        """How many parts there are: none for empty contents; None while nobody knows."""
        return None if self.size_bytes is None else -(-self.size_bytes // self.part_bytes)

    @property
    def numbers_at_first(self) -> range:
        """The parts whose addresses are told without being asked for."""
        count = self.part_count
        return range(1, 1 + (OPEN_PARTS_AT_ONCE if count is None else count))

    def check_numbers(self, numbers: object) -> list[int]:
        """Part numbers. Refusal 409 when the upload is complete, 422."""
        if self.is_complete:
            raise conflict(f"{self.owner} is complete", "complete")
        if not isinstance(numbers, list) or not all(type(number) is int for number in numbers):
            raise invalid("numbers is a list of whole numbers")
        count = self.part_count
        last = _OPEN_PARTS_MAX if count is None else count
        if not all(1 <= number <= last for number in numbers):
            raise invalid(f"parts have the numbers 1 to {last}")
        return numbers


@dataclass(frozen=True, slots=True)
class PartTarget:
    """Where the bytes of one part go."""

    key: str
    offset: int
    size_bytes: int


def upload_of_file(record: Row) -> Upload | None:
    """The upload that a file is or was; None for one that came in a single request."""
    if record["part_bytes"] is None:
        return None
    return Upload(
        record["id"],
        record["blob"],
        record["size"],
        record["part_bytes"],
        f"file {record['id']}",
        record["state"] in (READY, PROCESSING),
    )


def upload_of_shard(connection: Connection, shard_id: int) -> Upload | None:
    """New contents of a shard under way, if there are any."""
    found = connection.execute("SELECT * FROM upload WHERE shard = ?", (shard_id,)).fetchone()
    return None if found is None else _upload(found)


def begin_shard_upload(
    connection: Connection, shard_id: int, key: str, size_bytes: int, part_bytes: int, created: str
) -> Upload:
    """New contents for a shard that has none under way."""
    number = new_id(connection)
    connection.execute(
        "INSERT INTO upload (id, shard, blob, size, part_bytes, created) VALUES (?, ?, ?, ?, ?, ?)",
        (number, shard_id, key, size_bytes, part_bytes, created),
    )
    return Upload(number, key, size_bytes, part_bytes, f"shard {shard_id}")


def forget_shard_upload(connection: Connection, shard_id: int) -> list[str]:
    """Give up what is under way for a shard. Returns the keys of blobs that nobody needs any more."""
    upload = upload_of_shard(connection, shard_id)
    if upload is None:
        return []
    connection.execute("DELETE FROM part WHERE resource = ?", (upload.id,))
    connection.execute("DELETE FROM upload WHERE id = ?", (upload.id,))
    return [upload.key]


def forget_shard_uploads_before(connection: Connection, limit: str) -> None:
    """Give up whatever was begun for shards before this time; its blobs are strays from then on."""
    begun = connection.execute("SELECT shard FROM upload WHERE created < ?", (limit,)).fetchall()
    for (shard_id,) in begun:
        forget_shard_upload(connection, shard_id)


def begin_part(connection: Connection, upload_id: int, number: int, limit_bytes: int) -> PartTarget:
    """Where part `number` goes; it counts as missing until `end_part`. Refusal 404, 409, 413, 422.

    Contents with an open end may get as long as `limit_bytes`.
    """
    upload = _get_upload(connection, upload_id)
    upload.check_numbers([number])
    offset = (number - 1) * upload.part_bytes
    end = limit_bytes if upload.size_bytes is None else upload.size_bytes
    if offset >= end:
        raise too_large(f"files have at most {limit_bytes} bytes")
    connection.execute("DELETE FROM part WHERE resource = ? AND number = ?", (upload_id, number))
    return PartTarget(upload.key, offset, min(upload.part_bytes, end - offset))


def end_part(connection: Connection, upload_id: int, number: int, size_bytes: int) -> None:
    """Part `number` is on disk. Refusal 404, 409 when the upload ended meanwhile."""
    _get_upload(connection, upload_id).check_numbers([number])
    connection.execute("INSERT OR REPLACE INTO part VALUES (?, ?, ?)", (upload_id, number, size_bytes))
    connection.execute(
        "UPDATE resource SET state = 'uploading' WHERE id = ? AND state = 'created'", (upload_id,)
    )


def check_part_count(upload: Upload, parts: object) -> int:
    """`parts` as the number of parts of an upload. Refusal 422, 409."""
    if type(parts) is not int:
        raise invalid("parts is the number of parts")
    if parts != upload.part_count:
        raise conflict(f"{upload.owner} has {upload.part_count} parts, not {parts}", "parts_missing")
    return parts


def need_all_parts(connection: Connection, upload: Upload) -> int:
    """How many bytes the parts are. Refusal 409 unless every part is here whole, and none beyond the end."""
    assert upload.size_bytes is not None
    received = connection.execute(
        "SELECT count(*), coalesce(sum(size), 0), coalesce(sum(size = min(?, ? - (number - 1) * ?)), 0)"
        " FROM part WHERE resource = ?",
        (upload.part_bytes, upload.size_bytes, upload.part_bytes, upload.id),
    ).fetchone()
    if tuple(received) != (upload.part_count, upload.size_bytes, upload.part_count):
        raise conflict(
            f"{received[2]} of {upload.part_count} parts are whole, and {received[0]} with {received[1]}"
            f" of {upload.size_bytes} bytes have arrived",
            "parts_missing",
        )
    return upload.size_bytes


def _get_upload(connection: Connection, upload_id: int) -> Upload:
    record = get_record(connection, upload_id)
    upload: Upload | None = None
    if record is None:
        found = connection.execute("SELECT * FROM upload WHERE id = ?", (upload_id,)).fetchone()
        upload = None if found is None else _upload(found)
    elif record["kind"] == Kind.FILE.value and not record["deleted"]:
        upload = upload_of_file(record)
    if upload is None:
        raise not_found(f"there is no upload {upload_id}")
    return upload


def _upload(found: Row) -> Upload:
    return Upload(found["id"], found["blob"], found["size"], found["part_bytes"], f"shard {found['shard']}")
