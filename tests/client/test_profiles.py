"""Where the library finds a server: environment, config file; by the same rules as the mount."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from orionfs import profiles
from orionfs.client import OrionSession, SessionConfig, get_profile_config
from orionfs.client.errors import OrionError
from orionfs.errors import StartupError
from tests.client.fake import Fake, Reply

OWN = '[profile.{name}]\nurl = "http://127.0.0.1:8000"\ntoken = "secret-token"\n'


@pytest.fixture
def write_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "orionfs").mkdir()

    def write(text: str) -> Path:
        path = tmp_path / "orionfs" / "config.toml"
        path.write_text(text)
        path.chmod(0o600)
        return path

    return write


def message_of(profile: str | None = None) -> str:
    """The one line that is told."""
    with pytest.raises(OrionError) as caught:
        get_profile_config(profile)
    assert type(caught.value) is OrionError
    assert "\n" not in str(caught.value)
    assert "secret-token" not in str(caught.value)
    return str(caught.value)


def test_profile_is_read_with_all_that_it_says(write_config) -> None:
    path = write_config(
        '[profile.lab]\nurl = "http://h:1/"\ntoken_file = "lab.token"\nproject = 3\nusername = "ada"\n'
        'wire = "routes.toml"\n'
    )
    (path.parent / "routes.toml").write_text("")
    token = path.parent / "lab.token"
    token.write_text("in-a-file\n")
    token.chmod(0o600)
    wire = path.parent / "routes.toml"
    assert get_profile_config("lab") == SessionConfig("http://h:1", "in-a-file", 3, "ada", wire)


def test_name_is_the_argument_then_the_environment_then_default(write_config, monkeypatch) -> None:
    write_config("".join(OWN.format(name=name).replace("8000", port) for name, port in NAMES.items()))
    assert get_profile_config().url.endswith(NAMES["default"])
    monkeypatch.setenv("ORION_PROFILE", "chosen")
    assert get_profile_config().url.endswith(NAMES["chosen"])
    monkeypatch.setenv("ORIONFS_URL", "http://environment")
    assert message_of().startswith("ORIONFS_URL is set but ORIONFS_TOKEN is not")
    monkeypatch.setenv("ORIONFS_TOKEN", "abc\n")
    assert get_profile_config() == SessionConfig("http://environment", "abc")
    assert get_profile_config("told").url.endswith(NAMES["told"])


NAMES = {"default": "1", "chosen": "2", "told": "3"}


def test_session_of_a_profile_is_that_account(write_config, fake: Fake) -> None:
    write_config(f'[profile.default]\nurl = "{fake.url}"\ntoken = "the-token"\nproject = 7\n')
    fake.on("GET", "/api/v1/users/me", Reply(json={"id": 1, "username": "demo"}))
    with OrionSession() as session:
        assert session.get_user_profile().username == "demo"
    (asked,) = fake.seen("/api/v1/users/me")
    assert (asked.headers["authorization"], asked.headers["x-orion-project"]) == ("Token:the-token", "7")


def test_missing_profile_is_told_with_those_that_are_there(write_config) -> None:
    assert "(there: none): make it with: orionfs config profile default" in message_of()
    write_config(OWN.format(name="a"))
    assert "no profile 'b' in " in message_of("b")
    assert "(there: a)" in message_of("b")


@pytest.mark.parametrize("broken", ["config.toml", "token"])
def test_file_that_others_can_read_is_refused_with_the_command_that_mends_it(write_config, broken) -> None:
    path = write_config('[profile.default]\nurl = "http://h"\ntoken_file = "token"\n')
    assert "does not exist" in message_of()
    (path.parent / "token").write_text("secret-token")
    (path.parent / "token").chmod(0o600)
    (path.parent / broken).chmod(0o640)
    assert message_of().endswith(f"mend it with: chmod 600 {path.parent / broken}")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("[profile.default", "is not TOML"),
        ("profile = 3\n", "not a table"),
        ("[profile]\ndefault = 3\n", "not a table"),
        (OWN.format(name="default") + "projet = 3\n", "unknown key 'projet'"),
        ("[profile.default]\n", "is a profile of OpenEye's client"),
        ('[profile.default]\nclient = "vendor"\n', "is for another client (vendor)"),
        ('[profile.default]\nclient = "a:b"\n', "is for another client (a:b)"),
        ('[profile.default]\nurl = "http://h"\n', "has no token or token_file"),
        ('[profile.default]\ntoken = "secret-token"\n', "has no url"),
        ('[profile.default]\nurl = "http://h"\ntoken = "secret-token ü"\n', "the token in"),
        (OWN.format(name="default") + 'token_file = "t"\n', "both token and token_file"),
        (OWN.format(name="default") + "project = true\n", "not a number of a project"),
        (OWN.format(name="default") + "username = 1\n", "'username' in [profile.default]"),
        (OWN.format(name="default") + 'wire = "none"\n', "the 'wire' of [profile.default]"),
    ],
)
def test_mistake_in_the_config_is_named_without_any_secret(write_config, text, word) -> None:
    write_config(text)
    assert word in message_of()


def test_config_that_is_no_text_or_not_ours_is_refused(write_config, monkeypatch) -> None:
    path = write_config("")
    path.write_bytes(b"\xff")
    assert "not UTF-8" in message_of()
    monkeypatch.setattr("os.getuid", lambda: 54321)
    assert "belongs to another user" in message_of()
    path.unlink()
    path.mkdir()
    assert "can't be read" in message_of()


@pytest.mark.parametrize("key", profiles.PROFILE_KEYS)
def test_library_knows_every_key_of_a_profile(write_config, key) -> None:
    write_config(f"[profile.default]\n{key} = 3\n")
    assert "unknown key" not in message_of()


@pytest.mark.parametrize(
    "text",
    [
        OWN.format(name="default"),
        OWN.format(name="default") + 'project = 2\nusername = "ada"\nclient = "auto"\n',
        OWN.format(name="default").replace("8000", "8000/base/"),
        OWN.format(name="default") + "project = 0\n",
        '[profile.default]\nurl = "http://h"\ntoken_file = "token"\n',
        OWN.format(name="default") + 'wire = "config.toml"\nclient = "own"\n',
        OWN.format(name="default") + 'wire = "~/none"\n',
    ],
)
def test_library_and_mount_read_a_profile_alike(write_config, text) -> None:
    """The library has a reader of its own, since it stands without the mount."""
    write_config(text)
    try:
        mounts = profiles.load_profile()
    except StartupError as error:
        assert message_of() == str(error)
        return
    assert mounts.token is not None
    found = (mounts.url, mounts.token.value, mounts.project, mounts.username, mounts.wire)
    config = get_profile_config()
    assert found == (config.url, config.token, config.project, config.username, config.wire)
