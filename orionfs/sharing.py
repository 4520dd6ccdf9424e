"""Sharing of inodes: with whom an item is shared, as far as anybody knows, sharing it and taking it back.

What was set here is kept by `shares`, for the next versions of the item. Must not know how attributes are
called.
"""

from __future__ import annotations

from orionfs.attribute_text import Named
from orionfs.errors import InvalidCall, NotSupported
from orionfs.inodes import Inode
from orionfs.models import Key, Kind
from orionfs.partners import Partners
from orionfs.places import place_of
from orionfs.remote import Remote
from orionfs.share_calls import Partner
from orionfs.share_rows import Share
from orionfs.shares import Shares

SHARABLE = (Kind.FILE, Kind.DATASET, Kind.COLLECTION)


class Sharing:
    """The shares of one mount's items."""

    def __init__(self, remote: Remote, shares: Shares) -> None:
        self._remote = remote
        self._shares = shares
        self._partners = Partners(remote)

    async def of(self, inode: Inode) -> tuple[Share, ...] | None:
        """With whom an item is shared, in order; None where nobody can tell that."""
        key = inode.item.key
        if key is None or inode.item.kind not in SHARABLE:
            return None
        shares = self._shares.known(key)
        return None if shares is None else tuple(sorted(shares, key=lambda each: (each.partner, each.id)))

    async def permissions(self, inode: Inode, named: Named) -> tuple[str, ...] | None:
        """What somebody may do with an item by a share; None: nothing, as far as it is known."""
        partner = self._partners.known(named)
        for share in await self.of(inode) or ():
            is_meant = partner is not None and (share.partner, share.id) == (partner.kind, partner.id)
            if is_meant or (share.partner == named.partner and named.name in (share.name, str(share.id))):
                return share.permissions
        return None

    async def share(self, inode: Inode, named: Named, permissions: tuple[str, ...]) -> None:
        """Let somebody do this with an item, instead of what an earlier share allowed.

        Raises AccessDenied, InvalidCall for somebody who is not known, NotSupported.
        """
        key = _sharable(inode)
        partner = await self._partners.find(named)
        await self._remote.sharing.share(key, partner.kind, partner.id, permissions)
        share = Share(partner.kind, partner.id, permissions, partner.name if partner.names else "")
        await self._shares.note(key, share)

    async def unshare(self, inode: Inode, named: Named) -> None:
        """Take a share back. Raises AccessDenied, InvalidCall, NotSupported."""
        key = _sharable(inode)
        partner = await self._partner_of(inode, named)
        await self._remote.sharing.unshare(key, partner.kind, partner.id)
        if self._shares.known(key) is not None:
            await self._shares.forget(key, partner.kind, partner.id)

    async def _partner_of(self, inode: Inode, named: Named) -> Partner:
        """Whom a share is taken back from: one that is known needs no looking up."""
        for share in await self.of(inode) or ():
            if share.partner == named.partner and share.name == named.name:
                return Partner(share.partner, share.id, (share.name,))
        return await self._partners.find(named)


def _sharable(inode: Inode) -> Key:
    place_of(inode)
    if inode.item.kind not in SHARABLE:
        raise NotSupported(f"{inode.local_path()}: Orion shares no {inode.item.kind.value}s")
    if inode.item.key is None:
        raise InvalidCall(f"{inode.local_path()} is not on Orion yet, so it can't be shared: close it first")
    return inode.item.key
