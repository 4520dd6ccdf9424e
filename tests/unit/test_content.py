"""Cached versions and staged files on the local disk."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orionfs.cache import content, presence
from orionfs.cache.content import CacheEntry, ContentCache, Staged, copy_range
from orionfs.cache.presence import boot_id
from orionfs.errors import LocalDiskError, NoSpace
from orionfs.models import Key, Kind

KEY = Key(Kind.FILE, 5)
HOLDS = """
import fcntl, os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
fcntl.flock(fd, fcntl.LOCK_SH)
print("held", flush=True)
sys.stdin.read()
"""


def make_cache(folder: Path, stack: str = "stack", account: str = "me", limit: int = 10**6) -> ContentCache:
    return ContentCache(folder, stack, account, limit)


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[ContentCache]:
    made = make_cache(tmp_path / "cache")
    yield made
    made.close()


def fill(entry: CacheEntry, start: int, data: bytes) -> None:
    os.pwrite(entry.fd, data, start)
    entry.mark_present(start, start + len(data))


def put(cache: ContentCache, key: Key, data: bytes) -> Path:
    """Have all of a version in the cache, closed; its file."""
    entry = cache.open(key, len(data))
    fill(entry, 0, data)
    cache.release(key, entry)
    return entry.path


# -- presence ------------------------------------------------------------------------------------


def test_bytes_are_present_only_once_they_are_marked(cache: ContentCache) -> None:
    entry = cache.open(KEY, 10)
    os.pwrite(entry.fd, b"0123456789", 0)
    assert not entry.present
    assert not entry.is_complete
    entry.mark_present(2, 5)
    assert list(entry.present) == [(2, 5)]
    assert entry.read(2, 3) == b"234"
    entry.mark_present(0, 10)
    assert entry.is_complete
    assert repr(entry) == "<CacheEntry file-5 10/10>"
    cache.release(KEY, entry)


def test_reads_end_with_the_version(cache: ContentCache) -> None:
    entry = cache.open(KEY, 4)
    fill(entry, 0, b"abcdef")
    assert entry.read(2, 100) == b"cd"
    assert entry.read(4, 100) == b""
    assert entry.read(9, 100) == b""
    cache.release(KEY, entry)


def test_empty_version_is_complete_at_once(cache: ContentCache) -> None:
    entry = cache.open(KEY, 0)
    assert entry.is_complete
    assert entry.read(0, 10) == b""
    cache.release(KEY, entry)


def test_readers_of_one_version_share_its_entry(cache: ContentCache) -> None:
    first, second = cache.open(KEY, 4), cache.open(KEY, 4)
    assert first is second
    cache.release(KEY, first)
    fill(second, 0, b"abcd")
    assert cache.open(KEY, 4) is second
    cache.release(KEY, second)
    cache.release(KEY, second)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(second.fd)


# -- reload --------------------------------------------------------------------------------------


def reopened(folder: Path, size: int) -> list[tuple[int, int]]:
    """What is present for the next daemon."""
    cache = make_cache(folder)
    entry = cache.open(KEY, size)
    present = list(entry.present)
    cache.release(KEY, entry)
    cache.close()
    return present


def test_ranges_are_known_again_in_the_same_boot(tmp_path: Path) -> None:
    cache = make_cache(tmp_path)
    entry = cache.open(KEY, 10)
    fill(entry, 0, b"01")
    fill(entry, 5, b"567")
    cache.release(KEY, entry)
    cache.close()
    assert reopened(tmp_path, 10) == [(0, 2), (5, 8)]


def test_ranges_are_saved_when_the_daemon_ends_with_the_version_open(tmp_path: Path) -> None:
    cache = make_cache(tmp_path)
    fill(cache.open(KEY, 3), 0, b"abc")
    cache.close()
    assert reopened(tmp_path, 3) == [(0, 3)]


def test_ranges_of_another_boot_are_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = make_cache(tmp_path)
    put(cache, KEY, b"abc")
    monkeypatch.setattr(presence, "boot_id", lambda: "another boot")
    assert reopened(tmp_path, 3) == []


def test_ranges_of_another_boot_that_were_synced_are_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(make_cache(tmp_path), KEY, b"abc")
    sidecar = path.with_name(path.name + ".present")
    sidecar.write_text(json.dumps({**json.loads(sidecar.read_text()), "synced": [[0, 3]]}))
    monkeypatch.setattr(presence, "boot_id", lambda: "another boot")
    assert reopened(tmp_path, 3) == [(0, 3)]


@pytest.mark.parametrize("is_synced", [True, False])
def test_what_was_written_here_is_believed_in_another_boot_if_it_was_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_synced: bool
) -> None:
    cache, staged = make_cache(tmp_path), tmp_path / "staged"
    staged.write_bytes(b"abc")
    cache.adopt(KEY, staged, 3, is_synced=is_synced)
    monkeypatch.setattr(presence, "boot_id", lambda: "another boot")
    assert reopened(tmp_path, 3) == ([(0, 3)] if is_synced else [])


def test_version_of_another_length_is_not_believed(tmp_path: Path) -> None:
    put(make_cache(tmp_path), KEY, b"abc")
    assert reopened(tmp_path, 4) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "7",
        '{"size": 3}',
        '{"size": 3, "synced": true, "ranges": 5}',
        '{"size": 3, "synced": true, "ranges": [[0]]}',
        '{"size": 3, "synced": true, "ranges": [["x", 2]]}',
    ],
)
def test_sidecar_of_garbage_is_not_believed(tmp_path: Path, text: str) -> None:
    path = put(make_cache(tmp_path), KEY, b"abc")
    path.with_name(path.name + ".present").write_text(text)
    assert reopened(tmp_path, 3) == []


def test_ranges_beyond_the_end_are_not_read(tmp_path: Path) -> None:
    """A sidecar is data: what it says beyond the version's end must not come out as zeros."""
    path = put(make_cache(tmp_path), KEY, b"abc")
    sidecar = path.with_name(path.name + ".present")
    sidecar.write_text(json.dumps({**json.loads(sidecar.read_text()), "ranges": [[0, 1000]]}))
    cache = make_cache(tmp_path)
    entry = cache.open(KEY, 3)
    assert entry.read(0, 1000) == b"abc"
    cache.close()


def test_boot_has_an_id_of_the_kernel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert len(boot_id()) == 36
    monkeypatch.setattr(presence, "_BOOT_ID", tmp_path / "none")
    assert boot_id() == ""


# -- who is kept apart ---------------------------------------------------------------------------


def test_stacks_accounts_kinds_and_ids_never_meet(tmp_path: Path) -> None:
    caches = {
        (stack, account): make_cache(tmp_path, stack, account)
        for stack in ("one", "two")
        for account in ("me", "you")
    }
    keys = [Key(Kind.FILE, 5), Key(Kind.DATASET, 5), Key(Kind.FILE, 55)]
    for which, cache in caches.items():
        for key in keys:
            put(cache, key, f"{which} {key.kind.value} {key.id}".encode())
    for which, cache in caches.items():
        for key in keys:
            expected = f"{which} {key.kind.value} {key.id}".encode()
            entry = cache.open(key, len(expected))
            assert entry.is_complete
            assert entry.read(0, 100) == expected
            cache.release(key, entry)


def test_stack_and_account_can_not_be_mixed_up_nor_become_a_path(tmp_path: Path) -> None:
    put(make_cache(tmp_path / "top", "a", "b/../../c"), KEY, b"x")
    put(make_cache(tmp_path / "top", "ab/../../", "c"), KEY, b"y")
    assert [path.name for path in tmp_path.iterdir()] == ["top"]
    assert len(list((tmp_path / "top").iterdir())) == 2


def test_everything_is_for_its_owner_only(tmp_path: Path) -> None:
    old_mask = os.umask(0)
    try:
        cache = make_cache(tmp_path / "deep" / "cache")
        put(cache, KEY, b"abc")
        staged = Staged(tmp_path / "staged", create=True)
        staged.write(0, b"x")
        staged.close()
    finally:
        os.umask(old_mask)
    files = [path for path in (tmp_path / "deep" / "cache").rglob("*") if path.is_file()]
    assert len(files) == 2
    assert {path.stat().st_mode & 0o777 for path in [*files, tmp_path / "staged"]} == {0o600}
    folders = [tmp_path / "deep" / "cache", *(tmp_path / "deep" / "cache").iterdir()]
    assert {path.stat().st_mode & 0o777 for path in folders} == {0o700}


# -- eviction ------------------------------------------------------------------------------------

BLOCK = b"x" * 8192


def age(path: Path, seconds: float) -> None:
    os.utime(path, (1e9 - seconds, 1e9 - seconds))


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


def test_least_recently_used_versions_go_first_with_their_sidecars(tmp_path: Path) -> None:
    cache = make_cache(tmp_path, limit=5 * 8192)
    for id, seconds in ((1, 30), (2, 50), (3, 10), (4, 40), (5, 20)):
        age(put(cache, Key(Kind.FILE, id), BLOCK), seconds)
    cache.evict()
    assert names(tmp_path) == {f"file-{id}{tail}" for id in (1, 3, 4, 5) for tail in ("", ".present")}


def test_opening_a_version_is_a_use(tmp_path: Path) -> None:
    cache = make_cache(tmp_path, limit=2 * 8192)
    for id in (1, 2):
        age(put(cache, Key(Kind.FILE, id), BLOCK), 100 - id)
    entry = cache.open(Key(Kind.FILE, 1), len(BLOCK))
    cache.release(Key(Kind.FILE, 1), entry)
    cache.evict()
    assert "file-1" in names(tmp_path)
    assert "file-2" not in names(tmp_path)


def test_nothing_is_evicted_below_nine_tenths_of_the_limit(tmp_path: Path) -> None:
    cache = make_cache(tmp_path, limit=10 * 8192)
    for id in range(9):
        put(cache, Key(Kind.FILE, id), BLOCK)
    cache.evict()
    assert len(names(tmp_path)) == 18


def test_open_version_is_never_evicted(tmp_path: Path) -> None:
    cache = make_cache(tmp_path, limit=1)
    entry = cache.open(KEY, len(BLOCK))
    fill(entry, 0, BLOCK)
    put(cache, Key(Kind.FILE, 6), BLOCK)
    cache.evict()
    assert names(tmp_path) == {"file-5"}
    assert entry.read(0, 10) == BLOCK[:10]
    cache.release(KEY, entry)
    cache.evict()
    assert names(tmp_path) == set()


@contextmanager
def held_by_another_process(path: Path) -> Iterator[None]:
    command = [sys.executable, "-c", HOLDS, str(path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"held\n"
        yield
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait(10)


def test_version_that_another_mount_reads_is_never_evicted(tmp_path: Path) -> None:
    cache = make_cache(tmp_path, limit=1)
    path = put(cache, KEY, BLOCK)
    with held_by_another_process(path):
        cache.evict()
        assert path.exists()
    cache.evict()
    assert not path.exists()


def test_versions_of_other_accounts_of_the_user_count_as_well(tmp_path: Path) -> None:
    other = put(make_cache(tmp_path, "other"), KEY, BLOCK)
    age(other, 100)
    cache = make_cache(tmp_path, limit=8192)
    put(cache, KEY, BLOCK)
    cache.evict()
    assert not other.exists()


@pytest.mark.parametrize(("free_gib", "expected_gib"), [(1000, 20), (100, 20), (50, 10), (0, 0)])
def test_usual_limit_is_a_fifth_of_the_free_room_and_twenty_gibibytes_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free_gib: int, expected_gib: int
) -> None:
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_bavail=free_gib * 2**18, f_frsize=4096))
    folder = tmp_path / "new" / "cache"
    assert content.usual_limit_bytes(folder) == expected_gib * 2**30
    assert (folder.stat().st_mode & 0o777, folder.parent.stat().st_mode & 0o777) == (0o700, 0o700)


def test_eviction_is_worth_its_scan_once_enough_was_added(tmp_path: Path) -> None:
    cache = make_cache(tmp_path, limit=40 * 8192)
    put(cache, Key(Kind.FILE, 1), BLOCK)
    assert not cache.is_over_limit()
    for id in range(2, 4):
        put(cache, Key(Kind.FILE, id), BLOCK)
    assert cache.is_over_limit()
    cache.evict()
    assert not cache.is_over_limit()


def test_reading_what_is_cached_does_not_count_as_adding(tmp_path: Path) -> None:
    cache = make_cache(tmp_path, limit=40 * 8192)
    put(cache, KEY, BLOCK)
    cache.evict()
    for _ in range(10):
        entry = cache.open(KEY, len(BLOCK))
        cache.release(KEY, entry)
    assert not cache.is_over_limit()


def test_leftover_of_a_download_that_was_cut_short_is_evicted_too(tmp_path: Path) -> None:
    cache = make_cache(tmp_path, limit=10**6)
    folder = put(cache, KEY, BLOCK).parent
    leftover = folder / "file-9.0123456789abcdef0123456789abcdef.tmp"
    leftover.write_bytes(BLOCK * 1000)
    age(leftover, 10**6)
    cache.evict()
    assert not leftover.exists()
    assert "file-5" in names(tmp_path)


def test_cache_may_be_deleted_while_it_is_used(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    cache = make_cache(folder)
    path = put(cache, KEY, b"abc")
    for each in path.parent.iterdir():
        each.unlink()
    path.parent.rmdir()
    cache.evict()
    entry = cache.open(KEY, 3)
    assert not entry.present
    for each in path.parent.iterdir():
        each.unlink()
    path.parent.rmdir()
    fill(entry, 0, b"abc")
    assert entry.read(0, 3) == b"abc"
    cache.release(KEY, entry)


def test_version_evicted_between_open_and_lock_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = make_cache(tmp_path)
    path = put(cache, KEY, b"abc")
    flock, evictions = fcntl.flock, iter([True])

    def evicted_first(fd: int, operation: int) -> None:
        if next(evictions, False):
            path.unlink()
        flock(fd, operation)

    monkeypatch.setattr(fcntl, "flock", evicted_first)
    entry = cache.open(KEY, 3)
    assert os.path.samestat(os.fstat(entry.fd), path.stat())
    cache.release(KEY, entry)


def test_cache_that_can_not_be_opened_says_so(tmp_path: Path) -> None:
    cache = make_cache(tmp_path)
    path = put(cache, KEY, b"abc")
    path.unlink()
    path.mkdir()
    with pytest.raises(LocalDiskError, match="content cache"):
        cache.open(KEY, 3)


# -- staged files become cached ones -------------------------------------------------------------


def test_staged_file_becomes_the_version_by_rename(cache: ContentCache, tmp_path: Path) -> None:
    staged = tmp_path / "staged"
    staged.write_bytes(b"abc")
    inode = staged.stat().st_ino
    cache.adopt(KEY, staged, 3)
    entry = cache.open(KEY, 3)
    assert (entry.is_complete, entry.read(0, 9)) == (True, b"abc")
    assert os.fstat(entry.fd).st_ino == inode
    assert not staged.exists()
    cache.release(KEY, entry)


def test_staged_file_that_can_not_become_a_version_is_dropped(cache: ContentCache, tmp_path: Path) -> None:
    staged = tmp_path / "staged"
    staged.write_bytes(b"abc")
    path = put(cache, KEY, b"abc")
    path.unlink()
    path.mkdir()
    cache.adopt(KEY, staged, 3)
    assert not staged.exists()


def refuse(source: Path, target: Path) -> None:
    """`os.rename` where source and target lie on two disks."""
    if source.parent != target.parent:
        raise OSError(errno.EXDEV, "Invalid cross-device link")
    source.replace(target)


def test_staged_file_of_another_disk_is_copied(
    cache: ContentCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "rename", refuse)
    data = os.urandom(100)
    for number in (1, 2):
        staged = tmp_path / f"staged{number}"
        staged.write_bytes(data)
        cache.adopt(Key(Kind.FILE, number), staged, len(data))
        assert not staged.exists(), "its room is that of the state"
    (copying,) = cache.upkeep()
    copying()
    assert cache.upkeep() == []
    for number in (1, 2):
        entry = cache.open(Key(Kind.FILE, number), len(data))
        assert (entry.is_complete, entry.read(0, len(data))) == (True, data)
        cache.release(Key(Kind.FILE, number), entry)


def test_what_of_another_disk_can_t_be_copied_is_fetched_when_it_is_wanted(
    cache: ContentCache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "rename", refuse)
    staged = tmp_path / "staged"
    staged.write_bytes(b"abc")
    cache.adopt(KEY, staged, 4)  # it is shorter than it was
    (copying,) = cache.upkeep()
    copying()
    assert not cache.open(KEY, 4).present
    staged.write_bytes(b"abc")
    cache.adopt(Key(Kind.FILE, 99), staged, 3)
    descriptors = len(os.listdir("/proc/self/fd"))
    cache.close()
    assert len(os.listdir("/proc/self/fd")) == descriptors - 2, "nothing waits any more"
    assert [path.suffix for path in tmp_path.rglob("*.tmp")] == []


def test_whole_download_takes_the_place_of_the_entry(cache: ContentCache, tmp_path: Path) -> None:
    entry = cache.open(KEY, 0)
    number = entry.fd
    part = entry.path.with_name("part.tmp")
    part.write_bytes(b"abcdef")
    entry.fill_from(part)
    assert (entry.fd, entry.size, entry.is_complete) == (number, 6, True)
    assert entry.read(1, 3) == b"bcd"
    assert not os.get_inheritable(entry.fd)
    cache.release(KEY, entry)
    again = cache.open(KEY, 6)
    assert again.is_complete
    cache.release(KEY, again)


# -- staged files --------------------------------------------------------------------------------


@pytest.fixture
def staged(tmp_path: Path) -> Iterator[Staged]:
    made = Staged(tmp_path / "staged", create=True)
    yield made
    made.discard()


def test_staged_bytes_are_read_back_and_holes_are_zeros(staged: Staged) -> None:
    assert staged.write(5, b"abc") == 3
    assert (staged.size, staged.is_dirty) == (8, True)
    assert staged.read(0, 100) == b"\0\0\0\0\0abc"
    staged.truncate(2)
    assert (staged.size, staged.read(0, 100)) == (2, b"\0\0")
    assert "dirty" in repr(staged)


def test_sealed_prefix_is_never_changed_in_place(staged: Staged) -> None:
    staged.write(0, b"abc")
    staged.seal()
    assert (staged.is_dirty, staged.sealed_bytes) == (False, 3)
    assert not staged.can_change_from(2)
    assert staged.can_change_from(3)
    staged.write(3, b"def")
    assert (staged.is_dirty, staged.sealed_bytes) == (True, 3)
    assert not staged.can_change_from(2)


def test_frozen_file_is_never_changed_in_place(staged: Staged) -> None:
    staged.write(0, b"abc")
    staged.is_frozen = True
    assert not staged.can_change_from(0)
    assert not staged.can_change_from(3)
    assert "frozen" in repr(staged)


@given(st.lists(st.tuples(st.integers(0, 40), st.binary(max_size=20)), max_size=8))
def test_writes_anywhere_are_those_of_a_byte_array(tmp_path_factory, writes) -> None:
    staged = Staged(tmp_path_factory.mktemp("staged") / "file", create=True)
    model = bytearray()
    for offset, data in writes:
        if data:
            staged.write(offset, data)
            model.extend(b"\0" * (offset - len(model)))
            model[offset : offset + len(data)] = data
    assert staged.read(0, 1000) == bytes(model)
    assert staged.size == len(model)
    staged.discard()


def test_new_staged_file_never_takes_an_existing_one(staged: Staged) -> None:
    with pytest.raises(LocalDiskError, match="staging"):
        Staged(staged.path, create=True)
    again = Staged(staged.path, create=False)
    again.close()
    again.close()
    with pytest.raises(LocalDiskError):
        Staged(staged.path.with_name("none"), create=False)


def test_discarded_file_is_gone(tmp_path: Path) -> None:
    staged = Staged(tmp_path / "file", create=True)
    staged.discard()
    staged.discard()
    assert list(tmp_path.iterdir()) == []


# -- a full disk ---------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of one mebibyte; of a machine where we may not mount, one that says so."""
    folder = tmp_path / "small"
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    done = subprocess.run(["mount", *options], check=False, capture_output=True)
    if done.returncode != 0:
        pytest.skip("can't mount a tmpfs here; the test with a patched pwrite covers it")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_full_disk_is_no_space_and_spares_what_was_there(small_disk: Path) -> None:
    staged = Staged(small_disk / "file", create=True)
    staged.write(0, b"first")
    with pytest.raises(NoSpace):
        staged.write(5, b"x" * 2**21)
    assert staged.read(0, 5) == b"first"
    assert staged.is_dirty
    staged.truncate(5)
    staged.write(5, b" second")
    assert staged.read(0, 100) == b"first second"
    staged.discard()


def test_copy_to_a_full_disk_is_no_space(small_disk: Path, tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb+") as source, (small_disk / "copy").open("wb+") as target:
        source.write(b"x" * 2**21)
        source.flush()
        with pytest.raises(NoSpace):
            copy_range(source.fileno(), target.fileno(), 2**21)


@pytest.mark.parametrize(("number", "kind"), [(errno.ENOSPC, NoSpace), (errno.EIO, LocalDiskError)])
def test_write_that_fails_half_way_is_an_error_of_the_disk(
    staged: Staged, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[Exception]
) -> None:
    staged.write(0, b"first")
    pwrite, room = os.pwrite, [4]

    def short(fd: int, data: bytes, offset: int) -> int:
        if not room[0]:
            raise OSError(number, os.strerror(number))
        written = pwrite(fd, data[: room[0]], offset)
        room[0] -= written
        return written

    monkeypatch.setattr(os, "pwrite", short)
    with pytest.raises(kind):
        staged.write(5, b"second")
    assert staged.read(0, 100)[:5] == b"first"
    assert staged.size == 9


# -- copies --------------------------------------------------------------------------------------


@pytest.fixture(params=["by the kernel", "by hand"])
def copying(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to copy, also where the kernel gives up half way."""
    if request.param == "by the kernel":
        return
    kernel, calls = os.copy_file_range, []

    def refuse(source: int, target: int, count: int, *offsets: int) -> int:
        calls.append(count)
        if len(calls) > 1:
            raise OSError(errno.EXDEV, "not between these")
        return kernel(source, target, min(count, 2), *offsets)

    monkeypatch.setattr(os, "copy_file_range", refuse)


@pytest.mark.usefixtures("copying")
def test_copy_is_of_the_first_bytes_only(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"0123456789")
    with (tmp_path / "source").open("rb") as source, (tmp_path / "target").open("wb+") as target:
        copy_range(source.fileno(), target.fileno(), 7)
        assert (tmp_path / "target").read_bytes() == b"0123456"
        copy_range(source.fileno(), target.fileno(), 0)
        assert (tmp_path / "target").read_bytes() == b"0123456"


@pytest.mark.usefixtures("copying")
def test_source_that_is_too_short_is_an_error_and_never_zeros(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"0123")
    with (
        (tmp_path / "source").open("rb") as source,
        (tmp_path / "target").open("wb+") as target,
        pytest.raises(LocalDiskError),
    ):
        copy_range(source.fileno(), target.fileno(), 7)


# -- several mounts ------------------------------------------------------------------------------


def test_mounts_that_share_a_version_add_to_what_the_other_has_written_down(tmp_path: Path) -> None:
    one, other = make_cache(tmp_path), make_cache(tmp_path)
    entries = one.open(KEY, 9), other.open(KEY, 9)
    fill(entries[0], 0, b"012")
    fill(entries[1], 6, b"678")
    one.release(KEY, entries[0])
    other.release(KEY, entries[1])
    assert reopened(tmp_path, 9) == [(0, 3), (6, 9)]


def test_eviction_by_one_mount_spares_what_another_has_open(tmp_path: Path) -> None:
    one, other = make_cache(tmp_path, limit=1), make_cache(tmp_path, limit=1)
    entry = one.open(KEY, len(BLOCK))
    fill(entry, 0, BLOCK)
    with held_by_another_process(entry.path):
        one.release(KEY, entry)
        other.evict()
        assert entry.path.exists()
    other.evict()
    assert not entry.path.exists()


def test_nothing_is_written_down_for_a_file_that_was_deleted_and_made_anew(tmp_path: Path) -> None:
    """A sidecar of the old file beside the new one would make its holes come out as zeros."""
    one, other = make_cache(tmp_path), make_cache(tmp_path)
    old = one.open(KEY, 9)
    fill(old, 0, b"012345678")
    old.path.unlink()
    new = other.open(KEY, 9)
    one.release(KEY, old)
    other.release(KEY, new)
    assert reopened(tmp_path, 9) == []


def test_sidecar_of_another_file_is_not_believed(tmp_path: Path) -> None:
    path = put(make_cache(tmp_path), KEY, b"abc")
    path.rename(path.with_name("away"))
    path.write_bytes(b"\0\0\0")
    assert reopened(tmp_path, 3) == []


def test_file_that_is_made_has_no_sidecar_of_an_earlier_one(tmp_path: Path) -> None:
    path = put(make_cache(tmp_path), KEY, b"abc")
    path.unlink()
    assert reopened(tmp_path, 3) == []
    assert not path.with_name(path.name + ".present").exists()


# -- power cuts ----------------------------------------------------------------------------------


def test_what_was_synced_is_believed_in_another_boot_and_the_rest_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = make_cache(tmp_path)
    entry = cache.open(KEY, 9)
    fill(entry, 0, b"012")
    cache.release(KEY, entry)
    cache.sync(KEY, 9)
    entry = cache.open(KEY, 9)
    fill(entry, 6, b"678")
    cache.release(KEY, entry)
    assert reopened(tmp_path, 9) == [(0, 3), (6, 9)]
    monkeypatch.setattr(presence, "boot_id", lambda: "another boot")
    assert reopened(tmp_path, 9) == [(0, 3)]


def test_only_much_is_worth_a_sync_and_only_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "_WORTH_A_SYNC_BYTES", len(BLOCK))
    cache = make_cache(tmp_path)
    small = cache.open(KEY, 3)
    fill(small, 0, b"abc")
    assert not cache.release(KEY, small)
    large = Key(Kind.FILE, 6)
    entry = cache.open(large, len(BLOCK))
    fill(entry, 0, BLOCK)
    assert cache.release(large, entry)
    cache.sync(large, len(BLOCK))
    assert not cache.release(large, cache.open(large, len(BLOCK)))


def test_sync_of_a_version_that_was_evicted_is_nothing(cache: ContentCache) -> None:
    cache.sync(KEY, 3)


def test_long_download_is_written_down_before_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(content, "_SAVE_EVERY_BYTES", 4)
    entry = make_cache(tmp_path).open(KEY, 9)
    fill(entry, 0, b"0123")
    fill(entry, 4, b"45")
    assert reopened(tmp_path, 9) == [(0, 4)]


# -- room ----------------------------------------------------------------------------------------


def with_free(cache: ContentCache, monkeypatch: pytest.MonkeyPatch, free: int, floor: int) -> None:
    monkeypatch.setattr(cache, "_free_and_floor", lambda: (free, floor))


def test_disk_is_kept_from_filling_up_below_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = make_cache(tmp_path, limit=10**9)
    for id in range(4):
        age(put(cache, Key(Kind.FILE, id), BLOCK), 100 - id)
    with_free(cache, monkeypatch, free=100_000, floor=100_000 + 2 * 8192)
    cache.evict()
    assert {name for name in names(tmp_path) if "." not in name} == {"file-2", "file-3"}
    assert cache.has_room


def test_there_is_no_room_where_what_is_open_is_too_much(tmp_path: Path) -> None:
    cache = make_cache(tmp_path, limit=8192)
    entry = cache.open(KEY, 4 * 8192)
    fill(entry, 0, BLOCK * 4)
    cache.evict()
    assert not cache.has_room
    cache.release(KEY, entry)
    cache.evict()
    assert cache.has_room


def test_room_for_a_whole_version_is_made_or_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = make_cache(tmp_path)
    put(cache, KEY, BLOCK)
    free = [100, 5000]
    monkeypatch.setattr(cache, "_free_and_floor", lambda: (free.pop(0), 0))
    cache.make_room_for(5000)
    assert names(tmp_path) == set()
    with_free(cache, monkeypatch, 100, 0)
    with pytest.raises(NoSpace, match="room for 100 bytes"):
        cache.make_room_for(5000)
