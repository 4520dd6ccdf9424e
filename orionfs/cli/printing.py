"""`orionfs completion` and `orionfs man`: what a shell and `man` read, printed to be put where they look."""

from __future__ import annotations

import click

from orionfs.cli import completing, manual
from orionfs.errors import ExitStatus


@click.command(short_help="Print what lets a shell complete commands.")
@click.argument("shell", type=click.Choice(completing.SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> int:
    """Print what lets SHELL complete commands, options, paths and names of profiles.

    \b
    Examples:
        orionfs completion bash > ~/.local/share/bash-completion/completions/orionfs
        orionfs completion zsh > ~/.zfunc/_orionfs      # a folder of your fpath
        orionfs completion fish > ~/.config/fish/completions/orionfs.fish

    \b
    Exit statuses: 0 printed.
    """
    click.echo(completing.script(_group_of(ctx), shell))
    return ExitStatus.OK


@click.command(short_help="Print the page of the manual.")
@click.pass_context
def man(ctx: click.Context) -> int:
    """Print the page of the manual, for man(1). One that was installed with orionfs needs none of this.

    \b
    Examples:
        orionfs man | man -l -
        mkdir -p ~/.local/share/man/man1 && orionfs man > ~/.local/share/man/man1/orionfs.1

    \b
    Exit statuses: 0 printed.
    """
    group = _group_of(ctx)
    click.echo(manual.page(group, group.epilog or ""), nl=False)
    return ExitStatus.OK


def _group_of(ctx: click.Context) -> click.Group:
    group = ctx.find_root().command
    assert isinstance(group, click.Group)
    return group
