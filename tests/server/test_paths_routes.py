"""Paths over HTTP: stat, ls, create, remove, assign, get."""

from __future__ import annotations

import pytest

from tests.server.process import FILES, HOME, PATHS, TEAM, Api


def refused(answer, status, code=None):
    """Whether an answer is this error, in the form of all errors."""
    body = answer.json()
    assert set(body) == {"detail", "code"}
    assert body["detail"]
    return answer.status_code == status and code in (None, body["code"])


def test_fixed_folders_are_there_from_the_start(api):
    assert api.names("/") == ["organization", "project"]
    assert set(api.names("/project/1")) == {"user", "team", "workspace"}
    for path in ("/", "/project", "/project/1/user", HOME, TEAM, "/project/1/workspace", "/organization"):
        assert api.stat(path).json()["path"] == path


def test_stat_of_a_folder_and_a_file_tells_their_rows(api):
    row = api.upload("a b.txt", b"abc")
    folder = api.stat(api.folder).json()
    assert folder["resource_type"] == "folder"
    assert "size" not in folder
    found = api.stat(f"{api.folder}/a b.txt").json()
    assert found == row
    assert (found["size"], found["state"], found["tags"], found["deleted"]) == (3, "ready", [], None)
    assert found["created"].endswith("Z")
    assert len(found["created"]) == len("2026-08-22T10:11:12.123456Z")


@pytest.mark.parametrize("path", ["relative", "", "//x", "/x//y", "/x\0y"])
def test_malformed_path_is_a_bad_request(api, path):
    assert refused(api.stat(path), 400, "bad_path")
    assert refused(api.ls(path), 400, "bad_path")
    assert refused(api.create(path), 400, "bad_path")


def test_dots_are_names_and_lead_nowhere(api):
    assert refused(api.stat(f"{api.folder}/../demo"), 404)
    assert refused(api.create(f"{api.folder}/.."), 422, "bad_name")
    row = api.upload("..", b"x")
    assert api.stat(f"{api.folder}/..").json()["id"] == row["id"]


def test_stat_without_path_or_of_nothing_is_refused(api):
    assert refused(api.get(f"{PATHS}/stat"), 400)
    assert refused(api.stat(f"{api.folder}/absent"), 404, "not_found")
    assert refused(api.stat(f"{api.folder}/absent/below"), 404, "not_found")


def test_ls_of_an_item_is_a_bad_request_and_of_nothing_not_found(api):
    api.upload("file")
    assert refused(api.ls(f"{api.folder}/file"), 400, "not_a_folder")
    assert refused(api.ls(f"{api.folder}/absent"), 404)


def test_ls_pages_tell_total_and_neighbours(api):
    rows = [api.upload(f"f{number}") for number in range(5)]
    first = api.ls(api.folder, limit=2).json()
    assert (first["count"], first["previous"]) == (5, None)
    assert [row["id"] for row in first["results"]] == [rows[0]["id"], rows[1]["id"]]
    second = api.session.get(first["next"], timeout=20).json()
    third = api.session.get(second["next"], timeout=20).json()
    assert third["next"] is None
    assert api.session.get(third["previous"], timeout=20).json() == second
    found = [row["id"] for page in (first, second, third) for row in page["results"]]
    assert found == [row["id"] for row in rows]
    assert api.ls(api.folder, offset=9).json()["results"] == []


@pytest.mark.parametrize(
    ("order_by", "expected"),
    [
        ("id", ["b", "c", "a"]),
        ("-id", ["a", "c", "b"]),
        ("name", ["a", "b", "c"]),
        ("-name", ["c", "b", "a"]),
        ("created", ["b", "c", "a"]),
        ("size", ["a", "c", "b"]),
        ("-size", ["b", "c", "a"]),
        ("type", ["b", "a", "c"]),
    ],
)
def test_ls_orders_by_what_is_asked(api, order_by, expected):
    api.upload("b", b"xxx")
    api.create(f"{api.folder}/c") if order_by == "type" else api.upload("c", b"xx")
    api.upload("a", b"x")
    assert api.names(api.folder, order_by=order_by) == expected


def test_ls_filters_by_name_and_type(api):
    api.upload("hit-1.sdf")
    api.upload("hit-2.sdf")
    api.create(f"{api.folder}/hits")
    assert api.names(api.folder, name="hit-1.sdf") == ["hit-1.sdf"]
    assert api.names(api.folder, name_contains="-") == ["hit-1.sdf", "hit-2.sdf"]
    assert api.names(api.folder, types="folder") == ["hits"]
    assert api.names(api.folder, types="file,folder", name_contains="hit") == [
        "hit-1.sdf",
        "hit-2.sdf",
        "hits",
    ]
    assert api.ls(api.folder, types="file", limit=1).json()["count"] == 2


@pytest.mark.parametrize(
    "query", [{"limit": 0}, {"limit": "x"}, {"offset": -1}, {"order_by": "colour"}, {"types": "cat"}]
)
def test_ls_with_nonsense_is_a_bad_request(api, query):
    assert refused(api.ls(api.folder, **query), 400)


def test_create_answers_with_rows_and_refuses_what_exists(api):
    answer = api.create(f"{api.folder}/a", f"{api.folder}/a/b")
    assert answer.status_code == 201
    assert [row["path"] for row in answer.json()["results"]] == [f"{api.folder}/a", f"{api.folder}/a/b"]
    assert refused(api.create(f"{api.folder}/a"), 409, "exists")
    assert refused(api.create("/"), 409)
    api.upload("file")
    assert refused(api.create(f"{api.folder}/file"), 409)


def test_create_is_all_or_nothing(api):
    assert refused(api.create(f"{api.folder}/good", f"{api.folder}/missing/child"), 404)
    assert api.names(api.folder) == []


def test_create_where_only_projects_lie_is_denied(api):
    assert refused(api.create("/new"), 403)
    assert refused(api.create("/project/1/new"), 403)


@pytest.mark.parametrize("body", [None, [], {"paths": "x"}, {"other": []}])
def test_body_that_is_no_list_of_paths_is_a_bad_request(api, body):
    assert refused(api.post(f"{PATHS}/create", body), 400)


def test_body_that_is_no_json_is_a_bad_request(api):
    assert refused(api.request("POST", f"{PATHS}/remove", data=b"{"), 400, "bad_json")


def test_body_that_is_too_long_is_refused(api):
    assert refused(api.create(*[f"{api.folder}/{'x' * 1000}"] * 17_000), 413, "too_large")


def test_lone_surrogates_are_refused_wherever_they_stand(api):
    subject = '{"resource_type": "\\ud800", "id": 1, "path": "/"}'
    for path, body, status in (
        ("assign", f'{{"assignments": [{subject}]}}', 422),
        ("get", f'{{"items": [{subject}]}}', 404),
        ("remove", '{"paths": ["/\\ud800"]}', 400),
    ):
        assert refused(api.request("POST", f"{PATHS}/{path}", data=body.encode()), status)
    file = f"{FILES}/{api.upload('f')['id']}"
    for body in ('{"\\ud800": 1}', '{"name": "\\ud800"}', '{"description": "\\ud800"}'):
        assert refused(api.request("PATCH", file, data=body.encode()), 422)


def test_lone_surrogate_in_a_name_is_refused(api):
    answer = api.request("POST", f"{PATHS}/create", data=f'{{"paths": ["{api.folder}/\\ud800"]}}'.encode())
    assert refused(answer, 400)


def test_names_of_any_unicode_come_back_as_they_were(api):
    names = ["ångström 🧪", "%2F", "a\nb", " spaced ", "~x", "\\", "e\u0301", "\u00e9", "x" * 1024]
    for name in names:
        api.upload(name)
    assert api.names(api.folder) == names
    assert all(api.stat(f"{api.folder}/{name}").json()["name"] == name for name in names)


def test_remove_takes_folders_and_items_away(api):
    api.create(f"{api.folder}/a")
    api.upload("f")
    assert api.remove(f"{api.folder}/a", f"{api.folder}/f").status_code == 204
    assert api.names(api.folder) == []
    assert refused(api.remove(f"{api.folder}/a"), 404)
    assert refused(api.stat(f"{api.folder}/f"), 404)


def test_remove_of_a_filled_folder_is_a_conflict_and_removes_nothing(api):
    api.create(f"{api.folder}/a")
    api.upload("f", folder=f"{api.folder}/a")
    api.upload("g")
    assert refused(api.remove(f"{api.folder}/g", f"{api.folder}/a"), 409, "not_empty")
    assert api.names(api.folder) == ["a", "g"]


@pytest.mark.parametrize("path", ["/", "/project/1", HOME, TEAM, "/organization"])
def test_fixed_folders_can_be_neither_removed_nor_moved(api, path):
    assert refused(api.remove(path), 403, "fixed_folder")
    subject = {"resource_type": "folder", "id": api.stat(path).json()["id"], "path": api.folder}
    assert refused(api.assign(subject), 403)


def test_equal_names_the_newest_wins_and_removal_uncovers_the_older(api):
    old = api.upload("same", b"old")
    new = api.upload("same", b"new")
    assert api.stat(f"{api.folder}/same").json()["id"] == new["id"]
    assert [row["id"] for row in api.ls(api.folder).json()["results"]] == [old["id"], new["id"]]
    api.remove(f"{api.folder}/same")
    assert api.stat(f"{api.folder}/same").json()["id"] == old["id"]


def test_equal_names_of_a_folder_and_an_item_the_folder_wins(api):
    item = api.upload("same", b"x", folder=HOME)
    api.create(f"{api.folder}/same")
    answer = api.assign({"resource_type": "file", "id": item["id"], "path": api.folder})
    assert answer.status_code == 204
    assert api.stat(f"{api.folder}/same").json()["resource_type"] == "folder"
    api.remove(f"{api.folder}/same")
    assert api.stat(f"{api.folder}/same").json()["id"] == item["id"]


def test_assign_moves_and_renames_an_item(api):
    api.create(f"{api.folder}/a")
    row = api.upload("f", b"content")
    subject = {"resource_type": "file", "id": row["id"], "path": f"{api.folder}/a/", "name": "g"}
    assert api.assign(subject).status_code == 204
    assert api.names(api.folder) == ["a"]
    moved = api.stat(f"{api.folder}/a/g").json()
    assert (moved["id"], moved["created"]) == (row["id"], row["created"])
    assert api.content(row["id"]) == b"content"


def test_assign_moves_a_folder_with_all_that_is_in_it(api):
    api.create(*(f"{api.folder}/{path}" for path in ("a", "a/b", "c")))
    row = api.upload("f", folder=f"{api.folder}/a/b")
    number = api.stat(f"{api.folder}/a").json()["id"]
    answer = api.assign({"resource_type": "folder", "id": number, "path": f"{api.folder}/c", "name": "d"})
    assert answer.status_code == 204
    assert api.stat(f"{api.folder}/c/d/b/f").json()["id"] == row["id"]
    assert api.get(f"{FILES}/{row['id']}").json()["path"] == f"{api.folder}/c/d/b/f"
    assert refused(api.stat(f"{api.folder}/a"), 404)


def test_assign_batch_that_fails_at_the_end_changes_nothing(api):
    api.create(f"{api.folder}/a")
    row = api.upload("f")
    good = {"resource_type": "file", "id": row["id"], "path": f"{api.folder}/a"}
    for bad, status in (
        ({"resource_type": "file", "id": 1, "path": api.folder}, 404),
        ({"resource_type": "dataset", "id": row["id"], "path": api.folder}, 404),
        ({"resource_type": "file", "id": row["id"], "path": f"{api.folder}/absent"}, 404),
        ({"resource_type": "file", "id": row["id"], "path": api.folder, "name": "a\0b"}, 422),
        ({"resource_type": "file", "id": row["id"], "path": api.folder, "name": ""}, 422),
        ({"resource_type": "file", "id": 10**30, "path": api.folder}, 404),
        ({"resource_type": "file", "id": "x", "path": api.folder}, 400),
        ({"resource_type": "file", "id": row["id"]}, 400),
        ("nonsense", 400),
    ):
        assert refused(api.post(f"{PATHS}/assign", {"assignments": [good, bad]}), status)
    assert api.names(api.folder) == ["a", "f"]


def test_assign_of_a_folder_into_itself_or_below_is_refused(api):
    api.create(*(f"{api.folder}/{path}" for path in ("a", "a/b", "c")))
    ids = {name: api.stat(f"{api.folder}/{name}").json()["id"] for name in ("a", "a/b", "c")}

    def subject(name, path):
        return {"resource_type": "folder", "id": ids[name], "path": f"{api.folder}/{path}"}

    assert refused(api.assign(subject("a", "a")), 422, "into_itself")
    assert refused(api.assign(subject("a", "a/b")), 422, "into_itself")
    assert refused(api.assign(subject("a", "c"), subject("c", "c/a")), 422, "into_itself")
    assert api.names(api.folder) == ["a", "c"]


def test_assign_onto_the_name_of_a_folder_is_a_conflict_for_folders(api):
    api.create(f"{api.folder}/a", f"{api.folder}/b")
    a = {"resource_type": "folder", "id": api.stat(f"{api.folder}/a").json()["id"], "path": api.folder}
    b = {"resource_type": "folder", "id": api.stat(f"{api.folder}/b").json()["id"], "path": api.folder}
    assert refused(api.assign({**a, "name": "b"}), 409, "name_taken")
    assert api.assign({**a, "name": "b"}, {**b, "name": "a"}).status_code == 204
    assert api.stat(f"{api.folder}/b").json()["id"] == a["id"]
    assert api.assign({**a, "name": "b"}).status_code == 204


def test_get_paths_tells_current_rows_of_a_mixed_list(api):
    row = api.upload("f")
    folder = api.stat(api.folder).json()
    items = [{"resource_type": "folder", "id": folder["id"]}, {"resource_type": "file", "id": row["id"]}]
    assert api.post(f"{PATHS}/get", {"items": items}).json()["results"] == [folder, row]
    missing = {"resource_type": "file", "id": folder["id"]}
    assert refused(api.post(f"{PATHS}/get", {"items": [*items, missing]}), 404)
    assert refused(api.post(f"{PATHS}/get", {"items": [1]}), 400)


def test_every_api_route_needs_a_token(shared_server):
    with Api(shared_server.url, None) as nobody:
        for path in (
            "/api/v1/users/me",
            "/api/v1/projects",
            "/api/v1/projects/current",
            f"{PATHS}/ls?path=/",
            f"{PATHS}/stat?path=/",
            FILES,
            f"{FILES}/1",
            "/api/v1/storage/files/1/tags",
            "/api/v1/storage/collections/1",
            "/api/v1/storage/collections/1/shards/2/download/",
        ):
            assert refused(nobody.get(path), 401, "not_authenticated")
        for path in (f"{PATHS}/create", f"{PATHS}/remove", f"{PATHS}/assign", FILES, f"{FILES}/upload"):
            assert refused(nobody.post(path, {}), 401, "not_authenticated")


@pytest.mark.parametrize("form", ["Token:{}", "Token {}", "Token: {}"])
def test_token_is_accepted_in_its_three_forms(shared_server, form):
    token = shared_server.token_file.read_text().strip()
    with Api(shared_server.url, None) as api:
        api.session.headers["Authorization"] = form.format(token)
        assert api.get("/api/v1/users/me").json()["username"] == "demo"
        api.session.headers["Authorization"] = form.format(token[:-1] + ("A" if token[-1] != "A" else "B"))
        assert refused(api.get("/api/v1/users/me"), 401)


def test_info_needs_no_token_and_names_limits(shared_server):
    with Api(shared_server.url, None) as nobody:
        answer = nobody.get("/api/v1/orionfs")
    assert answer.json()["server"] == "orionfs"
    assert answer.json()["limits"]["part_bytes"] == 1000
    assert len(answer.json()["instance"]) == 32
    assert answer.headers["X-Request-Id"]
    assert "Server" not in answer.headers


def test_unknown_routes_and_methods_answer_with_json(api):
    assert refused(api.get("/api/v1/nothing"), 404)
    assert refused(api.request("DELETE", f"{PATHS}/ls"), 405, "method_not_allowed")


def test_profile_and_projects(api):
    assert api.get("/api/v1/users/me").json()["default_project"] == 1
    current = api.get("/api/v1/projects/current").json()
    assert (current["id"], current["name"], current["owner"]) == (1, "Demo", 1)
    assert api.get("/api/v1/projects/1").json() == current
    assert [row["id"] for row in api.get("/api/v1/projects").json()["results"]] == [1, 7]
    assert api.get("/api/v1/projects?limit=1&offset=1").json()["results"][0]["name"] == "Fragments"
    assert refused(api.get("/api/v1/projects/99"), 404)


def test_project_header_chooses_the_project_of_the_session(api):
    headers = {"X-Orion-Project": "7"}
    assert api.get("/api/v1/projects/current", headers=headers).json()["name"] == "Fragments"
    row = api.request("POST", f"{FILES}/upload", params={"name": "f"}, data=b"x", headers=headers).json()
    assert (row["path"], row["project"]) == ("/project/7/user/demo/f", 7)
    for project in ("99", "x", ""):
        assert refused(api.get("/api/v1/users/me", headers={"X-Orion-Project": project}), 403)
