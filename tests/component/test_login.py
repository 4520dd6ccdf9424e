"""What a failed log-in says: each kind of profile is told where its own new token belongs."""

from __future__ import annotations

from pathlib import Path

import pytest

from orionfs.errors import AccessDenied, ExitStatus, RemoteFailure, StartupError, TimedOut, WrongServer
from orionfs.orion.login import try_out
from orionfs.orion.refusals import explained, in_words
from orionfs.profiles import ENVIRONMENT, Profile, Token, write_profile
from tests.client.fake import Reply, running_fake

OWN = Profile("lab", "http://h", Token("the-secret"), None, "own", None)
IN_A_FILE = Profile("lab", "http://h", Token("the-secret"), None, "own", None, Path("/home/me/lab.token"))
OF_ENVIRONMENT = Profile(ENVIRONMENT, "http://h", Token("the-secret"), None, "own", None)
VENDORS = Profile("work", None, None, None, "vendor", None, orion_profile="work")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("profile", "words"),
    [
        (OWN, "of profile 'lab': no; give a new one with: orionfs config profile lab --token-stdin"),
        (IN_A_FILE, "of profile 'lab': no; put a new token into /home/me/lab.token"),
        (OF_ENVIRONMENT, "of ORIONFS_URL: no; set ORIONFS_TOKEN to a new one"),
        (VENDORS, "of profile 'work': no; a new token is given with: ocli config profile"),
    ],
)
def test_refused_token_is_told_with_where_a_new_one_belongs(profile, words) -> None:
    with pytest.raises(StartupError) as caught, in_words(profile):
        raise AccessDenied("whoami: no")
    assert str(caught.value) == f"Orion does not accept the credentials {words}"
    assert caught.value.exit_status is ExitStatus.CREDENTIALS


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (TimedOut("whoami: it hangs"), ExitStatus.UNREACHABLE),
        (WrongServer("whoami: it hangs"), ExitStatus.FAILED),
        (RemoteFailure("whoami: it hangs"), ExitStatus.FAILED),
        (StartupError("it hangs", ExitStatus.CONFIG), ExitStatus.CONFIG),
    ],
)
def test_every_failure_has_its_status_and_its_words(error, status) -> None:
    with pytest.raises(StartupError, match="it hangs") as caught, in_words(OWN):
        raise error
    assert caught.value.exit_status is status
    assert "whoami" not in str(caught.value)


def test_name_that_no_file_holds_is_explained(home) -> None:
    error = StartupError("there is no client", ExitStatus.CONFIG)
    told = explained(error, VENDORS)
    assert str(told).startswith("there is no client (")
    assert told.exit_status is ExitStatus.CONFIG
    assert explained(error, OWN) is error
    write_profile("work", {"client": "vendor"})
    assert explained(error, VENDORS) is error


def test_profile_that_works_tells_who_it_makes_us() -> None:
    with running_fake() as fake:
        for path, answer in {
            "/api/v1/users/me": {"id": 1, "username": "ada"},
            "/api/v1/projects/current": {"id": 2, "name": "Kinases"},
        }.items():
            fake.on("GET", path, Reply(json=answer))
        account = try_out(Profile("lab", fake.url, Token("x"), 2, "own", None), 5.0)
    assert (account.username, account.project_id, account.project_name) == ("ada", 2, "Kinases")
