"""Sessions of the stand-in: documented methods, one thread at a time, profiles of its own."""

import json
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from orionfs.client import OrionSession as OwnSession
from orionfs.client import SessionConfig, get_session

from .faults import FOLDER, misbehave

__all__ = ["OrionSession", "get_profile_config", "get_session"]

_CALLS = frozenset(
    {
        "assign_paths",
        "create_paths",
        "delete_resource",
        "get_current_project",
        "get_resource",
        "get_user_profile",
        "list_resources",
        "list_tags",
        "ls_path",
        "remove_paths",
        "stat_path",
        "tag_resource",
        "untag_resource",
    }
)


class OrionSession(OwnSession):
    """Our own session without its extensions; the order of arguments is that of one version only."""

    direct_resources = False
    instance = None  # type: ignore[assignment]

    def __init__(self, orion_versions: Any = None, config: Any = None, requests_session: Any = None) -> None:
        self.one_at_a_time = threading.RLock()
        super().__init__(config=config, requests_session=requests_session)

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        return partial(self.carry, name, found) if name in _CALLS else found

    def carry(self, name: str, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """A call; two at a time are an error, as the vendor promises nothing else."""
        assert self.one_at_a_time.acquire(blocking=False), f"{name} while another thread is in a call"
        try:
            misbehave(name)
            return call(*args, **kwargs)
        finally:
            self.one_at_a_time.release()


def get_profile_config(profile: str | None = None) -> SessionConfig:
    """The configuration of one of the stand-in's own profiles."""
    found = json.loads((FOLDER / "profiles.json").read_text())[profile or "default"]
    return SessionConfig(url=found["url"], token=found["token"])
