"""The vendor's client, as far as a stand-in of its names can tell: found, used, survived."""

from __future__ import annotations

import logging
import sys
import threading
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from orionfs import errors
from orionfs.bridge import BridgePool, CallFailed, find_client, program
from orionfs.orion.failures import failure_of
from orionfs.orion.remote import Health, Limits, Remote
from orionfs.orion.sessions import connect
from orionfs.profiles import VENDOR_CLIENT, Profile
from tests.bridge.conftest import children, descriptors, wait_until
from tests.bridge.test_documented import work_through
from tests.client.embedded import Embedded, running_server
from tests.standin.python import StandIn, VendorPython


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, embedded: Embedded) -> StandIn:
    """A home in which the vendor's profile `work` is good."""
    monkeypatch.setenv("HOME", str(tmp_path))
    made = StandIn(tmp_path)
    made.write_profile("work", embedded.url, embedded.token)
    return made


def threads() -> list[str]:
    """All but those that trio keeps for the next call."""
    return [thread.name for thread in threading.enumerate() if not thread.name.startswith("Trio")]


@pytest.fixture
def pool(vendor: VendorPython, stand_in: StandIn) -> Iterator[BridgePool]:
    """A session of the stand-in, as a profile makes it; it leaves nothing."""
    before = descriptors(), len(threads()), children()
    made = connect(profile(vendor), 75)
    assert isinstance(made, BridgePool)
    yield made
    made.close()
    wait_until(
        lambda: descriptors() <= before[0] and len(threads()) <= before[1] and children() == before[2],
        f"no more descriptors, threads and children than before: {before}",
    )


def profile(vendor: VendorPython, orion_profile: str | None = "work") -> Profile:
    return Profile("p", None, None, None, VENDOR_CLIENT, str(vendor.python), orion_profile=orion_profile)


def test_all_verbs_work(pool: BridgePool, tmp_path: Path) -> None:
    work_through(pool, tmp_path, "vendor")
    assert pool.whoami()["instance"] is None


def test_profile_without_a_name_is_the_vendor_s_default(
    vendor: VendorPython, stand_in: StandIn, embedded: Embedded
) -> None:
    stand_in.write_profile("default", embedded.url, embedded.token)
    calls = connect(profile(vendor, None), 75)
    assert calls.whoami()["profile"]["username"] == "demo"
    calls.close()


def test_profile_that_the_vendor_does_not_know_fails_in_words(
    vendor: VendorPython, stand_in: StandIn, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    calls = connect(profile(vendor, "elsewhere"), 75)
    with pytest.raises(CallFailed, match="elsewhere"):
        calls.whoami()
    calls.close()
    assert "get_profile_config" in caplog.text  # the traceback, for who looks closer


def test_interpreter_is_found_by_the_vendor_s_command(
    vendor: VendorPython, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(vendor.ocli.parent))
    found = find_client().found
    assert found is not None
    assert (found.python, found.client_version) == (str(vendor.python), "6.8.0-standin")
    assert found.python_version is not None


def test_environment_of_our_own_client_is_kept_from_the_vendor_s(
    vendor: VendorPython, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ORIONFS_TOKEN", "secret-of-ours")
    calls = connect(profile(vendor), 75)
    calls.whoami()
    assert isinstance(calls, BridgePool)
    (pid,) = calls.worker_pids()
    environment = Path(f"/proc/{pid}/environ").read_bytes()
    calls.close()
    assert b"secret-of-ours" not in environment
    assert b"ORIONFS_TOKEN" not in environment


@pytest.mark.parametrize("fault", ["crash", "garbage"])
def test_worker_that_goes_wrong_fails_its_call_only(pool: BridgePool, stand_in: StandIn, fault: str) -> None:
    stand_in.misbehave(stat_path=fault)
    with pytest.raises(CallFailed) as failed:
        pool.stat_path("/project")
    assert failed.value.info["error"] == "WorkerDied"
    stand_in.misbehave()
    assert pool.whoami()["profile"]["username"] == "demo"


def test_what_it_prints_is_in_the_log(
    pool: BridgePool, stand_in: StandIn, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    stand_in.misbehave(get_user_profile="print")
    pool.whoami()
    wait_until(lambda: "binary, at the level of C" in caplog.text, "what was written is in the log")
    wait_until(lambda: "stand-in: get_user_profile" in caplog.text, "what was printed is in the log")
    pool.close()


def test_new_token_of_its_profile_is_taken_by_new_workers(
    pool: BridgePool, stand_in: StandIn, embedded: Embedded
) -> None:
    stand_in.write_profile("work", embedded.url, "expired-token")
    with pytest.raises(CallFailed) as failed:
        pool.whoami()
    assert failed.value.info["error"] == "InvalidCredentials"
    old = pool.worker_pids()
    stand_in.write_profile("work", embedded.url, embedded.token)
    pool._renewal._next_s = 0.0  # the next try is due
    assert pool.whoami()["profile"]["username"] == "demo"
    assert not set(old) & set(pool.worker_pids())


def test_new_token_is_taken_on_a_stack_that_answers_403_to_an_old_one(
    pool: BridgePool, stand_in: StandIn, tmp_path: Path
) -> None:
    folder = tmp_path / "forbidding"
    folder.mkdir()
    with running_server(folder, "--set", "auth_status=403") as server:
        stand_in.write_profile("work", server.url, "revoked-token")
        with pytest.raises(CallFailed, match="a valid token is needed") as failed:
            pool.whoami()
        assert isinstance(failure_of("whoami", (), failed.value.info), errors.CredentialsRefused)
        old = pool.worker_pids()
        stand_in.write_profile("work", server.url, server.token)
        pool._renewal._next_s = 0.0  # the next try is due
        assert pool.whoami()["profile"]["username"] == "demo"
        assert not set(old) & set(pool.worker_pids())


# -- calls that hang -----------------------------------------------------------------------------

IMPATIENT = Limits(read_deadline_s=1.0, change_deadline_s=1.0, inactivity_s=1.0)


async def ready(pool: BridgePool) -> Remote:
    """A remote whose first worker has started."""
    await trio.to_thread.run_sync(pool.whoami)
    return Remote(pool, IMPATIENT)


@pytest.mark.parametrize("fault", ["hang", "retry"])
async def test_call_that_hangs_ends_at_its_deadline_and_leaves_no_process(
    pool: BridgePool, stand_in: StandIn, fault: str
) -> None:
    remote = await ready(pool)
    stand_in.misbehave(stat_path=fault)
    begun = trio.current_time()
    with pytest.raises(errors.TimedOut):
        await remote.stat("/project")
    assert trio.current_time() - begun < 30
    await trio.to_thread.run_sync(wait_until, lambda: pool.worker_pids() == [], "no worker")
    assert pool._metadata._free == 8
    assert remote.health is Health.ONLINE
    stand_in.misbehave()
    await trio.to_thread.run_sync(pool.whoami)
    assert (await remote.whoami("x")).username == "demo"


async def test_calls_that_are_cancelled_leave_no_process(pool: BridgePool, stand_in: StandIn) -> None:
    others = set(children())
    remote = await ready(pool)
    stand_in.misbehave(stat_path="hang", list_tags="hang")
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(remote.stat, "/project")
        with trio.fail_after(10):
            while pool._metadata._free > 5:
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    await trio.to_thread.run_sync(wait_until, lambda: pool._metadata._free == 8, "no call")
    assert pool._metadata._busy == set()  # who was not asked yet may serve the next call
    workers = set(map(int, set(children()) - others))
    assert workers == set(pool.worker_pids())


# -- versions of the client ----------------------------------------------------------------------


class Config:
    """A configuration."""

    def __init__(self, profile: str | None) -> None:
        self.profile = profile


class Positional:
    """Form A: versions first."""

    def __init__(self, orion_versions: Any = None, config: Any = None, requests_session: Any = None) -> None:
        assert orion_versions is None
        self.config, self.requests_session = config, requests_session


class Other:
    """Form B: configuration first."""

    def __init__(self, config: Any = None, orion_versions: Any = None, requests_session: Any = None) -> None:
        assert orion_versions is None
        self.config, self.requests_session = config, requests_session


class Old:
    """The form of 2020."""

    def __init__(
        self, config: Any = None, requests_session: Any = None, is_authenticated: Any = None
    ) -> None:
        assert is_authenticated is None
        self.config, self.requests_session = config, requests_session


def get_session(
    retry_dict: Any = None, request_timeout: int = 60, retry_timeout: int = 3600, backoff_dict: Any = None
) -> dict[str, Any]:
    """As documented."""
    return {"retries": retry_dict, "retry_timeout": retry_timeout, "request_timeout": request_timeout}


def old_get_session(retry_dict: Any = None) -> dict[str, Any]:
    """As it may have been."""
    return {"retries": retry_dict}


@pytest.mark.parametrize("cls", [Positional, Other, Old])
@pytest.mark.parametrize("make", [get_session, old_get_session])
def test_session_is_made_by_keywords_of_whatever_version(
    monkeypatch: pytest.MonkeyPatch, cls: type[Any], make: Callable[..., dict[str, Any]]
) -> None:
    for name, members in {
        "orionclient": {},
        "orionclient.types": {},
        "orionclient.session": {"OrionSession": cls, "get_session": make, "get_profile_config": Config},
    }.items():
        module = types.ModuleType(name)
        module.__dict__.update(members)
        monkeypatch.setitem(sys.modules, name, module)
    session, found = program.vendor_session("work")
    assert session.config.profile == "work"
    assert set(session.requests_session["retries"].values()) == {1}
    assert session.requests_session.get("retry_timeout", 60) == 60
    assert found is sys.modules["orionclient.types"]
