"""The kernel's list of mounts."""

from __future__ import annotations

from pathlib import Path

import pytest

from orionfs import mountinfo
from orionfs.mountinfo import mount_at, mount_of, parse_mountinfo

TEXT = r"""21 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,errors=remount-ro
40 21 0:35 / /home/me/a\040b\011c\012d\134e rw - fuse.orionfs orion:1@stack rw,user_id=1000,group_id=1000
41 21 0:36 / /home rw master:2 propagate_from:1 - nfs4 server:/home rw
42 41 0:37 / /home/me/x rw - fuse.sshfs host: rw,user_id=1000
43 21 0:38 / /home/me/x rw - tmpfs tmpfs rw
not a line
44 21 0:39 / /cut
"""


def test_escaped_mount_point_is_read_byte_for_byte() -> None:
    entry = parse_mountinfo(TEXT)[1]
    assert entry.mountpoint == Path("/home/me/a b\tc\nd\\e")
    assert (entry.fs_type, entry.source, entry.device) == ("fuse.orionfs", "orion:1@stack", "0:35")
    assert entry.owner_uid == 1000


def test_lines_of_another_form_are_left_out() -> None:
    assert len(parse_mountinfo(TEXT)) == 5
    assert parse_mountinfo("") == []


def test_the_later_of_two_mounts_in_one_place_is_on_top() -> None:
    entries = parse_mountinfo(TEXT)
    found = mount_at(entries, Path("/home/me/x"))
    assert found is not None
    assert (found.fs_type, found.owner_uid) == ("tmpfs", None)
    assert mount_at(entries, Path("/home/me")) is None


@pytest.mark.parametrize(
    ("path", "fs_type", "is_network"),
    [
        ("/usr/lib", "ext4", False),
        ("/home/me/y", "nfs4", True),
        ("/homeless", "ext4", False),
        ("/home/me/x/deep", "tmpfs", False),
        ("/home/me/a b\tc\nd\\e/f", "fuse.orionfs", True),
    ],
)
def test_path_lies_on_the_deepest_mount_above_it(path, fs_type, is_network) -> None:
    found = mount_of(parse_mountinfo(TEXT), Path(path))
    assert found is not None
    assert (found.fs_type, found.is_network) == (fs_type, is_network)


def test_own_mounts_are_read() -> None:
    assert mount_at(mountinfo.read_mountinfo(), Path("/")) is not None


def test_machine_without_proc_has_no_list(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(mountinfo, "MOUNTINFO", tmp_path / "none")
    assert mountinfo.read_mountinfo() == []
