"""What /etc/fuse.conf allows plain users, and that a mount which needs more says so before it is tried."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from orionfs import config
from orionfs.errors import ExitStatus, StartupError
from orionfs.fuseconf import allows_other
from orionfs.profiles import write_profile


@pytest.mark.parametrize(
    ("text", "is_allowed"),
    [
        ("user_allow_other\n", True),
        ("  user_allow_other  # for all\nmount_max = 5\n", True),
        ("#user_allow_other\n", False),
        ("user_allow_others\n", False),
        ("", False),
    ],
)
def test_line_counts_where_it_is_no_comment(tmp_path, text, is_allowed) -> None:
    (tmp_path / "fuse.conf").write_text(text)
    assert allows_other(tmp_path / "fuse.conf") is is_allowed


def test_missing_file_allows_nothing_and_an_unreadable_one_tells_nothing(tmp_path) -> None:
    assert allows_other(tmp_path / "none") is False
    assert allows_other(tmp_path) is None


@pytest.mark.parametrize(("uid", "is_refused"), [(1000, True), (0, False)])
def test_allow_other_is_refused_to_plain_users_with_the_line_that_is_missing(
    tmp_path, monkeypatch, uid, is_refused
) -> None:
    for name in ("CONFIG", "CACHE", "STATE", "DATA"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "r"))
    write_profile("default", {"url": "http://127.0.0.1:9", "token": "x"})
    monkeypatch.setattr(config, "FUSE_CONF", tmp_path / "fuse.conf")
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    if is_refused:
        with pytest.raises(StartupError, match=r"echo user_allow_other >> .*/fuse\.conf") as caught:
            config.load_mount_config(Path("/m"), options=["allow_other"])
        assert caught.value.exit_status is ExitStatus.CONFIG
        assert not (tmp_path / "STATE").exists()
        (tmp_path / "fuse.conf").write_text("user_allow_other\n")
    assert config.load_mount_config(Path("/m"), options=["allow_other"]).allow_other
