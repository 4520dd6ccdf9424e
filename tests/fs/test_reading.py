"""Looking and reading through `orion://`: what is there, what it costs, what is wrong."""

from __future__ import annotations

import os
import pickle
import random
from concurrent.futures import ThreadPoolExecutor

import fsspec
import pytest

from orionfs.client import OrionSession
from orionfs.fs import OrionFileSystem
from orionfs.fs.access import access_of
from orionfs.models import Kind
from tests.documented.session import make_session
from tests.fs.conftest import place_of
from tests.mount.stand import Client

MIB = 2**20
LARGE = random.Random(1).randbytes(17 * MIB)
OWN = pytest.mark.parametrize("client", [Client.OWN], ids=["own"], indirect=True)
# Its workers are started by the child, who can't ask for forked ones.
FORKED = pytest.mark.parametrize(
    "client",
    [Client.OWN, pytest.param(Client.DOCUMENTED, marks=[pytest.mark.started, pytest.mark.long])],
    ids=["own", "documented"],
    indirect=True,
)


def test_root_shows_what_a_mount_shows(fs):
    assert fs.ls("orion://", detail=False) == ["my-data", "organization", "team-data"]
    assert fs.isdir("")
    assert fs.info("my-data")["type"] == "directory"
    assert fs.ls("/", detail=False) == fs.ls("", detail=False)


def test_listing_costs_a_request_a_page_and_is_believed(fs, orion, folder, counting):
    for number in range(3):
        orion.direct.put(f"{place_of(folder)}/{number}.txt", b"%d" % number)
    fs.info(folder)
    with counting() as asked:
        names = fs.ls(folder, detail=False)
    assert names == [f"{folder}/{number}.txt" for number in range(3)]
    assert asked.count("ls") == len([word for word in asked if word != "get"]) == 1
    with counting() as again:
        assert fs.ls(folder, detail=False) == names
        assert [fs.info(name)["size"] for name in names] == [1, 1, 1]
        assert not fs.exists(f"{folder}/absent")
    assert again == []


@OWN
def test_small_file_is_opened_and_read_by_three_requests_then_by_one(fs, orion, folder, counting):
    orion.direct.put(f"{place_of(folder)}/small.txt", b"few bytes")
    with counting() as asked, fs.open(f"{folder}/small.txt") as file:
        assert file.read() == b"few bytes"
    assert asked == ["stat", "download", "blob"]
    with counting() as again:
        assert fs.cat(f"{folder}/small.txt") == b"few bytes"
    assert again == ["stat"]


@OWN
def test_range_of_a_large_file_is_fetched_alone(fs, orion, folder, counting):
    orion.direct.put(f"{place_of(folder)}/large.bin", LARGE)
    start = orion.mark()
    with counting() as asked:
        assert fs.cat_file(f"{folder}/large.bin", 9 * MIB, 9 * MIB + 10) == LARGE[9 * MIB : 9 * MIB + 10]
    assert asked == ["stat", "download", "blob"]
    assert sum(row.response_bytes for row in orion.rows(start)) < MIB
    with counting() as again, fs.open(f"{folder}/large.bin") as file:
        file.seek(9 * MIB)
        assert file.read(10) == LARGE[9 * MIB : 9 * MIB + 10]
    assert again == ["stat"]


def test_threads_that_read_one_file_fetch_each_byte_once(fs, orion, folder, client):
    orion.direct.put(f"{place_of(folder)}/large.bin", LARGE)
    starts = [place * MIB for place in range(17)] * 2
    begun = orion.mark()

    def read(start):
        return fs.cat_file(f"{folder}/large.bin", start, start + MIB)

    with ThreadPoolExecutor(8) as threads:
        parts = list(threads.map(read, starts))
    assert b"".join(parts) == LARGE * 2
    orion.mark()
    sent = sum(row.response_bytes for row in orion.rows(begun) if row.word == "blob")
    assert sent == len(LARGE)


def test_ranges_of_several_files_come_together(fs, orion, folder):
    paths = [f"{folder}/{number}" for number in range(9)]
    for number, path in enumerate(paths):
        orion.direct.put(place_of(path), b"%d23456789" % number)
    assert fs.cat_ranges(paths, 0, 2) == [b"%d2" % number for number in range(9)]
    there, absent = fs.cat_ranges([paths[0], f"{folder}/absent"], [1, 0], [3, 3])
    assert there == b"23"
    assert isinstance(absent, FileNotFoundError)
    with pytest.raises(FileNotFoundError):
        fs.cat_ranges([f"{folder}/absent"], 0, 1, on_error="raise")


def test_file_is_read_by_line_and_as_text(fs, orion, folder):
    orion.direct.put(f"{place_of(folder)}/lines.txt", "eins\nzwei\ndrei ä".encode())
    with fs.open(f"{folder}/lines.txt", "r", encoding="utf-8") as file:
        assert list(file) == ["eins\n", "zwei\n", "drei ä"]
    with fs.open(f"{folder}/lines.txt") as file:
        assert file.readline() == b"eins\n"
        assert file.tell() == 5
        assert file.seek(-3, os.SEEK_END) == file.size - 3
        assert file.read() == " ä".encode()
    assert fs.head(f"{folder}/lines.txt", 4) == b"eins"
    assert fs.tail(f"{folder}/lines.txt", 2) == "ä".encode()


def test_open_file_stays_the_version_it_was(fs, orion, folder):
    orion.direct.put(f"{place_of(folder)}/file", b"one")
    with fs.open(f"{folder}/file") as file:
        assert file.read(1) == b"o"
        orion.direct.replace(f"{place_of(folder)}/file", b"two")
        assert file.read() == b"ne"
    assert fs.cat(f"{folder}/file") == b"two"


def test_names_are_those_of_a_mount(fs, orion, folder):
    place = place_of(folder)
    first = orion.direct.put(f"{place}/same.txt", b"older")
    orion.direct.put(f"{place}/same.txt", b"newer")
    orion.direct.put(f"{place}/100%25.txt", b"percent")
    orion.direct.put(f"{place}/.orionfs-0000", b"unfinished")
    assert fs.ls(folder, detail=False) == [
        f"{folder}/100%25.txt",
        f"{folder}/same.txt",
        f"{folder}/same~file-{first}.txt",
    ]
    fs.invalidate_cache()
    assert fs.cat(f"{folder}/same~file-{first}.txt") == b"older"
    fs.invalidate_cache()
    assert fs.cat(f"{folder}/100%25.txt") == b"percent"


def test_absolute_paths_of_orion_mean_the_same(fs, orion, folder):
    orion.direct.put(f"{place_of(folder)}/file", b"there")
    place = place_of(folder)
    assert fs.ls(f"orion://{place}", detail=False) == [f"{place}/file"]
    assert fs.cat(f"orion://{place}/file") == b"there"
    assert fs.info(f"{place}/file")["id"] == fs.info(f"{folder}/file")["id"]
    assert fs._parent(place) == place.rpartition("/")[0]


def test_datasets_and_collections_are_read(fs):
    found = fs.find("my-data", detail=True)
    dataset = next(path for path, info in found.items() if info["kind"] == Kind.DATASET.value)
    assert dataset.endswith(".oedb")
    assert found[dataset]["size"] is None
    with fs.open(dataset) as file:
        contents = file.read()
        assert file.size == len(contents) > 0
    assert fs.cat_file(dataset, 0, 5) == contents[:5]
    shards = {path: info for path, info in found.items() if info["kind"] == Kind.SHARD.value}
    shard = next(iter(shards))
    collection = fs.info(fs._parent(shard))
    assert (collection["kind"], collection["type"]) == (Kind.COLLECTION.value, "directory")
    assert fs.info(collection["name"])["uri"] == f"collection://{collection['id']}"
    fs.invalidate_cache()
    assert len(fs.cat(shard)) == shards[shard]["size"] or shards[shard]["size"] is None
    assert fs.du("my-data") > 0
    with pytest.raises(OSError, match="collections are read here"):
        fs.pipe(f"{collection['name']}/new", b"shard")


def test_find_lists_each_folder_once(fs, orion, folder, counting):
    place = place_of(folder)
    for name in ("a", "a/b", "a/c", "d"):
        orion.direct.make_folder(f"{place}/{name}")
        orion.direct.put(f"{place}/{name}/file", b"1")
    with counting() as asked:
        found = fs.find(folder)
    assert found == sorted(f"{folder}/{name}/file" for name in ("a", "a/b", "a/c", "d"))
    assert asked.count("ls") == 5
    assert fs.glob(f"{folder}/a/*/file") == [f"{folder}/a/b/file", f"{folder}/a/c/file"]
    with counting() as again:
        assert fs.find(folder) == found
    assert again == []


def test_what_is_wrong_is_an_error_of_python(fs, orion, folder):
    orion.direct.put(f"{place_of(folder)}/file", b"1")
    with pytest.raises(FileNotFoundError, match="nothing of this name"):
        fs.open(f"{folder}/absent")
    with pytest.raises(FileNotFoundError, match="there are my-data"):
        fs.ls("elsewhere")
    with pytest.raises(IsADirectoryError):
        fs.open(folder)
    with pytest.raises(NotADirectoryError):
        fs.info(f"{folder}/file/below")
    with pytest.raises(PermissionError, match="given by the profile"):
        fs.pipe("file-at-the-top", b"1")
    with pytest.raises(PermissionError):
        fs.rm("my-data", recursive=True)
    with pytest.raises(FileExistsError):
        fs.mkdir(folder)
    with pytest.raises(ValueError, match="mode"):
        fs.open(f"{folder}/file", "r+b")
    assert not fs.exists(f"{folder}/file/below")


def test_wrong_profile_is_said_in_words(profile, monkeypatch, orion):
    monkeypatch.setenv("ORIONFS_URL", orion.url)
    with pytest.raises(ValueError, match="ORIONFS_TOKEN is not"):
        OrionFileSystem().ls("my-data")
    monkeypatch.setenv("ORIONFS_TOKEN", "nobody-has-given-this")
    with pytest.raises(PermissionError, match="does not accept the credentials") as caught:
        OrionFileSystem().ls("my-data")
    assert "nobody-has-given-this" not in str(caught.value)


def test_filesystem_and_open_file_are_pickled(fs, orion, folder, profile):
    orion.direct.put(f"{place_of(folder)}/file", b"0123456789")
    there = pickle.loads(pickle.dumps(fs))
    assert there == fs
    assert there.cat(f"{folder}/file") == b"0123456789"
    with fs.open(f"{folder}/file") as file:
        file.seek(4)
        with pickle.loads(pickle.dumps(file)) as other:
            assert other.read() == b"456789"
    assert fsspec.filesystem("orion", profile=profile).fsid == fs.fsid


@FORKED
def test_forked_process_works_on_connections_of_its_own(fs, orion, folder):
    orion.direct.put(f"{place_of(folder)}/large.bin", LARGE)
    with fs.open(f"{folder}/large.bin") as file:
        assert file.read(10) == LARGE[:10]
        child = os.fork()
        if child == 0:
            is_good = file.read(MIB) == LARGE[10 : 10 + MIB] and fs.cat_file(file.path, -5) == LARGE[-5:]
            os._exit(0 if is_good else 1)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert file.read(MIB) == LARGE[10 : 10 + MIB]


def test_session_object_is_worked_with(orion, client, folder, profile, monkeypatch):
    monkeypatch.setenv("ORIONFS_URL", orion.url)
    monkeypatch.setenv("ORIONFS_TOKEN", orion.token)
    session = OrionSession() if client is Client.OWN else make_session()
    fs = OrionFileSystem(session=session)
    fs.pipe(f"{folder}/file", b"through a session")
    fs.invalidate_cache()
    assert fs.cat(f"{folder}/file") == b"through a session"
    assert orion.direct.content(f"{place_of(folder)}/file") == b"through a session"
    with pytest.raises(TypeError, match="give a profile"):
        pickle.dumps(fs)
    assert OrionFileSystem(session=session) is not fs


def test_accounts_are_opened_once_in_a_process(profile):
    with ThreadPoolExecutor(4) as threads:
        opened = set(map(id, threads.map(lambda _: OrionFileSystem(profile).access, range(8))))
    assert opened == {id(access_of(profile))}
