"""The unit files of systemd as they are put on a machine: rendered from those of the package, or taken away.

Owns where they lie, what is filled in, and whether a file there is ours. Talks to systemd by its own
commands. Must not know the terminal.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from orionfs.errors import ExitStatus, StartupError

UNIT = "orionfs@.service"
MOUNT_HELPER = "mount.orionfs"
# Under what names mount(8) and umount(8) look for it: the type in fstab, and what the kernel calls it.
HELPER_NAMES = (MOUNT_HELPER, "mount.fuse.orionfs", "umount.orionfs", "umount.fuse.orionfs")
HELPER_FOLDER = Path("/sbin")
# Names of profiles that can be written in a unit's name as they are.
INSTANCE = re.compile(r"[A-Za-z0-9:_.-]+")

_MARK = "# Written by `orionfs install-units"
_FIRST = "orionfs mount --profile %i --foreground %h/orion/%i"  # of the unit that was copied by hand
_BACKOFF_SINCE = 254
_NEW_KEYS = re.compile(r"^(RestartSteps|RestartMaxDelaySec)=", re.MULTILINE)
_COMMAND_TIMEOUT_S = 30
_LINGERING = Path("/var/lib/systemd/linger")


@dataclass(frozen=True, slots=True)
class Manager:
    """One of systemd's managers: that of a user, or that of the machine."""

    is_system: bool

    @property
    def folder(self) -> Path:
        """Where its administrator puts unit files."""
        if self.is_system:
            return Path("/etc/systemd/system")
        config = os.environ.get("XDG_CONFIG_HOME", "").strip() or "~/.config"
        return Path(config).expanduser() / "systemd" / "user"

    @property
    def systemctl(self) -> str:
        """What one types to talk to it."""
        return "systemctl" if self.is_system else "systemctl --user"

    def ask(self, *arguments: str) -> str | None:
        """What systemctl prints; None where there is no such manager, or it does not do it."""
        return run([*self.systemctl.split(), *arguments])


def run(command: list[str]) -> str | None:
    """What a command prints; None if it is not there, fails, or takes too long."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=_COMMAND_TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def systemd_version() -> int | None:
    """Of the systemd that is installed, such as 252."""
    found = re.match(r"systemd (\d+)", run(["systemctl", "--version"]) or "")
    return None if found is None else int(found[1])


def rendered(manager: Manager, program: list[str], version: int | None) -> str:
    """The text of the unit, with the words of the program that it runs."""
    kind = "system" if manager.is_system else "user"
    text = resources.files("orionfs").joinpath("units", kind, UNIT).read_text("utf-8")
    if version is not None and version < _BACKOFF_SINCE:  # it would complain of them at each start
        text = _NEW_KEYS.sub(r"#\g<0>", text)
    return text.replace("@ORIONFS@", " ".join(map(_unit_word, program)))


def _unit_word(word: str) -> str:
    """A word of a command line as systemd.service(5) wants it."""
    if not word.isprintable():
        raise StartupError(f"{word!r} can't stand in a unit file", ExitStatus.FAILED)
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"' if re.search(r"[\s\"'\\;]", word) else escaped


def own_program() -> list[str]:
    """The words that run this program, whatever the current folder and PATH."""
    ours = Path(sys.executable).with_name("orionfs")
    found = shutil.which("orionfs")
    # A link such as pipx makes stays right when what it leads to is made anew.
    if found is not None and (not ours.exists() or os.path.samefile(found, ours)):
        return [os.path.abspath(found)]
    if ours.exists():
        return [str(ours)]
    return [sys.executable, "-P", "-m", "orionfs"]


# -- files ---------------------------------------------------------------------------------------


def write_unit(manager: Manager, text: str) -> Path:
    """Put the unit where its manager looks. Raises StartupError if what is there is not ours."""
    path = manager.folder / UNIT
    check_ours(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_text(text, "utf-8")
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise StartupError(f"{path} can't be written: {error.strerror}", ExitStatus.FAILED) from error
    return path


def check_ours(path: Path) -> None:
    """Raise StartupError if there is a file that this command has not written, nor an earlier version."""
    try:
        text = path.read_text("utf-8", "replace")
    except FileNotFoundError:
        return
    except OSError as error:
        raise StartupError(f"{path} can't be read: {error.strerror}", ExitStatus.FAILED) from error
    if _MARK not in text and _FIRST not in text:
        raise StartupError(
            f"{path} was not written by this command: move it away (changes of your own are kept in"
            f" drop-ins: systemctl edit)",
            ExitStatus.FAILED,
        )


def remove_unit(manager: Manager) -> list[Path]:
    """Take the unit away, and the links that start its instances; what was removed."""
    path = manager.folder / UNIT
    check_ours(path)
    links = manager.folder.glob("*.wants/orionfs@*.service")
    return [each for each in (path, *sorted(links)) if _removed(each)]


def link_helper(folder: Path = HELPER_FOLDER) -> list[Path]:
    """Let mount(8) and umount(8) find our helper; the links. Raises StartupError."""
    helper = Path(own_program()[0]).with_name(MOUNT_HELPER)
    if not helper.exists():
        raise StartupError(f"{helper} is missing: install orionfs again", ExitStatus.FAILED)
    for link in _helper_links(folder):
        if os.path.lexists(link) and not _is_our_link(link):
            raise StartupError(f"{link} is there and not ours: move it away", ExitStatus.FAILED)
    try:
        for link in _helper_links(folder):
            link.unlink(missing_ok=True)
            link.symlink_to(helper)
    except OSError as error:
        raise StartupError(f"{link} can't be made: {error.strerror}", ExitStatus.FAILED) from error
    return _helper_links(folder)


def unlink_helper(folder: Path = HELPER_FOLDER) -> list[Path]:
    """Take the links away again; those that were there."""
    return [link for link in _helper_links(folder) if _is_our_link(link) and _removed(link)]


def _helper_links(folder: Path) -> list[Path]:
    return [folder / name for name in HELPER_NAMES]


def _is_our_link(link: Path) -> bool:
    return link.is_symlink() and link.readlink().name == MOUNT_HELPER


def _removed(path: Path) -> bool:
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise StartupError(f"{path} can't be removed: {error.strerror}", ExitStatus.FAILED) from error
    return True


# -- what is --------------------------------------------------------------------------------------


def active_instances(manager: Manager) -> list[str]:
    """Units of ours that run, or try to."""
    said = manager.ask("list-units", "--plain", "--no-legend", "--full", "orionfs@*.service") or ""
    rows = [line.split() for line in said.splitlines()]
    return [row[0] for row in rows if len(row) > 2 and row[2] in ("active", "activating", "reloading")]


def is_lingering(user: str, folder: Path = _LINGERING) -> bool:
    """Whether the user's manager goes on without a session; said so by logind, in a file each."""
    return (folder / user).exists()


def changeable_by_others(program: str) -> Path | None:
    """What of a program's path somebody else than root may change; None if nothing."""
    path = Path(program).resolve()
    for part in (path, *path.parents):
        status = part.stat()
        is_open = status.st_mode & 0o022 and not status.st_mode & 0o1000
        if status.st_uid != 0 or is_open:
            return part
    return None
