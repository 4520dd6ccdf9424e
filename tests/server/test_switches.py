"""Each switch, both ways where the other tests do not show the default already."""

from __future__ import annotations

import time
from dataclasses import fields
from itertools import combinations, product
from typing import Any

import pytest

from orionfs.facts import CHOICES, StackFacts
from orionfs.server.habits import BusyTries
from orionfs.server.problems import Refusal, ServeError
from orionfs.server.switches import (
    Switches,
    describe_settings,
    describe_switches,
    is_setting,
    parse_switches,
)
from tests.server.process import COLLECTIONS, FILES, HOME, PATHS, Api, wait_until
from tests.server.test_paths_routes import refused

FOLDERS = "/api/v1/storage/folders"
WORKFLOES = "/api/v1/workfloes"
# Which dialect is spoken is said in a profile, and nothing that a probe could find.
NO_FACTS = {"wire"}


def test_defaults_are_what_is_documented():
    assert parse_switches({}) == Switches()
    assert Switches().page_max == 1000
    assert Switches().is_on("duplicate_names")
    assert not Switches().is_on("create_parents")
    assert any(line.startswith("duplicate_names=allowed|refused ") for line in describe_switches())


def test_values_are_parsed_by_kind():
    switches = parse_switches({"page_max": "7", "read_lag_s": "0.5", "folders_assignable": "no"})
    assert (switches.page_max, switches.read_lag_s, switches.folders_assignable) == (7, 0.5, "no")


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("colour", "blue", "unknown switch 'colour'; known are: assign_path, auth_status"),
        ("duplicate_names", "yes", "allowed or refused, not 'yes'"),
        ("page_max", "many", "whole number of at least 1"),
        ("page_max", "1.5", "whole number"),
        ("read_lag_s", "nan", "a number of at least 0"),
        ("read_lag_s", "-1", "a number of at least 0"),
    ],
)
def test_unknown_switch_or_value_is_refused_in_words(name, value, words):
    with pytest.raises(ServeError, match=words):
        parse_switches({name: value})


def test_duplicate_names_refused(start):
    with start(switches={"duplicate_names": "refused", "part_bytes": "1000"}).api() as api:
        old = api.upload("same", b"old")
        query = {"name": "same", "folder_path": HOME}
        assert refused(api.request("POST", f"{FILES}/upload", params=query, data=b"x"), 409, "name_taken")
        assert refused(api.post(FILES, {"name": "same", "size": 1}), 409)
        assert refused(api.post(COLLECTIONS, {"name": "same"}), 409)
        new = api.upload("new", b"new")
        assert refused(api.request("PATCH", f"{FILES}/{new['id']}", json={"name": "same"}), 409)
        assert api.request("PATCH", f"{FILES}/{new['id']}", json={"name": "new"}).status_code == 200
        into_place = {"resource_type": "file", "id": new["id"], "path": HOME, "name": "same"}
        assert refused(api.assign(into_place), 409, "name_taken")
        aside = {"resource_type": "file", "id": old["id"], "path": HOME, "name": "old"}
        assert api.assign(into_place, aside).status_code == 204
        assert api.stat(f"{HOME}/same").json()["id"] == new["id"]
        begun = api.begin("later", 0)
        api.upload("later")
        assert refused(api.complete(begun["id"], 0), 409, "name_taken")
        assert api.ls(HOME).json()["count"] == 3


def test_create_parents_and_remove_recursive(start):
    switches = {"create_parents": "yes", "remove_recursive": "yes"}
    with start(switches=switches).api() as api:
        assert api.create(f"{HOME}/a/b/c").json()["results"][0]["path"] == f"{HOME}/a/b/c"
        row = api.upload("f", folder=f"{HOME}/a/b")
        begun = api.begin("g", 0, folder=f"{HOME}/a/b/c")
        assert api.remove(f"{HOME}/a").status_code == 204
        assert api.names(HOME) == []
        assert api.get(f"{FILES}/{row['id']}").json()["deleted"]
        assert refused(api.complete(begun["id"], 0), 404)
        assert api.create(f"{HOME}/a").status_code == 201
        assert api.names(f"{HOME}/a") == []


def test_folders_not_assignable_and_slashes_in_names(start):
    switches = {"folders_assignable": "no", "slash_in_names": "yes"}
    with start(switches=switches).api() as api:
        api.create(f"{HOME}/a", f"{HOME}/a/b")
        subject = {"resource_type": "folder", "id": api.stat(f"{HOME}/a").json()["id"], "path": HOME}
        assert refused(api.assign({**subject, "name": "c"}), 422, "not_assignable")
        row = api.upload("x/y", b"1")
        assert api.stat(f"{HOME}/x/y").json()["id"] == row["id"]
        deep = api.upload("b/z", b"2", folder=f"{HOME}/a")
        assert api.stat(f"{HOME}/a/b/z").json()["id"] == deep["id"]
        assert refused(api.stat(f"{HOME}/a/b/absent"), 404)
        moved = {"resource_type": "file", "id": row["id"], "path": f"{HOME}/a", "name": "p/q"}
        assert api.assign(moved).status_code == 204
        assert api.names(f"{HOME}/a", order_by="name") == ["b", "b/z", "p/q"]
        assert api.remove(f"{HOME}/a/p/q").status_code == 204


def test_lists_without_sizes_and_tags_and_small_pages(start):
    switches = {"list_sizes": "no", "list_tags": "no", "page_max": "3"}
    with start(switches=switches).api() as api:
        for number in range(5):
            api.upload(f"f{number}", b"x")
        page = api.ls(HOME, limit=1000).json()
        assert (page["count"], len(page["results"])) == (5, 3)
        assert all("size" not in row and "tags" not in row for row in page["results"])
        assert len(api.ls(HOME).json()["results"]) == 3
        assert "size" not in api.get(FILES).json()["results"][0]
        assert api.stat(f"{HOME}/f0").json()["size"] == 1
        assert api.get("/api/v1/orionfs").json()["limits"]["page_max"] == 3


def test_upload_max_bytes_is_enforced(start):
    with start(switches={"upload_max_bytes": "10"}).api() as api:
        assert refused(api.post(FILES, {"name": "f", "size": 11}), 413)
        assert refused(api.request("POST", f"{FILES}/upload?name=f", data=b"x" * 11), 413)
        assert api.upload("f", b"x" * 10)["size"] == 10
        begun = api.post(FILES, {"name": "g", "open_ended": True}).json()
        (first, second, *_), route = begun["upload"]["parts"], f"{FILES}/{begun['id']}/complete"
        with Api(api.url, None) as nobody:
            assert refused(nobody.request("PUT", first["url"], data=b"x" * 11), 413)
            assert refused(nobody.request("PUT", second["url"], data=b"x"), 413)
        assert refused(api.post(route, {"parts": 1, "size": 11}), 413)


def test_read_lag_shows_every_change_only_later(start):
    lag_s = 0.6
    with start(switches={"read_lag_s": str(lag_s)}).api() as api:
        wait_until(lambda: api.stat(HOME).status_code == 200)
        begun = time.monotonic()
        row = api.upload("f", b"x")
        assert api.names(HOME) == []
        assert refused(api.stat(f"{HOME}/f"), 404)
        assert api.get(f"{FILES}/{row['id']}").json()["path"] == f"{HOME}/f"
        wait_until(lambda: api.names(HOME) == ["f"])
        assert time.monotonic() - begun >= lag_s * 0.9

        api.create(f"{HOME}/d")
        subject = {"resource_type": "file", "id": row["id"], "path": f"{HOME}/d", "name": "g"}
        assert api.assign(subject).status_code == 204
        assert api.names(HOME) == ["f"]
        wait_until(lambda: api.names(HOME) == ["d"])
        assert api.names(f"{HOME}/d") == ["g"]

        api.remove(f"{HOME}/d/g")
        assert api.stat(f"{HOME}/d/g").status_code == 200
        wait_until(lambda: api.names(f"{HOME}/d") == [])


def test_lagging_listing_never_loses_what_is_renamed_back_and_forth(start):
    """Between the old name and the new one there is no moment at which neither is shown."""
    with start(switches={"read_lag_s": "0.05"}).api() as api:
        row = api.upload("a", b"x")
        wait_until(lambda: api.names(HOME) == ["a"])
        for number in range(60):
            subject = {"resource_type": "file", "id": row["id"], "path": HOME, "name": "ab"[number % 2]}
            assert api.assign(subject).status_code == 204
            assert api.names(HOME) in (["a"], ["b"])


def test_every_value_of_every_pair_of_switches_is_taken():
    choices = {
        entry.name: entry.metadata["choices"] for entry in fields(Switches) if "choices" in entry.metadata
    }
    for (first, firsts), (second, seconds) in combinations(choices.items(), 2):
        for values in product(firsts, seconds):
            switches = parse_switches({first: values[0], second: values[1]})
            assert (getattr(switches, first), getattr(switches, second)) == values


def test_every_switch_is_a_fact_of_a_stack_with_the_same_values():
    """What the server can be, the mount can know of a stack; the name is all that joins them."""
    choices = {
        entry.name: entry.metadata["choices"] for entry in fields(Switches) if "choices" in entry.metadata
    }
    # A stack may have literals that nobody thought of; a server of ours has none.
    known = {name: {value for value in values if value != "other"} for name, values in CHOICES.items()}
    assert {name: set(values) for name, values in choices.items() if name not in NO_FACTS} == known
    numbers = {entry.name for entry in fields(Switches) if not is_setting(entry)} - choices.keys()
    assert numbers <= {entry.name for entry in fields(StackFacts)}


def test_settings_are_described_apart_from_switches():
    assert [line.split("=")[0] for line in describe_settings()[:2]] == ["part_bytes", "upload_max_bytes"]
    assert not set(describe_settings()) & set(describe_switches())
    assert len(describe_settings() + describe_switches()) == len(fields(Switches))


def test_folder_that_is_there_is_created_again_where_that_is_accepted(start):
    with start(switches={"create_existing": "accepted"}).api() as api:
        api.create(f"{HOME}/a")
        again = api.create(f"{HOME}/a", HOME)
        assert again.status_code == 201
        assert again.json()["results"][0]["id"] == api.stat(f"{HOME}/a").json()["id"]
        api.upload("f")
        assert refused(api.create(f"{HOME}/f"), 409, "exists")
        assert api.names(HOME) == ["a", "f"]


def test_remove_takes_all_of_a_name_or_the_newest(start):
    with start(switches={"remove_equal": "all"}).api() as api:
        api.create(f"{HOME}/same", f"{HOME}/full", f"{HOME}/full/sub")
        for name in ("same", "same", "other", "full"):
            api.upload(name)
        assert refused(api.remove(f"{HOME}/same", f"{HOME}/full"), 409, "not_empty")
        assert len(api.names(HOME)) == 6
        assert api.remove(f"{HOME}/same").status_code == 204
        assert api.names(HOME) == ["full", "other", "full"]
        assert refused(api.remove(f"{HOME}/same"), 404)


def test_newest_of_equal_names_is_removed_by_default(api):
    old, new = api.upload("same"), api.upload("same")
    assert api.stat(f"{api.folder}/same").json()["id"] == new["id"]
    assert api.remove(f"{api.folder}/same").status_code == 204
    assert api.stat(f"{api.folder}/same").json()["id"] == old["id"]


def test_folders_without_ids_are_neither_moved_nor_tagged(start):
    server = start()
    with server.api() as api:
        number = api.create(f"{HOME}/a").json()["results"][0]["id"]
    server.close()
    with start(switches={"folder_ids": "no"}).api() as api:
        row = api.upload("f")
        assert "id" not in api.create(f"{HOME}/b").json()["results"][0]
        assert [row.get("id") for row in api.ls(HOME).json()["results"]] == [None, row["id"], None]
        assert "id" not in api.stat(f"{HOME}/a").json()
        subject = {"resource_type": "folder", "id": number}
        assert refused(api.assign({**subject, "path": HOME, "name": "c"}), 422, "not_assignable")
        assert refused(api.post(f"{PATHS}/get", {"items": [subject]}), 404)
        assert refused(api.post(f"{FOLDERS}/{number}/tags", {"tags": ["t"]}), 404)
        assert refused(api.get(f"{FOLDERS}/{number}/tags"), 404)


def test_path_of_an_assignment_is_the_whole_path_of_the_item(start):
    with start(switches={"assign_path": "full"}).api() as api:
        api.create(f"{HOME}/a", f"{HOME}/b")
        row = api.upload("f")
        subject = {"resource_type": "file", "id": row["id"]}
        assert api.assign({**subject, "path": f"{HOME}/a/g"}).status_code == 204
        assert api.names(f"{HOME}/a") == ["g"]
        assert api.assign({**subject, "path": f"{HOME}/a"}).status_code == 204
        assert api.names(HOME) == ["a", "b", "a"]
        assert api.assign({**subject, "path": f"{HOME}/b/x", "name": "p/q"}).status_code == 204
        assert api.names(f"{HOME}/b") == ["p/q"]
        folder = {"resource_type": "folder", "id": api.stat(f"{HOME}/b").json()["id"]}
        assert api.assign({**folder, "path": f"{HOME}/a/c"}).status_code == 204
        assert api.names(f"{HOME}/a/c") == ["p/q"]
        assert refused(api.assign({**subject, "path": "/"}), 400, "bad_path")
        assert refused(api.assign({**subject, "path": f"{HOME}/absent/f"}), 404)


def test_files_without_bytes_are_refused_in_both_ways_of_uploading(start):
    with start(switches={"empty_files": "refused"}).api() as api:
        assert refused(api.request("POST", f"{FILES}/upload?name=f", data=b""), 422, "empty_file")
        assert refused(api.post(FILES, {"name": "f", "size": 0}), 422, "empty_file")
        assert api.upload("f", b"x")["size"] == 1
        assert api.names(HOME) == ["f"]


def test_lists_without_times(start):
    with start(switches={"list_times": "no"}).api() as api:
        api.create(f"{HOME}/a")
        api.upload("f")
        rows = [*api.ls(HOME, order_by="-created").json()["results"], *api.get(FILES).json()["results"]]
        assert [row["name"] for row in rows] == ["f", "a", "f"]
        assert not any("created" in row for row in rows)
        assert "created" in api.stat(f"{HOME}/f").json()


def test_stat_that_tells_only_what_is_documented(start):
    with start(switches={"stat_details": "no"}).api() as api:
        row = api.upload("f")
        path = f"{HOME}/f"
        assert api.stat(path).json() == {"resource_type": "file", "id": row["id"], "path": path}


def test_everything_comes_in_one_answer_whatever_was_asked(start):
    with start(switches={"paging": "all", "page_max": "2"}).api() as api:
        for number in range(4):
            api.upload(f"f{number}")
        for page in (
            api.ls(HOME, limit=1, offset=3, order_by="-name").json(),
            api.get(f"{FILES}?limit=none&order_by=-name").json(),
        ):
            assert [row["name"] for row in page["results"]] == ["f3", "f2", "f1", "f0"]
            assert (page["count"], page["next"], page["previous"]) == (4, None, None)


def test_filters_and_order_are_ignored_but_pages_are_not(start):
    with start(switches={"filters": "ignored"}).api() as api:
        api.create(f"{HOME}/d")
        api.upload("b")
        api.upload("a")
        asked = {"name": "a", "types": "moon", "order_by": "weight", "state": "gone"}
        assert api.names(HOME, **asked) == ["d", "b", "a"]
        assert api.names(HOME, **asked, limit=1, offset=1) == ["b"]
        assert [row["name"] for row in api.get(FILES, params=asked).json()["results"]] == ["b", "a"]


def test_first_try_of_each_change_is_too_early(start):
    with start(switches={"busy": "yes"}).api() as api:
        assert refused(api.create(f"{HOME}/a"), 409, "busy")
        assert api.names(HOME) == []
        assert refused(api.create(f"{HOME}/b"), 409, "busy")
        assert api.create(f"{HOME}/a").status_code == 201
        subject = {"resource_type": "file", "id": api.upload("f")["id"], "path": f"{HOME}/a"}
        assert refused(api.assign(subject), 409, "busy")
        assert refused(api.assign({**subject, "name": "g"}), 409, "busy")
        assert api.assign(subject).status_code == 204
        assert refused(api.remove(f"{HOME}/a/f"), 409, "busy")
        assert api.remove(f"{HOME}/a/f").status_code == 204
        assert refused(api.remove(f"{HOME}/a/f"), 404)


def test_busy_tries_are_forgotten_after_a_minute_and_never_too_many():
    now = 100.0
    tries = BusyTries(lambda: now)

    def is_busy(user_id: int, verb: str, path: str) -> bool:
        try:
            tries.refuse_first(user_id, verb, [path])
        except Refusal as refusal:
            assert (refusal.status, refusal.code) == (409, "busy")
            return True
        return False

    assert [is_busy(1, "create", "/a"), is_busy(1, "create", "/a"), is_busy(1, "create", "/a")] == [
        True, False, False,
    ]  # fmt: skip
    assert is_busy(2, "create", "/a")
    assert is_busy(1, "remove", "/a")
    now += 59.9
    assert not is_busy(1, "create", "/a")
    now += 0.2
    assert is_busy(1, "create", "/a")
    for number in range(25_000):
        assert is_busy(1, "create", f"/{number}")
    assert is_busy(1, "create", "/0")
    assert not is_busy(1, "create", "/24999")


@pytest.mark.parametrize("token", [None, "Token:wrong"])
def test_request_without_a_valid_token_is_forbidden(start, token):
    server = start(switches={"auth_status": "403"})
    with Api(server.url, None) as nobody:
        answer = nobody.get(FILES, headers={"Authorization": token} if token else {})
        assert refused(answer, 403, "not_authenticated")
        assert "WWW-Authenticate" not in answer.headers


def test_contents_of_what_was_removed_still_download_by_id(start):
    with start(switches={"removed_downloads": "yes"}).api() as api:
        row = api.upload("f", b"abc")
        assert api.remove(f"{HOME}/f").status_code == 204
        assert api.content(row["id"]) == b"abc"
        assert api.request("DELETE", f"{FILES}/{row['id']}?immediate=true").status_code == 204
        assert refused(api.get(f"{FILES}/{row['id']}/download"), 404)


def test_uploaded_file_is_processed_for_a_second_before_it_downloads(start):
    with start(switches={"upload_ready": "later", "part_bytes": "1000"}).api() as api:
        begun = api.begin("parts", 0)
        started = time.monotonic()
        assert api.complete(begun["id"], 0).json()["state"] == "processing"
        small = api.upload("small", b"abc")
        assert small["state"] == "processing"
        assert [row["state"] for row in api.ls(HOME).json()["results"]] == ["processing"] * 2
        assert [row["name"] for row in api.get(f"{FILES}?state=processing").json()["results"]] == [
            "parts", "small",
        ]  # fmt: skip
        assert refused(api.get(f"{FILES}/{small['id']}/download"), 409, "not_ready")
        assert api.complete(begun["id"], 0).status_code == 200
        assert refused(api.post(f"{FILES}/{begun['id']}/parts", {"numbers": []}), 409, "complete")
        subject = {"resource_type": "file", "id": small["id"], "path": HOME, "name": "moved"}
        assert api.assign(subject).status_code == 204
        wait_until(lambda: api.stat(f"{HOME}/moved").json()["state"] == "ready")
        assert time.monotonic() - started >= 0.9
        assert api.content(small["id"]) == b"abc"
        assert api.get(f"{FILES}?state=processing").json()["results"] == []


@pytest.mark.parametrize("envelope", ["results", "items", "nested", "bare"])
def test_each_envelope_is_around_all_listings_of_the_session(start, envelope):
    def rows_of(listing: Any, total: int | None) -> Any:
        if envelope == "results":
            return listing["results"]
        if envelope == "items":
            assert listing.pop("total") == total
            assert set(listing) == {"items"}
            return listing["items"]
        if envelope == "nested":
            assert listing["data"].pop("total_count") == total
            assert set(listing) == {"data"}
            listing = listing["data"]
        assert set(listing) == {"contents"}
        return listing["contents"]

    with start(switches={"envelope": envelope}).api() as api:
        row = api.upload("f")
        api.upload("g")
        assert [row["name"] for row in rows_of(api.ls(HOME, limit=1).json(), 2)] == ["f"]
        subject = {"resource_type": "file", "id": row["id"]}
        assert [row["path"] for row in rows_of(api.post(f"{PATHS}/get", {"items": [subject]}).json(), 1)] == [
            f"{HOME}/f"
        ]
        tags = f"/api/v1/storage/files/{row['id']}/tags"
        assert [row["name"] for row in api.post(tags, {"tags": ["t"]}).json()["results"]] == ["t"]
        assert [row["name"] for row in rows_of(api.get(tags).json(), 1)] == ["t"]
        assert api.stat(f"{HOME}/f").json()["id"] == row["id"]
        assert api.get(FILES).json()["count"] == 2


SPELLINGS = {
    "plain": ("id", "created", "size", "owner", "project"),
    "long": ("ID", "date_created", "size_bytes", "owner_id", "project_id"),
    "camel": ("id", "createdAt", "sizeBytes", "ownerId", "projectId"),
}


@pytest.mark.parametrize(("spelling", "names"), SPELLINGS.items())
def test_keys_are_spelled_otherwise_where_answers_are_handed_through(start, spelling, names):
    with start(switches={"keys": spelling}).api() as api:
        row = api.upload("f", b"x")
        others = {name for others in SPELLINGS.values() for name in others} - set(names)
        subject = {"resource_type": "file", "id": row["id"]}
        for shown in (
            api.stat(f"{HOME}/f").json(),
            api.ls(HOME).json()["results"][0],
            api.post(f"{PATHS}/get", {"items": [subject]}).json()["results"][0],
        ):
            assert {*names, "resource_type", "path", "name", "tags"} <= set(shown)
            assert not others & set(shown)
        tags = f"/api/v1/storage/files/{row['id']}/tags"
        api.post(tags, {"tags": ["t"]})
        assert api.get(tags).json()["results"][0][names[-1]] == 1
        typed = api.get(f"{FILES}/{row['id']}").json()
        assert set(SPELLINGS["plain"]) <= set(typed)


@pytest.mark.parametrize(
    ("literals", "shown"),
    [
        ("word", ["collection", "file", "folder"]),
        ("class", ["ShardCollection", "File", "Folder"]),
        ("upper", ["COLLECTION", "FILE", "FOLDER"]),
    ],
)
def test_resource_types_are_taken_back_in_the_literals_that_are_shown(start, literals, shown):
    with start(switches={"literals": literals}).api() as api:
        api.post(COLLECTIONS, {"name": "c", "folder_path": HOME})
        row = api.upload("f")
        api.create(f"{HOME}/d")
        assert [row["resource_type"] for row in api.ls(HOME, order_by="type").json()["results"]] == shown
        assert api.stat(f"{HOME}/d").json()["resource_type"] == shown[2]
        for word in ("file", shown[1]):
            assert api.names(HOME, types=word) == ["f"]
            items = {"items": [{"resource_type": word, "id": row["id"]}]}
            assert api.post(f"{PATHS}/get", items).json()["results"][0]["resource_type"] == shown[1]
        for word in {"file", "File", "FILE", "fILE"} - {shown[1]}:
            subject = {"resource_type": word, "id": row["id"], "path": f"{HOME}/d"}
            assert refused(api.assign(subject), 422, "bad_type")
        assert api.assign({**subject, "resource_type": shown[1]}).status_code == 204
        assert api.get(f"{FILES}/{row['id']}").json()["resource_type"] == "file"


def test_filters_of_workfloes_are_ignored_too(start):
    with start(switches={"filters": "ignored"}).api() as api:
        for title in ("one", "two"):
            assert api.post(WORKFLOES, {"title": title}).status_code == 201
        asked = {"title": "one", "uuid": "none", "state": "deprecated"}
        assert len(api.get(WORKFLOES, params=asked).json()["results"]) == 2
