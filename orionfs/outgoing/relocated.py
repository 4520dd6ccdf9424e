"""What Orion tells of folders and names while trees are on their way: as users here are to see it.

Asks both places of a folder whose items may be at either, and corrects answers by what this mount has just
moved. With nothing on its way it asks what `remote` would. Used by `beliefs`; must not know inodes.
"""

from __future__ import annotations

from dataclasses import replace

import trio

from orionfs.errors import NoSuchName
from orionfs.models import Item, Kind
from orionfs.orion.listings import FolderAnswer
from orionfs.orion.remote import Remote
from orionfs.outgoing.relocation import Relocations, merged

NOTHING = FolderAnswer((), is_complete=True, pages=1)


class RelocatedAnswers:
    """Orion's answers with the relocations of one mount laid over them."""

    def __init__(self, remote: Remote, moves: Relocations) -> None:
        self._remote = remote
        self._moves = moves

    async def list_folder(self, path: str) -> FolderAnswer:
        """A folder as it is shown here. Raises NoSuchName."""
        asked_at_s = trio.current_time()
        at_both = self._moves.at_both(path)
        # The old place first: what moves between the two answers is then in both.
        places = [at_both[1], path] if at_both is not None else [path]
        answers = [answer for answer in [await self._rows(each) for each in places] if answer is not None]
        if not answers and not self._moves.is_expected(path, asked_at_s):
            raise NoSuchName(path)
        found = merged(answers) if len(answers) != 1 else answers[0]
        return self._moves.shown(path, found)

    async def stat(self, path: str) -> Item | None:
        """What is shown here at a path, or None."""
        folder, _, name = path.rpartition("/")
        at_both = self._moves.at_both(folder)
        places = [at_both[1], folder] if at_both is not None else [folder]
        found = merged([await self._single(each, name) for each in places])
        shown = self._moves.shown(folder, found).items
        if found.items and not shown:  # the old place of a tree, and perhaps an item beside it
            shown = (await self.list_folder(folder)).items
        named = [item for item in shown if item.name == name]
        return max(named, key=lambda item: (item.kind is Kind.FOLDER, item.created_ns), default=None)

    async def _rows(self, path: str) -> FolderAnswer | None:
        asked_at_s = trio.current_time()
        try:
            answer = await self._remote.list_folder(path)
        except NoSuchName:
            unheard = self._moves.corrected(path, NOTHING, asked_at_s)
            return unheard if unheard.items else None
        return self._moves.corrected(path, answer, asked_at_s)

    async def _single(self, folder: str, name: str) -> FolderAnswer:
        asked_at_s = trio.current_time()
        item = await self._remote.stat(f"{folder}/{name}")
        answer = replace(NOTHING, items=(item,)) if item is not None else NOTHING
        return self._moves.corrected(folder, answer, asked_at_s)
