"""What the administrator of this machine lets plain users do with FUSE: fusermount3, and /etc/fuse.conf.

A leaf: knows nothing of the rest of the project.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

FUSE_CONF = Path("/etc/fuse.conf")
ALLOW_OTHER = "user_allow_other"


def allows_other(path: Path = FUSE_CONF) -> bool | None:
    """Whether plain users may mount with `allow_other`; None where the file can't be read."""
    try:
        lines = path.read_text("utf-8", "replace").splitlines()
    except FileNotFoundError:
        return False
    except OSError:
        return None
    return ALLOW_OTHER in (line.partition("#")[0].strip() for line in lines)


def may_mount(program: Path) -> bool:
    """Whether a fusermount3 mounts for plain users: it is setuid root, or has capabilities."""
    status = program.stat()
    if status.st_uid == 0 and status.st_mode & stat.S_ISUID:
        return True
    try:
        return bool(os.getxattr(program, "security.capability"))
    except OSError:
        return False
