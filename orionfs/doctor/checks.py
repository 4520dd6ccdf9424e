"""Judging the facts: each check gives findings, each with a verdict, words, and what mends it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

from orionfs.doctor.facts import Disk, Facts, Fuse

LEAST_KERNEL = (4, 18)  # the first that lets a mount be made in a namespace of one's own
LEAST_FREE_BYTES = 2**30
SKEW_MAX_S = 60.0
_VENDOR = "vendor"


class Verdict(Enum):
    """How bad it is; `WARN` is what a mount can live with."""

    OK = "ok"
    WARN = "warn"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Finding:
    """One point: its name, how it is, in words, and the command or step that mends it."""

    name: str
    verdict: Verdict
    message: str
    mend: str | None = None

    def told(self) -> dict[str, Any]:
        """As plain data."""
        return {"name": self.name, "verdict": self.verdict.value, "message": self.message, "mend": self.mend}


Findings = Iterator[Finding]


def judge(facts: Facts) -> list[Finding]:
    """All findings, in the order in which one mends."""
    return [finding for check in CHECKS for finding in check(facts)]


def _ok(name: str, message: str) -> Finding:
    return Finding(name, Verdict.OK, message)


def _bad(name: str, message: str, mend: str) -> Finding:
    return Finding(name, Verdict.BAD, message, mend)


def _warn(name: str, message: str, mend: str | None = None) -> Finding:
    return Finding(name, Verdict.WARN, message, mend)


# -- this machine --------------------------------------------------------------------------------


def check_kernel(facts: Facts) -> Findings:
    """Old kernels mount, but only through the helper."""
    numbers = tuple(int(part) for part in facts.kernel.split("-")[0].split(".")[:2] if part.isdigit())
    if len(numbers) == 2 and numbers < LEAST_KERNEL:
        least = ".".join(map(str, LEAST_KERNEL))
        yield _warn("kernel", f"Linux {facts.kernel}: older than {least}, so 'exec --private' can't work")
    else:
        yield _ok("kernel", f"Linux {facts.kernel}")


def check_pyfuse3(facts: Facts) -> Findings:
    """Without it nothing mounts; the library and the server work."""
    fuse = facts.fuse
    if fuse.pyfuse3 is None:
        yield _bad(
            "pyfuse3",
            f"it can't be imported: {fuse.problem}",
            "install gcc, pkg-config and libfuse3-dev (Debian) or fuse3-devel (Fedora), then:"
            " pip install --force-reinstall --no-cache-dir pyfuse3",
        )
    else:
        yield _ok("pyfuse3", f"{fuse.pyfuse3} on libfuse {fuse.libfuse or '?'} ({fuse.libfuse_path or '?'})")


def check_device(facts: Facts) -> Findings:
    """All goes through /dev/fuse."""
    if facts.fuse.device == "usable":
        yield _ok("/dev/fuse", "this user may open it")
    elif facts.fuse.device == "missing":
        yield _bad("/dev/fuse", "it is missing", "as root: modprobe fuse; in a container: --device /dev/fuse")
    else:
        yield _bad("/dev/fuse", "this user may not open it", "as root: chmod 666 /dev/fuse")


def check_helper(facts: Facts) -> Findings:
    """Root mounts by itself, a plain user through fusermount3: the one that libfuse was built to run."""
    fuse = facts.fuse
    if facts.uid == 0:
        yield _ok("fusermount3", "root mounts without it")
    elif fuse.no_new_privileges:
        yield _no_helper(fuse, "no program gets rights here: NoNewPrivs is set", "leave the container or job")
    elif fuse.helper is None or not fuse.helper.exists:
        where = f" ({fuse.helper.path})" if fuse.helper is not None else ""
        mend = "as root: apt install fuse3 (Debian), dnf install fuse3 (Fedora)"
        yield _no_helper(fuse, f"what libfuse runs is not installed{where}", mend)
    elif not fuse.helper.has_rights:
        yield _no_helper(fuse, f"libfuse runs {fuse.helper.path}, which is not setuid root", _lend(fuse))
    else:
        yield _ok("fusermount3", f"libfuse runs {fuse.helper.path}, which is setuid root")


def _lend(fuse: Fuse) -> str:
    """A package manager without root can't install it setuid; the system's own can be linked there."""
    assert fuse.helper is not None
    if fuse.other_helper is not None and fuse.other_helper != fuse.helper.path:
        return f"ln -sf {fuse.other_helper} {fuse.helper.path}"
    return f"as root: chmod u+s {fuse.helper.path}"


def _no_helper(fuse: Fuse, message: str, mend: str) -> Finding:
    if fuse.has_namespaces:
        return _warn("fusermount3", f"{message}; only 'orionfs exec' works, in a namespace of its own", mend)
    return _bad("fusermount3", message, mend)


def check_namespaces(facts: Facts) -> Findings:
    """They are what `exec --private` needs, and what replaces the helper in a job."""
    if facts.fuse.has_namespaces:
        yield _ok("user namespaces", "allowed: 'orionfs exec --private' works")
    else:
        yield _warn(
            "user namespaces",
            "not allowed: 'orionfs exec --private' can't work",
            "as root: sysctl -w user.max_user_namespaces=10000 (on Ubuntu also"
            " kernel.apparmor_restrict_unprivileged_userns=0)",
        )


def check_fuse_conf(facts: Facts) -> Findings:
    """Only who mounts for others needs it."""
    words = {
        True: "plain users may mount with -o allow_other",
        False: "plain users may not mount with -o allow_other",
        None: "it can't be read: -o allow_other may be refused",
    }
    yield _ok("/etc/fuse.conf", words[facts.fuse.allows_other])


def check_fusectl(facts: Facts) -> Findings:
    """Through it stalled reads are kept from delaying others."""
    if facts.fuse.has_fusectl:
        yield _ok("fusectl", "/sys/fs/fuse/connections is there")
    else:
        yield _warn(
            "fusectl",
            "/sys/fs/fuse/connections is not mounted: a dozen stalled reads may delay others",
            "as root: mount -t fusectl none /sys/fs/fuse/connections",
        )


def check_disks(facts: Facts) -> Findings:
    """Room and kind of what holds state and cache, and of the mount point."""
    for disk in facts.disks:
        yield _judged(disk)


def _judged(disk: Disk) -> Finding:
    name = disk.what
    if disk.problem is not None:
        return _bad(
            name, f"{disk.path}: {disk.problem}", f"see who owns it, and its mode: ls -ld {disk.path}"
        )
    where = f"{disk.path} on {disk.fs_type or 'an unknown file system'}"
    if name == "mount point":
        if disk.is_network:
            return _warn(name, f"{where}: some network disks keep fusermount3 out", "mount on a local disk")
        return _ok(name, where)
    free = "" if disk.free_bytes is None else f", {disk.free_bytes / 2**30:.1f} GiB free"
    if disk.free_bytes is not None and disk.free_bytes < LEAST_FREE_BYTES:
        return _warn(
            name, f"{where}{free}: what is written has to fit there", f"make room: du -sh {disk.path}/*"
        )
    if name == "cache" and disk.is_network:
        return _warn(
            name, f"{where}{free}: a network disk", "export ORIONFS_CACHE_DIR=/var/tmp/orionfs-cache"
        )
    return _ok(name, f"{where}{free}")


# -- account and network -------------------------------------------------------------------------


def check_profile(facts: Facts) -> Findings:
    """Which account a mount would use."""
    account = facts.account
    if account.problem is not None:
        yield _bad("profile", account.problem, "orionfs config profile default")
    else:
        at = f" at {account.url}" if account.url else ""
        yield _ok("profile", f"{account.profile!r}: client {account.client}{at}")


def check_client(facts: Facts) -> Findings:
    """The vendor's client: needed where the profile says so, worth knowing elsewhere."""
    found = next((each for each in facts.clients if each.problem is None), None)
    if found is not None:
        yield _ok("OpenEye's client", f"{found.version or 'of no told version'} under {found.python}")
        return
    why = "; ".join(f"{each.source}: {each.problem}" for each in facts.clients) or "it was not looked for"
    if facts.account.client == _VENDOR:
        yield _bad(
            "OpenEye's client",
            why,
            "install openeye-orionplatform from OpenEye's package index into a Python, and name it:"
            " orionfs config profile NAME --client vendor --client-python PYTHON",
        )
    else:
        yield _ok("OpenEye's client", f"this profile does not need it ({why})")


def check_network(facts: Facts) -> Findings:
    """What lies between this machine and Orion."""
    proxies = ", ".join(f"{name}={value}" for name, value in facts.network.proxies)
    yield _ok("proxy", proxies or "none")
    ca_file = facts.network.ca_file
    if not facts.network.has_ca_file:
        yield _bad("certificates", f"{ca_file} does not exist", "unset REQUESTS_CA_BUNDLE, or mend its path")
    else:
        yield _ok("certificates", str(ca_file) if ca_file else "those that come with requests")


def check_login(facts: Facts) -> Findings:
    """Server, token, and who that is."""
    login = facts.account.login
    if login.kind == "done":
        yield _ok("server", "it answers")
        yield _ok("token", f"accepted: {login.user} in {login.project}, stack {login.stack}")
    elif login.kind == "credentials":
        yield _ok("server", "it answers")
        yield _bad("token", login.message, f"orionfs config profile {facts.account.profile} --token-stdin")
    elif login.kind == "unreachable":
        yield _bad("server", login.message, _try_by_hand(facts.account.url))
    elif login.kind == "other":
        yield _bad("server", login.message, f"orionfs config info {facts.account.profile or ''}".rstrip())
    else:
        yield _warn("server", "not asked: there is no profile that works", "orionfs config profile default")


def _try_by_hand(url: str | None) -> str:
    return f"see whether it is the network: curl -sSI {url}" if url else "see whether it is the network"


def check_clock(facts: Facts) -> Findings:
    """Signed addresses and tokens are refused where the clock is far off."""
    skew_s = facts.account.skew_s
    if skew_s is None:
        yield _ok("clock", "the server's time could not be compared")
    elif abs(skew_s) > SKEW_MAX_S:
        direction = "ahead of" if skew_s > 0 else "behind"
        message = f"{abs(skew_s):.0f} s {direction} the server's"
        yield _warn("clock", message, "as root: timedatectl set-ntp true")
    else:
        yield _ok("clock", "as the server's")


def check_probe(facts: Facts) -> Findings:
    """What nothing public says of a stack is better known before it is written to."""
    if facts.account.login.kind != "done":
        return
    age_s = facts.account.probe_age_s
    if age_s is None:
        yield _warn(
            "probe", "this stack was never probed", f"orionfs probe --profile {facts.account.profile}"
        )
    else:
        yield _ok("probe", f"what this stack does was last written down {age_s / 86400:.0f} days ago")


# -- mounts --------------------------------------------------------------------------------------


def check_session(facts: Facts) -> Findings:
    """What becomes of a mount when its user logs out."""
    session = facts.session
    if not session.has_systemd:
        yield _ok("linger", "no systemd of this user here: bring mounts back with 'orionfs mount --ensure'")
    elif session.lingers is False:
        yield _warn(
            "linger",
            "off: mounts of user units end at the last logout",
            f"loginctl enable-linger {session.user}",
        )
    else:
        yield _ok("linger", "on: mounts of user units outlive a logout")


def check_waiting(facts: Facts) -> Findings:
    """What earlier mounts have left."""
    waiting = facts.waiting
    for point in waiting.dead:
        yield _bad("mounts", f"the daemon of {point} is gone", f"orionfs mount {point}")
    if waiting.changes or waiting.kept:
        words = f"{waiting.changes} changes and {waiting.kept} files that nobody had closed wait on this host"
        yield _warn("left", words, "orionfs status")
    for host in waiting.hosts:
        yield _warn("left", f"something waits on host {host}", f"mount there, or: orionfs adopt {host}")
    if not (waiting.dead or waiting.changes or waiting.kept or waiting.hosts):
        yield _ok("mounts", "nothing dead, nothing left over")


CHECKS: tuple[Callable[[Facts], Findings], ...] = (
    check_kernel,
    check_pyfuse3,
    check_device,
    check_helper,
    check_namespaces,
    check_fuse_conf,
    check_fusectl,
    check_disks,
    check_profile,
    check_client,
    check_network,
    check_login,
    check_clock,
    check_probe,
    check_session,
    check_waiting,
)
