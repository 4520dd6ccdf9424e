"""Who may do what: by the place in the tree, on every route that names something in it."""

from __future__ import annotations

import pytest

from tests.server.process import COLLECTIONS, FILES, HOME, PATHS, TEAM
from tests.server.test_paths_routes import refused

SHARED = "/project/7/team"


def test_own_folder_of_another_member_is_out_of_reach(api, alice):
    """Both are in project 7; nobody but demo sees what demo keeps for himself."""
    home = "/project/7/user/demo"
    row = api.upload("private", b"secret", folder=home)
    collection = api.post(COLLECTIONS, {"name": "c", "folder_path": home}).json()
    shard = api.post(f"{COLLECTIONS}/{collection['id']}/shards", {"name": "s"}).json()
    folder = api.stat(home).json()
    begun = api.begin("begun", 3, folder=home)
    file, tags = f"{FILES}/{row['id']}", f"/api/v1/storage/files/{row['id']}/tags"
    subject = {"resource_type": "file", "id": row["id"]}

    assert refused(alice.ls(home), 404)
    denials = [
        alice.stat(home),
        alice.stat(f"{home}/private"),
        alice.stat(f"{home}/absent"),
        alice.create(f"{home}/new"),
        alice.remove(f"{home}/private"),
        alice.assign({**subject, "path": "/project/7/user/alice"}),
        alice.post(f"{PATHS}/get", {"items": [subject]}),
        alice.post(FILES, {"name": "f", "size": 1, "folder_path": home}),
        alice.request("POST", f"{FILES}/upload", params={"name": "f", "folder_path": home}, data=b"x"),
        alice.get(file),
        alice.get(f"{file}/download"),
        alice.request("PATCH", file, json={"name": "mine"}),
        alice.request("DELETE", file),
        alice.request("DELETE", f"{file}?immediate=true"),
        alice.post(f"{FILES}/{begun['id']}/parts", {"numbers": [1]}),
        alice.complete(begun["id"], 1),
        alice.get(tags),
        alice.post(tags, {"tags": ["x"]}),
        alice.request("DELETE", tags, json={"tags": ["x"]}),
        alice.get(f"/api/v1/storage/folders/{folder['id']}/tags"),
        alice.post(COLLECTIONS, {"name": "d", "folder_path": home}),
        alice.get(f"{COLLECTIONS}/{collection['id']}"),
        alice.request("DELETE", f"{COLLECTIONS}/{collection['id']}"),
        alice.get(f"{COLLECTIONS}/{collection['id']}/shards"),
        alice.post(f"{COLLECTIONS}/{collection['id']}/shards", {"name": "t"}),
        alice.get(f"{COLLECTIONS}/{collection['id']}/shards/{shard['id']}"),
        alice.request("PUT", f"{COLLECTIONS}/{collection['id']}/shards/{shard['id']}/data", data=b"x"),
        alice.post(f"{COLLECTIONS}/{collection['id']}/shards/{shard['id']}/close"),
        alice.get(f"{COLLECTIONS}/{collection['id']}/shards/{shard['id']}/download/"),
    ]
    assert [answer.status_code for answer in denials] == [403] * len(denials)
    assert alice.get(FILES, params={"name": "private"}).json()["count"] == 0
    assert "secret" not in "".join(answer.text for answer in denials)
    assert api.content(row["id"]) == b"secret"


def test_levels_list_only_what_the_caller_may_enter(api, alice, bob):
    assert api.names("/project") == ["1", "7"]
    assert alice.names("/project") == ["7"]
    assert bob.names("/project") == ["8"]
    assert alice.names("/project/7/user") == ["alice"]
    assert api.names("/project/7/user") == ["demo"]
    assert alice.ls("/project").json()["count"] == 1


def test_team_and_workspaces_belong_to_all_members(api, alice, bob):
    row = api.upload("shared", b"x", folder=SHARED)
    assert alice.content(row["id"]) == b"x"
    assert alice.request("PATCH", f"{FILES}/{row['id']}", json={"name": "renamed"}).status_code == 200
    spaces = alice.ls("/project/7/workspace").json()["results"]
    assert {(space["name"], space["display_name"]) for space in spaces} == {
        ("1", "screening"),
        ("55", "docking"),
    }
    assert alice.create("/project/7/workspace/55/poses").status_code == 201
    assert api.stat("/project/7/workspace/55/poses").status_code == 200
    for path in (SHARED, "/project/7/workspace/55", "/project/7", TEAM, HOME):
        assert refused(bob.ls(path), 404)
        assert refused(bob.stat(path), 403)
    assert refused(bob.get(f"{FILES}/{row['id']}"), 403)
    assert alice.remove(f"{SHARED}/renamed").status_code == 204


def test_organization_belongs_to_everybody(api, bob):
    row = api.upload("notice", b"x", folder="/organization")
    assert row["project"] is None
    assert bob.content(row["id"]) == b"x"
    assert bob.remove("/organization/notice").status_code == 204


def test_what_moves_changes_its_readers(api, alice):
    """Permission is a matter of the place, for a folder's whole contents and for shards too."""
    api.create(f"{api.folder}/a", f"{api.folder}/a/b")
    row = api.upload("f", b"x", folder=f"{api.folder}/a/b")
    collection = api.post(COLLECTIONS, {"name": "c", "folder_path": f"{api.folder}/a"}).json()
    shard = api.post(f"{COLLECTIONS}/{collection['id']}/shards", {"name": "s"}).json()
    routes = [
        f"{FILES}/{row['id']}",
        f"{COLLECTIONS}/{collection['id']}/shards/{shard['id']}",
    ]
    assert [alice.get(route).status_code for route in routes] == [403, 403]
    folder = {"resource_type": "folder", "id": api.stat(f"{api.folder}/a").json()["id"]}
    assert api.assign({**folder, "path": SHARED}).status_code == 204
    assert [alice.get(route).status_code for route in routes] == [200, 200]
    assert alice.get(routes[0]).json()["project"] == 7
    assert alice.get(FILES, params={"name": "f"}).json()["results"][0]["path"] == f"{SHARED}/a/b/f"
    assert api.assign({**folder, "path": api.folder}).status_code == 204
    assert [alice.get(route).status_code for route in routes] == [403, 403]


def test_items_can_not_be_put_where_the_caller_may_not_write(api, alice):
    row = alice.upload("mine", b"x", folder="/project/7/user/alice")
    subject = {"resource_type": "file", "id": row["id"]}
    for path, status in (("/project/7/user/demo", 403), ("/project/1/team", 403), ("/project/7", 403)):
        assert refused(alice.assign({**subject, "path": path}), status)
    assert alice.assign({**subject, "path": SHARED}).status_code == 204
    assert alice.remove(f"{SHARED}/mine").status_code == 204


def test_projects_of_others_can_not_be_chosen(alice):
    assert refused(alice.get("/api/v1/projects/1"), 403)
    assert alice.get("/api/v1/users/me").json()["default_project"] == 7
    assert refused(alice.get("/api/v1/projects/current", headers={"X-Orion-Project": "1"}), 403)
    body = {"name": "f", "size": 1, "project": 1}
    assert refused(alice.post(FILES, body), 422)


@pytest.mark.parametrize("path", ["/project/7", "/project/7/user", "/project/7/workspace", "/", "/project"])
def test_nothing_can_be_put_on_the_levels_above(alice, path):
    query = {"name": "f", "folder_path": path}
    assert refused(alice.request("POST", f"{FILES}/upload", params=query, data=b"x"), 403)
