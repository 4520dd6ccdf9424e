"""What is believed of names, and asking Orion when it is not known: the read side of the tree.

Answers come from, in this order: our own changes, a fresh listing, a fresh single answer, Orion. Every
answer says how long it holds. Each question is asked once, however many wait for it. Part of
`namespace`, which alone records changes here; must not know FUSE, handles or contents.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import partial
from math import inf
from typing import Protocol

import trio

from orionfs.errors import AWAY, NoSuchName, NotADirectory, OrionFsError, RemoteFailure
from orionfs.models import InodeNumber, Item, Key, Kind
from orionfs.orion.flights import Flight
from orionfs.orion.limiter import current_urgency
from orionfs.orion.listings import FolderAnswer
from orionfs.orion.remote import Health, Remote
from orionfs.tables.changes import Changes
from orionfs.tables.freshness import Freshness
from orionfs.tables.inodes import Inode, InodeTable
from orionfs.tables.metacache import FolderBelief, Listing, MetaCache, Names, Single
from orionfs.tables.names import base_name, decode_name, is_plain, visible_names

_BIG_FOLDER_PAGES = 5  # larger folders are asked name by name, but for readdir
_BIG_FOLDER_NAMES = 16  # so many different ones, and the folder is listed all the same
_BIG_FOLDER_CHECK_S = 1.0
_OFFLINE_VALID_S = 1.0
_HOLDS_AS_MANY_TIMES = 5  # as it took, where only a listing tells: one that takes long would never hold
_LAG_PAUSES_S = (0.25, 0.5, 1.0, 2.0, 4.0, 4.0)  # more than the read lag that is reckoned with


@dataclass(frozen=True, slots=True)
class Believed:
    """What a name means (None: nothing), and for how many seconds that holds."""

    item: Item | None
    valid_s: float


class Asking(Protocol):
    """Who tells what Orion has at a path, as users here are to see it."""

    async def list_folder(self, path: str) -> FolderAnswer:
        """All of a folder. Raises NoSuchName."""
        ...

    async def stat(self, path: str) -> Item | None:
        """What is at a path, or None."""
        ...


class Beliefs:
    """What one mount believes of its tree."""

    def __init__(
        self,
        remote: Remote,
        cache: MetaCache,
        inodes: InodeTable,
        freshness: Freshness,
        unseen: Collection[Key],
        clock: Callable[[], float],
    ) -> None:
        self._remote = remote
        self.asking: Asking = remote
        self._cache = cache
        cache.hold_in(inodes)
        self._inodes = inodes
        self._forgets_changes_at_s = -inf
        self._absences_checked_at_s: dict[InodeNumber, float] = {}  # folder -> last of the last second
        self._clock = clock
        self.questions = 0  # that no cache could answer
        self._flights: dict[tuple[InodeNumber, str | None], Flight] = {}
        self.freshness = freshness
        self.changes = Changes(freshness.read_lag_s, unseen, inodes)
        self.on_listed: list[Callable[[Inode, Listing | None, Listing], None]] = []
        """Told of every new listing that is believed: the folder, the listing before, the new one."""

    async def list(self, folder: Inode) -> tuple[Mapping[str, Item], float]:
        """Visible name -> item of a folder, and how long that holds. Never short: incomplete is an error."""
        if folder.is_virtual:
            children = folder.children or {}
            return {name: inode.item for name, inode in children.items()}, self.freshness.metadata_ttl_s
        listing = self._fresh_listing(folder, since_s=None)
        while listing is None:
            started_at_s = self._clock()
            try:
                await self._once(folder, None, lambda: self._ask_listing(folder))
            except AWAY:
                listing = self._fresh_listing(folder, since_s=None)
                if listing is None:
                    raise
            else:
                listing = self._fresh_listing(folder, since_s=started_at_s)
        if not listing.is_complete:
            self._cache.drop(folder.number)
            raise RemoteFailure(f"{folder.local_path()}: Orion told less than the folder holds; try again")
        listing = self._fold(folder.number).listing or listing
        return self.changes.overlay(folder.number, listing), self._valid_s(listing)

    async def resolve(self, parent: Inode, name: str) -> Believed:
        """What a name of a folder means, asked for if it is not known."""
        if parent.children is None:
            raise NotADirectory(parent.local_path())
        if parent.is_virtual:
            top = parent.children.get(name)
            return Believed(top.item if top else None, self.freshness.metadata_ttl_s)
        believed = self._believed(parent, name, since_s=None) or self._still_absent(parent, name)
        while believed is None:
            asked_at_s = self._clock()
            subject = None if self._wants_listing(parent, name) else name
            try:
                await self._once(parent, subject, partial(self._ask, parent, name, subject))
            except AWAY:
                believed = self._believed(parent, name, since_s=None)
                if believed is None:
                    raise
            else:
                believed = self._believed(parent, name, since_s=asked_at_s)
        return believed

    def entries(self, folder: Inode) -> Mapping[str, Item] | None:
        """What the fresh listing of a folder holds, own changes aside; None if there is none."""
        if folder.is_virtual:
            return {name: inode.item for name, inode in (folder.children or {}).items()}
        listing = self._cache.get(folder.number).listing
        return listing.items if listing is not None and self._valid_s(listing) > 0 else None

    async def list_ahead(self, folder: Inode) -> None:
        """Have the listing of a folder that somebody may soon ask for; one that is cut short is of no use."""
        if self._fresh_listing(folder, since_s=None) is not None:
            return
        await self._once(folder, None, lambda: self._ask_listing(folder))
        listing = self._cache.get(folder.number).listing
        if listing is not None and not listing.is_complete:
            self._cache.drop(folder.number)

    async def list_now(self, folder: Inode) -> Mapping[str, Item]:
        """What a folder holds at this moment: asked anew, never from what was believed."""
        started_at_s = self._clock()
        listing: Listing | None = None
        while listing is None or listing.asked_at_s < started_at_s:
            await self._once(folder, None, lambda: self._ask_listing(folder))
            listing = self._cache.get(folder.number).listing
        return (await self.list(folder))[0]

    def known(self, parent: Inode, name: str) -> Item | None:
        """What a name is known to mean without asking."""
        believed = self._believed(parent, name, since_s=None)
        return believed.item if believed is not None else None

    def is_just_made(self, folder: Inode, asked_at_s: float | None = None) -> bool:
        """True for a folder that got its name here so recently that a replica may not know it."""
        if folder.parent is None:
            return False
        when_s = self._clock() if asked_at_s is None else asked_at_s
        change = self.changes.find(folder.parent.number, folder.name, when_s)
        return change is not None and change.item is not None

    def is_just_removed(self, parent: Inode, name: str) -> bool:
        """True for a name that was taken away here so recently that a replica may still show it."""
        change = self.changes.find(parent.number, name, self._clock())
        return change is not None and change.item is None

    def learn(self, parent: Inode, name: str, item: Item | None) -> None:
        """Somebody else's question told what is under a name just now."""
        self._cache.put_single(parent.number, name, Single(item, self._clock()))

    def learn_empty(self, folder: Inode) -> None:
        """This mount has just made the folder."""
        self._cache.put_listing(folder.number, Listing({}, asked_at_s=self._clock()))

    def doubt(self, folder: Inode, *names: str) -> None:
        """A change of this folder had an unclear end: ask again; also what this mount has made of `names`."""

        def told_at_s(name: str) -> float:
            heard = self.heard(folder, name)
            return heard[1] if heard is not None else -inf

        self.changes.forget_answered(folder.number, told_at_s)
        self._cache.expire(folder.number)
        for name in names:
            self.changes.doubt(folder.number, name, self._clock())

    def drop(self, folder: Inode) -> None:
        """The folder is gone."""
        self._cache.drop(folder.number)
        self.changes.drop_folder(folder.number)

    def listing_of(self, folder: Inode) -> Listing | None:
        """The last listing of a folder that is kept, however old."""
        return self._cache.get(folder.number).listing

    def has_answers(self, folder: Inode) -> bool:
        """True if anything is kept of what Orion said of a folder."""
        belief = self._cache.get(folder.number)
        return belief.listing is not None or bool(belief.singles)

    def heard(self, parent: Inode, name: str) -> tuple[Item | None, float] | None:
        """The last that Orion told of a name, our changes aside, and when it was asked; None: nothing."""
        belief = self._cache.get(parent.number)
        single, listing = belief.singles.get(name), belief.listing
        if single is not None and (listing is None or single.asked_at_s >= listing.asked_at_s):
            return single.item, single.asked_at_s
        if listing is not None and (name in listing.items or listing.proves_absence):
            return self._listed(parent, listing, name), listing.asked_at_s
        return None

    def latest_answer(self, parent: Inode, name: str) -> tuple[Item | None, float] | None:
        """What a name means by the last that was heard, however old, and when that was; None: nothing."""
        return self._best_answer(parent, name)

    def forget(self, folder: Inode) -> None:
        """The folder is gone, as another machine says; our own changes in it are not dropped."""
        self._cache.drop(folder.number)

    def _believed(self, parent: Inode, name: str, since_s: float | None) -> Believed | None:
        """What is known of a name and still holds, or was asked for after `since_s`."""
        best = self._best_answer(parent, name)
        if best is None:
            return None
        item, told_at_s = best
        is_listed = item is not None or self._is_listed_only(parent)  # which may be long to list again
        ttl_s = self.freshness.metadata_ttl_s if is_listed else self.freshness.absence_ttl_s
        holds_s = ttl_s + self._cache.get(parent.number).holds_longer_s
        valid_s = self.freshness.ends_at_s(told_at_s, holds_s) - self._clock()
        if valid_s > 0:
            return Believed(item, valid_s)
        if since_s is not None and told_at_s >= since_s:
            return Believed(item, 0.0)
        return Believed(item, _OFFLINE_VALID_S) if self._remote.health is Health.OFFLINE else None

    def _best_answer(self, parent: Inode, name: str) -> tuple[Item | None, float] | None:
        """The newest answer about a name with our changes laid over it, and when it was given."""
        answer = self.heard(parent, name)
        asked_at_s = answer[1] if answer else -inf
        change = self.changes.find(parent.number, name, asked_at_s, answer[0] if answer else None)
        if change is not None:
            if change.doubted_at_s < inf:
                return change.item, -inf
            is_under_way = change.settled_at_s == inf
            return change.item, self._clock() if is_under_way else max(change.settled_at_s, asked_at_s)
        if answer and answer[0] is not None and self.changes.hides(parent.number, answer[0], asked_at_s):
            return self._heir(parent, name), asked_at_s
        return answer

    def _heir(self, parent: Inode, name: str) -> Item | None:
        """What has a name once the item that a listing shows there is hidden."""
        listing = self._cache.get(parent.number).listing
        return self.changes.overlay(parent.number, listing).get(name) if listing is not None else None

    def _listed(self, parent: Inode, listing: Listing, name: str) -> Item | None:
        """A listing's item; a duplicate's suffix may come, or go, only once changes are laid over."""
        item = listing.items.get(name)
        if "~" not in name or (item is not None and base_name(item) == name):
            return item
        return self.changes.overlay(parent.number, listing).get(name)

    def _fresh_listing(self, folder: Inode, since_s: float | None) -> Listing | None:
        """A listing that holds, or was asked for after `since_s`; offline, one however old."""
        listing = self._cache.get(folder.number).listing
        if listing is None or self._valid_s(listing) > 0:
            return listing
        is_just_told = since_s is not None and listing.asked_at_s >= since_s
        return listing if is_just_told or self._remote.health is Health.OFFLINE else None

    def _valid_s(self, listing: Listing) -> float:
        holds_s = self.freshness.metadata_ttl_s + listing.holds_longer_s
        return max(0.0, self.freshness.ends_at_s(listing.asked_at_s, holds_s) - self._clock())

    # Asking

    def _wants_listing(self, parent: Inode, name: str) -> bool:
        """One listing instead of name by name, unless the folder is large or this is its first name."""
        if self._is_listed_only(parent):
            return True
        belief = self._cache.get(parent.number)
        if belief.listing is not None and not belief.listing.proves_absence:
            return False  # it proves no absence, however often it is asked for
        if parent.naming is not None or not is_plain(name):
            return True
        if belief.listing is not None and belief.listing.pages <= _BIG_FOLDER_PAGES:
            return True
        if belief.listing is not None and self._valid_s(belief.listing) > 0:
            return False  # an absence of a large folder
        since_s = self._clock() - self.freshness.metadata_ttl_s
        others = sum(other != name and s.asked_at_s > since_s for other, s in belief.singles.items())
        return others >= (_BIG_FOLDER_NAMES - 1 if belief.listing is not None else 1)

    def _still_absent(self, parent: Inode, name: str) -> Believed | None:
        """An absence of a large folder that is too old is looked up, but not more often than that."""
        listing, now_s = self._cache.get(parent.number).listing, self._clock()
        if (
            self._is_listed_only(parent)
            or listing is None
            or listing.pages <= _BIG_FOLDER_PAGES
            or not is_plain(name)
        ):
            return None
        answer = self._best_answer(parent, name)
        if answer is None or answer[0] is not None or self._valid_s(listing) == 0:
            return None
        last_s = self._absences_checked_at_s.get(parent.number, -inf)
        if now_s - last_s < _BIG_FOLDER_CHECK_S:
            return Believed(None, last_s + _BIG_FOLDER_CHECK_S - now_s)
        recent = {n: s for n, s in self._absences_checked_at_s.items() if now_s - s < _BIG_FOLDER_CHECK_S}
        self._absences_checked_at_s = {**recent, parent.number: now_s}
        return None

    async def _ask(self, parent: Inode, name: str, subject: str | None) -> None:
        if subject is None:
            await self._ask_listing(parent)
            return
        asked_at_s = self._clock()
        item = await self._stat(parent, name)
        if item is not None and (
            base_name(item) != name or self.changes.hides(parent.number, item, asked_at_s)
        ):
            # A dataset by its bare name, or what is hidden: another item may be there, a path tells one.
            await self._once(parent, None, lambda: self._ask_listing(parent))
            if self._best_answer(parent, name) is not None:
                return
            item = None
        _check_still_there(parent)
        if item is not None:
            (item,) = self._remote.recent.with_true_tags((item,), asked_at_s)
            self.changes.learn_tags(parent.number, {name: item})
        self._cache.put_single(parent.number, name, Single(item, asked_at_s))

    def _is_listed_only(self, folder: Inode) -> bool:
        """True for a collection whose shards this session can't ask for one by one: no path leads there."""
        return folder.item.kind is Kind.COLLECTION and not self._remote.shards.is_paged

    async def _stat(self, parent: Inode, name: str) -> Item | None:
        """What Orion has under a name."""
        if parent.item.kind is not Kind.COLLECTION:
            return await self.asking.stat(f"{parent.orion_path().rstrip('/')}/{decode_name(name)}")
        assert parent.item.id is not None
        rows = await self._remote.shards.named(parent.item.id, decode_name(name))
        return visible_names(self.changes.shown(rows)).get(name)

    async def _ask_listing(self, folder: Inode) -> None:
        asked_at_s, place = self._clock(), _place_of(folder)
        answer = await self._listed_at_last(folder)
        _check_still_there(folder)
        if _place_of(folder) != place:
            return  # renamed meanwhile: what its old path means tells nothing of it, so it is asked for again
        is_collection = folder.item.kind is Kind.COLLECTION
        items = self.changes.shown(answer.items) if is_collection else answer.items
        names = Names((folder.naming or visible_names)(self._remote.recent.with_true_tags(items, asked_at_s)))
        took_s = self._clock() - asked_at_s if self._is_listed_only(folder) else 0.0
        longer_s = _HOLDS_AS_MANY_TIMES * took_s
        listing = Listing(names, asked_at_s, answer.is_complete, answer.pages, answer.unread, longer_s)
        self.changes.learn_tags(folder.number, names)
        before = self._cache.get(folder.number).listing
        if before is not None and not before.has_same_names(listing):
            touch(folder)
        self._cache.put_listing(folder.number, listing)
        for tell in self.on_listed:
            tell(folder, before, listing)

    async def _listed_at_last(self, folder: Inode) -> FolderAnswer:
        """A folder that got its name here is asked for until every replica has heard of it."""
        if folder.item.kind is Kind.COLLECTION:
            assert folder.item.id is not None
            return await self._remote.list_shards(folder.item.id)
        for pause_s in (*_LAG_PAUSES_S, None):
            try:
                return await self.asking.list_folder(folder.orion_path())
            except NoSuchName:
                if not self.is_just_made(folder):
                    raise
                if folder.item.id is None:
                    return FolderAnswer((), is_complete=True, pages=1)  # made here, so it held nothing
                if pause_s is None:
                    raise
            await trio.sleep(pause_s)
        raise AssertionError("the last attempt returns or raises")

    async def _once(self, folder: Inode, name: str | None, ask: Callable[[], Awaitable[object]]) -> None:
        """Single flight: whoever comes second waits, and looks again, or gets the same error.

        If the one who asked was cancelled, or asked ahead in vain, nothing is known and the next one asks.
        """
        flight = self._flights.get((folder.number, None), self._flights.get((folder.number, name)))
        if flight is not None:
            flight.urgency.raise_to(current_urgency().priority)
            await flight.done.wait()
            if not flight.is_tried_enough():
                await self._once(folder, name, ask)
            elif flight.error is not None:
                raise flight.error
            return
        self.questions += 1
        self._forget_changes()
        flight = self._flights[folder.number, name] = Flight()
        self._inodes.hold(folder.number)
        try:
            await ask()
        except OrionFsError as error:
            flight.error = error
            raise
        finally:
            del self._flights[folder.number, name]
            flight.done.set()
            self._inodes.release(folder.number)

    def _fold(self, folder: InodeNumber) -> FolderBelief:
        """Drop changes that every answer still believed knows; what is believed of the folder then."""
        horizon_s = self._clock() - self.freshness.metadata_ttl_s - self.freshness.read_lag_s
        self._inodes.hold(folder)
        before = self._cache.get(folder)
        belief = self.changes.fold(folder, before, horizon_s)
        if belief is not before and (before.listing or before.singles):
            self._cache.put(folder, belief)
        self._inodes.release(folder)
        return belief

    def _forget_changes(self) -> None:
        """The same for all folders once in a while: nobody may ever list some of them again."""
        now_s = self._clock()
        if now_s < self._forgets_changes_at_s:
            return
        self._forgets_changes_at_s = now_s + self.freshness.metadata_ttl_s
        for folder in self.changes.folders():
            self._fold(folder)


def _place_of(folder: Inode) -> str | int | None:
    """By what a folder is asked for: its path, of a collection its id."""
    return folder.item.id if folder.item.kind is Kind.COLLECTION else folder.orion_path()


def _check_still_there(folder: Inode) -> None:
    """Nothing is believed of a folder that was removed while it was asked about."""
    if not folder.is_attached:
        raise NoSuchName(folder.local_path())


def touch(folder: Inode) -> None:
    """The names of a folder changed: its time moves, or interpreters would not import new modules."""
    folder.local = replace(folder.local, mtime_ns=None)
    folder.mtime_ns = max(time.time_ns(), folder.mtime_ns + 1)
