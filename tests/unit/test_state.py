"""The state folder of a daemon, and what earlier ones left."""

from __future__ import annotations

import fcntl
import os
import platform
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from orionfs.cache.content import EXACT_SUFFIX
from orionfs.durable.journal import Removal, Rename, UploadRow, UploadStep
from orionfs.models import Account, Key, Kind, LocalAttributes
from orionfs.state import StateFolder, claim, claim_for_now, claim_nothing, claim_swaps

REPOSITORY = Path(__file__).resolve().parents[2]
ACCOUNT = Account("stack", "demo", 1, 1, "Demo")
CLAIMS = """
import sys
from pathlib import Path
from orionfs.models import Account
from orionfs.state import claim
state = claim(Path(sys.argv[1]), Account("stack", "demo", 1, 1, "Demo"))
print(state.path, flush=True)
sys.stdin.read()
state.close()
"""


def leave(state_dir: Path, *names: str, **contents: bytes) -> Path:
    """An earlier daemon that sealed `contents` (name -> bytes) and died; its folder."""
    state = claim(state_dir, ACCOUNT)
    seal(state, **contents)
    path = state.path
    state.close()
    return path


def seal(state: StateFolder, **contents: bytes) -> None:
    for at, (name, data) in enumerate(contents.items()):
        staged = state.staging / f"staged-{name}"
        staged.write_bytes(data)
        row = UploadRow(f"mark-{name}", "/f", name, staged.name, len(data), 1, sealed_ns=at)
        with staged.open("rb") as stream:
            state.journal.seal(row, stream.fileno())


def staged(state: StateFolder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in state.staging.iterdir()}


def kept(state: StateFolder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (state.path / "kept").iterdir()}


@contextmanager
def claimed(state_dir: Path, account: Account = ACCOUNT) -> Iterator[StateFolder]:
    state = claim(state_dir, account)
    try:
        yield state
    finally:
        state.close()


def test_first_daemon_makes_a_folder_of_its_own(tmp_path: Path) -> None:
    with claimed(tmp_path / "state") as state:
        assert state.path.is_relative_to(tmp_path / "state")
        assert state.journal.uploads() == []
        assert staged(state) == {}


def test_folder_of_a_daemon_that_ended_is_used_again(tmp_path: Path) -> None:
    with claimed(tmp_path) as first:
        first.journal.set_local(Key(Kind.FILE, 5), LocalAttributes(7, None))
    with claimed(tmp_path) as second:
        assert second.path == first.path
        assert second.journal.local.all() == {Key(Kind.FILE, 5): LocalAttributes(7, None)}


def test_folder_of_a_living_daemon_is_left_alone(tmp_path: Path) -> None:
    with claimed(tmp_path) as first:
        seal(first, a=b"abc")
        with claimed(tmp_path) as second:
            assert second.path != first.path
            assert second.journal.uploads() == []
        assert staged(first) == {"staged-a": b"abc"}


def test_folder_that_another_process_has_is_left_alone(tmp_path: Path) -> None:
    command = [sys.executable, "-c", CLAIMS, str(tmp_path)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        other = Path(process.stdout.readline().strip())
        with claimed(tmp_path) as ours:
            assert ours.path != other
            assert other.is_dir()
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait(10)
    with claimed(tmp_path) as ours:
        assert list(ours.path.parent.iterdir()) == [ours.path]


def test_everything_of_several_dead_daemons_is_taken_over(tmp_path: Path) -> None:
    states = [claim(tmp_path, ACCOUNT) for _ in range(3)]
    for at, state in enumerate(states):
        seal(state, **{f"n{at}": b"x" * (at + 1)})
        state.journal.add_removal(Removal(Key(Kind.FILE, at), f"/f/r{at}"))
        state.journal.set_local(Key(Kind.FILE, 100 + at), LocalAttributes(at, None))
        (state.path / "kept").mkdir()
        (state.path / "kept" / f"older-{at}").write_bytes(b"older")
    for state in states:
        state.close()
    with claimed(tmp_path) as ours:
        assert sorted(row.name for row in ours.journal.uploads()) == ["n0", "n1", "n2"]
        assert staged(ours) == {"staged-n0": b"x", "staged-n1": b"xx", "staged-n2": b"xxx"}
        assert sorted(removal.key.id for removal in ours.journal.removals()) == [0, 1, 2]
        assert len(ours.journal.local.all()) == 3
        assert kept(ours).keys() == {"older-0", "older-1", "older-2"}
        assert list(ours.path.parent.iterdir()) == [ours.path]


def test_sealed_bytes_stay_staged(tmp_path: Path) -> None:
    leave(tmp_path, a=b"abc", empty=b"")
    with claimed(tmp_path) as state:
        assert staged(state) == {"staged-a": b"abc", "staged-empty": b""}
        assert not (state.path / "kept").exists()


@pytest.mark.expect_log(r"is kept in .*/kept/unsealed")
def test_what_was_never_sealed_is_kept_aside_and_said(tmp_path: Path) -> None:
    folder = leave(tmp_path, a=b"abc")
    (folder / "staged" / "unsealed").write_bytes(b"half")
    with claimed(tmp_path) as state:
        assert staged(state) == {"staged-a": b"abc"}
        assert kept(state) == {"unsealed": b"half"}
        assert [row.name for row in state.journal.uploads()] == ["a"]


def test_empty_file_that_was_never_sealed_is_nothing(tmp_path: Path) -> None:
    folder = leave(tmp_path)
    (folder / "staged" / "unsealed").write_bytes(b"")
    with claimed(tmp_path) as state:
        assert staged(state) == {}
        assert not (state.path / "kept").exists()


@pytest.mark.expect_log(r"is kept in .*/kept/staged-a")
def test_file_that_grew_since_it_was_sealed_is_uploaded_as_it_was_sealed(tmp_path: Path) -> None:
    folder = leave(tmp_path, a=b"abc")
    (folder / "staged" / "staged-a").write_bytes(b"abcdef")
    with claimed(tmp_path) as state:
        assert staged(state) == {"staged-a": b"abc"}
        assert kept(state) == {"staged-a": b"abcdef"}


def test_copy_of_sealed_bytes_for_an_upload_is_no_unsealed_work(tmp_path: Path) -> None:
    """An upload of a file that has grown since goes from a copy of just the sealed bytes."""
    folder = leave(tmp_path, a=b"abc")
    with claimed(tmp_path) as state:
        (row,) = state.journal.uploads()
    copy = folder / "staged" / f"{row.staged}-{row.mark[-8:]}{EXACT_SUFFIX}"
    copy.write_bytes(b"abc")
    with claimed(tmp_path) as state:
        assert staged(state) == {"staged-a": b"abc"}
        assert not (state.path / "kept").exists()


def test_bytes_of_a_cancelled_version_are_not_unsealed_work(tmp_path: Path) -> None:
    folder = leave(tmp_path, a=b"abc")
    with claimed(tmp_path) as state:
        state.journal.cancel("mark-a")
        assert state.path == folder
    with claimed(tmp_path) as state:
        assert [row.step for row in state.journal.uploads()] == [UploadStep.CANCELLED]
        assert not (state.path / "kept").exists()


@pytest.mark.parametrize(
    "account",
    [
        replace(ACCOUNT, username="other"),
        replace(ACCOUNT, stack="other"),
        replace(ACCOUNT, username="dem/o"),
        replace(ACCOUNT, username=".."),
        replace(ACCOUNT, username="demo" + "o" * 300),
    ],
)
def test_folders_of_other_accounts_are_left_alone(tmp_path: Path, account: Account) -> None:
    leave(tmp_path / "state", a=b"abc")
    with claimed(tmp_path / "state", account) as state:
        assert state.journal.uploads() == []
        assert state.path.is_relative_to(tmp_path / "state")
    with claimed(tmp_path / "state") as state:
        assert len(state.journal.uploads()) == 1


def test_folder_of_another_host_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home on a network disk: locks of another machine's daemon may not be seen here."""
    folder = leave(tmp_path, a=b"abc")
    before = sorted(str(path) for path in folder.rglob("*"))
    monkeypatch.setattr(platform, "node", lambda: "another-host")
    with claimed(tmp_path) as state:
        assert state.journal.uploads() == []
        assert not state.path.is_relative_to(folder.parent.parent.parent)
    assert sorted(str(path) for path in folder.rglob("*")) == before


def test_everything_is_for_its_owner_only(tmp_path: Path) -> None:
    old_mask = os.umask(0)
    try:
        folder = leave(tmp_path / "state")
    finally:
        os.umask(old_mask)
    below = [path for path in (tmp_path / "state").rglob("*") if path.is_dir()]
    assert folder in below
    assert {path.stat().st_mode & 0o777 for path in below} == {0o700}
    assert (folder / "lock").stat().st_mode & 0o777 == 0o600


def test_lock_is_held_for_as_long_as_the_daemon_lives(tmp_path: Path) -> None:
    with claimed(tmp_path) as state, (state.path / "lock").open() as lock, pytest.raises(BlockingIOError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with (state.path / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert os.get_inheritable(lock.fileno()) is False


def test_file_among_the_folders_is_left_alone(tmp_path: Path) -> None:
    folder = leave(tmp_path)
    (folder.parent / "note").write_text("what is this")
    with claimed(tmp_path) as state:
        assert state.path == folder
    assert (folder.parent / "note").exists()


def test_mount_that_changes_nothing_leaves_everything_to_others(tmp_path) -> None:
    path = leave(tmp_path, a=b"aaa")
    earlier = claim(tmp_path, ACCOUNT)
    key = Key(Kind.FILE, 1)
    earlier.journal.set_local(key, LocalAttributes(5, 0o600))
    for _ in ("while it lives", "once it is dead"):
        now = claim_nothing(tmp_path, ACCOUNT)
        assert now.journal.local.all() == {key: LocalAttributes(5, 0o600)}
        assert now.journal.uploads() == []
        now.close()
        assert not now.path.exists()
        earlier.close()
        earlier = claim(tmp_path, ACCOUNT)
        assert earlier.path == path
        assert [row.name for row in earlier.journal.uploads()] == ["a"]
    earlier.close()


def test_journal_that_cannot_be_read_hides_nothing_else(tmp_path) -> None:
    path = leave(tmp_path, a=b"aaa")
    (path / "journal.db").write_bytes(b"no database" * 100)
    now = claim_nothing(tmp_path, ACCOUNT)
    assert now.journal.local.all() == {}
    now.close()


def test_folder_of_a_moment_stays_for_the_next_mount_with_a_promise_in_it(tmp_path) -> None:
    now = claim_for_now(tmp_path, ACCOUNT)
    removal = Removal(Key(Kind.FILE, 1), "/f")
    now.journal.add_removal(removal)
    now.close()
    next_one = claim(tmp_path, ACCOUNT)
    assert (next_one.path, next_one.journal.removals()) == (now.path, [removal])
    next_one.close()


def test_transfer_takes_over_what_a_killed_one_replaced_and_nothing_of_a_mount(tmp_path) -> None:
    rename = Rename(Key(Kind.FILE, 2), "/m", "/f", Key(Kind.FILE, 1))
    killed, mounted = claim_for_now(tmp_path, ACCOUNT), claim_for_now(tmp_path, ACCOUNT)
    for left in (killed, mounted):
        left.is_for_now = False
        left.journal.renames.put(rename)
    mounted.journal.set_local(Key(Kind.FILE, 9), LocalAttributes(5))
    for left in (killed, mounted):
        left.close()
    now = claim_swaps(tmp_path, ACCOUNT)
    assert now.journal.renames.all() == [rename]
    assert (killed.path.exists(), mounted.path.exists()) == (False, True)
    now.close()
    assert now.path.exists()


def test_many_that_begin_and_end_at_once_do_not_meet(tmp_path) -> None:
    """The jobs of one node begin together, and each looks at the folders of all others."""
    failed: list[BaseException] = []

    def work(begin: Callable[[Path, Account], StateFolder]) -> None:
        try:
            for number in range(10):
                state = begin(tmp_path, ACCOUNT)
                state.journal.set_local(Key(Kind.FILE, number), LocalAttributes(number))
                state.close()
        except BaseException as error:
            failed.append(error)

    threads = [
        threading.Thread(target=work, args=(each,))
        for each in (claim, claim_for_now, claim_nothing, claim_swaps) * 3
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    (left,) = claim(tmp_path, ACCOUNT).path.parent.iterdir()
    assert left.is_dir()
