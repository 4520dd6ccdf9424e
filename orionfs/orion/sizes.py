"""Sizes that were asked for once, kept on the disk for all mounts of one account.

Contents under an id never change, so a size holds for ever: of Files and of ready shards. It lies beside the
content cache, is safe to delete, and what is wrong with it costs requests, never an error. Blocking: callers
run it in a thread, one call at a time. One table; must not know sessions or inodes.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from orionfs.models import Key
from orionfs.private import make_private

log = logging.getLogger(__name__)

_SCHEMA = """CREATE TABLE IF NOT EXISTS sizes (
    kind TEXT NOT NULL, part INTEGER NOT NULL, id INTEGER NOT NULL,  -- part: 0 for none
    size INTEGER NOT NULL, created_ns INTEGER NOT NULL,
    PRIMARY KEY (kind, part, id)
) STRICT, WITHOUT ROWID"""
_ASKED_AT_ONCE = 500
_KEPT_MAX = 5_000_000  # some 40 bytes each


class Told(NamedTuple):
    """What Orion once said of a version."""

    size: int
    created_ns: int


class SizeStore:
    """The sizes of one account on one stack."""

    def __init__(self, folder: Path, stack: str, account: str, *, on_network_disk: bool = False) -> None:
        """`folder` is that of the content cache; WAL does not work on network filesystems."""
        digest = hashlib.blake2b(f"{stack}\0{account}".encode(), digest_size=12).hexdigest()
        self._path = folder / f"sizes-{digest}.db"
        self._mode = "DELETE" if on_network_disk else "WAL"
        self._lock = threading.Lock()
        self._db: sqlite3.Connection | None = None
        try:
            make_private(folder)
            self._db = self._opened()
        except (OSError, sqlite3.Error) as error:
            log.info("sizes are not kept on the disk: %s", error)

    def get(self, keys: Sequence[Key]) -> dict[Key, Told]:
        """What is kept of these versions."""
        found: dict[Key, Told] = {}
        with self._used() as db:
            for start in range(0, len(keys) if db else 0, _ASKED_AT_ONCE):
                assert db is not None
                found.update(_kept_of(db, keys[start : start + _ASKED_AT_ONCE]))
        return found

    def put(self, told: Iterable[tuple[Key, Told]]) -> None:
        """Keep what was told."""
        with self._used() as db:
            if db is not None:
                rows = [(*_columns(key), *each) for key, each in told]
                db.executemany("INSERT OR REPLACE INTO sizes VALUES (?, ?, ?, ?, ?)", rows)
                db.commit()

    def close(self) -> None:
        with self._lock:
            if self._db is not None:
                self._db.close()
                self._db = None

    def _opened(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, check_same_thread=False, timeout=5)
        self._path.chmod(0o600)
        db.execute(f"PRAGMA journal_mode = {self._mode}")
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute(_SCHEMA)
        if db.execute("SELECT count(*) FROM sizes").fetchone()[0] > _KEPT_MAX:
            db.execute("DELETE FROM sizes")
        db.commit()
        return db

    @contextlib.contextmanager
    def _used(self) -> Iterator[sqlite3.Connection | None]:
        with self._lock:
            try:
                yield self._db
            except sqlite3.Error as error:
                log.info("sizes are not kept on the disk any more: %s", error)
                self._db = None


def _kept_of(db: sqlite3.Connection, keys: Sequence[Key]) -> dict[Key, Told]:
    by_columns = {_columns(key): key for key in keys}
    places = ",".join(["(?, ?, ?)"] * len(by_columns))
    values = [value for columns in by_columns for value in columns]
    rows = db.execute(f"SELECT * FROM sizes WHERE (kind, part, id) IN (VALUES {places})", values)
    return {by_columns[row[:3]]: Told(*row[3:]) for row in rows}


def _columns(key: Key) -> tuple[str, int, int]:
    return key.kind.value, key.part or 0, key.id
