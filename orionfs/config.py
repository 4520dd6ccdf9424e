"""The one validated configuration of a mount: options and folders, and its profile (`profiles`).

Everything that a user may get wrong is found here, before anything is mounted, and told as a
`StartupError` with status CONFIG and the words to mend it. Used by the command line, which makes the
values, and by the daemon, which only reads them. One door for platformdirs. Knows nothing of sessions,
mounting or the terminal.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import platformdirs

from orionfs.errors import ExitStatus, StartupError
from orionfs.fuseconf import ALLOW_OTHER, FUSE_CONF, allows_other
from orionfs.localnames import LITTER, TEMPORARY, LocalNames, parse_patterns
from orionfs.mountinfo import mount_of, read_mountinfo
from orionfs.notify import Notifier
from orionfs.profiles import Profile, load_profile

LOG_FORMATS = ("text", "json")
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
NAMESPACE_VARIABLE = "ORIONFS_NAMESPACE"  # tells what runs in a namespace of ours which one it is
# What a mount of the whole machine, run by root, has in place of a user's folders; its unit says the same.
SYSTEM_FOLDERS = {
    "XDG_CONFIG_HOME": "/etc",
    "XDG_STATE_HOME": "/var/lib",
    "XDG_CACHE_HOME": "/var/cache",
    "XDG_RUNTIME_DIR": "/run",
}
SYSTEM_MOUNTS = Path("/srv/orion")
SOCKET_PATH_MAX_BYTES = 107  # of a unix socket: sun_path has 108 with its NUL, unix(7)


@dataclass(frozen=True, slots=True)
class MountConfig:
    """All that the daemon of one mount needs to know. Paths are absolute; folders exist, mode 0700."""

    mountpoint: Path
    profile: Profile
    root: str | None  # an Orion path, or None for the default tree
    read_only: bool
    protected: tuple[tuple[str, ...], ...]  # the names that lead to each subtree that is read-only
    uid: int
    gid: int
    umask: int
    allow_other: bool
    write_back: bool  # close() returns once bytes and intention are durable on this machine
    cache_dir: Path
    state_dir: Path
    runtime_dir: Path
    metadata_ttl_s: float = 30.0
    absence_ttl_s: float = 5.0
    dataset_ttl_s: float = 300.0
    read_deadline_s: float = 30.0
    change_deadline_s: float = 75.0
    inactivity_s: float = 60.0
    in_flight_max: int = 16
    cache_limit_bytes: int | None = None
    cache_items_max: int = 200_000
    refresh_folders: int = 16
    local_names: LocalNames = field(default_factory=LocalNames)
    noexec: bool = False  # no program is run from the mount
    xattrs: str = "tags"  # which extended attributes are listed
    log_level: str = "INFO"
    log_format: str = "text"
    metrics: str | None = None  # where figures are served: HOST:PORT of loopback, or unix:PATH
    life_fd: int | None = None  # the mount ends when this pipe does, and leaves signals to who holds it
    manager: Notifier = field(default_factory=Notifier)  # the service manager that wants to hear of it


# Options of `-o` that are a number: the field's name, its type, the least and the greatest value.
NUMBER_OPTIONS: dict[str, tuple[type[int] | type[float], float, float]] = {
    "metadata_ttl_s": (float, 0, 86_400),
    "absence_ttl_s": (float, 0, 86_400),
    "dataset_ttl_s": (float, 0, 86_400),
    "read_deadline_s": (float, 0.1, 3_600),
    "change_deadline_s": (float, 0.1, 3_600),
    "inactivity_s": (float, 0.1, 3_600),
    "in_flight_max": (int, 1, 256),
    "cache_limit_bytes": (int, 0, 2**63 - 1),
    "cache_items_max": (int, 1_000, 100_000_000),
    "refresh_folders": (int, 0, 1_000),
    # Greater numbers mean "no such user" to the kernel.
    "uid": (int, 0, 2**32 - 2),
    "gid": (int, 0, 2**32 - 2),
}
# Options of `-o` that are lists of patterns, with what `default` means in each.
PATTERN_OPTIONS: dict[str, tuple[str, ...]] = {"litter": LITTER, "temporary": TEMPORARY}
SHARED_SPACES, ORGANIZATION = "shared-spaces", "organization"
TOP_NAMES = ("my-data", "team-data", SHARED_SPACES, ORGANIZATION)
UNPROTECTED = ("", "none")
# Options of `-o` that are one word of several, the usual one first.
CHOICE_OPTIONS: dict[str, tuple[str, ...]] = {"xattrs": ("tags", "all"), "log_format": LOG_FORMATS}
FLAG_OPTIONS = {
    "allow_other": "allow_other",
    "noexec": "noexec",
    "ro": "read_only",
    "write_back": "write_back",
}
"""Options of `-o` that take no value, with the field that each sets."""
KNOWN_OPTIONS = (*FLAG_OPTIONS, "umask", "metrics", *CHOICE_OPTIONS, *PATTERN_OPTIONS, *NUMBER_OPTIONS)


def load_mount_config(
    mountpoint: Path,
    *,
    profile_name: str | None = None,
    root: str | None = None,
    read_only: bool = False,
    protect: Sequence[str] | None = None,
    options: Sequence[str] = (),
    log_level: str = "INFO",
    write_back: bool = False,
) -> MountConfig:
    """The configuration of a mount on `mountpoint` (absolute, symbolic links resolved).

    `options` are the arguments of `-o`, each a comma list; `protect` the arguments of `--protect`, None
    for the default. Makes the three folders. Raises StartupError for whatever is wrong, before any
    folder is made.
    """
    fields: dict[str, Any] = {"uid": os.getuid(), "gid": os.getgid(), "umask": 0o022, "allow_other": False}
    fields.update(parse_options(options))
    fields["local_names"] = LocalNames(
        *(fields.pop(name, default) for name, default in PATTERN_OPTIONS.items())
    )
    if fields["allow_other"] and os.geteuid() != 0 and allows_other(FUSE_CONF) is False:
        raise _wrong(
            f"mount option 'allow_other': {FUSE_CONF} does not allow it; root mends that with:"
            f" echo {ALLOW_OTHER} >> {FUSE_CONF}"
        )
    if log_level not in LOG_LEVELS:
        raise _wrong(f"unknown log level {log_level!r}; known: {', '.join(LOG_LEVELS)}")
    return MountConfig(
        mountpoint=mountpoint,
        profile=load_profile(profile_name),
        root=None if root is None else check_root(root),
        protected=protected_subtrees(protect, root, mountpoint),
        read_only=bool(fields.pop("read_only", False)) or read_only,
        log_level=log_level,
        write_back=bool(fields.pop("write_back", False)) or write_back,
        cache_dir=private_cache_folder(),
        state_dir=_private_folder(state_folder()),
        runtime_dir=private_runtime_folder(),
        **fields,
    )


def parse_options(options: Sequence[str]) -> dict[str, Any]:
    """Fields of MountConfig that arguments of `-o` set; the last of several wins."""
    fields: dict[str, Any] = {}
    for option in (part for argument in options for part in argument.split(",") if part):
        name, equals, value = option.partition("=")
        if name not in KNOWN_OPTIONS:
            raise _wrong(f"unknown mount option {name!r}; known: {', '.join(sorted(KNOWN_OPTIONS))}")
        if name in FLAG_OPTIONS:
            if equals:
                raise _wrong(f"mount option {name!r} takes no value")
            fields[FLAG_OPTIONS[name]] = True
        elif name == "umask":
            fields[name] = _umask(value)
        elif name == "metrics":
            fields[name] = check_metrics_address(value)
        elif name in CHOICE_OPTIONS:
            fields[name] = _choice(name, value)
        elif name in PATTERN_OPTIONS:
            fields[name] = _patterns(name, value)
        else:
            fields[name] = _number(name, value)
    return fields


def _umask(value: str) -> int:
    if not re.fullmatch(r"0?[0-7]{1,3}", value):
        raise _wrong(f"mount option 'umask' is {value!r}: three octal digits are needed, such as umask=077")
    return int(value, 8)


def check_metrics_address(value: str) -> str:
    """HOST:PORT of this machine alone, or unix:PATH; StartupError for anything else: figures have no lock."""
    if value.startswith("unix:/"):
        return value
    found = re.fullmatch(r"(127(?:\.\d{1,3}){3}|localhost|\[::1\]):(\d{1,5})", value)
    if found is None or int(found[2]) >= 2**16:
        raise _wrong(
            f"mount option 'metrics' is {value!r}: 127.0.0.1:PORT, [::1]:PORT, localhost:PORT or unix:/PATH"
            " is needed; the figures are for this machine alone"
        )
    return value


def _choice(name: str, value: str) -> str:
    known = CHOICE_OPTIONS[name]
    if value not in known:
        raise _wrong(f"mount option {name!r} is {value!r}: one of {', '.join(known)} is needed")
    return value


def _patterns(name: str, value: str) -> tuple[str, ...]:
    try:
        return parse_patterns(value, PATTERN_OPTIONS[name])
    except ValueError as error:
        what = f"a list with colons is needed, such as {name}=default:*.tmp, or none"
        raise _wrong(f"mount option {name!r}: {error}: {what}") from None


def _number(name: str, value: str) -> int | float:
    kind, least, greatest = NUMBER_OPTIONS[name]
    try:
        number = kind(value)
    except ValueError:
        number = None
    # A NaN is in no range.
    if number is None or not least <= number <= greatest:
        what = "a whole number" if kind is int else "a number"
        raise _wrong(f"mount option {name!r} is {value!r}: {what} from {least:g} to {greatest:g} is needed")
    return number


def check_root(root: str) -> str:
    """The Orion path of --root without a trailing slash; StartupError unless it is absolute and plain."""
    parts = root.split("/")[1:]
    if not root.startswith("/") or any(part in (".", "..") for part in parts) or "\0" in root:
        raise _wrong(f"--root {root!r}: an absolute Orion path is needed, such as /project/1/team")
    return str(PurePosixPath("/", *parts))


def protected_subtrees(
    paths: Sequence[str] | None, root: str | None, mountpoint: Path
) -> tuple[tuple[str, ...], ...]:
    """The names that lead to each path of --protect; StartupError for what is none in this mount.

    Without any it is `organization`, where that is Orion's own: not a folder of that name somewhere.
    """
    if not paths:
        return () if root not in (None, "/") else ((ORGANIZATION,),)
    if any(path in UNPROTECTED for path in paths):
        if len(paths) > 1:
            raise _wrong("--protect none lifts all protection: give it alone")
        return ()
    return tuple(_names_below(path, root, mountpoint) for path in paths)


def _names_below(path: str, root: str | None, mountpoint: Path) -> tuple[str, ...]:
    point = f"{mountpoint}/"
    names = tuple(filter(None, path.removeprefix(point).split("/")))
    if not names or any(name in (".", "..") for name in names) or "\0" in path:
        raise _wrong(
            f"--protect {path!r}: a path in the mount is needed, such as organization or team-data/results; "
            "--read-only protects all of it"
        )
    if root is None and names[0] not in TOP_NAMES:
        raise _wrong(f"--protect {path!r}: the mount has no {names[0]!r}; there: {', '.join(TOP_NAMES)}")
    return names


def usual_mountpoint(profile: Profile) -> Path:
    """Where a profile is mounted if nobody says where. Raises StartupError."""
    if profile.mountpoint is not None:
        return profile.mountpoint
    if "/" in profile.name or profile.name in (".", ".."):
        raise _wrong(f"profile {profile.name!r} has no mountpoint, and its name can't be one: give it one")
    is_of_machine = os.environ.get("XDG_CONFIG_HOME") == SYSTEM_FOLDERS["XDG_CONFIG_HOME"]
    return (SYSTEM_MOUNTS if is_of_machine else Path("~/orion").expanduser()) / profile.name


# -- folders -------------------------------------------------------------------------------------


def cache_folder() -> Path:
    """Where evictable data lie: never on a network filesystem, unless ORIONFS_CACHE_DIR says so."""
    chosen = os.environ.get("ORIONFS_CACHE_DIR")
    if chosen:
        return Path(chosen).absolute()
    usual = platformdirs.user_cache_path("orionfs", appauthor=False)
    found = mount_of(read_mountinfo(), usual.resolve())
    if found is not None and found.is_network:
        return Path(f"/var/tmp/orionfs-{os.getuid()}")
    return usual


def private_cache_folder() -> Path:
    """The same, made, and seen to be ours alone. Raises StartupError."""
    return _private_folder(cache_folder())


def state_folder() -> Path:
    """Where journal, staged bytes and logs lie."""
    return platformdirs.user_state_path("orionfs", appauthor=False)


def data_folder() -> Path:
    """Where the embedded server of `orionfs demo` keeps its data."""
    return platformdirs.user_data_path("orionfs", appauthor=False)


def runtime_folder() -> Path:
    """Where the control sockets of this user's mounts lie."""
    chosen = os.environ.get("XDG_RUNTIME_DIR")
    usual = Path(chosen).absolute() / "orionfs" if chosen else None
    if usual is None or len(os.fsencode(control_path(usual, Path("/")))) > SOCKET_PATH_MAX_BYTES:
        return Path(f"/tmp/orionfs-{os.getuid()}")
    return usual


def private_runtime_folder() -> Path:
    """The same, made, and seen to be ours alone. Raises StartupError."""
    return _private_folder(runtime_folder())


def runtime_folders(uid: int) -> list[Path]:
    """Every folder where the socket of a mount of this user may lie.

    A mount made by a user unit and a shell reached by su do not agree on XDG_RUNTIME_DIR.
    """
    usual = [Path(f"/run/user/{uid}/orionfs"), Path(f"/tmp/orionfs-{uid}")]
    if uid == 0:
        usual.append(Path(SYSTEM_FOLDERS["XDG_RUNTIME_DIR"]) / "orionfs")
    return list(dict.fromkeys([runtime_folder(), *usual] if uid == os.getuid() else usual))


def control_path(runtime_dir: Path, mountpoint: Path) -> Path:
    """The control socket of the mount on `mountpoint`; short, since a socket path has 107 bytes at most.

    Each namespace that `orionfs exec` has made has mounts of its own, on whatever paths.
    """
    where = os.environ.get(NAMESPACE_VARIABLE, "")
    digest = hashlib.sha256(os.fsencode(mountpoint) + os.fsencode(where)).hexdigest()[:16]
    return runtime_dir / f"{digest}.sock"


def _private_folder(path: Path) -> Path:
    """Make the folder, or see that the one that is there is ours alone: /tmp is everybody's."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        link, status = path.lstat(), path.stat()
    except OSError as error:
        raise _wrong(f"the folder {path} can't be made: {error.strerror}") from error
    if not stat.S_ISDIR(status.st_mode) or {link.st_uid, status.st_uid} != {os.getuid()}:
        raise _wrong(f"{path} is not a folder of this user: move it away")
    if status.st_mode & 0o077:
        raise _wrong(f"{path} is open to others; mend it with: chmod 700 {path}")
    return path


def _wrong(message: str) -> StartupError:
    return StartupError(message, ExitStatus.CONFIG)
