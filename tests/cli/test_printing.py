"""`orionfs completion` and `orionfs man`: what they print works where it is read, and leaves nothing out."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from orionfs import profiles
from orionfs.cli.completing import SHELLS
from orionfs.cli.main import EXIT_STATUSES, cli
from orionfs.errors import ExitStatus

PROGRAM = Path(sys.executable).with_name("orionfs")
# What it prints goes to a shell, so it asks bash itself, with the cursor behind the last word.
ASK = """
source <(orionfs completion bash)
COMP_WORDS=({words}) COMP_CWORD={at}
_orionfs_completion orionfs
printf '%s\\n' "${{COMPREPLY[@]}}"
compopt 2>/dev/null
"""


def commands(group: click.Group, above: str = "orionfs") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        yield f"{above} {name}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{above} {name}")


@pytest.fixture(scope="module")
def page() -> str:
    done = CliRunner().invoke(cli, ["man"], prog_name="orionfs")
    assert done.exit_code == 0
    return done.stdout


def plain(page: str) -> str:
    """The text that roff makes of it, near enough to look for words."""
    return (
        page.replace("\\-", "-")
        .replace("\\(aq", "'")
        .replace("\\(ti", "~")
        .replace("\\e", "\\")
        .replace("\\&", "")
    )


def test_page_has_every_command_option_and_exit_status(page) -> None:
    text = plain(page)
    for path, command in commands(cli):
        section = text.partition(f".SS {path} ")[2].partition("\n.SS ")[0].partition("\n.SH ")[0]
        assert section, path
        for parameter in command.params:
            if isinstance(parameter, click.Option) and not parameter.hidden:
                assert all(option in section for option in parameter.opts), (path, parameter.opts)
                assert parameter.help, (path, parameter.opts)
    told = re.findall(r"^ *(\d+)  ", text.partition(".SH EXIT STATUS")[2], re.MULTILINE)
    assert [int(status) for status in told] == [int(status) for status in ExitStatus]


def test_list_of_exit_statuses_is_that_of_the_code() -> None:
    told = re.findall(r"^ *(\d+)  ", EXIT_STATUSES, re.MULTILINE)
    assert [int(status) for status in told] == [int(status) for status in ExitStatus]


def test_every_command_tells_its_exit_statuses_and_only_known_ones(page) -> None:
    known = {int(status) for status in ExitStatus} | {126, 127, 128}
    for path, command in commands(cli):
        words = re.search(r"Exit status(?:es)?: (.*)", command.help or "", re.DOTALL)
        assert words is not None, path
        told = {int(number) for number in re.findall(r"(?<![\w.])(\d+)(?= |,)", words[1])}
        assert told <= known, path


@pytest.mark.skipif(shutil.which("groff") is None, reason="no groff")
def test_page_is_roff_without_a_warning(page) -> None:
    done = subprocess.run(
        ["groff", "-man", "-Tutf8", "-ww", "-rLL=78n"], input=page, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    assert "orionfs umount --force" in done.stdout.replace("\x1b[1m", "")


# -- completion ----------------------------------------------------------------------------------


@pytest.mark.parametrize("shell", SHELLS)
def test_script_is_for_the_program(shell) -> None:
    done = CliRunner().invoke(cli, ["completion", shell], prog_name="orionfs")
    assert done.exit_code == 0
    assert f"_ORIONFS_COMPLETE={shell}_complete" in done.stdout
    assert "orionfs" in done.stdout


@pytest.mark.some(3)
@pytest.mark.skipif(not PROGRAM.exists(), reason="orionfs is not installed")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("orionfs st", ["status"]),
        ("orionfs umount --f", ["--force"]),
        ("orionfs config i", ["info"]),
        ("orionfs mount --profile d", ["default"]),
        ("orionfs config delete d", ["default"]),
        ("orionfs completion z", ["zsh"]),
    ],
)
def test_bash_completes_commands_options_and_profiles(orionfs, home, words, expected) -> None:
    environment = {**orionfs.environment, "PATH": f"{PROGRAM.parent}:/usr/bin:/bin"}
    program = ASK.format(words=words, at=len(words.split()) - 1)
    done = subprocess.run(
        ["bash", "-c", program], env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout.split() == expected, done.stderr


def complete(*words: str) -> list[str]:
    """Kind and value of each proposal, as bash gets them."""
    environment = {
        "COMP_WORDS": " ".join(["orionfs", *words]),
        "COMP_CWORD": str(len(words)),
        "_ORIONFS_COMPLETE": "bash_complete",
    }
    done = CliRunner().invoke(cli, [], prog_name="orionfs", env=environment)
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (("mount", "/t"), "dir"),
        (("umount", "/t"), "dir"),
        (("exec", "--at", "/t"), "dir"),
        (("refresh", "/t"), "file"),
        (("rm", "/t"), "file"),
        (("tag", "/t"), "file"),
        (("put", "/t"), "file"),
    ],
)
def test_paths_are_left_to_the_shell(words, kind) -> None:
    assert complete(*words) == [f"{kind},/t"]


def test_config_file_that_is_wrong_completes_nothing(home) -> None:
    assert complete("mount", "--profile", "d") == ["plain,default"]
    profiles.config_path().write_text("no toml [")
    assert complete("mount", "--profile", "d") == []
