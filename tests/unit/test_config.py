"""Configuration: profiles, options, folders; every mistake is told in words, with status CONFIG."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from orionfs import config
from orionfs.config import MountConfig, Profile, Token
from orionfs.errors import ExitStatus, StartupError
from orionfs.mountinfo import MountEntry

OWN = '[profile.{name}]\nurl = "http://127.0.0.1:8000"\ntoken = "secret-token"\n'


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for variable in ("CONFIG_HOME", "CACHE_HOME", "STATE_HOME", "DATA_HOME", "RUNTIME_DIR"):
        monkeypatch.setenv(f"XDG_{variable}", str(tmp_path / variable.lower()))
    return tmp_path


@pytest.fixture
def write_config() -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = config.config_path()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o600)
        return path

    return write


def message_of(call: Callable[[], object]) -> str:
    """The one line that a wrong configuration is told in."""
    with pytest.raises(StartupError) as caught:
        call()
    assert caught.value.exit_status is ExitStatus.CONFIG
    assert "\n" not in str(caught.value)
    return str(caught.value)


# -- profiles ------------------------------------------------------------------------------------


def test_named_profile_is_read(write_config) -> None:
    write_config(OWN.format(name="demo") + "project = 7\n")
    assert config.load_profile("demo") == Profile(
        "demo", "http://127.0.0.1:8000", Token("secret-token"), 7, "own", None
    )


def test_profile_name_comes_from_the_argument_then_the_environment_then_is_default(
    write_config, monkeypatch
) -> None:
    write_config("".join(OWN.format(name=name) for name in ("default", "chosen", "told")))
    assert config.load_profile().name == "default"
    monkeypatch.setenv("ORION_PROFILE", "chosen")
    assert config.load_profile().name == "chosen"
    assert config.load_profile("told").name == "told"


def test_environment_wins_unless_a_profile_is_named(write_config, monkeypatch) -> None:
    write_config(OWN.format(name="demo"))
    monkeypatch.setenv("ORIONFS_URL", "https://orion.example.org/")
    monkeypatch.setenv("ORIONFS_TOKEN", "from-the-environment")
    found = config.load_profile()
    assert (found.url, found.token) == ("https://orion.example.org", Token("from-the-environment"))
    assert config.load_profile("demo").url == "http://127.0.0.1:8000"


@pytest.mark.parametrize("there", ["ORIONFS_URL", "ORIONFS_TOKEN"])
def test_half_an_environment_is_refused(monkeypatch, there) -> None:
    monkeypatch.setenv(there, "https://orion.example.org")
    assert message_of(config.load_profile).startswith(f"{there} is set but")


def test_token_is_not_printed(write_config) -> None:
    write_config(OWN.format(name="default"))
    profile = config.load_profile()
    assert profile.token is not None
    assert profile.token.value == "secret-token"
    for text in (repr(profile), str(profile), f"{profile.token}", repr([profile.token])):
        assert "secret" not in text


def test_token_file_beside_the_config_is_read(write_config) -> None:
    path = write_config('[profile.default]\nurl = "http://h"\ntoken_file = "token"\n')
    token = path.parent / "token"
    token.write_text("in-a-file\n")
    token.chmod(0o600)
    profile = config.load_profile()
    assert (profile.token, profile.token_file) == (Token("in-a-file"), token)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_files_that_others_can_read_are_refused_with_the_command_that_mends_it(write_config, mode) -> None:
    path = write_config(OWN.format(name="default"))
    path.chmod(mode)
    assert message_of(config.load_profile).endswith(f"mend it with: chmod 600 {path}")
    path.chmod(0o600)
    path.write_text('[profile.default]\nurl = "http://h"\ntoken_file = "token"\n')
    token = path.parent / "token"
    token.write_text("x")
    token.chmod(mode)
    assert message_of(config.load_profile).endswith(f"mend it with: chmod 600 {token}")


def test_config_of_another_user_is_refused(write_config, monkeypatch) -> None:
    write_config(OWN.format(name="default"))
    monkeypatch.setattr(os, "getuid", lambda: 54321)
    assert "belongs to another user" in message_of(config.load_profile)


def test_missing_profile_names_those_that_are_there(write_config) -> None:
    assert "orionfs demo" in message_of(config.load_profile)
    write_config(OWN.format(name="b") + OWN.format(name="a"))
    assert message_of(lambda: config.load_profile("c")).endswith("there: a, b")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("[profile.default", "is not TOML"),
        ("[profiles.default]\n", "unknown key 'profiles'"),
        ("profile = 3\n", "not a table"),
        ("[profile]\ndefault = 3\n", "not a table"),
        (OWN.format(name="default") + "tokn = 3\n", "unknown key 'tokn'"),
        (OWN.format(name="default") + "project = true\n", "not a number of a project"),
        (OWN.format(name="default") + 'project = "1"\n', "not a number of a project"),
        (OWN.format(name="default") + 'token_file = "t"\n', "both token and token_file"),
        (OWN.format(name="default") + 'client = "orion client"\n', "own or module:factory"),
        ('[profile.default]\nurl = "http://h"\n', "has no token or token_file"),
        ('[profile.default]\ntoken = "t"\n', "has no url"),
        ("[profile.default]\ntoken = 3\n", "'token' in [profile.default]"),
        ('[profile.default]\nurl = ""\n', "not a text"),
        ('[profile.default]\nurl = "http://h"\ntoken = "sec ret"\n', "is not a token"),
        ('[profile.default]\nurl = "http://h"\ntoken_file = "none"\n', "does not exist"),
        ('[profile.default]\nurl = "ftp://h"\ntoken = "t"\n', "is not a URL"),
        ('[profile.default]\nurl = "http://h:port"\ntoken = "t"\n', "is not a URL"),
        ('[profile.default]\nurl = "http://h?x=1"\ntoken = "t"\n', "is not a URL"),
        ('[profile.default]\nurl = "http://me:secret@h"\ntoken = "t"\n', "holds a user name"),
    ],
)
def test_mistake_in_the_config_is_named_without_any_secret(write_config, text, word) -> None:
    write_config(text)
    message = message_of(config.load_profile)
    assert word in message
    assert "sec" not in message.replace("secret may", "").replace("hold a secret", "")


def test_config_that_is_no_text_is_refused(write_config) -> None:
    write_config("").write_bytes(b"\xff")
    assert "not UTF-8" in message_of(config.load_profile)


def test_foreign_client_needs_neither_url_nor_token(write_config) -> None:
    write_config('[profile.default]\nclient = "a.b:make"\nclient_python = "/usr/bin/python3"\n')
    profile = config.load_profile()
    assert (profile.client, profile.client_python) == ("a.b:make", "/usr/bin/python3")
    assert (profile.url, profile.token) == (None, None)


# -- writing -------------------------------------------------------------------------------------


def test_written_profile_is_read_back_and_the_rest_is_kept(write_config) -> None:
    path = write_config("# mine\n" + OWN.format(name="mine") + OWN.format(name="demo"))
    token = path.parent / "token"
    token.write_text("t")
    token.chmod(0o600)
    assert config.write_profile("demo", {"url": "http://127.0.0.1:1", "token_file": str(token)}) == path
    assert path.read_text().startswith("# mine\n")
    assert path.stat().st_mode & 0o777 == 0o600
    assert config.load_profile("mine").token == Token("secret-token")
    demo = config.load_profile("demo")
    assert (demo.url, demo.token) == ("http://127.0.0.1:1", Token("t"))
    assert [file.name for file in path.parent.iterdir() if file.name.startswith(".config")] == []


def test_first_profile_makes_a_private_file() -> None:
    path = config.write_profile('a "quoted" name', {"client": "a:b", "project": 3})
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert tomllib.loads(path.read_text()) == {
        "profile": {'a "quoted" name': {"client": "a:b", "project": 3}}
    }


def test_broken_config_is_not_overwritten(write_config) -> None:
    path = write_config("[profile")
    assert "is not TOML" in message_of(lambda: config.write_profile("demo", {"client": "a:b"}))
    assert path.read_text() == "[profile"


# -- options -------------------------------------------------------------------------------------


@pytest.fixture
def load(write_config) -> Callable[..., MountConfig]:
    write_config(OWN.format(name="default"))
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
    ],
)
def test_wrong_option_is_named(load, option, word) -> None:
    assert word in message_of(lambda: load(options=[option]))


def test_root_is_normalised(load) -> None:
    assert load(root="/project/1/team/").root == "/project/1/team"
    assert load(root="/").root == "/"


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
