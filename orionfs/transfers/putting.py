"""Whole items to Orion, each as a file, as a dataset or as a collection.

An item is made under a mark that nobody is shown, and gets its folder and its name in one call once it is
complete: nothing half-done is ever seen under the name. The mark comes from what is to be made, so that
the next attempt finds what an interrupted one left: a collection is gone on with, anything else is removed
and made anew. Must not know the terminal.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import trio

from orionfs.durable.journal import Removal, Rename
from orionfs.errors import (
    AccessDenied,
    ExitStatus,
    InvalidCall,
    NameExists,
    OrionFsError,
    RemoteFailure,
    StartupError,
)
from orionfs.marks import new_mark
from orionfs.models import MARK_PREFIX, Assignment, Item, Key, Kind
from orionfs.orion.shard_calls import SHARD_MAX_BYTES
from orionfs.orion.whole_calls import WholeCalls
from orionfs.transfers.desk import Desk
from orionfs.transfers.outcomes import Listener, Outcome, Status, Work, all_or_first_error
from orionfs.transfers.places import Place
from orionfs.transfers.swaps import finish_swaps

_DATASET_SUFFIX = ".oedb"
_OPEN, _CLOSED = "open", "close"
_CLEAN_UP_S = 10.0


@dataclass(frozen=True, slots=True)
class Put:
    """What is to be put: local paths, as which kind, into which folder on Orion."""

    sources: Sequence[Path]
    kind: Kind
    place: Place
    name: str | None = None  # for one source; else each is called as it is here
    is_replacing: bool = False
    at_once: int = 8
    metadata: Mapping[str, Any] | None = None  # of a collection


@dataclass(frozen=True, slots=True)
class _Task:
    source: Path
    folder: str
    name: str
    there: Sequence[Item]  # what has the name already

    @property
    def target(self) -> str:
        return f"{self.folder}/{self.name}"


async def works_of(desk: Desk, put: Put, listener: Listener) -> list[Work]:
    """What there is to do. Raises StartupError for what can't be meant, OrionFsError."""
    if isinstance(put.place, tuple):
        raise StartupError("put: the place to put to is a folder, not a reference", ExitStatus.USAGE)
    folder = put.place.of(desk.account)
    names = {source: put.name or name_for(source, put.kind) for source in put.sources}
    if len(set(names.values())) < len(put.sources):
        raise StartupError("put: two of the sources have one name", ExitStatus.USAGE)
    await finish_swaps(desk)
    await desk.make_folder(folder)
    there = await desk.named(folder, names.values())
    putter = _Putter(desk, put, listener)
    tasks = [_Task(source, folder, name, there[name]) for source, name in names.items()]
    return [Work(str(task.source), task.target, partial(putter.put, task)) for task in tasks]


def name_for(source: Path, kind: Kind) -> str:
    """What an item is called that is made of a local file or folder."""
    name = source.resolve().name if source.name in ("", "..") else source.name
    is_ours = kind is Kind.DATASET and len(name) > len(_DATASET_SUFFIX)  # a mount shows datasets so
    return name.removesuffix(_DATASET_SUFFIX) if is_ours else name


def mark_for(kind: Kind, target: str) -> str:
    """The name that an item of this kind carries until it is at its place."""
    return f"{MARK_PREFIX}put-{hashlib.sha256(f'{kind.value} {target}'.encode()).hexdigest()[:32]}"


class _Putter:
    def __init__(self, desk: Desk, put: Put, listener: Listener) -> None:
        self._desk, self._put, self._listener = desk, put, listener
        self._remote = desk.remote
        self._wholes = WholeCalls(desk.remote.session)

    async def put(self, task: _Task) -> Outcome:
        """One item, from its check to its place."""
        status = await trio.to_thread.run_sync(os.stat, task.source)
        self._check_source(status)
        same = [item for item in task.there if item.kind is self._put.kind]
        if task.there and not self._put.is_replacing:
            return self._left(task, same, status)
        made = await self._made(task, status.st_size)
        over = max(same, key=lambda item: item.created_ns, default=None)  # a mount shows that one
        words = await self._place(task, made, over)
        return Outcome(str(task.source), task.target, Status.DONE, made.key, made.size, words)

    def _check_source(self, status: os.stat_result) -> None:
        is_folder = stat.S_ISDIR(status.st_mode)
        if self._put.kind is Kind.COLLECTION and not is_folder:
            raise InvalidCall("no folder: a collection is made of the files in one")
        if self._put.kind is not Kind.COLLECTION and not stat.S_ISREG(status.st_mode):
            raise InvalidCall("no regular file")

    def _left(self, task: _Task, same: Sequence[Item], status: os.stat_result) -> Outcome:
        """What has the name already stays: well if it is the same, as far as can be told."""
        if not same:
            other = task.there[0].kind.value
            raise NameExists(f"{task.target} is a {other} on Orion")
        there = same[0]
        if there.kind is Kind.FILE and there.size != status.st_size:
            raise NameExists(
                f"{task.target} is there with {there.size} bytes, not {status.st_size}: --replace helps"
            )
        words = "there already, with the same size" if there.kind is Kind.FILE else "there already"
        return Outcome(str(task.source), task.target, Status.SKIPPED, there.key, there.size, words)

    # Making

    async def _made(self, task: _Task, size: int) -> Item:
        """The whole item under its mark."""
        mark = mark_for(self._put.kind, task.target)
        left = await self._remote.stat(f"{self._desk.account.home}/{mark}")
        if self._put.kind is Kind.COLLECTION:
            return await self._collection(task, mark, left)
        if left is not None and left.key is not None:
            await self._remote.delete(left.key)
        try:
            if self._put.kind is Kind.FILE:
                return await self._remote.upload(mark, task.source, size)
            return await self._wholes.upload_dataset(mark, task.source, size)
        except BaseException:
            await self._clean_up(mark)
            raise

    async def _clean_up(self, mark: str) -> None:
        """Take away what an attempt that failed has left; what can't be is found by the next one."""
        with trio.move_on_after(_CLEAN_UP_S, shield=True), suppress(OrionFsError):
            left = await self._remote.stat(f"{self._desk.account.home}/{mark}")
            if left is not None and left.key is not None:
                await self._remote.delete(left.key)

    async def _collection(self, task: _Task, mark: str, left: Item | None) -> Item:
        """A collection whose shards are the files of a folder; it stays as it is if that fails."""
        files = await trio.to_thread.run_sync(_files_in, task.source)
        made = left if left is not None else await self._wholes.create_collection(mark, self._put.metadata)
        if made.key is None:
            raise RemoteFailure(f"{task.target}: Orion tells no id of the collection")
        collection = made.key.id
        if left is not None:
            await self._remote.shards.set_state(collection, _OPEN)
        missing = await self._missing(collection, files) if left is not None else files
        total, done = len(files), len(files) - len(missing)
        slots = trio.Semaphore(self._put.at_once)

        async def fill(name: str) -> None:
            nonlocal done
            async with slots:
                await self._shard(collection, name, files[name])
            done += 1
            self._listener.goes_on(str(task.source), done, total)

        await all_or_first_error([partial(fill, name) for name in missing])
        await self._remote.shards.set_state(collection, _CLOSED)
        return made

    async def _missing(self, collection: int, files: Mapping[str, Path]) -> dict[str, Path]:
        """The files that an interrupted attempt has not brought there; what is half there is removed."""
        whole: set[str] = set()
        for shard in (await self._remote.shards.list(collection)).items:
            path = files.get(shard.name)
            size = None if path is None else path.stat().st_size
            if shard.state == "ready" and shard.size in (None, size) and shard.name not in whole:
                whole.add(shard.name)
            elif shard.key is not None:
                await self._remote.delete(shard.key)
        return {name: path for name, path in files.items() if name not in whole}

    async def _shard(self, collection: int, name: str, path: Path) -> None:
        size = (await trio.to_thread.run_sync(os.stat, path)).st_size
        if size > SHARD_MAX_BYTES:
            raise InvalidCall(f"{path}: a shard holds {SHARD_MAX_BYTES} bytes at most")
        mark = mark_for(Kind.SHARD, name)
        key = await self._remote.shards.create(collection, name, mark)
        await self._remote.shards.fill(key, path, size)

    # Placing

    async def _place(self, task: _Task, made: Item, over: Item | None) -> str:
        """Give the item its folder and name; what had the name gives way in the same call, and goes.

        What there is to say of it.
        """
        key = made.key
        assert key is not None
        if not made.literal:
            there = await self._remote.stat(f"{self._desk.account.home}/{made.name}")
            made = replace(made, literal=there.literal if there is not None and there.key == key else "")
        place = Assignment(made, task.folder, task.name)
        if over is None or over.key is None:
            await self._desk.assigner.place(place)
            return ""
        old, journal = Removal(over.key, task.target), self._desk.journal
        rename = Rename(key, f"{self._desk.account.home}/{made.name}", task.target, old.key)
        await self._take_tags(old.key, key)
        await journal.run(lambda to: to.renames.put(rename))
        await self._desk.assigner.place(place, over, is_aside=True)
        # From now on it is to go whatever has the name by then.
        await journal.run(lambda to: to.renames.happened(rename, old))
        words = await self._remove_replaced(old, place, over)
        if not words:
            await journal.run(lambda to: to.drop_removal(old.key))
        return words

    async def _remove_replaced(self, old: Removal, place: Assignment, over: Item) -> str:
        """Remove what had the name. Where that is refused the name is given back; raises AccessDenied."""
        try:
            await self._remote.delete(old.key)
        except AccessDenied:
            await self._withdraw(place, over)
            await self._desk.journal.run(lambda to: to.drop_removal(old.key))
            raise
        except OrionFsError as error:
            return f"put; what it replaced is removed by the next mount ({error})"
        return ""

    async def _withdraw(self, place: Assignment, over: Item) -> None:
        """What had the name may not be removed: it gets it back."""
        away = Assignment(place.item, place.folder, new_mark())
        await self._desk.assigner.assign(away, Assignment(over, place.folder, place.name))
        assert place.item.key is not None
        await self._remote.delete(place.item.key)

    async def _take_tags(self, old: Key, new: Key) -> None:
        tags = await self._remote.tags(old)
        if tags:
            await self._remote.tag(new, tags)


def _files_in(folder: Path) -> dict[str, Path]:
    """Shard name -> file, for all that is in a folder, in their order. Raises InvalidCall."""
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if not path.is_file():
            raise InvalidCall(f"{path} is no regular file: a collection holds nothing else")
        files[path.name] = path
    return files
