"""The group of commands: help worth reading, one line for an error, a status for each kind."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import orionfs
from orionfs.cli.main import Boundary, cli
from orionfs.errors import ExitStatus, StartupError

COMMANDS = sorted(cli.commands)


def test_version_is_the_packages() -> None:
    result = CliRunner().invoke(cli, ["--version"])
    assert result.exit_code == 0
    versions = dict(line.split(" ", 1) for line in result.output.splitlines())
    assert list(versions) == ["orionfs", "pyfuse3", "libfuse", "Python", "Linux"]
    assert versions["orionfs"] == orionfs.__version__
    assert versions["pyfuse3"] == importlib.metadata.version("pyfuse3")
    assert versions["libfuse"].startswith("3.")
    assert versions["Linux"] == platform.release()


def test_version_is_told_without_pyfuse3_too(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pyfuse3", None)
    monkeypatch.delitem(sys.modules, "orionfs.fuse.library", raising=False)
    result = CliRunner().invoke(cli, ["--version"])
    assert result.exit_code == 0
    assert result.output.splitlines()[:2] == [f"orionfs {orionfs.__version__}", "pyfuse3 not installed"]


def test_module_and_console_script_are_the_same_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "orionfs", "--help"],
        cwd=Path(orionfs.__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    # But for the width of the terminal.
    assert done.stdout.split() == CliRunner().invoke(cli, ["--help"], prog_name="orionfs").output.split()


def test_help_names_every_command_and_every_exit_status() -> None:
    output = CliRunner().invoke(cli, ["--help"]).output
    for name in COMMANDS:
        assert f"\n  {name} " in output
    for status in ExitStatus:
        assert f"\n  {int(status):4}  " in output
    assert "not made, endorsed or supported by" in " ".join(output.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_shows_an_example_and_its_exit_statuses(name) -> None:
    output = CliRunner().invoke(cli, [name, "--help"]).output
    assert "Example" in output
    assert f"orionfs {name} " in output
    assert "Exit statuses: 0 " in output
    assert "--ready-fd" not in output
    assert max(map(len, output.splitlines())) <= 100


def all_commands() -> dict[str, click.Command]:
    """By what one types for each: the commands, and those of a group."""
    found: dict[str, click.Command] = {}
    for name, command in cli.commands.items():
        found[name] = command
        if isinstance(command, click.Group):
            found |= {f"{name} {part}": each for part, each in command.commands.items()}
    return found


@pytest.mark.parametrize("name", all_commands())
def test_every_option_is_explained(name) -> None:
    options = [each for each in all_commands()[name].params if isinstance(each, click.Option)]
    assert [option.name for option in options if not option.help and not option.hidden] == []


def test_unknown_command_or_option_is_wrong_usage() -> None:
    for arguments in (["mout"], ["umount", "a", "b"], ["mount", "--no-such", "x"], ["serve", "--set", "x"]):
        assert CliRunner().invoke(cli, arguments).exit_code == ExitStatus.USAGE


@pytest.mark.parametrize(
    ("raised", "status", "said"),
    [
        (StartupError("no \x1b[31mway\nout", ExitStatus.UNREACHABLE), 5, "orionfs: no \\x1b[31mway\\nout\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_error_becomes_one_harmless_line_and_a_status(raised, status, said) -> None:
    @click.group(cls=Boundary)
    def group() -> None:
        pass

    @group.command()
    def command() -> None:
        raise raised

    result = CliRunner().invoke(group, ["command"])
    assert (result.exit_code, result.stderr, result.stdout) == (status, said, "")


def test_what_a_command_returns_is_its_status() -> None:
    @click.group(cls=Boundary)
    def group() -> None:
        pass

    @group.command()
    def command() -> ExitStatus:
        return ExitStatus.NOT_UPLOADED

    assert CliRunner().invoke(group, ["command"]).exit_code == 75
