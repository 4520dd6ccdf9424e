"""Listing folders: whole, in whatever order, for as few requests as pages allow."""

from __future__ import annotations

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from math import ceil

import pytest

from tests.cli.processes import wait_for
from tests.mount.posix import DirectoryStream

PAGE_ROWS = 1000


@pytest.fixture
def many(mounted):
    """A folder of many items that nobody has asked for yet."""
    mounted.remount()
    assert mounted.mine.is_dir()
    return mounted.mine / "many"


def test_long_listing_of_many_asks_for_the_pages_and_then_for_nothing(mounted, many, many_names) -> None:
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
    names = [f"{number:03}" for number in range(300)]
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


def test_removing_while_listing_removes_all(folder) -> None:
    for number in range(300):
        (folder / f"{number:03}").mkdir()
    with os.scandir(folder) as entries:
        for entry in entries:
            os.rmdir(entry.path)
    assert os.listdir(folder) == []


def test_empty_folder_lists_as_empty(mounted, folder) -> None:
    assert os.listdir(folder) == []
    mounted.remount()
    assert os.listdir(folder) == []
    done = subprocess.run(["ls", "-a", folder], capture_output=True, text=True, check=True)
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


def test_own_changes_show_although_the_server_lags(make_stand, client) -> None:
    stand = make_stand(client, read_lag_s="3", options=["metadata_ttl_s=0.2", "absence_ttl_s=0.2"])
    kept, gone = stand.mine / "kept", stand.mine / "gone"
    gone.write_text("x")
    kept.write_text("first")
    kept.write_text("the second")
    gone.unlink()
    (stand.mine / "folder").mkdir()
    inodes = set()
    with stand.counting() as counted:
        for _ in range(4):
            wait_for(_asked_again(stand))
            assert sorted(os.listdir(stand.mine)) == ["folder", "kept"]
            assert kept.read_text() == "the second"
            inodes.add(kept.stat().st_ino)
    assert len(inodes) == 1
    assert counted.of("ls")


def _asked_again(stand):
    """Whether a listing made from now on is asked for, not believed."""
    before = len(stand.server.rows())

    def is_asked() -> bool:
        os.listdir(stand.mine)
        return len(stand.server.rows()) > before

    return is_asked


def test_many_listings_at_once_agree(mounted, many, many_names) -> None:
    with ThreadPoolExecutor(8) as pool:
        listings = list(pool.map(lambda _: sorted(os.listdir(many)), range(8)))
    assert all(listing == many_names for listing in listings)


def test_small_pages_bring_everything(make_stand, client) -> None:
    stand = make_stand(client, page_max="7")
    for number in range(50):
        stand.direct.put(f"{stand.direct.home}/{number:02}", b"x")
    assert sorted(os.listdir(stand.mine)) == [f"{number:02}" for number in range(50)]


def test_sizes_that_listings_lack_are_asked_for_once(make_stand, client) -> None:
    stand = make_stand(client, list_sizes="no", options=["metadata_ttl_s=0.2", "absence_ttl_s=0.2"])
    for number in range(20):
        stand.direct.put(f"{stand.direct.home}/{number:02}", b"x" * number)
    with stand.counting() as counted:
        sizes = [path.stat().st_size for path in sorted(stand.mine.iterdir())]
    assert sizes == list(range(20))
    assert len(counted.of("get")) == 20
    with stand.counting() as counted:
        wait_for(_asked_again(stand))
        assert [path.stat().st_size for path in sorted(stand.mine.iterdir())] == sizes
    assert counted.of("get") == []


def test_find_walks_the_whole_tree(mounted, folder) -> None:
    wanted = {folder}
    for path in ("a/b/c", "a/d", "e"):
        (folder / path).mkdir(parents=True)
        (folder / path / "file").write_text(path)
        wanted |= {folder / path / "file", folder / path, (folder / path).parent, folder / "a"}
    mounted.remount()
    done = subprocess.run(["find", folder], capture_output=True, text=True, check=True)
    assert set(done.stdout.splitlines()) == {str(path) for path in wanted}
    with mounted.counting() as counted:
        again = subprocess.run(["find", folder], capture_output=True, text=True, check=True)
    assert again.stdout == done.stdout
    assert counted.rows == []


def test_cold_walk_costs_one_request_a_folder(mounted, folder) -> None:
    for path in ("a/b/c", "a/d", "e"):
        (folder / path).mkdir(parents=True)
    mounted.remount()
    assert folder.is_dir()
    with mounted.counting() as counted:
        subprocess.run(["find", folder], stdout=subprocess.DEVNULL, check=True)
    assert counted.cost == ["ls"] * 6, counted
