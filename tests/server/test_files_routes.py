"""Files over HTTP: uploads, states, downloads with ranges, changes, tags."""

from __future__ import annotations

import socket
import sqlite3
import time
from contextlib import closing
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.server.process import FILES, HOME, Api, wait_until
from tests.server.test_paths_routes import refused

CONTENT = bytes(range(256)) * 10


def put_parts(api, row, content, numbers=None):
    """Send parts to their URLs, without a token."""
    size = row["upload"]["part_bytes"]
    with Api(api.url, None) as nobody:
        for part in row["upload"]["parts"]:
            if numbers is None or part["number"] in numbers:
                start = (part["number"] - 1) * size
                answer = nobody.request("PUT", part["url"], data=content[start : start + size])
                assert answer.status_code == 204, answer.text


def test_small_file_in_one_request_comes_back(api):
    row = api.upload("small", b"abc")
    assert api.content(row["id"]) == b"abc"
    assert api.content(api.upload("empty")["id"]) == b""


def test_small_upload_goes_home_unless_told_otherwise(api):
    row = api.request("POST", f"{FILES}/upload", params={"name": "f"}, data=b"x").json()
    assert row["path"] == f"{HOME}/f"


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({}, 422),
        ({"name": ""}, 422),
        ({"name": "a\0b"}, 422),
        ({"name": "x" * 1025}, 422),
        ({"name": "f", "folder_path": "/absent"}, 404),
        ({"name": "f", "folder_path": "relative"}, 400),
        ({"name": "f", "folder_path": "/project/1"}, 403),
        ({"name": "f", "project": "99"}, 422),
        ({"name": "f", "project": "x"}, 400),
    ],
)
def test_small_upload_with_nonsense_is_refused(api, query, status):
    assert refused(api.request("POST", f"{FILES}/upload", params=query, data=b"x"), status)


def test_small_upload_needs_a_length_within_the_limit(api):
    query = {"name": "f", "folder_path": api.folder}
    assert refused(api.request("POST", f"{FILES}/upload", params=query, data=iter([b"x"])), 400)
    assert refused(api.request("POST", f"{FILES}/upload", params=query, data=b"x" * 1001), 413, "too_large")
    assert api.names(api.folder) == []


def test_upload_in_parts_shows_up_only_when_complete(api):
    row = api.begin("big", len(CONTENT))
    assert (row["state"], [part["number"] for part in row["upload"]["parts"]]) == ("created", [1, 2, 3])
    assert refused(api.stat(f"{api.folder}/big"), 404)
    put_parts(api, row, CONTENT)
    assert api.names(api.folder) == []
    assert api.get(f"{FILES}/{row['id']}").json()["state"] == "uploading"
    assert refused(api.get(f"{FILES}/{row['id']}/download"), 409, "not_ready")
    done = api.complete(row["id"], 3)
    assert (done.status_code, done.json()["state"]) == (200, "ready")
    assert api.stat(f"{api.folder}/big").json() == done.json()
    assert api.content(row["id"]) == CONTENT


def test_parts_may_come_in_any_order_and_again(api):
    row = api.begin("big", len(CONTENT))
    put_parts(api, row, b"\xff" * len(CONTENT), {3, 1})
    put_parts(api, row, CONTENT, {2})
    put_parts(api, row, CONTENT, {3})
    put_parts(api, row, CONTENT, {1})
    assert api.complete(row["id"], 3).status_code == 200
    assert api.content(row["id"]) == CONTENT


def test_complete_with_parts_missing_or_short_is_a_conflict(api):
    row = api.begin("big", len(CONTENT))
    put_parts(api, row, CONTENT, {1, 3})
    assert refused(api.complete(row["id"], 3), 409, "parts_missing")
    assert refused(api.complete(row["id"], 2), 409, "parts_missing")
    with Api(api.url, None) as nobody:
        assert nobody.request("PUT", row["upload"]["parts"][1]["url"], data=b"short").status_code == 204
    assert refused(api.complete(row["id"], 3), 409, "parts_missing")
    put_parts(api, row, CONTENT, {2})
    assert api.complete(row["id"], 3).status_code == 200


def test_complete_again_is_harmless_but_parts_are_refused(api):
    row = api.begin("big", len(CONTENT))
    put_parts(api, row, CONTENT)
    first = api.complete(row["id"], 3)
    assert api.complete(row["id"], 3).json() == first.json()
    with Api(api.url, None) as nobody:
        late = nobody.request("PUT", row["upload"]["parts"][0]["url"], data=b"\0" * 1000)
    assert refused(late, 409, "complete")
    assert refused(api.post(f"{FILES}/{row['id']}/parts", {"numbers": [1]}), 409)
    assert api.content(row["id"]) == CONTENT


def test_part_that_is_being_sent_again_counts_as_missing(api, shared_server):
    """Else a file could be complete while one of its parts is half overwritten."""
    row = api.begin("big", 1000)
    put_parts(api, row, b"a" * 1000)
    host, port = api.url.removeprefix("http://").split(":")
    with (
        closing(sqlite3.connect(shared_server.folder / "data" / "metadata.sqlite3")) as metadata,
        socket.create_connection((host, int(port)), timeout=10) as sender,
    ):
        head = f"PUT {row['upload']['parts'][0]['url']} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
        sender.sendall(head.encode() + b"b" * 100)
        query = "SELECT count(*) FROM part WHERE resource = ?"
        wait_until(lambda: metadata.execute(query, (row["id"],)).fetchone() == (0,))
        assert refused(api.complete(row["id"], 1), 409, "parts_missing")
        sender.sendall(b"b" * 900)
        assert sender.recv(4096).startswith(b"HTTP/1.1 204")
    assert api.complete(row["id"], 1).status_code == 200
    assert api.content(row["id"]) == b"b" * 1000


def test_empty_upload_has_no_parts(api):
    row = api.begin("empty", 0)
    assert row["upload"]["parts"] == []
    assert api.complete(row["id"], 0).status_code == 200
    assert api.content(row["id"]) == b""


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"size": 1}, 422),
        ({"name": "f"}, 422),
        ({"name": "f", "size": -1}, 422),
        ({"name": "f", "size": 1.5}, 422),
        ({"name": "f", "size": True}, 422),
        ({"name": "f", "size": 2**62}, 413),
        ({"name": "f", "size": 1, "project": []}, 422),
        ({"name": "f", "size": 1, "project": 99}, 422),
        ({"name": "f", "size": 1, "folder_path": 5}, 400),
        ({"name": ["f"], "size": 1}, 422),
    ],
)
def test_begin_with_nonsense_is_refused(api, body, status):
    assert refused(api.post(FILES, body), status)


def test_part_urls_can_be_renewed(api):
    row = api.begin("big", len(CONTENT))
    answer = api.post(f"{FILES}/{row['id']}/parts", {"numbers": [2]})
    (part,) = answer.json()["parts"]
    assert part["number"] == 2
    with Api(api.url, None) as nobody:
        assert nobody.request("PUT", part["url"], data=CONTENT[1000:2000]).status_code == 204
    for numbers in ([0], [4], ["1"], 1, None):
        assert refused(api.post(f"{FILES}/{row['id']}/parts", {"numbers": numbers}), 422)


def test_part_that_is_too_long_or_without_length_is_refused(api):
    row = api.begin("big", 1500)
    with Api(api.url, None) as nobody:
        assert refused(nobody.request("PUT", row["upload"]["parts"][1]["url"], data=b"x" * 501), 413)
        assert refused(nobody.request("PUT", row["upload"]["parts"][1]["url"], data=iter([b"x"])), 400)


def test_signed_url_is_good_for_its_method_and_path_only(api):
    row = api.upload("f", b"abc")
    other = api.upload("g", b"secret")
    url = api.download_url(row["id"])
    query = urlsplit(url).query
    with Api(api.url, None) as nobody:
        assert nobody.get(url).content == b"abc"
        assert refused(nobody.get(f"/blobs/{other['id']}?{query}"), 403, "bad_signature")
        assert refused(nobody.get(f"/blobs/{row['id']}"), 403)
        assert refused(nobody.get(url.replace("expires=", "expires=9")), 403)
        assert refused(nobody.request("PUT", f"/blobs/upload/{row['id']}/1?{query}", data=b"x"), 403)
        assert refused(nobody.request("PUT", url, data=b"x"), 405)
    assert len(parse_qs(query)["signature"][0]) == 64


def test_signed_urls_expire(start):
    server = start(switches={"url_lifetime_s": "0.3"})
    with server.api() as api, Api(server.url, None) as nobody:
        url = api.download_url(api.upload("f", b"abc")["id"])
        part = api.begin("g", 3)["upload"]["parts"][0]["url"]
        assert nobody.get(url).status_code == 200
        expires = float(parse_qs(urlsplit(url).query)["expires"][0])
        wait_until(lambda: time.time() > expires + 0.1)
        assert refused(nobody.get(url), 403, "expired")
        assert refused(nobody.request("PUT", part, data=b"abc"), 403, "expired")


@pytest.mark.parametrize(
    ("header", "expected", "content_range"),
    [
        ("bytes=0-0", CONTENT[:1], "bytes 0-0/1000"),
        ("bytes=10-19", CONTENT[10:20], "bytes 10-19/1000"),
        ("bytes=990-", CONTENT[990:1000], "bytes 990-999/1000"),
        ("bytes=990-5000", CONTENT[990:1000], "bytes 990-999/1000"),
        ("bytes=-5", CONTENT[995:1000], "bytes 995-999/1000"),
        ("bytes=-5000", CONTENT[:1000], "bytes 0-999/1000"),
        ("bytes=0-999", CONTENT[:1000], "bytes 0-999/1000"),
    ],
)
def test_range_is_answered_exactly(api, header, expected, content_range):
    url = api.download_url(api.upload("f", CONTENT[:1000])["id"])
    with Api(api.url, None) as nobody:
        answer = nobody.get(url, headers={"Range": header})
        head = nobody.request("HEAD", url, headers={"Range": header})
    assert (answer.status_code, answer.content) == (206, expected)
    assert answer.headers["Content-Range"] == head.headers["Content-Range"] == content_range
    assert answer.headers["Content-Length"] == head.headers["Content-Length"] == str(len(expected))
    assert (head.status_code, head.content) == (206, b"")


@pytest.mark.parametrize(
    "header", ["bytes=5-2", "bytes=x-y", "items=0-1", "bytes=0-1,4-5", "bytes=-", "nonsense"]
)
def test_range_that_is_none_is_ignored(api, header):
    url = api.download_url(api.upload("f", b"abcdefgh")["id"])
    with Api(api.url, None) as nobody:
        answer = nobody.get(url, headers={"Range": header})
    assert (answer.status_code, answer.content) == (200, b"abcdefgh")


@pytest.mark.parametrize(
    ("content", "header"), [(b"abc", "bytes=3-"), (b"abc", "bytes=-0"), (b"", "bytes=0-")]
)
def test_range_beyond_the_end_is_not_satisfiable(api, content, header):
    url = api.download_url(api.upload("f", content)["id"])
    with Api(api.url, None) as nobody:
        answer = nobody.get(url, headers={"Range": header})
    assert refused(answer, 416)
    assert answer.headers["Content-Range"] == f"bytes */{len(content)}"


def test_head_and_validators_of_contents(api):
    url = api.download_url(api.upload("f", b"abcdef")["id"])
    with Api(api.url, None) as nobody:
        head = nobody.request("HEAD", url)
        assert (head.headers["Content-Length"], head.headers["Accept-Ranges"]) == ("6", "bytes")
        same = {"Range": "bytes=0-1", "If-Range": head.headers["ETag"]}
        assert nobody.get(url, headers=same).content == b"ab"
        other = {"Range": "bytes=0-1", "If-Range": '"other"'}
        assert nobody.get(url, headers=other).content == b"abcdef"
        plain = nobody.get(url, headers={"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in plain.headers


def test_list_of_files_knows_states_and_filters(api):
    ready = api.upload(f"list-{api.folder[-1]}-ready", b"x")
    begun = api.begin(f"list-{api.folder[-1]}-begun", 5)
    gone = api.upload(f"list-{api.folder[-1]}-gone")
    api.request("DELETE", f"{FILES}/{gone['id']}")
    part = {"name_contains": f"list-{api.folder[-1]}-"}
    found = api.get(FILES, params={**part, "order_by": "-id"}).json()
    assert [(row["id"], row["state"]) for row in found["results"]] == [
        (begun["id"], "created"),
        (ready["id"], "ready"),
    ]
    listed = {key: value for key, value in ready.items() if key != "description"}
    assert found["results"][1] == listed
    assert api.get(FILES, params={**part, "state": "ready"}).json()["count"] == 1
    assert api.get(FILES, params={"name": ready["name"]}).json()["results"] == [listed]
    assert api.get(FILES, params={**part, "limit": 1}).json()["next"] is not None
    assert refused(api.get(FILES, params={"state": "odd"}), 400)


def test_update_changes_name_and_description(api):
    row = api.upload("before", b"x")
    answer = api.request("PATCH", f"{FILES}/{row['id']}", json={"name": "after", "description": "a hit"})
    assert (answer.json()["name"], answer.json()["description"]) == ("after", "a hit")
    assert api.names(api.folder) == ["after"]
    for changes in ({"name": "a\0b"}, {"description": 5}, {"size": 7}, {"folder_path": "/"}):
        assert refused(api.request("PATCH", f"{FILES}/{row['id']}", json=changes), 422)
    assert refused(api.request("PATCH", f"{FILES}/1", json={}), 404)


def test_delete_is_soft_unless_immediate(api, shared_server):
    row = api.upload("f", b"abc")
    url = api.download_url(row["id"])
    assert api.request("DELETE", f"{FILES}/{row['id']}").status_code == 204
    assert api.names(api.folder) == []
    assert api.get(f"{FILES}/{row['id']}").json()["deleted"].endswith("Z")
    assert refused(api.get(f"{FILES}/{row['id']}/download"), 404, "deleted")
    assert refused(api.request("DELETE", f"{FILES}/{row['id']}"), 404)
    with Api(api.url, None) as nobody:
        assert nobody.get(url).content == b"abc"
        assert api.request("DELETE", f"{FILES}/{row['id']}?immediate=true").status_code == 204
        assert refused(nobody.get(url), 404)
    assert refused(api.get(f"{FILES}/{row['id']}"), 404)
    assert refused(api.request("DELETE", f"{FILES}/{row['id']}?immediate=true"), 404)


def test_delete_of_a_begun_upload_leaves_nothing(api, shared_server):
    row = api.begin("f", 3)
    blobs = shared_server.folder / "data" / "blobs"
    before = sum(1 for _ in blobs.glob("*/*"))
    assert api.request("DELETE", f"{FILES}/{row['id']}").status_code == 204
    assert sum(1 for _ in blobs.glob("*/*")) == before - 1
    with Api(api.url, None) as nobody:
        assert refused(nobody.request("PUT", row["upload"]["parts"][0]["url"], data=b"abc"), 404)


@pytest.mark.parametrize("number", ["1", "x", "-1", "9" * 30, "1.5"])
def test_files_that_are_not_there_are_not_found(api, number):
    assert refused(api.get(f"{FILES}/{number}"), 404)
    assert refused(api.get(f"{FILES}/{number}/download"), 404)
    assert refused(api.complete(number, 1), 404)


def test_tags_are_set_listed_and_taken_away(api):
    row = api.upload("f")
    route = f"/api/v1/storage/files/{row['id']}/tags"
    answer = api.post(route, {"tags": ["lead", "PDB: 1abc", "lead"]})
    first, second = ({"name": name, "project": 1, "system": False} for name in ("PDB: 1abc", "lead"))
    assert answer.json() == {"results": [first, second]}
    api.post(route, {"tags": ["lead"], "project": 7})
    assert api.get(route).json()["results"] == [first, second, {**second, "project": 7}]
    assert api.ls(api.folder).json()["results"][0]["tags"] == ["PDB: 1abc", "lead"]
    left = api.request("DELETE", route, json={"tags": ["lead", "never set"]})
    assert left.json()["results"] == [first]


def test_tags_of_folders_and_collections_work_and_of_strangers_do_not(api):
    number = api.stat(api.folder).json()["id"]
    assert api.post(f"/api/v1/storage/folders/{number}/tags", {"tags": ["x"]}).status_code == 200
    assert api.stat(api.folder).json()["tags"] == ["x"]
    assert refused(api.get(f"/api/v1/storage/files/{number}/tags"), 404)
    assert refused(api.get(f"/api/v1/storage/cats/{number}/tags"), 404)
    assert refused(api.get("/api/v1/storage/datasets/1/tags"), 404)
    for body in ({}, {"tags": "x"}, {"tags": [""]}, {"tags": [5]}, {"tags": ["x"], "project": 99}):
        assert refused(api.post(f"/api/v1/storage/folders/{number}/tags", body), 422)


def begin_open(api, name):
    answer = api.post(FILES, {"name": name, "open_ended": True, "folder_path": api.folder})
    assert answer.status_code == 201, answer.text
    return answer.json()


def finish(api, row, parts, size):
    return api.post(f"{FILES}/{row['id']}/complete", {"parts": parts, "size": size})


def test_upload_with_an_open_end_tells_its_size_when_it_is_complete(api):
    assert api.get("/api/v1/orionfs").json()["limits"]["open_ended"] is True
    row = begin_open(api, "growing")
    assert "size" not in row
    put_parts(api, row, CONTENT, {2, 3})
    assert api.names(api.folder) == []
    assert refused(finish(api, row, 3, len(CONTENT)), 409, "parts_missing")
    put_parts(api, row, CONTENT, {1})
    for parts, size in ((2, 2000), (3, len(CONTENT) + 1), (4, len(CONTENT))):
        assert refused(finish(api, row, parts, size), 409, "parts_missing")
    assert refused(api.complete(row["id"], 3), 422)
    done = finish(api, row, 3, len(CONTENT)).json()
    assert (done["state"], done["size"]) == ("ready", len(CONTENT))
    assert finish(api, row, 3, len(CONTENT)).json() == done
    assert refused(finish(api, row, 3, len(CONTENT) - 1), 409)
    assert api.content(row["id"]) == CONTENT


def test_parts_of_an_open_end_have_to_lie_one_after_the_other(api):
    """Two that are too short can be as many bytes as they should, with a hole between them."""
    row = begin_open(api, "hole")
    with Api(api.url, None) as nobody:
        for part in row["upload"]["parts"][:2]:
            assert nobody.request("PUT", part["url"], data=b"x" * 750).status_code == 204
    assert refused(finish(api, row, 2, 1500), 409, "parts_missing")


def test_further_parts_of_an_open_end_get_addresses_on_request(api):
    row = begin_open(api, "long")
    told = len(row["upload"]["parts"])
    content = bytes(range(250)) * 4 * (told + 1)
    put_parts(api, row, content)
    more = api.post(f"{FILES}/{row['id']}/parts", {"numbers": [told + 1]}).json()
    put_parts(api, {"upload": {"part_bytes": 1000, **more}}, content)
    assert finish(api, row, told + 1, len(content)).status_code == 200
    assert api.content(row["id"]) == content


def test_upload_with_an_open_end_is_removed_without_a_trace(api, shared_server):
    row = begin_open(api, "unwanted")
    put_parts(api, row, CONTENT)
    assert api.request("DELETE", f"{FILES}/{row['id']}").status_code == 204
    with Api(api.url, None) as nobody:
        assert refused(nobody.request("PUT", row["upload"]["parts"][0]["url"], data=b"x"), 404)
    assert api.get(FILES, params={"name": "unwanted"}).json()["results"] == []
