"""`orionfs install-units`: systemd mounts profiles, for a user or for the machine; or no longer."""

from __future__ import annotations

import getpass
import os

import click

from orionfs import profiles
from orionfs.cli import units
from orionfs.cli.terminal import printable, shell_word
from orionfs.cli.units import Manager
from orionfs.config import SYSTEM_FOLDERS
from orionfs.errors import ExitStatus, StartupError


@click.command("install-units", short_help="Let systemd mount profiles, at login or at boot.")
@click.option("--system", is_flag=True, help="For the whole machine, as root; and for mount(8) and fstab.")
@click.option("--uninstall", is_flag=True, help="Take away what this command has written.")
def install_units(system: bool, uninstall: bool) -> int:
    """Write a unit file for systemd, so that it can mount profiles at each login.

    One file serves all profiles: 'systemctl --user enable --now orionfs@PROFILE' mounts one where its
    mountpoint says, else on ~/orion/PROFILE. With --system it is for the whole machine: profiles of
    /etc/orionfs/config.toml, on /srv/orion/PROFILE; and mount(8) learns the type 'orionfs', for
    /etc/fstab. Run it again after an update of orionfs that has moved the program.

    \b
    Examples:
        orionfs install-units
        sudo orionfs install-units --system
        orionfs install-units --uninstall

    \b
    Exit statuses: 0 done, 1 a file can't be written, or is not ours, 2 --system needs root,
    16 mounts of the units are in use.
    """
    manager = Manager(system)
    if system:
        if os.geteuid() != 0:
            raise click.UsageError("--system writes for the whole machine: run it as root")
        os.environ.update(SYSTEM_FOLDERS)
    return _uninstall(manager) if uninstall else _install(manager)


# -- install -------------------------------------------------------------------------------------


def _install(manager: Manager) -> ExitStatus:
    program = units.own_program()
    version = units.systemd_version()
    path = units.write_unit(manager, units.rendered(manager, program, version))
    click.echo(f"{path} is written; it runs {printable(' '.join(program))}")
    if manager.is_system:
        _warn_of_others(program[0])
        links = units.link_helper()
        click.echo(f"mount(8) knows the type orionfs: {', '.join(map(str, links))}")
    _reload(manager, version)
    if not manager.is_system:
        _tell_lingering()
    _tell_next(manager)
    return ExitStatus.OK


def _warn_of_others(program: str) -> None:
    part = units.changeable_by_others(program)
    if part is not None:
        click.echo(
            f"orionfs: root is going to run {program}, and others than root may change {part}: install it"
            " where only root can write, such as /opt/orionfs",
            err=True,
        )


def _reload(manager: Manager, version: int | None) -> None:
    """Let systemd read it, or say what that means if there is none to read it."""
    if manager.ask("daemon-reload") is not None:
        return
    if version is None:
        words = "there is no systemd on this machine"
    elif manager.is_system:
        words = "systemd does not run on this machine"
    else:
        words = "no systemd runs for you in this session, as after su, and on many login nodes"
    more = "it reads the file when it starts" if version is not None else "nothing reads the file"
    click.echo(f"orionfs: {words}: {more}. Without it: orionfs mount --ensure", err=True)


def _tell_lingering() -> None:
    user = getpass.getuser()
    if units.is_lingering(user):
        click.echo("linger is on: what is enabled is mounted from boot on, and stays when you log out")
        return
    click.echo(
        "linger is off: what is enabled is mounted when you log in, and unmounted when your last session"
        f" ends, uploads a minute at most. To keep it: loginctl enable-linger {shell_word(user)}"
    )


def _tell_next(manager: Manager) -> None:
    names = _profile_names()
    when = "at each boot" if manager.is_system else "at each login"
    shown = [name for name in names if units.INSTANCE.fullmatch(name)]
    if not shown:
        setting = "sudo XDG_CONFIG_HOME=/etc " if manager.is_system else ""
        click.echo(f"no profile yet; make one with: {setting}orionfs config profile NAME")
        shown = ["NAME"]
    for name in shown:
        click.echo(f"mount now and {when}: {manager.systemctl} enable --now orionfs@{name}")


def _profile_names() -> list[str]:
    try:
        return sorted(profiles.read_tables(profiles.config_path()) or {})
    except StartupError as error:
        click.echo(f"orionfs: {printable(str(error))}", err=True)
        return []


# -- uninstall -----------------------------------------------------------------------------------


def _uninstall(manager: Manager) -> ExitStatus:
    active = units.active_instances(manager)
    if active:
        stop = f"{manager.systemctl} disable --now {' '.join(active)}"
        raise StartupError(f"{', '.join(active)} is active: {stop}", ExitStatus.BUSY)
    removed = units.remove_unit(manager)
    if manager.is_system:
        removed += units.unlink_helper()
    for path in removed:
        click.echo(f"{path} is removed")
    if not removed:
        click.echo(f"there is no {manager.folder / units.UNIT}")
        return ExitStatus.OK
    manager.ask("daemon-reload")
    return ExitStatus.OK
