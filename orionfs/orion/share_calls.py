"""Whom items are shared with, and links to items, through the session.

Part of `remote`, which makes the calls and owns their deadlines. What users and projects there are is told
as rows, read tolerantly. Must not know inodes, or how attributes spell any of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orionfs.durable.share_rows import Share
from orionfs.models import Key
from orionfs.orion.particulars import read_partner, read_share
from orionfs.orion.shard_calls import Session


@dataclass(frozen=True, slots=True)
class Partner:
    """A user or a project ("user", "project") as a listing tells it; `names` are all that people call it."""

    kind: str
    id: int
    names: tuple[str, ...]

    @property
    def name(self) -> str:
        """What it is called first of all; its id where nothing is told."""
        return self.names[0] if self.names else str(self.id)


class ShareCalls:
    """Shares and links of one account on one stack."""

    def __init__(self, session: Session, *, lists: bool) -> None:
        """`lists`: the session can tell with whom an item is shared."""
        self._session = session
        self.lists = lists

    async def of(self, key: Key) -> tuple[Share, ...]:
        """With whom an item is shared; only if `lists`. Raises NoSuchName, AccessDenied."""
        deadline_s = self._session.limits.read_deadline_s
        rows = await self._session.retrying(deadline_s, "list_shares", key.kind.value, key.reference)
        return tuple(Share(*told) for told in map(read_share, rows) if told is not None)

    async def share(self, key: Key, partner: str, id: int, permissions: Sequence[str]) -> None:
        """Share an item with a "user" or "project"; what it was allowed before is replaced.

        Raises AccessDenied, NoSuchName, InvalidCall.
        """
        await self._change("share_resource", key, partner, id, {"permissions": list(permissions)})

    async def unshare(self, key: Key, partner: str, id: int) -> None:
        """Take a share back; there may be none. Raises AccessDenied, NoSuchName, InvalidCall."""
        await self._change("unshare_resource", key, partner, id, {})

    async def partners(self, kind: str, filters: Mapping[str, Any], count_max: int) -> list[Partner]:
        """The users or projects that a listing with these filters gives, whether it heeds them or not."""
        deadline_s = self._session.limits.read_deadline_s
        rows = await self._session.retrying(deadline_s, "find", kind, dict(filters), count_max)
        found = (read_partner(row) for row in rows)
        return [Partner(kind, *told) for told in found if told is not None]

    async def link(self, key: Key) -> Any:
        """A link to an item as the session makes it, for JSON. Raises InvalidCall, NoSuchName."""
        return await self._session.retrying(
            self._session.limits.read_deadline_s, "link", key.kind.value, key.reference
        )

    async def _change(self, method: str, key: Key, partner: str, id: int, more: Mapping[str, Any]) -> None:
        pairs = ((key.kind.value, key.reference), (partner, id))
        resources = [{"resource": {"kind": kind, "id": each}} for kind, each in pairs]
        await self._session.retrying(
            self._session.limits.change_deadline_s,
            "documented",
            method,
            resources,
            dict(more),
            is_conflict_busy=True,
        )
