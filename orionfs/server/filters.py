"""What a listing asks for, read once for all listings: page, order, filters; and filters as SQL.

Used by every route that lists. Parameters that are not known are ignored, nonsense in those that are is
refused. What a row is and which rows there are to choose from is not known here: the caller says where
each column is found.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any

from orionfs.server.paths import Kind
from orionfs.server.problems import bad_request

Query = Sequence[tuple[str, str]]

_ORDER_WORDS = {"id": "id", "name": "name", "created": "created", "size": "size", "type": "kind"}
# What a listing can be ordered by, as columns.
ORDER_COLUMNS = tuple(_ORDER_WORDS.values())
_LIMIT_DEFAULT = 100
_EXPIRY = timedelta(days=30)
_KINDS = {kind.value for kind in Kind}
_STATES = {"created", "uploading", "processing", "ready", "open", "close", "temporary", "deprecated"}
# Enough for anybody, and far from what makes an expression of SQL too deep.
_TAGS_MAX = 100


class TagMatch(Enum):
    """How the text of a tag filter is compared with tags; the values are conditions about `tag t`."""

    EXACT = "t.name = {}"
    IEXACT = "casefold(t.name) = casefold({})"
    CONTAINS = "instr(t.name, {}) > 0"


class Deletion(Enum):
    """Which resources by their deletion; the values are conditions about the column `deleted`."""

    ALIVE = "{} IS NULL"
    DELETED = "{} IS NOT NULL"
    EXPIRED = "{} < :expired_before"


@dataclass(frozen=True, slots=True)
class Filters:
    """What the rows of a listing fulfil; None and empty: whatever it is."""

    name: str | None = None
    name_contains: str | None = None
    name_icontains: str | None = None
    path_contains: str | None = None
    search: str | None = None
    tags: tuple[str, ...] = ()
    system_tags: tuple[str, ...] = ()
    user_tags: tuple[str, ...] = ()
    tag_match: TagMatch = TagMatch.EXACT
    states: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    deletion: Deletion = Deletion.ALIVE
    owner: str | None = None
    project: int | None = None

    @property
    def is_about_names_only(self) -> bool:
        """Whether name, kind and id of a resource are enough to choose by."""
        return not self.states and self.owner is None and self.project is None

    def conditions(self, columns: Mapping[str, str]) -> tuple[list[str], dict[str, Any]]:
        """Conditions in SQL, deletion aside, and their values.

        `columns` says where `id name path kind state owner project` are found.
        """
        found: list[str] = []
        values: dict[str, Any] = {}
        for condition, value, name in (
            (f"{columns['name']} = :name", self.name, "name"),
            (f"instr({columns['name']}, :part) > 0", self.name_contains, "part"),
            (f"instr(casefold({columns['name']}), casefold(:ipart)) > 0", self.name_icontains, "ipart"),
            (f"instr(casefold({columns['name']}), casefold(:search)) > 0", self.search, "search"),
            (f"instr({columns['path']}, :path_part) > 0", self.path_contains, "path_part"),
            (f"{columns['state']} {_IN_LIST.format('states')}", _as_list(self.states), "states"),
            (f"{columns['kind']} {_IN_LIST.format('kinds')}", _as_list(self.kinds), "kinds"),
            (f"{columns['owner']} {_OWNED}", self.owner, "owner"),
            (f"{columns['project']} = :project", self.project, "project"),
        ):
            if value is not None:
                found.append(condition)
                values[name] = value
        for number, (tag, kind_of_tag) in enumerate(self._tags()):
            test = self.tag_match.value.format(f":tag_{number}")
            found.append(f"{columns['id']} IN (SELECT t.resource FROM tag t WHERE {test}{kind_of_tag})")
            values[f"tag_{number}"] = tag
        return found, values

    def deletion_condition(self, column: str) -> tuple[str, dict[str, Any]]:
        """The condition about deletion, and its values."""
        before = f"{datetime.now(UTC) - _EXPIRY:%Y-%m-%dT%H:%M:%S}"
        values = {"expired_before": before} if self.deletion is Deletion.EXPIRED else {}
        return self.deletion.value.format(column), values

    def _tags(self) -> list[tuple[str, str]]:
        return [
            *((tag, "") for tag in self.tags),
            *((tag, " AND t.is_system") for tag in self.system_tags),
            *((tag, " AND NOT t.is_system") for tag in self.user_tags),
        ]


_IN_LIST = "IN (SELECT value FROM json_each(:{}))"
_OWNED = "IN (SELECT a.id FROM account a WHERE a.name = :owner OR CAST(a.id AS TEXT) = :owner)"


def _as_list(words: tuple[str, ...]) -> str | None:
    return json.dumps(words) if words else None


@dataclass(frozen=True, slots=True)
class Selection:
    """What a listing asks for: one page, its order, filters."""

    limit: int
    offset: int
    order_by: str = "id"
    filters: Filters = Filters()

    def order_sql(self, columns: Mapping[str, str]) -> str:
        """ORDER BY terms; `columns` tells where each of ORDER_COLUMNS is found."""
        direction = "DESC" if self.order_by.startswith("-") else "ASC"
        terms = [f"{columns[self.order_column]} {direction}"]
        if self.order_column != "id":
            terms.append(f"{columns['id']} {direction}")
        return ", ".join(terms)

    @property
    def order_column(self) -> str:
        """The column the rows are ordered by."""
        return _ORDER_WORDS[self.order_by.removeprefix("-")]


def parse_selection(query: Query, page_max: int) -> Selection:
    """The selection that query parameters ask for. Refusal 400."""
    single = dict(query)
    order_by = single.get("order_by", "id")
    if order_by.removeprefix("-") not in _ORDER_WORDS:
        raise bad_request(f"order_by can be one of {', '.join(_ORDER_WORDS)}, not {order_by!r}")
    limit = _whole_number(single, "limit", min(_LIMIT_DEFAULT, page_max), smallest=1)
    offset = _whole_number(single, "offset", 0, smallest=0)
    return Selection(min(limit, page_max), offset, order_by, parse_filters(query))


def parse_filters(query: Query) -> Filters:
    """The filters among query parameters. Refusal 400."""
    single = dict(query)
    project = single.get("project")
    return Filters(
        name=single.get("name"),
        name_contains=single.get("name_contains"),
        name_icontains=single.get("name_icontains"),
        path_contains=single.get("path_contains"),
        search=single.get("search"),
        tags=_repeated(query, "tags"),
        system_tags=_repeated(query, "systag_filters"),
        user_tags=_repeated(query, "tag_filters"),
        tag_match=_tag_match(single.get("tag_match", "exact")),
        states=(*_words(query, "state", _STATES), *_words(query, "states", _STATES)),
        kinds=_words(query, "types", _KINDS),
        deletion=_deletion(single),
        owner=single.get("owner"),
        project=None if project is None else _whole_number(single, "project", 0, smallest=1),
    )


def _whole_number(query: Mapping[str, str], name: str, default: int, smallest: int) -> int:
    text = query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 18 and int(text) >= smallest):
        raise bad_request(f"{name} is a whole number of at least {smallest}: {text!r}")
    return int(text)


def _repeated(query: Query, name: str) -> tuple[str, ...]:
    values = tuple(value for key, value in query if key == name)
    if len(values) > _TAGS_MAX:
        raise bad_request(f"{name} can be given {_TAGS_MAX} times at most")
    return values


def _words(query: Query, name: str, known: set[str]) -> tuple[str, ...]:
    """The words of a parameter that may be repeated or hold several with commas between them."""
    texts = [value for key, value in query if key == name]
    words = tuple(filter(None, ",".join(texts).split(",")))
    if texts and not (words and set(words) <= known):
        raise bad_request(f"{name} is a list of {', '.join(sorted(known))}: {','.join(texts)!r}")
    return words


def _tag_match(text: str) -> TagMatch:
    found = {match.name.lower(): match for match in TagMatch}.get(text)
    if found is None:
        raise bad_request(f"tag_match can be exact, iexact or contains, not {text!r}")
    return found


def _deletion(query: Mapping[str, str]) -> Deletion:
    if is_true(query, "expired"):
        return Deletion.EXPIRED
    return Deletion.DELETED if is_true(query, "deleted") else Deletion.ALIVE


def is_true(query: Mapping[str, str], name: str) -> bool:
    """A yes/no parameter; no when it is not given. Refusal 400."""
    text = query.get(name, "false")
    found = {"true": True, "1": True, "false": False, "0": False}.get(text.lower())
    if found is None:
        raise bad_request(f"{name} is true or false, not {text!r}")
    return found
