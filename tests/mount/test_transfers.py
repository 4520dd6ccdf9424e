"""`orionfs put` and `orionfs get`, as from a shell: whole items in and out, on both sessions."""

from __future__ import annotations

import html.parser
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest
from click.testing import CliRunner

from orionfs.cli.main import cli
from orionfs.client import OrionSession, SessionConfig, Shard, ShardCollection
from orionfs.models import Kind
from orionfs.transfers.putting import mark_for
from tests.cli.person import Person
from tests.cli.processes import wait_for
from tests.mount.stand import Client, Stand

SMILES = "CCO ethanol\nc1ccccc1 benzene\n"


@pytest.fixture
def stand(make_stand, shared_server, client) -> Stand:
    """An account, nothing mounted."""
    made: Stand = make_stand(client, server=shared_server, is_mounted=False)
    return made


@pytest.fixture
def own(make_stand, shared_server) -> Stand:
    """The same on our own session."""
    made: Stand = make_stand(Client.OWN, server=shared_server, is_mounted=False)
    return made


@pytest.fixture
def local(tmp_path) -> Path:
    """A local folder with one source of each kind."""
    (tmp_path / "notes.txt").write_text("notes")
    (tmp_path / "mols.smi").write_text(SMILES)
    (tmp_path / "run").mkdir()
    for number in range(12):
        (tmp_path / "run" / f"shard-{number}").write_bytes(bytes([number]) * 1000 * number)
    return tmp_path


def run(stand: Stand, *arguments: object) -> tuple[int, list[str], str]:
    """Status, lines, complaints of a command, run in this process: it is quicker by far."""
    done = CliRunner().invoke(cli, [*map(str, arguments)], env=stand.environment)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout.splitlines(), done.stderr


def visible(stand: Stand, folder: str) -> dict[str, str]:
    """What users see in a folder of Orion: name -> kind. Nothing may be left where uploads land."""
    assert [name for name in stand.direct.names(stand.direct.home) if name.startswith(".orionfs-put")] == []
    return {row["name"]: row["resource_type"].lower() for row in stand.direct.rows(folder)}


def test_items_of_each_kind_go_there_and_come_back(stand, local) -> None:
    name = f"kinds-{stand.client.name}"
    there, short = f"{stand.direct.home}/{name}/new", f"my-data/{name}/new"
    for kind, source in (("file", "notes.txt"), ("dataset", "mols.smi"), ("collection", "run")):
        status, lines, err = run(stand, "put", "--as", kind, local / source, short)
        assert (status, lines, err) == (0, [f"{local / source} -> {there}/{source}", "1 done"], "")
    kinds = visible(stand, there)
    assert (kinds["notes.txt"], kinds["mols.smi"], len(kinds)) == ("file", "dataset", 3)
    back = local / "back"
    back.mkdir()
    places = [f"{there}/{each}" for each in ("notes.txt", "mols.smi", "run")]
    status, lines, err = run(stand, "get", *places, back)
    assert (status, lines[-1], err) == (0, "3 done", "")
    assert sorted(os.listdir(back)) == ["mols.smi.oedb", "notes.txt", "run"]
    assert (back / "notes.txt").read_text() == "notes"
    subprocess.run(["diff", "-r", local / "run", back / "run"], check=True)
    status, _, err = run(stand, "get", "--format", "smi", places[1], local / "as-text")
    assert (status, (local / "as-text").read_text(), err) == (0, SMILES, "")
    # A dataset's own form makes the same dataset again.
    assert run(stand, "put", "--as", "dataset", back / "mols.smi.oedb", f"{short}/again")[0] == 0
    assert run(stand, "get", f"{short}/again/mols.smi", local / "again")[0] == 0
    assert (local / "again").read_bytes() == (back / "mols.smi.oedb").read_bytes()


def test_what_is_there_is_left_and_replaced_when_asked_for(make_stand, local) -> None:
    own = make_stand(Client.OWN, is_mounted=False)
    folder = f"{own.direct.home}/left"
    put = ("put", "--json", "--as", "file", local / "notes.txt", folder)
    (first,) = map(json.loads, run(own, *put)[1])
    (second,) = map(json.loads, run(own, *put)[1])
    assert (first["status"], second["status"], second["uri"]) == ("done", "skipped", first["uri"])
    (local / "notes.txt").write_text("longer notes")
    status, (line,), _ = run(own, *put)
    assert (status, json.loads(line)["status"]) == (1, "failed")
    assert "--replace" in json.loads(line)["error"]
    assert own.direct.content(f"{folder}/notes.txt") == b"notes"
    own.direct.tag(f"{folder}/notes.txt", "lead")
    status, (line,), _ = run(own, *put, "--replace")
    assert (status, json.loads(line)["uri"] != first["uri"]) == (0, True)
    assert own.direct.content(f"{folder}/notes.txt") == b"longer notes"
    assert len(own.direct.rows(folder)) == 1
    assert own.direct.tags(f"{folder}/notes.txt") == ["lead"]
    # What may not be removed stays what it was.
    kept = own.direct.row(f"{folder}/notes.txt")["id"]
    (local / "notes.txt").write_text("not wanted")
    own.server.misbehave({"method": "DELETE", "path": f"/files/{kept}$", "action": "status", "status": 403})
    status, (line,), _ = run(own, *put, "--replace")
    own.server.misbehave()
    assert (status, json.loads(line)["status"]) == (1, "failed")
    assert [row["id"] for row in own.direct.rows(folder)] == [kept]
    # What can't be removed now is removed by the next mount, and not seen until then.
    own.server.misbehave({"method": "DELETE", "path": f"/files/{kept}$", "action": "status", "status": 422})
    status, lines, _ = run(own, "put", "--replace", *put[2:])
    own.server.misbehave()
    assert (status, "removed by the next mount" in lines[0]) == (0, True)
    own.mount()
    assert os.listdir(own.mine / "left") == ["notes.txt"]
    wait_for(lambda: len(own.direct.rows(folder)) == 1)
    (local / "notes.txt").write_text("longer notes")
    assert run(own, "put", "--replace", *put[2:])[0] == 0
    # And the other way.
    target = local / "fetched"
    get = ("get", f"{folder}/notes.txt", target)
    assert [run(own, *get)[1][-1] for _ in range(2)] == ["1 done", "1 skipped"]
    target.write_text("mine")
    assert run(own, *get)[0] == 1
    assert target.read_text() == "mine"
    assert run(own, *get, "--replace")[0] == 0
    assert target.read_text() == "longer notes"


def test_stack_of_other_habits_that_nobody_has_probed_is_found_out(make_stand, local) -> None:
    habits = {"duplicate_names": "refused", "assign_path": "full", "literals": "class", "list_sizes": "no"}
    own = make_stand(Client.OWN, is_mounted=False, is_probed=False, **habits)
    folder = f"{own.direct.home}/odd"
    for kind, source in (("file", "notes.txt"), ("dataset", "mols.smi"), ("collection", "run")):
        put = ("put", "--as", kind, local / source, folder)
        assert run(own, *put)[1][-1] == "1 done"
        assert run(own, *put)[1][-1] == "1 skipped"
        before = own.direct.row(f"{folder}/{source}")["id"]
        status, _, err = run(own, *put, "--replace")
        assert (status, err) == (0, "")
        assert own.direct.row(f"{folder}/{source}")["id"] != before
    assert sorted(visible(own, folder)) == ["mols.smi", "notes.txt", "run"]
    assert run(own, "get", f"{folder}/notes.txt", local / "back")[0] == 0
    assert (local / "back").read_text() == "notes"


def test_large_file_comes_in_parts_and_whole(own, tmp_path) -> None:
    content = os.urandom(20_000_000)
    own.direct.put(f"{own.direct.home}/large", content)
    mark = own.server.mark()
    assert run(own, "get", "my-data/large", tmp_path)[0] == 0
    assert (tmp_path / "large").read_bytes() == content
    blobs = [row for row in own.server.rows(mark) if row.response_bytes > 1_000_000]
    assert [row.status for row in blobs] == [206] * 3
    own.direct.put(f"{own.direct.home}/large-2", content)
    own.server.misbehave({"path": "/blobs/", "nth": 2, "action": "cut", "after_bytes": 1000, "times": 1})
    assert run(own, "get", "my-data/large-2", tmp_path)[0] == 0
    own.server.misbehave()
    assert (tmp_path / "large-2").read_bytes() == content


def test_collection_goes_on_where_it_was_interrupted_in_both_directions(make_stand, local) -> None:
    own = make_stand(Client.OWN, is_mounted=False)
    refuse = {"method": "PUT", "path": "/data$", "nth": 7, "action": "status", "status": 403}
    own.server.misbehave(refuse)
    put = ("put", "--as", "collection", "--jobs", 1, local / "run", "my-data/there")
    status, lines, err = run(own, *put)
    assert (status, lines[-1]) == (1, "1 failed"), err
    there = f"{own.direct.home}/there"
    assert own.direct.rows(there) == []
    own.server.misbehave()
    mark = own.server.mark()
    assert run(own, *put)[0] == 0
    sent = [row for row in own.server.rows(mark) if row.method == "PUT"]
    assert len(sent) == 12 - 6
    assert visible(own, there) == {"run": "collection"}
    get = ("get", "--jobs", 1, "my-data/there/run", local / "back")
    own.server.misbehave({"path": "/shards/.*/download", "nth": 5, "action": "status", "status": 403})
    status, _, err = run(own, *get)
    assert (status, (local / "back").exists()) == (1, False), err
    own.server.misbehave()
    mark = own.server.mark()
    assert run(own, *get)[0] == 0
    fetched = {row.path for row in own.server.rows(mark) if row.path.endswith("/download/")}
    assert len(fetched) == 12 - 4
    subprocess.run(["diff", "-r", local / "run", local / "back"], check=True)
    assert [name for name in os.listdir(local) if name.startswith(".")] == []


def test_upload_that_was_cut_off_is_put_anew_and_leaves_nothing(own, local) -> None:
    target = f"{own.direct.home}/cut/notes.txt"
    own.direct.put(f"{own.direct.home}/{mark_for(Kind.FILE, target)}", b"half")
    status, _, err = run(own, "put", "--as", "file", local / "notes.txt", "my-data/cut")
    assert (status, err) == (0, "")
    assert own.direct.content(target) == b"notes"
    assert visible(own, f"{own.direct.home}/cut") == {"notes.txt": "file"}


def test_one_that_fails_keeps_no_other_from_being_tried_and_words_say_what(own, local) -> None:
    status, lines, err = run(
        own, "put", "--as", "dataset", local / "notes.odd", local / "mols.smi", "my-data/some"
    )
    assert (status, lines[-1]) == (1, "1 done, 1 failed")
    assert "notes.odd: No such file or directory" in err
    (local / "notes.odd").write_text("x")
    status, _, err = run(own, "put", "--as", "dataset", local / "notes.odd", "my-data/some")
    assert status == 1
    assert "records are read from" in err
    assert visible(own, f"{own.direct.home}/some") == {"mols.smi": "dataset"}
    status, lines, err = run(own, "get", "my-data/some/mols.smi", "file://999999", "my-data/some", local)
    assert (status, lines[-1]) == (1, "1 done, 2 failed")
    assert "file://999999: no item of this id on Orion" in err
    assert "my-data/some: a folder: mount Orion" in err
    for words in ("somewhere/else", "/etc/passwd", "my-data/../x"):
        assert run(own, "get", words, local)[0] == 2
    (local / "run" / "sub").mkdir()
    assert "is no regular file" in run(own, "put", "--as", "collection", local / "run", "my-data/x")[2]


def test_names_of_orion_reach_no_other_folder(own, tmp_path) -> None:
    (tmp_path / "in").mkdir()
    with session(own) as orion:
        collection = ShardCollection.create(orion, "..", folder_path=own.direct.home)
        for name in ("..", ".", "a\nb"):
            fill(collection, name, tmp_path, b"x")
        collection.close()
    assert run(own, "get", f"collection://{collection.id}", tmp_path / "in")[0] == 0
    assert sorted(os.listdir(tmp_path / "in")) == ["%2E%2E"]
    assert sorted(os.listdir(tmp_path / "in" / "%2E%2E")) == ["%2E", "%2E%2E", "a\nb"]


def test_places_in_a_mount_stand_for_their_account_and_are_shown_at_once(own, local) -> None:
    own.mount()
    folder = own.mine / "in-a-mount" / "new"
    status, _, err = run(own, "put", "--as", "dataset", local / "mols.smi", folder)
    assert (status, err) == (0, "")
    shown = folder / "mols.smi.oedb"
    assert shown.exists()
    assert run(own, "get", shown, local / "fetched")[0] == 0
    assert (local / "fetched").read_bytes() == shown.read_bytes()
    assert "copy it with cp -r" in run(own, "get", folder, local)[2]
    assert "does not exist" in run(own, "get", folder / "absent", local)[2]
    mark = own.server.mark()
    status, _, err = run(own, "put", "--as", "file", local / "notes.txt", own.point / "organization" / "new")
    assert (status, "/organization in the mount is read-only" in err) == (1, True), err
    assert {row.method for row in own.server.rows(mark)} <= {"GET"}


def test_at_a_terminal_each_item_has_a_line_of_its_own_above_the_bar(own, local) -> None:
    command = [sys.executable, "-P", "-m", "orionfs", "put", "--as", "file"]
    sources = [str(local / name) for name in ("absent", "notes.txt")]
    person = Person([*command, *sources, "my-data/seen"], {**own.environment, "TERM": "xterm"})
    try:
        assert person.wait() == 1
    finally:
        person.close()
    lines = [line.rpartition("\x1b[2K")[2] for line in person.screen.split("\r\n")]
    assert f"orionfs: {sources[0]}: No such file or directory" in lines, person.screen
    assert f"{sources[1]} -> {own.direct.home}/seen/notes.txt" in lines
    assert "/2" in person.screen  # how far it is is shown ten times a second, and it may be done before
    assert "1 done, 1 failed" in lines


def test_interrupt_ends_it_in_a_line_and_leaves_nothing_under_the_name(make_stand, local) -> None:
    own = make_stand(Client.OWN, is_mounted=False)
    own.direct.put(f"{own.direct.home}/slow", b"x" * 1000)
    own.server.misbehave({"path": "/files/.*/download", "action": "delay", "seconds": 30})
    command = [sys.executable, "-P", "-m", "orionfs", "get", "my-data/slow", str(local / "fetched")]
    mark = own.server.mark()
    with subprocess.Popen(command, env=own.environment, stderr=subprocess.PIPE, text=True) as process:
        wait_for(lambda: any(row.path.endswith("/stat") for row in own.server.rows(mark)))
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    own.server.kill()
    assert process.returncode == 130
    assert err == "orionfs: interrupted; what is done is not done again the next time\n"
    assert not (local / "fetched").exists()
    own.server.start()


@pytest.mark.parametrize("when", ["before", "after"])
def test_put_killed_while_it_replaces_leaves_nothing_behind_once_the_next_one_ran(
    make_stand, local, when
) -> None:
    own = make_stand(Client.OWN, is_mounted=False)
    home = own.direct.home
    old = own.direct.put(f"{home}/notes.txt", b"old")
    stalled = {"before": "/paths/assign", "after": f"/files/{old}$"}[when]
    own.server.misbehave({"path": stalled, "action": "delay", "seconds": 30})
    arguments = ["put", str(local / "notes.txt"), "my-data", "--as", "file", "--replace"]
    command = [sys.executable, "-P", "-m", "orionfs", *arguments]
    mark = own.server.mark()
    begun = {"before": "upload", "after": "assign"}[when]
    with subprocess.Popen(command, env=own.environment, stderr=subprocess.DEVNULL) as process:
        wait_for(lambda: any(row.word == begun for row in own.server.rows(mark)))
        process.kill()
    own.server.misbehave()
    assert run(own, *arguments)[0] == 0
    (row,) = own.direct.rows(home)
    assert row["name"] == "notes.txt"
    assert own.direct.api.content(row["id"]) == b"notes"


# -- floe reports --------------------------------------------------------------------------------


def session(stand: Stand) -> OrionSession:
    return OrionSession(config=SessionConfig(stand.server.url, stand.server.token))


def fill(collection: ShardCollection, name: str, folder: Path, contents: bytes) -> Shard:
    """A ready shard."""
    shard = Shard.create(collection, name)
    (folder / "contents").write_bytes(contents)
    shard.upload_file(folder / "contents")
    shard.close()
    return shard


class _Links(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("href", "src") and value:
                self.found.append(value)
            if name == "content" and value and "url=" in value:
                self.found.append(value.partition("url=")[2])


def links_of(page: Path) -> list[str]:
    parser = _Links()
    parser.feed(page.read_text())
    return parser.found


def test_floe_report_opens_in_a_browser(own, tmp_path) -> None:
    with session(own) as orion:
        report = ShardCollection.create(orion, "Floe Report", folder_path=own.direct.home)
        picture = fill(report, "plot 1.svg", tmp_path, b"<svg/>")
        address = f"/api/v1/storage/collections/{report.id}/shards"
        second = f'<html><img src="{address}/{picture.id}/download/"></html>'
        page = fill(report, "details", tmp_path, second.encode())
        first = (
            f'<!DOCTYPE html>\n<html><a href="{own.server.url}{address}/{page.id}/download/">more</a></html>'
        )
        index = fill(report, "Summary", tmp_path, first.encode())
        report.close()
        orion.update_resource(report, {"metadata": {"index_pages": [{"id": index.id}]}})
    status, _, err = run(own, "get", "my-data/Floe Report", tmp_path)
    assert (status, err) == (0, "")
    folder = tmp_path / "Floe Report"
    assert sorted(os.listdir(folder)) == ["Summary.html", "details.html", "index.html", "plot 1.svg"]
    seen, pages = set[str](), ["index.html"]
    while pages:
        name = pages.pop()
        seen.add(name)
        pages += [unquote(link) for link in links_of(folder / name) if link.endswith(".html")]
        seen |= {unquote(link) for link in links_of(folder / name)}
    assert seen == set(os.listdir(folder))
