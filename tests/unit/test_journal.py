"""What is promised survives, and only that."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orionfs.durable.journal import Journal, Removal, Rename, UploadRow, UploadStep
from orionfs.errors import LocalDiskError, OrionFsError
from orionfs.models import Key, Kind, LocalAttributes

REPOSITORY = Path(__file__).resolve().parents[2]
OLD = Key(Kind.FILE, 7)
NEW = Key(Kind.FILE, 8)


def row(mark: str = "m1", folder: str = "/f", name: str = "a", sealed_ns: int = 1) -> UploadRow:
    return UploadRow(mark, folder, name, f"staged-{mark}", 3, 99, sealed_ns=sealed_ns)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture(params=[False, True], ids=["local disk", "network disk"])
def journal(request: pytest.FixtureRequest, path: Path) -> Iterator[Journal]:
    made = Journal(path, on_network_disk=request.param)
    yield made
    made.close()


@pytest.fixture
def fd(tmp_path: Path) -> Iterator[int]:
    """A staged file's descriptor."""
    opened = os.open(tmp_path / "staged", os.O_RDWR | os.O_CREAT)
    yield opened
    os.close(opened)


# -- uploads -------------------------------------------------------------------------------------


def test_sealed_version_is_read_back_whole_by_the_next_daemon(journal: Journal, path: Path, fd: int) -> None:
    full = replace(
        row(), permissions=0o600, tags=("x", "y: é\n"), replaces=Key(Kind.DATASET, 5), sealed_ns=2**62
    )
    journal.seal(full, fd)
    journal.seal(replace(row("m2"), tags=(), sealed_ns=1), fd)
    journal.close()
    again = Journal(path)
    assert again.uploads() == [replace(row("m2"), tags=(), sealed_ns=1), full]
    assert full.path == "/f/a"
    again.close()


def test_uploads_come_in_the_order_of_sealing(journal: Journal, fd: int) -> None:
    for mark, sealed_ns in (("b", 3), ("c", 1), ("a", 2)):
        journal.seal(row(mark, sealed_ns=sealed_ns), fd)
    assert [found.mark for found in journal.uploads()] == ["c", "a", "b"]


def test_uploaded_version_knows_its_id(journal: Journal, fd: int) -> None:
    journal.seal(row(), fd)
    journal.uploaded("m1", 55)
    (found,) = journal.uploads()
    assert (found.step, found.new_id) == (UploadStep.UPLOADED, 55)


def test_restarted_version_is_sealed_and_nothing_more(journal: Journal, fd: int) -> None:
    journal.seal(row(), fd)
    journal.uploaded("m1", 55)
    journal.restart("m1")
    assert journal.uploads() == [row()]


def test_superseding_cancels_the_older_version_in_the_same_commit(journal: Journal, fd: int) -> None:
    journal.seal(row("old"), fd)
    journal.seal(row("new", sealed_ns=2), fd, supersedes=[row("old")])
    assert [(found.mark, found.step) for found in journal.uploads()] == [
        ("old", UploadStep.CANCELLED),
        ("new", UploadStep.SEALED),
    ]


def test_cancelled_version_stays_cancelled_when_its_bytes_arrive_late(journal: Journal, fd: int) -> None:
    """Or the next mount would put it into place, over the version that superseded it."""
    journal.seal(row(), fd)
    journal.cancel("m1")
    journal.uploaded("m1", 55)
    (found,) = journal.uploads()
    assert (found.step, found.new_id) == (UploadStep.CANCELLED, 55)
    journal.restart("m1")
    assert journal.uploads()[0].step is UploadStep.CANCELLED


def test_placed_version_is_no_upload_any_more(journal: Journal, fd: int) -> None:
    sealed = replace(row(), replaces=OLD, permissions=0o640)
    journal.seal(sealed, fd)
    journal.set_local(OLD, LocalAttributes(1, 0o600))
    journal.placed(sealed, Key(Kind.FILE, 55), Removal(OLD, "/f/a"))
    assert journal.uploads() == []
    assert journal.removals() == [Removal(OLD, "/f/a")]
    assert journal.local.all() == {Key(Kind.FILE, 55): LocalAttributes(99, 0o640)}


def test_version_placed_as_the_item_it_replaces_keeps_its_attributes(journal: Journal, fd: int) -> None:
    sealed = replace(row(), replaces=OLD)
    journal.seal(sealed, fd)
    journal.placed(sealed, OLD, None)
    assert journal.local.all() == {OLD: LocalAttributes(99, None)}
    assert journal.removals() == []


def test_dropped_version_is_forgotten(journal: Journal, fd: int) -> None:
    journal.seal(row(), fd)
    journal.drop_upload("m1")
    journal.drop_upload("never")
    assert journal.uploads() == []


def test_staged_bytes_that_can_not_be_synced_are_not_promised(journal: Journal, tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    try:
        with pytest.raises(OrionFsError):
            journal.seal(row(), write_end)
    finally:
        os.close(read_end)
        os.close(write_end)
    assert journal.uploads() == []


# -- names ---------------------------------------------------------------------------------------


def test_retargeted_version_has_another_name_and_replaces_another_item(journal: Journal, fd: int) -> None:
    journal.seal(replace(row(), replaces=OLD), fd)
    journal.retarget("m1", "/g", "b%2F\n", None)
    assert journal.uploads() == [replace(row(), folder="/g", name="b%2F\n", replaces=None)]
    journal.retarget("m1", "/g", "b", OLD)
    assert journal.uploads()[0].replaces == OLD


ODD = [
    "a",
    "a*",
    "a?b",
    "[a]",
    "a]",
    "[",
    "a%b",
    "a_b",
    "é",
    "e\u0301",
    "😀",
    "a'b",
    'a"b',
    "a\\b",
    "A",
    " ",
    "%",
]


@pytest.mark.some(12)
@pytest.mark.parametrize("name", ODD)
def test_uploads_below_a_moved_folder_go_along_and_no_others(journal: Journal, fd: int, name: str) -> None:
    old, new = f"/x/{name}", "/y/new [*]"
    below = [old, f"{old}/sub", f"{old}/{name}/deep"]
    beside = ["/x", f"{old}b", f"/x/{name}{name}", f"/z{old}", "/x/aXb", "/x/b", f"/x/{name.swapcase()}é/sub"]
    for at, folder in enumerate([*below, *beside]):
        journal.seal(row(f"m{at}", folder, sealed_ns=at), fd)
    journal.move_folder(old, new)
    expected = [new, f"{new}/sub", f"{new}/{name}/deep", *beside]
    assert [found.folder for found in journal.uploads()] == expected


def test_removals_below_a_moved_folder_look_at_its_new_place(journal: Journal) -> None:
    kept = Removal(Key(Kind.FILE, 9), "/f/other/a")
    journal.add_removal(Removal(OLD, "/f/old/sub/a"))
    journal.add_removal(kept)
    journal.renames.put(Rename(OLD, "/f/old/a", "/f/old/sub/b"))
    journal.move_folder("/f/old", "/g/new")
    assert journal.removals() == [Removal(OLD, "/g/new/sub/a"), kept]
    assert journal.renames.all() == [Rename(OLD, "/g/new/a", "/g/new/sub/b")]


names = st.text(st.sampled_from("ab*?[]%_é😀'\\ A"), min_size=1, max_size=4)


@given(st.lists(st.lists(names, min_size=1, max_size=3), min_size=1, max_size=5), names)
def test_moving_any_folder_moves_what_python_says_lies_below(tmp_path_factory, paths, name) -> None:
    journal = Journal(tmp_path_factory.mktemp("journal") / "journal.db", on_network_disk=True)
    folders = ["/" + "/".join(path) for path in paths]
    with (tmp_path_factory.getbasetemp() / "staged").open("wb") as staged:
        for at, folder in enumerate(folders):
            journal.seal(row(f"m{at}", folder, sealed_ns=at), staged.fileno())
    old = folders[0]
    journal.move_folder(old, f"/{name}")
    assert [found.folder for found in journal.uploads()] == [
        f"/{name}" + folder[len(old) :] if folder == old or folder.startswith(old + "/") else folder
        for folder in folders
    ]
    journal.close()


# -- removals and local attributes ---------------------------------------------------------------


def test_removals_are_kept_by_item(journal: Journal) -> None:
    for removal in (
        Removal(OLD, "/f/a"),
        Removal(Key(Kind.DATASET, 7), "/f/b"),
        Removal(OLD, "/f/c"),
    ):
        journal.add_removal(removal)
    assert sorted(journal.removals(), key=str) == [
        Removal(Key(Kind.DATASET, 7), "/f/b"),
        Removal(OLD, "/f/c"),
    ]
    journal.drop_removal(OLD)
    assert journal.removals() == [Removal(Key(Kind.DATASET, 7), "/f/b")]


# -- renames -------------------------------------------------------------------------------------


def test_rename_that_happened_takes_along_all_that_follows_from_it(journal: Journal, fd: int) -> None:
    rename = Rename(NEW, "/f/b", "/g/a", replaced=OLD, ended="ended", follows="newer")
    rows = [row("ended", "/g", "a", 1), row("newer", "/f", "b", 2), row("later", "/g", "a", 3)]
    rows += [row("elsewhere", "/g", "aa", 4)]
    for each in rows:
        journal.seal(replace(each, replaces=NEW if each.mark == "newer" else OLD), fd)
    journal.renames.put(rename)
    journal.renames.happened(rename, Removal(OLD, "/g/a"))
    assert [(found.mark, found.path, found.replaces, found.step) for found in journal.uploads()] == [
        ("ended", "/g/a", OLD, UploadStep.CANCELLED),
        ("newer", "/g/a", NEW, UploadStep.SEALED),
        ("later", "/g/a", NEW, UploadStep.SEALED),
        ("elsewhere", "/g/aa", OLD, UploadStep.SEALED),
    ]
    assert (journal.removals(), journal.renames.all()) == ([Removal(OLD, "/g/a")], [])


def test_rename_that_did_not_happen_changes_nothing(journal: Journal, fd: int) -> None:
    rename = Rename(NEW, "/f/b", "/g/a", replaced=OLD, ended="m1")
    journal.seal(row("m1", "/g", "a"), fd)
    before = journal.uploads()
    journal.renames.put(rename)
    journal.renames.drop(rename)
    assert (journal.uploads(), journal.removals(), journal.renames.all()) == (before, [], [])


def test_removal_that_an_older_version_made_depend_on_a_rename_is_one_no_more(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    db = sqlite3.connect(path)
    db.execute(
        "CREATE TABLE removals (kind TEXT NOT NULL, id INTEGER NOT NULL, path TEXT NOT NULL,"
        " instead_kind TEXT, instead_id INTEGER, PRIMARY KEY (kind, id)) STRICT"
    )
    db.execute("INSERT INTO removals VALUES ('file', 7, '/f/a', 'file', 8), ('file', 9, '/f/b', NULL, NULL)")
    db.execute("PRAGMA user_version = 2")
    db.commit()
    db.close()
    journal = Journal(path)
    assert journal.removals() == [Removal(Key(Kind.FILE, 9), "/f/b")]
    assert journal.renames.all() == [Rename(NEW, "/f/a", "/f/a", OLD)]
    journal.close()


def test_local_attributes_are_kept_and_forgotten(journal: Journal) -> None:
    journal.set_local(OLD, LocalAttributes(5, None))
    journal.set_local(Key(Kind.DATASET, 7), LocalAttributes(None, 0o700))
    journal.set_local(OLD, LocalAttributes(6, 0o600))
    assert journal.local.all() == {
        OLD: LocalAttributes(6, 0o600),
        Key(Kind.DATASET, 7): LocalAttributes(None, 0o700),
    }
    journal.set_local(OLD, None)
    journal.set_local(OLD, None)
    assert OLD not in journal.local.all()


def test_absorbing_takes_over_everything(journal: Journal, tmp_path: Path, fd: int) -> None:
    other = Journal(tmp_path / "other.db")
    other.seal(replace(row("m2", sealed_ns=2), tags=("x",)), fd)
    other.uploaded("m2", 77)
    other.seal(row("m3", sealed_ns=3), fd)
    other.cancel("m3")
    other.add_removal(Removal(OLD, "/f/a"))
    other.renames.put(Rename(NEW, "/f/b", "/f/a", OLD, "m2", "m3"))
    other.set_local(OLD, LocalAttributes(5, None))
    journal.seal(row(), fd)
    journal.absorb(other)
    other.close()
    assert [(found.mark, found.step, found.new_id) for found in journal.uploads()] == [
        ("m1", UploadStep.SEALED, None),
        ("m2", UploadStep.UPLOADED, 77),
        ("m3", UploadStep.CANCELLED, None),
    ]
    assert journal.removals() == [Removal(OLD, "/f/a")]
    assert journal.renames.all() == [Rename(NEW, "/f/b", "/f/a", OLD, "m2", "m3")]
    assert journal.local.all() == {OLD: LocalAttributes(5, None)}


# -- the disk ------------------------------------------------------------------------------------

DIES = """
import os, signal, sys
from pathlib import Path
from orionfs.durable.journal import Journal, UploadRow
journal = Journal(Path(sys.argv[1]), on_network_disk=sys.argv[2] == "network")
fd = os.open(sys.argv[3], os.O_RDWR | os.O_CREAT)
os.write(fd, b"abc")
journal.seal(UploadRow("m1", "/f", "a", "staged-m1", 3, 99, sealed_ns=1), fd)
journal.seal(UploadRow("m2", "/f", "a", "staged-m2", 3, 99, sealed_ns=2), fd, journal.uploads())
os.kill(os.getpid(), signal.SIGKILL) if sys.argv[4] == "killed" else os._exit(9)
"""


@pytest.mark.parametrize("end", ["exits", "killed"])
@pytest.mark.parametrize("disk", ["local", "network"])
def test_promise_survives_the_end_of_the_process_right_after_it(
    path: Path, tmp_path: Path, disk: str, end: str
) -> None:
    command = [sys.executable, "-c", DIES, str(path), disk, str(tmp_path / "staged"), end]
    done = subprocess.run(command, cwd=REPOSITORY, check=False, timeout=60)
    assert done.returncode == (9 if end == "exits" else -signal.SIGKILL)
    journal = Journal(path, on_network_disk=disk == "network")
    assert [(found.mark, found.step) for found in journal.uploads()] == [
        ("m1", UploadStep.CANCELLED),
        ("m2", UploadStep.SEALED),
    ]
    assert (tmp_path / "staged").read_bytes() == b"abc"
    journal.close()


@pytest.mark.parametrize(("on_network_disk", "mode"), [(False, "wal"), (True, "delete")])
def test_disk_decides_on_the_journal_mode(path: Path, on_network_disk: bool, mode: str) -> None:
    journal = Journal(path, on_network_disk=on_network_disk)
    reader = sqlite3.connect(path)
    assert reader.execute("PRAGMA journal_mode").fetchone() == (mode,)
    assert (path.with_name("journal.db-wal").exists()) == (mode == "wal")
    reader.close()
    journal.close()


def test_journal_is_for_its_owner_only(journal: Journal, path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o600


def test_journal_that_fails_says_so_and_changes_nothing(journal: Journal, path: Path, fd: int) -> None:
    journal.seal(row(), fd)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("DROP TABLE removals")
    other.close()
    with pytest.raises(LocalDiskError):
        journal.placed(row(), Key(Kind.FILE, 55), Removal(OLD, "/f/a"))
    assert [found.mark for found in journal.uploads()] == ["m1"]
    assert journal.local.all() == {}
