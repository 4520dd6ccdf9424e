"""A real systemd, booted in namespaces of its own beside whatever runs this machine.

It has this machine's programs, its own processes, mounts, users and folders for what systems keep (/etc,
/var, /srv, /home, /run, /tmp, sbin): what it writes there nobody else sees, and all is gone with it. The
network is this machine's. Needs root.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.cli.processes import wait_for

REPOSITORY = Path(__file__).resolve().parents[2]
SYSTEMD = Path("/usr/lib/systemd/systemd")
NEEDED = ("unshare", "nsenter", "systemctl", "setpriv")
BOOT_TIMEOUT_S = 60
RUN_TIMEOUT_S = 100
USER, UID = "ada", 4711

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# What would change the machine that it shares, or what a machine in a box has no use for.
_MASKED = """
    systemd-sysctl.service systemd-modules-load.service systemd-binfmt.service systemd-udevd.service
    systemd-udev-trigger.service systemd-random-seed.service systemd-remount-fs.service getty.target
    systemd-tmpfiles-clean.timer systemd-networkd.service systemd-timesyncd.service console-getty.service
    proc-sys-fs-binfmt_misc.automount systemd-firstboot.service systemd-machine-id-commit.service
    systemd-tmpfiles-setup-dev.service kmod-static-nodes.service
"""

_TRIAL = """
mount --make-rprivate /
umount -R -l /sys/fs/cgroup 2>/dev/null || :
mount -t cgroup2 none /sys/fs/cgroup
mkdir /sys/fs/cgroup/orionfs-trial-$0
rmdir /sys/fs/cgroup/orionfs-trial-$0
"""

# $1: a name for its cgroup. $2: folders of programs that nobody but root may enter.
_BOOT = r"""
set -e
mount --make-rprivate /
# A mount of somebody else's lives as long as a copy of it does.
for point in $(awk '$0 ~ / - fuse[. ]/ { print $5 }' /proc/self/mountinfo); do
    umount -i -c -l "$(printf '%b' "$point")" || :
done
umount -R -l /sys/fs/cgroup 2>/dev/null || :
mount -t cgroup2 none /sys/fs/cgroup
mkdir "/sys/fs/cgroup/$1"
echo $$ > "/sys/fs/cgroup/$1/cgroup.procs"
exec unshare --fork --pid --uts --ipc --cgroup --mount-proc --kill-child sh -ec '
umount /sys/fs/cgroup
mount -t cgroup2 none /sys/fs/cgroup
mount -t tmpfs -o mode=755 none /run
mkdir /run/lock
for folder in /etc /var /srv "$(readlink -f /sbin)" $0; do
    layers="/run/layers$folder"
    mkdir -p "$layers/upper" "$layers/work"
    chmod 755 "$layers/upper"
    mount -t overlay -o "lowerdir=$folder,upperdir=$layers/upper,workdir=$layers/work" none "$folder"
done
mount -t tmpfs -o mode=755 none /etc/systemd/system
mount -t tmpfs -o mode=755 none /home
mount -t tmpfs -o mode=1777 none /tmp
for unit in $1; do ln -s /dev/null "/etc/systemd/system/$unit"; done
: > /etc/fstab
echo "$2:x:$3:$3::/home/$2:/bin/sh" >> /etc/passwd
echo "$2:x:$3:" >> /etc/group
echo "$2:*:19000:0:99999:7:::" >> /etc/shadow
mkdir "/home/$2"
chown "$3:$3" "/home/$2"
exec env -i container=podman PATH="$PATH" /usr/lib/systemd/systemd --system --unit=multi-user.target
' "$2" "$3" "$4" "$5"
"""


@functools.cache
def why_not() -> str | None:
    """Why no systemd can be booted here; None if one can."""
    if os.geteuid() != 0:
        return "booting a systemd takes root"
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if not SYSTEMD.exists() or missing:
        return f"not installed: {', '.join(missing) or 'systemd'}"
    if not _pam_modules():
        return "libpam-systemd is not installed"
    known = Path("/proc/filesystems").read_text().split()
    lacking = {"cgroup2", "overlay", "tmpfs", "autofs"} - set(known)
    if lacking:
        return f"the kernel has no {', '.join(sorted(lacking))}"
    tried = subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "--cgroup", "sh", "-ec", _TRIAL, str(os.getpid())],
        capture_output=True,
        text=True,
        check=False,
    )
    return None if tried.returncode == 0 else f"root may not do it here: {tried.stderr.strip()}"


def _pam_modules() -> list[Path]:
    """Without it a user's systemd does not start."""
    folders = (Path("/usr/lib"), Path("/usr/lib64"), Path("/lib"), Path("/lib64"))
    patterns = ("security/pam_systemd.so", "*/security/pam_systemd.so")
    return [path for folder in folders for pattern in patterns for path in folder.glob(pattern)]


class Machine:
    """A booted systemd; `close` it."""

    def __init__(self, folder: Path) -> None:
        self._log = (folder / "boot.log").open("w+")
        self._cgroup = f"orionfs-test-{os.getpid()}-{id(self):x}"
        closed = " ".join(map(str, _closed_folders()))
        arguments = [self._cgroup, closed, " ".join(_MASKED.split()), USER, str(UID)]
        self._process = subprocess.Popen(
            # It ends with us, however we end.
            ["setpriv", "--pdeathsig=KILL", "unshare", "--mount", "sh", "-c", _BOOT, "sh", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            env={"PATH": _PATH},
            start_new_session=True,
        )
        try:
            wait_until(self._is_up, BOOT_TIMEOUT_S)
        except BaseException:
            print((folder / "boot.log").read_text())
            self.close()
            raise

    def _is_up(self) -> bool:
        assert self._process.poll() is None, "it did not boot"
        if self._init is None:
            return False
        return self("systemctl", "is-system-running", check=False).strip() in ("running", "degraded")

    @property
    def _init(self) -> int | None:
        """Its first process, as this machine numbers it."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        return int(children[0]) if children else None

    def __call__(self, *command: str, check: bool = True, stdin: str = "", user: bool = False) -> str:
        """What a command there prints to stdout; with `user` that of a session of the plain user."""
        done = self.run(*command, stdin=stdin, user=user)
        assert not check or done.returncode == 0, (done, self.journal())
        return done.stdout

    def run(self, *command: str, stdin: str = "", user: bool = False) -> subprocess.CompletedProcess[str]:
        """Run a command there."""
        environment = {"PATH": _PATH, "HOME": "/root", "LC_ALL": "C"}
        become: list[str] = []
        if user:
            environment |= {"HOME": f"/home/{USER}", "XDG_RUNTIME_DIR": f"/run/user/{UID}"}
            become = ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups"]
        return subprocess.run(
            ["nsenter", f"--target={self._init}", "--mount", "--pid", "--wd=/", "--", *become, *command],
            input=stdin,
            capture_output=True,
            text=True,
            env=environment,
            check=False,
            timeout=RUN_TIMEOUT_S,
        )

    def log_in(self) -> None:
        """Begin what a session of the plain user has: its systemd, and its XDG_RUNTIME_DIR."""
        self("systemctl", "start", f"user@{UID}.service")

    def orionfs(self, *arguments: str, user: bool = False, check: bool = True) -> str:
        """`orionfs ARGUMENTS` there."""
        return self(str(program()), *arguments, user=user, check=check)

    def write(self, path: str, text: str, *, mode: str = "644", user: bool = False) -> None:
        """Make a file there, and its folder."""
        script = 'mkdir -p "${1%/*}"; cat > "$1"; chmod "$2" "$1"'
        self("sh", "-ec", script, "sh", path, mode, stdin=text, user=user)

    def mounts(self) -> dict[str, str]:
        """What is mounted there: type by mount point."""
        lines = [line.split() for line in self("cat", "/proc/self/mountinfo").splitlines()]
        return {line[4]: line[line.index("-") + 1] for line in lines}

    def property(self, unit: str, name: str, *, user: bool = False) -> str:
        """What systemd says of a unit."""
        manager = ["--user"] if user else []
        return self("systemctl", *manager, "show", f"--property={name}", "--value", unit, user=user).strip()

    def journal(self) -> str:
        """The end of what everybody there has said."""
        said_by = ("--identifier=systemd", "--identifier=orionfs")
        return self.run("journalctl", "--no-pager", "--lines=60", *said_by).stdout

    def close(self) -> None:
        """End it with all its processes; nothing is left of it."""
        init = self._init
        # It is pid 1 of its namespace: with it all others there end.
        for pid in (init, self._process.pid):
            if pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self._process.wait(30)
        self._log.close()
        _remove_cgroup(self._cgroup)


def wait_until(is_so: Callable[[], bool], timeout_s: float = 20) -> None:
    """Wait for what takes a program to find out: not as often as what is only looked at."""
    deadline = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < deadline, "it did not come to that in time"
        time.sleep(0.15)


def program() -> Path:
    """The program as it is installed beside the interpreter that runs the tests."""
    return Path(sys.executable).with_name("orionfs")


def _closed_folders() -> Iterator[Path]:
    """Folders above interpreter and program that others may not enter."""
    found = set()
    for path in (REPOSITORY, Path(sys.prefix), Path(sys.base_prefix), Path(sys.executable).resolve()):
        found |= {each for each in path.parents if not each.stat().st_mode & 0o001}
    return iter(sorted(found))


def _remove_cgroup(name: str) -> None:
    """Take the groups away that it has made, which outlive their processes."""
    for hierarchy in (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup")):
        for top in hierarchy.glob(f"**/{name}"):
            for folder in sorted((path for path in top.rglob("*") if path.is_dir()), reverse=True):
                wait_for(lambda folder=folder: _is_gone(folder))  # type: ignore[misc]
            wait_for(lambda top=top: _is_gone(top))  # type: ignore[misc]
            return


def _is_gone(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:  # its last process is still on its way out
        return False
    return True
