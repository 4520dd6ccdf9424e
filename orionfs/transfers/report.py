"""A floe report out of its shards: pages whose links lead to the files beside them.

A report is a collection whose metadata names index pages by the ids of shards. Its pages call other
shards by the address that a browser finds on the stack; here each becomes the name of the local file.
Pages may be large, so they are read as a map and written piece by piece. Knows no session.
"""

from __future__ import annotations

import html
import mmap
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

INDEX = "index.html"
_PAGE_SUFFIXES = (".html", ".htm", ".xhtml")
# What may call other shards by their address.
_LINKING_SUFFIXES = (*_PAGE_SUFFIXES, ".css", ".js", ".json", ".svg", ".xml")
_HEAD_BYTES = 512
_CHUNK_BYTES = 1 << 20
_LOOKS_LIKE_PAGE = re.compile(
    rb"\A(?:\xef\xbb\xbf)?\s*(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html)\b", re.I | re.S
)
# The one address of a shard that public code shows, with or without a host; some pages escape its slashes.
_SLASH = rb"\\?/"
_LINK = re.compile(
    rb"(?:https?:"
    + _SLASH
    + _SLASH
    + rb"[\w.:-]+)?"
    + _SLASH
    + _SLASH.join(
        [rb"api", rb"v\d+", rb"storage", rb"collections", rb"(\d+)", rb"shards", rb"(\d+)", rb"download"]
    )
    + rb"(?:"
    + _SLASH
    + rb")?"
)
_MENU = """<!DOCTYPE html>
<html><head><meta charset="utf-8"><title>{title}</title></head>
<body><h1>{title}</h1>
<ul>
{rows}
</ul></body></html>
"""
_FORWARD = """<!DOCTYPE html>
<html><head><meta charset="utf-8"><title>{title}</title>
<meta http-equiv="refresh" content="0; url={address}"></head>
<body><a href="{address}">{title}</a></body></html>
"""


def index_pages(metadata: Any) -> tuple[int, ...]:
    """Ids of the shards that a collection's metadata name as index pages; none: it is no report."""
    told = metadata.get("index_pages") if isinstance(metadata, Mapping) else None
    if not isinstance(told, list):
        return ()
    ids = (_page_id(page) for page in told)
    return tuple(dict.fromkeys(id for id in ids if id is not None))


def _page_id(page: Any) -> int | None:
    """From `{"id": 5}`, with digits for ids that are too long for JavaScript, or from the bare id."""
    told = (page.get("id"), page.get("id_str")) if isinstance(page, Mapping) else (page,)
    for value in told:
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        if isinstance(value, str) and value.isdecimal():
            return int(value)
    return None


def page_name(name: str, *, is_page: bool) -> str:
    """A name under which a browser takes a file for what it is."""
    return f"{name}.html" if is_page and not name.lower().endswith(_PAGE_SUFFIXES) else name


def is_page(path: Path) -> bool:
    """Whether a file is a page, by its first bytes."""
    with path.open("rb") as file:
        return _LOOKS_LIKE_PAGE.match(file.read(_HEAD_BYTES)) is not None


def may_link(path: Path, name: str) -> bool:
    """Whether a file, which is to be called `name`, may hold links to other shards."""
    return name.lower().endswith(_LINKING_SUFFIXES) or is_page(path)


def rewrite(source: Path, target: Path, collection: int, names: Mapping[int, str]) -> int:
    """Write `source` to `target` with the addresses of this collection's shards made local; how many."""
    if not source.stat().st_size:
        target.write_bytes(b"")
        return 0
    with (
        source.open("rb") as file,
        target.open("wb") as written,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as page,
    ):
        return _write_page(page, written, collection, names)


def _write_page(page: mmap.mmap, written: BinaryIO, collection: int, names: Mapping[int, str]) -> int:
    count, end = 0, 0
    for start, stop, local in _links(page, collection, names):
        _copy(page, end, start, written)
        written.write(local)
        count, end = count + 1, stop
    _copy(page, end, len(page), written)
    return count


def _copy(page: mmap.mmap, start: int, stop: int, written: BinaryIO) -> None:
    for at in range(start, stop, _CHUNK_BYTES):
        written.write(page[at : min(at + _CHUNK_BYTES, stop)])


def _links(page: mmap.mmap, collection: int, names: Mapping[int, str]) -> Iterator[tuple[int, int, bytes]]:
    for match in _LINK.finditer(page):
        name = names.get(int(match[2])) if int(match[1]) == collection else None
        if name is not None:
            yield match.start(), match.end(), quote(name).encode()


def write_index(folder: Path, title: str, pages: Mapping[str, str]) -> None:
    """Write index.html, which leads to the pages (file name -> what it is called), unless one is that."""
    if INDEX in pages or os.path.lexists(folder / INDEX):
        return
    shown = html.escape(title)
    rows = "\n".join(
        f'<li><a href="{quote(name)}">{html.escape(words)}</a></li>' for name, words in pages.items()
    )
    if len(pages) == 1:
        text = _FORWARD.format(title=shown, address=quote(next(iter(pages))))
    else:
        text = _MENU.format(title=shown, rows=rows)
    (folder / INDEX).write_text(text, "utf-8")
