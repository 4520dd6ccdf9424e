"""Every documented method, in every case, on our client and on the bridge."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from orionfs.client import ShardCollection, errors
from tests.contract.cases import CONTRACTS, Contract
from tests.contract.subjects import Subject, Subjects, open_subjects
from tests.contract.world import World, running_world

METHODS = [pytest.param(contract, id=contract.method) for contract in CONTRACTS]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running_world(tmp_path_factory.mktemp("contract")) as running:
        yield running


@pytest.fixture(scope="module", params=list(Subject), ids=lambda subject: subject.value)
def subjects(request: pytest.FixtureRequest, world: World) -> Iterator[Subjects]:
    with open_subjects(request.param, world) as opened:
        yield opened


@pytest.fixture(autouse=True)
def _behaves(world: World) -> Iterator[None]:
    yield
    world.misbehave()


@pytest.mark.parametrize("contract", METHODS)
def test_good_call_does_what_is_documented(contract: Contract, subjects: Subjects, world: World) -> None:
    contract.good(subjects.session, world)


@pytest.mark.some(50)
@pytest.mark.parametrize("case", ["missing", "denied", "wrong"])
@pytest.mark.parametrize("contract", METHODS)
def test_bad_call_raises_the_documented_exception(
    contract: Contract, case: str, subjects: Subjects, world: World
) -> None:
    found = getattr(contract, case)
    if isinstance(found, str):
        assert len(found) > 10, "a case that can't be needs its reason"
        return
    call, expected = found
    with pytest.raises(expected) as raised:
        call(subjects.session, world)
    assert type(raised.value) is expected
    assert world.token("alice") not in str(raised.value)


@pytest.mark.some(15)
@pytest.mark.parametrize("contract", METHODS)
def test_failing_server_is_asked_again(contract: Contract, subjects: Subjects, world: World) -> None:
    if not contract.route:
        return
    fault = {"action": "status", "status": 503, "path": contract.route, "times": 1}
    before = len(world.server.log())
    contract.good(_Prepared(subjects.patient, lambda: world.misbehave(fault)), world)
    assert 503 in [line["status"] for line in world.server.log()[before:]]


@pytest.mark.some(15)
@pytest.mark.parametrize("contract", METHODS)
def test_lost_connection_is_an_error_of_the_connection(
    contract: Contract, subjects: Subjects, world: World
) -> None:
    if not contract.route:
        return
    prepared = _Prepared(
        subjects.session, lambda: world.misbehave({"action": "reset", "path": contract.route})
    )
    with pytest.raises(errors.OrionConnectionError):
        contract.good(prepared, world)


@pytest.mark.some(15)
@pytest.mark.parametrize("contract", METHODS)
def test_token_that_is_not_valid_is_refused(contract: Contract, subjects: Subjects, world: World) -> None:
    if contract.method == "is_authenticated":
        assert subjects.stranger.is_authenticated() is False
        return
    if contract.method in ("retrieve_token", "get_link"):
        contract.good(subjects.stranger, world)  # no token is needed for these
        return
    with pytest.raises(errors.InvalidCredentials):
        contract.good(subjects.stranger, world)


def test_balance_without_the_capability_is_a_bad_response(subjects: Subjects) -> None:
    with pytest.raises(errors.BadResponse):
        subjects.bob.get_current_balance()


def test_refresh_until_ends_when_its_time_is_over(subjects: Subjects, world: World) -> None:
    collection = subjects.session.get_resource(ShardCollection, world.new_collection().id)
    with pytest.raises(errors.OrionTimeout):
        subjects.session.refresh_resource_until(collection, "state", "close", timeout=1, sleep_time=1)


class _Prepared:
    """The subject, before whose first call something happens: what a case prepares goes well."""

    def __init__(self, subject: Any, before: Callable[[], None]) -> None:
        self._subject, self._before = subject, before
        self._is_prepared = False

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._subject, name)

        def prepared(*args: Any, **kwargs: Any) -> Any:
            if not self._is_prepared:
                self._is_prepared = True
                self._before()
            return call(*args, **kwargs)

        return prepared
