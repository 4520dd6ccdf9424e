"""Datasets: records that are appended until the dataset is finalized, then read in whole or in part.

A dataset's blob is its binary form: a first line, then one frame a record; what stands behind the
length that the record of the dataset knows was never acknowledged and is written over. Every few
hundred records a mark in the metadata says where one begins, so that any record is found by a few
skips. Functions with a connection run inside a transaction; those with a path or a writer block on the
disk and run in worker threads. No more than a record, or a MiB of them, is ever in memory.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from orionfs.server.blobs import Blobs, BlobWriter
from orionfs.server.files import NewFile, existing, get_item_to_change, insert_item
from orionfs.server.paths import Caller, Kind
from orionfs.server.problems import Refusal, conflict, not_found
from orionfs.server.record_formats import LENGTH_BYTES, MAGIC, Fields, decode_frame, encode_frame
from orionfs.server.record_writing import Record
from orionfs.server.rows import Json, make_rows
from orionfs.server.store import Connection, Row
from orionfs.server.tree import Rules

OPEN, READY = "open", "ready"
# Between two marks: skipping so many records costs less than looking a mark up.
MARK_EVERY = 256
_CHUNK_BYTES = 1024 * 1024

Mark = tuple[int, int]  # number of a record, counted from 1, and where its frame begins


@dataclass(frozen=True, slots=True)
class Contents:
    """The acknowledged records of a dataset: their blob, how long it is, how many they are."""

    key: str
    size_bytes: int
    count: int
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True, slots=True)
class Wanted:
    """Records to be read: those of `ids`, or `limit` of them behind the first `offset`."""

    offset: int = 0
    limit: int | None = None
    ids: tuple[int, ...] | None = None

    def numbers(self, count: int, records_max: int) -> Sequence[int]:
        """Ids of the records of a dataset with `count` of them. Refusal 404, 413."""
        numbers: Sequence[int]
        if self.ids is None:
            last = count if self.limit is None else min(count, self.offset + self.limit)
            numbers = range(self.offset + 1, last + 1)
        else:
            numbers = self.ids
            for number in self.ids:
                if not 1 <= number <= count:
                    raise not_found(f"there is no record {number}: ids of records are 1 to {count}")
        if len(numbers) > records_max:
            raise Refusal(
                413, "dimensions_too_large", f"at most {records_max} records at once, not {len(numbers)}"
            )
        return numbers


def new_contents(blobs: Blobs, records: Iterable[Fields] = ()) -> Contents:
    """Records in a new blob, on disk; nothing stays when this raises. Refusal 422 `bad_record`."""
    key = blobs.new_key()
    try:
        with blobs.create(key) as writer:
            writer.write([MAGIC])
            return append_frames(writer, records, Contents(key, len(MAGIC), 0))
    except BaseException:
        blobs.remove([key])
        raise


def append_frames(writer: BlobWriter, records: Iterable[Fields], before: Contents) -> Contents:
    """Write records behind those of `before`, where `writer` stands: all contents, with the new marks.

    On disk when this returns. Refusal 422 `bad_record`, counted from the first of these records on.
    """
    size, count = before.size_bytes, before.count
    marks: list[Mark] = []

    def frames() -> Iterator[bytes]:
        nonlocal size, count
        for position, fields in enumerate(records, start=1):
            count += 1
            if count % MARK_EVERY == 1:
                marks.append((count, size))
            frame = encode_frame(count, fields, position)
            size += len(frame)
            yield frame

    writer.write_all(frames())
    writer.commit()
    return Contents(before.key, size, count, tuple(marks))


def insert_dataset(
    connection: Connection, caller: Caller, new: NewFile, contents: Contents, state: str, rules: Rules
) -> Json:
    """A new dataset with the records of these contents."""
    record = insert_item(
        connection, caller, Kind.DATASET, new, rules, state=state, size=contents.size_bytes, key=contents.key
    )
    keep_contents(connection, record["id"], contents)
    return row_of(connection, record["id"])


def row_of(connection: Connection, dataset_id: int) -> Json:
    """The complete row of a dataset that is known to be there."""
    return make_rows(connection, [existing(connection, dataset_id)])[0]


def keep_contents(connection: Connection, dataset_id: int, contents: Contents) -> None:
    """Acknowledge records that are on disk."""
    connection.execute(
        "UPDATE resource SET size = ?, count = ? WHERE id = ?",
        (contents.size_bytes, contents.count, dataset_id),
    )
    connection.executemany(
        "INSERT INTO record_mark (dataset, record, offset) VALUES (?, ?, ?)",
        [(dataset_id, number, offset) for number, offset in contents.marks],
    )


def contents_of(connection: Connection, record: Row) -> Contents:
    """The contents of a dataset with all their marks."""
    found = connection.execute(
        "SELECT record, offset FROM record_mark WHERE dataset = ? ORDER BY record", (record["id"],)
    )
    marks = tuple((row[0], row[1]) for row in found)
    return Contents(record["blob"], record["size"], record["count"], marks)


def get_open(connection: Connection, caller: Caller, dataset_id: int) -> Row:
    """The record of a dataset that the caller may append to. Refusal 404, 403, 409."""
    record = get_item_to_change(connection, caller, Kind.DATASET, dataset_id)
    if record["state"] != OPEN:
        raise conflict(f"dataset {dataset_id} is finalized", "finalized")
    return record


def acknowledge(connection: Connection, caller: Caller, dataset_id: int, contents: Contents) -> Json:
    """Make appended records part of a dataset that is still open. Refusal 404, 403, 409."""
    get_open(connection, caller, dataset_id)
    keep_contents(connection, dataset_id, contents)
    return row_of(connection, dataset_id)


def finalize(connection: Connection, caller: Caller, dataset_id: int) -> Json:
    """End the appending; harmless when it has ended already. Refusal 404, 403."""
    get_item_to_change(connection, caller, Kind.DATASET, dataset_id)
    connection.execute("UPDATE resource SET state = ? WHERE id = ?", (READY, dataset_id))
    return row_of(connection, dataset_id)


def read_numbers(path: Path, contents: Contents, numbers: Sequence[int]) -> Iterator[Record]:
    """The records of these ids, in this order."""
    with path.open("rb", buffering=_CHUNK_BYTES) as stream:
        here = 0  # the record whose frame comes next; 0: nobody knows
        for number in numbers:
            if number != here:
                _go_to(stream, contents.marks, number)
            yield number, decode_frame(stream.read(_length(stream)))
            here = number + 1


def _go_to(stream: BinaryIO, marks: tuple[Mark, ...], number: int) -> None:
    marked, offset = marks[bisect_right(marks, (number, 2**63)) - 1]
    stream.seek(offset)
    for _ in range(number - marked):
        stream.seek(_length(stream), os.SEEK_CUR)


def _length(stream: BinaryIO) -> int:
    return int.from_bytes(stream.read(LENGTH_BYTES), "big")
