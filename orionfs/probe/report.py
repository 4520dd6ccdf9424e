"""What a probe has found, as data for files and scripts: key names, literals and yes/no only; pure.

No name of an item, id, host, user or token is in it: values are those of the questions, reasons are
fixed texts, and of answers only the names of keys are told. A key that may be data itself (an envelope
keyed by ids or by names) is replaced.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from orionfs.models import Kind
from orionfs.probe.answers import KNOWN_KEYS, Row, kind_of, plain_key
from orionfs.probe.findings import Evidence, Finding

FORMAT = 1
REPLACED = "(data)"

_KEY = re.compile(r"[A-Za-z_]{1,40}")
_KEYS_MAX = 60
# Names of keys, whatever else is called so too; in the form of `plain_key`.
_VOCABULARY = KNOWN_KEYS | frozenset(
    {"results", "items", "data", "contents", "objects", "resources", "next", "previous", "hasmore"}
    | {"files", "datasets", "collections", "folders", "description", "state", "deleted", "metadata"}
    | {"owner", "ownerid", "project", "projectid"}
)


def report_of(findings: Sequence[Finding], seen: Evidence, version: str) -> dict[str, Any]:
    """The whole report as plain data."""
    return {
        "format": FORMAT,
        "orionfs": version,
        "findings": {each.name: {"value": each.value, "how": each.why} for each in findings},
        "literals": {kind.value: _clean(text, ()) for kind, text in sorted_literals(seen).items()},
        "keys": keys_of(seen),
    }


def sorted_literals(seen: Evidence) -> dict[Kind, str]:
    """The literal of each kind, in the order of kinds."""
    found = seen.literals()
    return {kind: found[kind] for kind in Kind if kind in found}


def keys_of(seen: Evidence) -> dict[str, list[str]]:
    """Names of keys by the answer they stand in."""
    data = set(_texts([*seen.rows(), *seen.stats, *seen.tag_rows]))
    envelopes = (part for listing in seen.listings for part in listing.keys)
    return {
        "envelope": _names(envelopes, data),
        "stat": _names(_keys(seen.stats), data),
        "tag": _names(_keys(seen.tag_rows), data),
        **{kind.value: _names(_keys(_of_kind(seen, kind)), data) for kind in Kind},
    }


def _of_kind(seen: Evidence, kind: Kind) -> Iterator[Row]:
    return (row for row in seen.rows() if kind_of(row) is kind)


def _keys(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    return (key for row in rows for key in row)


def _names(keys: Iterable[str], data: Iterable[str]) -> list[str]:
    cleaned = {".".join(_clean(part, data) for part in str(key).split(".")) for key in keys}
    return sorted(cleaned)[:_KEYS_MAX]


def _clean(key: str, data: Iterable[str]) -> str:
    """A key that is a name of a key, for all that can be known."""
    is_good = _KEY.fullmatch(key) is not None and (plain_key(key) in _VOCABULARY or key not in data)
    return key if is_good else REPLACED


def _texts(value: Any) -> Iterator[str]:
    """All texts that are values somewhere, and the names in paths."""
    if isinstance(value, str):
        yield from (value, *value.split("/"))
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _texts(each)
