"""The rule itself: which names are documented, which are known extensions, and what the rest gets."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, NoReturn

EXTENSIONS = frozenset(
    {
        "direct_resources",
        "instance",
        "read_into",
        "shard_page",
        "list_shares",
        "begin",
        "Folder",
        "GrowingFile",
    }
)
"""Ours; code may look whether a session has them, and must live without."""


def refuse(owner: str, name: str) -> NoReturn:
    """What is asked of a name that is not documented."""
    if name in EXTENSIONS or (name.startswith("__") and name.endswith("__")):
        raise AttributeError(name)
    raise AssertionError(f"{owner}.{name} is not documented")


def check_call(
    name: str, documented: inspect.Signature, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> None:
    """Refuse arguments that are not documented for a call."""
    try:
        documented.bind(*args, **kwargs)
    except TypeError as exc:
        raise AssertionError(f"{name}{documented}: {exc}") from exc


def signature(text: str) -> inspect.Signature:
    """A signature from the text between the brackets."""
    function = eval(f"lambda {text}: None")
    return inspect.signature(function)
