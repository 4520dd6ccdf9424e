"""What one running server consists of; opened by `open_site`, handed to all routes.

The composition of store, blobs, accounts, switches and secrets of one data folder, and the lock that
keeps a second server out of it.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from orionfs import __version__
from orionfs.server.accounts import Accounts, forget_expired, issue_tokens, load_accounts
from orionfs.server.blobs import Blobs, Seals
from orionfs.server.files import purge
from orionfs.server.founding import set_up
from orionfs.server.habits import BusyTries
from orionfs.server.problems import ServeError
from orionfs.server.signing import Signer, load_key
from orionfs.server.store import Clock, Connection, Database, get_setting
from orionfs.server.switches import Switches
from orionfs.server.tree import Rules, forget_past
from orionfs.server.users_file import FIRST_USER, UsersFile, read_users_file

_UNFINISHED_KEPT = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Site:
    """Everything a route may use."""

    database: Database
    blobs: Blobs
    seals: Seals
    rules: Rules
    signer: Signer
    accounts: Accounts
    instance: str
    version: str
    busy: BusyTries = field(default_factory=BusyTries)
    # Hashing a password is slow and takes 16 MiB: two cores' worth at once.
    password_checks: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(2))


@contextmanager
def open_site(data: Path, token_file: Path, users: Path | None, switches: Switches) -> Iterator[Site]:
    """Open or create a data folder, locked for as long as the block runs. ServeError."""
    with _locked(data):
        rules = Rules(switches, Clock())
        signer = Signer(load_key(data / "secret.key"), switches.url_lifetime_s)
        lifetime_s = switches.token_lifetime_s
        users_file = read_users_file(users) if users is not None else UsersFile()
        token_files = {
            entry.name: entry.token_file.absolute() for entry in users_file.users if entry.token_file
        }
        token_files.setdefault(FIRST_USER, token_file.absolute())
        with closing(Database(data / "metadata.sqlite3")) as database:
            blobs = Blobs(data / "blobs")
            database.write(lambda connection: set_up(connection, users_file, rules))
            database.write(lambda connection: issue_tokens(connection, token_files, signer))
            database.write(lambda connection: forget_expired(connection, lifetime_s))
            _clean(database, blobs, rules)
            accounts = database.read(lambda connection: load_accounts(connection, signer, lifetime_s))
            instance = database.read(lambda connection: str(get_setting(connection, "instance")))
            yield Site(database, blobs, Seals(), rules, signer, accounts, instance, __version__)


@contextmanager
def _locked(data: Path) -> Iterator[None]:
    try:
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(data / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ServeError(f"the data folder {data} can't be used: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(descriptor)
        raise ServeError(f"another server runs on the data folder {data}") from error
    try:
        yield
    finally:
        os.close(descriptor)


def _clean(database: Database, blobs: Blobs, rules: Rules) -> None:
    """Drop abandoned uploads and contents that no resource carries."""
    limit = f"{datetime.now(UTC) - _UNFINISHED_KEPT:%Y-%m-%dT%H:%M:%S}"

    def drop_abandoned(connection: Connection) -> None:
        forget_past(connection)
        abandoned = connection.execute(
            "SELECT id FROM resource WHERE state IN ('created', 'uploading') AND created < ?", (limit,)
        ).fetchall()
        purge(connection, [row["id"] for row in abandoned], rules)

    def known_keys(connection: Connection) -> set[str]:
        return {
            row[0]
            for row in connection.execute(
                "SELECT blob FROM resource WHERE blob IS NOT NULL UNION ALL SELECT blob FROM upload"
            )
        }

    database.write(drop_abandoned)
    blobs.remove_strays(database.read(known_keys))
