"""Whole items from Orion into a local folder: files, datasets in a format, collections, floe reports.

Each comes under a name of its own beside its place and is renamed once it is complete; shards of a
collection that came before an interruption are not asked for again. Names from Orion are data: they reach
the disk through `names`, which no `/` and no `..` passes. Must not know the terminal.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trio

from orionfs.errors import (
    ExitStatus,
    InvalidCall,
    NameExists,
    NoSpace,
    NoSuchName,
    StartupError,
)
from orionfs.models import NAME_MAX_BYTES, Item, Key, Kind
from orionfs.orion.parts import Part
from orionfs.orion.whole_calls import WholeCalls
from orionfs.tables.names import base_name, visible_names
from orionfs.transfers import report
from orionfs.transfers.desk import Desk
from orionfs.transfers.outcomes import Listener, Outcome, Status, Work, all_or_first_error
from orionfs.transfers.places import Place

_DATASET_SUFFIX = ".oedb"
_PART = ".orionfs-part"
_PAGES = ".orionfs-pages"
_SOURCE = ".orionfs-source"  # in the folder of a collection that is not complete: which one it is
PART_BYTES = 8 * 2**20
_ROOM_LEFT_BYTES = 16 * 2**20


@dataclass(frozen=True, slots=True)
class Get:
    """What is to be fetched: places on Orion with the words that named them, and a local folder.

    `name` is what one item is to be called there, else each is called as a mount shows it. `form` is the
    format of datasets, None: their binary one.
    """

    places: Sequence[tuple[str, Place]]
    folder: Path
    name: str | None = None
    form: str | None = None
    is_replacing: bool = False
    at_once: int = 8


@dataclass(frozen=True, slots=True)
class _Task:
    words: str  # of the place, as it was given
    item: Item
    key: Key
    target: Path

    def beside(self, suffix: str) -> Path:
        """A hidden name beside the target."""
        room = NAME_MAX_BYTES - len(suffix) - 1
        return self.target.with_name(f".{_cut(self.target.name, room)}{suffix}")


async def works_of(desk: Desk, get: Get, listener: Listener) -> list[Work]:
    """What there is to do. What is not on Orion is work that fails. Raises OrionFsError, StartupError."""
    found = [(words, place, await desk.item_at(place)) for words, place in get.places]
    items = {words: item for words, place, item in found if item is not None}
    names = {id(item): name for name, item in visible_names(items.values()).items()}
    getter = _Getter(desk, get, listener)
    works, targets = [], set[Path]()
    for words, place, item in found:
        if item is None:
            works.append(Work(words, str(get.folder), partial(_absent, place)))
            continue
        name = get.name or _named(item, names.get(id(item), base_name(item)), get.form)
        target = get.folder / name
        if target in targets:
            raise StartupError(f"get: two of the items would be {target}", ExitStatus.USAGE)
        targets.add(target)
        works.append(Work(words, str(target), partial(getter.get, words, item, target)))
    return works


async def _absent(place: Place) -> Outcome:
    what = "no item of this id" if isinstance(place, tuple) else "nothing there"
    raise NoSuchName(f"{what} on Orion")


def _named(item: Item, visible: str, form: str | None) -> str:
    if item.kind is not Kind.DATASET or form is None:
        return visible
    return f"{visible.removesuffix(_DATASET_SUFFIX)}.{form.replace('/', '_')}"


class _Getter:
    def __init__(self, desk: Desk, get: Get, listener: Listener) -> None:
        self._remote, self._get, self._listener = desk.remote, get, listener
        self._wholes = WholeCalls(desk.remote.session)

    async def get(self, words: str, item: Item, target: Path) -> Outcome:
        """One item, from its check to its place."""
        if item.kind is Kind.FOLDER:
            raise InvalidCall("a folder: mount Orion and copy it with cp -r")
        if item.key is None:
            raise InvalidCall("Orion tells no id of it, so it can't be fetched")
        task = _Task(words, item, item.key, target)
        there = await trio.to_thread.run_sync(_size_of, target)
        if there is not None and not self._get.is_replacing:
            return _left(task, there)
        if item.kind is Kind.COLLECTION:
            await self._collection(task)
        else:
            await self._file(task)
        return Outcome(
            words, str(target), Status.DONE, task.key, await trio.to_thread.run_sync(_size_of, target)
        )

    async def _file(self, task: _Task) -> None:
        """Contents as one file."""
        part = task.beside(_PART)
        await trio.to_thread.run_sync(_check_room, part.parent, task.item.size)
        try:
            await self._fetch(task.words, task.key, task.item, part)
            await trio.to_thread.run_sync(_replace, part, task.target)
        finally:
            await trio.to_thread.run_sync(partial(part.unlink, missing_ok=True), abandon_on_cancel=False)

    async def _fetch(self, words: str, key: Key, item: Item, path: Path) -> None:
        """Contents to a local file; large ones in parts, where the session can."""
        if key.kind is Kind.DATASET:
            await self._wholes.download(key, path, self._get.form)
        elif item.size is not None and item.size > PART_BYTES and self._remote.can_read_ranges(key):
            await self._fetch_parts(words, key, item.size, path)
        else:
            await self._remote.download(key, path, item.size or 0)

    async def _fetch_parts(self, words: str, key: Key, size: int, path: Path) -> None:
        starts = range(0, size, PART_BYTES)
        done = 0

        async def fetch(start: int, fd: int) -> None:
            nonlocal done
            part = Part(start, min(start + PART_BYTES, size), self._remote.line)
            await self._remote.read_into(key, part, fd)
            done += 1
            self._listener.goes_on(words, done, len(starts))

        with path.open("wb") as file:
            await trio.to_thread.run_sync(os.truncate, file.fileno(), size)
            await all_or_first_error([partial(fetch, start, file.fileno()) for start in starts])

    # Collections

    async def _collection(self, task: _Task) -> None:
        """All shards as files of a folder; what of them is there from an earlier attempt is kept."""
        part = task.beside(_PART)
        await trio.to_thread.run_sync(_begin, part, task.key)
        names = visible_names((await self._remote.shards.list(task.key.id)).items)
        there = set(await trio.to_thread.run_sync(os.listdir, part))
        missing = {name: shard for name, shard in names.items() if name not in there}
        total, done = len(names), len(names) - len(missing)
        slots = trio.Semaphore(self._get.at_once)

        async def fetch(name: str, shard: Item) -> None:
            nonlocal done
            async with slots:
                await self._shard(task.words, part / name, shard)
            done += 1
            self._listener.goes_on(task.words, done, total)

        await all_or_first_error([partial(fetch, name, shard) for name, shard in missing.items()])
        pages = report.index_pages(await self._wholes.metadata(task.key))
        if pages:
            part = await trio.to_thread.run_sync(_build_report, task, part, names, pages)
        await trio.to_thread.run_sync(_finish, part, task.target)

    async def _shard(self, words: str, path: Path, shard: Item) -> None:
        assert shard.key is not None
        fetched = path.with_name(f"{_SOURCE}-{shard.key.id}")
        await trio.to_thread.run_sync(_check_room, path.parent, shard.size)
        try:
            await self._fetch(words, shard.key, shard, fetched)
            await trio.to_thread.run_sync(_replace, fetched, path)
        finally:
            await trio.to_thread.run_sync(partial(fetched.unlink, missing_ok=True))


def _left(task: _Task, size: int) -> Outcome:
    """What is there already stays: well if it is the same, as far as can be told."""
    known = task.item.size if task.item.kind is Kind.FILE else None
    if known is not None and known != size:
        raise NameExists(f"{task.target} is there with {size} bytes, not {known}: --replace fetches it anew")
    words = "there already, with the same size" if known is not None else "there already"
    return Outcome(task.words, str(task.target), Status.SKIPPED, task.key, size, words)


# -- the local disk ------------------------------------------------------------------------------


def _cut(name: str, room_bytes: int) -> str:
    return name.encode("utf-8", "surrogateescape")[:room_bytes].decode("utf-8", "ignore")


def _size_of(path: Path) -> int | None:
    """Bytes of a file, or of all files below a folder; None if nothing is there."""
    if not os.path.lexists(path):
        return None
    if not path.is_dir():
        return path.stat().st_size
    return sum(each.stat().st_size for each in path.rglob("*") if each.is_file())


def _check_room(folder: Path, size: int | None) -> None:
    room = os.statvfs(folder)
    if size is not None and size + _ROOM_LEFT_BYTES > room.f_bavail * room.f_frsize:
        raise NoSpace(f"{folder} has no room for {size} bytes")


def _replace(source: Path, target: Path) -> None:
    """Put a complete file in its place; a power cut leaves it whole or not there."""
    with source.open("rb") as file:
        os.fdatasync(file.fileno())
    os.replace(source, target)


def _begin(part: Path, key: Key) -> None:
    """A folder for a collection that is not complete; one of another collection is thrown away."""
    told = json.dumps([key.kind.value, str(key.id)])
    with suppress(FileNotFoundError, NotADirectoryError):
        if (part / _SOURCE).read_text("utf-8") == told:
            return
    if os.path.lexists(part):
        shutil.rmtree(part)
    part.mkdir()
    (part / _SOURCE).write_text(told, "utf-8")


def _finish(part: Path, target: Path) -> None:
    """Put a complete folder in its place; one that it replaces goes once that is done."""
    (part / _SOURCE).unlink(missing_ok=True)
    old = part.with_name(part.name + "-old")
    if os.path.lexists(target):
        os.replace(target, old)
    os.replace(part, target)
    if old.is_dir():
        shutil.rmtree(old)
    else:
        old.unlink(missing_ok=True)


def _build_report(task: _Task, part: Path, shards: Mapping[str, Item], pages: Sequence[int]) -> Path:
    """The folder of a report, made of its shards: pages whose links lead to each other, and an index."""
    folder = task.beside(_PAGES)
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir()
    called = _names_in_report(part, shards, pages)
    names = {item.id: called[visible] for visible, item in shards.items() if item.id is not None}
    for visible, name in called.items():
        source, target = part / visible, folder / name
        if report.may_link(source, name):
            report.rewrite(source, target, task.key.id, names)
        else:
            os.replace(source, target)
    named = {names[page]: names[page] for page in pages if page in names}
    report.write_index(folder, task.item.name, named)
    shutil.rmtree(part)
    return folder


def _names_in_report(part: Path, shards: Mapping[str, Item], pages: Sequence[int]) -> dict[str, str]:
    """Visible name -> name in the report: a browser takes a page for one by its suffix alone."""
    called: dict[str, str] = {}
    for visible, item in shards.items():
        is_page = item.id in pages or report.is_page(part / visible)
        name = report.page_name(visible, is_page=is_page)
        called[visible] = visible if name in shards else name
    return called
