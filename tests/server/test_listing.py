"""Filters, order and pages of listings against a plain Python model, on a site without HTTP."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from orionfs.server import files, listing
from orionfs.server.filters import Selection, parse_selection
from orionfs.server.paths import Kind
from orionfs.server.permissions import Permission
from orionfs.server.problems import Refusal
from orionfs.server.site import Site, open_site
from orionfs.server.store import iso_time
from orionfs.server.switches import Switches
from orionfs.server.tree import create_folders

HOME = "/project/1/user/demo"
NAMES = ("Hit", "hit-1", "HIT ÄÖ", "hit äö", "other", "O", "straße")
TAGS = ("lead", "Lead", "leader", "PDB: 1abc", "a,b")
JOBS = ("Job 1", "Job 12")
FOLDERS = (HOME, f"{HOME}/Hits", f"{HOME}/Hits/deep", "/project/1/team", "/organization")
STATES = ("ready", "created", "open")


@dataclasses.dataclass
class Item:
    """What the model knows of one item."""

    id: int
    kind: str
    name: str
    folder: str
    size: int
    created: str
    state: str
    owner: str
    deleted_days: int | None
    tags: tuple[str, ...]
    systemtags: tuple[str, ...]

    @property
    def path(self) -> str:
        return f"{self.folder}/{self.name}"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, list[Item]]]:
    """A site with items of every sort; user demo may read them all."""
    folder = tmp_path_factory.mktemp("listing")
    with open_site(folder / "data", folder / "token", None, Switches()) as site:
        yield site, site.database.write(lambda connection: _populate(site, connection))


def caller_of(site: Site, name: str = "demo") -> Any:
    user = next(user for user in site.accounts.users.values() if user.name == name)
    return site.accounts.caller(user, None)


def _populate(site: Site, connection: Any) -> list[Item]:
    caller = caller_of(site)
    create_folders(connection, caller, list(FOLDERS[1:3]), site.rules)
    connection.execute("INSERT INTO account (id, name, default_project) VALUES (77, 'gone', 1)")
    items = []
    for number in range(120):
        kind = (Kind.FILE, Kind.COLLECTION)[number % 2]
        place = FOLDERS[number % len(FOLDERS)]
        name = NAMES[number * 5 % len(NAMES)]
        job = JOBS[number % 3] if number % 3 < 2 else None
        new = files.target_of(connection, caller, name, place, None, site.rules)
        record = files.insert_item(
            connection,
            dataclasses.replace(caller, system_tag=job),
            kind,
            new,
            site.rules,
            state=STATES[number % 7 % 3],
            size=number * 7 % 11,
        )
        item = Item(
            record["id"],
            kind.value,
            name,
            place,
            record["size"],
            record["created"],
            record["state"],
            "demo",
            {0: 1, 1: 40}.get(number % 6),
            tuple(tag for bit, tag in enumerate(TAGS) if number // 2 >> bit & 1),
            (job,) if job else (),
        )
        _adorn(connection, item, number)
        items.append(item)
    return items


def _adorn(connection: Any, item: Item, number: int) -> None:
    for tag in item.tags:
        for project in (1, 2)[: 1 + number % 2]:
            connection.execute("INSERT INTO tag VALUES (?, ?, ?, 0)", (item.id, tag, project))
    if number % 5 == 0:
        item.owner = "gone"
        connection.execute("UPDATE resource SET owner = 77 WHERE id = ?", (item.id,))
    if item.deleted_days is not None:
        moment = datetime.now(UTC) - timedelta(days=item.deleted_days)
        deleted = iso_time(int(moment.timestamp() * 1_000_000))
        connection.execute("UPDATE resource SET deleted = ? WHERE id = ?", (deleted, item.id))
        connection.execute("DELETE FROM placement WHERE resource = ?", (item.id,))


PARTS = ("", "hit", "HIT", "it", "Ä", "ä", "ß", "SS", "other", "-1")
TAG_PARTS = (*TAGS, *JOBS, "LEAD", "ea", "job 1", "absent")
PARAMETERS = {
    "name": some.sampled_from((*NAMES, "absent")),
    "name_contains": some.sampled_from(PARTS),
    "name_icontains": some.sampled_from(PARTS),
    "path_contains": some.sampled_from(("/Hits/", "deep/h", "team", "user/demo/o", "absent")),
    "tags": some.lists(some.sampled_from(TAG_PARTS), min_size=1, max_size=2),
    "tag_filters": some.lists(some.sampled_from(TAG_PARTS), min_size=1, max_size=2),
    "systag_filters": some.sampled_from(JOBS).map(lambda tag: [tag]),
    "tag_match": some.sampled_from(("exact", "iexact", "contains")),
    "state": some.sampled_from(STATES),
    "states": some.sampled_from(("ready,open", "created", "temporary")),
    "types": some.sampled_from(("file", "file,collection", "dataset")),
    "deleted": some.sampled_from(("true", "1", "false")),
    "expired": some.sampled_from(("true", "false")),
    "owner": some.sampled_from(("demo", "77", "1", "nobody")),
    "project": some.sampled_from(("1", "9")),
    "colour": some.just("red"),
}
QUERIES = some.fixed_dictionaries({}, optional=PARAMETERS)
ORDERS = some.sampled_from(
    [sign + word for word in ("id", "name", "created", "type", "size") for sign in ("", "-")]
)


def pairs_of(query: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        (name, value)
        for name, values in query.items()
        for value in (values if isinstance(values, list) else [values])
    ]


def fulfils(item: Item, query: dict[str, Any]) -> bool:
    """Whether an item is chosen, as the dialect says it."""
    test = {
        "exact": lambda wanted, tag: wanted == tag,
        "iexact": lambda wanted, tag: wanted.casefold() == tag.casefold(),
        "contains": lambda wanted, tag: wanted in tag,
    }[query.get("tag_match", "exact")]

    def is_tagged(wanted: list[str], tags: tuple[str, ...]) -> bool:
        return all(any(test(text, tag) for tag in tags) for text in wanted)

    is_deleted = query.get("deleted") in ("true", "1")
    is_expired = query.get("expired") == "true"
    days = item.deleted_days
    states = {query.get("state"), *query.get("states", "").split(",")} - {None, ""}
    project = None if item.folder == "/organization" else "1"
    return all(
        (
            query.get("name") in (None, item.name),
            query.get("name_contains", "") in item.name,
            query.get("name_icontains", "").casefold() in item.name.casefold(),
            query.get("path_contains", "") in item.path,
            is_tagged(query.get("tags", []), item.tags + item.systemtags),
            is_tagged(query.get("tag_filters", []), item.tags),
            is_tagged(query.get("systag_filters", []), item.systemtags),
            not states or item.state in states,
            item.kind in query.get("types", item.kind).split(","),
            (days or 0) > 30 if is_expired else (days is not None) == is_deleted,
            query.get("owner") in (None, item.owner, {"demo": "1", "gone": "77"}[item.owner]),
            query.get("project") in (None, project),
        )
    )


def in_order(items: list[Item], order_by: str) -> list[int]:
    word = order_by.removeprefix("-")
    key = {"type": "kind"}.get(word, word)
    chosen = sorted(items, key=lambda item: (getattr(item, key), item.id), reverse=order_by[0] == "-")
    return [item.id for item in chosen]


@given(
    QUERIES,
    ORDERS,
    some.integers(1, 30),
    some.integers(0, 30),
    some.sampled_from((Kind.FILE, Kind.COLLECTION)),
)
def test_list_is_what_the_model_says(world, query, order_by, limit, offset, kind):
    site, items = world
    paging = {"order_by": order_by, "limit": str(limit), "offset": str(offset)}
    selection = parse_selection(pairs_of({**query, **paging}), 1000)
    count, rows = site.database.read(lambda c: listing.list_items(c, caller_of(site), kind, selection))
    expected = in_order(
        [item for item in items if item.kind == kind.value and fulfils(item, query)], order_by
    )
    assert count == len(expected)
    assert [row["id"] for row in rows] == expected[offset : offset + limit]
    known = {item.id: item for item in items}
    assert all(row["path"] == known[row["id"]].path for row in rows)


@given(QUERIES, ORDERS, some.sampled_from(FOLDERS[:3]))
def test_ls_is_what_the_model_says(world, query, order_by, folder):
    site, items = world
    selection = parse_selection(pairs_of({**query, "order_by": order_by}), 1000)
    count, rows = site.database.read(lambda c: listing.ls(c, caller_of(site), folder, selection, site.rules))
    rows = [row for row in rows if row["resource_type"] != "folder"]
    expected = [
        # What never was complete is not shown, nor was it.
        item
        for item in items
        if item.folder == folder and fulfils(item, query) and (item.state != "created" or item.deleted_days)
    ]
    assert [row["id"] for row in rows] == in_order(expected, order_by)[:100]
    assert count >= len(rows)
    known = {item.id: item for item in items}
    for row in rows:
        assert row["path"] == known[row["id"]].path
        assert (tuple(row["tags"]), tuple(row["systemtags"])) == (
            tuple(sorted(known[row["id"]].tags)),
            known[row["id"]].systemtags,
        )


@given(QUERIES, some.sampled_from(("hit", "STRASSE", "e", "absent")), some.sampled_from(("/", *FOLDERS)))
def test_search_finds_everything_below_whatever_its_depth(world, query, text, folder):
    site, items = world
    selection = parse_selection([*pairs_of(query), ("search", text)], 1000)
    _count, rows = site.database.read(lambda c: listing.ls(c, caller_of(site), folder, selection, site.rules))
    expected = [
        item
        for item in items
        if f"{item.folder}/".startswith(folder.rstrip("/") + "/")
        and text.casefold() in item.name.casefold()
        and fulfils(item, query)
        and (item.state != "created" or item.deleted_days)
    ]
    found = {row["id"]: row["path"] for row in rows if row["resource_type"] != "folder"}
    assert found == {item.id: item.path for item in sorted(expected, key=lambda item: item.id)[:100]}


def test_search_finds_folders_with_their_paths(world):
    site, _items = world
    selection = parse_selection([("search", "EEP"), ("types", "folder")], 1000)
    count, rows = site.database.read(lambda c: listing.ls(c, caller_of(site), "/", selection, site.rules))
    assert (count, [row["path"] for row in rows]) == (1, [f"{HOME}/Hits/deep"])


@pytest.mark.parametrize(
    "query",
    [
        {"limit": "0"},
        {"limit": "x"},
        {"offset": "-1"},
        {"order_by": "colour"},
        {"types": "cat"},
        {"types": ","},
        {"state": "odd"},
        {"states": "ready,odd"},
        {"tag_match": "fuzzy"},
        {"deleted": "perhaps"},
        {"expired": ""},
        {"project": "x"},
        {"project": "0"},
        {"tags": ["t"] * 101},
    ],
)
def test_nonsense_is_refused(query):
    with pytest.raises(Refusal) as refusal:
        parse_selection(pairs_of(query), 1000)
    assert refusal.value.status == 400


def test_hundred_tags_are_still_one_query(world):
    site, _items = world
    selection = parse_selection([("tags", "lead")] * 100, 1000)
    count, _rows = site.database.read(lambda c: listing.list_items(c, caller_of(site), Kind.FILE, selection))
    assert count > 0


def test_page_is_as_small_as_the_server_wants_it():
    assert parse_selection([("limit", "5000")], 50).limit == 50
    assert parse_selection([], 50) == Selection(50, 0)
    assert parse_selection([], 1000).limit == 100


def test_list_and_search_show_what_is_shared_and_nothing_else(tmp_path):
    """By one query for the page, whoever asks; the demo's own things stay his."""
    users = tmp_path / "users.toml"
    users.write_text('[[users]]\nname = "eve"\ntoken_file = "eve"\nprojects = ["Demo"]\n')
    with open_site(tmp_path / "data", tmp_path / "token", users, Switches()) as site:
        demo, eve = caller_of(site), caller_of(site, "eve")

        def make(connection: Any) -> list[int]:
            return [
                files.insert_item(
                    connection,
                    demo,
                    Kind.FILE,
                    files.target_of(connection, demo, name, folder, None, site.rules),
                    site.rules,
                    state="ready",
                    size=0,
                )["id"]
                for name, folder in (("kept", HOME), ("shared", HOME), ("all", HOME), ("team", FOLDERS[3]))
            ]

        numbers = site.database.write(make)

        def share(connection: Any) -> None:
            read = Permission.READ.value
            connection.execute("INSERT INTO share VALUES (?, 'user', ?, ?)", (numbers[1], eve.user.id, read))
            connection.execute("INSERT INTO share VALUES (?, 'project', 1, ?)", (numbers[2], read))
            connection.execute("INSERT INTO share VALUES (?, 'user', 99, ?)", (numbers[0], read))

        site.database.write(share)
        page = Selection(100, 0)
        _count, listed = site.database.read(lambda c: listing.list_items(c, eve, Kind.FILE, page))
        assert [row["id"] for row in listed] == numbers[1:]
        found = parse_selection([("search", "a")], 1000)
        _count, rows = site.database.read(lambda c: listing.ls(c, eve, "/", found, site.rules))
        names = [row["name"] for row in rows if row["resource_type"] == "file"]
        assert names == ["shared", "all", "team"]
