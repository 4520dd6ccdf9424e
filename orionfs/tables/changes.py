"""Our unfinished and recent changes to names, and the one overlay that shows them; pure.

A change says what this mount did to one name of one folder. While it is under way it wins over every
listing; once settled it wins over listings that were asked for before it, or so soon after it that a
lagging replica may have answered (`read_lag_s`). Later listings know better, and within the lag so does
one that shows, under a name that we took away, an item that we never did: it was made since. Only
`namespace` changes this; it must not know sessions, clocks or inodes beyond their numbers, which stay the
folders' own while there are changes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf

from orionfs.models import Holder, InodeNumber, Item, Key, Kind
from orionfs.tables.metacache import FolderBelief, Listing, Names, Single
from orionfs.tables.names import base_name, duplicate_name, visible_names


@dataclass(frozen=True, slots=True)
class Change:
    """What we made of a name: `item` is there now, or nothing is (None).

    `settled_at_s` is inf while Orion does not know it yet. `doubted_at_s` is when a later change of the name
    ended unclearly: whatever Orion says from then on knows better, and until then nobody does.
    """

    item: Item | None
    settled_at_s: float = inf
    doubted_at_s: float = inf


@dataclass(slots=True)
class _FolderChanges:
    names: dict[str, Change] = field(default_factory=dict)
    left: dict[Key, str] = field(default_factory=dict)  # version that went away -> name it had
    folders_left: set[str] = field(default_factory=set)  # names of folders that went away, whatever their id


class Changes:
    """All changes that some listing may not show yet, by folder number."""

    def __init__(self, read_lag_s: float, unseen: Collection[Key] = (), holder: Holder | None = None) -> None:
        """`unseen`, a live view: items on their way to their name or to be removed, which nobody is shown.

        `holder` keeps the number of each folder that has changes.
        """
        self._holder = holder
        self.read_lag_s = read_lag_s
        self._unseen = unseen
        self._folders: dict[InodeNumber, _FolderChanges] = {}

    def __contains__(self, folder: InodeNumber) -> bool:
        return folder in self._folders

    def folders(self) -> tuple[InodeNumber, ...]:
        """All folders that have changes now."""
        return tuple(self._folders)

    def record(
        self,
        folder: InodeNumber,
        name: str,
        item: Item | None,
        settled_at_s: float = inf,
        replaces: Key | None = None,
        *,
        is_folder_gone: bool = False,
    ) -> None:
        """`name` of `folder` now means `item`; the version `replaces`, or a folder, is no longer there."""
        changes = self._folders.get(folder)
        if changes is None:
            changes = self._folders[folder] = _FolderChanges()
            if self._holder is not None:
                self._holder.hold(folder)
        before = changes.names.get(name)
        # One that is doubted may have gone elsewhere, where it must be seen.
        is_known = before is not None and before.doubted_at_s == inf
        own_key = item.key if item is not None else None
        for key in (replaces, before.item.key if before and before.item and is_known else None):
            if key is not None and key != own_key:
                changes.left[key] = name
        if own_key is not None:
            changes.left.pop(own_key, None)
        if is_folder_gone:
            changes.folders_left.add(name)
        elif item is not None and item.kind is Kind.FOLDER:
            changes.folders_left.discard(name)
        changes.names[name] = Change(item, settled_at_s)

    def settle(self, folder: InodeNumber, name: str, now_s: float) -> None:
        """Orion has confirmed what is recorded for `name`."""
        changes = self._folders.get(folder)
        if changes is not None and name in changes.names:
            changes.names[name] = replace(changes.names[name], settled_at_s=now_s, doubted_at_s=inf)

    def doubt(self, folder: InodeNumber, name: str, now_s: float) -> None:
        """Whether `name` still means what Orion has confirmed is not known."""
        change = self.get(folder, name)
        if change is not None and change.settled_at_s < inf:
            self._folders[folder].names[name] = replace(change, doubted_at_s=now_s)

    def forget_answered(self, folder: InodeNumber, told_at_s: Callable[[str], float]) -> None:
        """Forget what Orion has told better since: the dates of its answers are about to be lost.

        `told_at_s` gives when the last answer about a name was asked for, -inf if there is none.
        """
        changes = self._folders.get(folder)
        if changes is not None:
            changes.names = {n: c for n, c in changes.names.items() if self._wins(c, told_at_s(n))}
            self._tidy(folder, changes)

    def withdraw(self, folder: InodeNumber, name: str) -> None:
        """A change did not happen: what Orion says of `name` holds again."""
        changes = self._folders.get(folder)
        if changes is not None:
            changes.names.pop(name, None)
            self._tidy(folder, changes)

    def amend(self, folder: InodeNumber, name: str, item: Item) -> None:
        """What `name` was made to mean is the same version still, of which something else is to be said."""
        change = self.get(folder, name)
        if change is not None and change.item is not None and change.item.is_same_version(item):
            self._folders[folder].names[name] = replace(change, item=item)

    def learn_tags(self, folder: InodeNumber, told: Mapping[str, Item]) -> None:
        """What Orion says of the tags of what we have put in place: others may have changed them since."""
        changes = self._folders.get(folder)
        for name, change in list(changes.names.items()) if changes is not None else ():
            mine, theirs = change.item, told.get(name)
            is_settled = mine is not None and mine.key is not None and change.settled_at_s < inf
            if is_settled and mine is not None and theirs is not None and theirs.key == mine.key:
                tags = theirs.tags if theirs.tags is not None else mine.tags
                self.amend(folder, name, replace(mine, tags=tags))

    def get(self, folder: InodeNumber, name: str) -> Change | None:
        """What is recorded for `name`, however long ago."""
        changes = self._folders.get(folder)
        return changes.names.get(name) if changes else None

    def find(
        self, folder: InodeNumber, name: str, asked_at_s: float, answer: Item | None = None
    ) -> Change | None:
        """The change that wins over `answer` about `name`, asked for at `asked_at_s`, if any."""
        change = self.get(folder, name)
        if change is None or not self._wins(change, asked_at_s):
            return None
        return (
            None if answer is not None and self._is_made_since(folder, name, answer, asked_at_s) else change
        )

    def hides(self, folder: InodeNumber, item: Item, asked_at_s: float) -> bool:
        """True if a row of an answer asked for at `asked_at_s` is a version that we took away."""
        if item.key is not None and item.key in self._unseen:
            return True
        changes = self._folders.get(folder)
        if changes is None or item.key is None or item.key not in changes.left:
            return False
        ours = changes.names.get(item.name)
        if ours is not None and ours.item is not None and ours.item.key == item.key:
            return False  # it went from another name, and is where we have put it
        return self._wins(changes.names[changes.left[item.key]], asked_at_s)

    def shown(self, items: Sequence[Item]) -> Sequence[Item]:
        """Without those that nobody is shown: where items may share a name they must not take one."""
        return [item for item in items if item.key not in self._unseen] if self._unseen else items

    def overlay(self, folder: InodeNumber, listing: Listing) -> Mapping[str, Item]:
        """Visible name -> item: what the folder holds, from Orion's answer and our changes.

        Another item that Orion shows under a name of ours keeps reachable with a duplicate's suffix. One
        that has such a suffix only for what is hidden has its plain name.
        """
        changes = self._folders.get(folder)
        if changes is None and not self._unseen:
            return listing.items
        changes = changes or _FolderChanges()
        ours = {n: c.item for n, c in changes.names.items() if self._wins(c, listing.asked_at_s)}
        own_keys = {item.key for item in ours.values() if item is not None and item.key is not None}
        names: dict[str, Item] = {}
        displaced: list[Item] = []
        for name, item in self._seen(folder, listing, ours).items():
            if item.key in own_keys:
                continue
            mine = ours.get(name)
            if mine is not None and mine.is_same_version(item):
                names[name] = ours[name] = item  # a folder we made, now with its id
            elif name not in ours or self._is_made_since(folder, name, item, listing.asked_at_s):
                names[name] = item
            elif mine is not None and not (
                item.kind is Kind.FOLDER and self._is_folder_left(changes, mine, name)
            ):
                displaced.append(item)
        names.update((name, item) for name, item in ours.items() if item is not None)
        for item in displaced:
            names.setdefault(duplicate_name(item), item)
        return names

    def _seen(self, folder: InodeNumber, listing: Listing, ours: Collection[str]) -> Mapping[str, Item]:
        """Without what is hidden; its name goes to whoever shares it, unless it is one of `ours`."""
        hidden = {n for n, item in listing.items.items() if self.hides(folder, item, listing.asked_at_s)}
        if not hidden:
            return listing.items
        freed = {name for name in hidden if name not in ours and base_name(listing.items[name]) == name}
        names: dict[str, Item] = {}
        heirs: list[Item] = []
        for name, item in listing.items.items():
            if name in hidden:
                continue
            if "~" in name and base_name(item) in freed:
                heirs.append(item)
            else:
                names[name] = item
        for name, item in visible_names(heirs).items():
            names.setdefault(name, item)
        return names

    def fold(self, folder: InodeNumber, belief: FolderBelief, horizon_s: float) -> FolderBelief:
        """Forget the changes settled before `horizon_s`; what is believed of the folder without them.

        For callers: every answer still believed was asked for after `horizon_s` plus the read lag, but
        for those kept although they are old, which therefore get the changes written into them.
        """
        changes = self._folders.get(folder)
        if changes is None or all(c.settled_at_s >= horizon_s for c in changes.names.values()):
            return belief
        listing = belief.listing
        if listing is not None and listing.asked_at_s <= horizon_s + self.read_lag_s:
            listing = replace(listing, items=Names(self.overlay(folder, listing)))
        singles = {n: self._written_into(folder, n, told, horizon_s) for n, told in belief.singles.items()}
        changes.names = {n: c for n, c in changes.names.items() if c.settled_at_s >= horizon_s}
        self._tidy(folder, changes)
        return FolderBelief(listing, singles)

    def _written_into(self, folder: InodeNumber, name: str, told: Single, horizon_s: float) -> Single:
        """What a name was told to mean, or what we have made of it since, if that is to be forgotten."""
        change = self.find(folder, name, told.asked_at_s, told.item)
        if change is None or change.settled_at_s >= horizon_s:
            return told
        return replace(told, item=change.item)

    def drop_folder(self, folder: InodeNumber) -> None:
        """A removed folder has no changes."""
        if self._folders.pop(folder, None) is not None and self._holder is not None:
            self._holder.release(folder)

    def _wins(self, change: Change, asked_at_s: float) -> bool:
        return change.settled_at_s + self.read_lag_s >= asked_at_s and asked_at_s < change.doubted_at_s

    def _is_made_since(self, folder: InodeNumber, name: str, item: Item, asked_at_s: float) -> bool:
        """True for an item that others made under a name after we took it away; folders may have no id."""
        changes = self._folders[folder]
        change = changes.names[name]
        if change.item is not None or change.settled_at_s > asked_at_s or item.kind is Kind.FOLDER:
            return False
        if item.key in changes.left or name not in changes.left.values():
            return False
        return all(each.item is None or each.item.key != item.key for each in changes.names.values())

    @staticmethod
    def _is_folder_left(changes: _FolderChanges, mine: Item, name: str) -> bool:
        """Two folders can't share a name: ours came in place of that one; or it went before ours came."""
        return mine.kind is Kind.FOLDER or name in changes.folders_left

    def _tidy(self, folder: InodeNumber, changes: _FolderChanges) -> None:
        changes.left = {key: name for key, name in changes.left.items() if name in changes.names}
        changes.folders_left.intersection_update(changes.names)
        if not changes.names:
            self.drop_folder(folder)
