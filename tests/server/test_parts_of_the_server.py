"""The pure parts and the store, without a process."""

from __future__ import annotations

import json
import os
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as some

from orionfs.server.blobs import Blobs, Seals
from orionfs.server.paths import (
    User,
    caller_for,
    is_listing_only,
    join_path,
    project_of_realm,
    split_path,
    team_realm,
    user_realm,
    workspace_realm,
)
from orionfs.server.problems import Refusal, ServeError
from orionfs.server.sample_content import library, sample_files
from orionfs.server.signing import Signer, load_key, looks_like_token, new_token, write_private
from orionfs.server.store import Clock, Database, iso_time, new_id
from orionfs.server.transfer import requested_range

NAMES = some.text(
    some.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=20
)


@given(some.lists(NAMES, max_size=5))
def test_paths_and_names_are_two_forms_of_the_same(names):
    assert split_path(join_path(names)) == tuple(names)


@given(some.text(max_size=10))
def test_split_path_answers_or_refuses_and_nothing_else(text):
    try:
        answer = join_path(split_path(text))
    except Refusal as refusal:
        answer = refusal.code
    assert answer in (text, text.removesuffix("/"), "bad_path")


def test_caller_may_use_its_own_its_teams_and_the_organizations_places():
    user = User(3, "ada", 1, frozenset({1, 2}))
    caller = caller_for(user, 1, [(1, 5), (9, 6)])
    assert caller.writable == {
        "organization",
        *(team_realm(number) for number in (1, 2)),
        *(user_realm(number, "ada") for number in (1, 2)),
        workspace_realm(1, 5),
    }
    assert caller.readable == caller.writable | {"", "1", "2"}
    assert {realm for realm in caller.readable if is_listing_only(realm)} == {"", "1", "2"}
    assert project_of_realm("12/team") == 12
    assert project_of_realm("organization") is None


@given(some.integers(0, 40), some.integers(0, 45), some.integers(0, 45))
def test_range_is_what_slicing_says(size, first, last):
    header = f"bytes={first}-{last}"
    content = bytes(range(size))
    if last < first:
        assert requested_range(header, size) is None
    elif first >= size:
        with pytest.raises(Refusal, match=f"there are {size} bytes"):
            requested_range(header, size)
    else:
        start, end = requested_range(header, size) or (0, 0)
        assert content[start:end] == content[first : last + 1]


def test_token_has_its_form_and_its_hash_depends_on_the_key():
    token = new_token()
    assert looks_like_token(token)
    assert not looks_like_token(token[:-1])
    assert Signer(b"a" * 32, 1).token_hash(token) != Signer(b"b" * 32, 1).token_hash(token)
    assert token.encode() not in Signer(b"a" * 32, 1).token_hash(token)


def test_signature_covers_method_path_and_time():
    signer = Signer(b"k" * 32, 10)
    expires, signature = (
        pair.split("=")[1] for pair in signer.sign_url("GET", "/b/1").split("?")[1].split("&")
    )
    signer.check_url("GET", "/b/1", expires, signature)
    signer.check_url("HEAD", "/b/1", expires, signature)
    later = f"{float(expires) + 5:.3f}"
    for method, path, until, mac in (
        ("PUT", "/b/1", expires, signature),
        ("GET", "/b/2", expires, signature),
        ("GET", "/b/1", later, signature),
        ("GET", "/b/1", expires, signature[:-1]),
        ("GET", "/b/1", "", ""),
        ("GET", "/b/1", "x", "ä"),
    ):
        with pytest.raises(Refusal) as refusal:
            signer.check_url(method, path, until, mac)
        assert (refusal.value.status, refusal.value.code) == (403, "bad_signature")


def test_key_is_made_once_and_a_damaged_one_is_refused(tmp_path):
    path = tmp_path / "key"
    assert load_key(path) == load_key(path)
    path.write_bytes(b"short")
    with pytest.raises(ServeError, match="damaged"):
        load_key(path)


def test_private_file_is_replaced_whole(tmp_path):
    path = tmp_path / "below" / "token"
    write_private(path, b"old")
    write_private(path, b"new")
    assert path.read_bytes() == b"new"
    assert (path.stat().st_mode & 0o777, os.listdir(path.parent)) == (0o600, ["token"])


def test_clock_never_stands_still():
    clock = Clock()
    times = [clock.now() for _ in range(1000)]
    assert times == sorted(set(times))
    assert iso_time(1_700_000_000_000_001) == "2023-11-14T22:13:20.000001Z"


def test_ids_start_at_a_number_drawn_from_the_clock_and_rise(tmp_path):
    database = Database(tmp_path / "metadata.sqlite3")
    before = int(time.time()) * 1000 % 10**12
    first, second = (database.write(new_id) for _ in range(2))
    assert before - 10_000 <= first <= before + 10_000
    assert second == first + 1
    database.close()


def test_transaction_that_raises_leaves_no_trace(tmp_path):
    database = Database(tmp_path / "metadata.sqlite3")
    first = database.write(new_id)

    def fail(connection):
        new_id(connection)
        raise KeyError("on purpose")

    with pytest.raises(KeyError):
        database.write(fail)
    assert database.write(new_id) == first + 1
    database.close()


def test_metadata_of_another_version_or_of_another_kind_is_refused(tmp_path):
    Database(tmp_path / "metadata.sqlite3").close()
    database = Database(tmp_path / "metadata.sqlite3")
    database.write(lambda connection: connection.execute("PRAGMA user_version=99").fetchall())
    database.close()
    with pytest.raises(ServeError, match=r"another version \(99\)"):
        Database(tmp_path / "metadata.sqlite3")
    (tmp_path / "text").write_text("this is no database at all" * 100)
    with pytest.raises(ServeError, match="can't be used"):
        Database(tmp_path / "text")


def test_blob_is_written_in_order_and_in_parts(tmp_path):
    blobs, seals = Blobs(tmp_path / "blobs"), Seals()
    key = blobs.new_key()
    blobs.create(key).close()
    for offset in (600, 0):
        with seals.hold(1) as seal, blobs.open_part(key, offset, seal) as writer:
            writer.write([bytes([number % 256]) for number in range(600)] + [b""])
            writer.commit()
            assert writer.size == 600
    assert blobs.path(key).read_bytes() == bytes(number % 256 for number in range(600)) * 2


def test_sealed_upload_refuses_the_writer_that_began_before(tmp_path):
    """A sender that was given up must not write into a file that others read already."""
    blobs, seals = Blobs(tmp_path / "blobs"), Seals()
    key = blobs.new_key()
    blobs.create(key).close()
    with seals.hold(1) as seal, blobs.open_part(key, 0, seal) as late:
        late.write([b"good"])
        with pytest.raises(KeyError), seals.closing(1):
            raise KeyError("not complete yet")
        late.write([b"good"])
        with seals.closing(1):
            pass
        with pytest.raises(Refusal) as refusal:
            late.write([b"bad"])
        assert refusal.value.code == "complete"
    assert blobs.path(key).read_bytes() == b"goodgood"
    with seals.hold(1) as seal:
        assert not seal.is_sealed


def test_seal_is_shared_by_all_who_hold_it():
    seals = Seals()
    held = threading.Event()
    found = []

    def hold_too():
        with seals.hold(1) as seal:
            found.append(seal)
            held.set()

    with seals.hold(1) as mine:
        threading.Thread(target=hold_too).start()
        assert held.wait(30)
    assert found == [mine]


def test_strays_are_removed_and_the_known_kept(tmp_path):
    blobs = Blobs(tmp_path / "blobs")
    keys = [blobs.new_key() for _ in range(3)]
    for key in keys:
        blobs.create(key).close()
    assert blobs.remove_strays({keys[0]}) == 2
    assert [blobs.path(key).exists() for key in keys] == [True, False, False]
    blobs.remove([keys[1], None])


def test_sample_is_the_same_every_time_and_well_formed():
    files = {names: content for names, content, _ in sample_files()}
    assert files == {names: content for names, content, _ in sample_files()}
    library_sdf = files["project", "1", "user", "demo", "fragment-screen", "library.sdf"].decode()
    assert library_sdf.count("$$$$\n") == len(library()) > 100
    for record in library_sdf.split("$$$$\n")[:-1]:
        lines = record.split("\n")
        atoms, bonds = int(lines[3][:3]), int(lines[3][3:6])
        assert lines[4 + atoms + bonds] == "M  END"
    notebook = next(content for names, content in files.items() if names[-1].endswith(".ipynb"))
    assert json.loads(notebook)["nbformat"] == 4


def test_blobs_of_one_folder_are_found_by_the_next_server_that_makes_more(tmp_path):
    old = Blobs(tmp_path / "blobs")
    assert list((tmp_path / "blobs").iterdir()) == []
    old.create("ab0", is_synced=False).close()
    new = Blobs(tmp_path / "blobs")
    for key in ("ab1", "cd0"):
        new.create(key).close()
    assert sorted(path.name for path in (tmp_path / "blobs").glob("*/*")) == ["ab0", "ab1", "cd0"]
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "blobs").iterdir()} == {0o700}
