"""What is shown to people."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orionfs.cli.terminal import own_command, printable, shell_word, waiting


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ligands ß ä.sdf", "ligands ß ä.sdf"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("a\nb\tc\rd", "a\\nb\\tc\\rd"),
        ("exe\u202egpj", "exe\\u202egpj"),
        ("not \udcff UTF-8", "not \\xff UTF-8"),
        ("\ud800", "\\ud800"),
    ],
)
def test_what_could_steer_a_terminal_is_escaped(text, shown) -> None:
    assert printable(text) == shown


@given(st.text(st.characters(), max_size=50))
def test_shown_text_has_no_control_characters(text) -> None:
    assert printable(text).isprintable()
    assert printable(text).encode().decode() == printable(text)


@pytest.mark.parametrize("name", ["plain", "with space", "quo'te", "new\nline", "back\\slash\n'", "ä\x1b"])
def test_shell_reads_a_word_back(name) -> None:
    done = subprocess.run(
        ["bash", "-c", f"printf %s {shell_word(Path(name))}"], capture_output=True, check=True
    )
    assert done.stdout.decode() == name
    assert shell_word(name).isprintable()


def test_program_off_path_is_named_by_its_place(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "my env" / "orionfs")])
    assert own_command() == f"'{tmp_path}/my env/orionfs'"
    monkeypatch.setattr(sys, "argv", ["-m"])
    assert own_command() == "orionfs"
    (tmp_path / "orionfs").touch(0o755)
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "orionfs")])
    assert own_command() == "orionfs"


def test_waiting_is_silent_when_nobody_looks(capsys) -> None:
    with waiting("for something") as show:
        show("more")
    assert capsys.readouterr() == ("", "")


def test_waiting_is_shown_on_a_terminal(capsys, monkeypatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with waiting("for [bold]\x07") as show:
        show("3 [red]\x1b[2J")
    assert "3 [red]\\x1b[2J" in capsys.readouterr().err
    with waiting("for [bold]\x07"):
        pass
    assert "for [bold]\\x07" in capsys.readouterr().err
