"""Makes and removes folders on Orion: what a 409 means, and whether a path means one thing only.

Whether `create_paths` refuses what is there, and whether `remove_paths` takes all that share a path, is
not public; what is not known is not relied on. Used by `namespace`, which alone commits what came of
it; must not change an inode.
"""

from __future__ import annotations

from dataclasses import replace

import trio

from orionfs.errors import (
    Busy,
    Conflict,
    CrossDevice,
    DirectoryNotEmpty,
    InvalidCall,
    NameExists,
    NoSuchName,
    NotPermitted,
    OrionFsError,
)
from orionfs.marks import new_old_mark
from orionfs.models import Assignment, Item, Kind
from orionfs.orion.remote import Remote
from orionfs.outgoing.assigning import BUSY_PAUSES_S, Assigner
from orionfs.outgoing.relocating import UntilFree, at_once
from orionfs.tables.inodes import Inode
from orionfs.tables.names import base_name
from orionfs.tree.beliefs import Beliefs


class Folders:
    """The folders of one account, as far as they are on Orion."""

    def __init__(self, remote: Remote, beliefs: Beliefs, assigner: Assigner) -> None:
        self._remote = remote
        self._beliefs = beliefs
        self._assigner = assigner
        self.until_free: UntilFree = at_once
        """Waits for a folder that is on its way, and for its tags."""

    @property
    def is_new_when_made(self) -> bool:
        """True if a folder that was made can't have been there before: this stack would have refused."""
        return self._remote.facts.create_existing == "refused"

    async def create(self, parent: Inode, name: str, path: str) -> None:
        """create_paths; a 409 is something there (NameExists), our own first attempt, or "busy"."""
        may_be_ours = False
        for pause_s in (*BUSY_PAUSES_S, None):
            try:
                await self._remote.create_folder(path)
                return
            except Conflict as conflict:
                may_be_ours = may_be_ours or conflict.is_repeated
                there = await self._remote.stat(path)
                if there is not None and may_be_ours and await self._is_empty_folder(there, path):
                    return
                if there is not None and not self._beliefs.is_just_removed(parent, name):
                    if base_name(there) == name:
                        self._beliefs.learn(parent, name, there)
                    raise NameExists(path) from conflict
                if pause_s is None:
                    raise Busy(f"{path}: Orion is busy with it") from conflict
            await trio.sleep(pause_s)

    async def create_new(self, parent: Inode, name: str, path: str) -> None:
        """create_paths for what a rename makes: never what is there already. Raises NotPermitted as well."""
        if not self.is_new_when_made and await self._remote.stat(path) is not None:
            raise NameExists(path)
        try:
            await self.create(parent, name, path)
        except InvalidCall as refused:
            raise NotPermitted(f"{path}: {refused}") from refused

    async def remove(self, folder: Inode) -> None:
        """remove_paths of a folder that was just seen empty. Raises DirectoryNotEmpty, NotPermitted.

        A collection goes by its id, whatever is in it.
        """
        if folder.item.kind is Kind.COLLECTION:
            assert folder.item.key is not None
            await self._remote.delete(folder.item.key)
            return
        path = folder.orion_path()
        aside = await self._place_aside(folder)
        if aside is None:
            await self._remove(folder, path)
            return
        try:
            await self._assigner.place(aside)
        except InvalidCall as refused:
            raise _may_take_along(folder) from refused
        try:
            await self._remove(folder, aside.path)
        except OrionFsError:
            await self._assigner.place(replace(aside, name=folder.item.name))
            raise

    async def with_id(self, folder: Inode) -> Item:
        """The folder with the id that `assign_paths` wants. Raises CrossDevice where there is none."""
        if folder.item.id is not None:
            return folder.item
        if self._remote.facts.folder_ids != "no":
            await self.until_free(folder.orion_path())
            told = await self._stat_patiently(folder)
            if told.kind is Kind.FOLDER and told.id is not None:
                return told
        raise CrossDevice(f"{folder.local_path()}: this stack gives folders no id")

    async def _remove(self, folder: Inode, path: str) -> None:
        for pause_s in (*BUSY_PAUSES_S, None):
            try:
                await self._remote.remove_folder(path)
                return
            except Conflict as conflict:
                self._beliefs.doubt(folder)
                if await self._is_filled(folder, path):
                    raise DirectoryNotEmpty(folder.local_path()) from conflict
                if pause_s is None:
                    raise Busy(f"{path}: Orion is busy with it") from conflict
            await trio.sleep(pause_s)

    async def _is_filled(self, folder: Inode, path: str) -> bool:
        """True if there is more than a lagging replica may still show."""
        if path == folder.orion_path():
            return bool(await self._beliefs.list_now(folder))
        return bool((await self._remote.list_folder(path)).items)

    async def _place_aside(self, folder: Inode) -> Assignment | None:
        """Where a folder is to go before its path is removed, if an item beside it may go along."""
        if self._remote.facts.remove_equal == "newest" or folder.parent is None:
            return None
        above = folder.parent.orion_path()
        rows = await self._remote.list_named(above, folder.item.name)
        if all(row.kind is Kind.FOLDER for row in rows):
            return None
        itself = next((row for row in rows if row.kind is Kind.FOLDER and row.id is not None), None)
        if itself is None or self._remote.facts.folders_assignable == "no":
            raise _may_take_along(folder)
        return Assignment(itself, above, new_old_mark())

    async def _is_empty_folder(self, there: Item, path: str) -> bool:
        """True for a folder that our own first attempt may have made, its answer lost."""
        return there.kind is Kind.FOLDER and not await self._remote.count(path)

    async def _stat_patiently(self, folder: Inode) -> Item:
        """What Orion says of a folder; one that was made here just now is asked for again."""
        for pause_s in (*BUSY_PAUSES_S, None):
            told = await self._remote.stat(folder.orion_path())
            if told is not None:
                return told
            if pause_s is None or not self._beliefs.is_just_made(folder):
                break
            await trio.sleep(pause_s)
        raise NoSuchName(folder.local_path())


def _may_take_along(folder: Inode) -> NotPermitted:
    return NotPermitted(
        f"{folder.local_path()}: this stack may remove an item of the same name along with it;"
        " rename that one first"
    )
