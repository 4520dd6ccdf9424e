"""Lists folders again: those in use, in the background before their TTL ends; others when a user asks.

What such a listing shows is compared and told elsewhere (`differences`). In the background at most
`folders_max` folders, which a handler needed within the last two TTLs, so that a mount that nobody uses
asks nothing; never a folder of many pages. On demand everything that is known below a path.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import inf

import trio

from orionfs.errors import NoSuchName, OrionFsError
from orionfs.models import InodeNumber, Kind
from orionfs.orion.limiter import Priority, working_at
from orionfs.tables.inodes import Inode
from orionfs.tables.metacache import Listing
from orionfs.tree.differences import count_differences
from orionfs.tree.namespace import Namespace

log = logging.getLogger(__name__)

FOLDERS_MAX = 16
_PAGES_MAX = 5  # of a folder that is looked at again unasked
_USED_WITHIN_TTLS = 2
_DUE_AFTER_TTLS = 0.75
_TTL_MIN_S = 1.0  # who wants to know more often asks Orion each time
_CALM_S = 0.25  # a walk brings another folder into use every millisecond
_ON_DEMAND_IN_FLIGHT = 16


@dataclass(slots=True)
class Refreshed:
    """One refresh that a user asked for: how far it is, and what it found."""

    folders: int = 0
    left: int = 0
    names: Counter[str] = field(default_factory=Counter)  # "new", "gone", "changed" -> how many
    failed: list[OrionFsError] = field(default_factory=list)
    done: trio.Event = field(default_factory=trio.Event)


class Refresher:
    """The background refresh of one mount, and the ones on demand."""

    def __init__(
        self,
        namespace: Namespace,
        folders_max: int = FOLDERS_MAX,
        clock: Callable[[], float] = trio.current_time,
    ) -> None:
        self._namespace = namespace
        self._beliefs = namespace.beliefs
        self._uses = namespace.uses
        self._folders_max = folders_max
        self._clock = clock
        self._tried: dict[InodeNumber, float] = {}  # folder -> when the listing was asked that was to go
        self._nursery: trio.Nursery | None = None
        self.on_demand: list[Callable[[], None]] = []  # who else is to ask again when a user wants that
        self._beliefs.on_listed.append(lambda *_: self._uses.news.set())

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Look again at folders in use until cancelled."""
        async with trio.open_nursery() as self._nursery:
            task_status.started()
            while True:
                self._uses.news = trio.Event()
                due_at_s = self._start_due(self._nursery)
                with trio.move_on_after(due_at_s - self._clock()):
                    await self._uses.news.wait()
                    await trio.sleep(_CALM_S)

    # In the background

    def _start_due(self, nursery: trio.Nursery) -> float:
        """Begin with what is due; when the next folder will be (seconds)."""
        next_s = inf
        now_s = self._clock()
        latest = self._uses.latest(self._folders_max)
        self._tried = {number: at_s for number, at_s in self._tried.items() if number in dict(latest)}
        for number, used_at_s in latest:
            due_at_s = self._due_at_s(number, used_at_s)
            if due_at_s > now_s:
                next_s = min(next_s, due_at_s)
            else:
                nursery.start_soon(self._look_again, number)
        return next_s

    def _due_at_s(self, number: InodeNumber, used_at_s: float) -> float:
        """When a folder is to be listed again; inf: not unless it is used again."""
        ttl_s = self._beliefs.freshness.metadata_ttl_s
        folder = self._namespace.inodes.find(number)
        listing = self._beliefs.listing_of(folder) if folder is not None else None
        if listing is None or ttl_s < _TTL_MIN_S or listing.pages > _PAGES_MAX:
            return inf
        if folder is None or folder.item.kind is Kind.COLLECTION:  # nobody lists one unasked
            return inf
        due_at_s = listing.asked_at_s + _DUE_AFTER_TTLS * ttl_s
        is_over = listing.asked_at_s + ttl_s <= self._clock()
        if is_over or due_at_s > used_at_s + _USED_WITHIN_TTLS * ttl_s:
            return inf
        return inf if self._tried.get(number) == listing.asked_at_s else due_at_s

    async def _look_again(self, number: InodeNumber) -> None:
        folder = self._namespace.inodes.find(number)
        listing = self._beliefs.listing_of(folder) if folder is not None else None
        if folder is None or listing is None or self._tried.get(number) == listing.asked_at_s:
            return
        self._tried[number] = listing.asked_at_s
        try:
            with working_at(Priority.BACKGROUND):
                await self._beliefs.list_now(folder)
        except OrionFsError as error:
            log.debug("%s: not looked at again: %s", folder.local_path(), error)

    # On demand

    def start(self, path: str) -> Refreshed:
        """Begin to list again what is known at and below a path of the mount ("/a/b"); it may be gone."""
        assert self._nursery is not None
        self._namespace.views.doubt()
        for forget in self.on_demand:
            forget()
        folders = list(self._known(path))
        refreshed = Refreshed(left=len(folders))
        self._nursery.start_soon(self._refresh, folders, refreshed)
        return refreshed

    async def _refresh(self, folders: list[Inode], refreshed: Refreshed) -> None:
        changes = self._beliefs.changes

        def note(folder: Inode, before: Listing | None, after: Listing) -> None:
            if before is not None:
                shown = (changes.overlay(folder.number, listing) for listing in (before, after))
                refreshed.names.update(count_differences(*shown))

        self._beliefs.on_listed.append(note)
        try:
            in_flight = trio.CapacityLimiter(_ON_DEMAND_IN_FLIGHT)
            async with trio.open_nursery() as nursery:
                for folder in folders:
                    nursery.start_soon(self._refresh_folder, folder, refreshed, in_flight)
        finally:
            self._beliefs.on_listed.remove(note)
            refreshed.done.set()

    async def _refresh_folder(
        self, folder: Inode, refreshed: Refreshed, in_flight: trio.CapacityLimiter
    ) -> None:
        async with in_flight:
            try:
                if folder.is_attached:
                    await self._beliefs.list_now(folder)
                    refreshed.folders += 1
            except NoSuchName:
                log.debug("%s is gone", folder.local_path())  # as the listing of its parent says
            except OrionFsError as error:
                log.info("%s: not listed again: %s", folder.local_path(), error)
                refreshed.failed.append(error)
            refreshed.left -= 1

    def _known(self, path: str) -> Iterator[Inode]:
        """The folder that a path is in, as far as it is known, and all below the path."""
        inode = self._namespace.inodes.root
        names = [name for name in path.split("/") if name]
        while names and inode.children and names[0] in inode.children:
            inode = inode.children[names.pop(0)]
        if inode.parent is not None and not inode.parent.is_virtual and inode.anchor is None and not names:
            yield inode.parent
        if names or inode.children is None:
            if inode.children is not None and not inode.is_virtual:
                yield inode
            return
        yield from self._known_below(inode)

    def _known_below(self, inode: Inode) -> Iterator[Inode]:
        if inode.children is None:
            return
        if not inode.is_virtual and (inode.children or self._beliefs.has_answers(inode)):
            yield inode
        for child in list(inode.children.values()):
            yield from self._known_below(child)
