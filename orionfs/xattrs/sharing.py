"""Sharing of inodes: with whom an item is shared, as far as anybody knows, sharing it and taking it back.

What was set here is kept by `shares`, for the next versions of the item. Must not know how attributes are
called.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio

from orionfs.durable.share_rows import Share
from orionfs.errors import InvalidCall, NoSuchName, NotSupported
from orionfs.models import Key, Kind
from orionfs.orion.remote import Remote
from orionfs.orion.share_calls import Partner
from orionfs.outgoing.shares import Shares
from orionfs.tables.inodes import Inode
from orionfs.tree.places import place_of
from orionfs.xattrs.attribute_text import Named
from orionfs.xattrs.partners import Partners

SHARABLE = (Kind.FILE, Kind.DATASET, Kind.COLLECTION)

_KEPT_MAX = 1_000


@dataclass(frozen=True, slots=True)
class KnownShares:
    """The shares of an item; `is_all`: Orion told them, else they are what was set here."""

    shares: tuple[Share, ...]
    is_all: bool


class Sharing:
    """The shares of one mount's items."""

    def __init__(
        self,
        remote: Remote,
        shares: Shares,
        until_uploaded: Callable[[Inode], Awaitable[None]],
        ttl_s: float,
        clock: Callable[[], float] = trio.current_time,
    ) -> None:
        """`until_uploaded` waits until Orion has an item for an inode, or raises what keeps it here.

        What Orion has told holds for `ttl_s` seconds.
        """
        self._remote = remote
        self._shares = shares
        self._partners = Partners(remote)
        self._until_uploaded = until_uploaded
        self._ttl_s = ttl_s
        self._clock = clock
        self._told: OrderedDict[Key, tuple[tuple[Share, ...], float]] = OrderedDict()  # and when

    async def of(self, inode: Inode) -> KnownShares | None:
        """With whom an item is shared, in order; None where nobody can tell that. Raises AccessDenied."""
        key = inode.item.key
        if key is None or inode.item.kind not in SHARABLE:
            return None
        if self._remote.sharing.lists:
            return KnownShares(_in_order(await self._told_of(key)), is_all=True)
        shares = self._shares.known(key)
        return None if shares is None else KnownShares(_in_order(shares), is_all=False)

    async def permissions(self, inode: Inode, named: Named) -> tuple[str, ...] | None:
        """What somebody may do with an item by a share; None: nothing, as far as it is known."""
        share = await self._share_with(inode, named)
        return None if share is None else share.permissions

    async def share(self, inode: Inode, named: Named, permissions: tuple[str, ...]) -> None:
        """Let somebody do this with an item, instead of what an earlier share allowed.

        Raises AccessDenied, InvalidCall for somebody who is not known, NotSupported, Busy for a file that is
        being written.
        """
        await self._check(inode)
        partner = await self._partners.find(named)
        share = Share(partner.kind, partner.id, permissions, partner.name if partner.names else "")

        async def set_it(key: Key) -> None:
            try:
                await self._remote.sharing.share(key, partner.kind, partner.id, permissions)
            except InvalidCall:
                self._partners.forget(named)
                raise
            self.forget(key)
            if inode.item.key == key:
                await self._shares.note(key, share)

        await self._for_latest(inode, set_it)

    async def unshare(self, inode: Inode, named: Named) -> bool:
        """Take a share back; False if there is none. Raises AccessDenied, InvalidCall, NotSupported, Busy."""
        await self._check(inode)
        share = await self._share_with(inode, named)
        known = await self.of(inode)
        if share is None and known is not None and known.is_all:
            return False
        partner = Partner(share.partner, share.id, ()) if share else await self._partners.find(named)

        async def take_it(key: Key) -> None:
            await self._remote.sharing.unshare(key, partner.kind, partner.id)
            self.forget(key)
            if self._shares.known(key) is not None:
                await self._shares.forget(key, partner.kind, partner.id)

        await self._for_latest(inode, take_it)
        return True

    def forget(self, key: Key) -> None:
        """What Orion has told of the shares of an item counts no more."""
        self._told.pop(key, None)

    def forget_all(self) -> None:
        """Somebody wants to know how things are now."""
        self._told.clear()

    async def _told_of(self, key: Key) -> tuple[Share, ...]:
        shares, asked_at_s = self._told.get(key, ((), None))
        if asked_at_s is None or asked_at_s + self._ttl_s <= self._clock():
            asked_at_s = self._clock()
            shares = await self._remote.sharing.of(key)
            self._told[key] = (shares, asked_at_s)
            self._told.move_to_end(key)
            if len(self._told) > _KEPT_MAX:
                self._told.popitem(last=False)
        return shares

    async def _share_with(self, inode: Inode, named: Named) -> Share | None:
        known = await self.of(inode)
        partner = self._partners.known(named)
        for share in known.shares if known is not None else ():
            is_meant = partner is not None and (share.partner, share.id) == (partner.kind, partner.id)
            if is_meant or (share.partner == named.partner and named.name in (share.name, str(share.id))):
                return share
        return None

    async def _check(self, inode: Inode) -> None:
        """Raises what keeps an inode from being shared."""
        place_of(inode)
        if inode.item.kind not in SHARABLE:
            raise NotSupported(f"{inode.local_path()}: Orion shares no {inode.item.kind.value}s")
        if inode.item.key is None:
            await self._until_uploaded(inode)

    async def _for_latest(self, inode: Inode, act: Callable[[Key], Awaitable[None]]) -> None:
        """Act on the version that has the name in the end: another one may get its place meanwhile."""
        key: Key | None = None
        while inode.item.key is not None and inode.item.key != key:
            key = inode.item.key
            try:
                await act(key)
            except NoSuchName:
                if inode.item.key == key:
                    raise


def _in_order(shares: tuple[Share, ...]) -> tuple[Share, ...]:
    return tuple(sorted(shares, key=lambda share: (share.partner, share.id)))
