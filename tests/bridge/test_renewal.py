"""Refused credentials: read again once for all calls that wait, by a new session; the old one ends."""

from __future__ import annotations

import logging
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from orionfs.bridge import CallFailed, Calls, InProcess
from orionfs.bridge.renewal import Renewal
from orionfs.orion import sessions
from orionfs.orion.sessions import connect
from orionfs.profiles import OWN_CLIENT, Profile, Token, load_profile
from tests.bridge.conftest import MakePool, wait_until
from tests.client.embedded import REPOSITORY, Embedded, running_server

REFUSED = CallFailed({"error": "InvalidCredentials", "status": 401, "detail": "no"})


class Account:
    """Credentials of which one generation is good."""

    def __init__(self, good: int) -> None:
        self.good = good
        self.now = 0
        self.renewed = 0

    def renew(self) -> bool:
        self.renewed += 1
        self.now += 1
        return True

    def call(self) -> int:
        if self.now != self.good:
            raise REFUSED
        return self.now


def test_refused_call_is_made_once_more_on_new_credentials() -> None:
    account = Account(good=1)
    assert Renewal(account.renew).call(account.call) == 1
    assert account.renewed == 1


def test_calls_that_were_refused_together_renew_once() -> None:
    account, barrier, made = Account(good=1), threading.Barrier(8), threading.local()
    renewal = Renewal(account.renew)

    def attempt() -> int:
        is_first, made.before = not hasattr(made, "before"), True
        try:
            return account.call()
        finally:
            if is_first:
                barrier.wait(30)

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda _: renewal.call(attempt), range(8))) == [1] * 8
    assert account.renewed == 1


def test_account_that_stays_locked_is_not_renewed_by_each_call() -> None:
    account = Account(good=-1)
    renewal = Renewal(account.renew, pause_s=60)
    for _ in range(5):
        with pytest.raises(CallFailed, match="InvalidCredentials"):
            renewal.call(account.call)
    assert account.renewed == 1


@pytest.mark.parametrize(
    ("info", "is_renewed"),
    [
        ({"error": "InvalidCredentials", "status": None}, True),
        ({"error": "BadResponse", "status": 401}, True),
        ({"error": "AuthorizationRequired", "status": 403, "code": "token_expired"}, True),
        ({"error": "AuthorizationRequired", "status": 403, "code": "not_authenticated"}, True),
        ({"error": "AuthorizationRequired", "status": 403, "code": "permission_denied"}, False),
        ({"error": "AuthorizationRequired", "status": 403, "code": None}, False),
        ({"error": "NotFoundResponse", "status": 404}, False),
    ],
)
def test_only_refused_credentials_are_renewed(info: dict[str, Any], is_renewed: bool) -> None:
    account = Account(good=0)

    def attempt() -> None:
        raise CallFailed({"detail": "", **info})

    with pytest.raises(CallFailed):
        Renewal(account.renew).call(attempt)
    assert (account.renewed > 0) is is_renewed


FORBIDDEN = CallFailed({"error": "AuthorizationRequired", "status": 403, "code": None, "detail": "no"})


class ForbiddingAccount(Account):
    """One of a stack that answers 403 to whatever it does not allow, and says no more."""

    def __init__(self, good: int) -> None:
        super().__init__(good)
        self.asked = 0

    def whoami(self) -> int:
        self.asked += 1
        return self.call()

    def call(self) -> int:
        if self.now != self.good:
            raise FORBIDDEN
        return self.now

    def refuse(self) -> None:
        raise FORBIDDEN


def test_403_without_a_reason_renews_if_the_account_is_unknown_as_well() -> None:
    account = ForbiddingAccount(good=1)
    assert Renewal(account.renew, whoami=account.whoami).call(account.call) == 1
    assert (account.renewed, account.asked) == (1, 1)


def test_403_without_a_reason_for_a_known_account_asks_once_and_renews_nothing() -> None:
    account = ForbiddingAccount(good=0)
    renewal = Renewal(account.renew, whoami=account.whoami)
    for _ in range(5):
        with pytest.raises(CallFailed, match="no"):
            renewal.call(account.refuse)
    assert (account.renewed, account.asked) == (0, 1)


def test_workers_start_anew_with_credentials_read_again(
    make_pool: MakePool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    (tmp_path / "token").write_text("old")
    pool = make_pool(
        "tests.bridge.wild:token_bearer",
        metadata_workers=3,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "TOKEN_FILE": str(tmp_path / "token")},
    )
    with ThreadPoolExecutor(3) as threads:
        old = set(threads.map(lambda _: pool.stat_path("/slow")["pid"], range(3)))
    (tmp_path / "token").write_text("new")
    (tmp_path / "good").write_text("new")
    with ThreadPoolExecutor(3) as threads:
        new = {answer["pid"] for answer in threads.map(lambda _: pool.stat_path("/slow"), range(6))}
    assert not old & new
    assert not old & set(pool.worker_pids())
    assert caplog.text.count("read again") == 1


class Session:
    """A session of one token."""

    def __init__(self, token: str, good: list[str]) -> None:
        self.token, self.good = token, good
        self.is_closed = False
        self.gates = {"/slow": threading.Event(), "/p": threading.Event()}

    def stat_path(self, path: str) -> dict[str, Any]:
        self.gates[path].wait(5)
        assert not self.is_closed
        if self.token not in self.good:
            raise REFUSED
        return {"token": self.token}

    def close(self) -> None:
        self.is_closed = True


def test_old_session_is_closed_when_its_last_call_has_ended() -> None:
    good = ["old"]
    old, new = Session("old", good), Session("new", good)
    calls = InProcess(Calls(old, None), lambda: Calls(new, None), lambda calls: calls.close())
    new.gates["/p"].set()
    with ThreadPoolExecutor(2) as threads:
        slow = [threads.submit(calls.stat_path, path) for path in ("/slow", "/p")]
        wait_until(lambda: calls._session.calls_under_way == 2, "two calls are under way")
        good[:] = ["new"]
        old.gates["/p"].set()
        assert slow[1].result(5) == {"token": "new"}
        assert not old.is_closed
        good[:] = ["new", "old"]
        old.gates["/slow"].set()
        assert slow[0].result(5) == {"token": "old"}
    assert old.is_closed
    assert not new.is_closed
    calls.close()
    assert new.is_closed


# -- our own client ------------------------------------------------------------------------------


def profile(embedded: Embedded, file: Path, token: str) -> Profile:
    file.touch(mode=0o600)
    file.write_text(token)
    return Profile("p", embedded.url, Token(token), None, OWN_CLIENT, None, token_file=file)


def test_changed_token_file_is_taken_when_the_old_token_is_refused(
    embedded: Embedded, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    file = tmp_path / "token"
    calls = connect(profile(embedded, file, "expired-token"), 75)
    file.write_text(embedded.token)
    with ThreadPoolExecutor(4) as threads:
        names = [told["profile"]["username"] for told in threads.map(lambda _: calls.whoami(), range(4))]
    assert names == ["demo"] * 4
    assert caplog.text.count("the one that") == 1
    assert embedded.token not in caplog.text
    calls.close()


@pytest.mark.parametrize("state", ["same", "gone", "open", "empty"])
def test_token_file_without_another_token_leaves_the_error(
    embedded: Embedded, tmp_path: Path, state: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    file = tmp_path / "token"
    calls = connect(profile(embedded, file, "expired-token"), 75)
    if state == "gone":
        file.unlink()
    elif state == "open":
        file.write_text(embedded.token)
        file.chmod(0o644)
    elif state == "empty":
        file.write_text("")
    with pytest.raises(CallFailed) as failed:
        calls.whoami()
    assert failed.value.info["error"] == "InvalidCredentials"
    assert embedded.token not in caplog.text
    calls.close()


USERS = """
[[users]]
name = "ada"
password_file = "ada.password"

[[projects]]
name = "Demo"
id = 1
members = ["ada"]
"""


@pytest.mark.parametrize(
    ("path", "size"), [("files/upload$", 1000), ("files$", 200_000), ("/complete$", 200_000)]
)
def test_upload_whose_token_is_refused_in_the_middle_goes_on_with_the_next_one(
    tmp_path: Path, path: str, size: int
) -> None:
    (tmp_path / "users.toml").write_text(USERS)
    (tmp_path / "ada.password").write_text("pass word")
    (tmp_path / "ada.password").chmod(0o600)
    (tmp_path / "bytes").write_bytes(os.urandom(size))
    options = ["--users", str(tmp_path / "users.toml"), "--set", "part_bytes=65536"]
    with running_server(tmp_path, *options) as server:
        stranger = Profile("p", server.url, Token(""), None, OWN_CLIENT, None, username="ada")
        tokens = [sessions.new_token(stranger, "pass word").value for _ in range(2)]
        file = tmp_path / "token"
        calls = connect(profile(server, file, tokens[0]), 75)
        calls.whoami()
        file.write_text(tokens[1])
        server.misbehave({"method": "POST", "path": path, "action": "status", "status": 401, "times": 1})
        made = calls.upload(".orionfs-mark", str(tmp_path / "bytes"))
        there = calls.ls_path("/project/1/user/ada")["results"]
        assert [row["id"] for row in there] == [made["id"]]
        calls.download("file", made["id"], str(tmp_path / "again"))
        assert (tmp_path / "again").read_bytes() == (tmp_path / "bytes").read_bytes()
        calls.close()


def test_token_in_the_config_file_is_read_again_there(
    embedded: Embedded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    write_profile(tmp_path, embedded.url, "expired-token")
    stored = connect(load_profile("p"), 75, is_stored=True)
    made_up = connect(load_profile("p"), 75)  # as when a profile is tried before it is written
    write_profile(tmp_path, "http://127.0.0.1:1", embedded.token)
    with pytest.raises(CallFailed):
        stored.whoami()  # a token of another server is not sent to this one
    write_profile(tmp_path, embedded.url, embedded.token)
    assert stored.whoami()["profile"]["username"] == "demo"
    with pytest.raises(CallFailed):
        made_up.whoami()
    stored.close()
    made_up.close()


def write_profile(folder: Path, url: str, token: str) -> None:
    config = folder / "orionfs" / "config.toml"
    config.parent.mkdir(mode=0o700, exist_ok=True)
    config.touch(mode=0o600)
    config.write_text(f'[profile.p]\nurl = "{url}"\ntoken = "{token}"\n')


def test_credentials_that_were_replaced_twice_before_a_call_arrived_are_read_twice() -> None:
    tokens = iter(["second", "third", "fourth"])
    current = ["first"]

    def renew() -> bool:
        current[0] = next(tokens)
        return True

    def attempt() -> str:
        if current[0] != "third":
            raise REFUSED
        return current[0]

    assert Renewal(renew).call(attempt) == "third"


def test_token_without_a_file_is_final(embedded: Embedded) -> None:
    calls = connect(Profile("p", embedded.url, Token("expired-token"), None, OWN_CLIENT, None), 75)
    with pytest.raises(CallFailed) as failed:
        calls.whoami()
    assert failed.value.info["status"] == 401
    calls.close()


def test_stacks_of_the_vendor_are_told_apart_by_its_profiles() -> None:
    one = Profile("a", None, None, None, "vendor", None, orion_profile="x")
    other = Profile("b", None, None, None, "vendor", None, orion_profile="x")
    third = Profile("a", None, None, None, "vendor", None)
    names = [sessions.stack_name(each) for each in (one, other, third)]
    assert names == ["vendor x", "vendor x", "vendor default"]


# -- connections that may lead nowhere ---------------------------------------------------------------


def test_own_session_makes_new_connections_after_it_has_forgotten_the_old_ones(embedded: Embedded) -> None:
    calls = connect(Profile("p", embedded.url, Token(embedded.token), None, OWN_CLIENT, None), 75)
    for _ in range(2):
        assert calls.whoami()["profile"]["username"] == "demo"
        calls.forget_connections()
    calls.close()
