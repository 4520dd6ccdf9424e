"""Which place on Orion, of which account, somebody means who names a path.

A path in a mount is asked for at the mount: only that knows which item a visible name stands for. Used by
the commands that bring whole items in and out.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orionfs.cli.refresh import Place as PlaceInMount
from orionfs.cli.refresh import find_place
from orionfs.cli.talking import answers, connect
from orionfs.errors import ExitStatus, StartupError
from orionfs.models import Account, Key, Kind
from orionfs.profiles import ENVIRONMENT
from orionfs.tables.names import decode_name

if TYPE_CHECKING:
    from orionfs.transfers import Place

STATUS_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Located:
    """A place on Orion, and where in a mount it was found, if it was named by a path there."""

    words: str
    place: Place
    inside: PlaceInMount | None = None


def locate_folder(text: str) -> Located:
    """The folder that is meant; in a mount it need not exist yet. Raises StartupError."""
    return _located(text, _folder_in)


def locate_item(text: str) -> Located:
    """The item that is meant. Raises StartupError."""
    return _located(text, _item_in)


def check_writable(where: Located) -> None:
    """Raise StartupError for a place named by a path in a mount that may not be changed through that."""
    from orionfs.transfers import OrionPath

    if where.inside is None:
        return
    told = _status_of(where.inside)
    if told is None:
        raise _no_answer(where.inside)
    for place in told.get("protected", ()):
        if f"{where.inside.inner}/".startswith(f"{place.rstrip('/')}/"):
            what = "the mount" if place == "/" else f"{place} in the mount"
            on_orion = where.place.text if isinstance(where.place, OrionPath) else where.words
            raise StartupError(
                f"{where.inside.path}: {what} is read-only; what is to go there all the same is put to its"
                f" place on Orion: {on_orion}",
                ExitStatus.FAILED,
            )


def _located(text: str, ask: Callable[[str], Place]) -> Located:
    from orionfs.transfers import read_place

    inside = None if "://" in text else find_place(os.path.abspath(text))
    if inside is None:
        return Located(text, read_place(text))
    path = str(inside.entry.mountpoint) + inside.inner.rstrip("/")
    return Located(text, ask(path), inside)


def _folder_in(path: str) -> Place:
    """Where on Orion a folder of a mount is; one that is not there yet, below one that is."""
    from orionfs.transfers import OrionPath

    missing: list[str] = []
    while True:
        try:
            folder = _attribute(path, "path")
            break
        except FileNotFoundError:
            path, name = os.path.split(path)
            missing.insert(0, decode_name(name))
            if "/" in missing[0]:
                raise StartupError(
                    f"{name} can't be the name of a folder on Orion", ExitStatus.FAILED
                ) from None
    if folder is None:
        raise StartupError(
            f"{path} is no folder on Orion: take one in it, such as my-data", ExitStatus.FAILED
        )
    return OrionPath("/".join([folder.rstrip("/"), *missing]))


def _item_in(path: str) -> Place:
    try:
        kind, id = _attribute(path, "type"), _attribute(path, "id")
    except FileNotFoundError:
        raise StartupError(f"{path} does not exist", ExitStatus.FAILED) from None
    if kind == Kind.SHARD.value:
        raise StartupError(f"{path} is a shard of a collection: copy it with cp", ExitStatus.FAILED)
    if kind == Kind.FOLDER.value:
        raise StartupError(f"{path} is a folder: copy it with cp -r", ExitStatus.FAILED)
    if id is None or kind not in (Kind.FILE.value, Kind.DATASET.value, Kind.COLLECTION.value):
        raise StartupError(f"{path} is not on Orion, or not yet", ExitStatus.FAILED)
    return Key(Kind(kind), int(id))


def _attribute(path: str, name: str) -> str | None:
    """What a mount says of a path. Raises FileNotFoundError, StartupError."""
    try:
        return os.getxattr(path, f"user.orion.{name}").decode()
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno == errno.ENODATA:
            return None
        raise StartupError(f"{path}: {error.strerror}", ExitStatus.FAILED) from error


# -- accounts ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Mounted:
    """The account of a mount: its profile, and what it turned out to be."""

    point: str
    profile: str | None  # None: that of the environment
    stack: str
    user: str
    project: str

    def check(self, account: Account) -> None:
        """Raise StartupError unless this is the account of the mount."""
        if (account.stack, account.username, account.project_name) != (self.stack, self.user, self.project):
            raise StartupError(
                f"{self.point} is mounted as {self.user} of {self.project}, and the profile is now"
                f" {account.username} of {account.project_name}: mount it again",
                ExitStatus.CONFIG,
            )


def account_of(places: Sequence[Located]) -> Mounted | None:
    """The account that the mounts of all these places work for; None if none is in a mount."""
    found = {place.inside.entry.mountpoint: place.inside for place in places if place.inside is not None}
    if not found:
        return None
    mounts = [_ask_mount(inside) for inside in found.values()]
    accounts = {(mount.profile, mount.stack, mount.user, mount.project) for mount in mounts}
    if len(accounts) > 1:
        raise StartupError("these paths are in mounts of several accounts: one at a time", ExitStatus.USAGE)
    return mounts[0]


def _ask_mount(inside: PlaceInMount) -> Mounted:
    point = inside.entry.mountpoint
    told = _status_of(inside)
    if told is None:
        raise _no_answer(inside)
    name = str(told.get("profile"))
    profile = None if name == ENVIRONMENT else name
    return Mounted(str(point), profile, str(told["stack"]), str(told["user"]), str(told["project"]))


def _no_answer(inside: PlaceInMount) -> StartupError:
    return StartupError(f"the daemon of {inside.entry.mountpoint} does not answer", ExitStatus.FAILED)


def _status_of(inside: PlaceInMount) -> dict[str, Any] | None:
    connection = connect(inside.entry.mountpoint, inside.entry)
    if connection is None:
        return None
    with connection:
        try:
            connection.settimeout(STATUS_TIMEOUT_S)
            connection.sendall(json.dumps({"command": "status"}).encode() + b"\n")
            return next(answers(connection, STATUS_TIMEOUT_S), None)
        except (OSError, ValueError):
            return None
