"""The switches of the server: how an Orion may behave where nothing public says how it does.

Each field of `Switches` is one `--set name=value`; its first or default value is the server's habit.
Pure data: parsing and a listing for help texts; what a switch means is decided where it is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from math import isfinite
from typing import Any

from orionfs.server.problems import ServeError

_MEBI = 1024 * 1024


def _choice(default: str, other: str, meaning: str) -> Any:
    return field(default=default, metadata={"choices": (default, other), "meaning": meaning})


def _number(default: float, smallest: float, meaning: str) -> Any:
    return field(default=default, metadata={"smallest": smallest, "meaning": meaning})


@dataclass(frozen=True, slots=True)
class Switches:
    """One value per unknown of the real platform; the defaults are the server's habits."""

    duplicate_names: str = _choice("allowed", "refused", "may items of one folder share a name")
    create_parents: str = _choice("no", "yes", "does creating a folder make its missing parents")
    remove_recursive: str = _choice("no", "yes", "does removing a folder remove what is in it")
    folders_assignable: str = _choice("yes", "no", "can folders be moved with assign")
    slash_in_names: str = _choice("yes", "no", "may names of items contain '/'")
    list_sizes: str = _choice("yes", "no", "do rows of listings carry sizes")
    list_tags: str = _choice("yes", "no", "do rows of listings carry tags")
    page_max: int = _number(1000, 1, "largest page of a listing, in rows")
    read_lag_s: float = _number(0.0, 0, "listings and stat lag this many seconds behind changes")
    part_bytes: int = _number(8 * _MEBI, 1, "size of one upload part, and of a file in one request")
    upload_max_bytes: int = _number(1024 * 1024 * _MEBI, 1, "largest file that is taken, in bytes")
    shard_max_bytes: int = _number(5_000_000_000, 1, "largest contents of a shard, in bytes")
    dataset_records_max: int = _number(1_000_000, 1, "most records of a dataset in one download")
    balance: float = _number(1000.0, 0, "balance of the organization, in USD")
    url_lifetime_s: float = _number(3600.0, 0, "how long signed URLs hold, in seconds")
    token_lifetime_s: float = _number(0.0, 0, "how long tokens got for a password hold, 0: for ever")

    def is_on(self, name: str) -> bool:
        """Whether the yes/no (or allowed/refused) switch `name` says yes (allowed)."""
        return getattr(self, name) in ("yes", "allowed")


def parse_switches(values: Mapping[str, str]) -> Switches:
    """Switches from the `name=value` pairs of a command line; ServeError for what is not known."""
    known = {entry.name: entry for entry in fields(Switches)}
    chosen: dict[str, Any] = {}
    for name, text in values.items():
        if name not in known:
            raise ServeError(f"unknown switch {name!r}; known are: {', '.join(sorted(known))}")
        chosen[name] = _parse_value(name, text, known[name].default, known[name].metadata)
    return Switches(**chosen)


def describe_switches() -> list[str]:
    """One line per switch for help texts: `name=default|other  meaning`."""
    lines = []
    for entry in fields(Switches):
        values = "|".join(entry.metadata.get("choices", (f"{entry.default}",)))
        lines.append(f"{entry.name}={values}  {entry.metadata['meaning']}")
    return lines


def _parse_value(name: str, text: str, default: Any, metadata: Mapping[str, Any]) -> Any:
    choices = metadata.get("choices")
    if choices is not None:
        if text not in choices:
            raise ServeError(f"switch {name} can be {' or '.join(choices)}, not {text!r}")
        return text
    smallest = metadata["smallest"]
    kind = type(default)
    try:
        value = kind(text)
    except ValueError:
        value = None
    if value is None or not isfinite(value) or value < smallest:
        word = "a whole number" if kind is int else "a number"
        raise ServeError(f"switch {name} needs {word} of at least {smallest}, not {text!r}")
    return value
