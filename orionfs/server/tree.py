"""The tree: finding what a path means, making folders, placing items.

All functions take a connection inside a transaction, and the caller whose permissions count. Only
`place` and `unplace` change what ls and stat show; with a read lag, rows of the past stay behind for
as long as they may be seen.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from orionfs.server.marks import NO_TAGS, mark_new, tags_of
from orionfs.server.paths import (
    Caller,
    Kind,
    check_folder_name,
    join_path,
    project_of_realm,
    split_path,
)
from orionfs.server.permissions import Permission, granted, need_at
from orionfs.server.problems import conflict, not_found
from orionfs.server.rows import RECORD_COLUMNS, Json, make_row
from orionfs.server.store import FOREVER, LATEST, Clock, Connection, Row, get_setting, new_id
from orionfs.server.switches import Switches

_FOLDER = Kind.FOLDER.value
# What is placed at a moment, as a condition about `placement p`.
SHOWN = "p.shown_from <= :at AND p.hidden_from > :at"


@dataclass(frozen=True, slots=True)
class Place:
    """A folder: its id, the realm whose permissions hold in it, whether it is part of the fixed tree."""

    id: int
    realm: str
    is_fixed: bool


@dataclass(frozen=True, slots=True)
class Rules:
    """What the tree's behaviour depends on besides its contents."""

    switches: Switches
    clock: Clock

    def visible_at(self) -> float:
        """The moment whose state listings and stat show."""
        lag_s = self.switches.read_lag_s
        return time.time() - lag_s if lag_s else LATEST


def root_place(connection: Connection) -> Place:
    """The folder '/'."""
    return Place(get_setting(connection, "root_id"), "", True)


def walk(connection: Connection, names: tuple[str, ...], at: float = LATEST) -> list[Place]:
    """The folders along a path, from the root as far as they exist."""
    places = [root_place(connection)]
    for name in names:
        found = connection.execute(
            f"""SELECT r.id, r.realm, r.is_fixed FROM placement p JOIN resource r ON r.id = p.resource
                WHERE p.folder = :folder AND p.name = :name AND p.kind = '{_FOLDER}' AND {SHOWN}""",
            {"folder": places[-1].id, "name": name, "at": at},
        ).fetchone()
        if found is None:
            break
        places.append(Place(found["id"], found["realm"], bool(found["is_fixed"])))
    return places


def find_folder(connection: Connection, caller: Caller, path: object) -> Place:
    """The folder at `path`; Refusal 403 where the caller may not look, 404 when there is none."""
    names = split_path(path)
    places = walk(connection, names)
    need_at(caller, places[-1].realm, Permission.READ)
    if len(places) <= len(names):
        raise not_found(f"there is no folder {path}")
    return places[-1]


def find(
    connection: Connection, caller: Caller, names: tuple[str, ...], rules: Rules, at: float = LATEST
) -> Row:
    """What a path means: a folder, else the newest item. Refusal 403, 404.

    An item that the caller may read by a share is found where the caller may see nothing else.
    """
    places = walk(connection, names, at)
    if len(places) == len(names) + 1:
        need_at(caller, places[-1].realm, Permission.READ)
        return _record_of(connection, places[-1].id)
    item = _item_below(connection, places, names, rules, at)
    if item is None or not granted(connection, caller, item):
        # Whether there is anything is not for those who may not look.
        need_at(caller, places[-1].realm, Permission.READ)
    if item is None:
        raise not_found(f"there is nothing at {join_path(names)}")
    return item


def _item_below(
    connection: Connection, places: list[Place], names: tuple[str, ...], rules: Rules, at: float
) -> Row | None:
    depths = range(len(places), 0, -1) if rules.switches.is_on("slash_in_names") else [len(names)]
    for depth in depths:
        if depth <= len(places):
            item = _newest_item(connection, places[depth - 1].id, "/".join(names[depth - 1 :]), at)
            if item is not None:
                return item
    return None


def _record_of(connection: Connection, resource_id: int) -> Row:
    found: Row = connection.execute(
        f"SELECT {RECORD_COLUMNS}, r.is_fixed FROM resource r WHERE r.id = ?", (resource_id,)
    ).fetchone()
    return found


def _newest_item(connection: Connection, folder_id: int, name: str, at: float) -> Row | None:
    found: Row | None = connection.execute(
        f"""SELECT {RECORD_COLUMNS}, r.is_fixed FROM placement p JOIN resource r ON r.id = p.resource
            WHERE p.folder = :folder AND p.name = :name AND p.kind != '{_FOLDER}' AND {SHOWN}
            ORDER BY r.created DESC, r.id DESC LIMIT 1""",
        {"folder": folder_id, "name": name, "at": at},
    ).fetchone()
    return found


def stat(connection: Connection, caller: Caller, path: object, rules: Rules) -> Json:
    """The row of what is at `path`."""
    names = split_path(path)
    record = find(connection, caller, names, rules, rules.visible_at())
    return make_row(record, join_path(names), tags_of(connection, [record["id"]]).get(record["id"], NO_TAGS))


def equals_of(connection: Connection, record: Row) -> list[Row]:
    """Whatever else is shown under the name of this resource in its folder."""
    return connection.execute(
        f"""SELECT {RECORD_COLUMNS}, r.is_fixed FROM placement p JOIN resource r ON r.id = p.resource
            WHERE p.folder = :folder AND p.name = :name AND p.resource != :besides AND {SHOWN}""",
        {"folder": record["folder"], "name": record["name"], "besides": record["id"], "at": LATEST},
    ).fetchall()


def create_folders(connection: Connection, caller: Caller, paths: list[object], rules: Rules) -> list[Json]:
    """Make folders, all or none. Refusal 409 for what exists, 404 for a missing parent."""
    return [_create_folder(connection, caller, path, rules) for path in paths]


def _create_folder(connection: Connection, caller: Caller, path: object, rules: Rules) -> Json:
    names = split_path(path)
    places = walk(connection, names)
    missing = len(names) + 1 - len(places)
    need_at(caller, places[-1].realm, Permission.READ)
    if missing == 0 and rules.switches.is_on("create_existing"):
        return make_row(_record_of(connection, places[-1].id), join_path(names), NO_TAGS)
    if missing == 0:
        raise conflict(f"{path} exists", "exists")
    if missing > 1 and not rules.switches.is_on("create_parents"):
        raise not_found(f"there is no folder {join_path(names[:-1])}")
    need_at(caller, places[-1].realm, Permission.WRITE)
    if missing == 1 and _newest_item(connection, places[-1].id, names[-1], LATEST) is not None:
        raise conflict(f"{path} exists", "exists")
    parent = places[-1]
    for name in names[-missing:]:
        parent = make_folder(connection, parent, check_folder_name(name), caller.user.id, rules)
        mark_new(connection, caller, parent.id)
    tags = tags_of(connection, [parent.id]).get(parent.id, NO_TAGS)
    return make_row(_record_of(connection, parent.id), join_path(names), tags)


def make_folder(
    connection: Connection,
    parent: Place,
    name: str,
    owner: int,
    rules: Rules,
    *,
    realm: str | None = None,
    is_fixed: bool = False,
    display_name: str | None = None,
) -> Place:
    """A folder in `parent`, whose name is known to be free there."""
    place = Place(new_id(connection), parent.realm if realm is None else realm, is_fixed)
    connection.execute(
        "INSERT INTO resource (id, kind, name, folder, realm, created, owner, project, state, is_fixed,"
        " display_name) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'ready', ?, ?)",
        (
            place.id,
            _FOLDER,
            name,
            parent.id,
            place.realm,
            rules.clock.now(),
            owner,
            project_of_realm(place.realm),
            is_fixed,
            display_name,
        ),
    )
    place_resource(connection, place.id, Kind.FOLDER, parent.id, name)
    return place


def place_resource(
    connection: Connection, resource_id: int, kind: Kind, folder_id: int, name: str, at: float | None = None
) -> None:
    """Show a resource, which is shown nowhere yet, at a place from `at` (now) on."""
    connection.execute(
        "INSERT INTO placement (resource, kind, folder, name, shown_from, hidden_from)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (resource_id, kind.value, folder_id, name, time.time() if at is None else at, FOREVER),
    )


def unplace_resource(connection: Connection, resource_id: int, rules: Rules, at: float) -> None:
    """Show a resource nowhere from `at` on."""
    lag_s = rules.switches.read_lag_s
    if not lag_s:
        connection.execute("DELETE FROM placement WHERE resource = ?", (resource_id,))
        return
    connection.execute(
        "UPDATE placement SET hidden_from = ? WHERE resource = ? AND hidden_from = ?",
        (at, resource_id, FOREVER),
    )
    connection.execute("DELETE FROM placement WHERE hidden_from < ?", (at - lag_s - 60,))


def show_all(connection: Connection) -> None:
    """Show everything that is placed by now at once, whatever the read lag: a server starts with it."""
    connection.execute("UPDATE placement SET shown_from = 0 WHERE shown_from != 0")


def forget_past(connection: Connection) -> None:
    """Drop the rows that only a read lag of an earlier run could have shown."""
    connection.execute(f"DELETE FROM placement WHERE hidden_from < {FOREVER!r}")


def name_is_taken(
    connection: Connection,
    folder_id: int,
    name: str,
    *,
    folders_only: bool = False,
    besides: int | None = None,
) -> bool:
    """Whether something else is shown under this name."""
    kinds = f"AND p.kind = '{_FOLDER}'" if folders_only else ""
    found = connection.execute(
        f"SELECT 1 FROM placement p WHERE p.folder = :folder AND p.name = :name AND {SHOWN} {kinds}"
        " AND p.resource IS NOT :besides LIMIT 1",
        {"folder": folder_id, "name": name, "at": LATEST, "besides": besides},
    ).fetchone()
    return found is not None
