"""`orionfs mount`: everything a user can get wrong is found and told here, before the shell goes on."""

from __future__ import annotations

import faulthandler
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import click

from orionfs import logs
from orionfs.cli import background
from orionfs.cli.ensuring import ensured
from orionfs.cli.mounts import (
    AUTOMOUNT_TYPE,
    Health,
    MountBusy,
    make_folder,
    point_of,
    prepare_mount_point,
    probe,
    unmount,
)
from orionfs.cli.terminal import own_command, printable, shell_word, waiting
from orionfs.config import KNOWN_OPTIONS, LOG_LEVELS, MountConfig, load_mount_config
from orionfs.errors import ExitStatus, StartupError
from orionfs.mountinfo import ORIONFS_TYPE, mount_at, read_mountinfo

ANSWER_TIMEOUT_S = 20.0

# They are options of -o as well.
_AS_OPTIONS = ("log_format", "metrics")

OPTIONS_HELP = f"Mount options, a comma list; known: {', '.join(sorted(KNOWN_OPTIONS))}."


@click.command(short_help="Mount Orion on an empty directory.")
@click.argument("mountpoint", required=False)
@click.option("-p", "--profile", help="Profile; see 'orionfs config --help'.")
@click.option("--root", metavar="PATH", help="Show this Orion path alone, such as /project/1/team.")
@click.option(
    "--read-only",
    is_flag=True,
    help="Refuse every change, and ask Orion for none: unfinished uploads of earlier mounts wait as well.",
)
@click.option(
    "--protect",
    multiple=True,
    metavar="PATH",
    help="Refuse every change below this path of the mount; can be given several times. Without it:"
    " organization. 'none' lifts that.",
)
@click.option(
    "--write-back",
    is_flag=True,
    help="Let close() return once bytes and intention are safe on this machine's disk; they are uploaded"
    " behind it.",
)
@click.option("-f", "--foreground", is_flag=True, help="Stay in this terminal; the log goes to stderr.")
@click.option(
    "--ensure",
    is_flag=True,
    help="See that it is mounted, within 10 s: nothing to do where it is and answers. For shell profiles and"
    " cron.",
)
@click.option("-o", "options", multiple=True, metavar="NAME[=VALUE],...", help=OPTIONS_HELP)
@click.option(
    "--log-level",
    type=click.Choice(LOG_LEVELS, case_sensitive=False),
    default="INFO",
    show_default=True,
    help="What is worth a line in the log.",
)
@click.option(
    "--log-format",
    type=click.Choice(logs.FORMATS),
    help="Lines for people (text, the default), or one JSON object a line.",
)
@click.option(
    "--metrics",
    metavar="ADDRESS",
    help="Serve figures for Prometheus here: 127.0.0.1:PORT, [::1]:PORT, localhost:PORT or unix:PATH.",
)
@click.option("--ready-fd", type=int, hidden=True)
@click.option("--keep-fd", type=int, hidden=True)
@click.option("--life-fd", type=int, hidden=True)
def mount(
    mountpoint: str | None,
    foreground: bool,
    ensure: bool,
    ready_fd: int | None,
    keep_fd: int | None,
    life_fd: int | None,
    **how: Any,
) -> int:
    """Mount Orion on MOUNTPOINT, an empty directory of your own. Without it: where the profile says, else on
    ~/orion/PROFILE, which is made if it is missing.

    Returns when the mount answers. Wrong credentials, a server that can't be reached, or a mount point
    that can't be used are told here, and nothing is left behind. What a daemon that died has left on
    MOUNTPOINT is taken away first.

    With --ensure nothing is done, nor said, where MOUNTPOINT is a mount that answers. A missing MOUNTPOINT
    is made, a dead mount is mended, and the command gives up after 10 s.

    \b
    Examples:
        orionfs mount ~/orion
        orionfs mount --profile work
        orionfs mount ~/orion --profile work --read-only
        orionfs mount ~/orion --protect organization --protect team-data/results
        orionfs mount ~/orion --write-back
        orionfs mount ~/orion -o umask=077,metadata_ttl_s=5
        orionfs mount --ensure ~/orion

    Which account it is says the profile: 'orionfs config profile NAME' makes one. The log of a mount
    lies in ~/.local/state/orionfs/log.

    \b
    Exit statuses: 0 mounted, 3 wrong configuration, 4 wrong credentials,
    5 Orion can't be reached, 6 wrong mount point, 7 FUSE does not work here.
    """
    if foreground and ensure:
        raise click.UsageError("--ensure returns once it is mounted: it can't stay in the foreground")
    point = point_of(mountpoint, how["profile"])
    if mountpoint is None and not ensure:
        make_folder(point)
    if foreground:
        return _run_here(point, background.Report(ready_fd), (keep_fd, life_fd), how)
    mounting = partial(_mount_in_time, point, how)
    what = ensured(point, how["profile"], mounting) if ensure else mounting(background.USUAL_PATIENCE)
    if what is None:
        return ExitStatus.OK
    click.echo(f"{_where(what, point)}; '{own_command()} umount {shell_word(point)}' ends it")
    return ExitStatus.OK


def _mount_in_time(point: Path, how: dict[str, Any], patience: background.Patience) -> str:
    return mount_behind(point, arguments_of(how), load(point, how), patience=patience)


def _where(what: str, point: Path) -> str:
    """For people: what the daemon says it has mounted, and where."""
    return f"mounted on {printable(str(point))}: {printable(what)}"


def load(point: Path, how: dict[str, Any]) -> MountConfig:
    """The configuration that the command's options stand for."""
    return load_mount_config(
        point,
        profile_name=how["profile"],
        root=how["root"],
        read_only=how["read_only"],
        protect=how["protect"],
        options=(*how["options"], *(f"{name}={how[name]}" for name in _AS_OPTIONS if how[name] is not None)),
        log_level=how["log_level"].upper(),
        write_back=how["write_back"],
    )


def arguments_of(how: dict[str, Any]) -> list[str]:
    """The options again, for the daemon's command line."""
    arguments = ["--log-level", how["log_level"]]
    for name in ("profile", "root", *_AS_OPTIONS):
        if how[name] is not None:
            arguments += ["--" + name.replace("_", "-"), how[name]]
    for flag in ("read_only", "write_back"):
        if how[flag]:
            arguments.append("--" + flag.replace("_", "-"))
    for path in how["protect"]:
        arguments.append(f"--protect={path}")
    for option in how["options"]:
        arguments += ["-o", option]
    return arguments


def mount_behind(
    point: Path,
    arguments: Sequence[str],
    config: MountConfig,
    keep_fd: int | None = None,
    patience: background.Patience = background.USUAL_PATIENCE,
) -> str:
    """Start the daemon; when the mount answers, return what it says it has mounted. StartupError.

    `keep_fd` is a descriptor that the daemon holds until it ends.
    """
    keep = {} if keep_fd is None else {"keep-fd": keep_fd}
    log = background.log_path(config.state_dir, point)
    child = start_behind(point, arguments, log, keep, patience)
    child.leave()
    return str(child.answer["what"])


def start_behind(
    point: Path,
    arguments: Sequence[str],
    log: Path,
    keep: Mapping[str, int],
    patience: background.Patience = background.USUAL_PATIENCE,
) -> background.Child:
    """The daemon of a mount that answers. StartupError, and nothing is left behind.

    `keep` are descriptors that it inherits, by the option that tells it of each.
    """
    prepare_mount_point(point)
    entry = mount_at(read_mountinfo(), point)
    # Only who is of the group that it has started may look at the mount point that an automount waits for.
    is_automount = entry is not None and entry.fs_type == AUTOMOUNT_TYPE
    kept = [f"--{name}={fd}" for name, fd in keep.items()]
    with waiting("mounting"):
        try:
            # Options first, so that a mount point can have any name.
            command = ["--foreground", *kept, *arguments, "--", str(point)]
            child = background.start(
                "mount",
                command,
                log,
                keep=list(keep.values()),
                patience=patience,
                is_of_our_group=is_automount,
            )
        except BaseException:
            leave_nothing(point)
            raise
        if not _answers(point, min(ANSWER_TIMEOUT_S, patience.ready_s)):
            child.end()
            leave_nothing(point)
            raise StartupError(f"the mount on {point} does not answer; its log is {log}", ExitStatus.FUSE)
    return child


def _answers(point: Path, limit_s: float) -> bool:
    return _is_ours(point) and probe(point, limit_s) is Health.ANSWERS


def _is_ours(point: Path) -> bool:
    entry = mount_at(read_mountinfo(), point)
    return entry is not None and entry.fs_type == ORIONFS_TYPE


def leave_nothing(point: Path) -> None:
    """Take away what a daemon that did not come up, or that is gone, has mounted."""
    if not _is_ours(point):
        return
    try:
        unmount(point, is_lazy=True)
    except (MountBusy, StartupError) as error:
        click.echo(f"orionfs: {printable(str(error))}", err=True)


def _run_here(
    point: Path,
    report: background.Report,
    descriptors: tuple[int | None, int | None],
    how: dict[str, Any],
) -> int:
    """Be the daemon of the mount; `descriptors` are those of --keep-fd and --life-fd."""
    try:
        for descriptor in descriptors:
            if descriptor is not None:
                background.hold(descriptor)
        config = replace(load(point, how), life_fd=descriptors[1], manager=report.manager)
        prepare_mount_point(point)
        logs.write_to_stderr(config.log_level, config.log_format)
        faulthandler.enable()  # a crash, or SIGABRT of a watchdog, tells where everything was
        # A daemon must not keep the directory it was started in from being unmounted.
        os.chdir("/")
        return _serve(config, lambda what: report.ready(_where(what, point), what=what))
    except StartupError as error:
        report.failed(error)
        raise


def _serve(config: MountConfig, ready: Callable[[str], None]) -> int:
    from orionfs import daemon
    from orionfs.orion.refusals import explained

    try:
        return daemon.run(config, ready)
    except StartupError as error:
        raise explained(error, config.profile) from error
