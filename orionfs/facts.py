"""What is known of one stack where nothing public says how it behaves; found by `orionfs probe`.

Each field of `StackFacts` that is a text carries the name and the values of a switch of the embedded
server; None: not known yet. `remote` acts on them, `probe` finds them, this module keeps them: one JSON
file a stack below the state folder. They hold key names, literals and yes/no only, never a name of an
item, an id or a host. A leaf.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from orionfs.private import make_private, write_whole

_NUMBER_MAX = 10**9


@dataclass(frozen=True, slots=True)
class StackFacts:
    """One value for each unknown of a stack, None where it is not known."""

    duplicate_names: str | None = None  # allowed, refused
    create_parents: str | None = None  # no, yes
    create_existing: str | None = None  # refused, accepted
    remove_recursive: str | None = None  # no, yes
    remove_equal: str | None = None  # newest, all
    folders_assignable: str | None = None  # yes, no
    folder_ids: str | None = None  # yes, no
    assign_path: str | None = None  # folder, full
    slash_in_names: str | None = None  # yes, no
    empty_files: str | None = None  # accepted, refused
    list_sizes: str | None = None  # yes, no
    list_times: str | None = None  # yes, no
    list_tags: str | None = None  # yes, no
    stat_details: str | None = None  # yes, no
    envelope: str | None = None  # results, items, nested, bare
    keys: str | None = None  # plain, long, camel
    literals: str | None = None  # word, class, upper, other
    paging: str | None = None  # pages, all
    filters: str | None = None  # honoured, ignored
    busy: str | None = None  # no, yes
    auth_status: str | None = None  # 401, 403
    removed_downloads: str | None = None  # no, yes
    upload_ready: str | None = None  # at_once, later
    page_max: int | None = None  # rows of the largest page that was seen to be cut
    read_lag_s: float | None = None  # how long a change was not seen, in seconds
    ranged_reads: bool | None = None  # a range was compared with the same bytes of the whole
    kind_literals: Mapping[str, str] = field(default_factory=dict)  # "file" -> resource_type as received


UNKNOWN = StackFacts()

CHOICES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "duplicate_names": ("allowed", "refused"),
        "create_parents": ("no", "yes"),
        "create_existing": ("refused", "accepted"),
        "remove_recursive": ("no", "yes"),
        "remove_equal": ("newest", "all"),
        "folders_assignable": ("yes", "no"),
        "folder_ids": ("yes", "no"),
        "assign_path": ("folder", "full"),
        "slash_in_names": ("yes", "no"),
        "empty_files": ("accepted", "refused"),
        "list_sizes": ("yes", "no"),
        "list_times": ("yes", "no"),
        "list_tags": ("yes", "no"),
        "stat_details": ("yes", "no"),
        "envelope": ("results", "items", "nested", "bare"),
        "keys": ("plain", "long", "camel"),
        "literals": ("word", "class", "upper", "other"),
        "paging": ("pages", "all"),
        "filters": ("honoured", "ignored"),
        "busy": ("no", "yes"),
        "auth_status": ("401", "403"),
        "removed_downloads": ("no", "yes"),
        "upload_ready": ("at_once", "later"),
    }
)
"""What each text of `StackFacts` can be; the first is the habit of the embedded server."""


def facts_path(state_dir: Path, stack: str) -> Path:
    """Where the facts of a stack are kept; `stack` is `Account.stack`."""
    return state_dir / "stacks" / f"{hashlib.blake2b(stack.encode(), digest_size=12).hexdigest()}.json"


def load_facts(state_dir: Path, stack: str) -> StackFacts:
    """What is known of a stack; nothing where no probe was kept or the file is damaged."""
    try:
        content = json.loads(facts_path(state_dir, stack).read_text())
    except (OSError, ValueError):
        return UNKNOWN
    return facts_of(content) if isinstance(content, dict) else UNKNOWN


def save_facts(state_dir: Path, stack: str, facts: StackFacts) -> Path:
    """Keep the facts of a stack, whole or not at all; the file. Raises OSError."""
    path = facts_path(state_dir, stack)
    make_private(path.parent)
    write_whole(path, json.dumps(as_json(facts), indent=2, sort_keys=True) + "\n")
    return path


def as_json(facts: StackFacts) -> dict[str, Any]:
    """What is known, as plain data; what is not known is left out."""
    found = {entry.name: getattr(facts, entry.name) for entry in dataclasses.fields(facts)}
    found["kind_literals"] = dict(facts.kind_literals) or None
    return {name: value for name, value in found.items() if value is not None}


def merged(older: StackFacts, newer: StackFacts) -> StackFacts:
    """What both know together; where both know something, the newer one is believed."""
    literals = {**older.kind_literals, **newer.kind_literals}
    return facts_of({**as_json(older), **as_json(newer), "kind_literals": literals})


def facts_of(content: Mapping[str, Any]) -> StackFacts:
    """The facts of plain data; what this version does not know, or in another form, is left out."""
    names = (entry.name for entry in dataclasses.fields(StackFacts))
    return StackFacts(**{name: content[name] for name in names if _is_good(name, content.get(name))})


def _is_good(name: str, value: object) -> bool:
    if name in CHOICES:
        return value in CHOICES[name]
    if name == "kind_literals":
        return isinstance(value, dict) and all(
            isinstance(text, str) for pair in value.items() for text in pair
        )
    if name == "ranged_reads":
        return isinstance(value, bool)
    if isinstance(value, bool) or not isinstance(value, int if name == "page_max" else int | float):
        return False
    # Not for NaN, nor for what no stack can mean.
    return (1 if name == "page_max" else 0) <= value < _NUMBER_MAX
