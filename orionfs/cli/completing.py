"""Completion for shells: click's own, taught which of our texts are paths and which are names of profiles.

`teach` is called once, with all commands in place. What completes runs at each TAB, so it reads nothing but
the config file, and never fails.
"""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem, ShellComplete, get_completion_class

from orionfs import profiles
from orionfs.errors import StartupError

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_ORIONFS_COMPLETE"

# By the name of the parameter; each is a text, since what it names need not exist, or may hang.
_FOLDERS = frozenset({"mountpoint", "at"})
_PATHS = frozenset({"paths", "items", "folder"})
_PROFILES = frozenset({"profile"})


class _Path(click.types.StringParamType):
    """A text that names a file or folder."""

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002
        param: click.Parameter,  # noqa: ARG002
        incomplete: str,
    ) -> list[CompletionItem]:
        """The shell completes it itself."""
        return [CompletionItem(incomplete, type=self._kind)]


class _ProfileName(click.types.StringParamType):
    """A text that names a profile."""

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002
        param: click.Parameter,  # noqa: ARG002
        incomplete: str,
    ) -> list[CompletionItem]:
        """Those of the config file."""
        try:
            names = profiles.read_tables(profiles.config_path()) or {}
        except StartupError:
            return []
        return [CompletionItem(name) for name in sorted(names) if name.startswith(incomplete)]


def teach(group: click.Group) -> None:
    """Say of all parameters below a group what they name."""
    for command in group.commands.values():
        if isinstance(command, click.Group):
            teach(command)
        for parameter in command.params:
            if type(parameter.type) is click.types.StringParamType:
                parameter.type = _type_of(parameter) or parameter.type


def _type_of(parameter: click.Parameter) -> click.types.StringParamType | None:
    name = parameter.name
    if name in _FOLDERS:
        return _Path("dir")
    if name in _PATHS:
        return _Path("file")
    is_profile = name in _PROFILES or (name == "name" and isinstance(parameter, click.Argument))
    return _ProfileName() if is_profile else None


def script(group: click.Group, shell: str) -> str:
    """What a shell runs at its start."""
    kind = get_completion_class(shell)
    assert kind is not None
    # Not the class's own: for bash that looks which version this machine has.
    return ShellComplete.source(kind(group, {}, "orionfs", VARIABLE))
