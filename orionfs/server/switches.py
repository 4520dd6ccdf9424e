"""The switches of the server: how an Orion may behave where nothing public says how it does.

Each field of `Switches` is one `--set name=value`; its first or default value is the server's habit.
Most are *switches*, each an open question about the real platform; the rest are *settings*: sizes, lifetimes
and the like, which every platform has and a test may want otherwise. Pure data: parsing and two listings
for help texts; what a switch means is decided where it is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from math import isfinite
from typing import Any

from orionfs.server.problems import ServeError

_MEBI = 1024 * 1024
_AFFIRMATIVE = frozenset({"yes", "allowed", "accepted", "honoured"})


def _choice(*choices: str, means: str) -> Any:
    return field(default=choices[0], metadata={"choices": choices, "meaning": means})


def _number(default: float, smallest: float, means: str) -> Any:
    return field(default=default, metadata={"smallest": smallest, "meaning": means})


def _setting(default: float, smallest: float, means: str) -> Any:
    return field(default=default, metadata={"smallest": smallest, "meaning": means, "is_setting": True})


@dataclass(frozen=True, slots=True)
class Switches:
    """One value per unknown of the real platform, and the settings; defaults are the server's habits."""

    duplicate_names: str = _choice("allowed", "refused", means="may items of one folder share a name")
    create_parents: str = _choice("no", "yes", means="does creating a folder make its missing parents")
    create_existing: str = _choice("refused", "accepted", means="may a folder be created that is there")
    remove_recursive: str = _choice("no", "yes", means="does removing a folder remove what is in it")
    remove_equal: str = _choice(
        "newest", "all", means="what removing a path removes that several items share"
    )
    folders_assignable: str = _choice("yes", "no", means="can folders be moved with assign")
    folder_ids: str = _choice("yes", "no", means="do folders have ids, by which they are moved and tagged")
    assign_path: str = _choice(
        "folder", "full", means="is the path of an assignment a folder or the item's own"
    )
    slash_in_names: str = _choice("yes", "no", means="may names of items contain '/'")
    empty_files: str = _choice("accepted", "refused", means="may files have no bytes at all")
    list_sizes: str = _choice("yes", "no", means="do rows of listings carry sizes")
    list_times: str = _choice("yes", "no", means="do rows of listings carry times of creation")
    list_tags: str = _choice("yes", "no", means="do rows of listings carry tags")
    stat_details: str = _choice("yes", "no", means="does stat tell more than id, resource_type and path")
    paging: str = _choice("pages", "all", means="are limit and offset honoured, or all rows in one answer")
    filters: str = _choice("honoured", "ignored", means="do listings heed filters and order_by")
    busy: str = _choice("no", "yes", means="is the first try of create, remove and assign answered 'busy'")
    auth_status: str = _choice("401", "403", means="status of an answer to a request without a valid token")
    removed_downloads: str = _choice("no", "yes", means="do contents of removed files still download by id")
    upload_ready: str = _choice(
        "at_once", "later", means="is a file usable at once, or after 1 s of processing"
    )
    envelope: str = _choice(
        "results", "items", "nested", "bare", means="what is around the rows of a listing"
    )
    keys: str = _choice("plain", "long", "camel", means="spelling of keys: created, date_created, createdAt")
    literals: str = _choice(
        "word", "class", "upper", means="resource_type: collection, ShardCollection, COLLECTION"
    )
    wire: str = _choice("own", "renamed", means="do routes, keys and headers have names of another dialect")
    page_max: int = _number(1000, 1, means="largest page of a listing, in rows")
    read_lag_s: float = _number(0.0, 0, means="listings and stat lag this many seconds behind changes")
    part_bytes: int = _setting(8 * _MEBI, 1, means="size of one upload part, and of a file in one request")
    upload_max_bytes: int = _setting(1024 * 1024 * _MEBI, 1, means="largest file that is taken, in bytes")
    shard_max_bytes: int = _setting(5_000_000_000, 1, means="largest contents of a shard, in bytes")
    dataset_records_max: int = _setting(1_000_000, 1, means="most records of a dataset in one download")
    balance: float = _setting(1000.0, 0, means="balance of the organization, in USD")
    url_lifetime_s: float = _setting(3600.0, 0, means="how long signed URLs hold, in seconds")
    token_lifetime_s: float = _setting(0.0, 0, means="how long tokens got for a password hold, 0: for ever")

    def is_on(self, name: str) -> bool:
        """Whether the switch `name` says yes (allowed, accepted, honoured)."""
        return getattr(self, name) in _AFFIRMATIVE


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
    return [_described(entry) for entry in fields(Switches) if not is_setting(entry)]


def describe_settings() -> list[str]:
    """One line per setting for help texts: `name=default  meaning`."""
    return [_described(entry) for entry in fields(Switches) if is_setting(entry)]


def is_setting(entry: Field[Any]) -> bool:
    """Whether a field of `Switches` is a setting: a size, a lifetime or the like, no open question."""
    return bool(entry.metadata.get("is_setting", False))


def _described(entry: Field[Any]) -> str:
    values = "|".join(entry.metadata.get("choices", (f"{entry.default}",)))
    return f"{entry.name}={values}  {entry.metadata['meaning']}"


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
