"""`orionfs refresh`: which mount and path are meant, and what is said when it can't be done."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from orionfs.cli import refresh
from orionfs.errors import ExitStatus, StartupError
from orionfs.mountinfo import parse_mountinfo

MOUNTINFO = """\
20 1 0:19 / / rw - ext4 /dev/sda rw
30 20 0:50 / {base}/orion rw,relatime - fuse.orionfs orion:Demo@host rw,user_id=0,group_id=0
31 20 0:51 / {base}/other rw,relatime - fuse.sshfs host: rw,user_id=0,group_id=0
"""


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder where the kernel says that there is a mount of ours and one of another kind."""
    mounted = parse_mountinfo(MOUNTINFO.format(base=tmp_path))
    monkeypatch.setattr(refresh, "read_mountinfo", lambda: mounted)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to("orion/my-data")
    (tmp_path / "loop").symlink_to("loop")
    return tmp_path


@pytest.mark.parametrize(
    ("path", "inner"),
    [
        ("orion", "/"),
        ("orion/", "/"),
        ("orion/my-data/x", "/my-data/x"),
        ("./orion/my-data/../team-data", "/team-data"),
        ("link/x", "/my-data/x"),
    ],
)
def test_path_is_found_in_its_mount_without_touching_it(base, path, inner) -> None:
    place = refresh.place_of(path)
    assert (place.entry.mountpoint, place.inner) == (base / "orion", inner)
    assert refresh.place_of(os.path.join(base, path)) == place


@pytest.mark.parametrize("path", ["other/x", ".", "/", "loop/x", "none/at/all"])
def test_path_outside_of_every_mount_is_refused_in_words(base, path) -> None:
    with pytest.raises(StartupError) as error:
        refresh.place_of(path)
    assert error.value.exit_status is ExitStatus.MOUNT_POINT
    assert path in str(error.value)


def test_without_a_path_the_only_mount_is_meant(base) -> None:
    assert refresh.usual_place()[0].inner == "/"


@pytest.mark.parametrize("count", [0, 2])
def test_without_a_path_no_or_several_mounts_are_refused(base, monkeypatch, count) -> None:
    lines = [f"{n} 1 0:6{n} / {base}/{n} rw - fuse.orionfs x rw,user_id=0" for n in range(count)]
    found = parse_mountinfo("\n".join([*lines, ""]))
    monkeypatch.setattr(refresh, "read_mountinfo", lambda: found)
    with pytest.raises(StartupError) as error:
        refresh.usual_place()
    assert error.value.exit_status is ExitStatus.MOUNT_POINT
    assert ("which mount?" in str(error.value)) == (count == 2)


def test_daemon_that_does_not_listen_is_told(base) -> None:
    with pytest.raises(StartupError, match="does not answer"):
        refresh._refresh(refresh.place_of("orion"))
