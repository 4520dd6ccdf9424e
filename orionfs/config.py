"""The one validated configuration of a mount: profile, options, folders.

Everything that a user may get wrong is found here, before anything is mounted, and told as a
`StartupError` with status CONFIG and the words to mend it. Used by the command line, which makes the
values, and by the daemon, which only reads them. One door for platformdirs and tomlkit. Knows nothing
of sessions, mounting or the terminal.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
import stat
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import platformdirs
import tomlkit

from orionfs.errors import ExitStatus, StartupError
from orionfs.mountinfo import mount_of, read_mountinfo

PROFILE_KEYS = ("url", "token", "token_file", "project", "client", "client_python")
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
OWN_CLIENT = "own"
VENDOR_CLIENT = "vendor"
SOCKET_PATH_MAX_BYTES = 107  # of a unix socket: sun_path has 108 with its NUL, unix(7)


@dataclass(frozen=True, slots=True)
class Token:
    """A secret. `value` is the only way to it; printing the object shows nothing."""

    value: str = dataclasses.field(repr=False)


@dataclass(frozen=True, slots=True)
class Profile:
    """Who is who on which stack.

    `client` is "own" (url and token are there), "vendor" (OpenEye's client under the interpreter
    `client_python`, with the profile `orion_profile` of its own, which knows stack and account), or
    "module:factory", any session object made under that interpreter. `wire` is a file with the routes
    and keys that our own client speaks instead of its own dialect.
    """

    name: str
    url: str | None
    token: Token | None
    project: int | None
    client: str
    client_python: str | None
    token_file: Path | None = None  # where the token came from and may be read again
    orion_profile: str | None = None
    wire: Path | None = None


@dataclass(frozen=True, slots=True)
class MountConfig:
    """All that the daemon of one mount needs to know. Paths are absolute; folders exist, mode 0700."""

    mountpoint: Path
    profile: Profile
    root: str | None  # an Orion path, or None for the default tree
    read_only: bool
    uid: int
    gid: int
    umask: int
    allow_other: bool
    cache_dir: Path
    state_dir: Path
    runtime_dir: Path
    metadata_ttl_s: float = 30.0
    absence_ttl_s: float = 5.0
    read_deadline_s: float = 30.0
    change_deadline_s: float = 75.0
    inactivity_s: float = 60.0
    in_flight_max: int = 16
    cache_limit_bytes: int | None = None
    cache_items_max: int = 200_000
    log_level: str = "INFO"


# Options of `-o` that are a number: the field's name, its type, the least and the greatest value.
NUMBER_OPTIONS: dict[str, tuple[type[int] | type[float], float, float]] = {
    "metadata_ttl_s": (float, 0, 86_400),
    "absence_ttl_s": (float, 0, 86_400),
    "read_deadline_s": (float, 0.1, 3_600),
    "change_deadline_s": (float, 0.1, 3_600),
    "inactivity_s": (float, 0.1, 3_600),
    "in_flight_max": (int, 1, 256),
    "cache_limit_bytes": (int, 0, 2**63 - 1),
    "cache_items_max": (int, 1_000, 100_000_000),
    # Greater numbers mean "no such user" to the kernel.
    "uid": (int, 0, 2**32 - 2),
    "gid": (int, 0, 2**32 - 2),
}
KNOWN_OPTIONS = ("allow_other", "ro", "umask", *NUMBER_OPTIONS)


def load_mount_config(
    mountpoint: Path,
    *,
    profile_name: str | None = None,
    root: str | None = None,
    read_only: bool = False,
    options: Sequence[str] = (),
    log_level: str = "INFO",
) -> MountConfig:
    """The configuration of a mount on `mountpoint` (absolute, symbolic links resolved).

    `options` are the arguments of `-o`, each a comma list. Makes the three folders. Raises
    StartupError for whatever is wrong, before any folder is made.
    """
    fields: dict[str, Any] = {"uid": os.getuid(), "gid": os.getgid(), "umask": 0o022, "allow_other": False}
    fields.update(parse_options(options))
    if log_level not in LOG_LEVELS:
        raise _wrong(f"unknown log level {log_level!r}; known: {', '.join(LOG_LEVELS)}")
    return MountConfig(
        mountpoint=mountpoint,
        profile=load_profile(profile_name),
        root=None if root is None else check_root(root),
        read_only=bool(fields.pop("read_only", False)) or read_only,
        log_level=log_level,
        cache_dir=_private_folder(cache_folder()),
        state_dir=_private_folder(state_folder()),
        runtime_dir=_private_folder(runtime_folder()),
        **fields,
    )


def parse_options(options: Sequence[str]) -> dict[str, Any]:
    """Fields of MountConfig that arguments of `-o` set; the last of several wins."""
    fields: dict[str, Any] = {}
    for option in (part for argument in options for part in argument.split(",") if part):
        name, equals, value = option.partition("=")
        if name not in KNOWN_OPTIONS:
            raise _wrong(f"unknown mount option {name!r}; known: {', '.join(sorted(KNOWN_OPTIONS))}")
        if name in ("allow_other", "ro"):
            if equals:
                raise _wrong(f"mount option {name!r} takes no value")
            fields["read_only" if name == "ro" else name] = True
        elif name == "umask":
            fields[name] = _umask(value)
        else:
            fields[name] = _number(name, value)
    return fields


def _umask(value: str) -> int:
    if not re.fullmatch(r"0?[0-7]{1,3}", value):
        raise _wrong(f"mount option 'umask' is {value!r}: three octal digits are needed, such as umask=077")
    return int(value, 8)


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


# -- profiles ------------------------------------------------------------------------------------


def config_path() -> Path:
    """The config file."""
    return platformdirs.user_config_path("orionfs", appauthor=False) / "config.toml"


def load_profile(name: str | None = None) -> Profile:
    """The profile to use: of the environment if no name is given and it holds one, else of the file.

    The name is the argument, else ORION_PROFILE, else "default". Raises StartupError.
    """
    if name is None and (profile := _profile_of_environment()) is not None:
        return profile
    name = name or os.environ.get("ORION_PROFILE") or "default"
    path = config_path()
    profiles = _read_profiles(path)
    if profiles is None:
        raise _wrong(
            f"no profile {name!r}: there is no {path} (an Orion to try out: orionfs demo MOUNTPOINT)"
        )
    if name not in profiles:
        known = ", ".join(sorted(profiles)) or "none"
        raise _wrong(f"no profile {name!r} in {path}; there: {known}")
    return _profile_of_table(name, profiles[name], path)


def _profile_of_environment() -> Profile | None:
    url, token = os.environ.get("ORIONFS_URL"), os.environ.get("ORIONFS_TOKEN")
    if not url and not token:
        return None
    if not url or not token:
        there, missing = ("ORIONFS_URL", "ORIONFS_TOKEN") if url else ("ORIONFS_TOKEN", "ORIONFS_URL")
        raise _wrong(f"{there} is set but {missing} is not: set both, or neither to use a profile")
    checked = _check_url(url, "ORIONFS_URL")
    return Profile("environment", checked, _check_token(token, "ORIONFS_TOKEN"), None, OWN_CLIENT, None)


def _read_profiles(path: Path) -> dict[str, Any] | None:
    """The table of profiles, None if there is no file."""
    text = _read_private(path)
    if text is None:
        return None
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _wrong(f"{path} is not TOML: {error}") from None
    for key in document:
        if key != "profile":
            raise _wrong(f"unknown key {key!r} in {path}; known: profile")
    profiles = document.get("profile", {})
    if not isinstance(profiles, dict):
        raise _wrong(f"'profile' in {path} is not a table: write [profile.NAME]")
    return profiles


def _profile_of_table(name: str, table: object, path: Path) -> Profile:
    where = f"[profile.{name}] in {path}"
    if not isinstance(table, dict):
        raise _wrong(f"{where} is not a table")
    for key in table:
        if key not in PROFILE_KEYS:
            raise _wrong(f"unknown key {key!r} in {where}; known: {', '.join(PROFILE_KEYS)}")
    text = {key: _text_of(table, key, where) for key in PROFILE_KEYS if key != "project"}
    project = table.get("project")
    if project is not None and (type(project) is not int or project < 1):
        raise _wrong(f"'project' in {where} is not a number of a project")
    client = text["client"] or OWN_CLIENT
    if client != OWN_CLIENT and not re.fullmatch(r"[\w.]+:[\w.]+", client):
        raise _wrong(f"'client' in {where} is {client!r}: own or module:factory is needed")
    token, token_file = _token_of(text, where, path)
    url = None if text["url"] is None else _check_url(text["url"], f"'url' in {where}")
    if client == OWN_CLIENT and (url is None or token is None):
        missing = "url" if url is None else "token or token_file"
        raise _wrong(f"{where} has no {missing}")
    return Profile(name, url, token, project, client, text["client_python"], token_file)


def _text_of(table: Mapping[str, Any], key: str, where: str) -> str | None:
    value = table.get(key)
    if value is not None and (not isinstance(value, str) or not value):
        raise _wrong(f"{key!r} in {where} is not a text")
    return value


def _token_of(text: Mapping[str, str | None], where: str, path: Path) -> tuple[Token | None, Path | None]:
    token, token_file = text["token"], text["token_file"]
    if token is not None and token_file is not None:
        raise _wrong(f"{where} has both token and token_file: keep one")
    if token is not None:
        return _check_token(token, f"'token' in {where}"), None
    if token_file is None:
        return None, None
    file = path.parent / Path(token_file).expanduser()
    return read_token_file(file), file


def read_token_file(path: Path) -> Token:
    """The token that a file of its own holds; StartupError if the file is missing, empty or not private."""
    text = _read_private(path)
    if text is None:
        raise _wrong(f"the token file {path} does not exist")
    return _check_token(text.strip(), f"the token in {path}")


def _check_token(token: str, what: str) -> Token:
    # Anything else can't stand in a header; the value itself is never part of a message.
    if not re.fullmatch(r"[!-~]+", token):
        raise _wrong(f"{what} is not a token: visible ASCII characters without spaces are needed")
    return Token(token)


def _check_url(url: str, what: str) -> str:
    try:
        parts = urlsplit(url)
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        is_good = False
        parts = urlsplit("")
    if not is_good or parts.query or parts.fragment:
        raise _wrong(f"{what} is not a URL such as https://orion.example.org")
    if parts.username is not None or parts.password is not None:
        raise _wrong(f"{what} holds a user name or a password: only token or token_file may hold a secret")
    return url.rstrip("/")


def _read_private(path: Path) -> str | None:
    """Text of a file that only we can read, None if it is missing; StartupError if others can read it."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if status.st_uid != os.getuid():
                raise _wrong(f"{path} belongs to another user (uid {status.st_uid}): it is not read")
            if status.st_mode & 0o077:
                raise _wrong(f"{path} can be read by others; mend it with: chmod 600 {path}")
            return file.read().decode()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _wrong(f"{path} can't be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise _wrong(f"{path} is not UTF-8 text") from None


def write_profile(name: str, values: Mapping[str, str | int]) -> Path:
    """Set one profile in the config file, atomically, all else in the file kept; returns the file.

    Raises StartupError if the file that is there can't be read.
    """
    path = config_path()
    # Complains about what is not ours to overwrite.
    _read_profiles(path)
    document = tomlkit.parse(_read_private(path) or "")
    profiles = document.setdefault("profile", tomlkit.table(is_super_table=True))
    profiles[name] = tomlkit.item(dict(values))
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # mkstemp makes the file 0600.
    descriptor, temporary = tempfile.mkstemp(prefix=".config-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(tomlkit.dumps(document))
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


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


def runtime_folders(uid: int) -> list[Path]:
    """Every folder where the socket of a mount of this user may lie.

    A mount made by a user unit and a shell reached by su do not agree on XDG_RUNTIME_DIR.
    """
    usual = [Path(f"/run/user/{uid}/orionfs"), Path(f"/tmp/orionfs-{uid}")]
    return list(dict.fromkeys([runtime_folder(), *usual] if uid == os.getuid() else usual))


def control_path(runtime_dir: Path, mountpoint: Path) -> Path:
    """The control socket of the mount on `mountpoint`; short, since a socket path has 107 bytes at most."""
    digest = hashlib.sha256(os.fsencode(mountpoint)).hexdigest()[:16]
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
