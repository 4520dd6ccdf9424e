"""The session itself: documented methods with documented arguments, for one thread at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from orionfs.client import OrionSession, get_profile_config, get_session
from tests.documented import types
from tests.documented.shapes import Shapes, shapes_of_run
from tests.documented.strict import check_call, refuse, signature

DOCUMENTED = {
    "ls_path": signature("path, query_params=None"),
    "stat_path": signature("path"),
    "create_paths": signature("*paths"),
    "remove_paths": signature("*paths"),
    "assign_paths": signature("*assignments"),
    "get_paths": signature("*items"),
    "create_resource": signature("resource_type, params=None, files=None"),
    "get_resource": signature("resource_type, resource_id, timeout=None"),
    "delete_resource": signature("resource"),
    "update_resource": signature("resource, params"),
    "refresh_resource": signature("resource"),
    "list_resources": signature("resource, filters=None"),
    "list_tags": signature("resource"),
    "tag_resource": signature("resource, *tags, project=None"),
    "untag_resource": signature("resource, *tags, project=None"),
    "get_user_profile": signature(""),
    "get_current_project": signature(""),
    "get_current_balance": signature(""),
    "is_authenticated": signature("reconnect=False"),
    "refresh_resource_until": signature("resource, attribute, until_value, timeout=60, sleep_time=1"),
    "share_resource": signature("resource, share_with, permissions=None"),
    "unshare_resource": signature("resource, share_with"),
    "create_link": signature("resource"),
    "get_link": signature("link_dict"),
    "retrieve_token": signature("username, password"),
}
_WRAPPED = {
    "get_user_profile": types.UserProfile,
    "get_current_project": types.Project,
    "get_current_balance": types.CurrentBalance,
}
_CHANGED_IN_PLACE = ("refresh_resource", "refresh_resource_until", "update_resource")


class StrictSession:
    """Our own session, cut down to what is documented. It is not documented to be safe for threads."""

    def __init__(self, inner: OrionSession, shapes: Shapes | None = None) -> None:
        """`shapes`: what answers and literals look like, None: as the server has them."""
        self._inner = inner
        self._shapes = shapes
        self._busy = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        if name not in DOCUMENTED:
            refuse("OrionSession", name)
        return partial(self._call, name)

    def _call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        check_call(name, DOCUMENTED[name], args, kwargs)
        inner_args = [_inner(arg) for arg in args]
        inner_kwargs = {key: _inner(value) for key, value in kwargs.items()}
        if name == "assign_paths" and self._shapes is not None:
            inner_args = [self._shapes.assignment(each) for each in inner_args]
        with self._one_thread(name):
            answer = getattr(self._inner, name)(*inner_args, **inner_kwargs)
        if name == "ls_path" and self._shapes is not None:
            bound = DOCUMENTED[name].bind(*args, **kwargs).arguments
            return self._shapes.listing(answer, bound.get("query_params") or {})
        if name == "stat_path" and self._shapes is not None:
            return self._shapes.row(answer)
        if name in _CHANGED_IN_PLACE:
            args[0]._show()
        if name == "list_resources":
            return (types.make(args[0], each) for each in answer)
        kind = args[0] if name in ("get_resource", "create_resource") else _WRAPPED.get(name)
        return answer if kind is None else types.make(kind, answer)

    @contextmanager
    def _one_thread(self, name: str) -> Iterator[None]:
        assert self._busy.acquire(blocking=False), f"{name} while another thread is in a call"
        try:
            yield
        finally:
            self._busy.release()


def _inner(value: Any) -> Any:
    """Our own object or type for a wrapped one."""
    if isinstance(value, type):
        return types.OWN.get(value, value)
    return value.__dict__["_inner"] if type(value) in types.OWN else value


def make_session() -> StrictSession:
    """The factory: server and token from ORIONFS_URL and ORIONFS_TOKEN, shapes of this run."""
    print("a session may print what it likes")
    return StrictSession(_own_session(), shapes_of_run())


def make_plain_session() -> StrictSession:
    """A factory for tests that look at answers as the server gives them."""
    return StrictSession(_own_session())


def make_quick_session() -> StrictSession:
    """A plain one that tries a 503 again at once, and nothing else."""
    return StrictSession(_own_session({503: 2}, {503: (0.01, 0.02)}))


def _own_session(
    retries: dict[int, int] | None = None, backoff: dict[int, tuple[float, float]] | None = None
) -> OrionSession:
    retries = retries or {502: 1, 503: 1}
    requests_session = get_session(retries, request_timeout=60, retry_timeout=120, backoff_dict=backoff)
    return OrionSession(config=get_profile_config(), requests_session=requests_session)
