"""`orionfs refresh`: a mount asks Orion again for what it knows, instead of waiting for its TTL."""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from orionfs.cli.mounts import wrong_mount_point
from orionfs.cli.talking import answers, connect
from orionfs.cli.terminal import counted, printable, waiting
from orionfs.errors import ExitStatus, StartupError
from orionfs.mountinfo import ORIONFS_TYPE, MountEntry, mount_at, read_mountinfo

# The daemon says once a second how far it is.
SILENCE_MAX_S = 30.0
FAILED_SHOWN = 5
_LINKS_MAX = 40


@dataclass(frozen=True, slots=True)
class Place:
    """A path below a mount of orionfs: the mount, and the rest of the path, "/" for its top."""

    entry: MountEntry
    inner: str

    @property
    def path(self) -> str:
        """The whole path, for messages."""
        return printable(str(self.entry.mountpoint) + self.inner.rstrip("/"))


@click.command(short_help="See now what other machines have changed.")
@click.argument("paths", nargs=-1, metavar="[PATH]...")
def refresh(paths: tuple[str, ...]) -> int:
    """Ask Orion again for all that a mount knows at and below each PATH.

    What other machines have made, replaced or removed is there when the command returns. Without PATH:
    the current directory if it is in a mount, else the only mount there is. A PATH need not exist any more.
    Files that are open keep the version that was opened.

    \b
    Example:
        orionfs refresh ~/orion/my-data/results

    \b
    Exit statuses: 0 done, 1 some folders could not be asked, 5 Orion can't be reached,
    6 no mount of orionfs is there.
    """
    places = [place_of(path) for path in paths] or [usual_place()[0]]
    return max(_refresh(place) for place in places)


def place_of(path: str) -> Place:
    """Where a path lies, found without touching a mount. Raises StartupError with status MOUNT_POINT."""
    found = find_place(os.path.join(current_folder(), path))
    if found is None:
        raise wrong_mount_point(f"{path} is not in a mount of orionfs")
    return found


def find_place(path: str) -> Place | None:
    """The place of an absolute path; None if it is in no mount of orionfs."""
    entries = read_mountinfo()
    left = _parts(path)
    at = Path("/")
    for _ in range(_LINKS_MAX):
        while left:
            entry = mount_at(entries, at)
            if entry is not None and entry.fs_type == ORIONFS_TYPE:
                break
            following = at / left.pop(0)
            if following.is_symlink():
                at = Path(os.path.normpath(at / following.readlink()))
                left = [*_parts(str(at)), *left]
                at = Path("/")
                break
            at = following
        entry = mount_at(entries, at)
        if entry is not None and entry.fs_type == ORIONFS_TYPE:
            return Place(entry, "/" + "/".join(left))
        if not left:
            return None
    return None


def _parts(path: str) -> list[str]:
    return [part for part in os.path.normpath(path).split("/") if part]


def current_folder() -> str:
    """Where we are, also if that is not there any more."""
    try:
        return os.getcwd()
    except FileNotFoundError:  # removed under our feet; the shell knows what it was called
        return os.environ.get("PWD", "/")


def usual_place() -> tuple[Place, bool]:
    """What is meant if no path is named, and whether that is the current directory. Raises StartupError."""
    here = find_place(current_folder())
    if here is not None:
        return here, True
    mounts = {entry.mountpoint: entry for entry in read_mountinfo() if entry.fs_type == ORIONFS_TYPE}
    if len(mounts) == 1:
        return Place(next(iter(mounts.values())), "/"), False
    if not mounts:
        raise wrong_mount_point("nothing of orionfs is mounted")
    listed = ", ".join(map(str, sorted(mounts)))
    raise wrong_mount_point(f"which mount? give a path in one of: {listed}")


def _refresh(place: Place) -> int:
    """One place: asked, told, exit status."""
    last = ask_refresh(place)
    names: Counter[str] = Counter({word: int(last.get(word, 0)) for word in ("new", "gone", "changed")})
    said = ", ".join(f"{count} {word}" for word, count in names.items() if count) or "nothing new"
    click.echo(f"{place.path}: {counted(int(last.get('folders', 0)), 'folder')} asked again: {said}")
    failed = [str(words) for words in last.get("failed", ())]
    if last.get("is_offline"):
        raise StartupError(
            "Orion can't be reached; the mount goes on with what it knows", ExitStatus.UNREACHABLE
        )
    for words in failed[:FAILED_SHOWN]:
        click.echo(f"  not asked: {printable(words)}", err=True)
    return ExitStatus.FAILED if failed else ExitStatus.OK


def ask_refresh(place: Place) -> dict[str, Any]:
    """Have the daemon ask again at and below a place; its last word. Raises StartupError."""
    point = place.entry.mountpoint
    silent = StartupError(f"the daemon of {point} does not answer", ExitStatus.FAILED)
    connection = connect(point, place.entry)
    if connection is None:
        raise silent
    with connection, waiting(f"asking Orion for {place.path}") as show:
        request = {"command": "refresh", "path": place.inner}
        try:
            connection.settimeout(SILENCE_MAX_S)
            connection.sendall(json.dumps(request).encode() + b"\n")
            for answer in answers(connection, SILENCE_MAX_S, is_in_all=False):
                if answer.get("done"):
                    return answer
                if "error" in answer:
                    raise StartupError(f"the daemon of {point} is of another version", ExitStatus.FAILED)
                show(f"{answer.get('left')} folders left")
        except (OSError, ValueError):
            raise silent from None
    raise silent
