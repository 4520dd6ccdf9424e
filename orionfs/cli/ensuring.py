"""Seeing that something is mounted, as shell profiles and cron want it: quick, quiet, and often at once.

Used by `orionfs mount --ensure`. Whoever comes second waits for who came first. Nothing here touches the
mount itself; what mounts is given by the caller.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from orionfs.cli.background import Patience
from orionfs.cli.mounts import Health, make_folder, probe, wrong_mount_point
from orionfs.cli.talking import connect, order
from orionfs.cli.terminal import own_command, shell_word
from orionfs.config import control_path, private_runtime_folder
from orionfs.errors import ExitStatus, StartupError
from orionfs.mountinfo import ORIONFS_TYPE, MountEntry, mount_at, read_mountinfo

# All of it ends within 10 s: that leaves time for the interpreter to start.
LIMIT_S = 9.0
# Of that, to end a daemon that has not come up, and to take away what it has mounted.
END_S = 1.0
_PROBE_S = 4.0
_PROFILE_S = 1.0
_LOOK_EVERY_S = 0.05


def ensured(point: Path, profile: str | None, mount: Callable[[Patience], str]) -> str | None:
    """Mount unless a mount that answers is there; what was mounted, None if there was nothing to do.

    `profile` is the one that somebody has asked for by name. Raises StartupError: UNREACHABLE if it takes
    too long, MOUNT_POINT for what is not to be mended.
    """
    ends_at = time.monotonic() + LIMIT_S
    if _is_mounted(point, profile):
        return None
    with _alone(point, ends_at):
        if _is_mounted(point, profile):
            return None
        made = [] if mount_at(read_mountinfo(), point) is not None else make_folder(point)
        try:
            return _mounted(point, mount, ends_at)
        except BaseException:
            for folder in made:
                with suppress(OSError):
                    folder.rmdir()
            raise


def _mounted(point: Path, mount: Callable[[Patience], str], ends_at: float) -> str:
    left_s = ends_at - time.monotonic() - 2 * END_S
    if left_s <= 0:
        raise _too_slow(point)
    try:
        return mount(Patience(left_s, END_S))
    except StartupError as error:
        if error.exit_status is ExitStatus.FAILED and ends_at - time.monotonic() < 2 * END_S:
            raise _too_slow(point) from error
        raise


def _is_mounted(point: Path, profile: str | None) -> bool:
    """Whether a mount that answers is there.

    Raises StartupError for one that hangs, since it may hold what is not yet on Orion, and for one that is
    of another profile.
    """
    entry = mount_at(read_mountinfo(), point)
    if entry is None or entry.fs_type != ORIONFS_TYPE:
        return False
    health = probe(point, _PROBE_S)
    if health is Health.SILENT:
        raise wrong_mount_point(
            f"{point} holds a mount of {entry.source} that does not answer; it goes away with:"
            f" {own_command()} umount --force {shell_word(point)}"
        )
    if health is Health.DEAD:
        return False
    there = _profile_of(point, entry) if profile is not None else None
    if there not in (None, profile):
        raise wrong_mount_point(
            f"{point} is mounted with profile {there!r}, not {profile!r}: unmount it first, or take another"
            " directory"
        )
    return True


def _profile_of(point: Path, entry: MountEntry) -> str | None:
    connection = connect(point, entry)
    if connection is None:
        return None
    with connection:
        told = order(connection, "status", _PROFILE_S)
    return None if told is None else told.get("profile")


@contextmanager
def _alone(point: Path, ends_at: float) -> Iterator[None]:
    """Nobody else of this user mounts there: many shells begin at once. StartupError if that takes long."""
    path = control_path(private_runtime_folder(), point).with_suffix(".ensure")
    lock_fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while not _is_locked(lock_fd):
            if time.monotonic() > ends_at:
                raise _too_slow(point)
            time.sleep(_LOOK_EVERY_S)
        yield
    finally:
        os.close(lock_fd)


def _is_locked(lock_fd: int) -> bool:
    try:
        fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _too_slow(point: Path) -> StartupError:
    return StartupError(
        f"{point} could not be mounted within 10 s, so it was left: 'orionfs mount' waits longer, and says"
        " what is wrong",
        ExitStatus.UNREACHABLE,
    )
