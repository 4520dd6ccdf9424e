"""With whom items are shared, as far as this machine knows, and how that outlives a save.

A save makes a new item, and Orion knows no call that lists the shares of one. So those that were set here are
kept and set again on the item that replaces another; for an item that was not made here, of which others may
have shared anything, the log says once that this can't be done. Must not know inodes.
"""

from __future__ import annotations

import logging

from orionfs.durable.journal_thread import JournalThread
from orionfs.durable.share_rows import Share
from orionfs.errors import AccessDenied, InvalidCall, NoSuchName
from orionfs.models import Key, Kind
from orionfs.orion.remote import Remote

log = logging.getLogger(__name__)


class Shares:
    """The known shares of one account's items."""

    def __init__(self, remote: Remote, journal: JournalThread) -> None:
        self._remote = remote
        self._journal = journal
        self._shared = journal.journal.shares.shared()
        self._unshared = journal.journal.shares.unshared_files()
        self._warned: set[Key] = set()

    def known(self, key: Key) -> tuple[Share, ...] | None:
        """The shares set here of an item; None for one that was neither made nor shared here."""
        return () if key in self._unshared else self._shared.get(key)

    async def note(self, key: Key, share: Share) -> None:
        """An item is shared so: what was set for this partner before is replaced."""
        await self._keep(key, (*self._others(key, share.partner, share.id), share))

    async def forget(self, key: Key, partner: str, id: int) -> None:
        """An item is not shared with a partner any more."""
        await self._keep(key, self._others(key, partner, id))

    async def carry(self, old: Key | None, new: Key, path: str) -> None:
        """Share the item that is to replace another as that one is, where this is known.

        Each share replaces what the partner had, so this may be repeated.
        """
        if old is None or old == new:
            return
        for share in self.known(old) or ():
            try:
                await self._remote.sharing.share(new, share.partner, share.id, share.permissions)
            except (AccessDenied, NoSuchName, InvalidCall) as refused:
                log.warning(
                    "%s: its new version could not be shared with %s %d: %s",
                    path,
                    share.partner,
                    share.id,
                    refused,
                )

    def placed(self, key: Key, replaced: Key | None, path: str) -> None:
        """An item that was uploaded here is in place; the journal has written that down."""
        shares: tuple[Share, ...] = ()
        if replaced is not None and replaced != key:
            self.warn_unknown(replaced, path)
            shares = self.known(replaced) or ()
            self.gone(replaced)
        if self.known(key) is None:
            self._set(key, shares)

    def warn_unknown(self, old: Key, path: str) -> None:
        """Another item has replaced this one: say once if nobody knows with whom that was shared."""
        if old.kind is not Kind.SHARD and self.known(old) is None and old not in self._warned:
            self._warned.add(old)
            log.warning(
                "%s: it was not made here, so this machine knows nobody with whom it is shared: if it was"
                " shared, its new version has to be shared again",
                path,
            )

    def gone(self, key: Key) -> None:
        """An item was removed; the journal hears of that otherwise."""
        self._shared.pop(key, None)
        self._unshared.discard(key)

    def _set(self, key: Key, shares: tuple[Share, ...]) -> None:
        self.gone(key)
        if shares:
            self._shared[key] = shares
        else:
            self._unshared.add(key)

    def _others(self, key: Key, partner: str, id: int) -> tuple[Share, ...]:
        return tuple(each for each in self.known(key) or () if (each.partner, each.id) != (partner, id))

    async def _keep(self, key: Key, shares: tuple[Share, ...]) -> None:
        self._set(key, shares)
        await self._journal.run(lambda journal: journal.shares.put(key, shares))
