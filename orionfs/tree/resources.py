"""What Orion tells of single items beyond the rows of listings: asked for when somebody wants it, and kept.

An answer holds as long as one of a listing does; a link holds for ever. Of each item what was read is kept,
never the answer, and of all of them a bounded number. Used by `item_attributes`; must not know inodes.
"""

from __future__ import annotations

import json
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import trio

from orionfs.errors import InvalidCall
from orionfs.models import Item, Key, Kind
from orionfs.orion.particulars import read_metadata
from orionfs.orion.remote import Remote
from orionfs.orion.shapes import read_path

log = logging.getLogger(__name__)

_KEPT_MAX = 1_000

K = TypeVar("K")
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Told:
    """One item as Orion tells it; None where it does not say. `metadata` is JSON."""

    item: Item | None
    path: str | None
    metadata: str | None
    asked_at_s: float


class Resources:
    """What is known of single items of one account."""

    def __init__(self, remote: Remote, ttl_s: float, clock: Callable[[], float] = trio.current_time) -> None:
        """`ttl_s`: for how many seconds an answer holds."""
        self._remote = remote
        self._ttl_s = ttl_s
        self._clock = clock
        self._told: OrderedDict[Key | str, Told] = OrderedDict()
        self._links: OrderedDict[Key, str] = OrderedDict()

    async def of(self, key: Key) -> Told:
        """All that is told of a File, dataset, collection or shard. Raises NoSuchName."""
        told = self._known(key)
        if told is None:
            asked_at_s = self._clock()
            told = await self._ask(key, asked_at_s)
            _keep(self._told, key, told)
        return told

    async def path(self, key: Key) -> str | None:
        """Where a File, a dataset or a collection is, by what it says itself or else by the call for that."""
        told = await self.of(key)
        if told.path is None and key.kind is not Kind.SHARD:
            try:
                found = (await self._remote.paths_of([key])).get(key)
            except InvalidCall as refused:
                log.debug("no path of %s %s: %s", key.kind.value, key.id, refused)
                return None
            told = replace(told, path=found)
            _keep(self._told, key, told)
        return told.path

    async def of_folder(self, path: str) -> Told:
        """All that is told of what is at a path: folders have no documented type of their own."""
        told = self._known(path)
        if told is None:
            asked_at_s = self._clock()
            told = Told(await self._remote.stat(path), path, None, asked_at_s)
            _keep(self._told, path, told)
        return told

    async def link(self, key: Key, spell: Callable[[object], str]) -> str | None:
        """A link to an item, in the words of `spell`; None where this session makes none."""
        text = self._links.get(key)
        if text is None:
            try:
                text = spell(await self._remote.sharing.link(key))
            except InvalidCall as refused:
                log.debug("no link to %s %s: %s", key.kind.value, key.id, refused)
                return None
            _keep(self._links, key, text)
        return text

    def forget(self, key: Key) -> None:
        """This mount has changed an item."""
        self._told.pop(key, None)

    def forget_all(self) -> None:
        """Somebody wants to know how things are now."""
        self._told.clear()

    def _known(self, subject: Key | str) -> Told | None:
        told = self._told.get(subject)
        return told if told is not None and told.asked_at_s + self._ttl_s > self._clock() else None

    async def _ask(self, key: Key, asked_at_s: float) -> Told:
        try:
            attributes = await self._remote.attributes(key)
        except InvalidCall as refused:
            log.debug("nothing is told of %s %s: %s", key.kind.value, key.id, refused)
            return Told(None, None, None, asked_at_s)
        metadata = read_metadata(attributes)
        text = None if metadata is None else json.dumps(metadata, ensure_ascii=False)
        path = read_path(attributes) if key.kind is not Kind.SHARD else None
        return Told(self._remote.read_attributes(key, attributes), path, text, asked_at_s)


def _keep(kept: OrderedDict[K, V], subject: K, value: V) -> None:
    kept[subject] = value
    kept.move_to_end(subject)
    while len(kept) > _KEPT_MAX:
        kept.popitem(last=False)
