"""Items named by their paths in a mount: what the commands for people have in common.

They ask and change what Orion knows of an item through its attributes, several paths at once; one that
fails keeps no other from being tried. Must not know which attributes a command is about.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TypeVar

import click

from orionfs.cli.refresh import Place, current_folder, find_place
from orionfs.cli.terminal import own_command, printable, shell_word
from orionfs.errors import ExitStatus
from orionfs.xattrs.attribute_text import PREFIX

AT_ONCE = 16
"""Paths at a time: as many requests as a mount has in flight."""

_T = TypeVar("_T")
Meaning = Callable[[int], str | None]
"""Words for what an errno means to a command, None where it means what it means everywhere."""


def _nothing(_errno: int) -> str | None:
    return None


class Refused(Exception):
    """Something can't be done with one path; `str()` says why, without the path."""

    def __init__(self, words: str, exit_status: ExitStatus = ExitStatus.FAILED) -> None:
        super().__init__(words)
        self.exit_status = exit_status


@dataclass(frozen=True, slots=True)
class Subject:
    """A path as the user named it, and where that is in a mount."""

    named: str
    place: Place

    @property
    def path(self) -> str:
        """The whole path, without symbolic links on the way to the mount."""
        return str(self.place.entry.mountpoint) + self.place.inner.rstrip("/")

    def read(self, name: str) -> str | None:
        """The value of an attribute, named without `user.orion.`; None if there is none. Raises Refused."""
        with self.in_words("getxattr"):
            try:
                return os.getxattr(self.path, PREFIX + name).decode("utf-8", "replace")
            except OSError as error:
                if error.errno == errno.ENODATA:
                    return None
                raise

    def write(self, name: str, value: str, meaning: Meaning = _nothing) -> None:
        """Set an attribute. Raises Refused; `meaning` knows what an errno means here."""
        with self.in_words("setxattr", meaning):
            os.setxattr(self.path, PREFIX + name, value.encode("utf-8", "surrogateescape"))

    def remove(self, name: str, meaning: Meaning = _nothing) -> bool:
        """Remove an attribute; False if it was not there. Raises Refused."""
        with self.in_words("removexattr", meaning):
            try:
                os.removexattr(self.path, PREFIX + name)
            except OSError as error:
                if error.errno == errno.ENODATA:
                    return False
                raise
        return True

    @contextmanager
    def in_words(self, call: str, meaning: Meaning = _nothing) -> Iterator[None]:
        """A system call on the path: its error becomes Refused, with what the mount knows of it."""
        began_s = time.time()
        try:
            yield
        except OSError as error:
            reason = _reason(self, call, error, began_s)
            words = reason or meaning(error.errno or 0) or _meaning(error, self)
            raise Refused(words) from error


def subject_of(named: str) -> Subject:
    """What a path means. Raises Refused with status MOUNT_POINT if it is in no mount of orionfs."""
    place = find_place(os.path.join(current_folder(), named))
    if place is None:
        raise Refused("is not in a mount of orionfs", ExitStatus.MOUNT_POINT)
    return Subject(named, place)


def for_each(
    paths: Iterable[str],
    do: Callable[[Subject], _T],
    tell: Callable[[str, _T], None] = lambda _path, _value: None,
    on_refused: Callable[[str, Refused], None] | None = None,
) -> int:
    """Do it for each path, several at once; tell in their order what came of it; the exit status.

    `on_refused` hears of what was refused, without it that is a line on stderr.
    """
    status = ExitStatus.OK
    workers = ThreadPoolExecutor(AT_ONCE)
    try:
        for path, result in workers.map(partial(_attempt, do), paths):
            if isinstance(result, Refused):
                (on_refused or complain)(path, result)
                status = max(status, result.exit_status)
            else:
                tell(path, result)
    finally:
        workers.shutdown(wait=False, cancel_futures=True)
    return status


def _attempt(do: Callable[[Subject], _T], path: str) -> tuple[str, _T | Refused]:
    try:
        return path, do(subject_of(path))
    except Refused as refused:
        return path, refused


def complain(path: str, refused: Refused) -> None:
    """Say on stderr what can't be done with a path."""
    words = str(refused)
    told = f"{path} {words}" if words.startswith(("is ", "does ")) else f"{path}: {words}"
    click.echo(f"orionfs: {printable(told)}", err=True)


# -- why -----------------------------------------------------------------------------------------


def _reason(subject: Subject, call: str, error: OSError, began_s: float) -> str | None:
    """What the mount says of the call that has just failed; None if it says nothing of that."""
    try:
        told = os.getxattr(subject.path, f"{PREFIX}error").decode("utf-8", "replace")
    except OSError:
        return None
    fields = dict(line.partition(": ")[::2] for line in told.splitlines())
    if (fields.get("call"), fields.get("error")) != (call, errno.errorcode.get(error.errno or 0)):
        return None
    try:
        at_s = datetime.fromisoformat(fields["time"]).timestamp()
    except (KeyError, ValueError):
        return None
    if at_s < int(began_s):
        return None
    return _without(subject.place.inner, fields.get("message", ""))


def _without(inner: str, message: str) -> str | None:
    """A message without the path of what it is about, which is told already."""
    for ends in (": ", " "):
        if message.startswith(inner + ends):
            return message.removeprefix(inner + ends)
    return message or None


def _meaning(error: OSError, subject: Subject) -> str:
    point = subject.place.entry.mountpoint
    meanings = {
        errno.ENOENT: "does not exist",
        errno.EACCES: "Orion does not allow you that",
        errno.EPERM: "it is part of the mount, and nothing of Orion's",
        errno.EROFS: "it is read-only here",
        errno.ETIMEDOUT: "Orion can't be reached",
        errno.ENOTCONN: f"its mount is dead: {own_command()} mount {shell_word(point)} mends it",
        errno.ENOTSUP: "Orion keeps nothing of that kind for it",
    }
    return meanings.get(error.errno or 0) or error.strerror or str(error)
