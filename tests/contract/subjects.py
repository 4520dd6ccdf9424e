"""What the contract is asked of: our client over HTTP, and the bridge to a session in workers.

A subject offers the documented methods by their names. `session` tries nothing twice, `patient` tries a
503 again, `stranger` has a token that is not valid, `bob` is another user.
"""

from __future__ import annotations

import enum
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from orionfs.bridge import BridgePool, CallFailed
from orionfs.bridge.worker import DOCUMENTED_METHODS
from orionfs.client import errors, types
from tests.contract.world import World, open_session

FACTORY = "tests.documented.session:make_quick_session"
_CLASSES = {cls.__name__: cls for cls in vars(types).values() if isinstance(cls, type)}


class Subject(enum.Enum):
    """The two ways to a session."""

    OWN = "own"
    BRIDGE = "bridge"


@dataclass(frozen=True)
class Subjects:
    """One way to a session, as several people."""

    session: Any
    patient: Any
    stranger: Any
    bob: Any


@contextmanager
def open_subjects(subject: Subject, world: World) -> Iterator[Subjects]:
    """The sessions of one way, for as long as the block runs."""
    alice = world.token("alice")
    with ExitStack() as stack:
        if subject is Subject.OWN:
            open_one: Callable[..., Any] = partial(open_session, world.server.url)
            patient = stack.enter_context(open_one(alice, {503: 2}))
        else:
            open_one = partial(_bridge, world)
            patient = None
        session = stack.enter_context(open_one(alice))
        stranger = stack.enter_context(open_one("x" * len(alice)))
        bob = stack.enter_context(open_one(world.token("bob")))
        # The session of the workers is a patient one: it tries a 503 again by itself.
        yield Subjects(session, patient or session, stranger, bob)


@contextmanager
def _bridge(world: World, token: str) -> Iterator[BridgeSession]:
    environment = {**world.server.environment(), "ORIONFS_TOKEN": token}
    pool = BridgePool(sys.executable, FACTORY, metadata_workers=1, content_workers=1, env=environment)
    try:
        yield BridgeSession(pool)
    finally:
        pool.close()


class BridgeSession:
    """The documented methods over the bridge: objects go as references and come back as attributes."""

    def __init__(self, pool: BridgePool) -> None:
        self._pool = pool

    def __getattr__(self, name: str) -> Any:
        if name not in DOCUMENTED_METHODS:
            raise AttributeError(name)
        return partial(self._call, name)

    def _call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        sent = {key: _sent(value) for key, value in kwargs.items()}
        try:
            answer = self._pool.documented(name, [_sent(arg) for arg in args], sent)
        except CallFailed as failed:
            raise _documented_error(failed) from failed
        if name in ("refresh_resource", "refresh_resource_until", "update_resource"):
            _show(args[0], answer["resource"])
        return _received(answer["answer"], args[0] if args else None)


def _documented_error(failed: CallFailed) -> errors.OrionError:
    kind = getattr(errors, failed.info["error"])
    made: errors.OrionError = kind.__new__(kind)
    errors.OrionError.__init__(made, str(failed))
    return made


def _sent(value: Any) -> Any:
    if isinstance(value, type):
        return {"type": getattr(value, "resource_type", value.__name__)}
    if isinstance(value, types.Resource):
        return {"resource": {"kind": value.resource_type, "id": getattr(value, "id", None)}}
    return value


def _received(answer: Any, asked_for: Any) -> Any:
    if isinstance(answer, list) and isinstance(asked_for, type):
        return iter([_show(asked_for(), each) for each in answer])
    if isinstance(answer, list):
        return iter(answer)
    if isinstance(answer, dict) and "type" in answer:
        made = _CLASSES.get(answer["type"], type(answer["type"], (_Shown,), {}))()
        return _show(made, answer)
    return answer


class _Shown:
    """An object of which only the attributes are known."""


def _show(resource: Any, attributes: dict[str, Any]) -> Any:
    for name, value in attributes.items():
        if name != "resource_type" and (hasattr(resource, name) or isinstance(resource, _Shown)):
            setattr(resource, name, value)
    return resource
