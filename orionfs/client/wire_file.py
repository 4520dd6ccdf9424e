"""Another dialect from a file: the table of `wire` as TOML, read and written.

For a site that knows its stack's routes and keys: `print(dump_wire(DIALECT))` is where to start from; a
profile with `wire = FILE` makes a session speak what the file says. What a file leaves out is as in our
own dialect. An empty text for a route of a type means that it is not offered, for `server_info` that the
host is not asked whether it is an orionfs server, so that the token goes there all the same. Everything in
a file that makes no sense is told, with its place. Must not know connections.

    [routes]            stat_path = "GET /v2/stat"              method and path, `{names}` for ids
    [keys]              project_header = "X-Project"
    [filters]           limit = "page_size"
    [limits]            page_max = 100                          where server_info is ""
    [resources.file]    literal = "File", get = "GET /v2/files/{id}"
    [records.file]      created = "date_created"
"""

from __future__ import annotations

import difflib
import json
import os
import re
import string
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from .errors import OrionError
from .wire import DIALECT, Keys, Limits, ResourceRoutes, Route, Routes, Wire

__all__ = ["dump_wire", "load_wire"]

_ROUTE = re.compile(r"(GET|POST|PUT|PATCH|DELETE) (/\S*)")
_OPTIONAL = "server_info"
_OF_ONE = frozenset({"get", "update", "delete", "share", "unshare", "shares"})
_PLACES = {"shard": frozenset({"collection"})}
_NOT_ROUTES = frozenset({"plural", "literal", "is_taggable"})


def load_wire(path: str | os.PathLike[str]) -> Wire:
    """The dialect of a file. Raises OrionError with one line that tells all that is wrong, and where."""
    try:
        found = tomllib.loads(Path(path).read_text("utf-8"))
    except OSError as exc:
        raise OrionError(f"{os.fspath(path)}: the table of routes can't be read: {exc.strerror}") from exc
    except ValueError as exc:  # no TOML, or no UTF-8
        raise OrionError(f"{os.fspath(path)}: this is no TOML: {exc}") from exc
    reader = _Reader()
    wire = reader.wire(found)
    if reader.problems:
        raise OrionError(f"{os.fspath(path)}: {'; '.join(reader.problems)}")
    return wire


def dump_wire(wire: Wire) -> str:
    """A dialect as TOML that `load_wire` reads as the same one."""
    lines: list[str] = []

    def section(name: str, values: Mapping[str, Any]) -> None:
        lines.extend((f"[{name}]", *(f"{key} = {_toml(value)}" for key, value in values.items()), ""))

    section("routes", _values_of(wire.routes))
    section("keys", asdict(wire.keys))
    section("filters", wire.filters)
    section("limits", asdict(wire.limits))
    for word, routes in wire.resources.items():
        section(f"resources.{word}", _values_of(routes))
    for record, keys in wire.records.items():
        section(f"records.{record}", keys)
    return "\n".join(lines)


def _values_of(table: Routes | ResourceRoutes) -> dict[str, Any]:
    return {each.name: getattr(table, each.name) for each in fields(table)}


def _toml(value: object) -> str:
    if value is None:
        return '""'
    if isinstance(value, Route):
        value = f"{value.method} {value.path}"
    # A JSON text is a TOML text, but for the one character that JSON leaves as it is.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


class _Reader:
    """Reads tables into parts of a wire; what is wrong is noted, and the own dialect's value taken."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def wire(self, found: Mapping[str, object]) -> Wire:
        sections = [each.name for each in fields(Wire)]
        given = dict(self._entries(found, sections, "the file"))
        return Wire(
            routes=self._routes(given.get("routes", {})),
            keys=self._keys(given.get("keys", {})),
            resources=self._resources(given.get("resources", {})),
            records=self._records(given.get("records", {})),
            filters=self._texts(given.get("filters", {}), DIALECT.filters, "[filters]"),
            limits=self._limits(given.get("limits", {})),
        )

    def _routes(self, given: object) -> Routes:
        own = Routes()
        values: dict[str, Any] = {}
        for name, value in self._entries(given, [each.name for each in fields(own)], "[routes]"):
            if name == _OPTIONAL and value == "":
                values[name] = None
                continue
            expected = getattr(own, name)
            read = self._route(value, _names_in(expected.path), f"[routes] {name}")
            values[name] = read or expected
        return replace(own, **values)

    def _keys(self, given: object) -> Keys:
        values = self._texts(given, asdict(Keys()), "[keys]")
        if "{token}" not in values["token_form"]:
            self.problems.append("[keys] token_form: lacks {token}")
        return Keys(**values)

    def _limits(self, given: object) -> Limits:
        values: dict[str, int] = {}
        for name, value in self._entries(given, [each.name for each in fields(Limits)], "[limits]"):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                self.problems.append(f"[limits] {name}: a number above 0 is due, not {value!r}")
            else:
                values[name] = value
        return Limits(**values)

    def _resources(self, given: object) -> Mapping[str, ResourceRoutes]:
        found = dict(DIALECT.resources)
        for word, table in self._entries(given, list(found), "[resources]"):
            found[word] = self._resource(word, table, found[word])
        return MappingProxyType(found)

    def _resource(self, word: str, given: object, own: ResourceRoutes) -> ResourceRoutes:
        place = f"[resources.{word}]"
        values: dict[str, Any] = {}
        for name, value in self._entries(given, [each.name for each in fields(own)], place):
            if name == "is_taggable":
                self._check(isinstance(value, bool), f"{place} {name}: true or false is due, not {value!r}")
                values[name] = bool(value)
            elif name in _NOT_ROUTES:
                is_good = isinstance(value, str) and (value or name == "literal")
                self._check(is_good, f"{place} {name}: a text is due, not {value!r}")
                values[name] = str(value)
            else:
                expected = _PLACES.get(word, frozenset()) | ({"id"} if name in _OF_ONE else set())
                values[name] = None if value == "" else self._route(value, expected, f"{place} {name}")
        return replace(own, **values)

    def _records(self, given: object) -> Mapping[str, Mapping[str, str]]:
        found = dict(DIALECT.records)
        for record, table in self._entries(given, list(found), "[records]"):
            found[record] = MappingProxyType(self._texts(table, found[record], f"[records.{record}]"))
        return MappingProxyType(found)

    def _texts(self, given: object, own: Mapping[str, str], place: str) -> dict[str, str]:
        found = dict(own)
        for name, value in self._entries(given, list(own), place):
            is_good = isinstance(value, str) and value
            self._check(is_good, f"{place} {name}: a text that is not empty is due, not {value!r}")
            found[name] = str(value)
        return found

    def _route(self, value: object, expected: frozenset[str] | set[str], place: str) -> Route | None:
        match = _ROUTE.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            self.problems.append(f'{place}: "METHOD /path" is due, not {value!r}')
            return None
        names = _names_in(match[2])
        if names != expected:
            due = ", ".join(f"{{{name}}}" for name in sorted(expected)) or "nothing in braces"
            self.problems.append(f"{place}: the path has to hold {due}: {match[2]!r}")
            return None
        return Route(match[1], match[2])

    def _entries(self, given: object, known: list[str], place: str) -> Iterator[tuple[str, object]]:
        """Entries of a table that are known; others are problems."""
        if not isinstance(given, Mapping):
            self.problems.append(f"{place}: a table is due, not {given!r}")
            return
        for name, value in given.items():
            if name in known:
                yield name, value
                continue
            near = difflib.get_close_matches(name, known, 1)
            hint = f" (is it {near[0]}?)" if near else ""
            self.problems.append(f"{place}: {name!r} is not known{hint}")

    def _check(self, is_good: object, problem: str) -> None:
        if not is_good:
            self.problems.append(problem)


def _names_in(path: str) -> set[str]:
    """What stands in braces; an impossible name where the braces make no sense."""
    try:
        return {name for _, name, _, _ in string.Formatter().parse(path) if name is not None}
    except ValueError:
        return {"}"}
