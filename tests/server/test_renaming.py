"""The renamed dialect: names that can be turned back, and a server that speaks nothing else."""

from __future__ import annotations

import dataclasses
import json
import string
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orionfs.client.wire import DIALECT
from orionfs.server import renaming
from tests.server.process import COLLECTIONS, FILES, HOME, PATHS, Api, RunningServer, start_server
from tests.server.renamed import RenamedApi, renamed_wire
from tests.server.test_paths_routes import refused

WORDS = st.text(string.ascii_lowercase + string.digits, min_size=1)
SEGMENTS = st.one_of(st.sampled_from(["storage", "store", "paths", "tree", "files", "documents"]), WORDS)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
)


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("resource_type", "resourceTypeX"),
        ("id", "idX"),
        ("part_bytes", "partBytesX"),
        ("createdAt", "created_AtX"),
        ("ID", "_I_DX"),
        ("_", "__X"),
        ("", "X"),
    ],
)
def test_keys_have_other_names(key, name):
    assert renaming.renamed_key(key) == name
    assert renaming.own_key(name) == key


@given(st.text(alphabet=st.one_of(st.sampled_from("aZ_X9"), st.characters())))
def test_every_key_has_a_name_that_can_be_turned_back(key):
    assert renaming.own_key(renaming.renamed_key(key)) == key


@given(st.text(alphabet=st.one_of(st.sampled_from("aZ_X9"), st.characters())))
def test_name_belongs_to_one_key_or_to_none(name):
    key = renaming.own_key(name)
    assert key is None or renaming.renamed_key(key) == name


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/api/v1/storage/paths/ls", "/rest/1/store/tree/ls"),
        ("/api/v3/storage/files/17/download", "/rest/3/store/documents/17/download"),
        ("/api/v1/storage/{plural}/{id}/tags", "/rest/1/store/{plural}/{id}/tags"),
        ("/api/v1/orionfs", "/rest/1/orionfs"),
        ("/api/v1/storage/collections/5/shards/6/download/", "/rest/1/store/bundles/5/shards/6/download/"),
    ],
)
def test_paths_have_other_names_with_ids_at_the_same_places(path, name):
    assert renaming.renamed_path(path) == name
    assert renaming.own_path(name) == path


@given(st.integers(0, 99), st.lists(SEGMENTS))
def test_every_path_of_the_api_has_a_name_that_can_be_turned_back(version, segments):
    path = "/".join([f"/api/v{version}", *segments])
    assert renaming.own_path(renaming.renamed_path(path)) == path
    assert renaming.own_path(path) is None


@given(st.lists(st.tuples(st.text(), st.text(alphabet=st.characters(codec="utf-8")))))
def test_query_comes_back_in_the_same_order(pairs):
    query = urlencode([(name.encode("utf-8", "replace"), value) for name, value in pairs])
    there = renaming.renamed_query("/api/v1/x", query)
    back = renaming.own_query("/api/v1/x", there)
    assert parse_qsl(back, keep_blank_values=True) == parse_qsl(query, keep_blank_values=True)


@given(JSON)
def test_json_comes_back_as_it_was(value):
    assert renaming.own_json(renaming.renamed_json(value)) == value


def test_what_users_put_into_metadata_keeps_its_names():
    metadata = {"resource_type": {"idX": 1}, "url": "/api/v1/x"}
    assert renaming.renamed_json({"metadata": metadata}) == {"metadataX": metadata}
    assert renaming.own_json({"metadataX": metadata}) == {"metadata": metadata}


def test_own_names_mean_nothing_in_the_renamed_dialect():
    assert renaming.own_json({"name": 1, "nameX": 2}) == {"?name": 1, "name": 2}
    assert renaming.own_query("/api/v1/x", "path=/a&pathX=/b&limit=1") == "path=%2Fb"
    headers = [(b"x-orion-project", b"1"), (b"authorization", b"Token:t"), (b"range", b"bytes=0-")]
    assert renaming.own_headers(headers) == [(b"range", b"bytes=0-")]


def test_table_of_the_renamed_dialect_shares_no_route_with_ours():
    renamed = renamed_wire()
    tables: list[tuple[Any, Any]] = [(DIALECT.routes, renamed.routes)]
    tables += zip(DIALECT.resources.values(), renamed.resources.values(), strict=True)
    for own, other in tables:
        for entry in dataclasses.fields(own):
            route = getattr(own, entry.name)
            if hasattr(route, "path"):
                assert getattr(other, entry.name).path != route.path
                assert getattr(other, entry.name).method == route.method
    assert renamed.keys.resource_type == "resourceTypeX"
    assert renamed.keys.project_header == "X-Renamed-Project"
    assert renamed.keys.token_form == "Bearer {token}"
    assert renamed.keys.state_ready == DIALECT.keys.state_ready
    assert renamed.records["file"]["size"] == "sizeX"
    assert renamed.resources["file"].plural == "documents"


@pytest.fixture(scope="module")
def renamed_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server that speaks the renamed dialect."""
    switches = {"wire": "renamed", "part_bytes": "1000"}
    with start_server(tmp_path_factory.mktemp("renamed"), switches=switches) as server:
        yield server


@pytest.fixture
def renamed(renamed_server: RunningServer) -> Iterator[RenamedApi]:
    """It, as user demo."""
    with RenamedApi(renamed_server.url, renamed_server.token_file.read_text().strip()) as api:
        yield api


def test_tree_is_worked_on_in_the_renamed_dialect(renamed):
    assert renamed.create(f"{HOME}/tree", f"{HOME}/tree/d").status_code == 201
    row = renamed.upload("f", b"abc", folder=f"{HOME}/tree")
    assert (row["resource_type"], row["size"]) == ("file", 3)
    subject = {"resource_type": "file", "id": row["id"], "path": f"{HOME}/tree/d", "name": "g"}
    assert renamed.assign(subject).status_code == 204
    assert renamed.names(f"{HOME}/tree/d", name="g") == ["g"]
    assert renamed.stat(f"{HOME}/tree/d/g").json()["id"] == row["id"]
    assert renamed.request("PATCH", f"{FILES}/{row['id']}", json={"name": "h"}).json()["name"] == "h"
    items = {"items": [{"resource_type": "file", "id": row["id"]}]}
    assert renamed.post(f"{PATHS}/get", items).json()["results"][0]["path"] == f"{HOME}/tree/d/h"
    tags = f"/api/v1/storage/files/{row['id']}/tags"
    assert renamed.post(tags, {"tags": ["t"]}).json()["results"][0]["name"] == "t"
    assert renamed.request("DELETE", tags, json={"tags": ["t"]}).json() == {"results": []}
    assert renamed.remove(f"{HOME}/tree/d/h").status_code == 204
    assert renamed.names(f"{HOME}/tree/d") == []


def test_answers_are_in_the_renamed_dialect_alone(renamed, renamed_server):
    renamed.create(f"{HOME}/plain")
    for name in ("a", "b"):
        renamed.upload(name, folder=f"{HOME}/plain")
    token = {"Authorization": f"Bearer {renamed_server.token_file.read_text().strip()}"}
    with Api(renamed_server.url, None) as plain:
        query = {"pathX": f"{HOME}/plain", "limitX": 1, "nameContainsX": ""}
        answer = plain.get("/rest/1/store/tree/ls", params=query, headers=token)
        page = answer.json()
        assert set(page) == {"countX", "nextX", "previousX", "resultsX"}
        assert set(page["resultsX"][0]) >= {"resourceTypeX", "idX", "nameX", "pathX", "createdX"}
        assert int(answer.headers["Content-Length"]) == len(answer.content)
        following = urlsplit(page["nextX"])
        assert following.path == "/rest/1/store/tree/ls"
        assert parse_qs(following.query)["offsetX"] == ["1"]
        rest = plain.get(f"{following.path}?{following.query}", headers=token).json()
        assert [row["nameX"] for row in rest["resultsX"]] == ["b"]
        info = plain.get("/rest/1/orionfs").json()
        assert (info["serverX"], info["limitsX"]["pageMaxX"]) == ("orionfs", 1000)
        assert refused(plain.get("/rest/1/store/tree/stat", params={"pathX": "/no"}, headers=token), 404)


def test_own_dialect_is_not_understood(renamed, renamed_server):
    with Api(renamed_server.url, None) as plain:
        token = renamed_server.token_file.read_text().strip()
        renamed_token = {"Authorization": f"Bearer {token}"}
        for path in ("/api/v1/orionfs", f"{PATHS}/ls", "/", "/rest", "/rest/v1/orionfs"):
            assert refused(plain.get(path, headers=renamed_token), 404, "not_found")
        assert refused(plain.get("/rest/1/people/me", headers={"Authorization": f"Token:{token}"}), 401)
        assert plain.get("/rest/1/people/me").headers["WWW-Authenticate"] == "Bearer"
        wrong_project = {"X-Renamed-Project": "999"}
        assert plain.get("/rest/1/groups/current", headers=renamed_token).json()["idX"] == 1
        assert refused(plain.get("/rest/1/groups/current", headers=renamed_token | wrong_project), 403)
        own_project = {"X-Orion-Project": "999"}
        assert plain.get("/rest/1/groups/current", headers=renamed_token | own_project).status_code == 200
        made = plain.post("/rest/1/store/tree/create", {"paths": [f"{HOME}/x"]}, headers=renamed_token)
        assert refused(made, 400)


def test_contents_stream_through_as_they_are(renamed, renamed_server):
    content = json.dumps({"results": [{"resource_type": "file", "url": "/api/v1/x"}]}).encode()
    query = {"nameX": "c.json", "folderPathX": HOME}
    with Api(renamed_server.url, renamed_server.token_file.read_text().strip()) as plain:
        plain.session.headers["Authorization"] = renamed.session.headers["Authorization"]
        made = plain.request(
            "POST",
            "/rest/3/store/documents/upload",
            params=query,
            data=content,
            headers={"Content-Type": "application/json"},
        )
        assert made.status_code == 201, made.text
        number = made.json()["idX"]
        location = plain.get(f"/rest/3/store/documents/{number}/download").headers["Location"]
    assert "expires" not in parse_qs(urlsplit(location).query)
    assert {"expiresX", "signature"} == set(parse_qs(urlsplit(location).query))
    with Api(renamed_server.url, None) as nobody:
        assert nobody.get(location).content == content
        part = nobody.get(location, headers={"Range": "bytes=2-8"})
        assert (part.status_code, part.content) == (206, content[2:9])
        assert refused(nobody.get(location.replace("expiresX", "expires")), 403)


def test_upload_in_parts_goes_to_urls_of_the_renamed_dialect(renamed, renamed_server):
    begun = renamed.begin("parts", 1500, folder=HOME)
    urls = [part["url"] for part in begun["upload"]["parts"]]
    with Api(renamed_server.url, None) as nobody:
        for url, part in zip(urls, (b"a" * 1000, b"b" * 500), strict=True):
            assert "expiresX" in url
            assert nobody.request("PUT", url, data=part).status_code == 204
    assert renamed.complete(begun["id"], 2).json()["state"] == "ready"
    assert renamed.content(begun["id"]) == b"a" * 1000 + b"b" * 500
    renewed = renamed.post(f"{FILES}/{begun['id']}/parts", {"numbers": [1]})
    assert refused(renewed, 409, "complete")


def test_bodies_that_are_no_json_or_too_long_are_refused_as_ever(renamed):
    headers = {"Content-Type": "application/json"}
    assert refused(renamed.request("POST", COLLECTIONS, data=b"{", headers=headers), 400, "bad_json")
    deep = b"[" * 100_000
    assert refused(renamed.request("POST", COLLECTIONS, data=deep, headers=headers), 400, "bad_json")
    assert refused(renamed.create(*[f"{HOME}/{'x' * 1000}"] * 17_000), 413, "too_large")


def test_access_log_shows_what_was_asked_and_faults_match_it(renamed, renamed_server):
    renamed.stat(HOME)
    line = renamed_server.log()[-1]
    assert (line["path"], line["user"], line["status"]) == ("/rest/1/store/tree/stat", "demo", 200)
    assert parse_qs(line["query"]) == {"pathX": [HOME]}
    renamed_server.misbehave({"path": "^/rest/1/store/tree/stat$", "action": "status", "status": 503})
    assert refused(renamed.stat(HOME), 503, "fault")
    renamed_server.misbehave()
