"""Configuration: options and folders; every mistake is told in words, with status CONFIG."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from orionfs import config
from orionfs.config import MountConfig
from orionfs.errors import ExitStatus, StartupError
from orionfs.localnames import LITTER, LocalNames
from orionfs.mountinfo import MountEntry
from orionfs.profiles import write_profile


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for variable in ("CONFIG_HOME", "CACHE_HOME", "STATE_HOME", "DATA_HOME", "RUNTIME_DIR"):
        monkeypatch.setenv(f"XDG_{variable}", str(tmp_path / variable.lower()))
    return tmp_path


def message_of(call: Callable[[], object]) -> str:
    """The one line that a wrong configuration is told in."""
    with pytest.raises(StartupError) as caught:
        call()
    assert caught.value.exit_status is ExitStatus.CONFIG
    assert "\n" not in str(caught.value)
    return str(caught.value)


# -- options -------------------------------------------------------------------------------------


@pytest.fixture
def load() -> Callable[..., MountConfig]:
    write_profile("default", {"url": "http://127.0.0.1:8000", "token": "secret-token"})
    return lambda **arguments: config.load_mount_config(Path("/mnt"), **arguments)


def test_mount_without_options_has_the_documented_defaults(load, home) -> None:
    found = load()
    assert (found.uid, found.gid, found.umask) == (os.getuid(), os.getgid(), 0o022)
    assert (found.metadata_ttl_s, found.absence_ttl_s, found.in_flight_max) == (30.0, 5.0, 16)
    assert (found.root, found.read_only, found.allow_other) == (None, False, False)
    for folder in (found.cache_dir, found.state_dir, found.runtime_dir):
        assert folder.is_relative_to(home)
        assert folder.stat().st_mode & 0o777 == 0o700


def test_options_are_read_from_several_comma_lists(load) -> None:
    found = load(options=["ro,umask=077", "metadata_ttl_s=0.5,uid=12,metadata_ttl_s=2", ""])
    assert (found.read_only, found.umask, found.uid, found.metadata_ttl_s) == (True, 0o077, 12, 2.0)
    assert isinstance(load(options=["in_flight_max=3"]).in_flight_max, int)


@pytest.mark.parametrize(
    ("option", "word"),
    [
        ("noatime", "unknown mount option 'noatime'; known: absence_ttl_s, allow_other"),
        ("allow_other=1", "takes no value"),
        ("umask=999", "three octal digits"),
        ("uid=me", "a whole number from 0"),
        ("uid=-1", "a whole number from 0"),
        ("metadata_ttl_s=nan", "a number from 0"),
        ("metadata_ttl_s=", "a number from 0"),
        ("read_deadline_s=0", "a number from 0.1"),
        ("in_flight_max=1.5", "a whole number from 1"),
        ("litter=", "a list with colons is needed, such as litter=default:*.tmp, or none"),
        ("temporary=default:*", "'*' is no pattern of names"),
    ],
)
def test_wrong_option_is_named(load, option, word) -> None:
    assert word in message_of(lambda: load(options=[option]))


def test_patterns_of_local_only_names_are_ours_unless_others_are_given(load) -> None:
    assert load().local_names == LocalNames()
    found = load(options=["litter=default:*.tmp,temporary=none"]).local_names
    assert (found.litter, found.temporary) == ((*LITTER, "*.tmp"), ())


def test_root_is_normalised(load) -> None:
    assert load(root="/project/1/team/").root == "/project/1/team"
    assert load(root="/").root == "/"


def test_organization_is_protected_unless_something_else_is_said(load) -> None:
    assert load().protected == load(protect=()).protected == load(root="/").protected == (("organization",),)
    assert load(protect=["none"]).protected == load(protect=[""]).protected == ()
    # A folder of that name in somebody's own data is no business of the mount's.
    assert load(root="/project/1/user/demo").protected == ()
    paths = ["organization", "/team-data/results/", "/mnt/my-data//kept"]
    assert load(protect=paths).protected == (
        ("organization",),
        ("team-data", "results"),
        ("my-data", "kept"),
    )
    assert load(root="/project/1", protect=["team/a b"]).protected == (("team", "a b"),)


@pytest.mark.parametrize(
    ("paths", "word"),
    [
        (["/"], "--read-only protects all of it"),
        (["/mnt/"], "--read-only protects all of it"),
        (["team-data/../my-data"], "a path in the mount is needed"),
        (["orgnization"], "the mount has no 'orgnization'; there: my-data, team-data"),
        (["none", "team-data"], "give it alone"),
    ],
)
def test_nonsense_to_protect_is_refused(load, paths, word) -> None:
    assert word in message_of(lambda: load(protect=paths))


@pytest.mark.parametrize("root", ["project/1", "", "/project/../x", "/a/./b"])
def test_root_that_is_not_absolute_and_plain_is_refused(load, root) -> None:
    assert "an absolute Orion path is needed" in message_of(lambda: load(root=root))


def test_unknown_log_level_is_refused(load) -> None:
    assert "known: DEBUG" in message_of(lambda: load(log_level="LOUD"))


# -- folders -------------------------------------------------------------------------------------


def network_home(path: Path) -> MountEntry:
    return MountEntry("0:1", path, frozenset(), "nfs4", "server:/home", frozenset())


def test_cache_leaves_a_network_home(home, monkeypatch) -> None:
    assert config.cache_folder() == home / "cache_home" / "orionfs"
    monkeypatch.setattr(config, "read_mountinfo", lambda: [network_home(home)])
    assert config.cache_folder() == Path(f"/var/tmp/orionfs-{os.getuid()}")
    monkeypatch.setenv("ORIONFS_CACHE_DIR", str(home / "told"))
    assert config.cache_folder() == home / "told"


def test_without_a_runtime_dir_the_sockets_lie_in_tmp(monkeypatch) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert config.runtime_folder() == Path(f"/tmp/orionfs-{os.getuid()}")


def test_folder_that_is_open_to_others_or_is_none_is_refused(load, home, monkeypatch) -> None:
    folder = home / "told"
    monkeypatch.setenv("ORIONFS_CACHE_DIR", str(folder))
    folder.mkdir()
    folder.chmod(0o755)
    assert message_of(load).endswith(f"chmod 700 {folder}")
    folder.rmdir()
    folder.write_text("")
    assert "can't be made" in message_of(load)


def test_folder_of_another_user_is_refused(load, home, monkeypatch) -> None:
    folder = home / "told"
    folder.mkdir(mode=0o700)
    monkeypatch.setattr(os, "getuid", lambda: 54321)
    with pytest.raises(StartupError, match="not a folder of this user"):
        config._private_folder(folder)


def test_control_path_is_short_and_one_for_each_mount_point() -> None:
    first = config.control_path(Path("/run/user/1000/orionfs"), Path("/home/me/" + "x" * 200))
    second = config.control_path(Path("/run/user/1000/orionfs"), Path("/home/me/y"))
    assert first != second
    assert len(os.fsencode(first)) < 108


def test_sockets_of_a_user_are_looked_for_wherever_they_may_lie(monkeypatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/mine")
    ours = config.runtime_folders(os.getuid())
    assert ours[0] == Path("/run/mine/orionfs")
    assert Path(f"/tmp/orionfs-{os.getuid()}") in ours
    assert Path("/run/mine/orionfs") not in config.runtime_folders(os.getuid() + 1)
