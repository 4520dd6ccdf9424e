"""A look into the journal of another daemon, living or dead, that changes nothing there.

Knows what the tables of `journal` are called; must not open one to write.
"""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from pathlib import Path

from orionfs.durable.local_rows import LocalRows
from orionfs.durable.promises import Glimpse

log = logging.getLogger(__name__)


def look_into(path: Path) -> Glimpse:
    """Look into a journal that is another daemon's; one that can't be read shows nothing."""
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=10)) as db:
            counts = (
                db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
                for table in ("uploads WHERE step <> 'local'", "removals", "relocations")
            )
            staged = db.execute("SELECT staged, size_bytes FROM uploads")
            return Glimpse(sum(counts), LocalRows(db).all(), dict(staged.fetchall()))
    except sqlite3.Error as error:
        log.info("%s can't be looked into: %s", path, error)
        return Glimpse(0, {})
