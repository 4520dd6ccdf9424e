"""Collections and their shards over HTTP: states, metadata, contents in one and in parts."""

from __future__ import annotations

import pytest

from tests.server.process import COLLECTIONS, HOME, Api, wait_until
from tests.server.test_paths_routes import refused

CONTENT = bytes(range(256)) * 10
LARGEST_EXACT_DOUBLE = 2**53


@pytest.fixture
def collection(api):
    """The route of an open collection."""
    row = api.post(COLLECTIONS, {"name": "poses", "folder_path": api.folder}).json()
    return f"{COLLECTIONS}/{row['id']}"


@pytest.fixture
def shard(api, collection):
    """The route of an open shard."""
    row = api.post(f"{collection}/shards", {"name": "part-1"}).json()
    return f"{collection}/shards/{row['id']}"


def begin(api, shard, size):
    answer = api.post(f"{shard}/parts", {"size": size})
    assert answer.status_code == 200, answer.text
    return answer.json()


def send(api, upload, content, numbers=None):
    with Api(api.url, None) as nobody:
        for part in upload["parts"]:
            if numbers is None or part["number"] in numbers:
                start = (part["number"] - 1) * upload["part_bytes"]
                piece = content[start : start + upload["part_bytes"]]
                answer = nobody.request("PUT", part["url"], data=piece)
                assert answer.status_code == 204, answer.text


def content_of(api, shard):
    return api.get(f"{shard}/download/", follow=True).content


def blobs(server):
    return {path.name for path in (server.folder / "data" / "blobs").glob("*/*")}


def test_collection_is_made_open_with_its_metadata(api):
    body = {"name": "c", "folder_path": api.folder, "metadata": {"a": [1, {"b": "\u00e4"}]}}
    answer = api.post(COLLECTIONS, body)
    row = answer.json()
    assert (answer.status_code, row["resource_type"], row["state"]) == (201, "collection", "open")
    assert row["metadata"] == {"a": [1, {"b": "\u00e4"}]}
    assert api.get(f"{COLLECTIONS}/{row['id']}").json() == row
    assert api.stat(f"{api.folder}/c").json()["id"] == row["id"]
    listed = api.get(COLLECTIONS, params={"name": "c", "path_contains": api.folder}).json()["results"]
    assert [found["id"] for found in listed] == [row["id"]]
    assert "metadata" not in listed[0]
    assert "size" not in row


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 422, "bad_name"),
        ({"name": "c", "metadata": []}, 422, "invalid"),
        ({"name": "c", "metadata": {"a": "\ud800"}}, 422, "invalid"),
        ({"name": "c", "metadata": {"a": "x" * 262_137}}, 422, "metadata_too_large"),
        ({"name": "c", "project": "1"}, 422, "bad_project"),
        ({"name": "c", "folder_path": "/absent"}, 404, "not_found"),
        ({"name": "c", "folder_path": "/project"}, 403, "permission_denied"),
    ],
)
def test_collection_of_nonsense_is_refused(api, body, status, code):
    assert refused(api.post(COLLECTIONS, {"folder_path": api.folder, **body}), status, code)
    assert api.names(api.folder) == []


def test_metadata_of_the_largest_size_are_kept(api, shard):
    metadata = {"a": "x" * 262_136}
    answer = api.request("PATCH", shard, json={"metadata": metadata})
    assert answer.json()["metadata"] == metadata
    assert refused(api.request("PATCH", shard, json={"metadata": {"a": "x" * 262_137}}), 422)


def test_collection_is_closed_and_opened_again(api, collection):
    shard = f"{collection}/shards/{api.post(f'{collection}/shards', {'name': 's'}).json()['id']}"
    closed = api.post(f"{collection}/close")
    assert (closed.status_code, closed.json()["state"]) == (200, "close")
    assert api.post(f"{collection}/close").json() == closed.json()
    assert refused(api.post(f"{collection}/shards", {"name": "t"}), 409, "closed")
    assert refused(api.request("DELETE", shard), 409, "closed")
    assert [r["state"] for r in api.ls(api.folder, states="close").json()["results"]] == ["close"]
    assert api.post(f"{collection}/open").json()["state"] == "open"
    assert api.post(f"{collection}/shards", {"name": "t"}).status_code == 201
    assert api.request("DELETE", shard).status_code == 204
    assert refused(api.get(shard), 404)


def test_collection_is_changed_and_deleted_with_its_shards(api, collection, shard, shared_server):
    api.request("PUT", f"{shard}/data", data=b"x")
    changes = {"name": "d", "description": "about", "metadata": {"n": 1}}
    row = api.request("PATCH", collection, json=changes).json()
    assert {key: row[key] for key in changes} == changes
    assert refused(api.request("PATCH", collection, json={"state": "close"}), 422)
    before = blobs(shared_server)
    assert api.request("DELETE", collection).status_code == 204
    assert api.get(collection).json()["deleted"] is not None
    assert refused(api.get(shard), 404)
    assert refused(api.get(f"{collection}/shards"), 404)
    assert refused(api.post(f"{collection}/open"), 404)
    assert api.request("DELETE", f"{collection}?immediate=true").status_code == 204
    assert len(before - blobs(shared_server)) == 1


def test_shard_goes_from_open_to_temporary_to_ready(api, collection):
    answer = api.post(f"{collection}/shards", {"name": "s", "metadata": {"n": 1}})
    row = answer.json()
    shard = f"{collection}/shards/{row['id']}"
    assert (answer.status_code, row["state"], row["size"], row["metadata"]) == (201, "open", 0, {"n": 1})
    assert row["id"] > 2**60 > LARGEST_EXACT_DOUBLE
    assert row["id_str"] == str(row["id"])
    assert refused(api.post(f"{shard}/close"), 409, "empty")
    assert refused(api.get(f"{shard}/download/"), 409, "not_ready")
    assert api.request("PUT", f"{shard}/data", data=b"first").status_code == 204
    assert (api.get(shard).json()["state"], api.get(shard).json()["size"]) == ("temporary", 5)
    assert refused(api.get(f"{shard}/download/"), 409, "not_ready")
    assert api.request("PUT", f"{shard}/data", data=b"second!").status_code == 204
    closed = api.post(f"{shard}/close").json()
    assert (closed["state"], closed["size"], closed["metadata"]) == ("ready", 7, {"n": 1})
    assert api.post(f"{shard}/close").json() == closed
    assert api.get(shard).json() == closed
    assert content_of(api, shard) == b"second!"
    assert api.get(f"{shard}/download", follow=True).content == b"second!"
    late = [
        api.request("PUT", f"{shard}/data", data=b"third"),
        api.request("PATCH", shard, json={"name": "t"}),
        api.post(f"{shard}/parts", {"size": 5}),
        api.post(f"{shard}/complete", {"parts": 1}),
    ]
    assert all(refused(answer, 409, "closed") for answer in late)


def test_replaced_contents_are_removed(api, shard, shared_server):
    before = blobs(shared_server)
    for content in (b"1", b"2", b"3"):
        api.request("PUT", f"{shard}/data", data=content)
    send(api, begin(api, shard, 3), b"abc")
    assert len(blobs(shared_server) - before) == 2
    assert api.post(f"{shard}/complete", {"parts": 1}).status_code == 200
    assert len(blobs(shared_server) - before) == 1
    api.request("DELETE", shard)
    assert blobs(shared_server) == before


def test_contents_in_parts_take_the_place_of_those_before_when_they_are_whole(api, shard):
    api.request("PUT", f"{shard}/data", data=b"before")
    upload = begin(api, shard, len(CONTENT))
    assert (upload["part_bytes"], [part["number"] for part in upload["parts"]]) == (1000, [1, 2, 3])
    send(api, upload, CONTENT, {3, 1})
    assert api.get(shard).json()["size"] == 6
    assert refused(api.post(f"{shard}/complete", {"parts": 3}), 409, "parts_missing")
    assert refused(api.post(f"{shard}/complete", {"parts": 2}), 409, "parts_missing")
    assert refused(api.post(f"{shard}/complete", {}), 422)
    renewed = api.post(f"{shard}/parts", {"numbers": [2]}).json()
    assert [part["number"] for part in renewed["parts"]] == [2]
    send(api, {**upload, **renewed}, CONTENT)
    done = api.post(f"{shard}/complete", {"parts": 3}).json()
    assert (done["state"], done["size"]) == ("temporary", len(CONTENT))
    assert api.post(f"{shard}/complete", {"parts": 3}).json() == done
    with Api(api.url, None) as nobody:
        assert refused(nobody.request("PUT", upload["parts"][0]["url"], data=b"\0" * 1000), 404)
    api.post(f"{shard}/close")
    assert content_of(api, shard) == CONTENT


def test_new_contents_put_an_end_to_those_under_way(api, shard):
    """A late part of an upload that was given up can't get into the next one."""
    old = begin(api, shard, 2000)
    new = begin(api, shard, 2000)
    with Api(api.url, None) as nobody:
        assert refused(nobody.request("PUT", old["parts"][0]["url"], data=b"\xff" * 1000), 404)
    send(api, new, b"n" * 2000)
    assert api.request("PUT", f"{shard}/data", data=b"short").status_code == 204
    assert refused(api.post(f"{shard}/complete", {"parts": 2}), 409, "parts_missing")
    api.post(f"{shard}/close")
    assert content_of(api, shard) == b"short"


def test_empty_contents_have_no_parts(api, shard):
    assert begin(api, shard, 0)["parts"] == []
    assert api.post(f"{shard}/complete", {"parts": 0}).json()["state"] == "temporary"
    api.post(f"{shard}/close")
    assert content_of(api, shard) == b""


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 409),
        ({"numbers": [1]}, 409),
        ({"size": -1}, 422),
        ({"size": "x"}, 422),
        ({"size": 5 * 10**9 + 1}, 413),
    ],
)
def test_parts_with_nonsense_are_refused(api, shard, body, status):
    assert refused(api.post(f"{shard}/parts", body), status)


def test_numbers_of_parts_are_checked(api, shard):
    begin(api, shard, 2000)
    for numbers in ([0], [3], "1", ["1"]):
        assert refused(api.post(f"{shard}/parts", {"numbers": numbers}), 422)


def test_shard_of_five_billion_bytes_can_be_begun(start):
    with start().api() as api:
        row = api.post(COLLECTIONS, {"name": "c"}).json()
        number = api.post(f"{COLLECTIONS}/{row['id']}/shards", {"name": "s"}).json()["id"]
        upload = begin(api, f"{COLLECTIONS}/{row['id']}/shards/{number}", 5 * 10**9)
        assert upload["part_bytes"] * len(upload["parts"]) >= 5 * 10**9


def test_limits_of_contents_are_enforced(start):
    with start(switches={"shard_max_bytes": "10", "part_bytes": "8"}).api() as api:
        row = api.post(COLLECTIONS, {"name": "c"}).json()
        number = api.post(f"{COLLECTIONS}/{row['id']}/shards", {"name": "s"}).json()["id"]
        shard = f"{COLLECTIONS}/{row['id']}/shards/{number}"
        assert refused(api.request("PUT", f"{shard}/data", data=b"x" * 9), 413, "too_large")
        assert refused(api.request("PUT", f"{shard}/data", data=iter([b"x"])), 400)
        assert refused(api.post(f"{shard}/parts", {"size": 11}), 413, "too_large")
        assert len(begin(api, shard, 10)["parts"]) == 2


@pytest.mark.parametrize("body", [{}, {"name": ""}, {"name": "a/b"}, {"name": "s", "metadata": 5}])
def test_shard_of_nonsense_is_refused(api, collection, body):
    assert refused(api.post(f"{collection}/shards", body), 422)
    assert api.get(f"{collection}/shards").json()["count"] == 0


def test_shard_is_renamed_and_described_until_it_is_ready(api, shard):
    row = api.request("PATCH", shard, json={"name": "other", "metadata": {"a": 1}}).json()
    assert (row["name"], row["metadata"]) == ("other", {"a": 1})
    for key, value in (("state", "ready"), ("name", ""), ("metadata", [])):
        assert refused(api.request("PATCH", shard, json={key: value}), 422)


def test_shards_are_listed_by_page_name_and_state(api, collection):
    for name in ("a-1", "a-2", "b-1"):
        row = api.post(f"{collection}/shards", {"name": name, "metadata": {"n": 1}}).json()
        if name != "a-1":
            api.request("PUT", f"{collection}/shards/{row['id']}/data", data=b"x")
    api.post(f"{collection}/shards/{row['id']}/close")

    def names(**query):
        answer = api.get(f"{collection}/shards", params=query)
        assert answer.status_code == 200, answer.text
        return [found["name"] for found in answer.json()["results"]]

    assert names() == ["a-1", "a-2", "b-1"]
    assert names(limit=2, offset=1) == ["a-2", "b-1"]
    assert names(order_by="-name", limit=1) == ["b-1"]
    assert names(name="a-2") == ["a-2"]
    assert names(name_contains="a-") == ["a-1", "a-2"]
    assert names(state="open") == ["a-1"]
    assert names(states="temporary,ready") == ["a-2", "b-1"]
    listed = api.get(f"{collection}/shards", params={"limit": 1}).json()
    assert listed["count"] == 3
    assert "metadata" not in listed["results"][0]
    assert refused(api.get(f"{collection}/shards", params={"state": "x"}), 400)


def test_shard_is_marked_by_the_job_that_makes_it(api, collection):
    row = api.post(f"{collection}/shards", {"name": "s"}, headers={"X-Orion-Job": "17"}).json()
    api.post(f"{collection}/shards", {"name": "t"})
    found = api.get(f"{collection}/shards", params={"tags": "Job 17"}).json()["results"]
    assert [shard["id"] for shard in found] == [row["id"]]


@pytest.mark.parametrize("number", ["1", "999999999999", "1152921504606846976", "x", "9" * 30])
def test_what_is_not_there_is_not_found(api, collection, number):
    answers = []
    for route in (f"{COLLECTIONS}/{number}/shards/{number}", f"{collection}/shards/{number}"):
        answers += [
            api.get(route),
            api.request("PATCH", route, json={"name": "x"}),
            api.request("DELETE", route),
            api.request("PUT", f"{route}/data", data=b""),
            api.post(f"{route}/parts", {"size": 1}),
            api.post(f"{route}/complete", {"parts": 1}),
            api.post(f"{route}/close"),
            api.get(f"{route}/download/"),
        ]
    route = f"{COLLECTIONS}/{number}"
    answers += [
        api.get(route),
        api.request("PATCH", route, json={"name": "x"}),
        api.request("DELETE", route),
        api.post(f"{route}/open"),
        api.post(f"{route}/close"),
        api.get(f"{route}/shards"),
        api.post(f"{route}/shards", {"name": "s"}),
    ]
    assert [answer.status_code for answer in answers] == [404] * len(answers)


def test_shard_belongs_to_its_collection_only(api, collection, shard):
    other = api.post(COLLECTIONS, {"name": "other", "folder_path": api.folder}).json()
    number = shard.rpartition("/")[2]
    assert refused(api.get(f"{COLLECTIONS}/{other['id']}/shards/{number}"), 404)


def test_shares_of_a_collection_hold_for_its_shards(api, alice):
    """Read lets read and no more; write lets fill and close; delete lets delete."""
    row = api.post(COLLECTIONS, {"name": "c", "folder_path": "/project/7/user/demo"}).json()
    collection = f"{COLLECTIONS}/{row['id']}"
    number = api.post(f"{collection}/shards", {"name": "s"}).json()["id"]
    shard = f"{collection}/shards/{number}"
    me = alice.get("/api/v1/users/me").json()["id"]
    reads = [
        lambda: alice.get(collection),
        lambda: alice.get(shard),
        lambda: alice.get(f"{collection}/shards"),
    ]
    writes = [
        lambda: alice.request("PATCH", collection, json={"metadata": {"n": 2}}),
        lambda: alice.post(f"{collection}/close"),
        lambda: alice.post(f"{collection}/open"),
        lambda: alice.post(f"{collection}/shards", {"name": "t"}),
        lambda: alice.request("PATCH", shard, json={"name": "u"}),
        lambda: alice.post(f"{shard}/parts", {"size": 0}),
        lambda: alice.post(f"{shard}/complete", {"parts": 0}),
        lambda: alice.request("PUT", f"{shard}/data", data=b"x"),
        lambda: alice.post(f"{shard}/close"),
    ]
    deletes = [lambda: alice.request("DELETE", shard), lambda: alice.request("DELETE", collection)]

    def statuses(*calls):
        return [call().status_code for call in calls]

    assert statuses(*reads, *writes, *deletes) == [403] * 14
    assert api.post(f"{collection}/shares", {"user": me}).status_code == 200
    assert statuses(*reads, *writes, *deletes) == [200] * 3 + [403] * 11
    assert api.post(f"{collection}/shares", {"user": me, "permissions": ["write"]}).status_code == 200
    assert statuses(*writes, *deletes) == [200, 200, 200, 201, 200, 200, 200, 204, 200, 403, 403]
    assert api.post(f"{collection}/shares", {"user": me, "permissions": ["delete"]}).status_code == 200
    assert statuses(writes[0], *deletes) == [403, 204, 204]


def test_moving_a_collection_changes_who_reads_its_shards(api, alice):
    row = api.post(COLLECTIONS, {"name": "moved", "folder_path": "/project/7/user/demo"}).json()
    number = api.post(f"{COLLECTIONS}/{row['id']}/shards", {"name": "s"}).json()["id"]
    shard = f"{COLLECTIONS}/{row['id']}/shards/{number}"
    assert refused(alice.get(shard), 403)
    subject = {"resource_type": "collection", "id": row["id"]}
    assert api.assign({**subject, "path": "/project/7/team"}).status_code == 204
    assert alice.get(shard).status_code == 200


def test_contents_of_shards_survive_a_kill(start):
    """Half an upload goes on after it, what was complete is there, what nobody refers to is gone."""
    switches = {"part_bytes": "1000"}
    first = start(switches=switches)
    with first.api() as api:
        row = api.post(COLLECTIONS, {"name": "c", "folder_path": HOME}).json()
        collection = f"{COLLECTIONS}/{row['id']}"
        shards = [
            f"{collection}/shards/{api.post(f'{collection}/shards', {'name': n}).json()['id']}" for n in "ab"
        ]
        uploads = [begin(api, shard, len(CONTENT)) for shard in shards]
        send(api, uploads[0], CONTENT)
        assert api.post(f"{shards[0]}/complete", {"parts": 3}).status_code == 200
        send(api, uploads[1], CONTENT, {2})
    first.kill()
    second = start(switches=switches)
    with second.api() as api:
        assert api.get(shards[0]).json()["state"] == "temporary"
        renewed = api.post(f"{shards[1]}/parts", {"numbers": [1, 3]}).json()
        send(api, renewed, CONTENT)
        assert api.post(f"{shards[1]}/complete", {"parts": 3}).status_code == 200
        for shard in shards:
            assert api.post(f"{shard}/close").json()["state"] == "ready"
            assert content_of(api, shard) == CONTENT
        api.request("DELETE", shards[1])
        wait_until(lambda: len(blobs(second)) == 1)
