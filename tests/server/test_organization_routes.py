"""Links and the balance over HTTP."""

from __future__ import annotations

import pytest

from tests.server.process import COLLECTIONS, DATASETS, Api
from tests.server.test_paths_routes import refused

LINKS = "/api/v1/storage/links"
BALANCE = "/api/v1/organization/balance"


@pytest.fixture
def dataset(api):
    query = {"name": "d", "folder_path": api.folder, "filename": "d.txt"}
    return api.request("POST", f"{DATASETS}/upload", params=query, data=b"a\nb\n").json()


def test_links_name_what_they_lead_to(api, dataset):
    stack = api.get("/api/v1/orionfs").json()["instance"]
    file = api.upload("f", b"x")
    collection = api.post(COLLECTIONS, {"name": "c", "folder_path": api.folder}).json()
    shard = api.post(f"{COLLECTIONS}/{collection['id']}/shards", {"name": "s"}).json()
    always = {"link": "orion", "version": 1, "stack": stack}
    for row in (file, dataset, collection):
        answer = api.post(LINKS, {"resource_type": row["resource_type"], "id": row["id"]})
        assert answer.status_code == 200
        assert answer.json() == {
            **always,
            "resource_type": row["resource_type"],
            "id": row["id"],
            "id_str": str(row["id"]),
        }
    named = {"resource_type": "shard", "id": shard["id"], "collection": collection["id"]}
    assert api.post(LINKS, named).json() == {**always, **named, "id_str": str(shard["id"])}
    record = {"resource_type": "dataset", "id": dataset["id"], "record": 2}
    assert api.post(LINKS, record).json() == {
        **always,
        "resource_type": "record",
        "id": 2,
        "id_str": "2",
        "dataset": dataset["id"],
    }


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"resource_type": "file", "id": "1"}, 400),
        ({"resource_type": 5, "id": 1}, 400),
        ({"resource_type": "shard", "id": 1}, 400),
        ({"resource_type": "folder", "id": 1}, 422),
        ({"resource_type": "cat", "id": 1}, 422),
        ({"resource_type": "file", "id": 1}, 404),
        ({"resource_type": "dataset", "id": 2**70}, 404),
        ({"resource_type": "shard", "id": 1, "collection": 1}, 404),
    ],
)
def test_links_to_nonsense_are_refused(api, body, status):
    assert refused(api.post(LINKS, body), status)


@pytest.mark.parametrize(("record", "status"), [(0, 404), (3, 404), ("1", 400)])
def test_links_to_records_that_are_not_there_are_refused(api, dataset, record, status):
    body = {"resource_type": "dataset", "id": dataset["id"], "record": record}
    assert refused(api.post(LINKS, body), status)


def test_files_have_no_records_to_link_to(api):
    body = {"resource_type": "file", "id": api.upload("f", b"x")["id"], "record": 1}
    assert refused(api.post(LINKS, body), 422, "not_linkable")


def test_who_may_not_read_gets_no_link(api, bob, dataset, shared_server):
    body = {"resource_type": "dataset", "id": dataset["id"]}
    assert refused(bob.post(LINKS, body), 403)
    assert refused(bob.post(LINKS, {**body, "record": 9}), 403)
    api.request("DELETE", f"{DATASETS}/{dataset['id']}")
    assert refused(api.post(LINKS, body), 404, "deleted")
    with Api(shared_server.url, None) as nobody:
        assert refused(nobody.post(LINKS, body), 401)


def test_balance_is_for_those_with_the_capability(api, alice, shared_server):
    answer = alice.get(BALANCE)
    assert (answer.status_code, answer.json()["balance"], answer.json()["currency"]) == (
        200,
        "1000.00",
        "USD",
    )
    assert answer.json()["as_of"].endswith("Z")
    assert refused(api.get(BALANCE), 409, "no_capability")
    with Api(shared_server.url, None) as nobody:
        assert refused(nobody.get(BALANCE), 401)


def test_balance_is_what_the_setting_says(start, tmp_path):
    users = tmp_path / "users.toml"
    users.write_text(
        """
        [[users]]
        name = "ann"
        token_file = "ann.token"
        projects = [1]
        capabilities = ["cost_accounting"]
        """
    )
    server = start(users=users, switches={"balance": "12.5"})
    with server.api(tmp_path / "ann.token") as ann:
        assert ann.get(BALANCE).json()["balance"] == "12.50"
