"""Opens that come too late: between the kernel's lookup and its open this mount has replaced what it found.

On a local disk such an open gets the old file or the new one. Here the old version may be gone from Orion and
from this machine, and the kernel looks up once more only, so whoever replaces a file often enough could make
an open fail. Therefore a number that has lost its name to another file stands, from this open on, for the
version which the name means now: nobody has the number open, and the kernel drops the pages it held of it, so
that still nobody ever reads two versions under one number. Part of `files`. Must not know FUSE.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace

import trio

from orionfs.cache.fetch import Fetcher
from orionfs.models import InodeNumber
from orionfs.outgoing.sync import Sync
from orionfs.tables.inodes import Inode, Standing
from orionfs.tree.namespace import Namespace
from orionfs.vfs.opening import Opening
from orionfs.vfs.staging import OpenFile
from orionfs.vfs.under_way import UnderWay


class LateOpens:
    """What is opened of files that have lost their names meanwhile."""

    def __init__(
        self, namespace: Namespace, sync: Sync, fetcher: Fetcher, opening: Opening, under_way: UnderWay
    ) -> None:
        self._namespace = namespace
        self._sync = sync
        self._fetcher = fetcher
        self._opening = opening
        self._under_way = under_way
        self._going: dict[InodeNumber, list[trio.Event]] = {}  # names that are being taken away

    @contextmanager
    def taking_names(self, numbers: Collection[InodeNumber]) -> Iterator[None]:
        """While names are taken away their items may be gone already: an open waits for how that ends."""
        ended = trio.Event()
        for number in numbers:
            self._going.setdefault(number, []).append(ended)
        try:
            yield
        finally:
            for number in numbers:
                self._going[number].remove(ended)
                if not self._going[number]:
                    del self._going[number]
            ended.set()

    async def until_settled(self, inode: Inode) -> None:
        """Wait while this mount takes the name of an inode away."""
        while going := self._going.get(inode.number):
            await going[0].wait()

    @staticmethod
    def is_lost(file: OpenFile) -> bool:
        """True for what was written here and is not wanted any more: Orion has an older version at most."""
        inode = file.inode
        is_removed = inode.standing is Standing.REMOVED
        return is_removed and file.staged is None and inode.written_size is not None

    async def succeed(self, file: OpenFile) -> bool:
        """Have a file stand for what its name means now; False if it is the kernel that must look again.

        Its own version is gone, and nobody could read any of it.
        """
        inode, before = file.inode, file.inode.item
        await self.until_settled(inode)
        if inode.standing is not Standing.REMOVED or inode.parent is None:
            return False
        async with file.succeeding:
            successor, _ = await self._namespace.lookup(inode.parent, inode.name)
            if inode.item is not before:  # another open was faster
                return True
            is_free = inode.standing is Standing.REMOVED and not (file.is_begun or inode.pins)
            if successor is None or not is_free or not self._stand_for(file, successor):
                return False
            file.keeps_pages = False
            await self._opening.tell_attributes(inode.number)
            return True

    def _stand_for(self, file: OpenFile, successor: Inode) -> bool:
        """Take over the newest version of a file of which anybody was promised anything."""
        upload = self._under_way.of(successor)
        item = successor.item
        if item.is_folder or (upload is None and item.key is None):
            return False
        if file.staged is not None:
            return False
        if upload is not None:
            file.staged = self._sync.staged.open(upload.row.staged, upload.row.size_bytes)
            item = replace(item, size=upload.row.size_bytes)
        if file.source is not None:
            self._fetcher.close(file.source)
            file.source = None
        file.inode.item, file.inode.local = item, successor.local
        file.inode.written_size = None
        return True
