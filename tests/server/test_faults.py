"""Faults, latency and the access log."""

from __future__ import annotations

import email.utils
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from orionfs.server.faults import FaultPlan, parse_plan
from orionfs.server.problems import ServeError
from tests.server.process import FILES, HOME, Api, start_server, wait_until


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One server for all faults; each test brings its own plan."""
    with start_server(tmp_path_factory.mktemp("faults")) as server:
        yield server


@pytest.fixture
def api(server):
    with server.api() as api:
        yield api
    server.misbehave()


def test_rule_counts_its_requests_from_nth_for_times():
    (rule,) = parse_plan(
        '{"rules": [{"method": "PUT", "path": "^/x", "nth": 2, "times": 2, "action": "reset"}]}'
    )
    assert not rule.takes("GET", "/x")
    assert not rule.takes("PUT", "/y/x")
    assert [rule.takes("PUT", "/x1") for _ in range(5)] == [False, True, True, False, False]


def test_rule_takes_every_so_many_requests_from_nth_on():
    (rule,) = parse_plan('{"rules": [{"nth": 2, "every": 3, "times": 2, "action": "reset"}]}')
    taken = [number for number in range(1, 13) if rule.takes("GET", "/")]
    assert taken == [2, 5]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"rules": [{}]}',
        '{"rules": [{"action": "explode"}]}',
        '{"rules": [{"action": "reset", "colour": "blue"}]}',
        '{"rules": [{"action": "reset", "path": "("}]}',
        '{"rules": [{"action": "reset", "every": 0}]}',
    ],
)
def test_plan_that_makes_no_sense_is_refused(text):
    with pytest.raises(ServeError, match="fault plan"):
        parse_plan(text)


def test_plan_is_read_again_when_it_changes(tmp_path):
    path = tmp_path / "faults.json"
    plan = FaultPlan(path)
    assert plan.take("GET", "/") == []
    path.write_text('{"rules": [{"action": "reset", "times": 1}]}')
    assert [rule.action for rule in plan.take("GET", "/")] == ["reset"]
    assert plan.take("GET", "/") == []
    path.write_text('{"rules": [{"action": "garbage", "times": 1}]}')
    assert [rule.action for rule in plan.take("GET", "/")] == ["garbage"]
    path.unlink()
    assert plan.take("GET", "/") == []


def test_status_with_retry_after_and_then_all_is_well(server, api):
    server.misbehave({"path": "/ls$", "action": "status", "status": 503, "retry_after": "1", "times": 1})
    answer = api.ls("/")
    assert (answer.status_code, answer.headers["Retry-After"], answer.json()["code"]) == (503, "1", "fault")
    assert answer.headers["X-Request-Id"]
    assert api.ls("/").status_code == 200
    assert server.log()[-2]["status"] == 503


def test_retry_after_as_a_date_is_that_far_ahead(server, api):
    server.misbehave({"path": "/ls$", "action": "status", "status": 429, "retry_after": "date+5", "times": 1})
    before = int(time.time())
    told = email.utils.parsedate_to_datetime(api.ls("/").headers["Retry-After"]).timestamp()
    assert before + 5 <= told <= time.time() + 5


def test_delay_of_one_request(server, api):
    server.misbehave({"path": "/stat$", "action": "delay", "seconds": 0.3, "times": 1})
    started = time.monotonic()
    assert api.stat("/").status_code == 200
    assert time.monotonic() - started >= 0.3
    assert server.log()[-1]["ms"] >= 300


def test_cut_sends_less_than_was_promised(server, api):
    url = api.download_url(api.upload("f", b"x" * 3_000_000)["id"])
    server.misbehave({"path": "^/blobs/", "action": "cut", "after_bytes": 1_500_000, "times": 1})
    with Api(api.url, None) as nobody:
        with nobody.get(url, stream=True) as answer:
            assert answer.headers["Content-Length"] == "3000000"
            pieces: list[bytes] = []
            with pytest.raises(requests.exceptions.ChunkedEncodingError):
                pieces.extend(answer.iter_content(65536))
        assert 0 < len(b"".join(pieces)) <= 1_500_000
        assert nobody.get(url).content == b"x" * 3_000_000
    line = next(line for line in reversed(server.log()) if line["response_bytes"] == 1_500_000)
    assert line["status"] == 200


@pytest.mark.parametrize("path", ["/api/v1/orionfs", "/api/v3/storage/files/{}/download"])
def test_cut_of_a_short_or_empty_answer_is_still_one(server, api, path):
    path = path.format(api.upload("f", b"x")["id"])
    server.misbehave({"path": f"{path}$", "action": "cut", "after_bytes": 10**9})
    with pytest.raises(requests.RequestException):
        api.get(path)


def test_reset_drops_the_request_undone(server, api):
    server.misbehave({"method": "POST", "action": "reset", "times": 1})
    with pytest.raises(requests.ConnectionError):
        api.create(f"{HOME}/undone")
    assert api.stat(f"{HOME}/undone").status_code == 404
    assert [line["status"] for line in server.log()][-2:] == [0, 404]


def test_after_reset_drops_the_answer_of_what_was_done(server, api):
    server.misbehave({"method": "POST", "action": "after_reset", "times": 1})
    with pytest.raises(requests.ConnectionError):
        api.create(f"{HOME}/done")
    assert api.stat(f"{HOME}/done").status_code == 200


def test_faults_of_an_upload_leave_the_connection_usable(server, api):
    server.misbehave({"path": "/upload$", "action": "status", "status": 500, "times": 1})
    query = {"name": "large", "folder_path": HOME}
    answer = api.request("POST", f"{FILES}/upload", params=query, data=b"x" * 5_000_000)
    assert answer.status_code == 500
    assert api.upload("large", b"x" * 5_000_000)["size"] == 5_000_000


def test_garbage_is_no_json(server, api):
    server.misbehave({"path": "/stat$", "action": "garbage"})
    answer = api.stat("/")
    assert answer.status_code == 200
    with pytest.raises(requests.JSONDecodeError):
        answer.json()


def test_broken_plan_is_said_until_it_is_mended(server, api):
    (server.folder / "faults.json").write_text("{")
    assert api.stat("/").json()["code"] == "bad_fault_plan"
    server.misbehave()
    assert api.stat("/").status_code == 200


def test_latency_is_added_to_each_request_once(start):
    server = start(latency_s=0.2)
    with server.api() as api:
        started = time.monotonic()
        api.upload("f", b"x" * 3_000_000)
        alone = time.monotonic() - started
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: api.stat("/"), range(8)))
    assert 0.2 <= alone < 2
    assert all(line["ms"] >= 200 for line in server.log())


def test_access_log_tells_each_request_and_no_secret(server, api):
    token = server.token_file.read_text().strip()
    seen = len(server.log())
    row = api.upload("näme", b"abc")
    url = api.download_url(row["id"])
    with Api(api.url, None) as nobody:
        assert nobody.get(url).content == b"abc"
        part = api.begin("g", 3)["upload"]["parts"][0]["url"]
        assert nobody.request("PUT", part, data=b"abc").status_code == 204
        nobody.get(f"/api/v1/users/me?token={token}")
    upload, redirect, blob, _begin, put, refused = server.log()[seen:]
    assert set(upload) == {
        *("time", "method", "path", "query", "status", "request_bytes", "response_bytes", "ms", "user"),
        *("user_agent", "request_id"),
    }
    assert (upload["method"], upload["status"], upload["request_bytes"], upload["user"]) == (
        "POST",
        201,
        3,
        "demo",
    )
    assert upload["user_agent"].startswith("python-requests")
    assert "name=n%C3%A4me" in upload["query"]
    assert redirect["path"] == f"{FILES}/{row['id']}/download"
    assert (blob["method"], blob["response_bytes"], blob["user"]) == ("GET", 3, None)
    assert (put["method"], put["request_bytes"], put["status"]) == ("PUT", 3, 204)
    assert (refused["status"], refused["query"]) == (401, "")
    text = json.dumps(server.log())
    assert token not in text
    assert "signature" not in text


def test_answer_names_the_request_of_its_log_line(server, api):
    answer = api.stat("/")
    assert server.log()[-1]["request_id"] == answer.headers["X-Request-Id"]


def test_hung_up_sender_is_logged_and_leaves_nothing(server, api):
    blobs = server.folder / "data" / "blobs"
    before = sum(1 for _ in blobs.glob("*/*"))
    host, port = api.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as sender:
        head = (
            f"POST {FILES}/upload?name=half HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n"
            f"Authorization: {api.session.headers['Authorization']}\r\n\r\n"
        )
        sender.sendall(head.encode() + b"half")
        wait_until(lambda: sum(1 for _ in blobs.glob("*/*")) == before + 1)
    wait_until(lambda: sum(1 for _ in blobs.glob("*/*")) == before)
    wait_until(lambda: server.log()[-1]["status"] == 499)
    assert api.stat(f"{HOME}/half").status_code == 404
