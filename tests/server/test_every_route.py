"""What holds for every route there is: a token is needed, and permission for what it names.

The tables below name each route; one that is added to the server and not to them fails the first test.
"""

from __future__ import annotations

import pytest
from starlette.routing import Route

from orionfs.server.app import ROUTES
from tests.server.process import FILES, PATHS, Api
from tests.server.test_paths_routes import refused

V1 = "/api/v1/storage"
DATASETS, COLLECTIONS, WORKFLOES = f"{V1}/datasets", f"{V1}/collections", "/api/v1/workfloes"
SHARD = f"{COLLECTIONS}/{{cid}}/shards/{{sid}}"

# For whoever asks, or for whoever holds the URL that was signed for it.
FOR_ALL = {
    "GET /api/v1/orionfs",
    "POST /api/v1/token",
    "GET /blobs/{id}",
    "PUT /blobs/upload/{id}/{number}",
}
# For whoever has a token; they tell of the caller alone, or choose what he may see.
FOR_USERS = {
    "GET /api/v1/users/me",
    "GET /api/v1/users/{id}",
    "GET /api/v1/users",
    "GET /api/v1/projects/current",
    "GET /api/v1/projects/{id}",
    "GET /api/v1/projects",
    "GET /api/v1/organization/balance",
    f"GET {FILES}",
    f"GET {DATASETS}",
    f"GET {COLLECTIONS}",
    f"GET {WORKFLOES}",
    f"POST {WORKFLOES}",
}
SHARE, TAGS = {"json": {"user": 1}}, {"json": {"tags": ["x"]}}
BYTES = {"data": b"C ethane\n"}
# The rest name something in the tree: route -> what else the request has. `{…}` is filled in.
ON_SOMETHING = {
    f"GET {PATHS}/stat": {"params": {"path": "{path}"}},
    f"GET {PATHS}/ls": {"params": {"path": "{folder}"}},
    f"POST {PATHS}/create": {"json": {"paths": ["{folder}/new"]}},
    f"POST {PATHS}/remove": {"json": {"paths": ["{path}"]}},
    f"POST {PATHS}/assign": {
        "json": {"assignments": [{"resource_type": "file", "id": "{file}", "path": "/organization"}]}
    },
    f"POST {PATHS}/get": {"json": {"items": [{"resource_type": "file", "id": "{file}"}]}},
    f"POST {V1}/links": {"json": {"resource_type": "file", "id": "{file}"}},
    f"POST {FILES}": {"json": {"name": "f", "size": 1, "folder_path": "{folder}"}},
    f"POST {FILES}/upload": {"params": {"name": "f", "folder_path": "{folder}"}, **BYTES},
    f"GET {FILES}/{{file}}": {},
    f"PATCH {FILES}/{{file}}": {"json": {"description": "x"}},
    f"DELETE {FILES}/{{file}}": {},
    f"POST {FILES}/{{begun}}/parts": {"json": {"numbers": [1]}},
    f"POST {FILES}/{{begun}}/complete": {"json": {"parts": 1}},
    f"GET {FILES}/{{file}}/download": {},
    f"POST {DATASETS}": {"json": {"name": "d", "folder_path": "{folder}"}},
    f"POST {DATASETS}/upload": {
        "params": {"name": "d", "filename": "d.smi", "folder_path": "{folder}"},
        **BYTES,
    },
    f"GET {DATASETS}/{{dataset}}": {},
    f"PATCH {DATASETS}/{{dataset}}": {"json": {"description": "x"}},
    f"DELETE {DATASETS}/{{dataset}}": {},
    f"POST {DATASETS}/{{dataset}}/records": {"params": {"format": "smi"}, **BYTES},
    f"POST {DATASETS}/{{dataset}}/finalize": {},
    f"GET {DATASETS}/{{dataset}}/download": {"params": {"format": "smi"}},
    f"POST {COLLECTIONS}": {"json": {"name": "c", "folder_path": "{folder}"}},
    f"GET {COLLECTIONS}/{{collection}}": {},
    f"PATCH {COLLECTIONS}/{{collection}}": {"json": {"metadata": {}}},
    f"DELETE {COLLECTIONS}/{{collection}}": {},
    f"POST {COLLECTIONS}/{{collection}}/open": {},
    f"POST {COLLECTIONS}/{{collection}}/close": {},
    f"GET {COLLECTIONS}/{{collection}}/shards": {},
    f"POST {COLLECTIONS}/{{collection}}/shards": {"json": {"name": "s"}},
    f"GET {SHARD}": {},
    f"PATCH {SHARD}": {"json": {"name": "x"}},
    f"DELETE {SHARD}": {},
    f"PUT {SHARD}/data": BYTES,
    f"POST {SHARD}/parts": {"json": {"size": 5}},
    f"POST {SHARD}/complete": {"json": {"parts": 1}},
    f"POST {SHARD}/close": {},
    f"GET {SHARD}/download/": {},
    f"GET {SHARD}/download": {},
    f"GET {WORKFLOES}/{{workfloe}}": {},
    f"PATCH {WORKFLOES}/{{workfloe}}": {"json": {"title": "x"}},
    f"DELETE {WORKFLOES}/{{workfloe}}": {},
    f"GET {V1}/datasets/{{dataset}}/tags": {},
    f"POST {V1}/datasets/{{dataset}}/tags": TAGS,
    f"DELETE {V1}/datasets/{{dataset}}/tags": TAGS,
    f"GET {V1}/collections/{{collection}}/shares": {},
    "GET /api/v3/storage/files/{file}/shares": {},
    f"POST {V1}/collections/{{collection}}/shares": SHARE,
    f"DELETE {V1}/collections/{{collection}}/shares": SHARE,
    "POST /api/v3/storage/files/{file}/shares": SHARE,
    "DELETE /api/v3/storage/files/{file}/shares": SHARE,
}
# One handler under several routes: tried under those above.
SAME_AS_ANOTHER = {f"{method} /api/v1/{{type}}/{{id}}/shares" for method in ("GET", "POST", "DELETE")}


def all_routes():
    """Each method and path that the server has."""
    for route in ROUTES:
        assert isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}:
            yield f"{method} {route.path}"


def matching(line):
    """The routes of the server that a request of the table can go to, most exact first."""
    method, _, path = line.partition(" ")
    parts = path.split("/")
    found = []
    for candidate in all_routes():
        other_method, _, other = candidate.partition(" ")
        others = other.split("/")
        is_match = method == other_method and len(parts) == len(others)
        if is_match and all(a == b or b.startswith("{") for a, b in zip(parts, others, strict=True)):
            found.append((other.count("{"), candidate))
    return [candidate for _, candidate in sorted(found)]


def test_every_route_is_in_a_table():
    named = FOR_ALL | FOR_USERS | SAME_AS_ANOTHER
    tried = {matching(line)[0] for line in ON_SOMETHING}
    assert set(all_routes()) == named | tried
    assert named & tried == set()


@pytest.mark.parametrize("line", sorted(set(all_routes()) - FOR_ALL))
def test_route_needs_a_token_before_anything_else(people, line):
    method, _, path = line.partition(" ")
    route = path.replace("{type}", "files").replace("{id}", "1").replace("{cid}", "1").replace("{sid}", "1")
    with Api(people.url, None) as nobody:
        assert refused(nobody.request(method, route), 401, "not_authenticated")
        nobody.session.headers["Authorization"] = "Token:" + "x" * 43
        assert refused(nobody.request(method, route, data=b"{"), 401, "not_authenticated")


@pytest.fixture(scope="module")
def belongings(people):
    """Things of ann's, by the names that the table uses; nobody else may see them."""
    with people.api(people.folder / "ann.token") as ann:
        folder = "/project/7/user/ann/belongings"
        ann.create(folder)
        file = ann.upload("f", b"x", folder=folder)
        collection = ann.post(COLLECTIONS, {"name": "c", "folder_path": folder}).json()["id"]
        shard = ann.post(f"{COLLECTIONS}/{collection}/shards", {"name": "s"}).json()["id"]
        yield {
            "folder": folder,
            "path": file["path"],
            "file": file["id"],
            "begun": ann.begin("begun", 1, folder=folder)["id"],
            "dataset": ann.post(DATASETS, {"name": "d", "folder_path": folder}).json()["id"],
            "collection": collection,
            "cid": collection,
            "sid": shard,
            "workfloe": ann.post(WORKFLOES, {"title": "w"}).json()["id"],
        }


def filled(value, things):
    """A request with the ids of things in it."""
    if isinstance(value, dict):
        return {key: filled(each, things) for key, each in value.items()}
    if isinstance(value, list):
        return [filled(each, things) for each in value]
    if isinstance(value, str) and value.startswith("{") and value.endswith("}"):
        return things[value[1:-1]]
    return value.format(**things) if isinstance(value, str) else value


@pytest.mark.parametrize("line", ON_SOMETHING)
def test_route_asks_for_permission(cyd, belongings, line):
    """cyd shares no project with ann, and there is no share."""
    method, _, path = line.partition(" ")
    answer = cyd.request(method, path.format(**belongings), **filled(ON_SOMETHING[line], belongings))
    if line == f"GET {PATHS}/ls":
        assert refused(answer, 404, "not_found")
    else:
        assert refused(answer, 403, "permission_denied")


WRITING = {"PATCH", "PUT", "POST", "DELETE"}
READ_BY_POST = {f"POST {PATHS}/get", f"POST {V1}/links"}


@pytest.fixture
def shared_to_read(people, belongings):
    """All that can be shared of it, shared with cyd's project for reading."""
    routes = [
        f"{V1}/{plural}/{belongings[name]}/shares"
        for plural, name in (
            ("files", "file"),
            ("files", "begun"),
            ("datasets", "dataset"),
            ("collections", "collection"),
        )
    ]
    with people.api(people.folder / "ann.token") as ann:
        for route in routes:
            assert ann.post(route, {"project": 9, "permissions": ["read"]}).status_code == 200
        yield belongings
        for route in routes:
            assert ann.request("DELETE", route, json={"project": 9}).status_code == 204


# Routes with an id in their path.
OF_ONE = [line for line in ON_SOMETHING if "{" in line]


@pytest.mark.some(14)
@pytest.mark.parametrize("line", OF_ONE)
def test_share_to_read_lets_nobody_change_anything(cyd, shared_to_read, line):
    method, _, path = line.partition(" ")
    answer = cyd.request(method, path.format(**shared_to_read), **filled(ON_SOMETHING[line], shared_to_read))
    if method == "GET" and "{workfloe}" not in line:
        # 409: there are no contents yet, which only readers are told.
        assert answer.status_code in (200, 302, 409)
    else:
        assert refused(answer, 403, "permission_denied")


@pytest.mark.parametrize("line", OF_ONE)
def test_route_to_what_is_not_there_is_not_found(ann, belongings, line):
    method, _, path = line.partition(" ")
    absent = {**belongings, **{name: 12 for name, value in belongings.items() if isinstance(value, int)}}
    answer = ann.request(method, path.format(**absent), **filled(ON_SOMETHING[line], absent))
    assert refused(answer, 404, "not_found")
