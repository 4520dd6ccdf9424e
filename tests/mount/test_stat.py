"""What stat says: sizes, times, modes, owner, numbers; and what Orion has no place for."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import time

import pytest

from tests.cli.processes import wait_for
from tests.mount.conftest import fresh_folder

pytestmark = pytest.mark.own_first

SECOND_NS = 10**9


@pytest.fixture
def file(folder):
    """A file on Orion."""
    (folder / "x").write_bytes(b"x" * 5000)
    return folder / "x"


def test_file_says_what_tools_need(file) -> None:
    told = file.stat()
    assert stat.S_ISREG(told.st_mode)
    assert (told.st_size, told.st_nlink, told.st_uid, told.st_gid) == (5000, 1, os.getuid(), os.getgid())
    assert told.st_blocks == 10
    assert told.st_blksize >= 128 * 1024
    assert 0 < told.st_ino < 2**63


def test_folder_says_what_tools_need(folder) -> None:
    told = folder.stat()
    assert stat.S_ISDIR(told.st_mode)
    assert (told.st_nlink, told.st_uid, told.st_gid) == (1, os.getuid(), os.getgid())
    assert stat.S_IMODE(told.st_mode) == 0o755


def test_du_counts_the_bytes(folder, file) -> None:
    done = subprocess.run(["du", "-sB1", folder], capture_output=True, text=True, check=True)
    assert int(done.stdout.split()[0]) == 5120


def test_time_of_a_new_file_is_now(file) -> None:
    assert abs(file.stat().st_mtime - time.time()) < 60
    assert file.stat().st_mtime_ns == file.stat().st_ctime_ns


def test_time_of_what_others_made_is_when_it_was_created(mounted, cold) -> None:
    mounted.direct.put(mounted.orion_path(cold / "x"), b"x")
    created = mounted.direct.row(mounted.orion_path(cold / "x"))["created"]
    told = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime((cold / "x").stat().st_mtime))
    assert created.startswith(told)


def test_time_moves_with_each_write(folder, file) -> None:
    os.utime(file, (10**9, 10**9))
    file.write_text("again")
    assert abs(file.stat().st_mtime - time.time()) < 60
    os.utime(file, (10**9, 10**9))
    os.truncate(file, 3)
    assert abs(file.stat().st_mtime - time.time()) < 60


def test_set_time_is_kept_to_the_nanosecond(mounted, folder, file) -> None:
    (folder / "sub").mkdir()
    with mounted.counting() as counted:
        os.utime(file, ns=(1, 10**18 + 123_456_789))
    assert counted.rows == []
    assert file.stat().st_mtime_ns == 10**18 + 123_456_789
    os.utime(folder / "sub", ns=(1, 10**18))
    assert (folder / "sub").stat().st_mtime_ns == 10**18


def test_time_set_on_an_open_file_is_kept_by_its_upload(file) -> None:
    with file.open("w") as writer:
        writer.write("x")
        writer.flush()
        os.utime(writer.fileno(), ns=(5 * SECOND_NS, 5 * SECOND_NS))
    assert file.stat().st_mtime_ns == 5 * SECOND_NS


def test_touch_and_chmod_work_as_everywhere(file) -> None:
    subprocess.run(["touch", "-d", "2001-02-03 04:05:06 UTC", file], check=True)
    assert file.stat().st_mtime == 981173106
    subprocess.run(["chmod", "u+x,go-rwx", file], check=True)
    assert stat.S_IMODE(file.stat().st_mode) == 0o700


def test_mode_of_creation_is_kept(folder) -> None:
    os.close(os.open(folder / "x", os.O_CREAT | os.O_WRONLY, 0o600))
    assert stat.S_IMODE((folder / "x").stat().st_mode) == 0o600


def test_times_modes_tags_and_numbers_are_the_same_after_a_remount(mounted, impatient, folder, file) -> None:
    os.setxattr(file, "user.orion.tag.lead", b"")
    os.utime(file, ns=(7 * SECOND_NS + 5, 7 * SECOND_NS + 5))
    file.chmod(0o640)
    (folder / "other").write_text("other")
    (folder / "other").chmod(0o755)
    (folder / "other").write_text("written again")
    (folder / "sub").mkdir()
    before = {path.name: path.stat() for path in (file, folder / "other")}
    mounted.remount()
    assert os.getxattr(file, "user.orion.tags") == b"lead"
    assert file.stat().st_mtime_ns == 7 * SECOND_NS + 5
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert stat.S_IMODE((folder / "other").stat().st_mode) == 0o755
    for name, told in before.items():
        after = (folder / name).stat()
        assert after.st_mtime_ns == told.st_mtime_ns
        assert after.st_ctime_ns == told.st_ctime_ns
        assert after.st_size == told.st_size
    # While it is written through a mount a file keeps its number there; from then on all show the same.
    there = impatient.mine / folder.name
    wait_for((there / "sub").exists)
    for path in (folder, file, folder / "other", folder / "sub"):
        assert path.stat().st_ino == (there / path.relative_to(folder)).stat().st_ino


def test_numbers_are_the_same_at_every_mount(mounted, impatient, cold) -> None:
    mounted.direct.put(mounted.orion_path(cold / "x"), b"x")
    mounted.direct.make_folder(mounted.orion_path(cold / "folder"))
    there = impatient.point / cold.relative_to(mounted.point)
    for name in (".", "x", "folder"):
        assert (cold / name).stat().st_ino == (there / name).stat().st_ino


def test_numbers_tell_files_apart(mounted) -> None:
    with os.scandir(mounted.mine / "many") as entries:
        numbers = [entry.inode() for entry in entries]
    assert len(set(numbers)) == len(numbers)


def test_stat_of_an_open_file_is_of_its_version(file) -> None:
    with file.open("rb") as reader:
        before = os.fstat(reader.fileno())
        assert before.st_ino == file.stat().st_ino
        file.unlink()
        assert os.fstat(reader.fileno()).st_size == 5000
        assert os.fstat(reader.fileno()).st_ino == before.st_ino


def test_df_tells_the_room_and_the_stack(mounted, folder) -> None:
    room = os.statvfs(folder)
    assert room.f_namemax == 255
    assert 0 < room.f_bavail <= room.f_blocks
    staging = os.statvfs(mounted.home / "state")
    assert abs(room.f_blocks * room.f_frsize - staging.f_blocks * staging.f_frsize) < 2**20
    done = subprocess.run(["df", "-P", folder], capture_output=True, text=True, check=True)
    source, *_, point = done.stdout.splitlines()[1].split()
    host = mounted.server.url.removeprefix("http://")
    assert (source, point) == (f"orion:Demo@{host}", str(mounted.point))


def test_owner_is_the_mounting_user_and_stays(file) -> None:
    os.chown(file, os.getuid(), os.getgid())
    os.chown(file, -1, -1)
    with pytest.raises(PermissionError):
        os.chown(file, 12345, -1)
    with pytest.raises(PermissionError):
        os.chown(file, -1, 12345)
    assert (file.stat().st_uid, file.stat().st_gid) == (os.getuid(), os.getgid())


def test_links_and_devices_are_refused(folder, file) -> None:
    for attempt in (
        lambda: (folder / "link").symlink_to("x"),
        lambda: (folder / "hard").hardlink_to(file),
        lambda: os.mkfifo(folder / "fifo"),
        lambda: os.mknod(folder / "device", stat.S_IFCHR | 0o600, os.makedev(1, 3)),
    ):
        with pytest.raises(PermissionError):
            attempt()
    assert os.listdir(folder) == ["x"]


def test_socket_is_refused(folder) -> None:
    # A socket's path is short: get there by the folder's descriptor.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with socket.socket(socket.AF_UNIX) as listener, pytest.raises(PermissionError):
            listener.bind(f"/proc/self/fd/{descriptor}/socket")
    finally:
        os.close(descriptor)
    assert os.listdir(folder) == []


def test_options_set_owner_and_mode(make_stand, mounted, request) -> None:
    stand = make_stand(server=mounted.server, options=["uid=12345,gid=23456,umask=077", "metadata_ttl_s=0.2"])
    folder = fresh_folder(stand, request)
    (folder / "x").write_text("x")
    told = (folder / "x").stat()
    assert (told.st_uid, told.st_gid) == (12345, 23456)
    told = (stand.mine / "many" / "item-0000.txt").stat()
    assert (told.st_uid, told.st_gid, stat.S_IMODE(told.st_mode)) == (12345, 23456, 0o600)
    assert stat.S_IMODE(stand.mine.stat().st_mode) == 0o700
