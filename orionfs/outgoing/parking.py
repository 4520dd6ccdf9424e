"""Items that are on Orion under their old name while users here see them under one that stays here.

A file was renamed to litter: a backup, as many editors make one before they write. On Orion it stays
where it is, so that what is written next to its old name replaces it, tags and all. This knows every
such item, its home and the place where it is shown, hides it at its home, and keeps it in the journal.
Decides nothing; `files` and `litter` do.
"""

from __future__ import annotations

from dataclasses import dataclass

from orionfs.durable.journal import UploadStep
from orionfs.durable.journal_thread import JournalThread
from orionfs.durable.parked_rows import ParkedRow
from orionfs.localnames import LocalNames
from orionfs.models import InodeNumber, Item, Key
from orionfs.tables.inodes import Inode, InodeTable


@dataclass(frozen=True, slots=True)
class Parked:
    """One item; its `item` has the name that it has on Orion, and its tags."""

    item: Item
    home: Inode
    shown_in: Inode
    shown_name: str
    since_s: float

    @property
    def key(self) -> Key:
        assert self.item.key is not None
        return self.item.key

    @property
    def path(self) -> str:
        """Where it is on Orion."""
        return self.row().path

    def row(self) -> ParkedRow:
        """What the journal keeps of it."""
        return ParkedRow(self.item, self.home.orion_path(), self.shown_in.orion_path(), self.shown_name)


class Parking:
    """All parked items of a mount."""

    def __init__(
        self, inodes: InodeTable, journal: JournalThread, unseen: set[Key], names: LocalNames
    ) -> None:
        """`unseen` gets the parked items: no listing shows them where they are."""
        self.names = names
        self._inodes = inodes
        self._journal = journal
        self._unseen = unseen
        self._parked: dict[Key, Parked] = {}
        self._by_home: dict[tuple[InodeNumber, str], Key] = {}  # folder, true name
        self._by_place: dict[tuple[InodeNumber, str], Key] = {}  # folder, visible name

    def __bool__(self) -> bool:
        return bool(self._parked)

    def get(self, key: Key | None) -> Parked | None:
        """What is known of an item, if it is parked."""
        return self._parked.get(key) if key is not None else None

    def at(self, folder: Inode | None, true_name: str) -> Parked | None:
        """What is hidden under a name that is free here."""
        key = self._by_home.get((folder.number, true_name)) if folder is not None else None
        return self.get(key)

    def shown_as(self, inode: Inode) -> Parked | None:
        """What is parked for the name of an inode, whatever its contents are by now."""
        key = self._by_place.get((inode.parent.number, inode.name)) if inode.parent is not None else None
        return self.get(key)

    def stays_here(self, inode: Inode) -> bool:
        """True for what is never to be on Orion under its name; what is there already goes on being there."""
        is_elsewhere = inode.item.key is None or inode.item.key in self._parked
        return is_elsewhere and self.names.is_litter(inode.name)

    def fate(self, inode: Inode, replaces: Key | None) -> tuple[UploadStep, Key | None]:
        """How a new version begins, and what it replaces on Orion where nothing else is known of that."""
        if self.stays_here(inode):
            return UploadStep.LOCAL, None
        hidden = self.at(inode.parent, inode.item.name)
        return UploadStep.SEALED, hidden.key if replaces is None and hidden is not None else replaces

    def below(self, home: Inode) -> list[Parked]:
        """What is hidden in a folder."""
        return [parked for parked in self._parked.values() if parked.home is home]

    async def park(self, parked: Parked) -> None:
        """An item stays where it is, and is shown elsewhere from now on, whatever becomes of this daemon."""
        row = parked.row()
        await self._journal.run(lambda journal: journal.parked.put(row))
        self.register(parked)

    def register(self, parked: Parked) -> None:
        """The same for what the journal knows already."""
        self._unregister(parked.key)
        self._parked[parked.key] = parked
        self._by_home[parked.home.number, parked.item.name] = parked.key
        self._by_place[parked.shown_in.number, parked.shown_name] = parked.key
        self._unseen.add(parked.key)
        for folder in (parked.home, parked.shown_in):
            self._inodes.hold(folder.number)

    async def end(self, key: Key, *, is_visible: bool = False) -> None:
        """An item is parked no more: it is removed, or about to be, or `is_visible` where it is again."""
        if key not in self._parked:
            return
        await self._journal.run(lambda journal: journal.parked.drop(key))
        self._unregister(key)
        if is_visible:
            self._unseen.discard(key)

    def forget(self, parked: Parked) -> None:
        """An item is not at its home any more, and not removed from here."""
        self._unregister(parked.key)
        self._unseen.discard(parked.key)

    def taken(self, key: Key | None) -> None:
        """Another item is in the place of a parked one, as the journal knows."""
        if key is not None:
            self._unregister(key)

    def leave_home(self, parked: Parked) -> None:
        """An item is being moved from its home: nothing that is written there replaces it."""
        _drop(self._by_home, (parked.home.number, parked.item.name), parked.key)

    def _unregister(self, key: Key) -> None:
        parked = self._parked.pop(key, None)
        if parked is None:
            return
        _drop(self._by_home, (parked.home.number, parked.item.name), key)
        _drop(self._by_place, (parked.shown_in.number, parked.shown_name), key)
        for folder in (parked.home, parked.shown_in):
            self._inodes.release(folder.number)


def _drop(table: dict[tuple[InodeNumber, str], Key], place: tuple[InodeNumber, str], key: Key) -> None:
    if table.get(place) == key:
        del table[place]


async def nothing_hidden(folder: Inode, name: str | None) -> None:
    """What `Namespace.make_way` does where nobody parks anything."""
