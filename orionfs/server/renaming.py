"""Other names for everything of this project's dialect: keys, parameters, routes, headers, by rule.

A stack whose routes a site knows speaks a dialect of its own, and the client is given a table of it.
With `wire=renamed` this server is such a stack: `renaming_layer` translates by these functions, and a
table for the client is made with them. Pure; every rule has an inverse, so nothing is lost on the way.
Two things keep their names: errors (`detail`, `code`) and what a user put into `metadata` and the like.
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

_SUFFIX = "X"
_NEXT_WORD = re.compile(r"_([a-z])|([A-Z])|_")
_ENCODED = re.compile(r"_([A-Z])|__|([A-Z])")
_RENAMED_KEY = re.compile(r"(?:__|_[A-Z]|[^_])*", re.DOTALL)
_OWN_PATH = re.compile(r"/api/v([0-9]+)((?:/.*)?)", re.DOTALL)
_RENAMED_PATH = re.compile(r"/rest/([0-9]+)((?:/.*)?)", re.DOTALL)
_PAIRS = {
    "storage": "store",
    "paths": "tree",
    "files": "documents",
    "datasets": "tables",
    "collections": "bundles",
    "folders": "directories",
    "workfloes": "flows",
    "projects": "groups",
    "users": "people",
}
_SWAPPED = _PAIRS | {renamed: own for own, renamed in _PAIRS.items()}
_HEADERS, _RENAMED_HEADERS = "x-orion-", "x-renamed-"
_BLOBS = "/blobs/"
_SIGNED = frozenset({"expires"})
_USERS_OWN = frozenset({"metadata", "specification"})
_URLS = frozenset({"next", "previous", "url"})


def renamed_key(key: str) -> str:
    """The other name of a JSON key or a parameter: `resource_type` is `resourceTypeX`."""

    def encoded(found: re.Match[str]) -> str:
        if found[1]:
            return found[1].upper()
        return f"_{found[2]}" if found[2] else "__"

    return _NEXT_WORD.sub(encoded, key) + _SUFFIX


def own_key(name: str) -> str | None:
    """The key that has this other name; None if no key has it."""
    words = name.removesuffix(_SUFFIX)
    if words == name or not _RENAMED_KEY.fullmatch(words):
        return None

    def decoded(found: re.Match[str]) -> str:
        if found[1]:
            return found[1]
        return f"_{found[2].lower()}" if found[2] else "_"

    key = _ENCODED.sub(decoded, words)
    return key if renamed_key(key) == name else None


def renamed_path(path: str) -> str:
    """The other name of a path or a route of the API, ids at the same places; others stay as they are."""
    found = _OWN_PATH.fullmatch(path)
    return path if found is None else f"/rest/{found[1]}{_swapped(found[2])}"


def own_path(path: str) -> str | None:
    """The path that has this other name; None if none has: the API's own paths are not known here."""
    found = _RENAMED_PATH.fullmatch(path)
    if found is not None:
        return f"/api/v{found[1]}{_swapped(found[2])}"
    return path if path.startswith(_BLOBS) else None


def renamed_segment(segment: str) -> str:
    """The other name of one word of a path, such as the plural of a resource type."""
    return _SWAPPED.get(segment, segment)


def _swapped(rest: str) -> str:
    return "/".join(renamed_segment(segment) for segment in rest.split("/"))


def renamed_header(name: str) -> str:
    """The other name of a header of the dialect: `X-Orion-Project` is `X-Renamed-Project`."""
    is_ours = name.lower().startswith(_HEADERS)
    return f"X-Renamed-{name[len(_HEADERS) :]}" if is_ours else name


def own_headers(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Headers of a request (names in lower case) with their own names; what has them already is dropped."""
    translated = []
    for name, value in headers:
        if name == b"authorization":
            if value.startswith(b"Bearer "):
                translated.append((name, b"Token:" + value.removeprefix(b"Bearer ")))
        elif name.startswith(_RENAMED_HEADERS.encode()):
            translated.append((name.replace(_RENAMED_HEADERS.encode(), _HEADERS.encode(), 1), value))
        elif not name.startswith(_HEADERS.encode()):
            translated.append((name, value))
    return translated


def renamed_query(path: str, query: str) -> str:
    """The query of a URL with other names; of a signed one only the time it expires has another."""
    return _encoded(
        (renamed_key(name) if name in _SIGNED or not path.startswith(_BLOBS) else name, value)
        for name, value in _decoded(query)
    )


def own_query(path: str, query: str) -> str:
    """The query of a request with its own names; parameters that have none are not known, and dropped."""
    pairs = []
    for name, value in _decoded(query):
        own = own_key(name)
        if path.startswith(_BLOBS) and own not in _SIGNED:
            own = None if name in _SIGNED else name
        if own is not None:
            pairs.append((own, value))
    return _encoded(pairs)


def _decoded(query: str) -> list[tuple[str, str]]:
    # Latin-1 maps each byte to one character and back: whatever a value is encoded in, it stays so.
    return parse_qsl(query, keep_blank_values=True, encoding="latin-1")


def _encoded(pairs: Any) -> str:
    return urlencode(list(pairs), encoding="latin-1")


def renamed_url(url: str) -> str:
    """A URL of this server, with or without a host, under its other name."""
    parts = urlsplit(url)
    query = renamed_query(parts.path, parts.query)
    return parts._replace(path=renamed_path(parts.path), query=query).geturl()


def renamed_json(value: Any) -> Any:
    """What an answer says, with other names."""
    if isinstance(value, list):
        return [renamed_json(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    return {renamed_key(key): _renamed_value(key, entry) for key, entry in value.items()}


def _renamed_value(key: str, value: Any) -> Any:
    if key in _USERS_OWN:
        return value
    if key in _URLS and isinstance(value, str):
        return renamed_url(value)
    return renamed_json(value)


def own_json(value: Any) -> Any:
    """What a request says, with its own names; a key that has none gets one that nothing here has."""
    if isinstance(value, list):
        return [own_json(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    translated = {}
    for name, entry in value.items():
        key = own_key(name)
        translated[f"?{name}" if key is None else key] = entry if key in _USERS_OWN else own_json(entry)
    return translated
