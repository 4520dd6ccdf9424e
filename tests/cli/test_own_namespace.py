"""Whether a plain user can mount, in words; the namespace itself is tested on real mounts."""

from __future__ import annotations

import errno
import os

import pytest

from orionfs.cli import exec as exec_command
from orionfs.cli import own_namespace
from orionfs.errors import ExitStatus, StartupError


@pytest.fixture
def plain_user(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def test_root_needs_no_program_to_mount(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert own_namespace.why_no_usual_mount() is None


def test_missing_program_is_named_with_its_package(plain_user) -> None:
    assert own_namespace.why_no_usual_mount() == "fusermount3 (package fuse3) is not installed"


def test_program_without_rights_is_named(plain_user) -> None:
    program = plain_user / "fusermount3"
    program.touch(mode=0o755)
    assert own_namespace.why_no_usual_mount() == f"{program} has no right to mount: it is not setuid root"


def test_where_neither_way_works_the_words_name_both(plain_user, monkeypatch) -> None:
    def forbidden(name: str, *_arguments: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted", name)

    monkeypatch.setattr(own_namespace, "_call", forbidden)
    with pytest.raises(StartupError) as raised:
        exec_command._enter_namespace("fusermount3 (package fuse3) is not installed")
    words = str(raised.value)
    assert raised.value.exit_status is ExitStatus.FUSE
    assert words.startswith("fusermount3 (package fuse3) is not installed; and a namespace of its own can't")
    assert "user.max_user_namespaces" in words
