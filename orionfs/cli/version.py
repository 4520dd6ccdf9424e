"""`orionfs --version`: of this program, and of what it stands on."""

from __future__ import annotations

import platform

import click

from orionfs import __version__


def show_version(ctx: click.Context, _option: click.Parameter, is_asked: bool) -> None:
    """Print the versions, the program's own on the first line, and end."""
    if not is_asked or ctx.resilient_parsing:
        return
    for name, version in {"orionfs": __version__, **_below()}.items():
        click.echo(f"{name} {version}")
    ctx.exit()


def _below() -> dict[str, str]:
    """What a mount stands on; where it can't stand, that is said as well."""
    machine = {"Python": platform.python_version(), platform.system(): platform.release()}
    try:
        from orionfs.fuse.library import library_versions

        return {**library_versions(), **machine}
    except ImportError as error:
        reason = "not installed" if isinstance(error, ModuleNotFoundError) else f"can't be loaded: {error}"
        return {"pyfuse3": reason, **machine}
