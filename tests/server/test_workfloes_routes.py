"""Workfloes over HTTP: made, listed, read, changed, tagged, deleted."""

from __future__ import annotations

import uuid

import pytest

from tests.server.process import PATHS, WORKFLOES, Api
from tests.server.test_paths_routes import refused


@pytest.fixture
def floes(api):
    """Three workfloes, by their names; their titles tell which test made them."""
    mark = uuid.uuid4().hex
    rows = {}
    for name, state in (("dock", "ready"), ("dock-old", "deprecated"), ("shape", "ready")):
        body = {"title": f"{name.title()} {mark}", "name": f"{name}-{mark}", "state": state}
        rows[name] = api.post(WORKFLOES, {**body, "specification": {"cubes": [name]}}).json()
    return mark, rows


def titles(api, **query):
    answer = api.get(WORKFLOES, params=query)
    assert answer.status_code == 200, answer.text
    return [row["title"] for row in answer.json()["results"]]


def test_workfloe_is_made_ready_in_the_sessions_project(api):
    answer = api.post(WORKFLOES, {"title": "Dock", "description": "docks", "specification": {"a": 1}})
    row = answer.json()
    assert answer.status_code == 201
    assert (row["name"], row["title"], row["description"]) == ("Dock", "Dock", "docks")
    assert (row["state"], row["project"], row["tags"]) == ("ready", 1, [])
    assert str(uuid.UUID(row["uuid"])) == row["uuid"]
    assert row["specification"] == {"a": 1}
    assert api.get(f"{WORKFLOES}/{row['id']}").json() == row
    other = api.post(WORKFLOES, {"title": "Dock"}, headers={"X-Orion-Project": "7"}).json()
    assert (other["project"], other["specification"]) == (7, {})


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"title": ""},
        {"title": "t", "name": 5},
        {"title": "t", "state": "open"},
        {"title": "t", "state": 5},
        {"title": "t", "uuid": "x"},
        {"title": "t", "uuid": 5},
        {"title": "t", "specification": []},
        {"title": "t", "description": 5},
    ],
)
def test_workfloe_of_nonsense_is_refused(api, body):
    before = api.get(WORKFLOES).json()["count"]
    assert refused(api.post(WORKFLOES, body), 422)
    assert api.get(WORKFLOES).json()["count"] == before


def test_specification_that_is_no_json_is_refused(api):
    body = '{"title": "t", "specification": {"a": NaN}}'
    assert refused(api.request("POST", WORKFLOES, data=body), 422)


def test_list_filters_by_title_name_state_and_uuid(api, floes):
    mark, rows = floes
    dock, old, shape = (rows[name]["title"] for name in ("dock", "dock-old", "shape"))
    assert titles(api, title=mark.upper()) == [dock, old, shape]
    assert titles(api, title=f"dock {mark}") == [dock]
    assert titles(api, title=mark, state="ready") == [dock, shape]
    assert titles(api, title=mark, states="deprecated") == [old]
    assert titles(api, name=f"old-{mark}") == [old]
    assert titles(api, uuid=rows["shape"]["uuid"]) == [shape]
    assert titles(api, title=mark, order_by="-name") == [shape, old, dock]
    assert titles(api, title=mark, limit=1, offset=1) == [old]
    assert titles(api, title="no such thing") == []
    page = api.get(WORKFLOES, params={"title": mark, "limit": 2}).json()
    assert page["count"] == 3
    assert all(row["specification"] == {} for row in page["results"])
    assert refused(api.get(WORKFLOES, params={"state": "x"}), 400)


def test_list_filters_by_tags(api, floes):
    mark, rows = floes
    route = f"/api/v1/storage/workfloes/{rows['shape']['id']}/tags"
    assert api.post(route, {"tags": ["mine"]}).status_code == 200
    assert titles(api, title=mark, tags="mine") == [rows["shape"]["title"]]
    assert api.get(f"{WORKFLOES}/{rows['shape']['id']}").json()["tags"] == ["mine"]
    assert api.request("DELETE", route, json={"tags": ["mine"]}).json() == {"results": []}


def test_workfloe_is_changed(api, floes):
    _, rows = floes
    route = f"{WORKFLOES}/{rows['dock']['id']}"
    changes = {"title": "Other", "description": "about", "state": "deprecated"}
    row = api.request("PATCH", route, json=changes).json()
    assert row == {**rows["dock"], **changes}
    for wrong in ({"uuid": "x"}, {"title": ""}, {"state": "x"}, {"description": 5}):
        assert refused(api.request("PATCH", route, json=wrong), 422)
    assert api.get(route).json() == row


def test_workfloe_is_deleted(api, floes):
    mark, rows = floes
    route = f"{WORKFLOES}/{rows['dock']['id']}"
    assert api.request("DELETE", route).status_code == 204
    assert rows["dock"]["title"] not in titles(api, title=mark)
    assert refused(api.request("DELETE", route), 404)


@pytest.mark.parametrize("number", ["0", "999999999999", "x"])
def test_workfloes_that_are_not_there_are_not_found(api, number):
    route = f"{WORKFLOES}/{number}"
    for answer in (api.get(route), api.request("PATCH", route, json={}), api.request("DELETE", route)):
        assert refused(answer, 404)


def test_workfloe_lies_in_no_folder(api, floes):
    """It can be neither assigned to a path nor asked for its path, nor shared, nor linked to."""
    subject = {"resource_type": "workfloe", "id": floes[1]["dock"]["id"]}
    assert refused(api.assign({**subject, "path": api.folder}), 404)
    assert refused(api.post(f"{PATHS}/get", {"items": [subject]}), 404)
    assert refused(api.post(f"/api/v1/workfloes/{subject['id']}/shares", {"project": 7}), 422, "not_sharable")
    assert refused(api.post("/api/v1/storage/links", subject), 422, "not_linkable")


def test_workfloes_belong_to_their_project(api, alice, bob, shared_server):
    row = api.post(WORKFLOES, {"title": "Seven"}, headers={"X-Orion-Project": "7"}).json()
    route = f"{WORKFLOES}/{row['id']}"
    assert alice.get(route).json() == row
    assert alice.request("PATCH", route, json={"state": "deprecated"}).status_code == 200
    for answer in (bob.get(route), bob.request("PATCH", route, json={}), bob.request("DELETE", route)):
        assert refused(answer, 403)
    assert titles(bob, title="Seven") == []
    with Api(shared_server.url, None) as nobody:
        assert refused(nobody.get(WORKFLOES), 401)
        assert refused(nobody.get(route), 401)
