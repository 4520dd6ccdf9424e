"""Folders: made, removed when empty, and lived in by shells."""

from __future__ import annotations

import errno
import os
import subprocess

import pytest

from tests.cli.processes import wait_for
from tests.mount.conftest import fresh_folder


def test_made_folder_is_on_orion(mounted, folder) -> None:
    with mounted.counting() as counted:
        (folder / "new").mkdir()
        assert (folder / "new").is_dir()
        assert os.listdir(folder / "new") == []
    assert counted.cost == ["create"]
    assert mounted.direct.row(mounted.orion_path(folder / "new"))["resource_type"] == "folder"


def test_folders_are_made_below_each_other(folder) -> None:
    subprocess.run(["mkdir", "-p", folder / "a" / "b" / "c"], check=True)
    assert (folder / "a" / "b" / "c").is_dir()


@pytest.mark.parametrize("is_folder", [True, False], ids=["folder", "file"])
def test_taken_name_can_not_be_made(folder, is_folder) -> None:
    if is_folder:
        (folder / "x").mkdir()
    else:
        (folder / "x").write_text("x")
    with pytest.raises(FileExistsError):
        (folder / "x").mkdir()


@pytest.mark.parametrize("is_folder", [True, False], ids=["folder", "file"])
def test_name_taken_elsewhere_can_not_be_made(mounted, folder, is_folder) -> None:
    there = mounted.orion_path(folder / "x")
    assert not (folder / "x").exists()
    if is_folder:
        mounted.direct.make_folder(there)
    else:
        mounted.direct.put(there, b"theirs")
    with pytest.raises(FileExistsError):
        (folder / "x").mkdir()
    assert (folder / "x").is_dir() == is_folder


def test_folder_whose_parent_is_gone_can_not_be_made(mounted, folder) -> None:
    (folder / "a").mkdir()
    mounted.direct.remove(mounted.orion_path(folder / "a"))
    with pytest.raises(FileNotFoundError):
        (folder / "a" / "b").mkdir()


def test_removed_folder_is_gone_on_orion(mounted, folder) -> None:
    (folder / "a").mkdir()
    (folder / "a").rmdir()
    assert os.listdir(folder) == []
    assert mounted.direct.find(mounted.orion_path(folder / "a")) is None
    (folder / "a").mkdir()
    assert os.listdir(folder) == ["a"]


def test_folder_with_something_in_it_stays(folder) -> None:
    (folder / "a").mkdir()
    (folder / "a" / "x").write_text("x")
    with pytest.raises(OSError, match=os.strerror(errno.ENOTEMPTY)):
        (folder / "a").rmdir()
    assert (folder / "a" / "x").read_text() == "x"


def test_folder_with_something_that_only_orion_knows_of_stays(mounted, folder) -> None:
    (folder / "a").mkdir()
    assert os.listdir(folder / "a") == []
    mounted.direct.put(mounted.orion_path(folder / "a" / "unseen"), b"theirs")
    with pytest.raises(OSError, match=os.strerror(errno.ENOTEMPTY)):
        (folder / "a").rmdir()
    assert mounted.direct.content(mounted.orion_path(folder / "a" / "unseen")) == b"theirs"


def test_folder_with_an_open_new_file_stays(folder) -> None:
    (folder / "a").mkdir()
    with (folder / "a" / "x").open("w") as file:
        file.write("x")
        with pytest.raises(OSError, match=os.strerror(errno.ENOTEMPTY)):
            (folder / "a").rmdir()
    assert (folder / "a" / "x").read_text() == "x"


def test_file_and_folder_are_removed_by_their_own_calls(folder) -> None:
    (folder / "file").write_text("x")
    (folder / "folder").mkdir()
    with pytest.raises(NotADirectoryError):
        (folder / "file").rmdir()
    with pytest.raises(IsADirectoryError):
        (folder / "folder").unlink()
    assert sorted(os.listdir(folder)) == ["file", "folder"]


def test_tree_is_removed_whole(mounted, folder) -> None:
    for path in ("a/b/c", "a/d"):
        (folder / path).mkdir(parents=True)
        (folder / path / "x").write_text("x")
    subprocess.run(["rm", "-r", folder], check=True)
    assert not folder.exists()
    assert mounted.direct.find(mounted.orion_path(folder)) is None


def test_shell_inside_a_folder_stays_where_it_is(impatient, request) -> None:
    """While others change what is around it, and its parents are renamed, it knows where it is."""
    folder = fresh_folder(impatient, request)
    (folder / "a" / "b").mkdir(parents=True)
    with subprocess.Popen(
        ["bash"], cwd=folder / "a" / "b", stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as shell:
        assert shell.stdin is not None
        output = shell.stdout
        assert output is not None

        def says(command: str) -> str:
            print(command, file=shell.stdin, flush=True)
            return output.readline().strip()

        assert says("/bin/pwd") == str(folder / "a" / "b")
        impatient.direct.put(impatient.orion_path(folder / "a" / "b" / "new"), b"x")
        wait_for(lambda: says("echo *") == "new")
        assert says("/bin/pwd") == str(folder / "a" / "b")
        (folder / "a").rename(folder / "moved")
        assert says("/bin/pwd") == str(folder / "moved" / "b")
        assert says("cat new; echo") == "x"
        assert says("echo hello > made; cat made") == "hello"
        shell.stdin.close()
    assert (folder / "moved" / "b" / "made").read_text() == "hello\n"


def test_shell_inside_a_removed_folder_gets_enoent(folder) -> None:
    (folder / "a").mkdir()
    command = ["python3", "-c", "import os, sys; os.rmdir(sys.argv[1]); os.getcwd()", folder / "a"]
    done = subprocess.run(command, cwd=folder / "a", capture_output=True, text=True, check=False)
    assert "FileNotFoundError" in done.stderr
    assert os.listdir(folder) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "new").write_text("x"),
        lambda folder: (folder / "new").mkdir(),
        lambda folder: (folder / "old").unlink(),
        lambda folder: (folder / "old").rename(folder / "older"),
        lambda folder: (folder / "empty").rmdir(),
    ],
    ids=["create", "mkdir", "unlink", "rename", "rmdir"],
)
def test_time_of_a_folder_moves_with_its_names(folder, change) -> None:
    (folder / "old").write_text("x")
    (folder / "empty").mkdir()
    before = folder.stat()
    change(folder)
    assert folder.stat().st_mtime_ns > before.st_mtime_ns
    assert folder.stat().st_ctime_ns > before.st_ctime_ns


def test_time_of_a_folder_stays_when_only_contents_change(folder) -> None:
    (folder / "x").write_text("x")
    before = folder.stat().st_mtime_ns
    (folder / "x").write_text("longer")
    os.listdir(folder)
    assert folder.stat().st_mtime_ns == before


def test_time_of_a_folder_moves_with_names_that_others_change(impatient, request) -> None:
    folder = fresh_folder(impatient, request)
    assert os.listdir(folder) == []
    before = folder.stat().st_mtime_ns
    impatient.direct.put(impatient.orion_path(folder / "new"), b"x")
    wait_for(lambda: os.listdir(folder) == ["new"])
    wait_for(lambda: folder.stat().st_mtime_ns > before)
    assert folder.is_dir()


def test_module_written_into_a_folder_is_imported_by_a_running_interpreter(folder) -> None:
    program = """
import importlib, pathlib, sys
sys.path.insert(0, sys.argv[1])
sys.dont_write_bytecode = True
try:
    import fresh_module
except ImportError:
    pass
pathlib.Path(sys.argv[1], "fresh_module.py").write_text("answer = 42")
import fresh_module
print(fresh_module.answer)
"""
    done = subprocess.run(["python3", "-c", program, folder], capture_output=True, text=True, check=False)
    assert done.stdout == "42\n", done.stderr


def test_fresh_folders_are_moved_and_removed_although_reads_lag(make_stand) -> None:
    stand = make_stand(read_lag_s="1.5")
    (stand.mine / "a").mkdir()
    (stand.mine / "a").rmdir()
    (stand.mine / "b").mkdir()
    (stand.mine / "b").rename(stand.mine / "c")
    assert os.listdir(stand.mine / "c") == []
    subprocess.run(["mkdir", "-p", stand.mine / "d" / "e" / "f"], check=True)
    (stand.mine / "d" / "e" / "x").write_text("x")
    subprocess.run(["rm", "-r", stand.mine / "d"], check=True)
    assert os.listdir(stand.mine) == ["c"]
    wait_for(lambda: stand.direct.names(stand.direct.home) == ["c"])
