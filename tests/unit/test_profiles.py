"""Profiles: found, read, written; every mistake is told in words, with status CONFIG."""

from __future__ import annotations

import itertools
import os
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from orionfs import profiles
from orionfs.errors import ExitStatus, StartupError
from orionfs.profiles import Profile, Token

OWN = '[profile.{name}]\nurl = "http://127.0.0.1:8000"\ntoken = "secret-token"\n'


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path


@pytest.fixture
def write_config() -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = profiles.config_path()
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
    assert profiles.load_profile("demo") == Profile(
        "demo", "http://127.0.0.1:8000", Token("secret-token"), 7, "own", None
    )


def test_profile_name_comes_from_the_argument_then_the_environment_then_is_default(
    write_config, monkeypatch
) -> None:
    write_config("".join(OWN.format(name=name) for name in ("default", "chosen", "told")))
    assert profiles.load_profile().name == "default"
    monkeypatch.setenv("ORION_PROFILE", "chosen")
    assert profiles.load_profile().name == "chosen"
    assert profiles.load_profile("told").name == "told"


def test_environment_wins_unless_a_profile_is_named(write_config, monkeypatch) -> None:
    write_config(OWN.format(name="demo"))
    monkeypatch.setenv("ORIONFS_URL", "https://orion.example.org/")
    monkeypatch.setenv("ORIONFS_TOKEN", "from-the-environment")
    found = profiles.load_profile()
    assert (found.url, found.token) == ("https://orion.example.org", Token("from-the-environment"))
    assert profiles.load_profile("demo").url == "http://127.0.0.1:8000"


@pytest.mark.parametrize("there", ["ORIONFS_URL", "ORIONFS_TOKEN"])
def test_half_an_environment_is_refused(monkeypatch, there) -> None:
    monkeypatch.setenv(there, "https://orion.example.org")
    assert message_of(profiles.load_profile).startswith(f"{there} is set but")


def test_token_is_not_printed(write_config) -> None:
    write_config(OWN.format(name="default"))
    profile = profiles.load_profile()
    assert profile.token is not None
    assert profile.token.value == "secret-token"
    for text in (repr(profile), str(profile), f"{profile.token}", repr([profile.token])):
        assert "secret" not in text


def test_token_file_beside_the_config_is_read(write_config) -> None:
    path = write_config('[profile.default]\nurl = "http://h"\ntoken_file = "token"\n')
    token = path.parent / "token"
    token.write_text("in-a-file\n")
    token.chmod(0o600)
    profile = profiles.load_profile()
    assert (profile.token, profile.token_file) == (Token("in-a-file"), token)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_files_that_others_can_read_are_refused_with_the_command_that_mends_it(write_config, mode) -> None:
    path = write_config(OWN.format(name="default"))
    path.chmod(mode)
    assert message_of(profiles.load_profile).endswith(f"mend it with: chmod 600 {path}")
    path.chmod(0o600)
    path.write_text('[profile.default]\nurl = "http://h"\ntoken_file = "token"\n')
    token = path.parent / "token"
    token.write_text("x")
    token.chmod(mode)
    assert message_of(profiles.load_profile).endswith(f"mend it with: chmod 600 {token}")


def test_config_of_another_user_is_refused(write_config, monkeypatch) -> None:
    write_config(OWN.format(name="default"))
    monkeypatch.setattr(os, "getuid", lambda: 54321)
    assert "belongs to another user" in message_of(profiles.load_profile)


def test_nothing_said_and_nothing_there_is_told_with_how_to_make_a_profile(write_config) -> None:
    message = message_of(profiles.load_profile)
    assert f"there is no {profiles.config_path()}; make it with: orionfs config profile default" in message
    assert "orionfs demo" in message
    write_config(OWN.format(name="b") + OWN.format(name="a"))
    assert message_of(profiles.load_profile).endswith("name one with --profile; there: a, b")


def test_name_that_the_file_does_not_have_is_a_profile_of_the_vendors_client(
    write_config, monkeypatch
) -> None:
    vendors = Profile("work", None, None, None, "vendor", None, orion_profile="work")
    assert profiles.load_profile("work") == vendors
    write_config(OWN.format(name="default"))
    assert profiles.load_profile("work") == vendors
    monkeypatch.setenv("ORION_PROFILE", "work")
    assert profiles.load_profile() == vendors
    assert not profiles.is_listed(vendors)
    assert profiles.is_listed(profiles.load_profile("default"))


def test_default_is_the_vendors_only_if_somebody_says_so() -> None:
    assert profiles.load_profile("default").orion_profile == "default"


@pytest.mark.parametrize(
    ("text", "client", "orion_profile"),
    [
        (OWN.format(name="x"), "own", None),
        (OWN.format(name="x") + 'client = "auto"\n', "own", None),
        (OWN.format(name="x") + 'client = "a.b:make"\n', "a.b:make", None),
        ("[profile.x]\n", "vendor", "x"),
        ('[profile.x]\nclient = "auto"\norion_profile = "lab"\n', "vendor", "lab"),
        ('[profile.x]\nclient = "vendor"\nclient_python = "/p"\n', "vendor", "x"),
    ],
)
def test_client_of_a_profile_is_found(write_config, text, client, orion_profile) -> None:
    write_config(text)
    found = profiles.load_profile("x")
    assert (found.client, found.orion_profile) == (client, orion_profile)


def test_wire_file_beside_the_config_is_found(write_config) -> None:
    path = write_config(OWN.format(name="default") + 'wire = "routes.toml"\nusername = "ada"\n')
    assert "'wire' of [profile.default]" in message_of(profiles.load_profile)
    (path.parent / "routes.toml").write_text("")
    found = profiles.load_profile()
    assert (found.wire, found.username) == (path.parent / "routes.toml", "ada")


def test_names_of_workspaces_are_read_and_outlive_a_change(write_config) -> None:
    write_config(OWN.format(name="default") + '[profile.default.workspaces]\n12 = "lab"\n')
    found = profiles.load_profile()
    assert found.workspaces == {"12": "lab"}
    tables = profiles.read_tables(profiles.config_path())
    assert tables is not None
    profiles.write_profile("default", {**tables["default"], "username": "ada"})
    changed = profiles.load_profile()
    assert (changed.workspaces, changed.username) == ({"12": "lab"}, "ada")


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
        (OWN.format(name="default") + 'client = "orion client"\n', "auto, own, vendor or module:factory"),
        ('[profile.default]\nurl = "http://h"\n', "has no token or token_file"),
        ('[profile.default]\ntoken = "t"\n', "has no url"),
        ("[profile.default]\ntoken = 3\n", "'token' in [profile.default]"),
        ('[profile.default]\nurl = ""\n', "not a text"),
        ('[profile.default]\nclient = "vendor"\nurl = "http://h"\n', "'url' in [profile.default]"),
        ('[profile.default]\nclient = "vendor"\ntoken = "t"\n', "the profile of OpenEye's client holds that"),
        ("[profile.default]\nproject = 3\n", "the profile of OpenEye's client holds that"),
        (OWN.format(name="default") + 'orion_profile = "x"\n', "means nothing to the client 'own'"),
        ('[profile.default]\nworkspaces = "lab"\n', "'workspaces' in [profile.default]"),
        ('[profile.default]\nworkspaces = { lab = "12" }\n', "'workspaces' in [profile.default]"),
        ('[profile.default]\nworkspaces = { 12 = "" }\n', "'workspaces' in [profile.default]"),
        ('[profile.default]\nclient = "a:b"\nwire = "x"\n', "means nothing to the client 'a:b'"),
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
    message = message_of(profiles.load_profile)
    assert word in message
    assert "sec" not in message.replace("secret may", "").replace("hold a secret", "")


def test_config_that_is_no_text_is_refused(write_config) -> None:
    write_config("").write_bytes(b"\xff")
    assert "not UTF-8" in message_of(profiles.load_profile)


def test_foreign_client_needs_neither_url_nor_token(write_config) -> None:
    write_config('[profile.default]\nclient = "a.b:make"\nclient_python = "/usr/bin/python3"\n')
    profile = profiles.load_profile()
    assert (profile.client, profile.client_python) == ("a.b:make", "/usr/bin/python3")
    assert (profile.url, profile.token) == (None, None)


# -- writing -------------------------------------------------------------------------------------


def test_written_profile_is_read_back_and_the_rest_is_kept(write_config) -> None:
    path = write_config("# mine\n" + OWN.format(name="mine") + OWN.format(name="demo"))
    token = path.parent / "token"
    token.write_text("t")
    token.chmod(0o600)
    assert profiles.write_profile("demo", {"url": "http://127.0.0.1:1", "token_file": str(token)}) == path
    assert path.read_text().startswith("# mine\n")
    assert path.stat().st_mode & 0o777 == 0o600
    assert profiles.load_profile("mine").token == Token("secret-token")
    demo = profiles.load_profile("demo")
    assert (demo.url, demo.token) == ("http://127.0.0.1:1", Token("t"))
    assert [file.name for file in path.parent.iterdir() if file.name.startswith(".config")] == []


def test_first_profile_makes_a_private_file() -> None:
    path = profiles.write_profile('a "quoted" name', {"client": "a:b", "project": 3})
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert tomllib.loads(path.read_text()) == {
        "profile": {'a "quoted" name': {"client": "a:b", "project": 3}}
    }


def test_comments_within_a_profile_outlive_a_change(write_config) -> None:
    text = OWN.format(name="demo") + "# which project\nproject = 3 # Kinases\n"
    path = write_config(text)
    profiles.write_profile(
        "demo", {"url": "http://127.0.0.1:8000", "token": "secret-token", "project": 4, "username": "ada"}
    )
    assert path.read_text() == text.replace("3", "4") + 'username = "ada"\n'


def test_config_that_is_a_symbolic_link_stays_one(write_config, home) -> None:
    """Some people keep their settings elsewhere, among others."""
    path = write_config(OWN.format(name="demo"))
    path.rename(home / "kept.toml")
    path.symlink_to(home / "kept.toml")
    profiles.write_profile("more", {"client": "a:b"})
    assert path.is_symlink()
    assert set(tomllib.loads((home / "kept.toml").read_text())["profile"]) == {"demo", "more"}


def test_deleted_profile_is_gone_and_the_rest_is_kept(write_config) -> None:
    path = write_config("# mine\n" + OWN.format(name="a") + "\n# the other\n" + OWN.format(name="b"))
    assert profiles.delete_profile("a") == path
    assert "the other" in path.read_text()
    assert path.read_text().startswith("# mine\n")
    assert profiles.read_tables(path) == {"b": {"url": "http://127.0.0.1:8000", "token": "secret-token"}}
    profiles.delete_profile("b")
    assert profiles.read_tables(path) == {}
    assert message_of(lambda: profiles.delete_profile("b")).endswith("there: none")


@pytest.mark.parametrize(
    "text",
    [
        "".join(OWN.format(name=name) + f"\n# after {name}\n" for name in "abc"),
        'profile = {a = {client = "x:y"}, b = {client = "x:z"}}\n',
        '[profile]\n# within\na = {client = "x:y"}\nb.client = "x:z"\nc = {}\n',
        '[profile]\n\n[profile.a]\nclient = "x:y" # this one\n[profile.b]\n[profile.c]\n',
        '[profile."a b"]\n\n[profile."c.d"]\norion_profile = """\n[profile.fake]\n"""\n',
    ],
)
def test_profiles_come_and_go_in_whatever_way_the_file_is_written(write_config, text) -> None:
    names = tomllib.loads(text)["profile"]
    for order in itertools.permutations(names):
        path = write_config(text)
        left = dict(names) | {"new": {"client": "q:r"}}
        profiles.write_profile("new", left["new"])
        for name in (*order, "new"):
            assert profiles.read_tables(path) == left
            profiles.delete_profile(name)
            del left[name]
        assert profiles.read_tables(path) == {}


def test_config_that_can_t_be_written_is_told(home) -> None:
    (home / "config").write_text("in the way")
    assert "can't be" in message_of(lambda: profiles.write_profile("demo", {"client": "a:b"}))


def test_name_of_the_environment_is_no_name_of_a_profile(write_config) -> None:
    write_config(OWN.format(name="environment"))
    assert "that name is taken" in message_of(lambda: profiles.load_profile("environment"))


def test_broken_config_is_not_overwritten(write_config) -> None:
    path = write_config("[profile")
    assert "is not TOML" in message_of(lambda: profiles.write_profile("demo", {"client": "a:b"}))
    assert path.read_text() == "[profile"
