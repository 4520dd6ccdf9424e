"""Datasets over HTTP: made, uploaded, appended to, finalized, downloaded in every form."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from orionfs.server.datasets import MARK_EVERY
from orionfs.server.record_formats import MAGIC, encode_frame
from orionfs.server.sample_content import library, sdf_record
from tests.server.process import DATASETS, FILES, HOME, Api
from tests.server.test_paths_routes import refused

SMILES = b"".join(f"{molecule.smiles} {molecule.name}\n".encode() for molecule in library())
SDF = "".join(sdf_record(molecule, {"n": "1"}) for molecule in library()).encode()


def lines(numbers):
    return "".join(json.dumps({"n": number}) + "\n" for number in numbers).encode()


def upload(api, name, content, file_name=None, /, **query):
    query = {"name": name, "folder_path": api.folder, "filename": file_name or name} | query
    return api.request("POST", f"{DATASETS}/upload", params=query, data=content)


def numbers(api, row, **query):
    """The numbers in the records of a dataset that `lines` made."""
    answer = api.get(f"{DATASETS}/{row['id']}/download", params={"format": "json", **query})
    assert answer.status_code == 200, answer.text
    return [json.loads(line)["n"] for line in answer.content.splitlines()]


@pytest.fixture(scope="module")
def thousand(shared_server):
    """A finalized dataset with the numbers 0 to 999: read by many tests, changed by none."""
    with shared_server.api() as api:
        api.folder = "/project/7/team"
        return upload(api, "thousand", lines(range(1000)), "x.json").json()


def test_upload_makes_a_finalized_dataset_of_records(api):
    answer = upload(api, "library", SMILES, "library.smi")
    row = answer.json()
    assert answer.status_code == 201
    assert (row["resource_type"], row["state"], row["dirty"], row["count"]) == (
        "dataset",
        "ready",
        False,
        len(library()),
    )
    assert row["path"] == f"{api.folder}/library"
    assert "size" not in row
    assert api.get(f"{DATASETS}/{row['id']}").json() == row
    assert api.stat(f"{api.folder}/library").json()["count"] == len(library())
    listed = api.ls(api.folder).json()["results"][0]
    assert (listed["resource_type"], listed["count"], listed["dirty"]) == ("dataset", len(library()), False)


def test_upload_goes_home_unless_told_otherwise(api):
    row = api.request("POST", f"{DATASETS}/upload", params={"name": "d", "filename": "d.txt"}).json()
    assert (row["path"], row["count"]) == (f"{HOME}/d", 0)


@pytest.mark.parametrize(
    ("query", "content", "status", "code"),
    [
        ({"filename": "x.mol2"}, b"x", 422, "unknown_format"),
        ({"filename": ""}, b"x", 422, "unknown_format"),
        ({"filename": "x.json"}, b'{"n": 1}\nnonsense', 422, "bad_record"),
        ({"filename": "x.sdf"}, b"nonsense", 422, "bad_record"),
        ({"filename": "x.txt", "name": ""}, b"x", 422, "bad_name"),
        ({"filename": "x.txt", "folder_path": "/absent"}, b"x", 404, "not_found"),
        ({"filename": "x.txt", "folder_path": "/project/1"}, b"x", 403, "permission_denied"),
        ({"filename": "x.txt", "project": "x"}, b"x", 400, "bad_request"),
        ({"filename": "x.txt", "project": "99"}, b"x", 422, "bad_project"),
    ],
)
def test_upload_with_nonsense_is_refused_and_leaves_nothing(api, shared_server, query, content, status, code):
    before = blobs(shared_server)
    assert refused(upload(api, "d", content, **query), status, code)
    assert api.names(api.folder) == []
    assert blobs(shared_server) == before


def blobs(server):
    return {path.name for path in (server.folder / "data" / "blobs").glob("*/*")}


def test_malformed_record_is_named_by_its_number(api):
    answer = upload(api, "d", b'{"n": 1}\n{"n": 2}\n[]', "x.json")
    assert answer.json()["detail"].startswith("record 3: ")


def test_upload_without_a_length_is_refused(api):
    query = {"name": "d", "filename": "d.txt"}
    assert refused(api.request("POST", f"{DATASETS}/upload", params=query, data=iter([b"x"])), 400)


def test_dataset_is_made_empty_filled_and_finalized(api):
    made = api.post(DATASETS, {"name": "d", "folder_path": api.folder, "description": "numbers"})
    row = made.json()
    assert (made.status_code, row["state"], row["dirty"], row["count"]) == (201, "open", True, 0)
    assert row["description"] == "numbers"
    route = f"{DATASETS}/{row['id']}"
    assert refused(api.get(f"{route}/download"), 409, "not_ready")
    first = api.request("POST", f"{route}/records?format=json", data=lines(range(3)))
    assert (first.status_code, first.json()["count"], first.json()["dirty"]) == (200, 3, True)
    frames = MAGIC + encode_frame(99, {"n": 3}) + encode_frame(98, {"n": 4})
    assert api.request("POST", f"{route}/records", data=frames).json()["count"] == 5
    done = api.post(f"{route}/finalize")
    assert (done.status_code, done.json()["state"], done.json()["dirty"]) == (200, "ready", False)
    assert api.post(f"{route}/finalize").json() == done.json()
    assert refused(api.request("POST", f"{route}/records", data=frames), 409, "finalized")
    assert numbers(api, row) == [0, 1, 2, 3, 4]
    ids = [1, 2, 3, 4, 5]
    expected = MAGIC + b"".join(encode_frame(number, {"n": number - 1}) for number in ids)
    assert api.get(f"{route}/download").content == expected


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({"name": 5}, 422),
        ({"name": "d", "description": 5}, 422),
        ({"name": "d", "project": "1"}, 422),
        ({"name": "d", "folder_path": "/absent"}, 404),
        ({"name": "d", "folder_path": 5}, 400),
    ],
)
def test_create_with_nonsense_is_refused_and_leaves_nothing(api, shared_server, body, status):
    before = blobs(shared_server)
    assert refused(api.post(DATASETS, {"folder_path": api.folder, **body}), status)
    assert api.names(api.folder) == []
    assert blobs(shared_server) == before


def test_refused_batch_of_records_leaves_those_before_and_after_it_whole(api):
    row = api.post(DATASETS, {"name": "d", "folder_path": api.folder}).json()
    route = f"{DATASETS}/{row['id']}"
    api.request("POST", f"{route}/records?format=json", data=lines([0]))
    bad = api.request("POST", f"{route}/records?format=json", data=lines(range(50)) + b"nonsense")
    assert refused(bad, 422, "bad_record")
    assert bad.json()["detail"].startswith("record 51: ")
    surrogate = api.request("POST", f"{route}/records?format=json", data=b'{"a": "\\ud800"}')
    assert surrogate.json()["detail"].startswith("record 1: ")
    assert refused(api.request("POST", f"{route}/records?format=cat", data=b""), 400)
    api.request("POST", f"{route}/records?format=json", data=lines([1]))
    api.post(f"{route}/finalize")
    assert numbers(api, row) == [0, 1]


def test_batches_sent_at_once_are_all_kept_whole(api):
    row = api.post(DATASETS, {"name": "d", "folder_path": api.folder}).json()
    route = f"{DATASETS}/{row['id']}"

    def send(batch):
        content = lines(range(batch * 100, batch * 100 + 100))
        return api.request("POST", f"{route}/records?format=json", data=content).status_code

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(send, range(16))) == {200}
    assert api.post(f"{route}/finalize").json()["count"] == 1600
    found = numbers(api, row)
    assert sorted(found) == list(range(1600))
    assert all(
        found[start : start + 100] == sorted(found[start : start + 100]) for start in range(0, 1600, 100)
    )


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, range(1000)),
        ({"offset": 990}, range(990, 1000)),
        ({"limit": 3}, range(3)),
        ({"offset": 255, "limit": 3}, range(255, 258)),
        ({"offset": 5, "limit": 0}, []),
        ({"offset": 1000}, []),
        ({"offset": 2000, "limit": 5}, []),
        ({"record_ids": "1"}, [0]),
        ({"record_ids": "1000,1,257,256,257"}, [999, 0, 256, 255, 256]),
    ],
)
def test_download_gives_the_records_that_are_asked_for(api, thousand, query, expected):
    assert MARK_EVERY == 256
    assert numbers(api, thousand, **query) == list(expected)


@pytest.mark.parametrize(
    "query",
    [
        {"offset": "-1"},
        {"limit": "x"},
        {"limit": "9" * 19},
        {"record_ids": ""},
        {"record_ids": "1,"},
        {"record_ids": "1", "limit": "1"},
        {"format": "mol2"},
        {"fieldlist": '"a'},
    ],
)
def test_download_of_nonsense_is_a_bad_request(api, thousand, query):
    assert refused(api.get(f"{DATASETS}/{thousand['id']}/download", params=query), 400)


@pytest.mark.parametrize("record_ids", ["0", "1001", "1,1001"])
def test_records_that_are_not_there_are_not_found(api, thousand, record_ids):
    answer = api.get(f"{DATASETS}/{thousand['id']}/download", params={"record_ids": record_ids})
    assert refused(answer, 404)


def test_binary_form_of_a_range_says_which_records_it_holds(api, thousand):
    answer = api.get(f"{DATASETS}/{thousand['id']}/download", params={"offset": 300, "limit": 2})
    assert answer.content == MAGIC + encode_frame(301, {"n": 300}) + encode_frame(302, {"n": 301})
    whole = api.get(f"{DATASETS}/{thousand['id']}/download").content
    assert whole == MAGIC + b"".join(encode_frame(number + 1, {"n": number}) for number in range(1000))


@pytest.mark.parametrize("form", ["binary", "json", "csv"])
def test_download_tells_its_length_and_is_the_same_each_time(api, thousand, form):
    route = f"{DATASETS}/{thousand['id']}/download"
    first = api.get(route, params={"format": form})
    again = api.get(route, params={"format": form}, headers={"Range": "bytes=10-19"})
    assert (first.status_code, first.headers["content-length"]) == (200, str(len(first.content)))
    assert (again.status_code, again.content) == (206, first.content[10:20])
    assert again.headers["etag"] == first.headers["etag"]
    head = api.request("HEAD", route, params={"format": form})
    assert (head.headers["content-length"], head.content) == (str(len(first.content)), b"")


def test_forms_of_one_dataset(api):
    row = upload(api, "library", SDF, "library.SDF").json()
    route = f"{DATASETS}/{row['id']}/download"
    assert api.get(route, params={"format": "sdf"}).content.decode().replace("> <", ">  <") == SDF.decode()
    table = api.get(route, params={"format": "csv"}).content.splitlines()
    assert (table[0], len(table)) == (b"title,n", len(library()) + 1)
    only = api.get(route, params={"format": "csv", "fieldlist": 'n,"a,b"', "limit": 1})
    assert only.content == b'n,"a,b"\n1,\n'
    answer = api.get(route, params={"format": "smi"})
    assert refused(answer, 422, "no_such_form")
    assert answer.json()["detail"].startswith("record 1 can't be written as smi")


def test_table_with_smiles_comes_back_as_smiles(api):
    row = upload(api, "t", b"smiles,title,x\nCCO,ethanol,1\n", "t.csv").json()
    answer = api.get(f"{DATASETS}/{row['id']}/download", params={"format": "smi"})
    assert answer.content == b"CCO ethanol\n"


def test_nothing_is_left_of_a_conversion(api, shared_server, thousand):
    before = blobs(shared_server)
    for form in ("csv", "sdf"):
        api.get(f"{DATASETS}/{thousand['id']}/download", params={"format": form})
    assert blobs(shared_server) == before


def test_more_records_than_allowed_at_once_are_refused(start):
    with start(switches={"dataset_records_max": "10"}).api() as api:
        row = upload(api, "d", lines(range(11)), "x.json").json()
        route = f"{DATASETS}/{row['id']}/download"
        assert refused(api.get(route), 413, "dimensions_too_large")
        assert numbers(api, row, limit=10) == list(range(10))


def test_upload_larger_than_allowed_is_refused(start):
    with start(switches={"upload_max_bytes": "10"}).api() as api:
        assert refused(upload(api, "d", b"x" * 11, "x.txt"), 413, "too_large")
        row = api.post(DATASETS, {"name": "e"}).json()
        answer = api.request("POST", f"{DATASETS}/{row['id']}/records?format=txt", data=b"x" * 11)
        assert refused(answer, 413, "too_large")


def test_list_update_and_delete_are_those_of_files(api, shared_server):
    row = upload(api, "d", lines([1]), "x.json").json()
    route = f"{DATASETS}/{row['id']}"
    listed = api.get(DATASETS, params={"name": "d", "path_contains": api.folder}).json()["results"]
    assert [found["id"] for found in listed] == [row["id"]]
    assert "description" not in listed[0]
    changed = api.request("PATCH", route, json={"name": "e", "description": "about"}).json()
    assert (changed["name"], changed["description"]) == ("e", "about")
    assert refused(api.request("PATCH", route, json={"metadata": {}}), 422)
    assert api.names(api.folder) == ["e"]
    assert api.request("DELETE", route).status_code == 204
    assert api.names(api.folder) == []
    assert api.get(route).json()["deleted"] is not None
    assert refused(api.get(f"{route}/download"), 404, "deleted")
    assert refused(api.post(f"{route}/finalize"), 404)
    before = blobs(shared_server)
    assert api.request("DELETE", f"{route}?immediate=true").status_code == 204
    assert len(before - blobs(shared_server)) == 1
    assert refused(api.get(route), 404)


@pytest.mark.parametrize("number", ["0", "999999999999", "x", "9" * 30])
def test_datasets_that_are_not_there_are_not_found(api, number):
    route = f"{DATASETS}/{number}"
    answers = [
        api.get(route),
        api.request("PATCH", route, json={"name": "x"}),
        api.request("DELETE", route),
        api.request("POST", f"{route}/records", data=b""),
        api.post(f"{route}/finalize"),
        api.get(f"{route}/download"),
    ]
    assert [answer.status_code for answer in answers] == [404] * len(answers)


def test_file_is_no_dataset_and_the_other_way_round(api):
    file, dataset = api.upload("f", b"x"), upload(api, "d", b"x", "x.txt").json()
    assert refused(api.get(f"{DATASETS}/{file['id']}/download"), 404)
    assert refused(api.get(f"{FILES}/{dataset['id']}/download"), 404)


def test_datasets_of_others_are_out_of_reach(api, alice, bob, shared_server):
    api.folder = "/project/7/user/demo"
    open_one = api.post(DATASETS, {"name": "o", "folder_path": api.folder}).json()
    row = upload(api, "d", b"secret", "x.txt").json()
    for stranger in (alice, bob):
        denials = [
            stranger.post(DATASETS, {"name": "n", "folder_path": api.folder}),
            upload(api_in(stranger, api.folder), "n", b"x", "x.txt"),
            stranger.get(f"{DATASETS}/{row['id']}"),
            stranger.request("PATCH", f"{DATASETS}/{row['id']}", json={"name": "n"}),
            stranger.request("DELETE", f"{DATASETS}/{row['id']}"),
            stranger.request("POST", f"{DATASETS}/{open_one['id']}/records?format=txt", data=b"x"),
            stranger.post(f"{DATASETS}/{open_one['id']}/finalize"),
            stranger.get(f"{DATASETS}/{row['id']}/download?format=txt"),
        ]
        assert [answer.status_code for answer in denials] == [403] * len(denials)
        assert stranger.get(DATASETS, params={"name": "d", "path_contains": api.folder}).json()["count"] == 0
    with Api(shared_server.url, None) as nobody:
        for method, path in (("GET", DATASETS), ("POST", DATASETS), ("POST", f"{DATASETS}/upload")):
            assert refused(nobody.request(method, path), 401)
        assert refused(nobody.get(f"{DATASETS}/{row['id']}/download"), 401)


def api_in(api, folder):
    api.folder = folder
    return api
