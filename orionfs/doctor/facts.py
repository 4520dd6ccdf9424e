"""What the doctor knows of a machine and an account: frozen records, every text harmless to show.

None means in each field that it could not be found out, unless its comment says more.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Program:
    """A program that mounts for plain users; `has_rights`: it is setuid root, or has the capability."""

    path: Path
    exists: bool
    has_rights: bool = False


@dataclass(frozen=True, slots=True)
class Fuse:
    """What mounts here. `helper` is what libfuse runs, `other_helper` what a shell would run."""

    pyfuse3: str | None = None  # its version
    problem: str | None = None  # why it can't be imported
    libfuse: str | None = None
    libfuse_path: Path | None = None
    helper: Program | None = None
    other_helper: Path | None = None
    device: str = "missing"  # "usable", "closed" to this user
    allows_other: bool | None = None
    has_fusectl: bool = False
    no_new_privileges: bool = False
    has_namespaces: bool = False  # a user may make namespaces of his own


@dataclass(frozen=True, slots=True)
class Disk:
    """A folder that the mount uses, or its mount point, and what it lies on."""

    what: str
    path: Path
    fs_type: str | None = None
    is_network: bool = False
    free_bytes: int | None = None
    problem: str | None = None  # why the folder can't be used


@dataclass(frozen=True, slots=True)
class ClientFound:
    """An interpreter that was looked at for the vendor's client; `problem`: why it is not the one."""

    source: str
    python: str | None
    version: str | None
    problem: str | None


@dataclass(frozen=True, slots=True)
class Login:
    """What came of asking Orion who we are; `kind` says what went wrong."""

    user: str | None = None
    project: str | None = None
    stack: str | None = None
    kind: str = "not tried"  # "done", "credentials", "unreachable", "other"
    message: str = ""


@dataclass(frozen=True, slots=True)
class Account:
    """The profile that a mount would use, and what it leads to. `skew_s`: our clock minus the server's."""

    profile: str | None = None
    client: str | None = None
    url: str | None = None
    problem: str | None = None
    login: Login = field(default_factory=Login)
    skew_s: float | None = None
    probe_age_s: float | None = None  # since what is known of the stack was written down


@dataclass(frozen=True, slots=True)
class Network:
    """Proxies by variable, without passwords; the file of certificates and whether it is there."""

    proxies: tuple[tuple[str, str], ...] = ()
    ca_file: Path | None = None  # None: those that come with the library
    has_ca_file: bool = True


@dataclass(frozen=True, slots=True)
class Session:
    """What becomes of a daemon when the user logs out; `lingers`: None where there is no systemd."""

    has_systemd: bool = False
    lingers: bool | None = None
    user: str = ""


@dataclass(frozen=True, slots=True)
class Waiting:
    """What earlier mounts have left: of this host and of others, and mounts that are dead."""

    changes: int = 0
    kept: int = 0
    hosts: tuple[str, ...] = ()
    dead: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Facts:
    """All that was found."""

    version: str
    kernel: str
    uid: int
    fuse: Fuse
    disks: tuple[Disk, ...]
    clients: tuple[ClientFound, ...]
    account: Account
    network: Network
    session: Session
    waiting: Waiting
