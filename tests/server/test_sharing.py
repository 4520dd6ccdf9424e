"""Who may do what with an item, by place, ownership and shares; sharing; tags; deletion."""

from __future__ import annotations

from itertools import count

import pytest

from tests.server.process import COLLECTIONS, FILES, PATHS, Api
from tests.server.test_paths_routes import refused

TEAM = "/project/7/team"
WORDS = ("read", "write", "delete", "share")
_numbers = count(1)


def user_id(api):
    return api.get("/api/v1/users/me").json()["id"]


def shares_of(row):
    return f"{FILES}/{row['id']}/shares"


def tags_of(row):
    return f"/api/v1/storage/{row['resource_type']}s/{row['id']}/tags"


def assignment(row, path, **more):
    return {"resource_type": row["resource_type"], "id": row["id"], "path": path, **more}


def new_file(api, **options):
    return api.upload(f"f{next(_numbers)}", b"abc", **options)


@pytest.fixture
def cyd_id(cyd) -> int:
    return user_id(cyd)


# What can be tried with a file, and what is needed for it.
NEEDS = {
    "get": {"read"},
    "download": {"read"},
    "stat": {"read"},
    "get_paths": {"read"},
    "list_tags": {"read"},
    "update": {"write"},
    "tag": {"write"},
    "untag": {"write"},
    "share": {"share"},
    "unshare": {"share"},
    "move": {"write", "delete"},
}


def attempts(api, row, target, holder):
    """Try it all; the answers."""
    file = f"{FILES}/{row['id']}"
    return {
        "get": api.get(file),
        "download": api.get(f"{file}/download"),
        "stat": api.stat(row["path"]),
        "get_paths": api.post(f"{PATHS}/get", {"items": [assignment(row, "")]}),
        "list_tags": api.get(tags_of(row)),
        "update": api.request("PATCH", file, json={"description": "x"}),
        "tag": api.post(tags_of(row), {"tags": ["x"]}),
        "untag": api.request("DELETE", tags_of(row), json={"tags": ["x"]}),
        "share": api.post(f"{file}/shares", {"user": holder}),
        "unshare": api.request("DELETE", f"{file}/shares", json={"user": holder}),
        "move": api.assign(assignment(row, target)),
    }


def gone_well(answers):
    """What went well; all else was refused, and said why."""
    done = {name for name, answer in answers.items() if answer.ok}
    assert all(refused(answers[name], 403, "permission_denied") for name in set(answers) - done)
    return done


def is_listed(api, row):
    return api.get(FILES, params={"name": row["name"]}).json()["count"] == 1


SHARED = [(), ("read",), ("write",), ("delete",), ("share",), ("write", "delete"), WORDS]


@pytest.mark.some(6)
@pytest.mark.parametrize("words", SHARED, ids="+".join)
@pytest.mark.parametrize("holder", ["user", "project"])
def test_share_grants_its_set_and_reading_and_nothing_else(ann, ben, cyd, cyd_id, holder, words):
    """Of a file in ann's own folder; cyd shares no project with her."""
    row = new_file(ann)
    assert ann.post(shares_of(row), {holder: {"user": cyd_id, "project": 9}[holder], "permissions": words}).ok
    granted = {"read", *words}
    assert is_listed(cyd, row)
    assert not is_listed(ben, row)
    answers = attempts(cyd, row, cyd.folder, user_id(ben))
    assert gone_well(answers) == {name for name, needed in NEEDS.items() if needed <= granted}
    by_id, by_path = new_file(ann), new_file(ann)
    for other in (by_id, by_path):
        assert ann.post(shares_of(other), {"user": cyd_id, "permissions": words}).ok
    answers = {
        "delete": cyd.request("DELETE", f"{FILES}/{by_id['id']}"),
        "remove": cyd.remove(by_path["path"]),
    }
    assert gone_well(answers) == ({"delete", "remove"} if "delete" in granted else set())


@pytest.mark.parametrize(
    ("who", "place", "is_allowed"),
    [
        ("ann", "/project/7/user/ann", True),
        ("ben", "/project/7/user/ann", False),
        ("ben", TEAM, True),
        ("ben", "/project/7/workspace/1", True),
        ("ben", "/project/7/workspace/3", False),
        ("cyd", TEAM, False),
        ("cyd", "/project/7/workspace/1", False),
        ("cyd", "/organization", True),
    ],
)
def test_place_grants_everything_or_nothing(request, people, ann, who, place, is_allowed):
    api = request.getfixturevalue(who)
    row = new_file(ann, folder=place)
    assert is_listed(api, row) is is_allowed
    assert gone_well(attempts(api, row, api.folder, user_id(ann))) == (set(NEEDS) if is_allowed else set())
    deleted = api.request("DELETE", f"{FILES}/{row['id']}")
    assert deleted.status_code == (204 if is_allowed else 403)


def test_owner_keeps_what_somebody_else_moved_away(ann, ben):
    row = new_file(ann, folder=TEAM)
    assert ben.assign(assignment(row, ben.folder)).status_code == 204
    assert is_listed(ann, row)
    assert ann.content(row["id"]) == b"abc"
    assert refused(ann.ls(ben.folder), 404)
    assert ann.request("DELETE", f"{FILES}/{row['id']}").status_code == 204


def test_folders_of_the_tree_belong_to_nobody(people, ben):
    """The first user owns their rows: that must not let him into the folders of others."""
    with people.api() as demo:
        assert refused(demo.stat(ben.folder), 403)
        assert refused(demo.ls(ben.folder), 404)
        number = ben.stat(ben.folder).json()["id"]
        assert refused(demo.get(f"/api/v1/storage/folders/{number}/tags"), 403)


def test_share_replaces_the_earlier_one_and_all_are_told(ann, cyd, cyd_id):
    row = new_file(ann)
    first = ann.post(shares_of(row), {"user": cyd_id, "permissions": ["write", "delete"]})
    assert first.json() == {"results": [{"user": cyd_id, "permissions": ["read", "write", "delete"]}]}
    ann.post(shares_of(row), {"user": cyd_id})
    assert refused(cyd.request("PATCH", f"{FILES}/{row['id']}", json={"name": "x"}), 403)
    both = ann.post(shares_of(row), {"project": 9, "permissions": ["share"]}).json()["results"]
    assert both == [
        {"project": 9, "permissions": ["read", "share"]},
        {"user": cyd_id, "permissions": ["read"]},
    ]


def test_unshared_is_out_of_reach_again_and_unsharing_twice_is_harmless(ann, cyd, cyd_id):
    row = new_file(ann)
    ann.post(shares_of(row), {"user": cyd_id})
    assert cyd.content(row["id"]) == b"abc"
    for _ in range(2):
        answer = ann.request("DELETE", shares_of(row), json={"user": cyd_id})
        assert (answer.status_code, answer.content) == (204, b"")
    assert refused(cyd.get(f"{FILES}/{row['id']}"), 403)
    assert not is_listed(cyd, row)


def test_nobody_gives_away_more_than_he_has(ann, ben, cyd, cyd_id):
    row = new_file(ann)
    ann.post(shares_of(row), {"user": cyd_id, "permissions": ["share"]})
    for words in (["write"], ["delete"], ["read", "write"]):
        assert refused(
            cyd.post(shares_of(row), {"user": cyd_id, "permissions": words}), 403, "permission_denied"
        )
    assert cyd.post(shares_of(row), {"user": user_id(ben), "permissions": ["read", "share"]}).ok
    assert ben.content(row["id"]) == b"abc"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 400, "bad_request"),
        ({"user": 1, "project": 7}, 400, "bad_request"),
        ({"user": 99}, 422, "unknown_user"),
        ({"user": "ann"}, 422, "unknown_user"),
        ({"user": True}, 422, "unknown_user"),
        ({"project": 99}, 422, "unknown_project"),
        ({"project": 7.0}, 422, "unknown_project"),
        ({"user": 1, "permissions": ["sing"]}, 422, "bad_permission"),
        ({"user": 1, "permissions": "read"}, 422, "bad_permission"),
        ({"user": 1, "permissions": [1]}, 422, "bad_permission"),
    ],
)
def test_share_with_nonsense_is_refused(ann, body, status, code):
    route = shares_of(new_file(ann))
    assert refused(ann.post(route, body), status, code)
    if "permissions" not in body:
        assert refused(ann.request("DELETE", route, json=body), status, code)


def test_share_of_what_can_not_be_shared_or_is_not_there(ann, people):
    folder = ann.stat(ann.folder).json()["id"]
    for route in (f"/api/v1/storage/folders/{folder}/shares", "/api/v1/workfloes/5/shares"):
        assert refused(ann.post(route, {"user": 1}), 422, "not_sharable")
        assert refused(ann.request("DELETE", route, json={"user": 1}), 422, "not_sharable")
    for route in (f"{FILES}/1/shares", f"{FILES}/x/shares", "/api/v1/storage/cats/1/shares"):
        assert refused(ann.post(route, {"user": 1}), 404)
    row = new_file(ann)
    ann.request("DELETE", f"{FILES}/{row['id']}")
    assert refused(ann.post(shares_of(row), {"user": 1}), 404)
    with Api(people.url, None) as nobody:
        assert refused(nobody.post(shares_of(row), {"user": 1}), 401)
        assert refused(nobody.request("DELETE", shares_of(row), json={"user": 1}), 401)
        assert refused(nobody.get("/api/v1/users"), 401)


def test_collection_shares_its_shards(ann, cyd, cyd_id):
    collection = ann.post(COLLECTIONS, {"name": "c", "folder_path": ann.folder}).json()
    route = f"{COLLECTIONS}/{collection['id']}"
    shard = ann.post(f"{route}/shards", {"name": "s"}).json()
    one = f"{route}/shards/{shard['id']}"
    assert refused(cyd.get(one), 403)
    ann.post(f"{route}/shares", {"user": cyd_id})
    assert cyd.get(one).status_code == 200
    assert refused(cyd.request("PUT", f"{one}/data", data=b"x"), 403)
    assert refused(cyd.post(f"{route}/shards", {"name": "t"}), 403)
    ann.post(f"{route}/shares", {"user": cyd_id, "permissions": ["write"]})
    assert cyd.request("PUT", f"{one}/data", data=b"x").status_code < 300
    made = cyd.post(f"{route}/shards", {"name": "t"}).json()
    assert ann.get(f"{route}/shards/{made['id']}").status_code == 200
    ann.request("DELETE", f"{route}/shares", json={"user": cyd_id})
    assert refused(cyd.get(f"{route}/shards/{made['id']}"), 403)


def test_share_ends_with_what_was_shared(ann, people, cyd_id):
    row = new_file(ann)
    ann.post(shares_of(row), {"user": cyd_id})
    assert ann.request("DELETE", f"{FILES}/{row['id']}?immediate=true").status_code == 204
    assert refused(ann.get(f"{FILES}/{row['id']}"), 404)


# -- tags ------------------------------------------------------------------------------------------


def test_what_a_job_makes_gets_its_system_tag(ann):
    job = {"X-Orion-Job": "4711"}
    name = f"job-{next(_numbers)}"
    small = ann.request(
        "POST", f"{FILES}/upload", params={"name": name, "folder_path": ann.folder}, data=b"x", headers=job
    )
    begun = ann.post(FILES, {"name": name, "size": 5, "folder_path": ann.folder}, headers=job)
    collection = ann.post(COLLECTIONS, {"name": name, "folder_path": ann.folder}, headers=job)
    folder = ann.post(f"{PATHS}/create", {"paths": [f"{ann.folder}/{name}-folder"]}, headers=job)
    rows = [small.json(), begun.json(), collection.json(), folder.json()["results"][0]]
    assert [(row["tags"], row["systemtags"]) for row in rows] == [([], ["Job 4711"])] * 4
    route = tags_of(rows[0])
    assert ann.get(route).json()["results"] == [{"name": "Job 4711", "project": 7, "system": True}]
    assert refused(ann.request("DELETE", route, json={"tags": ["Job 4711"]}), 422, "system_tag")
    found = ann.get(FILES, params={"tags": "Job 4711", "name": name}).json()
    assert [row["id"] for row in found["results"]] == [rows[0]["id"], rows[1]["id"]]
    assert ann.names(ann.folder, systag_filters="Job 4711", name=name) == [name, name]
    assert ann.names(ann.folder, tag_filters="Job 4711", name=name) == []


def test_tag_of_the_same_form_that_a_user_sets_is_the_users(ann):
    row = new_file(ann)
    answer = ann.post(tags_of(row), {"tags": ["Job 12"]})
    assert answer.json()["results"] == [{"name": "Job 12", "project": 7, "system": False}]
    assert ann.request("DELETE", tags_of(row), json={"tags": ["Job 12"]}).json() == {"results": []}


@pytest.mark.parametrize("job", ["x", "", "-1", "1 2", "9" * 20])
def test_job_that_is_no_number_is_a_bad_request(ann, job):
    assert refused(ann.get("/api/v1/users/me", headers={"X-Orion-Job": job}), 400, "bad_job")


# -- deletion --------------------------------------------------------------------------------------


def test_deleted_item_is_gone_from_its_place_and_kept(ann):
    ann.create(f"{ann.folder}/trash")
    row = ann.upload("gone", b"abc", folder=f"{ann.folder}/trash")
    ann.post(tags_of(row), {"tags": ["kept"]})
    ann.upload("there", folder=f"{ann.folder}/trash")
    assert ann.remove(row["path"]).status_code == 204
    assert ann.names(f"{ann.folder}/trash") == ["there"]
    assert refused(ann.stat(row["path"]), 404)
    kept = ann.get(f"{FILES}/{row['id']}").json()
    assert (kept["id"], kept["path"], kept["tags"]) == (row["id"], row["path"], ["kept"])
    assert kept["deleted"]
    (listed,) = ann.ls(f"{ann.folder}/trash", deleted="true").json()["results"]
    assert (listed["id"], listed["path"], listed["deleted"]) == (row["id"], row["path"], kept["deleted"])
    found = ann.get(FILES, params={"deleted": "true", "name": "gone"}).json()["results"]
    assert [row["id"] for row in found] == [row["id"]]
    assert ann.get(FILES, params={"expired": "true"}).json()["count"] == 0
    for answer in (
        ann.request("PATCH", f"{FILES}/{row['id']}", json={"name": "x"}),
        ann.post(tags_of(row), {"tags": ["x"]}),
        ann.request("DELETE", f"{FILES}/{row['id']}"),
        ann.assign(assignment(row, ann.folder)),
    ):
        assert refused(answer, 404)


def test_pages_of_a_filtered_list_keep_all_filters(ann):
    rows = [new_file(ann) for _ in range(3)]
    for row in rows:
        ann.post(tags_of(row), {"tags": ["paged", "too"]})
    query = [("tags", "paged"), ("tags", "too"), ("limit", "2"), ("order_by", "-id")]
    first = ann.get(FILES, params=query).json()
    second = ann.session.get(first["next"], timeout=20).json()
    found = [row["id"] for page in (first, second) for row in page["results"]]
    assert found == [row["id"] for row in reversed(rows)]
    assert (first["count"], second["next"]) == (3, None)


@pytest.mark.parametrize("number", [2**63 - 1, 2**63, 10**19 - 1])
def test_longest_ids_are_taken_and_not_found(ann, number):
    for route in (f"{FILES}/{number}", f"{COLLECTIONS}/{number}", f"/api/v1/users/{number}"):
        assert refused(ann.get(route), 404)
    assert refused(ann.get("/api/v1/projects/current", headers={"X-Orion-Project": str(number)}), 403)
