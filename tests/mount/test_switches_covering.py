"""The main scenario on stacks of every kind: each pair of habits meets in some row.

The first rows, in which most pairs meet, are run each time, all of them with --long.
Half of the rows are mounted as a probed stack, half as one that nobody knows anything of. What is left
on Orion is looked at with the server's usual habits, on the same data.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.cli.processes import wait_for
from tests.covering import Row, covering_rows
from tests.mount.conftest import IMPATIENT
from tests.mount.stand import Client, Stand

ROWS = covering_rows()
QUICK_ROWS = 2
PAIRS = [
    pytest.param(
        row,
        list(Client)[number % 2],
        number // 2 % 2 == 0,
        id=f"{number}",
        marks=[] if number < QUICK_ROWS else [pytest.mark.long],
    )
    for number, row in enumerate(ROWS)
]
CONTENTS = {
    "in/one.txt": b"one\n",
    "in/a/two.bin": bytes(range(256)) * 500,
    "in/a/b/three four.txt": b"three\n" * 10,
    "in/a/b/5~x.tar.gz": b"five",
}

pytestmark = [
    pytest.mark.expect_log("this stack takes no empty files"),
    pytest.mark.timeout(180),
]


@pytest.mark.parametrize(("row", "client", "is_probed"), PAIRS)
def test_main_scenario_on_a_stack_of_any_habits(make_stand, tmp_path, row, client, is_probed) -> None:
    run_scenario(make_stand, tmp_path, row, client, is_probed=is_probed)


@pytest.mark.long
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("client", list(Client), ids=lambda client: client.name.lower())
def test_main_scenario_where_any_three_habits_meet(make_stand, tmp_path, client) -> None:
    for number, row in enumerate(covering_rows(3)):
        folder = tmp_path / str(number)
        folder.mkdir()
        run_scenario(make_stand, folder, row, client, is_probed=number % 2 == 0)


def run_scenario(
    make_stand: Callable[..., Stand], tmp_path: Path, row: Row, client: Client, *, is_probed: bool
) -> None:
    """What a user does in a day, and then nothing is left of it."""
    # Where replicas lag nothing is news within a moment, and a busy machine would list all the time.
    options = IMPATIENT if row["read_lag_s"] == "0.0" else ["metadata_ttl_s=1", "absence_ttl_s=1"]
    stand = make_stand(client, options=options, is_probed=is_probed, **row)
    kept = dict(CONTENTS)
    write_tree(tmp_path, kept)
    run("cp", "-r", tmp_path / "in", stand.mine / "in")
    assert read_tree(stand.mine) == kept
    save_again(stand.mine, kept)
    rename(stand.mine, kept)
    tag(stand, row)
    keep_open(stand.mine)
    make_what_is_refused(stand.mine, row)
    share_a_name(stand, row, kept)
    look_afresh(stand, row, kept)
    run("rm", "-r", *stand.mine.iterdir())
    assert os.listdir(stand.mine) == []
    stand.umount()
    stand.server.start_with()
    assert stand.direct.tree(stand.direct.home) == []


def save_again(mine: Path, kept: dict[str, bytes]) -> None:
    """Overwrite, append, save as an editor does."""
    (mine / "in" / "one.txt").write_bytes(b"one again\n")
    with (mine / "in" / "a" / "two.bin").open("ab") as file:
        file.write(b"more")
    (mine / "in" / ".one.txt.new").write_bytes(b"one by rename\n")
    (mine / "in" / ".one.txt.new").rename(mine / "in" / "one.txt")
    kept["in/one.txt"] = b"one by rename\n"
    kept["in/a/two.bin"] += b"more"
    assert read_tree(mine) == kept


def rename(mine: Path, kept: dict[str, bytes]) -> None:
    """Files and folders, whether this stack can move folders or not."""
    (mine / "in" / "a" / "b" / "5~x.tar.gz").rename(mine / "in" / "five.tar.gz")
    (mine / "made").mkdir()
    (mine / "in" / "a").rename(mine / "made" / "moved")
    kept["in/five.tar.gz"] = kept.pop("in/a/b/5~x.tar.gz")
    for path in [path for path in kept if path.startswith("in/a/")]:
        kept[path.replace("in/a/", "made/moved/")] = kept.pop(path)
    assert read_tree(mine) == kept


def tag(stand: Stand, row: Row) -> None:
    """Files carry tags everywhere; folders where they have ids, and a session has a type for them."""
    path, folder = stand.mine / "in" / "one.txt", stand.mine / "made"
    os.setxattr(path, "user.orion.tag.lead 1", b"")
    assert os.getxattr(path, "user.orion.tags") == b"lead 1"
    assert os.listxattr(path) == ["user.orion.tags"]
    os.removexattr(path, "user.orion.tag.lead 1")
    assert os.listxattr(path) == os.listxattr(folder) == []
    can_be_tagged = row["folder_ids"] == "yes" and stand.client is Client.OWN
    tagging = partial(os.setxattr, folder, "user.orion.tag.x", b"")
    assert errno_of(tagging) == (0 if can_be_tagged else errno.ENOTSUP)


def keep_open(mine: Path) -> None:
    """An open file outlives its name."""
    path = mine / "short-lived"
    path.write_bytes(b"still here")
    with path.open("rb") as file:
        path.unlink()
        assert file.read() == b"still here"
    assert not path.exists()


def make_what_is_refused(mine: Path, row: Row) -> None:
    """Errors say what is the case."""
    with pytest.raises(FileExistsError):
        (mine / "made").mkdir()
    assert errno_of((mine / "made").rmdir) == errno.ENOTEMPTY
    empty = os.open(mine / "empty", os.O_WRONLY | os.O_CREAT)
    assert errno_of(partial(os.close, empty)) == (errno.EINVAL if row["empty_files"] == "refused" else 0)
    assert (mine / "empty").read_bytes() == b""
    (mine / "empty").unlink()


def share_a_name(stand: Stand, row: Row, kept: dict[str, bytes]) -> None:
    """Somebody else makes an item of a name that is taken: both stay, and can be told apart."""
    if row["duplicate_names"] == "refused":
        return
    folder = stand.mine / "in"
    item = stand.direct.put(stand.orion_path(folder / "one.txt"), b"another one\n")
    other = folder / f"one~file-{item}.txt"
    names = ["five.tar.gz", "one.txt", other.name]
    wait_for(lambda: sorted(os.listdir(folder)) == names or len(os.listdir(folder)) == 3)
    found = {path.read_bytes() for path in folder.iterdir() if path.name.startswith("one")}
    assert found == {b"another one\n", kept["in/one.txt"]}
    for path in folder.iterdir():
        if path.name.startswith("one") and path.read_bytes() == b"another one\n":
            path.unlink()
    wait_for(lambda: read_tree(stand.mine) == kept)


def look_afresh(stand: Stand, row: Row, kept: dict[str, bytes]) -> None:
    """Another mount, with nothing in its caches, finds all of it."""
    stand.umount()
    shutil.rmtree(stand.home / "cache" / "orionfs")
    stand.direct.put(f"{stand.direct.home}/since", b"since")
    kept["since"] = b"since"
    stand.mount()
    # A replica that lags shows this mount what the one before has done, also what it has made and removed
    # since: what shows the last of it is through with all of it.
    wait_for(lambda: read_tree(stand.mine) == kept)
    wait_for(lambda: "a" not in os.listdir(stand.mine / "in"))
    assert (stand.mine / "in" / "one.txt").stat().st_size == len(kept["in/one.txt"])
    # Written on this machine: the time of that is kept here, whatever Orion tells.
    assert (stand.mine / "in" / "one.txt").stat().st_mtime > 10**9


def errno_of(call: Callable[[], object]) -> int:
    """The errno that a call fails with, 0 if it does not."""
    try:
        call()
    except OSError as error:
        return error.errno or -1
    return 0


def write_tree(top: Path, contents: dict[str, bytes]) -> None:
    for path, data in contents.items():
        (top / path).parent.mkdir(parents=True, exist_ok=True)
        (top / path).write_bytes(data)


def read_tree(top: Path) -> dict[str, bytes]:
    """Path -> contents of all files below."""
    found: dict[str, bytes] = {}
    try:
        for path in top.rglob("*"):
            if path.is_file():
                found[str(path.relative_to(top))] = path.read_bytes()
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ESTALE):  # a replica that lags shows what has gone
            raise
    return found


def run(*command: str | Path) -> None:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done
