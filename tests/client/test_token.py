"""Where the token goes, and where it must not go."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import requests

from orionfs.client import File, OrionSession, errors, get_session
from orionfs.client.http import TokenAuth
from tests.client.conftest import Connect
from tests.client.fake import INFO, INFO_PATH, Fake, Reply, running_fake

PROFILE = "/api/v1/users/me"
ME = Reply(json={"id": 1, "username": "demo"})


@pytest.fixture
def netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A netrc with a `default` line, which requests would use for any host."""
    found = tmp_path / "netrc"
    found.write_text("default login somebody password else\n")
    found.chmod(0o600)
    monkeypatch.setenv("NETRC", str(found))
    return found


def test_token_is_sent_in_the_documented_form_once_the_server_is_known(
    fake: Fake, session: OrionSession
) -> None:
    fake.on("GET", PROFILE, ME)
    session.get_user_profile()
    session.get_user_profile()
    first, *others = fake.requests
    assert (first.path, first.headers.get("authorization")) == (INFO_PATH, None)
    assert [each.headers["authorization"] for each in others] == ["Token:the-token"] * 2


def test_token_is_not_in_the_headers_of_the_requests_session(fake: Fake, connect: Connect) -> None:
    requests_session = get_session({})
    connect(fake.url, requests_session=requests_session)
    assert "Authorization" not in requests_session.headers
    assert isinstance(requests_session.auth, TokenAuth)


def test_default_line_of_netrc_does_not_replace_the_token(
    fake: Fake, session: OrionSession, netrc: Path
) -> None:
    fake.on("GET", PROFILE, ME)
    with requests.Session() as naive:
        naive.get(fake.url + PROFILE)
    assert fake.requests[-1].headers["authorization"].startswith("Basic ")
    session.get_user_profile()
    check, call = fake.requests[-2:]
    assert "authorization" not in check.headers
    assert call.headers["authorization"] == "Token:the-token"


def test_redirect_to_contents_carries_neither_token_nor_netrc(
    fake: Fake, session: OrionSession, netrc: Path, tmp_path: Path
) -> None:
    with running_fake() as blobs:
        blobs.on("GET", "/blob", Reply(body=b"contents"))
        fake.on(
            "GET",
            "/api/v3/storage/files/7/download",
            Reply(302, headers={"Location": f"{blobs.url}/blob?expires=99999999999"}),
        )
        File(id=7, session=session).download_to_file(tmp_path / "got")
        assert (tmp_path / "got").read_bytes() == b"contents"
        (request,) = blobs.requests
    assert "authorization" not in request.headers
    assert "x-orion-project" not in request.headers
    assert request.headers["accept-encoding"] == "identity"


def test_contents_on_the_same_host_are_fetched_without_the_token(
    fake: Fake, session: OrionSession, tmp_path: Path
) -> None:
    fake.on("GET", "/blob", Reply(body=b"contents"))
    fake.on("GET", "/api/v3/storage/files/7/download", Reply(302, headers={"Location": "/blob?s=1"}))
    File(id=7, session=session).download_to_file(tmp_path / "got")
    assert "authorization" not in fake.seen("/blob")[0].headers


def test_redirect_of_another_call_is_not_followed(fake: Fake, session: OrionSession) -> None:
    with running_fake() as other:
        fake.on("GET", PROFILE, Reply(302, headers={"Location": other.url + PROFILE}))
        with pytest.raises(errors.BadResponse):
            session.get_user_profile()
        assert other.requests == []


NOT_ORIONFS = [
    Reply(404, json={"detail": "no"}),
    Reply(401),
    Reply(403),
    Reply(200, body=b"<html>welcome</html>"),
    Reply(200, json=["orionfs"]),
    Reply(200, json={"server": "orionfs"}),
    Reply(200, json={**INFO, "server": "other"}),
    Reply(200, json={**INFO, "limits": {"page_max": "many"}}),
    Reply(302, headers={"Location": "/login"}),
]


@pytest.mark.parametrize("answer", NOT_ORIONFS)
def test_host_that_is_no_orionfs_server_never_gets_the_token(
    fake: Fake, session: OrionSession, answer: Reply
) -> None:
    fake.on("GET", INFO_PATH, answer)
    with pytest.raises(errors.OrionError, match="openeye-orionplatform") as raised:
        session.get_user_profile()
    assert type(raised.value) is errors.OrionError
    assert raised.value.response is None
    assert all("authorization" not in each.headers for each in fake.requests)
    assert fake.seen(PROFILE) == []


def test_server_that_is_in_trouble_is_not_taken_for_another_one(fake: Fake, session: OrionSession) -> None:
    fake.on("GET", INFO_PATH, Reply(503), Reply(json=INFO))
    fake.on("GET", PROFILE, ME)
    with pytest.raises(errors.OrionServiceError):
        session.get_user_profile()
    assert session.get_user_profile().username == "demo"


def test_instance_is_what_the_server_calls_itself(fake: Fake, session: OrionSession) -> None:
    assert session.instance == INFO["instance"]
    assert session.instance == INFO["instance"]
    assert len(fake.requests) == 1


def test_own_use_of_the_requests_session_elsewhere_carries_no_token(fake: Fake, connect: Connect) -> None:
    requests_session = get_session({})
    connect(fake.url, requests_session=requests_session)
    with running_fake() as other:
        requests_session.get(other.url + "/x")
        assert "authorization" not in other.requests[0].headers


def test_token_goes_to_its_origin_only() -> None:
    auth = TokenAuth("https://orion.example:8443/base", "Token:x")
    urls = {
        "https://orion.example:8443/api": True,
        "https://ORION.example:8443/": True,
        "http://orion.example:8443/": False,
        "https://orion.example/": False,
        "https://orion.example.evil:8443/": False,
    }
    for url, is_sent in urls.items():
        prepared = requests.Request("GET", url, auth=auth).prepare()
        assert ("Authorization" in prepared.headers) is is_sent, url


def test_token_shows_in_no_repr_and_no_error(fake: Fake, session: OrionSession) -> None:
    fake.on("GET", PROFILE, Reply(401, json={"detail": "who are you?"}))
    with pytest.raises(errors.InvalidCredentials) as raised:
        session.get_user_profile()
    shown = [repr(session), repr(session.config), str(raised.value), repr(raised.value)]
    assert not any("the-token" in text for text in shown)


def test_project_of_the_config_is_named_in_each_call(fake: Fake, connect: Connect) -> None:
    fake.on("GET", PROFILE, ME)
    connect(fake.url, project=12).get_user_profile()
    assert fake.seen(PROFILE)[0].headers["x-orion-project"] == "12"


@pytest.mark.parametrize("token", ["", "a b", "s3cr3t\n", "s3cr3t\u00fc"])
def test_token_that_can_t_be_one_is_refused_without_being_shown(
    fake: Fake, connect: Connect, token: str
) -> None:
    with pytest.raises(errors.InvalidCredentials, match="no token has") as raised:
        connect(fake.url, token).get_user_profile()
    assert "s3cr3t" not in str(raised.value)
    assert fake.requests == []


@pytest.mark.parametrize("url", ["localhost:80", "", "http://", "http://a:port", "ftp://x", "http://[::1"])
def test_address_that_is_none_is_a_connection_error_that_sent_nothing(url: str, connect: Any) -> None:
    with pytest.raises(errors.OrionConnectionError) as raised:
        connect(url).get_user_profile()
    assert raised.value.nothing_sent
