"""Lists folders ahead of whoever walks a tree, so that a walk takes its depth in round trips, not its width.

A walk is recognised when a folder is listed soon after the one it is in. The foreground goes first
(`limiter`), and joins what is on its way. Nothing is fetched that may be wasted in numbers: a few
folders at first, twice as many with each one that was foreseen, none into collections, none offline, none
once the walker has gone. Knows the namespace and its folders; must not know FUSE or handles.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from math import inf

import trio

from orionfs.errors import AccessDenied, NoSuchName, OrionFsError, Throttled
from orionfs.models import InodeNumber, Item, Kind
from orionfs.orion.limiter import Priority, working_at
from orionfs.orion.remote import Health, Remote
from orionfs.tables.inodes import Inode
from orionfs.tables.metacache import Listing
from orionfs.tables.walks import Stop, Visit, Walk
from orionfs.tasks import Background
from orionfs.tree.namespace import Namespace

log = logging.getLogger(__name__)

_PATIENCE_S = 2.0
_WALKS_MAX = 8
_SEEN_MAX = 64


@dataclass(slots=True)
class _Active:
    """A walk, when its walker was last seen, and how many folders are being listed ahead of it."""

    walk: Walk
    seen_at_s: float
    in_flight: int = 0


class Ahead:
    """All that is listed ahead in one mount."""

    def __init__(
        self,
        namespace: Namespace,
        remote: Remote,
        cache_items_max: int,
        in_flight_max: int = 16,
        clock: Callable[[], float] = trio.current_time,
    ) -> None:
        self._namespace = namespace
        self._beliefs = namespace.beliefs
        self._remote = remote
        self._items_max = cache_items_max // 4
        self._in_flight_max = in_flight_max
        self._clock = clock
        self._in_flight = 0
        self._walks: list[_Active] = []  # the one seen last is the last
        self._seen: dict[InodeNumber, float] = {}  # folder -> when it was listed, or one in it
        self._background = Background()
        namespace.on_visit.append(self._visited)
        self._beliefs.on_listed.append(self._listed)

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Home of what is listed ahead. Ends when cancelled."""
        await self._background.run(task_status)

    # What is seen

    def _visited(self, folder: Inode) -> None:
        """Somebody in the foreground lists a folder."""
        now_s = self._clock()
        self._walks = [each for each in self._walks if now_s - each.seen_at_s <= _PATIENCE_S]
        entries = self._beliefs.entries(folder)
        following = [each for each in self._walks if each.walk.expects(folder)]
        if following:
            self._follow(following[-1], folder, entries)
        else:
            self._walks = [each for each in self._walks if each.walk.root is not folder]
            for each in self._walks:
                each.walk.hold_back()
            if entries is None:
                self._recognise(folder, now_s)
        self._see(folder, now_s)

    def _listed(self, folder: Inode, _before: Listing | None, listing: Listing) -> None:
        """Orion has told what is in a folder."""
        entries = listing.items
        now_s = self._clock()
        if folder.number in self._seen:
            self._seen[folder.number] = now_s
        folders: list[str] | None = None
        for each in self._walks:
            if each.walk.is_about(folder):
                folders = _folders_in(entries) if folders is None else folders
                each.walk.tell(folder, folders, len(entries))
            if each.walk.visited is folder:
                each.seen_at_s = now_s
        self._go_on()

    def _follow(self, active: _Active, folder: Inode, entries: Mapping[str, Item] | None) -> None:
        """A walk goes on with this folder; where all is known already nothing is to be done."""
        self._walks.remove(active)
        self._walks.append(active)
        active.seen_at_s = self._clock()
        visit = active.walk.visit(folder)
        if entries is not None:
            active.walk.tell(folder, _folders_in(entries), len(entries))
        if entries is None or visit is Visit.AHEAD:
            self._go_on()

    def _recognise(self, folder: Inode, now_s: float) -> None:
        """A walk begins if the folder that this one is in was just listed."""
        above = folder.parent
        if above is None or now_s - self._seen.get(above.number, -inf) > _PATIENCE_S:
            return
        entries = self._beliefs.entries(above)
        if entries is None:
            return
        log.debug("a walk begins at %s", above.local_path())
        walk = Walk(above, _folders_in(entries))
        walk.begin(folder)
        self._walks = [*self._walks, _Active(walk, now_s)][-_WALKS_MAX:]
        self._go_on()

    def _see(self, folder: Inode, now_s: float) -> None:
        numbers = [folder.number]
        if folder.parent is not None and folder.parent.number in self._seen:
            numbers.insert(0, folder.parent.number)
        for number in numbers:
            self._seen.pop(number, None)
            self._seen[number] = now_s
        while len(self._seen) > _SEEN_MAX:
            del self._seen[next(iter(self._seen))]

    # What is done

    def _go_on(self) -> None:
        """List what may be listed now; the walk with the fewest on their way goes first."""
        if not self._walks or self._remote.health is Health.OFFLINE:
            return
        now_s = self._clock()
        able = [each for each in self._walks if now_s - each.seen_at_s <= _PATIENCE_S]
        while able and self._in_flight < self._in_flight_max:
            active = min(able, key=lambda each: each.in_flight)
            if not self._begin_one(active):
                able.remove(active)

    def _begin_one(self, active: _Active) -> bool:
        """False if this walk must wait, or has nothing left."""
        walk = active.walk
        if walk.ahead_count >= walk.lead or walk.ahead_items >= self._items_max:
            return False
        upcoming = walk.take_next()
        if upcoming is None:
            return False
        folder = self._folder(upcoming[0].folder, upcoming[1])
        stop = walk.add(*upcoming, folder) if folder is not None else None
        if stop is not None:
            self._begin(active, stop)
        return True

    def _folder(self, above: Inode, name: str) -> Inode | None:
        """The inode of a folder that a name is known to mean now, own changes included."""
        if above.children is None or not self._namespace.inodes.has(above):
            return None
        if above.is_virtual:
            return above.children.get(name)
        item = self._beliefs.known(above, name)
        return self._namespace.bind(above, name, item) if item and item.kind is Kind.FOLDER else None

    def _begin(self, active: _Active, stop: Stop) -> None:
        entries = self._beliefs.entries(stop.folder)
        if entries is not None:
            active.walk.tell(stop.folder, _folders_in(entries), len(entries))
            return
        active.in_flight += 1
        self._in_flight += 1
        self._background.start("listing ahead", partial(self._list, active, stop.folder))

    async def _list(self, active: _Active, folder: Inode) -> None:
        try:
            with working_at(Priority.PREFETCH):
                await self._beliefs.list_ahead(folder)
        except OrionFsError as error:
            log.debug("not listed ahead: %s", error)
            self._note_failure(active, folder, error)
        finally:
            active.in_flight -= 1
            self._in_flight -= 1
        self._go_on()

    def _note_failure(self, active: _Active, folder: Inode, error: OrionFsError) -> None:
        """Who needs that folder asks again. One that may not be listed stops nothing else."""
        active.walk.tell(folder, (), 0)
        if isinstance(error, Throttled):
            for each in self._walks:
                each.walk.stop()
        elif not isinstance(error, NoSuchName | AccessDenied):
            active.walk.stop()


def _folders_in(entries: Mapping[str, Item]) -> list[str]:
    """Names of the folders; collections are never fetched ahead."""
    return [name for name, item in entries.items() if item.kind is Kind.FOLDER]
