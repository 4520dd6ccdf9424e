"""Writing, moving and removing through `orion://`: what comes of it, what it costs, what is never lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from orionfs.config import state_folder
from orionfs.fs import OrionFileSystem
from orionfs.models import Key, Kind
from orionfs.state import claim
from tests.cli.processes import wait_for
from tests.fs.conftest import place_of
from tests.mount.server import REPOSITORY, Direct, Server
from tests.mount.stand import Client

OWN = pytest.mark.parametrize("client", [Client.OWN], ids=["own"], indirect=True)
ODD_HABITS = {
    "duplicate_names": "refused",
    "folders_assignable": "no",
    "assign_path": "full",
    "list_sizes": "no",
    "list_tags": "no",
    "create_existing": "accepted",
    "page_max": "3",
}


def test_written_file_is_there_once_it_is_closed(fs, orion, folder):
    place = place_of(folder)
    with fs.open(f"{folder}/new.txt", "w") as file:
        file.write("written\n")
        assert orion.direct.names(place) == []
    assert orion.direct.content(f"{place}/new.txt") == b"written\n"
    assert fs.ls(folder, detail=False) == [f"{folder}/new.txt"]
    assert fs.info(f"{folder}/new.txt")["size"] == 8
    fs.touch(f"{folder}/empty")
    assert orion.direct.content(f"{place}/empty") == b""


def test_replaced_file_keeps_its_tags_and_is_alone(fs, orion, folder):
    place = place_of(folder)
    orion.direct.put(f"{place}/file", b"old")
    orion.direct.tag(f"{place}/file", "lead", "two words")
    fs.pipe(f"{folder}/file", b"new")
    assert orion.direct.tree(place) == [("file", b"new")]
    assert orion.direct.tags(f"{place}/file") == ["lead", "two words"]
    assert fs.cat(f"{folder}/file") == b"new"


@OWN
def test_writing_costs_what_a_mount_pays(fs, folder, counting):
    fs.pipe(f"{folder}/first", b"1")
    with counting() as new:
        fs.pipe(f"{folder}/new", b"1")
    assert new == ["stat", "upload", "assign"]
    with counting() as replaced:
        fs.pipe(f"{folder}/new", b"2")
    assert replaced == ["stat", "upload", "assign", "delete"]
    with counting() as read:
        assert fs.cat(f"{folder}/new") == b"2"
    assert read == ["stat"], "what was just written lies in the content cache"
    with counting() as moved:
        fs.mv(f"{folder}/new", f"{folder}/moved")
    assert moved.count("assign") == 1
    assert set(moved) == {"assign", "stat"}
    with counting() as removed:
        fs.rm(f"{folder}/moved")
    assert removed == ["stat", "delete"]


def test_appended_and_exclusive_files(fs, orion, folder):
    with fs.open(f"{folder}/log", "ab") as file:
        file.write(b"one ")
    with fs.open(f"{folder}/log", "ab") as file:
        assert file.tell() == 4
        file.write(b"two")
    assert fs.cat(f"{folder}/log") == b"one two"
    with pytest.raises(FileExistsError):
        fs.open(f"{folder}/log", "xb")
    with fs.open(f"{folder}/other", "xb") as file:
        file.write(b"mine")
    assert fs.cat(f"{folder}/other") == b"mine"


def test_large_file_is_written_and_read_back(fs, orion, folder):
    data = os.urandom(9 * 2**20)
    with fs.open(f"{folder}/large.bin", "wb", block_size=2**20) as file:
        for start in range(0, len(data), 3_000_000):
            file.write(data[start : start + 3_000_000])
    assert orion.direct.content(f"{place_of(folder)}/large.bin") == data
    assert fs.cat(f"{folder}/large.bin") == data


def test_local_files_go_and_come_whole(fs, orion, folder, tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "a.bin").write_bytes(b"a" * 100_000)
    (tmp_path / "there" / "b.txt").write_text("b")
    fs.put(str(tmp_path / "there"), f"{folder}/copy", recursive=True)
    assert [name for name, _ in orion.direct.tree(f"{place_of(folder)}/copy")] == ["a.bin", "b.txt"]
    assert (tmp_path / "there" / "a.bin").exists()
    fs.get(f"{folder}/copy", str(tmp_path / "back"), recursive=True)
    assert (tmp_path / "back" / "a.bin").read_bytes() == b"a" * 100_000
    fs.cp(f"{folder}/copy/b.txt", f"{folder}/copy/c.txt")
    assert orion.direct.content(f"{place_of(folder)}/copy/c.txt") == b"b"
    assert fs.info(f"{folder}/copy/c.txt")["id"] != fs.info(f"{folder}/copy/b.txt")["id"]


@OWN
def test_files_of_one_get_or_put_are_on_their_way_together(fs, orion, folder, tmp_path, monkeypatch):
    for number in range(4):
        (tmp_path / f"{number}").write_bytes(b"%d" % number)
    barrier, asking = threading.Barrier(4, timeout=20), fs.access.asking
    upload, read_into = asking.upload, asking.read_into

    def together(call):
        def wait(*args):
            barrier.wait()  # fails unless four are here at the same time
            return call(*args)

        return wait

    monkeypatch.setattr(asking, "upload", together(upload))
    fs.put(str(tmp_path), f"{folder}/copy", recursive=True)
    assert orion.direct.tree(f"{place_of(folder)}/copy") == [(f"{each}", b"%d" % each) for each in range(4)]
    for number in range(4):
        orion.direct.replace(f"{place_of(folder)}/copy/{number}", b"other %d" % number)
    fs.invalidate_cache()
    monkeypatch.setattr(asking, "read_into", together(read_into))
    fs.get(f"{folder}/copy", str(tmp_path / "back"), recursive=True)
    assert [(tmp_path / "back" / f"{each}").read_bytes() for each in range(4)] == [
        b"other %d" % each for each in range(4)
    ]
    with pytest.raises(FileNotFoundError):
        fs.get([f"{folder}/absent"], [str(tmp_path / "absent")])


def test_folders_are_made_moved_and_removed(fs, orion, folder):
    place = place_of(folder)
    fs.makedirs(f"{folder}/a/b/c")
    fs.makedirs(f"{folder}/a/b/c", exist_ok=True)
    with pytest.raises(FileExistsError):
        fs.makedirs(f"{folder}/a/b/c")
    fs.pipe({f"{folder}/a/b/c/file": b"1", f"{folder}/a/other": b"2"})
    with pytest.raises(OSError, match="not empty"):
        fs.rmdir(f"{folder}/a")
    with pytest.raises(OSError, match="into itself"):
        fs.mv(f"{folder}/a", f"{folder}/a/b/")
    fs.mv(f"{folder}/a", f"{folder}/moved")
    assert orion.direct.tree(place) == [
        ("moved", None),
        ("moved/b", None),
        ("moved/b/c", None),
        ("moved/b/c/file", b"1"),
        ("moved/other", b"2"),
    ]
    assert fs.cat(f"{folder}/moved/b/c/file") == b"1"
    with pytest.raises(IsADirectoryError):
        fs.rm(f"{folder}/moved")
    fs.rm(f"{folder}/moved", recursive=True)
    assert orion.direct.tree(place) == []
    assert not fs.exists(f"{folder}/moved/b")


def test_moved_file_replaces_what_had_the_name_or_goes_into_a_folder(fs, orion, folder):
    place = place_of(folder)
    fs.pipe({f"{folder}/one": b"1", f"{folder}/two": b"2"})
    fs.mv(f"{folder}/one", f"{folder}/two")
    assert orion.direct.tree(place) == [("two", b"1")]
    fs.mkdir(f"{folder}/in")
    fs.mv(f"{folder}/two", f"{folder}/in")
    assert orion.direct.tree(place) == [("in", None), ("in/two", b"1")]
    fs.pipe(f"{folder}/in/three", b"3")
    fs.mv(f"{folder}/in/*", f"{folder}/")
    assert sorted(fs.ls(folder, detail=False)) == [f"{folder}/in", f"{folder}/three", f"{folder}/two"]


def test_own_changes_are_seen_at_once_through_every_filesystem_of_the_process(fs, profile, folder):
    other = OrionFileSystem(profile, listings_expiry_time=1000)
    assert other.ls(folder) == []
    fs.pipe(f"{folder}/new", b"1")
    assert other.ls(folder, detail=False) == [f"{folder}/new"]
    fs.rm(f"{folder}/new")
    assert other.ls(folder) == []


def test_changes_made_elsewhere_are_seen_when_asked_for(fs, orion, folder):
    assert fs.ls(folder) == []
    orion.direct.put(f"{place_of(folder)}/new", b"1")
    assert fs.ls(folder) == []
    assert fs.ls(folder, detail=False, refresh=True) == [f"{folder}/new"]
    orion.direct.remove(f"{place_of(folder)}/new")
    assert not OrionFileSystem(fs.profile, use_listings_cache=False).exists(f"{folder}/new")


def test_many_threads_write_each_its_file(fs, orion, folder):
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: fs.pipe(f"{folder}/{number}", b"%d" % number), range(16)))
    assert orion.direct.tree(place_of(folder)) == sorted((str(each), b"%d" % each) for each in range(16))


def test_transaction_gives_all_files_their_names_at_its_end(fs, orion, folder):
    with fs.transaction:
        with fs.open(f"{folder}/one", "wb") as file:
            file.write(b"1")
        with fs.open(f"{folder}/two", "wb") as file:
            file.write(b"2")
        assert orion.direct.names(place_of(folder)) == []
    assert orion.direct.tree(place_of(folder)) == [("one", b"1"), ("two", b"2")]
    with pytest.raises(ZeroDivisionError), fs.transaction, fs.open(f"{folder}/three", "wb") as file:
        file.write(b"%d" % (1 // 0))
    assert orion.direct.names(place_of(folder)) == ["one", "two"]


@OWN
def test_upload_that_fails_leaves_what_was_there(fs, orion, folder):
    place = place_of(folder)
    orion.direct.put(f"{place}/file", b"old")
    hidden = [name for name in orion.direct.names(Direct.home) if name.startswith(".orionfs-")]
    orion.misbehave({"path": "/assign$", "action": "status", "status": 400})
    try:
        with pytest.raises(OSError, match="assign_paths"):
            fs.pipe(f"{folder}/file", b"new")
    finally:
        orion.misbehave()
    assert orion.direct.tree(place) == [("file", b"old")]
    assert [name for name in orion.direct.names(Direct.home) if name.startswith(".orionfs-")] == hidden


@OWN
def test_replacing_whose_answer_is_lost_is_looked_up(fs, orion, folder, monkeypatch):
    place = place_of(folder)
    fs.pipe(f"{folder}/file", b"old")
    # No answer within the deadline: what is known of it is what is seen.
    monkeypatch.setattr(fs.access.asking, "_change_deadline_s", 0.5)
    orion.misbehave({"path": "/assign$", "action": "after_reset"})
    try:
        fs.pipe(f"{folder}/file", b"new")
    finally:
        orion.misbehave()
    assert orion.direct.tree(place) == [("file", b"new")]


_REPLACE = """
import sys, fsspec
fsspec.filesystem("orion").pipe(sys.argv[1], b"new")
"""


@OWN
def test_process_killed_while_it_replaces_has_promised_the_rest_to_the_next_mount(fs, orion, folder):
    place = place_of(folder)
    old = orion.direct.put(f"{place}/file", b"old")
    orion.misbehave({"path": "/files/", "method": "DELETE", "action": "delay", "seconds": 30})
    environment = {**os.environ, "ORIONFS_URL": orion.url, "ORIONFS_TOKEN": orion.token}
    child = subprocess.Popen(
        [sys.executable, "-c", _REPLACE, f"{folder}/file"], cwd=REPOSITORY, env=environment
    )
    try:
        wait_for(lambda: len(orion.direct.names(place)) == 2)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
        orion.misbehave()
    claimed = claim(state_folder(), fs.access.account)
    try:
        # Killed before or after it was written down that the new one has its place.
        renames, removals = claimed.journal.renames.all(), claimed.journal.removals()
        assert [each.replaced for each in renames] + [each.key for each in removals] == [Key(Kind.FILE, old)]
        for rename in renames:
            claimed.journal.renames.drop(rename)
        for removal in removals:
            claimed.journal.drop_removal(removal.key)
    finally:
        claimed.close()
    assert fs.cat(f"{folder}/file") == b"new"


@pytest.fixture
def odd(tmp_path_factory, monkeypatch, client) -> Iterator[tuple[Server, OrionFileSystem]]:
    """An Orion of other habits, and the filesystem of it."""
    server = Server(tmp_path_factory.mktemp("odd"), ODD_HABITS)
    monkeypatch.setenv("ORIONFS_URL", server.url)
    monkeypatch.setenv("ORIONFS_TOKEN", server.token)
    yield server, OrionFileSystem()
    server.close()


@OWN
def test_orion_of_other_habits_is_worked_with_as_well(odd):
    server, fs = odd
    server.direct.put(f"{Direct.home}/file", b"old")
    server.direct.tag(f"{Direct.home}/file", "lead")
    fs.pipe("my-data/file", b"newer")
    assert server.direct.tree(Direct.home) == [("file", b"newer")]
    assert server.direct.tags(f"{Direct.home}/file") == ["lead"]
    fs.makedirs("my-data/a/b")
    for number in range(5):
        fs.pipe(f"my-data/a/b/{number}", b"%d" % number)
    assert [info["size"] for info in fs.ls("my-data/a/b")] == [1] * 5
    with pytest.raises(FileExistsError):
        fs.mkdir("my-data/a")
    fs.mv("my-data/a", "my-data/moved")
    assert [name for name, _ in server.direct.tree(Direct.home)] == [
        "file",
        "moved",
        "moved/b",
        *(f"moved/b/{number}" for number in range(5)),
    ]
    fs.rm("my-data/moved", recursive=True)
    assert server.direct.names(Direct.home) == ["file"]
