"""Each switch, both ways where the other tests do not show the default already."""

from __future__ import annotations

import time

import pytest

from orionfs.server.problems import ServeError
from orionfs.server.switches import Switches, describe_switches, parse_switches
from tests.server.process import COLLECTIONS, FILES, HOME, wait_until
from tests.server.test_paths_routes import refused


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
        ("colour", "blue", "unknown switch 'colour'; known are: create_parents, .*duplicate_names"),
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
