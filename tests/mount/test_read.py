"""Reading: the right bytes, no more of them than needed, and of the version that was opened."""

from __future__ import annotations

import errno
import hashlib
import mmap
import os
import random
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from orionfs.mountinfo import mount_at, read_mountinfo
from tests.cli.processes import wait_for
from tests.mount.conftest import fresh_folder
from tests.mount.stand import Client

MEBI = 2**20


def content(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


@pytest.fixture
def put(mounted, cold):
    """Makes files on the server that the mount has never heard of."""

    def make(data: bytes, name: str = "file"):
        mounted.direct.put(mounted.orion_path(cold / name), data)
        return cold / name

    return make


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, 131072, 3 * MEBI + 17])
def test_file_of_any_size_comes_whole(put, size) -> None:
    path = put(content(size))
    assert path.stat().st_size == size
    assert path.read_bytes() == content(size)


def test_reads_at_offsets_give_what_is_there(put) -> None:
    data = content(2 * MEBI)
    with put(data).open("rb", buffering=0) as file:
        for offset, length in ((MEBI, 10), (0, 1), (2 * MEBI - 5, 99), (2 * MEBI, 1), (7, 70000)):
            assert os.pread(file.fileno(), length, offset) == data[offset : offset + length]
        assert file.seek(0, os.SEEK_END) == len(data)
        assert file.read() == b""


def test_random_reads_of_a_large_file_fetch_little(mounted, put) -> None:
    if mounted.client is Client.DOCUMENTED:
        pytest.skip("the documented surface downloads whole files")
    data = content(24 * MEBI)
    with mounted.counting() as counted, put(data).open("rb", buffering=0) as file:
        for offset in (20 * MEBI, 3 * MEBI, 12 * MEBI):
            assert os.pread(file.fileno(), 4096, offset) == data[offset : offset + 4096]
    assert sum(row.response_bytes for row in counted.of("blob")) <= 8 * MEBI


def test_sequential_read_of_a_large_file_fetches_it_once(mounted, put) -> None:
    data = content(24 * MEBI)
    path = put(data)
    with mounted.counting() as counted, path.open("rb") as file:
        assert hashlib.file_digest(file, "sha256").digest() == hashlib.sha256(data).digest()
    assert sum(row.response_bytes for row in counted.of("blob")) == len(data)
    with mounted.counting() as again:
        assert path.read_bytes() == data
    assert again.rows == []


def test_what_was_read_or_written_is_on_disk_after_a_remount(mounted, put, folder) -> None:
    path = put(content(MEBI))
    assert path.read_bytes() == content(MEBI)
    (folder / "x").write_bytes(content(MEBI, 2))
    mounted.remount()
    with mounted.counting() as counted:
        assert path.read_bytes() == content(MEBI)
        assert (folder / "x").read_bytes() == content(MEBI, 2)
    assert counted.of("blob") == []
    assert counted.of("download") == []


def test_many_readers_of_one_file_fetch_it_once(mounted, put) -> None:
    data = content(4 * MEBI)
    path = put(data)
    with mounted.counting() as counted, ThreadPoolExecutor(8) as pool:
        assert all(read == data for read in pool.map(lambda _: path.read_bytes(), range(8)))
    assert sum(row.response_bytes for row in counted.of("blob")) == len(data)


def test_many_files_at_once_come_right(put) -> None:
    paths = [put(content(50_000, number), f"{number}") for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        read = list(pool.map(lambda path: path.read_bytes(), paths))
    assert read == [content(50_000, number) for number in range(40)]


def test_mapped_file_reads_as_its_bytes(put) -> None:
    data = content(MEBI + 100)
    with put(data).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert mapped[MEBI:] == data[MEBI:]
        assert mapped[:] == data


def test_folder_can_not_be_read_as_a_file(folder) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with pytest.raises(IsADirectoryError):
            os.read(descriptor, 1)
    finally:
        os.close(descriptor)
    with pytest.raises(IsADirectoryError):
        folder.open("w")


def test_file_without_permission_to_write_is_refused_by_the_handle(folder) -> None:
    (folder / "x").write_text("x")
    descriptor = os.open(folder / "x", os.O_RDONLY)
    try:
        with pytest.raises(OSError, match=os.strerror(errno.EBADF)):
            os.write(descriptor, b"y")
    finally:
        os.close(descriptor)


def test_open_file_keeps_its_version_when_it_is_replaced_elsewhere(impatient, request) -> None:
    folder = fresh_folder(impatient, request)
    there = impatient.orion_path(folder)
    first, second = content(3 * MEBI, 1), content(3 * MEBI, 2)
    impatient.direct.put(f"{there}/x", first)
    path = folder / "x"
    wait_for(path.exists)
    before = path.stat().st_ino
    with path.open("rb", buffering=0) as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert file.read(MEBI) == first[:MEBI]
        impatient.direct.replace(f"{there}/x", second)
        wait_for(lambda: path.stat().st_ino != before)
        assert path.read_bytes() == second
        assert os.pread(file.fileno(), MEBI, 0) == first[:MEBI]
        assert mapped[:MEBI] == first[:MEBI]
        assert os.fstat(file.fileno()).st_ino == before


def test_file_replaced_elsewhere_before_it_is_opened_opens_as_the_new_one(mounted, put) -> None:
    path = put(b"first")
    assert path.stat().st_size == 5
    mounted.direct.replace(mounted.orion_path(path), b"the second")
    # What it was believed to be is gone: the name is asked for again, and what it means now is opened.
    assert path.read_bytes() == b"the second"


def test_file_gone_elsewhere_before_it_is_opened_is_enoent(mounted, put) -> None:
    path = put(b"first")
    assert path.stat().st_size == 5
    mounted.direct.remove(mounted.orion_path(path))
    with pytest.raises(FileNotFoundError):
        path.read_bytes()


def test_tools_that_trust_sizes_copy_everything(odd, request, tmp_path) -> None:
    """Sizes that nobody tells are never 0, which would copy as empty."""
    folder = fresh_folder(odd, request)
    data = content(300_000)
    odd.direct.put(odd.orion_path(folder / "x"), data)
    wait_for((folder / "x").exists)
    for command in (["cp", "--sparse=auto"], ["rsync", "-a"]):
        target = tmp_path / command[0]
        subprocess.run([*command, folder / "x", target], check=True)
        assert target.read_bytes() == data
    subprocess.run(["tar", "-C", folder, "-cf", tmp_path / "x.tar", "x"], check=True)
    out = subprocess.run(["tar", "-xOf", tmp_path / "x.tar", "x"], check=True, capture_output=True)
    assert out.stdout == data


def test_answer_cut_short_is_tried_again_and_never_zeros(mounted, put) -> None:
    data = content(2 * MEBI)
    path = put(data)
    mounted.server.misbehave({"path": "^/blobs/", "action": "cut", "after_bytes": 100_000, "times": 2})
    try:
        assert path.read_bytes() == data
    finally:
        mounted.server.misbehave()


@pytest.mark.skipif(os.getuid() != 0, reason="the kernel lets nobody else")
def test_kernel_reads_ahead_a_mebibyte_at_a_time(mounted, put) -> None:
    """What is set before the kernel's first request is reset by it."""
    mount = mount_at(read_mountinfo(), mounted.point)
    assert mount is not None
    assert Path("/sys/class/bdi", mount.device, "read_ahead_kb").read_text() == "1024\n"
    before = mounted.ask("status")["daemon_calls"].get("read", 0)
    assert put(content(8 * MEBI)).read_bytes() == content(8 * MEBI)
    assert mounted.ask("status")["daemon_calls"].get("read", 0) - before <= 16
