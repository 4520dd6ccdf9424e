"""Names in the order of close: one lane a folder, one `assign_paths` for many versions that wait in it.

A version that has its bytes on Orion comes here for its name. It gets it when all before it in its folder
have theirs, or in one call with them, all or none. Whoever comes too early is sent away (`NotItsTurn`) and
waits elsewhere, since in here it holds what renames of it need. Used by `carry`; `attempts` knows when it is
worth coming. Must not know uploads or inodes.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

import trio

from orionfs.errors import OrionFsError
from orionfs.models import Assignment, Item
from orionfs.orion.remote import Remote
from orionfs.outgoing.assigning import Assigner
from orionfs.outgoing.order import Order

log = logging.getLogger(__name__)

_AT_ONCE_MAX = 100


class NotItsTurn(Exception):
    """Another version of the folder comes first; `until_news` tells when that may have changed."""


@dataclass(eq=False, slots=True)
class _Waiting:
    """One version in its lane. `is_alone`: a call for many, it among them, was refused."""

    place: Assignment
    over: Item | None
    is_alone: bool = False
    has_name: bool = False

    @property
    def goes_alone(self) -> bool:
        return self.is_alone or self.over is not None


@dataclass(eq=False, slots=True)
class _Lane:
    waiting: dict[str, _Waiting] = field(default_factory=dict)
    under_way: trio.Event | None = None


class Lanes:
    """Gives versions their names; those that `order` does not know at once, the others in their order."""

    def __init__(self, remote: Remote, assigner: Assigner, order: Order) -> None:
        self._remote = remote
        self._assigner = assigner
        self._order = order
        self._lanes: dict[str, _Lane] = {}
        self._news: dict[str, trio.Event] = {}
        self._hurdles: dict[str, trio.Event] = {}

    def tell(self, folder: str) -> None:
        """Something has changed in who of a folder comes first."""
        news = self._news.pop(folder, None)
        if news is not None:
            news.set()

    def forget(self, mark: str, folder: str) -> None:
        """A version needs no name any more."""
        self._hurdles.pop(mark, None)
        self.tell(folder)

    async def until_turn(self, mark: str, folder: str) -> None:
        """Wait for the next change in a folder, if nothing is to be had there before it."""
        hurdle = self._hurdles.pop(mark, None)
        if hurdle is not None:
            await hurdle.wait()
        elif not self._order.has_turn(mark):
            await self._next_news(folder).wait()

    def has_turn(self, mark: str) -> bool:
        """True if it is worth coming for the name."""
        return mark not in self._hurdles and self._order.has_turn(mark)

    async def place(self, mark: str, place: Assignment, over: Item | None) -> None:
        """Give a version its name, in place of `over`. Raises NotItsTurn, and what `Assigner.place` does."""
        if mark not in self._order:
            await self._assigner.place(place, over)
            return
        lane = self._lanes.setdefault(place.folder, _Lane())
        lane.waiting[mark] = own = _Waiting(place, over)
        try:
            while not own.has_name:
                if lane.under_way is not None:
                    await lane.under_way.wait()
                else:
                    await self._go(lane, mark, place.folder)
        finally:
            del lane.waiting[mark]
            if not lane.waiting:
                self._lanes.pop(place.folder, None)

    async def _go(self, lane: _Lane, mark: str, folder: str) -> None:
        """One call for the first of a lane, `mark` among them; only that is news to others."""
        first = self._first(lane, folder)
        if mark not in first:
            self._hurdles[mark] = self._next_news(folder)
            raise NotItsTurn(mark)
        lane.under_way = trio.Event()
        try:
            self.tell(folder)  # whoever comes meanwhile may go along with the next call
            await self._assign(first)
        finally:
            lane.under_way.set()
            lane.under_way = None
            self.tell(folder)

    def _first(self, lane: _Lane, folder: str) -> dict[str, _Waiting]:
        """Those that can have their names in one call now."""
        first: dict[str, _Waiting] = {}
        for mark in self._order.first(folder):
            waiting = lane.waiting.get(mark)
            if waiting is None or len(first) == _AT_ONCE_MAX or (first and waiting.goes_alone):
                break
            first[mark] = waiting
            if waiting.goes_alone:
                break
        return first

    async def _assign(self, first: dict[str, _Waiting]) -> None:
        if len(first) == 1:
            ((mark, only),) = first.items()
            await self._assigner.place(only.place, only.over)
        else:
            try:
                await self._assigner.prepare()
                await self._remote.assign(*(each.place for each in first.values()))
            except OrionFsError as error:
                log.debug("%d names one by one: %s", len(first), error)
                for each in first.values():
                    each.is_alone = True
                return
        for mark, each in first.items():
            each.has_name = True
            self._order.leave(mark)

    def _next_news(self, folder: str) -> trio.Event:
        return self._news.setdefault(folder, trio.Event())
