"""Writing: when close returns the bytes are on Orion, in whatever way they were written."""

from __future__ import annotations

import errno
import mmap
import os
import random
import re
import stat
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.cli.processes import wait_for
from tests.mount.conftest import fresh_folder
from tests.mount.posix import DirectoryStream, map_shared, store_and_unmap
from tests.mount.stand import Client

pytestmark = pytest.mark.own_first

MEBI = 2**20


def content(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


@pytest.fixture
def on_orion(mounted):
    """What Orion has at a local path now."""
    return lambda path: mounted.direct.content(mounted.orion_path(path))


@pytest.fixture
def alone(mounted):
    """Whether one item on Orion has this path's name, and nothing unfinished lies about."""

    def check(path) -> bool:
        names = mounted.direct.names(mounted.orion_path(path.parent))
        left = [name for name in mounted.direct.names(mounted.direct.home) if name.startswith(".orionfs")]
        return names.count(path.name) == 1 and left == []

    return check


@pytest.mark.parametrize("size", [1, 4096, 131073, 9 * MEBI])
def test_written_file_is_on_orion_when_close_returns(folder, on_orion, alone, size) -> None:
    (folder / "x").write_bytes(content(size))
    assert on_orion(folder / "x") == content(size)
    assert (folder / "x").stat().st_size == size
    assert (folder / "x").read_bytes() == content(size)
    assert alone(folder / "x")


def test_empty_file_is_on_orion_soon_after_its_last_close(mounted, folder, on_orion, alone) -> None:
    (folder / "x").touch()
    mounted.drain()
    assert on_orion(folder / "x") == b""
    assert (folder / "x").read_bytes() == b""
    assert alone(folder / "x")


def test_rewritten_file_is_one_item_with_the_new_content(folder, on_orion, alone) -> None:
    (folder / "x").write_text("the first content")
    number = (folder / "x").stat().st_ino
    (folder / "x").write_text("second")
    assert on_orion(folder / "x") == b"second"
    assert (folder / "x").read_text() == "second"
    assert (folder / "x").stat().st_ino == number
    assert alone(folder / "x")


def test_size_is_seen_while_writing(folder) -> None:
    with (folder / "x").open("wb", buffering=0) as file:
        for size in (100, 200, 300):
            file.write(b"x" * 100)
            assert (folder / "x").stat().st_size == size
            assert os.fstat(file.fileno()).st_size == size


def test_append_adds_at_the_end(folder, on_orion) -> None:
    (folder / "x").write_text("one\n")
    with (folder / "x").open("a") as file:
        file.write("two\n")
        file.seek(0)
        file.write("three\n")
    assert on_orion(folder / "x") == b"one\ntwo\nthree\n"


def test_two_who_append_lose_nothing(folder, on_orion) -> None:
    (folder / "log").touch()
    with (folder / "log").open("ab", buffering=0) as one, (folder / "log").open("ab", buffering=0) as two:
        for number in range(20):
            (one if number % 2 else two).write(f"{number}\n".encode())
    assert (folder / "log").read_text().split() == [str(number) for number in range(20)]
    assert (folder / "log").stat().st_size == 50


@pytest.mark.parametrize("size", [0, 1, 5, 4096, 70_000])
def test_truncate_by_path_cuts_and_extends(folder, on_orion, size) -> None:
    data = content(10_000)
    (folder / "x").write_bytes(data)
    os.truncate(folder / "x", size)
    wanted = data[:size].ljust(size, b"\0")
    assert (folder / "x").stat().st_size == size
    assert (folder / "x").read_bytes() == wanted
    assert on_orion(folder / "x") == wanted


def test_truncate_by_handle_goes_up_with_the_close(folder, on_orion) -> None:
    (folder / "x").write_text("0123456789")
    with (folder / "x").open("r+b", buffering=0) as file:
        file.truncate(4)
        assert file.read() == b"0123"
        file.truncate(6)
        file.seek(0)
        assert file.read() == b"0123\0\0"
    assert on_orion(folder / "x") == b"0123\0\0"


def test_truncating_open_keeps_nothing(mounted, folder, on_orion) -> None:
    (folder / "x").write_text("long content")
    os.close(os.open(folder / "x", os.O_WRONLY | os.O_TRUNC))
    assert (folder / "x").stat().st_size == 0
    mounted.drain()
    assert on_orion(folder / "x") == b""


def test_open_to_write_without_truncating_keeps_the_rest(mounted, cold, on_orion) -> None:
    data = content(300_000)
    mounted.direct.put(mounted.orion_path(cold / "x"), data)
    descriptor = os.open(cold / "x", os.O_WRONLY)
    os.pwrite(descriptor, b"HERE", 1000)
    os.close(descriptor)
    wanted = data[:1000] + b"HERE" + data[1004:]
    assert on_orion(cold / "x") == wanted
    assert (cold / "x").read_bytes() == wanted


@pytest.mark.parametrize("client", [Client.OWN], ids=["own"], scope="session")
def test_overwriting_most_of_a_file_fetches_only_the_rest(mounted, cold, on_orion) -> None:
    data, new = content(12 * MEBI), content(10 * MEBI, 2)
    mounted.direct.put(mounted.orion_path(cold / "x"), data)
    with mounted.counting() as counted:
        descriptor = os.open(cold / "x", os.O_WRONLY)
        for at in range(0, len(new), MEBI):
            os.pwrite(descriptor, new[at : at + MEBI], MEBI + at)
        os.close(descriptor)
    assert sum(row.response_bytes for row in counted.of("blob")) == 2 * MEBI
    assert on_orion(cold / "x") == data[:MEBI] + new + data[11 * MEBI :]


def test_open_to_write_that_writes_nothing_asks_nothing(mounted, folder) -> None:
    (folder / "x").write_text("as it was")
    item = os.getxattr(folder / "x", "user.orion.id")
    with mounted.counting() as counted:
        os.close(os.open(folder / "x", os.O_RDWR))
        os.close(os.open(folder / "x", os.O_WRONLY | os.O_APPEND))
    assert counted.rows == []
    assert os.getxattr(folder / "x", "user.orion.id") == item


def test_random_writes_end_as_in_a_local_file(folder, on_orion, tmp_path) -> None:
    chance = random.Random(7)
    with (folder / "x").open("w+b", buffering=0) as file, (tmp_path / "x").open("w+b", buffering=0) as twin:
        for _ in range(200):
            offset, data = chance.randrange(300_000), chance.randbytes(chance.randrange(1, 9000))
            for each in (file, twin):
                each.seek(offset)
                each.write(data)
            offset = chance.randrange(300_000)
            assert os.pread(file.fileno(), 5000, offset) == os.pread(twin.fileno(), 5000, offset)
    assert on_orion(folder / "x") == (tmp_path / "x").read_bytes()


def test_holes_read_as_zeros(folder, on_orion) -> None:
    with (folder / "x").open("wb") as file:
        file.seek(MEBI)
        file.write(b"end")
    assert on_orion(folder / "x") == b"\0" * MEBI + b"end"
    assert (folder / "x").read_bytes() == b"\0" * MEBI + b"end"


def test_exclusive_create_refuses_what_is_there(mounted, folder, cold) -> None:
    (folder / "x").write_text("first")
    with pytest.raises(FileExistsError):
        (folder / "x").open("x")
    assert (folder / "x").read_text() == "first"
    # What another machine made counts as well, seen or not.
    mounted.direct.put(mounted.orion_path(cold / "y"), b"theirs")
    with pytest.raises(FileExistsError):
        os.open(cold / "y", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    assert (cold / "y").read_text() == "theirs"


def test_only_one_of_many_creates_exclusively(folder) -> None:
    def create(_: int) -> bool:
        try:
            os.close(os.open(folder / "lock", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(create, range(8))) == 1


def test_create_of_what_is_there_opens_it(folder, on_orion) -> None:
    (folder / "x").write_text("0123456789")
    descriptor = os.open(folder / "x", os.O_CREAT | os.O_RDWR)
    assert os.read(descriptor, 3) == b"012"
    os.write(descriptor, b"___")
    os.close(descriptor)
    assert on_orion(folder / "x") == b"012___6789"


def test_fsync_brings_what_was_written_so_far(folder, on_orion) -> None:
    with (folder / "x").open("wb", buffering=0) as file:
        file.write(b"first half, ")
        os.fsync(file.fileno())
        assert on_orion(folder / "x") == b"first half, "
        file.write(b"second half")
        os.fdatasync(file.fileno())
        assert (folder / "x").read_bytes() == b"first half, second half"
    assert (folder / "x").read_bytes() == b"first half, second half"


def test_fsync_of_a_folder_succeeds(folder) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    with DirectoryStream(folder) as stream:
        assert list(stream) == []


def test_shared_mapping_is_written_back(mounted, folder, on_orion) -> None:
    (folder / "x").write_bytes(b"a" * 10_000)
    with (folder / "x").open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        mapped[5000:5004] = b"HERE"
        mapped.flush()
        assert (folder / "x").read_bytes()[5000:5004] == b"HERE"
    wanted = b"a" * 5000 + b"HERE" + b"a" * 4996
    assert (folder / "x").read_bytes() == wanted
    mounted.drain()
    assert on_orion(folder / "x") == wanted


def test_stores_into_a_mapping_after_close_go_up_as_well(mounted, folder, on_orion) -> None:
    (folder / "x").write_bytes(b"a" * 10_000)
    with (folder / "x").open("r+b") as file:
        address = map_shared(file.fileno(), 10_000)
    store_and_unmap(address, 10_000, b"LATE")

    def has_arrived() -> bool:
        mounted.drain()
        return bool(on_orion(folder / "x").startswith(b"LATE"))

    wait_for(has_arrived)
    assert (folder / "x").read_bytes() == b"LATE" + b"a" * 9996


def test_several_handles_see_one_content(folder, on_orion) -> None:
    (folder / "x").write_text("0123456789")
    with (
        (folder / "x").open("rb", buffering=0) as reader,
        (folder / "x").open("r+b", buffering=0) as one,
        (folder / "x").open("r+b", buffering=0) as two,
    ):
        one.write(b"ONE")
        two.seek(5)
        two.write(b"TWO")
        assert reader.read() == b"ONE34TWO89"
    assert on_orion(folder / "x") == b"ONE34TWO89"


def test_close_of_one_of_two_handles_goes_on_with_the_other(mounted, folder, on_orion) -> None:
    one = (folder / "x").open("wb", buffering=0)
    two = (folder / "x").open("r+b", buffering=0)
    one.write(b"first")
    one.close()
    assert on_orion(folder / "x") == b"first"
    two.seek(5)
    two.write(b" and second")
    two.close()
    assert (folder / "x").read_bytes() == b"first and second"
    mounted.drain()
    assert on_orion(folder / "x") == b"first and second"


def test_children_that_write_to_one_file_upload_a_few_times(mounted, folder, on_orion) -> None:
    script = 'for i in $(seq 100); do /bin/echo $i; done > "$0"'
    with mounted.counting() as counted:
        subprocess.run(["sh", "-c", script, folder / "log"], check=True)
    assert on_orion(folder / "log").split() == [str(number).encode() for number in range(1, 101)]
    assert len(counted.of("upload")) <= 3, counted


def test_unlinked_file_is_read_and_written_until_closed(mounted, folder) -> None:
    (folder / "x").write_bytes(content(100_000))
    with (folder / "x").open("r+b", buffering=0) as file:
        (folder / "x").unlink()
        assert os.listdir(folder) == []
        assert os.pread(file.fileno(), 200_000, 0) == content(100_000)
        os.pwrite(file.fileno(), b"scratch", 10)
        assert os.pread(file.fileno(), 7, 10) == b"scratch"
        assert os.fstat(file.fileno()).st_size == 100_000
    assert os.listdir(folder) == []
    assert mounted.direct.names(mounted.orion_path(folder)) == []


def test_unlinked_file_that_was_never_read_stays_readable(mounted, cold) -> None:
    mounted.direct.put(mounted.orion_path(cold / "x"), content(3 * MEBI))
    with (cold / "x").open("rb", buffering=0) as file:
        (cold / "x").unlink()
        assert mounted.direct.names(mounted.orion_path(cold)) == []
        assert os.pread(file.fileno(), 4 * MEBI, 0) == content(3 * MEBI)


def test_new_file_unlinked_before_it_is_closed_leaves_nothing(mounted, folder) -> None:
    with mounted.counting() as counted, (folder / "scratch").open("w+b", buffering=0) as file:
        file.write(b"temporary")
        (folder / "scratch").unlink()
        file.seek(0)
        assert file.read() == b"temporary"
    assert os.listdir(folder) == []
    assert counted.of("upload") == []
    assert mounted.direct.names(mounted.orion_path(folder)) == []


def empty(path) -> None:
    """Empty a file or make it empty; it goes up behind the close."""
    path.write_bytes(b"")


def test_file_emptied_and_removed_at_once_stays_removed(mounted, folder) -> None:
    for _ in range(5):
        (folder / "x").write_bytes(b"old")
        empty(folder / "x")
        (folder / "x").unlink()
        assert os.listdir(folder) == []
        mounted.drain()
        assert mounted.direct.tree(mounted.orion_path(folder)) == []


def test_file_emptied_and_renamed_at_once_has_its_new_name(mounted, folder) -> None:
    for _ in range(5):
        (folder / "x").write_bytes(b"old")
        empty(folder / "x")
        (folder / "x").rename(folder / "y")
        mounted.drain()
        assert mounted.direct.tree(mounted.orion_path(folder)) == [("y", b"")]


def test_file_emptied_and_made_a_folder_at_once_is_one(mounted, folder) -> None:
    (folder / "x").write_bytes(b"old")
    empty(folder / "x")
    (folder / "x").unlink()
    (folder / "x").mkdir()
    mounted.drain()
    assert mounted.direct.tree(mounted.orion_path(folder)) == [("x", None)]


def test_files_that_replace_each_other_at_once_leave_the_last(mounted, folder) -> None:
    for _ in range(5):
        (folder / "x").write_bytes(b"old")
        (folder / "z").write_bytes(b"last")
        (folder / "y").write_bytes(b"between")
        (folder / "y").rename(folder / "x")
        empty(folder / "y")
        (folder / "y").rename(folder / "x")
        (folder / "z").rename(folder / "x")
        mounted.drain()
        assert mounted.direct.tree(mounted.orion_path(folder)) == [("x", b"last")]


def test_folder_of_a_file_emptied_at_once_goes_with_it(mounted, folder) -> None:
    for _ in range(3):
        (folder / "a").mkdir()
        (folder / "a" / "x").write_bytes(b"old")
        empty(folder / "a" / "x")
        (folder / "a").rename(folder / "b")
        (folder / "b" / "x").unlink()
        (folder / "b").rmdir()
        mounted.drain()
        assert mounted.direct.tree(mounted.orion_path(folder)) == []


def test_file_replaced_elsewhere_while_written_goes_on_for_its_writer(impatient, request) -> None:
    folder = fresh_folder(impatient, request)
    there = impatient.orion_path(folder)
    impatient.direct.put(f"{there}/x", content(MEBI, 1))
    wait_for((folder / "x").exists)
    before = (folder / "x").stat().st_ino
    with (folder / "x").open("rb", buffering=0) as reader:
        assert reader.read(1000) == content(MEBI, 1)[:1000]
        impatient.direct.replace(f"{there}/x", content(MEBI, 2))
        wait_for(lambda: (folder / "x").stat().st_ino != before)
        (folder / "x").write_bytes(b"mine")
        assert os.pread(reader.fileno(), MEBI, 0) == content(MEBI, 1)
    assert (folder / "x").read_bytes() == b"mine"
    assert impatient.direct.content(f"{there}/x") == b"mine"
    assert impatient.direct.names(there) == ["x"]


@pytest.mark.expect_log("changed elsewhere meanwhile and stays so")
def test_file_saved_elsewhere_while_it_is_written_is_kept_beside_what_was_written(mounted, folder) -> None:
    there = mounted.orion_path(folder)
    (folder / "x.txt").write_text("old")
    os.setxattr(folder / "x.txt", "user.orion.tag.lead", b"")
    descriptor = os.open(folder / "x.txt", os.O_RDWR)
    try:
        os.pwrite(descriptor, b"MINE", 0)
        mounted.direct.replace(f"{there}/x.txt", b"theirs")
        with pytest.raises(OSError, match="Stale") as told:
            os.fsync(descriptor)
        assert told.value.errno == errno.ESTALE
        assert os.pread(descriptor, 100, 0) == b"MINE"
        os.pwrite(descriptor, b" too", 4)
    finally:
        os.close(descriptor)
    (copy,) = [name for name in os.listdir(folder) if name != "x.txt"]
    assert re.fullmatch(r"x~conflict-[A-Za-z0-9-]+-\d{8}-\d{6}\.txt", copy)
    assert ((folder / "x.txt").read_text(), (folder / copy).read_text()) == ("theirs", "MINE too")
    mounted.drain()
    assert mounted.direct.tree(there) == [("x.txt", b"theirs"), (copy, b"MINE too")]
    assert mounted.direct.tags(f"{there}/{copy}") == ["lead"]
    for name in ("x.txt", copy):
        assert copy in os.getxattr(folder / name, "user.orion.error").decode()
    (folder / "x.txt").write_text("over theirs")
    assert mounted.direct.content(f"{there}/x.txt") == b"over theirs"


def test_kernel_copies_ranges_within_the_mount_and_out_of_it(
    folder, on_orion, cold, mounted, tmp_path
) -> None:
    data = content(300_000)
    mounted.direct.put(mounted.orion_path(cold / "x"), data)
    (folder / "y").write_bytes(b"-" * 1000)
    with (
        (cold / "x").open("rb") as source,
        (folder / "y").open("r+b", buffering=0) as goal,
        (tmp_path / "out").open("wb") as out,
    ):
        for file, at in ((goal, 500), (out, 0)):
            left = 200_000
            while left:
                where = 200_000 - left
                try:
                    left -= os.copy_file_range(source.fileno(), file.fileno(), left, where, at + where)
                except OSError as error:  # as cp, which then copies by itself
                    assert error.errno in (errno.EXDEV, errno.EOPNOTSUPP, errno.EINVAL)
                    left -= os.pwrite(file.fileno(), os.pread(source.fileno(), left, where), at + where)
    assert on_orion(folder / "y") == b"-" * 500 + data[:200_000]
    assert (tmp_path / "out").read_bytes() == data[:200_000]


def test_mapping_of_a_file_that_is_only_on_orion_is_read_and_written(mounted, cold, on_orion) -> None:
    data = content(200_000)
    mounted.direct.put(mounted.orion_path(cold / "x"), data)
    with (cold / "x").open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        assert mapped[150_000:150_010] == data[150_000:150_010]
        mapped[100_000:100_004] = b"HERE"
        mapped.flush()
    wanted = data[:100_000] + b"HERE" + data[100_004:]
    assert (cold / "x").read_bytes() == wanted
    mounted.drain()
    assert on_orion(cold / "x") == wanted


def test_copy_within_the_mount_is_the_same(mounted, folder, on_orion) -> None:
    (folder / "x").write_bytes(content(MEBI))
    subprocess.run(["cp", "--reflink=auto", folder / "x", folder / "y"], check=True)
    assert on_orion(folder / "y") == content(MEBI)


def test_preallocated_file_has_its_size(folder, on_orion) -> None:
    with (folder / "x").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, 5000)
    assert (folder / "x").stat().st_size == 5000
    assert on_orion(folder / "x") == b"\0" * 5000


def test_node_of_a_regular_file_is_an_empty_file(mounted, folder, on_orion) -> None:
    os.mknod(folder / "x", stat.S_IFREG | 0o640)
    assert on_orion(folder / "x") == b""
    assert stat.S_IMODE((folder / "x").stat().st_mode) == 0o640
    with pytest.raises(FileExistsError):
        os.mknod(folder / "x", stat.S_IFREG | 0o640)


def test_files_written_at_the_same_time_all_arrive(folder, on_orion) -> None:
    def write(number: int) -> None:
        (folder / f"{number}").write_bytes(content(20_000, number))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(40)))
    assert sorted(map(int, os.listdir(folder))) == list(range(40))
    assert all(on_orion(folder / f"{number}") == content(20_000, number) for number in range(40))


def test_flushing_a_large_file_in_pieces_keeps_every_byte(folder, on_orion) -> None:
    with (folder / "x").open("wb") as file:
        for number in range(20):
            file.write(content(MEBI, number))
    whole = b"".join(content(MEBI, number) for number in range(20))
    assert on_orion(folder / "x") == whole
    assert (folder / "x").read_bytes() == whole
