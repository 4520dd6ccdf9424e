"""Mount points as the command line sees them: which path is meant, what is mounted there, is it alive.

Used by the commands that mount and unmount. A mount that hangs must not take the command with it, so
nothing here touches one: mountinfo says what is mounted, another process finds out whether it answers.
"""

from __future__ import annotations

import enum
import errno
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from orionfs.cli.terminal import own_command, shell_word
from orionfs.config import usual_mountpoint
from orionfs.errors import ExitStatus, StartupError
from orionfs.mountinfo import ORIONFS_TYPE, MountEntry, mount_at, mount_of, read_mountinfo
from orionfs.profiles import load_profile

PROBE_TIMEOUT_S = 5.0
UNMOUNT_TIMEOUT_S = 30.0
USERS_SHOWN = 5
AUTOMOUNT_TYPE = "autofs"  # of systemd's .automount units, and of automount(8)

# Its exit status is the errno; -I and -S leave out all that could touch other folders.
PROBE = "import os, sys\ntry: os.statvfs(sys.argv[1])\nexcept OSError as error: sys.exit(error.errno)"


class Health(enum.Enum):
    """What a mount says when it is asked."""

    ANSWERS = "answers"
    DEAD = "its daemon is gone"
    SILENT = "does not answer"


class MountBusy(Exception):
    """The kernel refused to unmount: somebody uses a file or folder of it."""


def resolve(path: str) -> Path:
    """The absolute path that the kernel's list of mounts knows, found without touching a mount on it."""
    point = Path(os.path.abspath(path))
    for _ in range(40):
        point = Path(os.path.realpath(point.parent), point.name)
        if mount_at(read_mountinfo(), point) is not None or not os.path.islink(point):
            return point
        point = point.parent / point.readlink()
    raise wrong_mount_point(f"{path}: too many symbolic links")


def probe(mountpoint: Path, timeout_s: float = PROBE_TIMEOUT_S) -> Health:
    """Ask the filesystem there how it is, from another process, since the answer may never come."""
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", PROBE, mountpoint], stdin=subprocess.DEVNULL
    )
    try:
        status = process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        let_go(process)
        return Health.SILENT
    return Health.DEAD if status in (errno.ENOTCONN, errno.ECONNABORTED) else Health.ANSWERS


def let_go(process: subprocess.Popen[bytes]) -> None:
    """Forget a process that outlives us, or that can't be waited for."""
    # Else the destructor warns of a process that still runs.
    process.returncode = 0


def point_of(mountpoint: str | None, profile_name: str | None) -> Path:
    """The mount point that is meant: the one named, else that of the profile. Raises StartupError."""
    return resolve(mountpoint or str(usual_mountpoint(load_profile(profile_name))))


def make_folder(point: Path) -> list[Path]:
    """Make the mount point if it is missing; returns the folders made, the deepest first."""
    made: list[Path] = []
    entries = read_mountinfo()
    if mount_at(entries, point) is not None:
        return made  # a dead one can't even be looked at
    found = mount_of(entries, point.parent)
    if found is not None and found.fs_type == ORIONFS_TYPE:
        raise wrong_mount_point(f"{point} is in another mount, that on {found.mountpoint}")
    missing = [folder for folder in (point, *point.parents) if not os.path.lexists(folder)]
    try:
        for folder in reversed(missing):
            folder.mkdir()
            made.insert(0, folder)
    except OSError as error:
        raise StartupError(f"{folder} can't be made: {error.strerror}", ExitStatus.MOUNT_POINT) from error
    return made


def prepare_mount_point(point: Path) -> None:
    """See that one can mount on `point`, mending what a daemon that died has left there.

    Raises StartupError with status MOUNT_POINT.
    """
    while (entry := mount_at(read_mountinfo(), point)) is not None:
        if entry.fs_type == AUTOMOUNT_TYPE:
            return  # it waits for this mount: whoever looks into it would wait as well
        _mend(point, entry)
    where = shell_word(point)
    try:
        names = os.listdir(point)
    except FileNotFoundError:
        raise wrong_mount_point(f"{point} does not exist; make it with: mkdir -p {where}") from None
    except NotADirectoryError:
        raise wrong_mount_point(f"{point} is not a directory: a mount needs an empty one") from None
    except OSError as error:
        raise wrong_mount_point(f"{point} can't be used: {error.strerror}") from None
    if names:
        raise wrong_mount_point(f"{point} is not empty: mount on an empty directory, such as {where}/orion")
    if not os.access(point, os.W_OK):
        raise wrong_mount_point(f"{point} belongs to somebody else: mount on a directory of your own")


def _mend(point: Path, entry: MountEntry) -> None:
    """Take a dead mount of ours away; refuse every other one."""
    if entry.fs_type != ORIONFS_TYPE:
        raise wrong_mount_point(f"{point} is already mounted: {entry.source} ({entry.fs_type})")
    health = probe(point)
    if health is Health.ANSWERS:
        raise wrong_mount_point(f"{point} is already mounted: {entry.source}")
    if health is Health.SILENT:
        advice = f"{own_command()} umount --force {shell_word(point)}"
        raise wrong_mount_point(f"{point} holds a mount of {entry.source} that does not answer: {advice}")
    unmount(point, is_lazy=True)


def unmount(mountpoint: Path, *, is_lazy: bool) -> None:
    """Unmount; lazily means now, whoever still uses it. MountBusy, or StartupError with what was said."""
    if os.geteuid() == 0:
        # Without -c, umount(8) asks the filesystem itself, which may not answer.
        # Without -i it would call our own helper, which calls this.
        command = ["umount", "-i", "-c", *(["-l"] if is_lazy else [])]
    else:
        command = ["fusermount3", "-uz" if is_lazy else "-u"]
    try:
        done = subprocess.run(
            [*command, "--", str(mountpoint)],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=UNMOUNT_TIMEOUT_S,
            env={**os.environ, "LC_ALL": "C"},
        )
    except (FileNotFoundError, subprocess.TimeoutExpired) as error:
        raise StartupError(f"{mountpoint} can't be unmounted: {error}", ExitStatus.FUSE) from None
    if done.returncode == 0 or mount_at(read_mountinfo(), mountpoint) is None:
        return
    said = " ".join(done.stderr.split())
    if "busy" in said:
        raise MountBusy(said)
    raise StartupError(f"{mountpoint} can't be unmounted: {said}", ExitStatus.FUSE)


def wait_until_gone(mountpoint: Path, timeout_s: float) -> bool:
    """Whether no orionfs is mounted there any longer, within the time given."""
    deadline = time.monotonic() + timeout_s
    while (entry := mount_at(read_mountinfo(), mountpoint)) is not None and entry.fs_type == ORIONFS_TYPE:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def users_of(mountpoint: Path, proc: Path = Path("/proc")) -> list[str]:
    """Processes, as "name (pid N)", that stand in the mount or hold something of it open.

    Reads links only: a stat of what they name would be a call into the mount.
    """
    users = []
    for process in sorted((entry for entry in proc.iterdir() if entry.name.isdigit()), key=_pid):
        if _pid(process) != os.getpid() and any(_is_below(link, mountpoint) for link in _links(process)):
            users.append(f"{_name(process)} (pid {process.name})")
            if len(users) == USERS_SHOWN:
                break
    return users


def _pid(process: Path) -> int:
    return int(process.name)


def _links(process: Path) -> Iterator[Path]:
    yield from (process / name for name in ("cwd", "root", "exe"))
    try:
        yield from (process / "fd" / name for name in os.listdir(process / "fd"))
    except OSError:
        # It has ended, or belongs to another user.
        return


def _is_below(link: Path, mountpoint: Path) -> bool:
    try:
        return Path(os.readlink(link)).is_relative_to(mountpoint)
    except OSError:
        return False


def _name(process: Path) -> str:
    try:
        return (process / "comm").read_text(errors="replace").strip()
    except OSError:
        return "a process"


def wrong_mount_point(message: str) -> StartupError:
    """An error of status MOUNT_POINT."""
    return StartupError(message, ExitStatus.MOUNT_POINT)
