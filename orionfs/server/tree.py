"""The tree: finding what a path means, listing folders, making and removing them, placing items.

All functions take a connection inside a transaction, and the caller whose permissions count. Only
`place` and `unplace` change what ls and stat show; with a read lag, rows of the past stay behind for
as long as they may be seen.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

from orionfs.server.paths import (
    Caller,
    Kind,
    check_folder_name,
    is_listing_only,
    join_path,
    project_of_realm,
    split_path,
)
from orionfs.server.problems import bad_request, conflict, denied, not_found
from orionfs.server.rows import RECORD_COLUMNS, STATE_SQL, Json, Selection, make_row, path_in, tags_of
from orionfs.server.store import FOREVER, LATEST, Clock, Connection, Row, get_setting, new_id
from orionfs.server.switches import Switches

_FOLDER = Kind.FOLDER.value
_SHOWN = "p.shown_from <= :at AND p.hidden_from > :at"


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


def need_read(caller: Caller, realm: str) -> None:
    """Refusal 403 unless the caller may read what lies in this realm."""
    if realm not in caller.readable:
        raise denied("you may not read this")


def need_write(caller: Caller, realm: str) -> None:
    """Refusal 403 unless the caller may change what lies in this realm."""
    if realm not in caller.writable:
        raise denied("you may not change anything here")


def root_place(connection: Connection) -> Place:
    """The folder '/'."""
    return Place(get_setting(connection, "root_id"), "", True)


def walk(connection: Connection, names: tuple[str, ...], at: float = LATEST) -> list[Place]:
    """The folders along a path, from the root as far as they exist."""
    places = [root_place(connection)]
    for name in names:
        found = connection.execute(
            f"""SELECT r.id, r.realm, r.is_fixed FROM placement p JOIN resource r ON r.id = p.resource
                WHERE p.folder = :folder AND p.name = :name AND p.kind = '{_FOLDER}' AND {_SHOWN}""",
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
    need_read(caller, places[-1].realm)
    if len(places) <= len(names):
        raise not_found(f"there is no folder {path}")
    return places[-1]


def find(
    connection: Connection, caller: Caller, names: tuple[str, ...], rules: Rules, at: float = LATEST
) -> Row:
    """What a path means: a folder, else the newest item. Refusal 403, 404."""
    places = walk(connection, names, at)
    need_read(caller, places[-1].realm)
    if len(places) == len(names) + 1:
        return _record_of(connection, places[-1].id)
    depths = range(len(places), 0, -1) if rules.switches.is_on("slash_in_names") else [len(names)]
    for depth in depths:
        if depth <= len(places):
            item = _newest_item(connection, places[depth - 1].id, "/".join(names[depth - 1 :]), at)
            if item is not None:
                return item
    raise not_found(f"there is nothing at {join_path(names)}")


def _record_of(connection: Connection, resource_id: int) -> Row:
    found: Row = connection.execute(
        f"SELECT {RECORD_COLUMNS}, r.is_fixed FROM resource r WHERE r.id = ?", (resource_id,)
    ).fetchone()
    return found


def _newest_item(connection: Connection, folder_id: int, name: str, at: float) -> Row | None:
    found: Row | None = connection.execute(
        f"""SELECT {RECORD_COLUMNS}, r.is_fixed FROM placement p JOIN resource r ON r.id = p.resource
            WHERE p.folder = :folder AND p.name = :name AND p.kind != '{_FOLDER}' AND {_SHOWN}
            ORDER BY r.created DESC, r.id DESC LIMIT 1""",
        {"folder": folder_id, "name": name, "at": at},
    ).fetchone()
    return found


def stat(connection: Connection, caller: Caller, path: object, rules: Rules) -> Json:
    """The row of what is at `path`."""
    names = split_path(path)
    record = find(connection, caller, names, rules, rules.visible_at())
    return make_row(record, join_path(names), tags_of(connection, [record["id"]]).get(record["id"], ()))


def ls(
    connection: Connection, caller: Caller, path: object, selection: Selection, rules: Rules
) -> tuple[int, list[Json]]:
    """Total and one page of a folder. Refusal 404 for what is absent or may not be read, 400 for items."""
    names = split_path(path)
    at = rules.visible_at()
    places = walk(connection, names, at)
    if places[-1].realm not in caller.readable:
        raise not_found(f"there is no folder {path}")
    if len(places) <= len(names):
        find(connection, caller, names, rules, at)
        raise bad_request(f"{path} is no folder", "not_a_folder")
    count, records = _page(connection, caller, places[-1], selection, at)
    tags = tags_of(connection, [record["id"] for record in records])
    folder_path = join_path(names)
    return count, [
        make_row(record, path_in(folder_path, record["name"]), tags.get(record["id"], ()))
        for record in records
    ]


def _page(
    connection: Connection, caller: Caller, place: Place, selection: Selection, at: float
) -> tuple[int, list[Row]]:
    conditions, values = _conditions(caller, place, selection, at)
    count = connection.execute(f"SELECT count(*) FROM placement p WHERE {conditions}", values).fetchone()[0]
    order = {"id": "q.resource", "name": "q.name", "kind": "r.kind", "created": "r.created", "size": "r.size"}
    inner = selection.order_sql({**order, "id": "p.resource", "name": "p.name", "kind": "p.kind"})
    # Only these two orders need more of each candidate than the index of its folder holds.
    joined = "JOIN resource r ON r.id = p.resource" if selection.order_column in ("created", "size") else ""
    records = connection.execute(
        f"""SELECT r.id, r.kind, q.name, r.size, r.created, r.owner, r.project, {STATE_SQL} AS state,
                   NULL AS deleted, r.description, r.display_name
            FROM (SELECT p.resource, p.name FROM placement p {joined} WHERE {conditions}
                  ORDER BY {inner} LIMIT :limit OFFSET :offset) q
            JOIN resource r ON r.id = q.resource ORDER BY {selection.order_sql(order)}""",
        values,
    ).fetchall()
    return count, records


def _conditions(caller: Caller, place: Place, selection: Selection, at: float) -> tuple[str, dict[str, Any]]:
    """What rows of a listing fulfil, as SQL about `placement p`, and its values."""
    values: dict[str, Any] = {
        "folder": place.id,
        "at": at,
        "limit": selection.limit,
        "offset": selection.offset,
    }
    conditions = ["p.folder = :folder", _SHOWN]
    if selection.name is not None:
        conditions.append("p.name = :name")
        values["name"] = selection.name
    if selection.name_contains:
        conditions.append("instr(p.name, :part) > 0")
        values["part"] = selection.name_contains
    if selection.kinds is not None:
        conditions.append("p.kind IN (SELECT value FROM json_each(:kinds))")
        values["kinds"] = json.dumps(selection.kinds)
    if is_listing_only(place.realm):
        conditions.append(
            "p.resource IN (SELECT o.id FROM resource o WHERE o.folder = :folder"
            " AND o.realm IN (SELECT value FROM json_each(:realms)))"
        )
        values["realms"] = json.dumps(sorted(caller.readable))
    return " AND ".join(conditions), values


def equals_of(connection: Connection, record: Row) -> list[Row]:
    """Whatever else is shown under the name of this resource in its folder."""
    return connection.execute(
        f"""SELECT {RECORD_COLUMNS}, r.is_fixed FROM placement p JOIN resource r ON r.id = p.resource
            WHERE p.folder = :folder AND p.name = :name AND p.resource != :besides AND {_SHOWN}""",
        {"folder": record["folder"], "name": record["name"], "besides": record["id"], "at": LATEST},
    ).fetchall()


def create_folders(connection: Connection, caller: Caller, paths: list[object], rules: Rules) -> list[Json]:
    """Make folders, all or none. Refusal 409 for what exists, 404 for a missing parent."""
    return [_create_folder(connection, caller, path, rules) for path in paths]


def _create_folder(connection: Connection, caller: Caller, path: object, rules: Rules) -> Json:
    names = split_path(path)
    places = walk(connection, names)
    missing = len(names) + 1 - len(places)
    need_read(caller, places[-1].realm)
    if missing == 0 and rules.switches.is_on("create_existing"):
        return make_row(_record_of(connection, places[-1].id), join_path(names), ())
    if missing == 0:
        raise conflict(f"{path} exists", "exists")
    if missing > 1 and not rules.switches.is_on("create_parents"):
        raise not_found(f"there is no folder {join_path(names[:-1])}")
    need_write(caller, places[-1].realm)
    if missing == 1 and _newest_item(connection, places[-1].id, names[-1], LATEST) is not None:
        raise conflict(f"{path} exists", "exists")
    parent = places[-1]
    for name in names[-missing:]:
        parent = make_folder(connection, parent, check_folder_name(name), caller.user.id, rules)
    return make_row(_record_of(connection, parent.id), join_path(names), ())


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
        f"SELECT 1 FROM placement p WHERE p.folder = :folder AND p.name = :name AND {_SHOWN} {kinds}"
        " AND p.resource IS NOT :besides LIMIT 1",
        {"folder": folder_id, "name": name, "at": LATEST, "besides": besides},
    ).fetchone()
    return found is not None
