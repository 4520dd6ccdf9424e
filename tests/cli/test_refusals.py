"""What goes wrong on the first day: one line, the documented status, no traceback, no token."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from orionfs import config, profiles
from orionfs.cli.background import log_path
from tests.cli.processes import daemons_of
from tests.client.fake import INFO_PATH, Fake, Reply, running_fake

pytestmark = pytest.mark.needs_fuse

ME = "/api/v1/users/me"
TOKEN = "the-secret"


@pytest.fixture
def refused(orionfs, point, is_mounted) -> Callable[..., tuple[int, str]]:
    """`orionfs mount` comes to nothing: its status and its one line; nothing is left behind."""

    def refused(*arguments: str) -> tuple[int, str]:
        done = orionfs("mount", point, "-o", "read_deadline_s=2", *arguments)
        assert done.returncode != 0
        assert done.stdout == ""
        assert done.stderr.startswith("orionfs: "), done.stderr
        assert done.stderr.count("\n") == 1, done.stderr
        log = log_path(config.state_folder(), point)
        assert TOKEN not in done.stderr + (log.read_text() if log.exists() else "")
        assert not is_mounted()
        assert daemons_of(point) == []
        return done.returncode, done.stderr

    return refused


@pytest.fixture
def fake(home) -> Iterator[Fake]:
    """A server that the default profile leads to."""
    with running_fake() as fake:
        profiles.write_profile("default", {"url": fake.url, "token": TOKEN})
        yield fake


@pytest.mark.parametrize(
    ("route", "answer", "status", "word"),
    [
        (ME, Reply(401, json={"detail": "not known"}), 4, "the credentials of profile 'default': not known"),
        (ME, Reply(401, json={"detail": "has expired"}), 4, "expired; give a new one with: orionfs config"),
        (INFO_PATH, Reply(body=b"<html>welcome</html>"), 1, "so your token was not sent to it"),
        (ME, Reply(body=b"<html>try later</html>"), 1, "Orion does not answer as it should: GET /api"),
        (ME, Reply(json={"id": 1, "username": "ada"}, cut_after=9), 5, "Orion can't be reached: http://"),
    ],
)
def test_answer_that_is_none_to_mount_on_is_told(refused, fake, route, answer, status, word) -> None:
    fake.on("GET", route, answer)
    found, line = refused()
    assert found == status
    assert word in line


def test_host_that_can_t_be_reached_is_told(refused, home) -> None:
    # The profile of the fixture leads to a port where nothing listens.
    assert refused() == (
        5,
        "orionfs: Orion can't be reached: http://127.0.0.1:9/api/v1/orionfs: Connection refused\n",
    )


def test_profile_of_a_host_that_can_t_be_reached_is_refused_in_one_line(orionfs, home) -> None:
    token = home / "token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    done = orionfs("config", "profile", "lab", "--url", "http://127.0.0.1:9", "--token-file", token)
    assert done.returncode == 5
    assert done.stderr.startswith("orionfs: Orion can't be reached: http://127.0.0.1:9/")
    assert done.stderr.count("\n") == 1


def test_expired_token_of_the_environment_is_told_where_it_is(refused, fake, orionfs) -> None:
    orionfs.environment |= {"ORIONFS_URL": fake.url, "ORIONFS_TOKEN": TOKEN}
    fake.on("GET", ME, Reply(401, json={"detail": "the token has expired"}))
    status, line = refused()
    assert status == 4
    assert "credentials of ORIONFS_URL: " in line
    assert line.endswith("set ORIONFS_TOKEN to a new one\n")


def test_wrong_token_of_a_file_is_told_with_the_file(refused, fake, home) -> None:
    token = home / "token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    profiles.write_profile("lab", {"url": fake.url, "token_file": str(token)})
    fake.on("GET", ME, Reply(401, json={"detail": "the token is not known"}))
    status, line = refused("--profile", "lab")
    assert status == 4
    assert line.endswith(f"put a new token into {token}\n")


def unreadable(path: Path) -> None:
    path.chmod(0o644)


def broken(path: Path) -> None:
    path.write_text(f'[profile.default]\ntoken = "{TOKEN}"\nurl = \n')


def missing(path: Path) -> None:
    path.unlink()


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def without_a_token(path: Path) -> None:
    path.write_text('[profile.default]\nurl = "http://127.0.0.1:9"\n')


def with_a_wire_file_that_is_none(path: Path) -> None:
    path.with_name("routes.toml").write_text("[nonsense]\n")
    with path.open("a") as file:
        file.write('wire = "routes.toml"\n')


@pytest.mark.started
@pytest.mark.parametrize(
    ("damage", "word"),
    [
        (unreadable, "mend it with: chmod 600 "),
        (broken, "is not TOML: "),
        (missing, "make it with: orionfs config profile default"),
        (folder, "can't be read: Is a directory"),
        (without_a_token, "has no token or token_file"),
        (with_a_wire_file_that_is_none, "routes.toml: the file: 'nonsense' is not known"),
    ],
)
def test_config_that_can_t_be_used_is_told(refused, home, damage, word) -> None:
    damage(profiles.config_path())
    status, line = refused()
    assert status == 3
    assert word in line


def test_slip_of_the_pen_in_a_name_is_told_as_what_it_may_be(refused, home) -> None:
    """It is a name of the vendor's client then, which is not there."""
    status, line = refused("--profile", "defualt")
    assert status == 3
    path = profiles.config_path()
    assert f"({path} has no profile 'defualt', so it was taken for one of OpenEye's client)" in line
