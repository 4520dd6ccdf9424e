"""What daemons have left: named, whosever it is; taken over from another host where somebody says so."""

from __future__ import annotations

import platform
import shutil
from pathlib import Path

import pytest

from orionfs import leftovers
from orionfs.cache.content import EXACT_SUFFIX, GAPS_SUFFIX
from orionfs.durable.journal import Removal, UploadRow, UploadStep
from orionfs.models import Account, Key, Kind
from orionfs.state import StateFolder, claim

ACCOUNT = Account("stack", "demo", 1, 1, "Demo")


pytestmark = pytest.mark.expect_log("what was being written .*is kept")


@pytest.fixture
def on_host(monkeypatch):
    """Be on a host from now on."""

    def be(name: str) -> None:
        monkeypatch.setattr(platform, "node", lambda: name)

    be("login1")
    return be


def fill(state: StateFolder, step: UploadStep = UploadStep.SEALED) -> None:
    """A version that was promised, an item to be removed, bytes of nobody's."""
    promised = state.staging / f"promised-{platform.node()}"
    promised.write_bytes(b"data")
    row = UploadRow(f"mark-{platform.node()}", "/f", "name", promised.name, 4, 1, step=step)
    with promised.open("rb") as stream:
        state.journal.seal(row, stream.fileno())
    state.journal.add_removal(Removal(Key(Kind.FILE, 3), "/f/gone"))
    (state.staging / "open").write_bytes(b"unsealed")
    (state.staging / f"patched{GAPS_SUFFIX}").write_bytes(b"patch")
    (state.staging / f"copy{EXACT_SUFFIX}").write_bytes(b"half a copy")
    (state.staging / "empty").touch()


def leave(state_dir: Path, account: Account = ACCOUNT) -> Path:
    """What a daemon that died has left; its folder."""
    state = claim(state_dir, account)
    fill(state)
    state.close()
    return state.path


def shape(path: Path) -> dict[str, bytes]:
    """All that is in a folder, without what the kernel or SQLite keep there while one looks."""
    names = (each for each in path.rglob("*") if each.is_file() and not each.name.startswith("journal.db-"))
    return {str(each.relative_to(path)): each.read_bytes() for each in names}


def test_what_a_dead_daemon_has_left_is_named_and_stays_as_it_is(tmp_path, on_host) -> None:
    path = leave(tmp_path)
    before = shape(path)
    (found,) = leftovers.find_leftovers(tmp_path)
    assert (found.path, found.host, found.stack, found.account) == (path, "login1", "stack", "demo")
    assert (found.is_own_host, found.is_locked, found.unfinished, found.is_empty) == (True, False, 2, False)
    assert {each.path.name: (each.size_bytes, each.has_gaps) for each in found.kept} == {
        "open": (8, False),
        f"patched{GAPS_SUFFIX}": (5, True),
    }
    assert shape(path) == before


def test_version_that_grew_after_it_was_promised_is_kept_as_well(tmp_path, on_host) -> None:
    path = leave(tmp_path)
    with (path / "staged" / "promised-login1").open("ab") as file:
        file.write(b"more")
    (found,) = leftovers.find_leftovers(tmp_path)
    assert "promised-login1" in {each.path.name for each in found.kept}


def test_what_was_set_aside_already_is_named_too(tmp_path, on_host) -> None:
    path = leave(tmp_path)
    state = claim(tmp_path, ACCOUNT)  # the next mount
    (mine,) = leftovers.find_leftovers(tmp_path)
    assert (mine.path, mine.is_locked, mine.unfinished) == (path, True, None)
    assert {each.path.parent.name for each in mine.kept} == {"kept"}
    assert leftovers.kept_files(path) == mine.kept
    state.close()


def test_litter_that_stays_here_is_no_change_that_waits(tmp_path, on_host) -> None:
    state = claim(tmp_path, ACCOUNT)
    fill(state, UploadStep.LOCAL)
    state.close()
    (found,) = leftovers.find_leftovers(tmp_path)
    assert found.unfinished == 1  # the removal


def test_what_holds_nothing_is_empty(tmp_path, on_host) -> None:
    claim(tmp_path, ACCOUNT).close()
    (found,) = leftovers.find_leftovers(tmp_path)
    assert found.is_empty
    assert leftovers.find_leftovers(tmp_path / "missing") == []


def test_folder_of_logs_and_facts_is_no_host(tmp_path, on_host) -> None:
    leave(tmp_path)
    for name in ("log", "stacks"):
        (tmp_path / name / "x" / "y" / "z").mkdir(parents=True)
    assert len(leftovers.find_leftovers(tmp_path)) == 1


def test_own_host_comes_first_and_others_are_named_without_their_digest(tmp_path, on_host) -> None:
    for host in ("a-node", "login1", "z-node"):
        on_host(host)
        leave(tmp_path)
    on_host("login1")
    found = leftovers.find_leftovers(tmp_path)
    assert [(each.host, each.is_own_host) for each in found] == [
        ("login1", True),
        ("a-node", False),
        ("z-node", False),
    ]


@pytest.mark.parametrize("name", ["login2.cluster.example", "login2.cluster.example-DIGEST"])
def test_host_is_found_by_its_name_or_by_that_of_its_folder(tmp_path, on_host, name) -> None:
    on_host("login2.cluster.example")
    folder = leave(tmp_path).parents[2]
    on_host("login1")
    asked = folder.name if name.endswith("DIGEST") else name
    assert leftovers.hosts_named(tmp_path, asked) == [folder]
    assert leftovers.hosts_named(tmp_path, "login2") == []


def test_adopted_folders_are_finished_by_the_next_mount_here(tmp_path, on_host) -> None:
    on_host("login2")
    paths = [leave(tmp_path), leave(tmp_path, Account("other stack", "ada", 2, 1, "Demo"))]
    on_host("login1")
    mine = leave(tmp_path)
    (host,) = leftovers.hosts_named(tmp_path, "login2")
    outcome = leftovers.take_over(tmp_path, host)
    assert sorted(each.path for each in outcome.taken) == sorted(paths)
    assert outcome.locked == ()
    assert not any(path.exists() for path in paths)
    assert all(each.is_own_host for each in leftovers.find_leftovers(tmp_path))
    state = claim(tmp_path, ACCOUNT)
    assert state.path.parent == mine.parent
    assert {row.staged for row in state.journal.uploads()} == {"promised-login1", "promised-login2"}
    assert {each.name for each in state.staging.iterdir()} == {"promised-login1", "promised-login2"}
    state.close()


def test_what_is_in_use_on_the_other_host_is_refused_whole(tmp_path, on_host) -> None:
    on_host("login2")
    leave(tmp_path)
    living = claim(tmp_path, ACCOUNT)
    fill(living)
    before = shape(living.path)
    on_host("login1")
    (host,) = leftovers.hosts_named(tmp_path, "login2")
    outcome = leftovers.take_over(tmp_path, host)
    assert (outcome.taken, [each.path for each in outcome.locked]) == ((), [living.path])
    assert shape(living.path) == before
    living.close()


def test_journal_that_can_not_be_read_hides_nothing_else(tmp_path, on_host) -> None:
    path = leave(tmp_path)
    for each in path.glob("journal.db*"):
        each.unlink()
    (path / "journal.db").write_bytes(b"no database at all" * 100)
    (found,) = leftovers.find_leftovers(tmp_path)
    assert found.unfinished == 0
    assert "promised-login1" in {each.path.name for each in found.kept}  # nothing says that it is one
    shutil.rmtree(path)
    assert leftovers.find_leftovers(tmp_path) == []
