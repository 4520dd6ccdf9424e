"""What a name means: at once for what was done here, within the time of belief for what others did."""

from __future__ import annotations

import errno
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.cli.processes import wait_for
from tests.mount.conftest import fresh_folder

pytestmark = pytest.mark.own_first


@pytest.fixture
def shared(impatient, request):
    """A folder that other machines work in too."""
    return fresh_folder(impatient, request)


@pytest.fixture
def there(impatient, shared):
    """The folder's path on Orion."""
    return impatient.orion_path(shared)


def test_absent_name_is_enoent(folder) -> None:
    with pytest.raises(FileNotFoundError):
        (folder / "absent").stat()
    with pytest.raises(FileNotFoundError):
        (folder / "absent" / "below").stat()
    with pytest.raises(FileNotFoundError):
        (folder / "absent").unlink()
    with pytest.raises(FileNotFoundError):
        (folder / "absent").rmdir()


def test_name_below_a_file_is_enotdir(folder) -> None:
    (folder / "file").write_text("x")
    with pytest.raises(NotADirectoryError):
        (folder / "file" / "below").stat()
    with pytest.raises(NotADirectoryError):
        os.listdir(folder / "file")


def test_what_was_absent_is_there_once_it_is_made(folder) -> None:
    assert not (folder / "x").exists()
    (folder / "x").write_text("x")
    assert (folder / "x").read_text() == "x"
    (folder / "x").unlink()
    assert not (folder / "x").exists()
    (folder / "x").mkdir()
    assert (folder / "x").is_dir()


def test_top_shows_what_the_account_may_list(mounted) -> None:
    assert sorted(os.listdir(mounted.point)) == ["my-data", "organization", "team-data"]


def test_top_can_not_be_changed(mounted) -> None:
    for attempt in (
        lambda: (mounted.point / "new").mkdir(),
        lambda: (mounted.point / "new").write_text("x"),
        lambda: mounted.mine.rmdir(),
        lambda: mounted.mine.rename(mounted.point / "other"),
        lambda: mounted.team.rename(mounted.mine / "team"),
    ):
        with pytest.raises(OSError, match=r".") as refused:
            attempt()
        assert refused.value.errno in (errno.EPERM, errno.EXDEV), refused.value
    assert sorted(os.listdir(mounted.point)) == ["my-data", "organization", "team-data"]


def test_tops_are_the_folders_of_the_project(mounted, folder) -> None:
    (folder / "x").write_text("mine")
    assert mounted.direct.content(f"{mounted.direct.home}/{folder.name}/x") == b"mine"
    (mounted.team / f"{folder.name}.txt").write_text("ours")
    assert mounted.direct.content(f"{mounted.direct.team}/{folder.name}.txt") == b"ours"


def test_first_name_of_a_folder_is_asked_for_by_itself_the_second_lists(mounted, cold) -> None:
    for name in ("a", "b", "c"):
        mounted.direct.put(mounted.orion_path(cold / name), b"x")
    assert cold.is_dir()
    with mounted.counting() as counted:
        assert (cold / "a").exists()
    assert counted.cost == ["stat"]
    with mounted.counting() as counted:
        assert (cold / "b").exists()
        assert (cold / "c").exists()
        assert not (cold / "d").exists()
    assert counted.cost == ["ls"]


def test_many_who_ask_for_one_name_ask_once(mounted, cold) -> None:
    mounted.direct.put(mounted.orion_path(cold / "one"), b"x")
    assert cold.is_dir()
    with mounted.counting() as counted, ThreadPoolExecutor(8) as pool:
        sizes = list(pool.map(lambda _: (cold / "one").stat().st_size, range(8)))
    assert sizes == [1] * 8
    assert counted.cost == ["stat"]


def test_file_made_elsewhere_appears(impatient, shared, there) -> None:
    assert os.listdir(shared) == []
    impatient.direct.put(f"{there}/new", b"from elsewhere")
    wait_for(lambda: (shared / "new").exists())
    assert (shared / "new").read_bytes() == b"from elsewhere"


def test_file_removed_elsewhere_disappears(impatient, shared, there) -> None:
    impatient.direct.put(f"{there}/old", b"x")
    wait_for(lambda: os.listdir(shared) == ["old"])
    impatient.direct.remove(f"{there}/old")
    wait_for(lambda: not (shared / "old").exists())
    assert os.listdir(shared) == []


def test_file_replaced_elsewhere_is_another_inode(impatient, shared, there) -> None:
    impatient.direct.put(f"{there}/x", b"first")
    wait_for((shared / "x").exists)
    before = (shared / "x").stat()
    impatient.direct.replace(f"{there}/x", b"the second")
    wait_for(lambda: (shared / "x").stat().st_size == 10)
    assert (shared / "x").stat().st_ino != before.st_ino
    assert (shared / "x").read_bytes() == b"the second"


def test_file_moved_elsewhere_is_found_at_its_new_place(impatient, shared, there) -> None:
    (shared / "folder").mkdir()
    impatient.direct.put(f"{there}/x", b"content")
    wait_for((shared / "x").exists)
    impatient.direct.move(f"{there}/x", f"{there}/folder/y")
    wait_for(lambda: (shared / "folder" / "y").exists() and not (shared / "x").exists())
    assert (shared / "folder" / "y").read_bytes() == b"content"


def test_folder_removed_elsewhere_disappears(impatient, shared, there) -> None:
    impatient.direct.make_folder(f"{there}/folder")
    wait_for(lambda: (shared / "folder").is_dir())
    impatient.direct.remove(f"{there}/folder")
    wait_for(lambda: not (shared / "folder").exists())
    assert os.listdir(shared) == []


def test_file_that_becomes_a_folder_elsewhere_is_one(impatient, shared, there) -> None:
    impatient.direct.put(f"{there}/x", b"file")
    wait_for(lambda: (shared / "x").is_file())
    impatient.direct.remove(f"{there}/x")
    impatient.direct.make_folder(f"{there}/x")
    impatient.direct.put(f"{there}/x/below", b"deep")
    wait_for(lambda: (shared / "x").is_dir())
    assert (shared / "x" / "below").read_bytes() == b"deep"


def test_equal_names_are_told_apart_and_all_reachable(impatient, shared, there) -> None:
    old = impatient.direct.put(f"{there}/hits.txt", b"old")
    new = impatient.direct.put(f"{there}/hits.txt", b"newer")
    assert new != old
    other = f"hits~file-{old}.txt"
    wait_for(lambda: sorted(os.listdir(shared)) == ["hits.txt", other])
    assert (shared / "hits.txt").read_bytes() == b"newer"
    assert (shared / other).read_bytes() == b"old"
    assert os.getxattr(shared / other, "user.orion.name") == b"hits.txt"
    (shared / other).unlink()
    assert os.listdir(shared) == ["hits.txt"]
    assert impatient.direct.content(f"{there}/hits.txt") == b"newer"


def test_name_of_a_second_item_resolves_without_a_listing(impatient, shared, there) -> None:
    old = impatient.direct.put(f"{there}/hits.txt", b"old")
    impatient.direct.put(f"{there}/hits.txt", b"newer")
    second = shared / f"hits~file-{old}.txt"
    wait_for(second.exists)
    assert second.read_bytes() == b"old"


def test_item_named_like_a_folder_stays_reachable(impatient, shared, there) -> None:
    impatient.direct.make_folder(f"{there}/both")
    item = impatient.direct.put(f"{there}/both", b"item")
    wait_for(lambda: len(os.listdir(shared)) == 2)
    assert (shared / "both").is_dir()
    assert (shared / f"both~file-{item}").read_bytes() == b"item"


def test_unfinished_uploads_are_never_shown(impatient, shared, there) -> None:
    impatient.direct.put(f"{there}/.orionfs-0123", b"half")
    impatient.direct.put(f"{there}/x", b"whole")
    wait_for(lambda: os.listdir(shared) == ["x"])
    assert not (shared / ".orionfs-0123").exists()


def test_over_long_name_is_cut_and_reachable(impatient, shared, there) -> None:
    item = impatient.direct.put(f"{there}/{'é' * 200}.txt", b"long")
    wait_for(lambda: len(os.listdir(shared)) == 1)
    (name,) = os.listdir(shared)
    assert len(name.encode()) <= 255
    assert name.endswith(f"~file-{item}.txt")
    assert (shared / name).read_bytes() == b"long"
    assert os.getxattr(shared / name, "user.orion.name").decode() == "é" * 200 + ".txt"


def test_two_mounts_of_one_account_see_each_others_work(mounted, impatient, folder) -> None:
    other = impatient.mine / folder.name
    wait_for(other.is_dir)
    (folder / "x").write_text("from one")
    wait_for((other / "x").exists)
    assert (other / "x").read_text() == "from one"
    assert (other / "x").stat().st_size == (folder / "x").stat().st_size


def test_slashes_in_names_of_items_are_shown_escaped(odd, request) -> None:
    folder = fresh_folder(odd, request)
    there = odd.orion_path(folder)
    item = odd.direct.put(f"{there}/x", b"slashed")
    place = {"resource_type": "file", "id": item, "path": there, "name": "a/b%2Fc"}
    assert odd.direct.api.assign(place).status_code == 204
    wait_for(lambda: os.listdir(folder) == ["a%2Fb%252Fc"])
    assert (folder / "a%2Fb%252Fc").read_bytes() == b"slashed"
    (folder / "new%2Fname").write_text("x")
    assert odd.direct.names(there) == ["a/b%2Fc", "new/name"]
