"""`orionfs exec`: a mount for as long as one command runs, as batch jobs want it.

The daemon lives as long as this process does, which holds the other end of a pipe; signals it leaves to
us, since a batch system sends them to all processes of a job at once, and the last writes of a command
that is told to end are the ones that count most.
"""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from orionfs.cli import background, own_namespace
from orionfs.cli.draining import Drained, drain, left_over, tell_failed, tell_left
from orionfs.cli.mount import arguments_of, leave_nothing, load, mount, start_behind
from orionfs.cli.mounts import make_folder, resolve, users_of, wait_until_gone
from orionfs.cli.running import NOT_FOUND, CannotRun, Ended, Signals, ended_by_signals
from orionfs.cli.talking import connect
from orionfs.cli.terminal import printable, uploading
from orionfs.errors import ExitStatus, StartupError
from orionfs.mountinfo import mount_at, mount_of, read_mountinfo

MOUNT_VARIABLE = "ORIONFS_MOUNT"
DRAIN_LIMIT_S = 3600.0
# SLURM's KillWait, after which it kills, is 30 s by default.
GRACE_S = 25.0
STOP_TIMEOUT_S = 5.0
END_TIMEOUT_S = 60.0
UNMOUNT_LEAST_S = 3.0

# Options of `mount` that are the affair of its own command line.
_NOT_OURS = frozenset({"mountpoint", "foreground", "ensure", "ready_fd", "keep_fd", "life_fd"})


@dataclass(frozen=True, slots=True)
class Running:
    """The mount: where, its daemon, and the pipe that keeps it alive."""

    point: Path
    child: background.Child
    life: int


@click.command(
    "exec",
    short_help="Mount, run a command, upload, unmount.",
    context_settings={"allow_interspersed_args": False},
)
@click.argument("command", nargs=-1, required=True, metavar="COMMAND...", type=click.UNPROCESSED)
@click.option("--at", metavar="MOUNTPOINT", help="Mount here; made if missing. Default: a temporary folder.")
@click.option(
    "--private",
    is_flag=True,
    help="Mount in a namespace of its own: nobody but the command sees the mount, and none can stay behind."
    " Without it that is done where nothing else works.",
)
@click.option(
    "--timeout",
    "limit_s",
    type=click.FloatRange(min=0),
    default=DRAIN_LIMIT_S,
    show_default=True,
    metavar="SECONDS",
    help="How long uploads may take once the command has ended.",
)
@click.option(
    "--grace",
    "grace_s",
    type=click.FloatRange(min=0),
    default=GRACE_S,
    show_default=True,
    metavar="SECONDS",
    help="End so long after a SIGTERM, uploaded or not: less than what the batch system allows before it"
    " kills.",
)
def exec_(
    command: tuple[str, ...], at: str | None, private: bool, limit_s: float, grace_s: float, **how: Any
) -> int:
    """Mount Orion, run COMMAND, upload what it has written, unmount.

    The command finds the mount in the environment variable ORIONFS_MOUNT; it runs in the current
    directory, with the standard streams of orionfs. Signals are passed on to it. A mount point of several
    jobs at once is no problem with --private.

    \b
    Examples:
        orionfs exec -- sh -c 'wc -l "$ORIONFS_MOUNT"/my-data/*.smi'
        orionfs exec --at ~/orion --write-back -- python dock.py ~/orion/team-data/run-7
        srun orionfs exec --private --at /tmp/orion -- ./job.sh

    Nothing is lost when uploads fail, or when a batch system allows no time for them: their bytes stay on
    this machine, in a folder that is named, and the next mount of the same account there finishes them.

    \b
    Exit statuses: 0 done and everything uploaded, 75 not everything could be uploaded;
    else that of COMMAND (128 + N if signal N ended it, 126 can't be run, 127 not found).
    Without a mount COMMAND is not run: 3 wrong configuration, 4 wrong credentials,
    5 Orion can't be reached, 6 wrong mount point, 7 FUSE does not work here.
    """
    if "/" not in command[0] and shutil.which(command[0]) is None:
        return _cannot_run(CannotRun(f"{printable(command[0])}: command not found", NOT_FOUND))
    try:
        # While it is being mounted a signal ends that, and leaves nothing; what is mounted is ended in order.
        with ended_by_signals(), _mount_point(at) as point:
            running = _mounted(point, private, how)
            with Signals(limit_s, grace_s) as signals:
                try:
                    status = _run(signals, command, {**os.environ, MOUNT_VARIABLE: str(point)})
                finally:
                    drained = _end(running, signals)
    except Ended as ended:
        return ended.status
    if not drained.is_all_uploaded:
        _tell_left_over(drained)
        return status or ExitStatus.NOT_UPLOADED
    return status


exec_.params += [param for param in mount.params if param.name not in _NOT_OURS]


def _run(signals: Signals, command: Sequence[str], environment: dict[str, str]) -> int:
    try:
        return signals.run(command, environment)
    except CannotRun as error:
        return _cannot_run(error)


def _cannot_run(error: CannotRun) -> int:
    click.echo(f"orionfs: {error}", err=True)
    return error.status


# -- the mount -----------------------------------------------------------------------------------


@contextlib.contextmanager
def _mount_point(at: str | None) -> Iterator[Path]:
    """The folder to mount on; a temporary one is removed in the end, a named one may be in use by others."""
    if at is not None:
        point = resolve(at)
        make_folder(point)
        yield point
        return
    point = Path(tempfile.mkdtemp(prefix="orionfs-exec-", dir=_temporary_folder())).resolve()
    try:
        yield point
    finally:
        with contextlib.suppress(OSError):  # somebody has put something there, or the mount is in use
            point.rmdir()


def _temporary_folder() -> str:
    """A folder on this machine: the kernel may not reach into a user's folder on a network disk."""
    usual = tempfile.gettempdir()
    found = mount_of(read_mountinfo(), Path(usual).resolve())
    return "/tmp" if found is not None and found.is_network else usual


def _mounted(point: Path, is_private: bool, how: dict[str, Any]) -> Running:
    """Mount, in the usual way or in a namespace of its own. Raises StartupError."""
    why = "" if is_private else own_namespace.why_no_usual_mount()
    if why is None:
        try:
            return _start(point, how)
        except StartupError as error:
            if error.exit_status is not ExitStatus.FUSE:
                raise
            why = str(error)
    _enter_namespace(why)
    return _start(point, how)


def _enter_namespace(why: str) -> None:
    """`why` nothing else will do; empty if somebody has asked for it."""
    try:
        own_namespace.enter()
    except StartupError as error:
        if not why:
            raise
        raise StartupError(f"{why}; and {error}", error.exit_status) from error


def _start(point: Path, how: dict[str, Any]) -> Running:
    config = load(point, how)
    # A temporary folder has another name each time; logs are to be found again, and to be few.
    log = background.log_path(config.state_dir, Path(f"exec-{platform.node()}"))
    theirs, life = os.pipe()
    try:
        with own_namespace.handing_on_the_right():
            child = start_behind(point, arguments_of(how), log, {"life-fd": theirs})
    except BaseException:
        os.close(life)
        raise
    finally:
        os.close(theirs)
    return Running(point, child, life)


# -- the end -------------------------------------------------------------------------------------


def _end(running: Running, signals: Signals) -> Drained:
    """Bring everything to Orion as far as time allows, then unmount."""
    entry = mount_at(read_mountinfo(), running.point)
    connection = None if entry is None else connect(running.point, entry)
    drained = Drained()
    if connection is not None:
        with connection:
            with uploading("uploading") as show:
                drained = drain(connection, signals.left_s, show)
            _warn_users(running.point)
            _stop(connection)
    _wait_for_end(running, signals, drained)
    return drained


def _warn_users(point: Path) -> None:
    users = users_of(point)
    if users:
        words = f"{', '.join(users)} still used the mount, which goes away now"
        click.echo(f"orionfs: {printable(words)}", err=True)


def _stop(connection: socket.socket) -> None:
    """Let the daemon unmount; one that can't be told ends when our pipe closes."""
    with contextlib.suppress(OSError):
        connection.settimeout(STOP_TIMEOUT_S)
        connection.sendall(b'{"command": "stop"}\n')
        connection.recv(4096)


def _wait_for_end(running: Running, signals: Signals, drained: Drained) -> None:
    """Wait until nothing is mounted, and the daemon has let go of what it keeps, if there is time."""
    os.close(running.life)
    limit_s = max(UNMOUNT_LEAST_S, min(END_TIMEOUT_S, signals.left_s()))
    process = running.child.process
    try:
        status = process.wait(limit_s)
    except subprocess.TimeoutExpired:
        # It goes on by itself: what it still brings to Orion the next mount need not.
        running.child.leave()
        wait_until_gone(running.point, UNMOUNT_LEAST_S)
        click.echo(f"orionfs: the daemon of {printable(str(running.point))} is still at work", err=True)
        return
    if status != ExitStatus.OK:
        drained.is_done = False
    elif drained.pending or not drained.is_done:
        # The last attempt, after the unmount, has brought it there.
        drained.is_done, drained.pending, drained.failed = True, 0, ()
    leave_nothing(running.point)


def _tell_left_over(drained: Drained) -> None:
    if drained.is_all_kept:
        tell_left(drained, "")
        return
    tell_failed(drained)
    where = f" in {drained.kept_in}" if drained.kept_in else ""
    words = (
        f"orionfs: {left_over(drained)} could not be uploaded; nothing is lost: the bytes are kept on this"
        f" machine{where}, and the next mount of the same account finishes it"
    )
    click.echo(printable(words), err=True)
