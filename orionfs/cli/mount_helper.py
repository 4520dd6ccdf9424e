"""`mount.orionfs`: what mount(8), and so fstab and systemd's mount units, run for the type orionfs.

Also what umount(8) runs, told by the name it is called by. Turns their arguments into those of our own
commands, and our exit statuses into theirs. Must not mount anything itself.
"""

from __future__ import annotations

import contextlib
import enum
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click

from orionfs import profiles
from orionfs.cli.main import cli
from orionfs.cli.mounts import MountBusy, resolve, unmount
from orionfs.cli.terminal import printable
from orionfs.config import FLAG_OPTIONS, KNOWN_OPTIONS, SYSTEM_FOLDERS
from orionfs.errors import ExitStatus, StartupError

USAGE = "usage: mount.orionfs PROFILE MOUNTPOINT [-sfnv] [-o NAME[=VALUE],...]"
UMOUNT_USAGE = "usage: umount.orionfs MOUNTPOINT [-flnrv]"
SPEC_PREFIX = "orionfs#"

# Of mount(8) itself, of fstab and of systemd; what the kernel sees to for a mount of ours anyway (nosuid,
# nodev); what means nothing where no times of access are kept. Nothing for us to do.
# fmt: off
_OTHERS = frozenset({
    "defaults", "rw", "auto", "noauto", "user", "nouser", "users", "nousers", "owner", "noowner", "group",
    "nogroup", "nofail", "_netdev", "nosuid", "nodev", "exec", "atime", "noatime", "relatime", "norelatime",
    "strictatime", "nostrictatime", "lazytime", "nolazytime", "diratime", "nodiratime", "sync", "async",
    "dirsync", "mand", "nomand", "iversion", "noiversion", "silent", "loud",
})
# fmt: on
_OTHERS_PREFIXES = ("x-", "X-", "comment=", "user=", "helper=", "uhelper=", "context=", "rootcontext=")


class MountStatus(enum.IntEnum):
    """Exit statuses of mount(8)."""

    OK = 0
    USAGE = 1
    INTERRUPTED = 8
    FAILED = 32


@dataclass(slots=True)
class Request:
    """What mount(8) wants."""

    spec: str = ""
    mountpoint: str = ""
    options: list[str] = field(default_factory=list)
    is_sloppy: bool = False
    is_fake: bool = False
    is_verbose: bool = False
    is_forced: bool = False


class Refused(Exception):
    """Arguments that we can't follow; the text says why."""


def main() -> None:
    """Entry point of the console script."""
    if os.geteuid() == 0:
        os.environ.update(SYSTEM_FOLDERS)
    sys.exit(run(Path(sys.argv[0]).name, sys.argv[1:]))


def run(name: str, arguments: Sequence[str]) -> MountStatus:
    """Do what mount(8) or umount(8) want, by the name that they know us by; the exit status for them."""
    try:
        if name.startswith("umount."):
            return _umount(parse(arguments, "lfnrvN:t:", UMOUNT_USAGE))
        return _mount(parse(arguments, "sfnvo:N:t:", USAGE))
    except (Refused, StartupError) as error:
        print(f"{name}: {printable(str(error))}", file=sys.stderr)
        return MountStatus.USAGE


def parse(arguments: Sequence[str], letters: str, usage: str) -> Request:
    """The arguments, read as both programs write them: options before, between or after. Raises Refused."""
    import getopt

    try:
        flags, words = getopt.gnu_getopt(list(arguments), letters)
    except getopt.GetoptError as error:
        raise Refused(f"{error}; {usage}") from None
    wanted = 1 if "l" in letters else 2
    if len(words) != wanted:
        raise Refused(usage)
    given = [flag for flag, _ in flags]
    if "-N" in given:
        raise Refused("-N: a mount in another namespace is not ours to make; use nsenter(1)")
    options = [each for flag, value in flags if flag == "-o" for each in value.split(",") if each]
    return Request(
        "" if wanted == 1 else words[0],
        words[-1],
        options,
        is_sloppy="-s" in given,
        is_fake="-f" in given and wanted == 2,
        is_verbose="-v" in given,
        is_forced=wanted == 1 and ("-l" in given or "-f" in given),
    )


# -- mount ---------------------------------------------------------------------------------------


def _mount(request: Request) -> MountStatus:
    options = ours_of(request.options, is_sloppy=request.is_sloppy)
    profile = profile_of(request.spec)
    if request.is_fake:
        return MountStatus.OK
    more = ["-o", ",".join(options)] if options else []
    with _quiet(not request.is_verbose):
        return _status_of(["mount", "--profile", profile, *more, "--", request.mountpoint])


def profile_of(spec: str) -> str:
    """The profile that the first field of fstab names. Raises Refused, StartupError."""
    name = spec.removeprefix(SPEC_PREFIX)
    if not name.startswith("/"):
        return name
    # Of a word that is also the name of a file in the current folder mount(8) makes a path.
    last = Path(name).name
    if last not in (profiles.read_tables(profiles.config_path()) or {}):
        raise Refused(f"{spec} is no profile; write {SPEC_PREFIX}NAME for one with the name of a file")
    return last


def ours_of(options: Sequence[str], *, is_sloppy: bool = False) -> list[str]:
    """Those that `orionfs mount` is to be given. Raises Refused for what nobody knows, unless sloppy."""
    found = []
    for option in options:
        name = option.partition("=")[0]
        if name in KNOWN_OPTIONS or name in FLAG_OPTIONS:
            found.append(option)
        elif name == "remount":
            raise Refused("a mount can't be changed while it is mounted: unmount it and mount it again")
        elif option not in _OTHERS and not option.startswith(_OTHERS_PREFIXES) and not is_sloppy:
            known = ", ".join(sorted(KNOWN_OPTIONS))
            raise Refused(f"unknown mount option {name!r}; known: {known}, and those of mount(8)")
    return found


# -- umount --------------------------------------------------------------------------------------


def _umount(request: Request) -> MountStatus:
    if not request.is_forced:
        with _quiet(not request.is_verbose):
            return _status_of(["umount", "--", request.mountpoint])
    try:
        unmount(resolve(request.mountpoint), is_lazy=True)
    except (StartupError, MountBusy) as error:
        print(f"umount.orionfs: {printable(str(error))}", file=sys.stderr)
        return MountStatus.FAILED
    return MountStatus.OK


# -- both ----------------------------------------------------------------------------------------


def _status_of(arguments: list[str]) -> MountStatus:
    """Run a command of ours; what mount(8) calls how it ended."""
    try:
        return status_of(cli.main(arguments, prog_name="orionfs", standalone_mode=False))
    except click.UsageError as error:
        raise Refused(error.format_message()) from None


def status_of(exit_status: int) -> MountStatus:
    """Our exit status as mount(8) has it. What could not be uploaded is told, and unmounted all the same."""
    if exit_status in (ExitStatus.OK, ExitStatus.NOT_UPLOADED):
        return MountStatus.OK
    if exit_status in (ExitStatus.USAGE, ExitStatus.CONFIG):
        return MountStatus.USAGE
    return MountStatus.INTERRUPTED if exit_status == 130 else MountStatus.FAILED


@contextlib.contextmanager
def _quiet(is_quiet: bool) -> Iterator[None]:
    """mount(8) says nothing where all is well."""
    if not is_quiet:
        yield
        return
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


if __name__ == "__main__":
    main()
