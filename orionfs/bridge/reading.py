"""A session that changes nothing: of its verbs those that read are handed on, every other one is refused.

For mounts that are read-only: whatever a layer above does, no request that changes something is made.
Must not know how a call is made, nor what a verb means.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from orionfs.errors import ReadOnly

if TYPE_CHECKING:
    from . import SessionCalls

__all__ = ["only_reading"]

READING = frozenset(
    {
        "whoami",
        "ls_path",
        "stat_path",
        "get_paths",
        "get",
        "find",
        "download",
        "download_as",
        "list_tags",
        "list_shares",
        "link",
        "read_into",
        "shards_page",
        "list_shards",
    }
)
"""A verb that is not here is taken for one that changes something."""

_OF_US_ALONE = ("close", "forget_connections")


class _OnlyReading:
    def __init__(self, calls: SessionCalls) -> None:
        self._calls = calls

    def __getattr__(self, name: str) -> Any:
        meant = getattr(self._calls, name)
        return meant if name in (*READING, *_OF_US_ALONE) or not callable(meant) else _refusing(name)


def _refusing(verb: str) -> Callable[..., Any]:
    def refuse(*_args: object, **_more: object) -> None:
        raise ReadOnly(f"{verb}: the mount is read-only")

    return refuse


def only_reading(calls: SessionCalls) -> SessionCalls:
    """The same session, whose changing verbs raise ReadOnly."""
    return cast("SessionCalls", _OnlyReading(calls))
