"""A read-only mount: every change is refused, and no request is made that could be one."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.cli.processes import wait_for

FAILS = {"method": "POST", "path": "/files/upload$", "action": "status", "status": 503}
ATTRIBUTES = ("id", "type", "path", "name", "tags", "tag.x", "sync", "error")


def changes(folder: Path) -> Mapping[str, Callable[[], object]]:
    """Every system call that changes something, in a folder that holds `there`, `tagged` and `sub`."""
    there, new, sub = folder / "there", folder / "new", folder / "sub"
    return {
        "write": lambda: there.write_text("x"),
        "append": lambda: there.open("a").close(),
        "read and write": lambda: there.open("r+").close(),
        "truncate at open": lambda: os.close(os.open(there, os.O_RDONLY | os.O_TRUNC)),
        "truncate": lambda: os.truncate(there, 0),
        "create": lambda: new.write_text("x"),
        "mknod": lambda: os.mknod(new, stat.S_IFREG | 0o600),
        "fifo": lambda: os.mkfifo(new),
        "link": lambda: os.link(there, new),
        "symlink": lambda: new.symlink_to("there"),
        "mkdir": lambda: new.mkdir(),
        "rmdir": lambda: sub.rmdir(),
        "unlink": lambda: there.unlink(),
        "rename": lambda: there.rename(new),
        "rename of a folder": lambda: sub.rename(new),
        "rename over": lambda: there.rename(folder / "tagged"),
        "tag": lambda: os.setxattr(there, "user.orion.tag.x", b""),
        "untag": lambda: os.removexattr(folder / "tagged", "user.orion.tags"),
        "retry": lambda: os.setxattr(there, "user.orion.sync", b"retry"),
        "foreign attribute": lambda: os.setxattr(there, "user.mine", b"x"),
        "chmod": lambda: there.chmod(0o600),
        "chown": lambda: os.chown(there, os.getuid(), os.getgid()),
        "utime": lambda: os.utime(there, (1, 1)),
    }


def errors_of(folder: Path) -> dict[str, set[str]]:
    """What each change ends with."""
    told: dict[str, set[str]] = {}
    for name, change in changes(folder).items():
        try:
            change()
        except OSError as error:
            told.setdefault(errno.errorcode[error.errno or 0], set()).add(name)
        else:
            told.setdefault("done", set()).add(name)
    return told


def look_at(folder: Path) -> None:
    """Whatever reads."""
    assert (folder / "there").read_text() == "there"
    assert sorted(os.listdir(folder)) == ["sub", "tagged", "there"]
    os.statvfs(folder)
    assert not os.access(folder / "there", os.W_OK)
    for name in ATTRIBUTES:
        with contextlib.suppress(OSError):
            os.getxattr(folder / "tagged", f"user.orion.{name}")
    with (folder / "there").open("rb") as file, contextlib.suppress(OSError):
        os.fsync(file.fileno())
    subprocess.run(["du", "-a", folder], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.expect_log("a fault of the plan")
@pytest.mark.expect_log("is not on Orion yet")
def test_read_only_mount_makes_no_request_that_changes_anything(make_stand) -> None:
    stand = make_stand()
    server, folder = stand.server, stand.mine / "folder"
    folder.mkdir()
    (folder / "sub").mkdir()
    for name in ("there", "tagged"):
        (folder / name).write_text(name)
    os.setxattr(folder / "tagged", "user.orion.tag.x", b"")
    os.utime(folder / "there", (10**9, 10**9))
    stand.drain()
    # A promise that a mount which may write has to keep.
    server.misbehave(FAILS)
    with pytest.raises(OSError, match="Input/output error"):
        (stand.mine / "late").write_text("late")
    stand.kill()
    server.misbehave()
    mark = server.mark()
    stand.mount(arguments=["--read-only"])
    look_at(folder)
    assert (folder / "there").stat().st_mtime == 10**9
    assert set(errors_of(folder)) == {"EROFS"}
    done = stand.run("rm", folder / "there", folder / "sub")
    assert (done.returncode, done.stderr.count("read-only")) == (1, 2), done.stderr
    done = stand.run("put", "--as", "file", __file__, folder)
    assert (done.returncode, "the mount is read-only" in done.stderr) == (1, True), done
    if os.geteuid() == 0:
        # The kernel lets everything through now, and the mount itself refuses.
        subprocess.run(["mount", "-i", "-o", "remount,rw", stand.point], check=True)
        told = errors_of(folder)
        assert set(told) <= {"EROFS", "EPERM", "ENOTSUP"}, told
        assert told["EPERM"] <= {"fifo", "link", "symlink", "chown"}
    stand.umount()
    assert {row.method for row in server.rows(mark)} == {"GET"}
    assert "changes of earlier mounts that wait for one that may write: 1" in stand.log
    stand.mount()
    wait_for(lambda: stand.direct.find(f"{stand.direct.home}/late") is not None)
    assert stand.direct.content(f"{stand.direct.home}/late") == b"late"
