"""Loading trees into a site before it serves: the sample data of a demo, and `--import DIR`.

Bulk work: contents are written first, synced all at once, then recorded in one transaction per batch.
Importing again changes nothing: what is there with the same name, size and time is left alone.
"""

from __future__ import annotations

import io
import os
import shutil
import stat as stat_modes
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from orionfs.server.files import NewFile, insert_item
from orionfs.server.paths import (
    Caller,
    Kind,
    check_folder_name,
    check_item_name,
    is_unicode,
    join_path,
    project_of_realm,
)
from orionfs.server.permissions import Permission, need_at
from orionfs.server.problems import Refusal, ServeError
from orionfs.server.sample_content import sample_files
from orionfs.server.site import Site
from orionfs.server.store import Connection, get_setting, iso_time, put_setting
from orionfs.server.tags import add_tags
from orionfs.server.tree import Place, make_folder, walk
from orionfs.server.users_file import FIRST_USER

_BATCH = 500
_HOME = ("project", "1", "user", FIRST_USER)


@dataclass(frozen=True, slots=True)
class Load:
    """One thing to be loaded: a folder (no contents) or a file."""

    names: tuple[str, ...]
    open_content: Callable[[], BinaryIO] | None = None
    created: str | None = None
    size: int | None = None
    tags: tuple[str, ...] = ()


def load_sample(site: Site) -> None:
    """Load the sample data, once in the life of a data folder."""
    if site.database.read(lambda connection: get_setting(connection, "has_sample")):
        return
    loads = (Load(names, partial(io.BytesIO, content), tags=tags) for names, content, tags in sample_files())
    _load_all(site, loads, lambda connection: put_setting(connection, "has_sample", 1))


def import_tree(site: Site, directory: Path) -> None:
    """Load a local tree into the first user's folder; times of change become times of creation.

    Only folders and regular files; links and devices are left out. ServeError.
    """
    if not directory.is_dir():
        raise ServeError(f"{directory} is no directory that could be imported")
    _load_all(site, _loads_below(directory, _HOME))


def _loads_below(directory: Path, names: tuple[str, ...]) -> Iterator[Load]:
    with os.scandir(directory) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        if not is_unicode(entry.name):
            raise ServeError(f"{entry.path!r} can't be imported: no UTF-8 name")
        below = (*names, entry.name)
        status = entry.stat(follow_symlinks=False)
        if stat_modes.S_ISDIR(status.st_mode):
            yield Load(below)
            yield from _loads_below(directory / entry.name, below)
        elif stat_modes.S_ISREG(status.st_mode):
            path = directory / entry.name
            yield Load(
                below,
                partial(io.FileIO, path),
                iso_time(status.st_mtime_ns // 1000),
                status.st_size,
            )


def _load_all(
    site: Site, loads: Iterable[Load], finish: Callable[[Connection], None] = lambda _connection: None
) -> None:
    user = next(user for user in site.accounts.users.values() if user.name == FIRST_USER)
    caller = site.accounts.caller(user, "1")
    iterator = iter(loads)
    while batch := list(islice(iterator, _BATCH)):
        try:
            _load_batch(site, caller, batch, finish)
        except Refusal as error:
            raise ServeError(f"this can't be loaded: {error.detail}") from error


def _load_batch(site: Site, caller: Caller, batch: list[Load], finish: Callable[[Connection], None]) -> None:
    contents: dict[int, tuple[str, int]] = {}

    def record(connection: Connection) -> None:
        for number, load in enumerate(batch):
            if number in contents or load.open_content is None:
                _record(site, connection, caller, load, contents.get(number))
        finish(connection)

    def is_new(connection: Connection) -> list[bool]:
        return [load.open_content is not None and not _is_there(connection, load) for load in batch]

    for number, wanted in enumerate(site.database.read(is_new)):
        if wanted:
            contents[number] = _store_content(site, batch[number])
    os.sync()
    site.database.write(record)


def _is_there(connection: Connection, load: Load) -> bool:
    places = walk(connection, load.names[:-1])
    found = connection.execute(
        "SELECT 1 FROM placement p JOIN resource r ON r.id = p.resource"
        " WHERE p.folder = ? AND p.name = ? AND r.size IS ? AND r.created IS ?",
        (places[-1].id, load.names[-1], load.size, load.created),
    ).fetchone()
    return len(places) == len(load.names) and found is not None


def _store_content(site: Site, load: Load) -> tuple[str, int]:
    key = site.blobs.new_key()
    assert load.open_content is not None
    site.blobs.create(key, is_synced=False).close()
    try:
        with load.open_content() as source, site.blobs.path(key).open("wb") as target:
            shutil.copyfileobj(source, target, 1024 * 1024)
            return key, target.tell()
    except OSError as error:
        raise ServeError(f"{join_path(load.names)} can't be loaded: {error.strerror}") from error


def _record(
    site: Site, connection: Connection, caller: Caller, load: Load, content: tuple[str, int] | None
) -> None:
    place = _folder_at(site, connection, caller, load.names if content is None else load.names[:-1])
    if content is None:
        return
    key, size = content
    slash_allowed = site.rules.switches.is_on("slash_in_names")
    name = check_item_name(load.names[-1], slash_allowed=slash_allowed)
    new = NewFile(name, place, project_of_realm(place.realm))
    item = insert_item(
        connection,
        caller,
        Kind.FILE,
        new,
        site.rules,
        state="ready",
        size=size,
        key=key,
        created=load.created,
    )
    if load.tags:
        add_tags(connection, caller, Kind.FILE.value, item["id"], list(load.tags), None)


def _folder_at(site: Site, connection: Connection, caller: Caller, names: tuple[str, ...]) -> Place:
    places = walk(connection, names)
    place = places[-1]
    for name in names[len(places) - 1 :]:
        need_at(caller, place.realm, Permission.WRITE)
        place = make_folder(connection, place, check_folder_name(name), caller.user.id, site.rules)
    return place
