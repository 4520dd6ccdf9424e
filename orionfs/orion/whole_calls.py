"""Whole items of every kind through the session, for `put` and `get`: made, described, fetched in a form.

What the mount itself never does: a dataset out of a file of molecules, a new collection, a dataset in a
format of somebody's choice. Part of `remote`, which makes the calls; must not know inodes or local names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

from orionfs.errors import RemoteFailure
from orionfs.models import Item, Key, Kind
from orionfs.orion.shapes import read_item
from orionfs.orion.shard_calls import Session

# A dataset is converted before it is sent, and tells no size: both may take long without a byte.
_CONVERTING_S = 3600.0
_SLOWEST_BYTES_PER_S = 64 * 1024  # a guess: slower lines than this can't be told from a hang


class WholeCalls:
    """Whole items of one account on one stack."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def upload_dataset(self, name: str, path: Path, size: int) -> Item:
        """Upload a file of molecules or records as a new dataset; one attempt, its outcome may be unclear.

        Which files can be converted, the ending of the file's name tells to Orion. Raises InvalidCall.
        """
        limit_s = _CONVERTING_S + size / _SLOWEST_BYTES_PER_S
        told = await self._session.once_contents(inf, "upload_dataset", name, str(path), limit_s)
        return _made(told, Kind.DATASET, name)

    async def create_collection(self, name: str, metadata: Mapping[str, Any] | None) -> Item:
        """Make an open collection without shards; one attempt."""
        deadline_s = self._session.limits.change_deadline_s
        told = await self._session.once(
            deadline_s, "create_collection", name, None if metadata is None else dict(metadata)
        )
        return _made(told, Kind.COLLECTION, name)

    async def metadata(self, key: Key) -> Any:
        """What a collection's metadata are, None where it tells none. Raises NoSuchName."""
        deadline_s = self._session.limits.read_deadline_s
        told = await self._session.retrying(deadline_s, "get", key.kind.value, key.reference)
        return told.get("metadata") if isinstance(told, Mapping) else None

    async def download(self, key: Key, path: Path, form: str | None = None) -> None:
        """Fetch a dataset to a local file that does not exist yet, in a format or in its binary form."""
        limit_s = _CONVERTING_S
        if form is None:
            args = (key.kind.value, key.reference, str(path), limit_s)
            await self._session.retrying_contents(limit_s, "download", *args)
        else:
            await self._session.retrying_contents(limit_s, "download_as", key.id, str(path), form, limit_s)


def _made(told: Any, kind: Kind, name: str) -> Item:
    """A new item, from what its object shows."""
    item = read_item(told)
    if item.id is None:
        raise RemoteFailure(f"{name}: the answer tells no id")
    return replace(item, kind=kind, literal="", name=name)
