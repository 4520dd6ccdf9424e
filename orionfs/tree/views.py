"""`.orion`: what the mount says of itself, and views of items by id, by tag, by job and of the deleted.

Reachable by name at the top of the mount, listed nowhere, read-only. A file seen here has the number
that it has in the tree, and is never taken from its place there; folders and collections have numbers of
their own. Answers are kept as those of folders are, in a cache of their own: nothing here is fetched
ahead or looked at again in the background. Part of `namespace`; must not know FUSE, handles or contents.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from math import inf
from typing import Generic, TypeVar

import trio

from orionfs.errors import AWAY, NotSupported, OrionFsError, RemoteFailure
from orionfs.models import InodeNumber, Item, Key, Kind
from orionfs.orion.listings import FolderAnswer
from orionfs.orion.remote import Health, Remote
from orionfs.tables.freshness import Freshness
from orionfs.tables.inodes import Inode, InodeTable, number_of
from orionfs.tables.metacache import Listing, MetaCache, Single
from orionfs.tables.names import decode_name, visible_names
from orionfs.tree import finding
from orionfs.tree.beliefs import Believed

VIEWS_NAME = ".orion"
SHOWN_MAX = 200_000
"""Items in one view at most, all of which come in one answer of the session."""
_ABOUT = "about"
_TYPES = {kind.value: kind for kind in finding.KINDS}
_KERNEL_VALID_S = 1.0  # a change made through the tree shows here soon: the kernel is told nothing of it
_OFFLINE_VALID_S = 1.0
_ID_DIGITS_MAX = 18

_T = TypeVar("_T")
_Subject = tuple[InodeNumber, str | None]  # a view and a name in it, None: all that it lists
Lister = Callable[[], Awaitable[FolderAnswer]]


class View(Inode):
    """A folder that shows what lies elsewhere.

    `fixed` are the folders that are always in it. `lists` asks for all that it shows. Where it does not
    list, `finds` asks for the item under one name, and `shows` says how a folder of that name lists (None:
    it can't be there); such a folder is there if it shows anything.
    """

    __slots__ = ("finds", "fixed", "lists", "shows")
    is_view = True

    def __init__(
        self,
        parent: Inode,
        name: str,
        *,
        lists: Lister | None = None,
        finds: Callable[[str], Awaitable[Item | None]] | None = None,
        shows: Callable[[str], Lister | None] | None = None,
    ) -> None:
        number = number_of(f"view:{parent.local_path().rstrip('/')}/{name}")
        super().__init__(number, parent, name, Item(Kind.FOLDER, None, name, created_ns=time.time_ns()))
        self.lists, self.finds, self.shows = lists, finds, shows
        self.fixed: dict[str, Inode] = {}

    @property
    def is_virtual(self) -> bool:
        return True


class Said(Inode):
    """A file that the mount itself has written; other contents are another version, so another number."""

    __slots__ = ("given",)

    def __init__(self, parent: Inode, name: str, text: str) -> None:
        given = text.encode("utf-8", "replace")
        mark = hashlib.blake2b(given, digest_size=8).hexdigest()
        item = Item(Kind.FILE, None, name, len(given), time.time_ns(), tags=(), mark=mark)
        super().__init__(number_of(f"said:{name}:{mark}"), parent, name, item)
        self.given: bytes | None = given


@dataclass(frozen=True, slots=True)
class _Told(Generic[_T]):
    """An answer, when it was asked for, and whether it says that something is there."""

    value: _T
    asked_at_s: float
    is_there: bool


@dataclass(slots=True)
class _Flight:
    """A question on its way, and how it ended for those who wait for it."""

    done: trio.Event = field(default_factory=trio.Event)
    error: OrionFsError | None = None


class Views:
    """The views of one mount; only what is looked at takes room."""

    def __init__(
        self,
        remote: Remote,
        inodes: InodeTable,
        freshness: Freshness,
        about: Callable[[], str],
        items_max: int,
        clock: Callable[[], float],
    ) -> None:
        """`about` gives the text of `.orion/about`; `items_max` items are kept, or the largest view."""
        self._remote = remote
        self._inodes = inodes
        self._freshness = freshness
        self._about = about
        self._clock = clock
        self._cache = MetaCache(items_max)
        self._flights: dict[_Subject, _Flight] = {}
        self._doubted_at_s = -inf

    @cached_property
    def root(self) -> View:
        """The folder `.orion` with the folders that are always in it."""
        root = self._stay(View(self._inodes.root, VIEWS_NAME))
        for view in (
            View(root, "by-id"),
            View(root, "by-tag", shows=self._tagged),
            View(root, "by-job", shows=self._of_job),
            View(root, "deleted"),
        ):
            root.fixed[view.name] = self._stay(view)
        for name, kind in _TYPES.items():
            lists = partial(finding.deleted, self._remote, kind, SHOWN_MAX)
            for view in (
                View(root.fixed["by-id"], name, finds=partial(self._by_id, kind)),
                View(root.fixed["deleted"], name, lists=lists),
            ):
                above = view.parent
                assert isinstance(above, View)
                above.fixed[name] = self._stay(view)
        return root

    def _stay(self, view: View) -> View:
        view.pins = 1
        self._inodes.add(view)
        return view

    def doubt(self) -> None:
        """Something was changed through the tree: whatever was told before counts no more."""
        self._doubted_at_s = self._clock()

    def check_not_deleted(self, inode: Inode) -> None:
        """Raises NotSupported for an item that is shown among the deleted ones."""
        place = inode.parent
        if place is not None and place.is_view and place.parent is self.root.fixed["deleted"]:
            raise NotSupported(f"{inode.local_path()}: this stack lets nobody read what is deleted")

    # What is there

    async def resolve(self, view: Inode, name: str) -> Believed:
        """What a name in a view means, and for how long the kernel may believe that."""
        assert isinstance(view, View)
        if name in view.fixed:
            return Believed(view.fixed[name].item, self._freshness.metadata_ttl_s)
        if view is self.root and name == _ABOUT:
            return Believed(self._said().item, 0.0)
        item, valid_s = await self._find(view, name)
        return Believed(item, min(valid_s, _KERNEL_VALID_S))

    async def list(self, view: Inode) -> tuple[dict[str, Item], float]:
        """Visible name -> item of a view, and for how long that holds. Never short: that is an error."""
        assert isinstance(view, View)
        names = {name: inode.item for name, inode in view.fixed.items()}
        if view is self.root:
            return {_ABOUT: self._said().item, **names}, 0.0
        if view.lists is None:
            return names, self._freshness.metadata_ttl_s
        listing, valid_s = await self._listing(view)
        self._check_whole(view, listing)
        return {**names, **listing.items}, min(valid_s, _KERNEL_VALID_S)

    @staticmethod
    def shows(folder: Inode) -> bool:
        """True for a view, and for a collection that is seen in one."""
        return folder.is_view or (folder.parent is not None and folder.parent.is_view)

    def bind(self, view: Inode, name: str, item: Item) -> Inode:
        """The inode of an item that was just seen under a name of a view, or of a collection in one."""
        if not isinstance(view, View):
            return self._inodes.bind_seen(view, name, item)
        if name in view.fixed:
            return view.fixed[name]
        if item.mark is not None:
            return self._said()
        if item.kind is Kind.FOLDER:
            return self._open(view, name)
        number = None
        if item.is_folder:
            number = number_of(f"view:{view.local_path()}/{item.kind.value}:{item.id}")
        return self._inodes.bind_seen(view, name, item, number)

    def _said(self) -> Inode:
        made = Said(self.root, _ABOUT, self._about())
        children = self.root.children
        assert children is not None
        child = children.get(_ABOUT)
        if child is not None and child.item.mark == made.item.mark:
            return child
        self._inodes.add(made)
        self._inodes.attach(made, self.root, _ABOUT)
        return made

    def _open(self, view: View, name: str) -> Inode:
        """The folder of a tag or a job."""
        child = (view.children or {}).get(name)
        if child is None:
            child = self._opened(view, name)
            assert child is not None
            self._inodes.add(child)
            self._inodes.attach(child, view, name)
        return child

    @staticmethod
    def _opened(view: View, name: str) -> View | None:
        lists = view.shows(name) if view.shows is not None else None
        return None if lists is None else View(view, name, lists=lists)

    async def _find(self, view: View, name: str) -> tuple[Item | None, float]:
        if view.shows is not None:
            folder = self._opened(view, name)
            if folder is None:
                return None, self._freshness.metadata_ttl_s
            listing, valid_s = await self._listing(folder)
            return (folder.item if listing.items else None), valid_s
        if view.lists is not None:
            listing, valid_s = await self._listing(view)
            if name not in listing.items:
                self._check_whole(view, listing)
            return listing.items.get(name), valid_s
        if view.finds is not None:
            return await self._single(view, name)
        return None, self._freshness.metadata_ttl_s

    def _check_whole(self, view: View, listing: Listing) -> None:
        if not listing.is_complete:
            raise RemoteFailure(f"{view.local_path()}: more than {SHOWN_MAX} items, too many to be shown")

    # How a name is asked for

    def _tagged(self, name: str) -> Lister:
        return partial(finding.tagged, self._remote, decode_name(name), SHOWN_MAX)

    def _of_job(self, name: str) -> Lister | None:
        return None if _id_of(name) is None else self._tagged(f"Job {name}")

    async def _by_id(self, kind: Kind, name: str) -> Item | None:
        number = _id_of(name)
        return None if number is None else await finding.by_id(self._remote, Key(kind, number))

    async def _listing(self, view: View) -> tuple[Listing, float]:
        """All that a view shows, asked for if it is not known, and for how long it holds."""

        def told() -> _Told[Listing] | None:
            listing = self._cache.get(view.number).listing
            if listing is None:
                return None
            return _Told(listing, listing.asked_at_s, is_there=bool(listing.items))

        async def ask() -> None:
            asked_at_s = self._clock()
            assert view.lists is not None
            answer = await view.lists()
            listing = Listing(visible_names(answer.items), asked_at_s, answer.is_complete, answer.pages)
            self._cache.put_listing(view.number, listing)

        return await self._believed((view.number, None), told, ask)

    async def _single(self, view: View, name: str) -> tuple[Item | None, float]:
        """What one name means, asked for if it is not known, and for how long it holds."""

        def told() -> _Told[Item | None] | None:
            single = self._cache.get(view.number).singles.get(name)
            if single is None:
                return None
            return _Told(single.item, single.asked_at_s, is_there=single.item is not None)

        async def ask() -> None:
            asked_at_s = self._clock()
            assert view.finds is not None
            self._cache.put_single(view.number, name, Single(await view.finds(name), asked_at_s))

        return await self._believed((view.number, name), told, ask)

    async def _believed(
        self,
        subject: _Subject,
        told: Callable[[], _Told[_T] | None],
        ask: Callable[[], Awaitable[None]],
    ) -> tuple[_T, float]:
        """What was told of a subject while that holds; else it is asked for, and told then."""
        since_s = inf
        while True:
            answer = told()
            valid_s = self._valid_s(answer, since_s) if answer is not None else None
            if answer is not None and valid_s is not None:
                return answer.value, valid_s
            since_s = min(since_s, self._clock())
            try:
                await self._once(subject, ask)
            except AWAY:
                if answer is None or self._remote.health is not Health.OFFLINE:
                    raise

    def _valid_s(self, answer: _Told[_T], since_s: float) -> float | None:
        """For how long an answer holds; None if not any more. One asked for after `since_s` always does."""
        ttl_s = self._freshness.metadata_ttl_s if answer.is_there else self._freshness.absence_ttl_s
        valid_s = answer.asked_at_s + ttl_s - self._clock()
        if valid_s > 0 and answer.asked_at_s > self._doubted_at_s:
            return valid_s
        if answer.asked_at_s >= since_s:
            return 0.0
        return _OFFLINE_VALID_S if self._remote.health is Health.OFFLINE else None

    async def _once(self, subject: _Subject, ask: Callable[[], Awaitable[None]]) -> None:
        """Single flight: whoever comes second waits, and looks again, or gets the same error."""
        flight = self._flights.get(subject)
        if flight is not None:
            await flight.done.wait()
            if flight.error is not None:
                raise flight.error
            return
        flight = self._flights[subject] = _Flight()
        try:
            await ask()
        except OrionFsError as error:
            flight.error = error
            raise
        finally:
            del self._flights[subject]
            flight.done.set()


def _id_of(name: str) -> int | None:
    """The id that a name is, written as Orion writes it."""
    is_id = name.isascii() and name.isdecimal() and len(name) <= _ID_DIGITS_MAX and not name.startswith("0")
    return int(name) if is_id else None
