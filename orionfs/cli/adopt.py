"""`orionfs adopt`: what waits in the state folders of another host becomes this host's."""

from __future__ import annotations

import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from orionfs.cli.terminal import counted, own_command, printable
from orionfs.config import state_folder
from orionfs.errors import ExitStatus, StartupError
from orionfs.mountinfo import mount_of, read_mountinfo

if TYPE_CHECKING:  # it knows journals, and so SQLite
    from orionfs.leftovers import Leftover, TakenOver


@click.command(short_help="Take over what waits for Orion on another host.")
@click.argument("host")
@click.option("--yes", is_flag=True, help="Do not ask whether HOST has really ended with it.")
def adopt(host: str, yes: bool) -> int:
    """Take over what mounts on HOST have left in this home, so that the next mount here finishes it.

    For a login node that is gone, or that one does not come to again. What a mount on HOST is still using
    is refused. On a network disk one host does not always see the locks of another, so the command asks
    whether all mounts there have ended.

    \b
    Example:
        orionfs adopt login2

    \b
    Exit statuses: 0 taken over, 1 something is in use on HOST or can't be moved,
    2 nobody could be asked, 3 HOST has left nothing here.
    """
    from orionfs.leftovers import take_over

    state_dir = state_folder()
    folder = _folder_of(state_dir, host)
    if not yes and _is_shared(state_dir):
        _ask(host)
    try:
        outcome = take_over(state_dir, folder)
    except OSError as error:
        raise StartupError(f"{folder} can't be taken over: {error.strerror}", ExitStatus.FAILED) from error
    return _tell(host, outcome)


def _folder_of(state_dir: Path, host: str) -> Path:
    from orionfs.leftovers import find_leftovers, hosts_named

    found = hosts_named(state_dir, host)
    if not found:
        known = sorted({each.host for each in find_leftovers(state_dir) if not each.is_own_host})
        there = f"there are: {', '.join(known)}" if known else "no other host has"
        raise StartupError(
            f"{host} has left nothing below {state_dir} ({there}); '{own_command()} status' shows all",
            ExitStatus.CONFIG,
        )
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise StartupError(f"{host} may be any of: {names}; say which", ExitStatus.CONFIG)
    (folder,) = found
    if any(each.is_own_host and folder in each.path.parents for each in find_leftovers(state_dir)):
        raise StartupError(
            f"{host} is this host: the next mount of the account takes over what was left here",
            ExitStatus.CONFIG,
        )
    return folder


def _is_shared(folder: Path) -> bool:
    found = mount_of(read_mountinfo(), folder.resolve())
    return found is not None and found.is_network


def _ask(host: str) -> None:
    if not sys.stdin.isatty():
        raise click.UsageError("there is nobody to ask whether all mounts there have ended: say --yes")
    question = (
        f"Have all mounts of yours on {printable(host)} ended? Two at once would spoil each other's work"
    )
    if not click.confirm(question, default=False, err=True):
        raise StartupError("nothing was taken over", ExitStatus.FAILED)


def _tell(host: str, outcome: TakenOver) -> ExitStatus:
    what = [_in_words(each) for each in outcome.taken if not each.is_empty]
    for words in what:
        click.echo(printable(f"taken over from {host}: {words}"))
    if not what and not outcome.locked:
        click.echo(printable(f"{host} had nothing that waits"))
    for each in outcome.locked:
        words = f"orionfs: in use by a mount on {host}, so it stays there: {each.path}"
        click.echo(printable(words), err=True)
    if what:
        click.echo(f"the next mount of the account on {platform.node()} finishes it")
    return ExitStatus.FAILED if outcome.locked else ExitStatus.OK


def _in_words(left: Leftover) -> str:
    parts = [counted(left.unfinished or 0, "change")] if left.unfinished else []
    parts += [counted(len(left.kept), "file") + " that nobody had closed"] if left.kept else []
    return f"{' and '.join(parts)} of {left.account} at {left.stack}"
