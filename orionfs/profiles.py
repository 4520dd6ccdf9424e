"""Profiles: who is who on which stack; the config file that holds them, read and written.

Everything that a user may get wrong there is told as a `StartupError` with status CONFIG and the words
to mend it. A name that the file does not hold is a profile of OpenEye's client. `orionfs.client` reads
the same file by the same rules with a small reader of its own, since it knows nothing of the mount; a
test compares the two. One door for tomlkit, which only what writes loads. Knows nothing of sessions,
mounting or the terminal.
"""

from __future__ import annotations

import dataclasses
import os
import re
import tempfile
import tomllib
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from orionfs.errors import ExitStatus, StartupError

if TYPE_CHECKING:
    import tomlkit
    from tomlkit.items import Comment, Whitespace

DEFAULT_PROFILE = "default"
ENVIRONMENT = "environment"  # what ORIONFS_URL and ORIONFS_TOKEN are called among profiles
AUTO_CLIENT = "auto"
OWN_CLIENT = "own"
VENDOR_CLIENT = "vendor"
_FACTORY = r"[\w.]+:[\w.]+"

# Of every key: which clients it means something to. Who sets another has misunderstood something.
_ALL_CLIENTS = frozenset({OWN_CLIENT, VENDOR_CLIENT, "module:factory"})
_OURS = _ALL_CLIENTS - {VENDOR_CLIENT}
_KEYS: Mapping[str, frozenset[str]] = {
    "url": _OURS,
    "token": _OURS,
    "token_file": _OURS,
    "project": _OURS,
    "username": _OURS,
    "client": _ALL_CLIENTS,
    "client_python": _ALL_CLIENTS - {OWN_CLIENT},
    "orion_profile": frozenset({VENDOR_CLIENT}),
    "wire": frozenset({OWN_CLIENT}),
    "workspaces": _ALL_CLIENTS,
    "mountpoint": _ALL_CLIENTS,
}
_NO_TEXTS = ("project", "workspaces")
PROFILE_KEYS = tuple(_KEYS)


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
    and keys that our own client speaks instead of its own dialect. `username` is for display.
    `workspaces` are names of workspaces by id, for stacks that tell ids only. `mountpoint` is where it is
    mounted if nobody says where, an absolute path.
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
    username: str | None = None
    workspaces: Mapping[str, str] = dataclasses.field(default_factory=dict)
    mountpoint: Path | None = None


def config_path() -> Path:
    """The config file; at the same place on every platform, so that any reader finds it."""
    folder = os.environ.get("XDG_CONFIG_HOME", "").strip() or "~/.config"
    return Path(folder).expanduser() / "orionfs" / "config.toml"


# -- finding one ---------------------------------------------------------------------------------


def load_profile(name: str | None = None) -> Profile:
    """The profile to use. Raises StartupError.

    Without a name it is that of ORIONFS_URL and ORIONFS_TOKEN if they are set, else the one that
    ORION_PROFILE names, else "default". A name that the config file does not have is the name of a
    profile of OpenEye's client; "default" is so only if somebody has said it.
    """
    if not name and (profile := _profile_of_environment()) is not None:
        return profile
    told = name or os.environ.get("ORION_PROFILE")
    path = config_path()
    tables = read_tables(path)
    if tables is not None and (told or DEFAULT_PROFILE) in tables:
        found = told or DEFAULT_PROFILE
        return profile_of(found, tables[found], path)
    if told:
        return Profile(told, None, None, None, VENDOR_CLIENT, None, orion_profile=told)
    raise _wrong(_no_profile(path, tables))


def is_listed(profile: Profile) -> bool:
    """Whether the config file holds a profile of this name."""
    return profile.name in (read_tables(config_path()) or {})


def _no_profile(path: Path, tables: Mapping[str, Any] | None) -> str:
    make = f"make it with: orionfs config profile {DEFAULT_PROFILE}"
    if tables is None:
        return f"no profile: there is no {path}; {make} (an Orion to try out: orionfs demo MOUNTPOINT)"
    known = ", ".join(sorted(tables)) or "none"
    return f"no profile {DEFAULT_PROFILE!r} in {path}; {make}, or name one with --profile; there: {known}"


def _profile_of_environment() -> Profile | None:
    url, token = os.environ.get("ORIONFS_URL"), os.environ.get("ORIONFS_TOKEN")
    if not url and not token:
        return None
    if not url or not token:
        there, missing = ("ORIONFS_URL", "ORIONFS_TOKEN") if url else ("ORIONFS_TOKEN", "ORIONFS_URL")
        raise _wrong(f"{there} is set but {missing} is not: set both, or neither to use a profile")
    checked = check_url(url, "ORIONFS_URL")
    return Profile(ENVIRONMENT, checked, check_token(token, "ORIONFS_TOKEN"), None, OWN_CLIENT, None)


# -- reading -------------------------------------------------------------------------------------


def read_tables(path: Path) -> dict[str, Any] | None:
    """The tables of all profiles by name, as they stand there; None if there is no file."""
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
    tables = document.get("profile", {})
    if not isinstance(tables, dict):
        raise _wrong(f"'profile' in {path} is not a table: write [profile.NAME]")
    return tables


def profile_of(name: str, table: object, path: Path) -> Profile:
    """The profile that a table of the config file `path` describes. Raises StartupError."""
    where = f"[profile.{name}] in {path}"
    if name == ENVIRONMENT:
        raise _wrong(f"{where}: that name is taken for ORIONFS_URL and ORIONFS_TOKEN; give it another one")
    if not isinstance(table, dict):
        raise _wrong(f"{where} is not a table")
    for key in table:
        if key not in _KEYS:
            raise _wrong(f"unknown key {key!r} in {where}; known: {', '.join(PROFILE_KEYS)}")
    text = {key: _text_of(table, key, where) for key in _KEYS if key not in _NO_TEXTS}
    client = _client_of(text, where)
    _check_keys(table, client, where)
    url = None if text["url"] is None else check_url(text["url"], f"'url' in {where}")
    token, token_file = _token_of(text, where, path)
    if client == OWN_CLIENT and (url is None or token is None):
        missing = "url" if url is None else "token or token_file"
        raise _wrong(f"{where} has no {missing}")
    orion_profile = text["orion_profile"] or (name if client == VENDOR_CLIENT else None)
    return Profile(
        name,
        url,
        token,
        _project_of(table, where),
        client,
        text["client_python"],
        token_file,
        orion_profile,
        _wire_of(text, where, path),
        text["username"],
        _workspaces_of(table, where),
        _mountpoint_of(text, where),
    )


def _client_of(text: Mapping[str, str | None], where: str) -> str:
    client = text["client"] or AUTO_CLIENT
    if client == AUTO_CLIENT:
        is_ours = any(text[key] is not None for key in ("url", "token", "token_file"))
        return OWN_CLIENT if is_ours else VENDOR_CLIENT
    if client not in (OWN_CLIENT, VENDOR_CLIENT) and not re.fullmatch(_FACTORY, client):
        raise _wrong(f"'client' in {where} is {client!r}: auto, own, vendor or module:factory is needed")
    return client


def _check_keys(table: Mapping[str, object], client: str, where: str) -> None:
    kind = client if client in _ALL_CLIENTS else "module:factory"
    for key in table:
        if kind in _KEYS[key]:
            continue
        if kind == VENDOR_CLIENT:
            raise _wrong(
                f"{key!r} in {where}: the profile of OpenEye's client holds that; take it out here (with "
                "a url the profile is of an orionfs server)"
            )
        raise _wrong(f"{key!r} in {where} means nothing to the client {client!r}: take it out")


def _project_of(table: Mapping[str, Any], where: str) -> int | None:
    project = table.get("project")
    if project is not None and (type(project) is not int or project < 1):
        raise _wrong(f"'project' in {where} is not a number of a project")
    return project


def _workspaces_of(table: Mapping[str, Any], where: str) -> Mapping[str, str]:
    names = table.get("workspaces", {})
    is_good = isinstance(names, dict) and all(
        key.isascii() and key.isdecimal() and isinstance(name, str) and name for key, name in names.items()
    )
    if not is_good:
        raise _wrong(f"'workspaces' in {where} is not a table of names by number, such as 12 = \"lab\"")
    return dict(names)


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
        return check_token(token, f"'token' in {where}"), None
    if token_file is None:
        return None, None
    file = path.parent / Path(token_file).expanduser()
    return read_token_file(file), file


def _wire_of(text: Mapping[str, str | None], where: str, path: Path) -> Path | None:
    if text["wire"] is None:
        return None
    file = path.parent / Path(text["wire"]).expanduser()
    try:
        with file.open("rb"):
            return file
    except OSError as error:
        raise _wrong(f"{file}, the 'wire' of {where}, can't be read: {error.strerror}") from error


def _mountpoint_of(text: Mapping[str, str | None], where: str) -> Path | None:
    if text["mountpoint"] is None:
        return None
    point = Path(text["mountpoint"]).expanduser()
    if not point.is_absolute():
        raise _wrong(f"'mountpoint' in {where} is not an absolute path, such as ~/orion/work")
    return point


def read_token_file(path: Path) -> Token:
    """The token that a file of its own holds; StartupError if the file is missing, empty or not private."""
    text = _read_private(path)
    if text is None:
        raise _wrong(f"the token file {path} does not exist")
    return check_token(text.strip(), f"the token in {path}")


def check_token(token: str, what: str) -> Token:
    """The token, unless it can't be one: StartupError, without the value."""
    # Anything else can't stand in a header.
    if not re.fullmatch(r"[!-~]+", token):
        raise _wrong(f"{what} is not a token: visible ASCII characters without spaces are needed")
    return Token(token)


def check_url(url: str, what: str) -> str:
    """The address without a trailing slash; StartupError unless it is one, and free of secrets."""
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
            is_told = hasattr(os, "getuid")  # elsewhere modes say nothing of who may read it
            if is_told and status.st_uid != os.getuid():
                raise _wrong(f"{path} belongs to another user (uid {status.st_uid}): it is not read")
            if is_told and status.st_mode & 0o077:
                raise _wrong(f"{path} can be read by others; mend it with: chmod 600 {path}")
            return file.read().decode()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _wrong(f"{path} can't be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise _wrong(f"{path} is not UTF-8 text") from None


# -- writing -------------------------------------------------------------------------------------


def write_profile(name: str, values: Mapping[str, str | int]) -> Path:
    """Give one profile exactly these values, all else in the file kept, comments too; the file.

    Written whole or not at all, mode 0600. Raises StartupError if the file that is there can't be
    read, or none can be written.
    """
    import tomlkit
    from tomlkit.items import InlineTable

    path = config_path()
    before = read_tables(path) or {}  # complains about what is not ours to overwrite
    document = tomlkit.parse(_read_private(path) or "")
    tables = document.setdefault("profile", tomlkit.table(is_super_table=True))
    table = tables.get(name)
    if isinstance(table, MutableMapping):
        for key in set(table) - set(values):
            del table[key]
        for key, value in values.items():
            if key not in table or table[key] != value:
                table[key] = value
    else:
        table = tomlkit.inline_table() if isinstance(tables, InlineTable) else tomlkit.table()
        table.update(values)
        tables[name] = table
    _write(path, tomlkit.dumps(document), {**before, name: dict(values)})
    return path


def delete_profile(name: str) -> Path:
    """Take one profile out of the config file; the file. Raises StartupError, also if it is not there."""
    import tomlkit

    path = config_path()
    tables = read_tables(path) or {}
    if name not in tables:
        known = ", ".join(sorted(tables)) or "none"
        raise _wrong(f"no profile {name!r} in {path}; there: {known}")
    del tables[name]
    _write(path, _without(tomlkit.parse(_read_private(path) or ""), name), tables)
    return path


def _without(document: tomlkit.TOMLDocument, name: str) -> str:
    """The text without one profile. What is written above the next one is that one's: it is kept."""
    import tomlkit
    from tomlkit.items import Table

    tables = document["profile"]
    names = list(tables)
    following = _comments_at_the_end(tables[name])
    place = names.index(name)
    del tables[name]
    if place > 0 and isinstance(before := tables[names[place - 1]], Table):
        for item in following:
            before.add(item)
        return tomlkit.dumps(document)
    above = "".join(item.as_string() for key, item in document.body if key is None)
    text = tomlkit.dumps(document).removeprefix(above)
    return above + "".join(item.as_string() for item in following) + text


def _comments_at_the_end(table: object) -> list[Comment | Whitespace]:
    from tomlkit.items import Comment, Table, Whitespace

    found: list[Comment | Whitespace] = []
    for _, item in reversed(table.value.body if isinstance(table, Table) else []):
        if not isinstance(item, Comment | Whitespace):
            break
        found.insert(0, item)
    return found


def _write(path: Path, text: str, tables: Mapping[str, Any]) -> None:
    """Put the text in the file's place if it says these profiles: not every TOML survives an edit."""
    if tomllib.loads(text).get("profile", {}) != tables:
        raise _wrong(f"{path} is written in a way that only an editor can change: edit it by hand")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # What the name leads to: the file may lie elsewhere, among others that are kept together.
        _replace(path.resolve(), text)
    except OSError as error:
        raise _wrong(f"{path} can't be written: {error.strerror}") from error


def _replace(path: Path, text: str) -> None:
    # mkstemp makes the file 0600.
    descriptor, temporary = tempfile.mkstemp(prefix=".config-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _wrong(message: str) -> StartupError:
    return StartupError(message, ExitStatus.CONFIG)
