"""The mount itself: made, tuned and ended. pyfuse3 keeps its session in globals: one process, one mount."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyfuse3

from orionfs.errors import ExitStatus, StartupError
from orionfs.fuse.operations import Operations
from orionfs.mountinfo import mount_at, read_mountinfo

log = logging.getLogger(__name__)

_MAX_BACKGROUND = 256  # with the kernel's 12, twelve stalled reads stop every other one for 19 s (measured)
_CONGESTION_THRESHOLD = 192
_READ_AHEAD_KB = 1024  # 340 MB/s with the default 128, several times that with 1 MiB requests (measured)


@contextmanager
def mounted(operations: Operations, mountpoint: Path, source: str, options: set[str]) -> Iterator[None]:
    """A mount for as long as the context lasts. Raises StartupError.

    After an unexpected error the mount stays, dead: an empty folder in its place would make a mirror
    delete everything.
    """
    try:
        pyfuse3.init(operations, str(mountpoint), {f"fsname={_escaped(source)}", *options})
    except RuntimeError as error:
        raise StartupError(
            f"{mountpoint} can't be mounted: {error}; it takes /dev/fuse and fusermount3 (package fuse3)",
            ExitStatus.FUSE,
        ) from error
    try:
        yield
    except Exception:
        pyfuse3.close(unmount=False)
        raise
    pyfuse3.close(unmount=True)


def _escaped(source: str) -> str:
    """For libfuse's list of options, where a comma would begin another one."""
    shown = "".join(char if char.isprintable() else "?" for char in source)
    return shown.replace("\\", "\\\\").replace(",", "\\,")


def terminate() -> None:
    """Let `run` return."""
    pyfuse3.terminate()


def tune(mountpoint: Path) -> None:
    """Let stalled reads not delay others, and read ahead more: where the kernel lets us, else not."""
    mount = mount_at(read_mountinfo(), mountpoint)
    if mount is None:
        return
    minor = mount.device.split(":")[1]
    connection = Path("/sys/fs/fuse/connections") / minor
    settings: tuple[tuple[Path, int], ...] = (
        (connection / "max_background", _MAX_BACKGROUND),
        (connection / "congestion_threshold", _CONGESTION_THRESHOLD),
        (Path("/sys/class/bdi") / mount.device / "read_ahead_kb", _READ_AHEAD_KB),
    )
    for path, value in settings:
        try:
            path.write_text(str(value))
        except OSError as error:
            log.debug("%s stays as it is: %s", path, error.strerror)
