"""Starting, ending, crashing and starting again; tokens and who may read them."""

from __future__ import annotations

import os
import random
import signal
import socket
import stat
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from orionfs.server.problems import ServeError
from orionfs.server.sample_content import library
from orionfs.server.site import open_site
from orionfs.server.switches import Switches
from tests.server.process import (
    DATASETS,
    FILES,
    HOME,
    PATHS,
    WORKFLOES,
    Api,
    failure_to_start,
    start_server,
    wait_until,
)
from tests.server.test_files_routes import CONTENT, put_parts
from tests.server.test_paths_routes import refused


def test_restart_keeps_instance_token_ids_and_contents(start):
    first = start()
    with first.api() as api:
        instance = api.get("/api/v1/orionfs").json()["instance"]
        row = api.upload("f", b"content")
        listing = api.ls("/").json()
    token = first.token_file.read_text()
    first.stop()
    second = start()
    assert second.token_file.read_text() == token
    with second.api() as api:
        assert api.get("/api/v1/orionfs").json()["instance"] == instance
        assert api.ls("/").json()["results"] == listing["results"]
        assert api.stat(f"{HOME}/f").json() == row
        assert api.content(row["id"]) == b"content"
        assert api.upload("g")["id"] > row["id"]


def test_two_data_folders_have_other_instances(start, tmp_path):
    instances = set()
    for name in ("a", "b"):
        with start(data=tmp_path / name).api() as api:
            instances.add(api.get("/api/v1/orionfs").json()["instance"])
    assert len(instances) == 2


def test_upload_goes_on_after_a_restart(start):
    first = start(switches={"part_bytes": "1000"})
    with first.api() as api:
        row = api.begin("big", len(CONTENT))
        put_parts(api, row, CONTENT, {1})
    first.kill()
    with start(switches={"part_bytes": "1000"}).api() as api:
        put_parts(api, row, CONTENT, {2, 3})
        assert api.complete(row["id"], 3).status_code == 200
        assert api.content(row["id"]) == CONTENT


@pytest.mark.parametrize("round_number", range(5))
def test_kill_at_any_moment_loses_nothing_acknowledged(start, round_number):
    """Four writers, one kill at a random moment: what was answered is there whole, the rest not at all."""
    chance = random.Random(round_number)
    server = start(switches={"part_bytes": "1000"})
    acknowledged: dict[str, bytes] = {}
    removed: set[str] = set()

    def work(writer: int) -> None:
        with server.api() as api:
            for number in range(1000):
                name, content = f"{writer}-{number}", bytes([number % 256]) * chance.randrange(3000)
                if number % 2:
                    row = api.begin(name, len(content))
                    put_parts(api, row, content)
                    assert api.complete(row["id"], len(row["upload"]["parts"])).status_code == 200
                else:
                    content = content[:1000]
                    row = api.upload(name, content)
                acknowledged[name] = content
                if number % 5 == 4:
                    removed.add(name)
                    assert api.remove(f"{HOME}/{name}").status_code == 204
                    del acknowledged[name]

    def work_until_killed(writer: int) -> None:
        try:
            work(writer)
        except requests.RequestException:
            return

    def kill_at_some_moment() -> None:
        wait_until(lambda: bool(acknowledged))
        time.sleep(chance.uniform(0, 0.5))
        server.kill()

    killer = threading.Thread(target=kill_at_some_moment)
    killer.start()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work_until_killed, range(4)))
    killer.join()

    with start(switches={"part_bytes": "1000"}).api() as api:
        rows = {row["name"]: row for row in api.ls(HOME, limit=1000).json()["results"]}
        assert acknowledged
        assert acknowledged.keys() - removed <= rows.keys()
        assert all(
            api.content(rows[name]["id"]) == acknowledged[name] for name in acknowledged.keys() - removed
        )
        for name in rows.keys() - acknowledged.keys():
            assert len(api.content(rows[name]["id"])) == rows[name]["size"]


def test_start_removes_what_no_file_refers_to(start):
    first = start()
    with first.api() as api:
        row = api.upload("f", b"content")
    first.kill()
    stray = first.folder / "data" / "blobs" / "ab" / ("ab" + "0" * 30)
    stray.parent.mkdir(exist_ok=True)
    stray.write_bytes(b"half a file")
    with start().api() as api:
        assert not stray.exists()
        assert api.content(row["id"]) == b"content"


@pytest.mark.started
def test_data_folder_belongs_to_one_server_at_a_time(start):
    server = start()
    said = failure_to_start(server.folder)
    assert "ServeError: another server runs on the data folder" in said
    assert str(server.folder / "data") in said
    with server.api() as api:
        assert api.stat("/").status_code == 200


def test_port_in_use_is_said_in_words(start, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"ServeError: can't listen on 127.0.0.1 port {port}: " in failure_to_start(tmp_path, port=port)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"switches": {"colour": "blue"}}, "unknown switch 'colour'"),
        ({"switches": {"page_max": "0"}}, "page_max needs a whole number"),
        ({"import_dir": "/nowhere"}, "/nowhere is no directory"),
        ({"users": "/nowhere.toml"}, "/nowhere.toml can't be read"),
        ({"data": "/dev/null/x"}, "/dev/null/x can't be used"),
        ({"access_log": "/nowhere/log"}, "/nowhere/log can't be written"),
        ({"latency_s": -1}, "latency"),
    ],
)
def test_server_that_can_not_start_says_why_in_one_line(tmp_path, options, words):
    said = failure_to_start(tmp_path, **options)
    assert words in said
    assert said.count("\n") == 1


def test_fault_plan_that_makes_no_sense_is_refused_at_start(tmp_path):
    (tmp_path / "faults.json").write_text('{"rules": [{"action": "explode"}]}')
    assert "unknown action 'explode'" in failure_to_start(tmp_path)


@pytest.mark.started
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_the_server_quickly_in_spite_of_open_connections(start, number):
    server = start()
    with server.api() as api:
        assert api.stat("/").status_code == 200
        assert server.stop(number) < 10
    assert server.process.returncode == 0
    assert (server.folder / "stderr.txt").read_text() == ""


@pytest.mark.started
def test_end_of_stdin_ends_the_server(start):
    server = start()
    with server.api() as api:
        assert api.stat("/").status_code == 200
        assert server.stop() < 10
    assert server.process.returncode == 0


def test_request_under_way_is_answered_before_a_graceful_end(start):
    server = start()
    blobs = server.folder / "data" / "blobs"
    host, port = server.url.removeprefix("http://").split(":")
    with server.api() as api, socket.create_connection((host, int(port)), timeout=10) as sender:
        head = (
            f"POST {FILES}/upload?name=f HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n"
            f"Authorization: {api.session.headers['Authorization']}\r\n\r\n"
        )
        sender.sendall(head.encode() + b"half")
        wait_until(lambda: any(blobs.glob("*/*")))
        server.process.send_signal(signal.SIGTERM)
        sender.sendall(b"half")
        assert sender.recv(4096).startswith(b"HTTP/1.1 201")
        server.stop()
    with start().api() as api:
        assert api.names(HOME) == ["f"]


def test_delayed_request_is_answered_at_once_when_the_server_ends(start):
    server = start()
    server.misbehave({"path": "/stat$", "action": "delay", "seconds": 600})
    host, port = server.url.removeprefix("http://").split(":")
    with server.api() as api, socket.create_connection((host, int(port)), timeout=10) as asker:
        token = api.session.headers["Authorization"]
        head = f"GET {PATHS}/stat?path=/ HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\n\r\n"
        asker.sendall(head.encode())
        assert api.names(HOME) == []  # what came later is answered, so the other one has come
        assert server.stop(signal.SIGTERM) < 10
        assert asker.recv(4096).startswith(b"HTTP/1.1 200")
    assert (server.folder / "stderr.txt").read_text() == ""


def test_token_file_is_private_and_the_data_holds_no_token(start, tmp_path):
    token_file = tmp_path / "elsewhere" / "token"
    server = start(token_file=token_file)
    token = token_file.read_text().strip()
    with server.api() as api:
        row = api.upload("f")
        api.download_url(row["id"])
    server.stop()
    assert stat.S_IMODE(token_file.stat().st_mode) == 0o600
    data = server.folder / "data"
    files = [path for path in data.rglob("*") if path.is_file()]
    assert len(files) > 2
    assert all(token.encode() not in path.read_bytes() for path in files)
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in files)
    assert stat.S_IMODE(data.stat().st_mode) == 0o700


def test_missing_token_file_brings_a_new_token_and_ends_the_old_one(start):
    first = start()
    old = first.token_file.read_text().strip()
    first.stop()
    first.token_file.unlink()
    second = start()
    assert second.token_file.read_text().strip() != old
    with second.api() as api, Api(second.url, old) as late:
        assert api.stat(HOME).status_code == 200
        assert refused(late.stat(HOME), 401)


def test_token_file_that_is_none_is_never_overwritten(tmp_path):
    precious = tmp_path / "notes.txt"
    precious.write_text("do not lose this")
    assert "is no token file" in failure_to_start(tmp_path, token_file=precious)
    assert precious.read_text() == "do not lose this"


def test_users_file_can_grow_between_starts(tmp_path):
    users = tmp_path / "users.toml"
    users.write_text('[[users]]\nname = "alice"\ntoken_file = "alice.token"\nprojects = ["Demo"]\n')
    with start_server(tmp_path, users=users) as server, server.api(tmp_path / "alice.token") as alice:
        assert alice.get("/api/v1/users/me").json()["id"] == 2
        row = alice.upload("f", folder="/project/1/user/alice")
    users.write_text(users.read_text() + '[[projects]]\nname = "New"\nid = 5\nmembers = ["alice", "demo"]\n')
    with start_server(tmp_path, users=users) as server, server.api(tmp_path / "alice.token") as alice:
        assert alice.names("/project") == ["1", "5"]
        assert alice.get(f"{FILES}/{row['id']}").json() == row
        assert alice.get("/api/v1/users/me").json()["default_project"] == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[users]]\nname = 'x'\n", "neither token_file nor password_file"),
        ("[[users]]\nname = 'a/b'\ntoken_file = 't'\n", "can't be the name of a user"),
        ("[[users]]\nname = 'x'\ntoken_file = 't'\n", "is in no project"),
        ("[[users]]\nname = 'x'\ntoken_file = 't'\nprojects = [9]\n", "project 9 that it does not"),
        ("[[projects]]\nname = 'P'\nmembers = ['nobody']\n", "user 'nobody' that it does not"),
        ("[[projects]]\nname = 'P'\ncolour = 1\n", "unknown colour"),
        ("[[projects]]\nname = 'P'\nid = 1\n", "another project's"),
        ("nonsense", "can't be read"),
    ],
)
def test_users_file_that_makes_no_sense_is_refused(tmp_path, text, words):
    """Checked without a process: a start costs half a second, and there are many ways to be wrong."""
    (tmp_path / "users.toml").write_text(text)
    with (
        pytest.raises(ServeError, match=words),
        open_site(tmp_path / "data", tmp_path / "token", tmp_path / "users.toml", Switches()),
    ):
        pass


def test_sample_data_is_loaded_once(start):
    first = start(sample=True)
    with first.api() as api:
        names = api.names(HOME)
        assert "README.txt" in names
        assert api.stat(f"{HOME}/fragment-screen/hits.csv").json()["tags"] == ["PDB: 1abc", "lead"]
        total = sum(row["size"] for row in api.get(FILES, params={"limit": 1000}).json()["results"])
        assert 200_000 < total < 1_000_000
        api.remove(f"{HOME}/README.txt")
    first.stop()
    with start(sample=True).api() as api:
        assert set(api.names(HOME)) == set(names) - {"README.txt"}
        assert api.get(DATASETS).json()["count"] == 2


def test_sample_has_datasets_and_workfloes(start):
    with start(sample=True).api() as api:
        rows = api.ls(f"{HOME}/fragment-screen", types="dataset,collection").json()["results"]
        found = {row["name"]: row for row in rows}
        assert (found["library"]["count"], found["library"]["dirty"]) == (len(library()), False)
        answer = api.get(f"{DATASETS}/{found['library']['id']}/download", params={"format": "smi"})
        file = api.stat(f"{HOME}/fragment-screen/library.smi").json()
        assert answer.content == api.content(file["id"])
        floes = api.get(WORKFLOES, params={"title": "docking", "state": "ready"}).json()["results"]
        assert [floe["name"] for floe in floes] == ["Fragment Docking 1.1"]
        assert len(api.get(f"{WORKFLOES}/{floes[0]['id']}").json()["specification"]["cubes"]) == 4


def test_import_keeps_names_contents_and_times_and_is_repeatable(start, tmp_path):
    tree = tmp_path / "tree"
    (tree / "a" / "empty").mkdir(parents=True)
    (tree / "a" / "ångström 🧪.txt").write_bytes(b"content")
    (tree / "zero").write_bytes(b"")
    (tree / "link").symlink_to("zero")
    os.utime(tree / "zero", ns=(0, 1_700_000_000_123_456_789))
    first = start(import_dir=tree)
    with first.api() as api:
        assert api.names(HOME) == ["a", "zero"]
        assert api.stat(f"{HOME}/zero").json()["created"] == "2023-11-14T22:13:20.123456Z"
        assert api.names(f"{HOME}/a") == ["empty", "ångström 🧪.txt"]
        assert api.content(api.stat(f"{HOME}/a/ångström 🧪.txt").json()["id"]) == b"content"
    first.stop()
    (tree / "new").write_bytes(b"new")
    with start(import_dir=tree).api() as api:
        assert api.names(HOME) == ["a", "zero", "new"]
        assert len(api.names(f"{HOME}/a")) == 2


def test_many_at_once_are_all_served(start):
    server = start()
    with server.api() as api, ThreadPoolExecutor(16) as pool:
        rows = list(pool.map(lambda number: api.upload(f"f{number}", b"x" * number), range(100)))
        assert len({row["id"] for row in rows}) == 100
        assert api.ls(HOME, limit=1).json()["count"] == 100
        wait_until(lambda: len(server.log()) == 101)
