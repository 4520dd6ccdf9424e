"""A mount namespace of one's own, for machines where a plain user can't mount in the usual way.

Mounting takes a right that plain users get from `fusermount3`, a setuid program: not installed in many
containers, forbidden by NoNewPrivs. In a user and mount namespace of its own a process has that right,
where the system allows such namespaces. What is mounted there is seen by this process and by what it
starts, and is gone with the last of them. Must not know what is mounted.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from orionfs.config import NAMESPACE_VARIABLE
from orionfs.errors import ExitStatus, StartupError
from orionfs.fuseconf import may_mount

# <linux/sched.h>, <linux/mount.h>; Python has os.unshare since 3.12 only.
_CLONE_NEWNS = 0x00020000
_CLONE_NEWUSER = 0x10000000
_MS_REC = 0x4000
_MS_SLAVE = 0x80000
# <linux/capability.h>, <linux/prctl.h>
_CAP_SYS_ADMIN = 21
_CAPABILITY_VERSION_3 = 0x20080522
_PR_CAP_AMBIENT, _RAISE, _CLEAR_ALL = 47, 2, 4

_REFUSED_BY = (
    "the system forbids it (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone, "
    "kernel.apparmor_restrict_unprivileged_userns)"
)


def why_no_usual_mount() -> str | None:
    """Why this user can't mount through fusermount3, in words; None where nothing speaks against it."""
    if os.geteuid() == 0:
        return None
    program = shutil.which("fusermount3")
    if program is None:
        return "fusermount3 (package fuse3) is not installed"
    if not may_mount(Path(program)):
        return f"{program} has no right to mount: it is not setuid root"
    if "\nNoNewPrivs:\t1" in Path("/proc/self/status").read_text():
        return f"{program} gets no right to mount here: NoNewPrivs is set"
    return None


def enter() -> None:
    """Move this process, which must have one thread only, into a mount namespace of its own.

    The user stays who it is. Mounts made elsewhere later are seen, those made here are not seen
    elsewhere. Raises StartupError with status FUSE.
    """
    uid, gid = os.geteuid(), os.getegid()
    try:
        try:
            _call("unshare", _CLONE_NEWNS)
        except PermissionError:
            _call("unshare", _CLONE_NEWUSER | _CLONE_NEWNS)
            _be_who_one_was(uid, gid)
        _call("mount", b"none", b"/", None, _MS_REC | _MS_SLAVE, None)
    except OSError as error:
        is_forbidden = error.errno in (errno.EPERM, errno.ENOSPC, errno.EACCES, errno.EUSERS)
        why = _REFUSED_BY if is_forbidden else error.strerror
        raise StartupError(f"a namespace of its own can't be had: {why}", ExitStatus.FUSE) from error
    os.environ[NAMESPACE_VARIABLE] = os.readlink("/proc/self/ns/mnt")


@contextlib.contextmanager
def handing_on_the_right() -> Iterator[None]:
    """In the context, programs that this process starts in a namespace of its own may mount there.

    A program that root does not start has no rights but those that are handed on like this.
    """
    is_needed = NAMESPACE_VARIABLE in os.environ and os.geteuid() != 0
    if is_needed:
        _make_inheritable(1 << _CAP_SYS_ADMIN)
        _call("prctl", _PR_CAP_AMBIENT, _RAISE, _CAP_SYS_ADMIN, 0, 0)
    try:
        yield
    finally:
        if is_needed:
            _call("prctl", _PR_CAP_AMBIENT, _CLEAR_ALL, 0, 0, 0)


def _make_inheritable(capabilities: int) -> None:
    """See capset(2): effective, permitted, inheritable of the first 32 capabilities, then of the rest."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)()
    _call("capget", header, sets)
    sets[2] |= capabilities
    _call("capset", header, sets)


def _be_who_one_was(uid: int, gid: int) -> None:
    """In a new user namespace nobody is anybody until it is told."""
    # Without this an unprivileged process may not map its group.
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")


def _call(name: str, *arguments: int | bytes | ctypes.Array[ctypes.c_uint32] | None) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), name)
