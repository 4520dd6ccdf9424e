"""Who one is: tokens, users, shares, balance; and where one is: jobs, the ready-made session."""

from __future__ import annotations

import threading
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from orionfs.client import (
    APISession,
    Dataset,
    File,
    OrionSession,
    OrionUser,
    Project,
    ShardCollection,
    UserProfile,
    WorkFloeSpec,
    errors,
    in_orion,
)
from orionfs.client import session as session_module
from orionfs.client.place import job_id
from tests.client.conftest import Connect
from tests.client.fake import INFO_PATH, Fake, Reply

TOKEN = "/api/v1/token"
PROFILE = "/api/v1/users/me"
BALANCE = "/api/v1/organization/balance"
ME = Reply(json={"id": 1, "username": "ada"})
JOB_VARIABLES = ("ORION_JOB_ID", "ORION_INSTANCE", "ORION_ALLOC_INDEX")


@pytest.fixture(autouse=True)
def _outside_of_orion(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in JOB_VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_token_is_retrieved_without_having_one(fake: Fake, connect: Connect) -> None:
    fake.on("POST", TOKEN, Reply(json={"token": "fresh"}))
    assert connect(fake.url, token="").retrieve_token("ada", "pass word") == "fresh"
    check, request = fake.requests
    assert check.path == INFO_PATH
    assert request.json == {"username": "ada", "password": "pass word"}
    assert "authorization" not in request.headers


def test_wrong_password_is_said_without_the_password(fake: Fake, session: OrionSession) -> None:
    fake.on("POST", TOKEN, Reply(401, json={"detail": "no", "code": "bad_credentials"}))
    with pytest.raises(errors.InvalidCredentials) as raised:
        session.retrieve_token("ada", "hunter2")
    assert "hunter2" not in str(raised.value) + repr(raised.value)


def test_password_goes_to_no_host_but_an_orionfs_server(fake: Fake, session: OrionSession) -> None:
    fake.on("GET", INFO_PATH, Reply(200, body=b"<html>"))
    with pytest.raises(errors.OrionError, match="not an orionfs server"):
        session.retrieve_token("ada", "hunter2")
    assert fake.seen(TOKEN) == []


@pytest.mark.parametrize("answer", [{}, {"token": ""}, {"token": 5}, ["fresh"]])
def test_answer_without_a_token_is_a_bad_response(fake: Fake, session: OrionSession, answer: Any) -> None:
    fake.on("POST", TOKEN, Reply(json=answer))
    with pytest.raises(errors.BadResponse):
        session.retrieve_token("ada", "hunter2")


@pytest.mark.parametrize("status", [401, 403])
def test_bad_token_is_not_authenticated_whichever_way_the_stack_says_it(
    fake: Fake, session: OrionSession, status: int
) -> None:
    fake.on("GET", PROFILE, Reply(status, json={"detail": "who?", "code": "token_expired"}))
    assert session.is_authenticated() is False


@pytest.mark.parametrize(
    ("share_with", "partner"),
    [(OrionUser(id=3), {"user": 3}), (UserProfile(id=3), {"user": 3}), (Project(id=4), {"project": 4})],
)
@pytest.mark.parametrize(
    ("resource", "where"),
    [
        (File(id=7), "/api/v3/storage/files/7/shares"),
        (Dataset(id=7), "/api/v1/storage/datasets/7/shares"),
        (ShardCollection(id=7), "/api/v1/storage/collections/7/shares"),
    ],
)
def test_share_is_given_and_taken_back(
    fake: Fake, session: OrionSession, resource: Any, where: str, share_with: Any, partner: dict[str, int]
) -> None:
    fake.on("POST", where, Reply(json={"results": []}))
    fake.on("DELETE", where, Reply(204))
    session.share_resource(resource, share_with)
    session.share_resource(resource, share_with, permissions=("write", "share"))
    session.unshare_resource(resource, share_with)
    bodies = [each.json for each in fake.seen(where)]
    assert bodies == [
        {**partner, "permissions": ["read"]},
        {**partner, "permissions": ["write", "share"]},
        partner,
    ]


def test_balance_is_exact(fake: Fake, session: OrionSession) -> None:
    row = {"balance": "1234.50", "currency": "USD", "as_of": "2026-01-02T03:04:05Z"}
    fake.on("GET", BALANCE, Reply(json=row), Reply(json={**row, "balance": "1"}))
    found = session.get_current_balance()
    assert (found.balance, found.currency, found.as_of) == (Decimal("1234.50"), "USD", row["as_of"])
    session.refresh_resource(found)
    assert found.balance == 1


def test_missing_capability_is_a_bad_response(fake: Fake, session: OrionSession) -> None:
    fake.on("GET", BALANCE, Reply(409, json={"detail": "cost accounting", "code": "no_capability"}))
    with pytest.raises(errors.BadResponse, match="cost accounting"):
        session.get_current_balance()


def test_code_of_the_api_version_is_its_own_exception(fake: Fake, session: OrionSession) -> None:
    fake.on("GET", PROFILE, Reply(400, json={"detail": "too old", "code": "api_version"}))
    with pytest.raises(errors.InvalidAPIVersion, match="too old"):
        session.get_user_profile()


LISTED: list[tuple[Any, str, dict[str, Any]]] = [
    (OrionUser, "/api/v1/users", {"username": "ada"}),
    (Project, "/api/v1/projects", {"name": "p"}),
    (Dataset, "/api/v1/storage/datasets", {"name": "d"}),
    (ShardCollection, "/api/v1/storage/collections", {"name": "c"}),
    (WorkFloeSpec, "/api/v1/workfloes", {"title": "Omega"}),
]


@pytest.mark.parametrize(("kind", "where", "row"), LISTED)
def test_every_type_is_listed_incomplete_and_completed_by_refresh(
    fake: Fake, session: OrionSession, kind: Any, where: str, row: dict[str, Any]
) -> None:
    fake.on("GET", where, Reply(json={"results": [{"id": 2**62, **row}], "next": None}))
    more = {"description": "whole", "specification": {"x": 1}, "metadata": {"y": 2}, "email": "a@b"}
    fake.on("GET", f"{where}/{2**62}", Reply(json={"id": 2**62, **row, **more}))
    (found,) = session.list_resources(kind, {"name_contains": "x"})
    key, value = next(iter(row.items()))
    assert (found.id, getattr(found, key), found.session) == (2**62, value, session)
    known = [name for name in more if hasattr(found, name)]
    assert [getattr(found, name) for name in known if getattr(found, name)] == []
    session.refresh_resource(found)
    assert {name: getattr(found, name) for name in known} == {name: more[name] for name in known}


def test_profile_is_refreshed_without_an_id_of_its_own(fake: Fake, session: OrionSession) -> None:
    fake.on("GET", PROFILE, ME, Reply(json={"id": 1, "username": "ada", "email": "a@b"}))
    found = session.get_user_profile()
    session.refresh_resource(found)
    assert found.email == "a@b"


def test_refresh_until_waits_for_the_value(fake: Fake, session: OrionSession) -> None:
    where = "/api/v3/storage/files/7"
    rows = [{"id": 7, "name": "a", "state": state} for state in ("processing", "processing", "ready")]
    fake.on("GET", where, *(Reply(json=row) for row in rows))
    resource = File(id=7, session=session)
    session.refresh_resource_until(resource, "state", "ready", timeout=10, sleep_time=0)
    assert resource.state == "ready"
    assert len(fake.seen(where)) == 3


def test_refresh_until_gives_up_with_what_it_saw(fake: Fake, session: OrionSession) -> None:
    fake.on("GET", "/api/v3/storage/files/7", Reply(json={"id": 7, "name": "a", "state": "processing"}))
    with pytest.raises(errors.OrionTimeout, match="File 7: state is 'processing' after 1 s, not 'ready'"):
        session.refresh_resource_until(File(id=7), "state", "ready", timeout=1, sleep_time=2)


def test_refresh_until_does_not_wait_longer_for_an_answer_than_in_all(
    fake: Fake, session: OrionSession
) -> None:
    held = threading.Event()
    fake.on("GET", "/api/v3/storage/files/7", Reply(json={"id": 7, "name": "a"}, held_until=held))
    session.transport.server()
    with pytest.raises(errors.OrionTimeout):
        session.refresh_resource_until(File(id=7), "state", "ready", timeout=0.1)
    held.set()


@pytest.mark.parametrize("name", JOB_VARIABLES)
def test_inside_of_orion_is_known_by_the_environment(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    assert in_orion() is False
    monkeypatch.setenv(name, "")
    assert in_orion() is False
    monkeypatch.setenv(name, "12")
    assert in_orion() is True


def test_requests_made_in_a_job_name_it(
    fake: Fake, session: OrionSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.on("GET", PROFILE, ME)
    session.get_user_profile()
    monkeypatch.setenv("ORION_JOB_ID", "1234")
    session.get_user_profile()
    monkeypatch.setenv("ORION_JOB_ID", "x\r\ny")
    session.get_user_profile()
    assert [each.headers.get("x-orion-job") for each in fake.seen(PROFILE)] == [None, "1234", None]
    assert job_id() is None


@pytest.fixture
def lazy(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A ready-made session that nobody has used yet."""
    monkeypatch.setenv("ORIONFS_URL", fake.url)
    monkeypatch.setenv("ORIONFS_TOKEN", "the-token")
    made = type(APISession)()
    yield made
    made.close()


def test_ready_made_session_asks_nothing_before_it_is_used(
    lazy: OrionSession, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made = []
    monkeypatch.setattr(session_module, "get_profile_config", lambda: made.append(1))
    assert isinstance(APISession, OrionSession)
    assert repr(lazy) == "APISession"
    lazy.close()
    assert not hasattr(lazy, "nothing_of_that_name")
    assert made == []


def test_ready_made_session_is_made_once_by_whichever_thread_is_first(fake: Fake, lazy: OrionSession) -> None:
    fake.on("GET", PROFILE, ME)
    start = threading.Barrier(16)
    found: list[int] = []

    def use() -> None:
        start.wait()
        lazy.get_user_profile()
        found.append(id(lazy.transport))

    threads = [threading.Thread(target=use) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 16
    assert len(set(found)) == 1
    assert len(fake.seen(INFO_PATH)) == 1


def test_ready_made_session_that_can_t_be_made_says_so_and_tries_again(
    fake: Fake, lazy: OrionSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.on("GET", PROFILE, ME)
    monkeypatch.setattr(session_module, "get_profile_config", _no_config)
    with pytest.raises(errors.OrionError, match="nothing says"):
        lazy.get_user_profile()
    monkeypatch.undo()
    monkeypatch.setenv("ORIONFS_URL", fake.url)
    monkeypatch.setenv("ORIONFS_TOKEN", "the-token")
    assert lazy.get_user_profile().username == "ada"


def _no_config() -> None:
    raise errors.OrionError("nothing says where to connect")
