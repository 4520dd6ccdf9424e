"""rename(2): one name for another, atomically, with contents, tags and open files going along."""

from __future__ import annotations

import errno
import os
import subprocess

import pytest

from tests.mount.posix import RENAME_EXCHANGE, RENAME_NOREPLACE, RENAME_WHITEOUT, renameat2

pytestmark = pytest.mark.own_first


def tree(folder):
    """Path -> content (None: a folder) of all that is below."""
    return {
        str(path.relative_to(folder)): None if path.is_dir() else path.read_text()
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture
def names_there(mounted):
    """The names that Orion has in a local folder now."""
    return lambda folder: mounted.direct.names(mounted.orion_path(folder))


def test_file_gets_another_name(mounted, folder, names_there) -> None:
    (folder / "a").write_text("content")
    number = (folder / "a").stat().st_ino
    with mounted.counting() as counted:
        (folder / "a").rename(folder / "b")
    assert counted.cost == ["assign"]
    assert tree(folder) == {"b": "content"}
    assert (folder / "b").stat().st_ino == number
    assert names_there(folder) == ["b"]


def test_file_gets_another_folder(folder, names_there) -> None:
    (folder / "one").mkdir()
    (folder / "two").mkdir()
    (folder / "one" / "a").write_text("content")
    (folder / "one" / "a").rename(folder / "two" / "b")
    assert tree(folder) == {"one": None, "two": None, "two/b": "content"}
    assert names_there(folder / "two") == ["b"]
    assert names_there(folder / "one") == []


def test_file_takes_the_place_of_another(folder, names_there) -> None:
    (folder / "a").write_text("new")
    (folder / "b").write_text("old")
    with (folder / "b").open() as old:
        (folder / "a").rename(folder / "b")
        assert old.read() == "old"
    assert tree(folder) == {"b": "new"}
    assert names_there(folder) == ["b"]


def test_file_takes_the_place_of_one_it_has_never_read(mounted, cold, names_there) -> None:
    mounted.direct.put(mounted.orion_path(cold / "a"), b"new")
    mounted.direct.put(mounted.orion_path(cold / "b"), b"old")
    (cold / "a").rename(cold / "b")
    assert tree(cold) == {"b": "new"}
    assert names_there(cold) == ["b"]


def test_rename_without_replacing_refuses_what_is_there(folder) -> None:
    (folder / "a").write_text("a")
    (folder / "b").write_text("b")
    with pytest.raises(FileExistsError):
        renameat2(folder / "a", folder / "b", RENAME_NOREPLACE)
    assert tree(folder) == {"a": "a", "b": "b"}
    renameat2(folder / "a", folder / "c", RENAME_NOREPLACE)
    assert tree(folder) == {"b": "b", "c": "a"}


def test_rename_without_replacing_refuses_what_is_unseen(mounted, cold) -> None:
    for name in ("a", "b"):
        mounted.direct.put(mounted.orion_path(cold / name), name.encode())
    with pytest.raises(FileExistsError):
        renameat2(cold / "a", cold / "b", RENAME_NOREPLACE)
    assert tree(cold) == {"a": "a", "b": "b"}


@pytest.mark.parametrize("flags", [RENAME_EXCHANGE, RENAME_WHITEOUT], ids=["exchange", "whiteout"])
def test_rename_of_other_kinds_is_einval(folder, flags) -> None:
    (folder / "a").write_text("a")
    (folder / "b").write_text("b")
    with pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
        renameat2(folder / "a", folder / "b", flags)
    assert tree(folder) == {"a": "a", "b": "b"}


def test_rename_to_itself_changes_nothing(mounted, folder) -> None:
    (folder / "a").write_text("a")
    with mounted.counting() as counted:
        (folder / "a").rename(folder / "a")
        (folder / "a").rename(folder / "." / "a")
    assert counted.rows == []
    assert tree(folder) == {"a": "a"}


def test_folder_gets_another_name_with_all_that_is_in_it(mounted, folder, names_there) -> None:
    (folder / "old" / "deep").mkdir(parents=True)
    (folder / "old" / "x").write_text("x")
    (folder / "old" / "deep" / "y").write_text("y")
    with mounted.counting() as counted:
        (folder / "old").rename(folder / "new")
    assert 1 <= len(counted.cost) <= 3, counted
    assert tree(folder) == {"new": None, "new/x": "x", "new/deep": None, "new/deep/y": "y"}
    assert names_there(folder / "new") == ["deep", "x"]
    (folder / "new" / "deep" / "z").write_text("z")
    assert names_there(folder / "new" / "deep") == ["y", "z"]
    assert not (folder / "old").exists()


def test_folder_moves_into_another(mounted, folder) -> None:
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "a" / "b" / "x").write_text("x")
    (folder / "c").mkdir()
    (folder / "a" / "b").rename(folder / "c" / "d")
    wanted = {"a": None, "c": None, "c/d": None, "c/d/x": "x"}
    assert tree(folder) == wanted
    mounted.remount()
    assert tree(folder) == wanted


def test_name_left_by_a_folder_can_be_taken_again(folder) -> None:
    (folder / "a").mkdir()
    (folder / "a" / "x").write_text("first")
    (folder / "a").rename(folder / "b")
    (folder / "a").mkdir()
    (folder / "a" / "x").write_text("second")
    assert tree(folder) == {"a": None, "a/x": "second", "b": None, "b/x": "first"}
    assert (folder / "a").stat().st_ino != (folder / "b").stat().st_ino


def test_folder_can_not_move_into_itself(folder) -> None:
    (folder / "a" / "b").mkdir(parents=True)
    for target in (folder / "a" / "a", folder / "a" / "b" / "c"):
        with pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
            (folder / "a").rename(target)
    assert tree(folder) == {"a": None, "a/b": None}


def test_folder_can_not_replace_one_that_holds_something(mounted, folder) -> None:
    (folder / "a").mkdir()
    (folder / "b").mkdir()
    mounted.direct.put(mounted.orion_path(folder / "b" / "unseen"), b"x")
    with pytest.raises(OSError, match=os.strerror(errno.ENOTEMPTY)):
        (folder / "a").rename(folder / "b")
    assert (folder / "b" / "unseen").read_text() == "x"
    assert (folder / "a").is_dir()


def test_folder_replaces_an_empty_one(folder, names_there) -> None:
    (folder / "a").mkdir()
    (folder / "a" / "x").write_text("x")
    (folder / "b").mkdir()
    (folder / "a").rename(folder / "b")
    assert tree(folder) == {"b": None, "b/x": "x"}
    assert names_there(folder) == ["b"]


def test_file_and_folder_do_not_replace_each_other(folder) -> None:
    (folder / "file").write_text("x")
    (folder / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        (folder / "file").rename(folder / "folder")
    with pytest.raises(NotADirectoryError):
        (folder / "folder").rename(folder / "file")
    assert tree(folder) == {"file": "x", "folder": None}


def test_absent_source_or_parent_is_enoent(folder) -> None:
    (folder / "a").write_text("a")
    with pytest.raises(FileNotFoundError):
        (folder / "absent").rename(folder / "b")
    with pytest.raises(FileNotFoundError):
        (folder / "a").rename(folder / "absent" / "b")
    assert tree(folder) == {"a": "a"}


def test_file_moves_to_team_data_and_back(mounted, folder) -> None:
    place = mounted.team / f"{folder.name}-moved"
    (folder / "a").write_text("ours")
    start = len(mounted.log)
    (folder / "a").rename(place)
    assert mounted.direct.content(mounted.orion_path(place)) == b"ours"
    (line,) = [line for line in mounted.log[start:].splitlines() if "moved" in line]
    assert mounted.orion_path(folder / "a") in line
    assert mounted.orion_path(place) in line
    place.rename(folder / "b")
    assert tree(folder) == {"b": "ours"}
    assert not place.exists()


def test_folder_moves_to_team_data_and_back(mounted, folder) -> None:
    place = mounted.team / f"{folder.name}-moved"
    (folder / "a").mkdir()
    (folder / "a" / "x").write_text("ours")
    (folder / "a").rename(place)
    assert mounted.direct.content(mounted.orion_path(place / "x")) == b"ours"
    assert tree(place) == {"x": "ours"}
    place.rename(folder / "b")
    assert tree(folder) == {"b": None, "b/x": "ours"}


def test_tags_follow_the_file(mounted, folder) -> None:
    (folder / "a").write_text("x")
    os.setxattr(folder / "a", "user.orion.tag.lead", b"")
    (folder / "a").rename(folder / "b")
    assert os.getxattr(folder / "b", "user.orion.tags") == b"lead"
    assert mounted.direct.tags(mounted.orion_path(folder / "b")) == ["lead"]


def test_tags_of_the_replaced_file_stay_with_the_name(mounted, folder) -> None:
    (folder / "b").write_text("old")
    os.setxattr(folder / "b", "user.orion.tags", b"lead\nseen")
    (folder / "b.tmp").write_text("new")
    (folder / "b.tmp").rename(folder / "b")
    assert os.getxattr(folder / "b", "user.orion.tags") == b"lead\nseen"
    assert mounted.direct.tags(mounted.orion_path(folder / "b")) == ["lead", "seen"]


def test_tags_of_the_source_win_over_those_of_the_replaced(mounted, folder) -> None:
    for name, tag in (("a", b"mine"), ("b", b"theirs")):
        (folder / name).write_text(name)
        os.setxattr(folder / name, "user.orion.tags", tag)
    (folder / "a").rename(folder / "b")
    assert mounted.direct.tags(mounted.orion_path(folder / "b")) == ["mine"]


def test_times_and_mode_follow_the_file(mounted, folder) -> None:
    (folder / "a").write_text("x")
    (folder / "a").chmod(0o600)
    os.utime(folder / "a", ns=(10**18, 10**18))
    (folder / "a").rename(folder / "b")
    assert ((folder / "b").stat().st_mode & 0o777, (folder / "b").stat().st_mtime_ns) == (0o600, 10**18)
    mounted.remount()
    assert ((folder / "b").stat().st_mode & 0o777, (folder / "b").stat().st_mtime_ns) == (0o600, 10**18)


def test_file_renamed_while_it_is_written_arrives_under_its_new_name(folder, names_there) -> None:
    with (folder / "a").open("w") as file:
        file.write("begun, ")
        file.flush()
        (folder / "a").rename(folder / "b")
        file.write("ended")
    assert tree(folder) == {"b": "begun, ended"}
    assert names_there(folder) == ["b"]


def test_open_file_whose_folder_is_renamed_arrives_there(folder, names_there) -> None:
    (folder / "old").mkdir()
    with (folder / "old" / "a").open("w") as file:
        file.write("content")
        (folder / "old").rename(folder / "new")
    assert tree(folder) == {"new": None, "new/a": "content"}
    assert names_there(folder / "new") == ["a"]


def test_new_file_that_is_open_does_not_lose_what_it_replaces(folder, names_there) -> None:
    (folder / "target").write_text("old")
    with (folder / "new").open("w") as file:
        file.write("new")
        file.flush()
        (folder / "new").rename(folder / "target")
        assert names_there(folder) == ["target"]
    assert tree(folder) == {"target": "new"}
    assert names_there(folder) == ["target"]


def test_save_by_rename_over_and_over_leaves_one_item(folder, names_there) -> None:
    for number in range(10):
        (folder / ".x.tmp").write_text(f"version {number}")
        (folder / ".x.tmp").rename(folder / "x")
    assert tree(folder) == {"x": "version 9"}
    assert names_there(folder) == ["x"]


def test_two_files_swap_by_three_renames(folder) -> None:
    (folder / "a").write_text("a")
    (folder / "b").write_text("b")
    (folder / "a").rename(folder / "c")
    (folder / "b").rename(folder / "a")
    (folder / "c").rename(folder / "b")
    assert tree(folder) == {"a": "b", "b": "a"}


def test_mv_of_many_into_a_folder(folder) -> None:
    (folder / "into").mkdir()
    paths = [folder / f"{number}" for number in range(30)]
    for path in paths:
        path.write_text(path.name)
    subprocess.run(["mv", *paths, folder / "into"], check=True)
    assert tree(folder) == {"into": None} | {f"into/{path.name}": path.name for path in paths}


def test_rename_and_mv_work_on_a_stack_that_refuses_duplicates_and_moved_folders(make_stand, client) -> None:
    stand = make_stand(client, duplicate_names="refused", folders_assignable="no")
    (stand.mine / "b").write_text("old")
    (stand.mine / "b").write_text("written again")
    (stand.mine / "a").write_text("new")
    (stand.mine / "a").rename(stand.mine / "b")
    assert tree(stand.mine) == {"b": "new"}
    assert stand.direct.names(stand.direct.home) == ["b"]
    (stand.mine / "old" / "deep").mkdir(parents=True)
    (stand.mine / "old" / "deep" / "x").write_text("x")
    with stand.counting() as counted:
        (stand.mine / "old").rename(stand.mine / "moved")
        assert tree(stand.mine) == {"b": "new", "moved": None, "moved/deep": None, "moved/deep/x": "x"}
    changes = [word for word in counted.cost if word not in ("ls", "stat")]
    assert changes == ["create", "create", "assign", "remove", "remove"]
    assert [path for path, _ in stand.direct.tree(stand.direct.home)] == [
        "b",
        "moved",
        "moved/deep",
        "moved/deep/x",
    ]
    (stand.mine / "b").rename(stand.mine / "moved" / "b")
    assert tree(stand.mine) == {"moved": None, "moved/deep": None, "moved/deep/x": "x", "moved/b": "new"}
