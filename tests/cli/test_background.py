"""Processes in the background: their logs and how they report."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import click
import pytest

from orionfs.cli import background
from orionfs.cli.background import Report, hold, log_path, open_log
from orionfs.errors import ExitStatus, StartupError


def test_logs_of_two_mounts_never_meet(tmp_path) -> None:
    points = ["/a/b", "/a-b", "/a//b", "/ä b\n", "/" + "x" * 5000]
    paths = {log_path(tmp_path, Path(point)) for point in points}
    assert len(paths) == 4
    for path in paths:
        assert path.parent == tmp_path / "log"
        assert path.name.isascii()
        assert len(path.name) < 255
    assert log_path(tmp_path, Path("/home/me/orion")).name.startswith("home-me-orion-")


def test_log_is_private_and_appended_to(tmp_path) -> None:
    path = tmp_path / "log" / "x.log"
    for text in (b"one\n", b"two\n"):
        descriptor = open_log(path)
        os.write(descriptor, text)
        os.close(descriptor)
    assert path.read_bytes() == b"one\ntwo\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_long_log_is_moved_aside(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(background, "LOG_SIZE_MAX_BYTES", 3)
    path = tmp_path / "x.log"
    path.write_text("old and long")
    os.close(open_log(path))
    assert path.read_text() == ""
    assert (tmp_path / "x.log.1").read_text() == "old and long"


def test_log_behind_a_link_is_refused(tmp_path) -> None:
    (tmp_path / "x.log").symlink_to(tmp_path / "target")
    with pytest.raises(OSError, match="symbolic links"):
        open_log(tmp_path / "x.log")
    assert not (tmp_path / "target").exists()


def told(act) -> list[dict[str, object]]:
    """What a report writes into its pipe."""
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    report = Report(writer)
    assert not os.get_inheritable(writer)
    act(report)
    with os.fdopen(reader) as pipe:
        return [json.loads(line) for line in pipe]


def test_only_the_first_word_is_told() -> None:
    def act(report: Report) -> None:
        report.ready("here", url="http://h")
        report.failed(StartupError("late", ExitStatus.FUSE))

    assert told(act) == [{"ok": True, "message": "here", "url": "http://h"}]


def test_failure_is_told_with_its_status() -> None:
    assert told(lambda report: report.failed(StartupError("no", ExitStatus.FUSE))) == [
        {"error": "no", "exit_status": 7}
    ]


def test_report_to_a_starter_that_is_gone_is_dropped() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    Report(writer).ready("here")
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(writer)


def test_without_a_starter_the_terminal_is_told(capsys) -> None:
    report = Report(None)
    report.ready("here \x1b")
    report.failed(StartupError("said elsewhere", ExitStatus.FUSE))
    assert capsys.readouterr() == ("", "here \\x1b\n")


def test_descriptor_that_is_not_open_is_wrong_usage() -> None:
    with pytest.raises(click.UsageError, match="999 is not open"):
        hold(999)


def test_child_that_never_speaks_is_given_up_and_ended(tmp_path, monkeypatch) -> None:
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 600\n")
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))
    with pytest.raises(StartupError, match="no word within"):
        background.start("mount", [], tmp_path / "log" / "x.log", patience=background.Patience(ready_s=0.3))
    pid = int((tmp_path / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
