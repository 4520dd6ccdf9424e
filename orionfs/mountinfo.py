"""The kernel's list of mounts, read without touching any of them.

A path on a FUSE mount whose daemon hangs can't even be stat'ed; `/proc/self/mountinfo` can always be
read. Used by `config` (which filesystem a folder lies on), by the command line and by the tests. A
leaf: knows nothing of the rest of the project.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

MOUNTINFO = Path("/proc/self/mountinfo")

# What the kernel calls a FUSE mount whose subtype is "orionfs".
ORIONFS_TYPE = "fuse.orionfs"

# fmt: off
NETWORK_TYPES = frozenset({
    "9p", "acfs", "afs", "beegfs", "ceph", "cifs", "coda", "gfs", "gfs2", "glusterfs", "gpfs", "lustre",
    "ncpfs", "nfs", "nfs4", "ocfs2", "orangefs", "panfs", "pvfs2", "smb3", "smbfs", "virtiofs", "wekafs",
})
# fmt: on


@dataclass(frozen=True, slots=True)
class MountEntry:
    """One line of mountinfo (proc_pid_mountinfo(5)), the fields we use."""

    device: str  # major:minor
    mountpoint: Path
    options: frozenset[str]  # of the mount
    fs_type: str
    source: str
    super_options: frozenset[str]  # of the filesystem; FUSE tells its owner here as user_id=N

    @property
    def is_network(self) -> bool:
        """Whether the files may lie on another machine; FUSE filesystems of a named kind count as such."""
        return self.fs_type in NETWORK_TYPES or self.fs_type.startswith("fuse.")

    @property
    def owner_uid(self) -> int | None:
        """The user who mounted it, where the filesystem says so."""
        for option in self.super_options:
            name, _, value = option.partition("=")
            if name == "user_id" and value.isdigit():
                return int(value)
        return None


def parse_mountinfo(text: str) -> list[MountEntry]:
    """Entries in the kernel's order: of two with one mount point the later one is on top.

    Lines that have not the documented form are left out.
    """
    return [entry for line in text.split("\n") if (entry := _parse_line(line)) is not None]


def _parse_line(line: str) -> MountEntry | None:
    front, dash, back = line.partition(" - ")
    fields, tail = front.split(" "), back.split(" ")
    if not dash or len(fields) < 6 or len(tail) < 3:
        return None
    return MountEntry(
        device=fields[2],
        mountpoint=Path(_unescape(fields[4])),
        options=frozenset(fields[5].split(",")),
        fs_type=_unescape(tail[0]),
        source=_unescape(tail[1]),
        super_options=frozenset(tail[2].split(",")),
    )


def _unescape(field: str) -> str:
    """Undo the kernel's octal escapes of space, tab, newline and backslash."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)


def read_mountinfo() -> list[MountEntry]:
    """The mounts that this process sees; empty where there is no /proc."""
    try:
        text = os.fsdecode(MOUNTINFO.read_bytes())
    except FileNotFoundError:
        return []
    return parse_mountinfo(text)


def mount_at(entries: Iterable[MountEntry], mountpoint: Path) -> MountEntry | None:
    """The topmost filesystem mounted on exactly this path."""
    found = None
    for entry in entries:
        if entry.mountpoint == mountpoint:
            found = entry
    return found


def mount_of(entries: Iterable[MountEntry], path: Path) -> MountEntry | None:
    """The filesystem that an absolute path without symbolic links lies on."""
    found: MountEntry | None = None
    for entry in entries:
        if path.is_relative_to(entry.mountpoint) and (
            found is None or len(entry.mountpoint.parts) >= len(found.mountpoint.parts)
        ):
            found = entry
    return found
