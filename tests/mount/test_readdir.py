"""Listing folders: whole, in whatever order, for as few requests as pages allow."""

from __future__ import annotations

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from math import ceil

import pytest

from tests.cli.processes import wait_for
from tests.mount.conftest import IMPATIENT, fresh_folder
from tests.mount.posix import DirectoryStream

pytestmark = pytest.mark.own_first

PAGE_ROWS = 1000


@pytest.fixture
def many(mounted):
    """A folder of many items."""
    return mounted.mine / "many"


def test_long_listing_of_many_asks_for_the_pages_and_then_for_nothing(mounted, many, many_names) -> None:
    mounted.remount()
    assert mounted.mine.is_dir()
    with mounted.counting() as cold:
        first = subprocess.run(["ls", "-l", many], capture_output=True, text=True, check=True)
    assert len(first.stdout.splitlines()) == len(many_names) + 1
    assert len(cold.cost) <= ceil(len(many_names) / PAGE_ROWS) + 2, cold
    with mounted.counting() as warm:
        again = subprocess.run(["ls", "-l", many], capture_output=True, text=True, check=True)
    assert again.stdout == first.stdout
    assert warm.rows == []


def test_every_name_is_listed_once_and_leads_to_its_item(mounted, many, many_names) -> None:
    assert sorted(os.listdir(many)) == many_names
    with os.scandir(many) as entries:
        sizes = {entry.name: entry.stat().st_size for entry in entries}
    assert sizes == {name: len(name) for name in many_names}
    assert (many / many_names[1234]).read_text() == many_names[1234]


def test_entries_tell_their_type_and_number_without_a_stat(folder) -> None:
    (folder / "file").write_text("x")
    (folder / "folder").mkdir()
    with os.scandir(folder) as entries:
        kinds = {entry.name: (entry.is_dir(), entry.inode()) for entry in entries}
    assert kinds == {
        "file": (False, (folder / "file").stat().st_ino),
        "folder": (True, (folder / "folder").stat().st_ino),
    }


def test_place_in_a_listing_can_be_told_and_gone_back_to(mounted, many_names) -> None:
    with DirectoryStream(mounted.mine / "many") as stream:
        start = [next(stream) for _ in range(700)]
        place = stream.tell()
        middle = [next(stream) for _ in range(900)]
        later = stream.tell()
        end = list(stream)
        assert sorted(start + middle + end) == many_names
        stream.seek(place)
        assert [next(stream) for _ in range(900)] == middle
        stream.seek(later)
        assert list(stream) == end
        stream.seek(0)
        assert list(stream) == start + middle + end


def test_rewound_listing_shows_what_is_there_now(folder) -> None:
    (folder / "before").write_text("x")
    with DirectoryStream(folder) as stream:
        assert list(stream) == ["before"]
        (folder / "after").write_text("x")
        (folder / "before").unlink()
        assert list(stream) == []
        stream.rewind()
        assert list(stream) == ["after"]


def test_listing_under_way_keeps_what_it_began_with(folder) -> None:
    names = [f"{number:03}" for number in range(250)]
    for name in names:
        (folder / name).mkdir()
    with DirectoryStream(folder) as stream:
        seen = [next(stream) for _ in range(5)]
        for number in range(20):
            (folder / f"new-{number}").mkdir()
        gone = set(names[::10])
        for name in gone:
            (folder / name).rmdir()
        seen += list(stream)
    assert len(seen) == len(set(seen))
    assert set(names) - gone <= set(seen)
    assert {*os.listdir(folder)} == set(names) - gone | {f"new-{number}" for number in range(20)}


def test_removing_while_listing_removes_all(mounted, cold) -> None:
    # More than the kernel reads at once.
    for number in range(250):
        mounted.direct.put(mounted.orion_path(cold / f"{number:03}"), b"x")
    with os.scandir(cold) as entries:
        for entry in entries:
            os.unlink(entry.path)
    assert os.listdir(cold) == []
    assert mounted.direct.names(mounted.orion_path(cold)) == []


def test_empty_folder_lists_as_empty(folder, cold) -> None:
    assert os.listdir(folder) == []
    assert os.listdir(cold) == []
    done = subprocess.run(["ls", "-a", cold], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [".", ".."]


def test_own_changes_show_in_the_next_listing(folder) -> None:
    (folder / "a").write_text("x")
    (folder / "b").mkdir()
    assert sorted(os.listdir(folder)) == ["a", "b"]
    (folder / "a").rename(folder / "c")
    assert sorted(os.listdir(folder)) == ["b", "c"]
    (folder / "b").rmdir()
    (folder / "c").unlink()
    assert os.listdir(folder) == []


def test_own_changes_show_although_the_server_lags(make_stand) -> None:
    stand = make_stand(read_lag_s="3", options=IMPATIENT)
    kept, gone = stand.mine / "kept", stand.mine / "gone"
    gone.write_text("x")
    kept.write_text("first")
    kept.write_text("the second")
    gone.unlink()
    (stand.mine / "folder").mkdir()
    inodes = set()
    for _ in range(4):
        wait_for(asks_again(stand, stand.mine))
        assert sorted(os.listdir(stand.mine)) == ["folder", "kept"]
        assert kept.read_text() == "the second"
        inodes.add(kept.stat().st_ino)
    assert len(inodes) == 1


def asks_again(stand, folder):
    """Whether a listing that is made from now on is asked for, not believed."""
    start = stand.server.mark()

    def is_asked() -> bool:
        os.listdir(folder)
        return stand.server.rows(start) != []

    return is_asked


def test_many_listings_at_once_agree_and_are_asked_for_once(mounted, cold) -> None:
    names = [f"{number:02}" for number in range(20)]
    for name in names:
        mounted.direct.put(f"{mounted.orion_path(cold)}/{name}", b"x")
    assert cold.is_dir()
    with mounted.counting() as counted, ThreadPoolExecutor(8) as pool:
        listings = list(pool.map(lambda _: sorted(os.listdir(cold)), range(8)))
    assert all(listing == names for listing in listings)
    assert counted.cost == ["ls"]


def test_small_pages_bring_everything(odd, request) -> None:
    folder = fresh_folder(odd, request)
    names = [f"{number:02}" for number in range(50)]
    for name in names:
        odd.direct.put(f"{odd.orion_path(folder)}/{name}", b"x")
    wait_for(lambda: sorted(os.listdir(folder)) == names)


def test_sizes_that_listings_lack_are_asked_for_once(odd, request) -> None:
    folder = fresh_folder(odd, request)
    for number in range(20):
        odd.direct.put(f"{odd.orion_path(folder)}/{number:02}", b"x" * number)
    with odd.counting() as counted:
        wait_for(lambda: len(os.listdir(folder)) == 20)
        assert [path.stat().st_size for path in sorted(folder.iterdir())] == list(range(20))
    assert len(counted.of("get")) == 20
    with odd.counting() as counted:
        wait_for(asks_again(odd, folder))
        assert [path.stat().st_size for path in sorted(folder.iterdir())] == list(range(20))
    assert counted.of("get") == []


def test_walk_of_a_tree_costs_one_request_a_folder_and_then_none(mounted, cold) -> None:
    wanted = {cold}
    for path in ("a", "a/b", "a/b/c", "a/d", "e"):
        mounted.direct.make_folder(mounted.orion_path(cold / path))
        mounted.direct.put(mounted.orion_path(cold / path / "file"), b"x")
        wanted |= {cold / path, cold / path / "file"}
    assert cold.is_dir()
    with mounted.counting() as counted:
        done = subprocess.run(["find", cold], capture_output=True, text=True, check=True)
    assert set(done.stdout.splitlines()) == {str(path) for path in wanted}
    assert counted.cost == ["ls"] * 6, counted
    with mounted.counting() as counted:
        again = subprocess.run(["find", cold], capture_output=True, text=True, check=True)
    assert again.stdout == done.stdout
    assert counted.rows == []
