"""The one door to SQLite: connections, transactions, schema, ids and small settings of a data folder.

Used by every module that keeps metadata; they take a `Connection` from `Database.read` or
`Database.write` and never open one. One writer under a lock (WAL, synchronous=FULL: what `write` has
returned from survives a power cut); a few readers beside it. All calls block and are short: run them
in worker threads.
"""

from __future__ import annotations

import queue
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from orionfs.server.problems import ServeError

Connection = sqlite3.Connection
Row = sqlite3.Row
_T = TypeVar("_T")

_SCHEMA_VERSION = 2
_READERS = 4
_SQL_ID_MAX = 2**63 - 1

# Ids of shards are longer than what a double holds exactly, as on the platform.
FIRST_SHARD_ID = 2**60 + 1

# A row that is still shown is hidden "for ever" from now; SQLite compares this faster than NULL.
FOREVER = 1e18
# The moment at which a reader without lag looks: after every change, before FOREVER.
LATEST = 1e17

_SCHEMA = f"""
CREATE TABLE setting (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE account (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, default_project INTEGER NOT NULL,
    email TEXT NOT NULL DEFAULT '', first_name TEXT NOT NULL DEFAULT '',
    last_name TEXT NOT NULL DEFAULT '', capabilities TEXT NOT NULL DEFAULT '[]', password TEXT);
-- Keyed hashes of tokens. One that a token file holds does not expire.
CREATE TABLE token (
    hash BLOB PRIMARY KEY, account INTEGER NOT NULL, created_s REAL NOT NULL,
    is_in_file INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE project (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, owner INTEGER NOT NULL, created TEXT NOT NULL);
CREATE TABLE member (
    project INTEGER NOT NULL, account INTEGER NOT NULL, PRIMARY KEY (project, account)) WITHOUT ROWID;
CREATE TABLE workspace (
    project INTEGER NOT NULL, id INTEGER NOT NULL, name TEXT NOT NULL,
    PRIMARY KEY (project, id)) WITHOUT ROWID;
-- Who may enter a workspace; one without rows here is open to its whole project.
CREATE TABLE workspace_member (
    project INTEGER NOT NULL, workspace INTEGER NOT NULL, account INTEGER NOT NULL,
    PRIMARY KEY (project, workspace, account)) WITHOUT ROWID;

-- Truth about every resource. `folder` is where it lies (NULL: the root, and shards).
CREATE TABLE resource (
    id INTEGER PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL, folder INTEGER,
    realm TEXT NOT NULL, size INTEGER, created TEXT NOT NULL, owner INTEGER NOT NULL,
    project INTEGER, state TEXT NOT NULL, deleted TEXT, description TEXT NOT NULL DEFAULT '',
    blob TEXT, part_bytes INTEGER, is_fixed INTEGER NOT NULL DEFAULT 0, display_name TEXT,
    collection INTEGER, count INTEGER, metadata TEXT);
CREATE INDEX resource_of_folder ON resource (folder, kind);
CREATE INDEX resource_listed ON resource (kind, realm, id) WHERE deleted IS NULL;
CREATE INDEX resource_owned ON resource (kind, owner, id) WHERE deleted IS NULL;
CREATE INDEX resource_deleted ON resource (kind, deleted) WHERE deleted IS NOT NULL;
CREATE INDEX resource_of_collection ON resource (collection, id) WHERE collection IS NOT NULL;
CREATE INDEX resource_unfinished ON resource (state) WHERE state IN ('created', 'uploading');

-- What ls and stat show: complete resources at their places. Rows of the past stay while a read lag
-- may still show them.
CREATE TABLE placement (
    resource INTEGER NOT NULL, kind TEXT NOT NULL, folder INTEGER NOT NULL, name TEXT NOT NULL,
    shown_from REAL NOT NULL, hidden_from REAL NOT NULL);
CREATE INDEX placement_listed ON placement (folder, resource, hidden_from, shown_from);
CREATE INDEX placement_named ON placement (folder, name, hidden_from, shown_from, kind, resource);
CREATE INDEX placement_of_resource ON placement (resource);
CREATE INDEX placement_past ON placement (hidden_from) WHERE hidden_from < {FOREVER!r};

CREATE TABLE part (
    resource INTEGER NOT NULL, number INTEGER NOT NULL, size INTEGER NOT NULL,
    PRIMARY KEY (resource, number)) WITHOUT ROWID;
-- The same tag may be set in two projects; `project` 0 is that of no project.
CREATE TABLE tag (
    resource INTEGER NOT NULL, name TEXT NOT NULL, project INTEGER NOT NULL,
    is_system INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (resource, name, project)) WITHOUT ROWID;
CREATE INDEX tag_named ON tag (name, resource);
-- What a user or all members of a project (`holder`) may do with an item; bits of `Permission`.
CREATE TABLE share (
    resource INTEGER NOT NULL, holder_kind TEXT NOT NULL, holder INTEGER NOT NULL,
    permissions INTEGER NOT NULL, PRIMARY KEY (resource, holder_kind, holder)) WITHOUT ROWID;
CREATE INDEX share_of_holder ON share (holder_kind, holder, resource);
-- Where in its blob every few hundredth record of a dataset begins.
CREATE TABLE record_mark (
    dataset INTEGER NOT NULL, record INTEGER NOT NULL, offset INTEGER NOT NULL,
    PRIMARY KEY (dataset, record)) WITHOUT ROWID;
-- New contents of a shard on their way in parts.
CREATE TABLE upload (
    id INTEGER PRIMARY KEY, shard INTEGER NOT NULL UNIQUE, blob TEXT NOT NULL, size INTEGER NOT NULL,
    part_bytes INTEGER NOT NULL);
-- What a workfloe has besides its row as a resource; it lies in no folder.
CREATE TABLE workfloe (
    resource INTEGER PRIMARY KEY, uuid TEXT NOT NULL, title TEXT NOT NULL,
    specification TEXT NOT NULL);
"""

# How a data folder of an older version becomes one of the next, by the version that it has.
_MIGRATIONS = {
    1: f"""
ALTER TABLE account ADD COLUMN email TEXT NOT NULL DEFAULT '';
ALTER TABLE account ADD COLUMN first_name TEXT NOT NULL DEFAULT '';
ALTER TABLE account ADD COLUMN last_name TEXT NOT NULL DEFAULT '';
ALTER TABLE account ADD COLUMN capabilities TEXT NOT NULL DEFAULT '[]';
ALTER TABLE account ADD COLUMN password TEXT;
CREATE TABLE token (
    hash BLOB PRIMARY KEY, account INTEGER NOT NULL, created_s REAL NOT NULL,
    is_in_file INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO token SELECT token_hash, id, 0, 1 FROM account WHERE token_hash IS NOT NULL;
ALTER TABLE account DROP COLUMN token_hash;
CREATE TABLE workspace_member (
    project INTEGER NOT NULL, workspace INTEGER NOT NULL, account INTEGER NOT NULL,
    PRIMARY KEY (project, workspace, account)) WITHOUT ROWID;
DROP INDEX resource_of_folder;
CREATE INDEX resource_of_folder ON resource (folder, kind);
CREATE INDEX resource_owned ON resource (kind, owner, id) WHERE deleted IS NULL;
CREATE INDEX resource_deleted ON resource (kind, deleted) WHERE deleted IS NOT NULL;
ALTER TABLE tag RENAME TO old_tag;
CREATE TABLE tag (
    resource INTEGER NOT NULL, name TEXT NOT NULL, project INTEGER NOT NULL,
    is_system INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (resource, name, project)) WITHOUT ROWID;
INSERT INTO tag SELECT resource, name, coalesce(project, 0), 0 FROM old_tag;
DROP TABLE old_tag;
CREATE INDEX tag_named ON tag (name, resource);
CREATE TABLE share (
    resource INTEGER NOT NULL, holder_kind TEXT NOT NULL, holder INTEGER NOT NULL,
    permissions INTEGER NOT NULL, PRIMARY KEY (resource, holder_kind, holder)) WITHOUT ROWID;
CREATE INDEX share_of_holder ON share (holder_kind, holder, resource);
ALTER TABLE resource ADD COLUMN count INTEGER;
ALTER TABLE resource ADD COLUMN metadata TEXT;
UPDATE resource SET state = 'temporary' WHERE kind = 'shard' AND state = 'open' AND blob IS NOT NULL;
CREATE TABLE record_mark (
    dataset INTEGER NOT NULL, record INTEGER NOT NULL, offset INTEGER NOT NULL,
    PRIMARY KEY (dataset, record)) WITHOUT ROWID;
CREATE TABLE upload (
    id INTEGER PRIMARY KEY, shard INTEGER NOT NULL UNIQUE, blob TEXT NOT NULL, size INTEGER NOT NULL,
    part_bytes INTEGER NOT NULL);
CREATE TABLE workfloe (
    resource INTEGER PRIMARY KEY, uuid TEXT NOT NULL, title TEXT NOT NULL,
    specification TEXT NOT NULL);
INSERT OR IGNORE INTO setting VALUES ('next_shard_id', {FIRST_SHARD_ID});
""",
}


class Database:
    """Metadata of one data folder. `close` when no call is under way."""

    def __init__(self, path: Path) -> None:
        """Open or create; ServeError when the file is of another version or no database."""
        self._path = path
        self._lock = threading.Lock()
        self._readers: queue.LifoQueue[Connection] = queue.LifoQueue()
        path.touch(mode=0o600)
        try:
            self._writer = self._connect()
            self._prepare()
            for _ in range(_READERS):
                self._readers.put(self._connect())
        except sqlite3.Error as error:
            raise ServeError(f"the metadata in {path} can't be used: {error}") from error

    def read(self, work: Callable[[Connection], _T]) -> _T:
        """`work` on one consistent state; nothing it writes is allowed."""
        connection = self._readers.get()
        try:
            connection.execute("BEGIN")
            try:
                return work(connection)
            finally:
                connection.execute("COMMIT")
        finally:
            self._readers.put(connection)

    def write(self, work: Callable[[Connection], _T]) -> _T:
        """`work` in one transaction: on disk when this returns, undone when `work` raises."""
        with self._lock:
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                result = work(self._writer)
                self._writer.execute("COMMIT")
            except BaseException:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise
            return result

    def close(self) -> None:
        """Close all connections and fold the write-ahead log back."""
        while not self._readers.empty():
            self._readers.get().close()
        with self._lock:
            self._writer.close()

    def _connect(self) -> Connection:
        connection = sqlite3.connect(
            self._path, isolation_level=None, check_same_thread=False, cached_statements=256
        )
        # SQLite's own lower() knows ASCII only.
        connection.create_function("casefold", 1, str.casefold, deterministic=True)
        connection.row_factory = Row
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=5000", "cache_size=-16384"):
            connection.execute(f"PRAGMA {pragma}").fetchall()
        return connection

    def _prepare(self) -> None:
        version = self._writer.execute("PRAGMA user_version").fetchone()[0]
        while version in _MIGRATIONS:
            next_version = version + 1
            self._writer.executescript(
                f"BEGIN IMMEDIATE; {_MIGRATIONS[version]} PRAGMA user_version={next_version}; COMMIT;"
            )
            version = next_version
        if version == _SCHEMA_VERSION:
            return
        if version != 0:
            raise ServeError(f"the metadata in {self._path} is of another version ({version})")
        first_id = int(time.time()) * 1000 % 10**12
        self._writer.executescript(
            f"BEGIN IMMEDIATE; {_SCHEMA} "
            f"INSERT INTO setting VALUES ('next_id', {first_id}), ('next_shard_id', {FIRST_SHARD_ID}),"
            f" ('instance', '{uuid.uuid4().hex}');"
            f"PRAGMA user_version={_SCHEMA_VERSION}; COMMIT;"
        )


def new_id(connection: Connection) -> int:
    """The next id; one counter for all kinds of resources of a data folder."""
    row = connection.execute(
        "UPDATE setting SET value = value + 1 WHERE name = 'next_id' RETURNING value - 1"
    ).fetchone()
    return int(row[0])


def new_shard_id(connection: Connection) -> int:
    """The next id of a shard; a counter of their own, far above all others."""
    row = connection.execute(
        "UPDATE setting SET value = value + 1 WHERE name = 'next_shard_id' RETURNING value - 1"
    ).fetchone()
    return int(row[0])


def get_setting(connection: Connection, name: str) -> Any:
    """A setting's value or None."""
    row = connection.execute("SELECT value FROM setting WHERE name = ?", (name,)).fetchone()
    return None if row is None else row[0]


def put_setting(connection: Connection, name: str, value: str | int | bytes) -> None:
    """Set a setting."""
    connection.execute("INSERT OR REPLACE INTO setting VALUES (?, ?)", (name, value))


def is_sql_id(value: object) -> bool:
    """Whether `value` is a number that can be an id here at all."""
    return type(value) is int and 0 < value <= _SQL_ID_MAX


class Clock:
    """Times of creation: strictly rising within a run, so that the newest of two items is certain."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last_us = 0

    def now(self) -> str:
        """The time as `2026-08-22T10:11:12.123456Z`; texts of this form sort by time."""
        with self._lock:
            self._last_us = max(self._last_us + 1, time.time_ns() // 1000)
            return iso_time(self._last_us)


def iso_time(microseconds: int) -> str:
    """Microseconds since the epoch in the form of all times of the dialect."""
    seconds, rest = divmod(microseconds, 1_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:06d}Z"
