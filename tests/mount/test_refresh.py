"""What another machine changes, on a real mount: told to the kernel, at once after `orionfs refresh`."""

from __future__ import annotations

import mmap
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.cli.processes import wait_for
from tests.mount.stand import Stand


@pytest.fixture
def others(mounted: Stand, cold: Path):
    """A folder that the mount has not looked into, and a function that saves there from another machine."""
    folder = cold

    def save(name: str, content: bytes) -> Path:
        path = mounted.orion_path(folder / name)
        change = mounted.direct.replace if mounted.direct.find(path) else mounted.direct.put
        change(path, content)
        return folder / name

    return folder, save


def refresh(stand: Stand, path: Path) -> str:
    """`orionfs refresh PATH`: what it prints."""
    done = stand.run("refresh", path)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


def test_foreign_version_is_read_at_once_after_a_refresh_and_open_files_keep_theirs(mounted, others) -> None:
    folder, save = others
    old, new = b"old " * 50_000, b"new and longer " * 50_000
    path = save("x", old)
    os.listdir(folder)
    with path.open("rb") as held, path.open("rb") as mapped:
        view = mmap.mmap(mapped.fileno(), 0, prot=mmap.PROT_READ)
        assert held.read(10) == old[:10]
        number = path.stat().st_ino
        save("x", new)
        assert path.stat().st_ino == number, "the kernel's own answer"
        said = refresh(mounted, folder)
        assert "1 changed" in said
        assert path.stat().st_ino != number
        assert path.stat().st_size == len(new)
        assert path.read_bytes() == new
        assert held.read() == old[10:]
        assert os.fstat(held.fileno()).st_size == len(old)
        assert view[:] == old
        view.close()


def test_new_and_removed_names_are_there_at_once_after_a_refresh(mounted, others) -> None:
    folder, save = others
    gone = save("gone", b"x")
    save("kept", b"x")
    os.listdir(folder)
    assert not (folder / "new").exists()
    save("new", b"new")
    mounted.direct.remove(mounted.orion_path(gone))
    before = folder.stat().st_mtime_ns
    assert "1 new, 1 gone" in refresh(mounted, folder / "new")
    assert (folder / "new").read_bytes() == b"new"
    assert not gone.exists()
    assert sorted(os.listdir(folder)) == ["kept", "new"]
    assert folder.stat().st_mtime_ns > before


def test_shell_inside_a_living_folder_stays_where_it_is(mounted, others) -> None:
    folder, save = others
    mounted.direct.make_folder(mounted.orion_path(folder / "sub"))
    shell = subprocess.Popen(
        ["sh", "-c", "read line; /bin/pwd; ls"],
        cwd=folder / "sub",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    save("sub/new", b"x")
    refresh(mounted, folder)
    assert shell.communicate("go\n")[0].split() == [str(folder / "sub"), "new"]


def test_tree_removed_elsewhere_is_gone_after_a_refresh_of_it(mounted, others) -> None:
    folder, _ = others
    for path in ("sub", "sub/deep"):
        mounted.direct.make_folder(mounted.orion_path(folder / path))
    for path in ("sub/deep", "sub"):
        os.listdir(folder / path)
        mounted.direct.remove(mounted.orion_path(folder / path))
    refresh(mounted, folder / "sub" / "deep")
    refresh(mounted, folder / "sub")
    assert os.listdir(folder) == []
    assert not (folder / "sub").exists()


def test_refresh_from_inside_the_mount_needs_no_path(mounted, others) -> None:
    folder, save = others
    os.listdir(folder)
    save("new", b"x")
    done = mounted.run("refresh", cwd=folder)
    assert (done.returncode, done.stdout) == (0, f"{folder}: 2 folders asked again: 1 new\n"), done


@pytest.mark.expect_log("offline:")
def test_refresh_offline_says_so_and_takes_nothing_away(make_stand) -> None:
    stand = make_stand()
    (stand.mine / "x").write_bytes(b"x")
    assert os.listdir(stand.mine) == ["x"]
    stand.server.kill()
    done = stand.run("refresh", stand.point)
    assert (done.returncode, done.stderr.count("\n")) == (5, 1), done
    assert "can't be reached" in done.stderr
    assert (stand.mine / "x").read_bytes() == b"x"
    stand.server.start()


def test_signal_asks_for_everything_again(mounted, others) -> None:
    folder, save = others
    os.listdir(folder)
    assert not (folder / "new").exists()
    save("new", b"x")
    os.kill(mounted.pid(), signal.SIGHUP)
    wait_for((folder / "new").exists)


def test_folder_in_use_follows_other_machines_by_itself(make_stand) -> None:
    stand = make_stand(options=["refresh_folders=16", "metadata_ttl_s=2"])
    for path in ("f", "f/sub"):
        (stand.mine / path).mkdir()
    folder = stand.mine / "f"
    stand.direct.put(stand.orion_path(folder / "x"), b"old")
    wait_for((folder / "x").exists)
    stand.direct.replace(stand.orion_path(folder / "x"), b"new version")
    wait_for(lambda: (folder / "x").read_bytes() == b"new version")
