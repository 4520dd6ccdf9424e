"""Which user or project a name means: looked up once, then remembered.

What a listing of users does with filters is not public, so what its rows tell counts. A name that nobody
has, or several, is an error that names who may be meant. Used by `sharing`; must not know items.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from orionfs.errors import InvalidCall
from orionfs.orion.remote import Remote
from orionfs.orion.share_calls import Partner
from orionfs.xattrs.attribute_text import Named

_LISTED_MAX = 5_000
_CANDIDATES_MAX = 10
_FILTER = {"user": "username", "project": "name"}


class Partners:
    """The users and projects of one stack, as far as somebody has named them."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote
        self._known: dict[Named, Partner] = {}

    def known(self, named: Named) -> Partner | None:
        """Whom a name means, if that was looked up before; a project's id needs no looking up."""
        if named.partner == "project" and _is_id(named.name):
            return Partner(named.partner, int(named.name), ())
        return self._known.get(named)

    def forget(self, named: Named) -> None:
        """Orion knows nobody like that any more."""
        self._known.pop(named, None)

    async def find(self, named: Named) -> Partner:
        """Whom a name means. Raises InvalidCall, naming the candidates, unless it is exactly one."""
        partner = self.known(named)
        if partner is None:
            partner = self._known[named] = await self._look_up(named)
        return partner

    async def _look_up(self, named: Named) -> Partner:
        filters = {_FILTER[named.partner]: named.name}
        meant = _meant(await self._remote.sharing.partners(named.partner, filters, _LISTED_MAX), named.name)
        if len(meant) == 1:
            return meant[0]
        everybody = await self._remote.sharing.partners(named.partner, {}, _LISTED_MAX)
        meant = meant or _meant(everybody, named.name)
        if len(meant) == 1:
            return meant[0]
        if meant:
            raise InvalidCall(f"{named.name} may be any of these {named.partner}s: {_told(meant)}")
        like = _like(everybody, named.name)
        did_you_mean = f"; it may be {_told(like)}" if like else ""
        raise InvalidCall(f"there is no {named}{did_you_mean}")


def _meant(found: Iterable[Partner], name: str) -> Sequence[Partner]:
    """Those whom a name means: by what they are called first of all, else by any name, else by their id."""
    each_once = list({partner.id: partner for partner in found}.values())
    folded = name.casefold()
    first = [partner for partner in each_once if partner.name == name]
    others = [p for p in each_once if folded in (each.casefold() for each in p.names)]
    return first or others or [p for p in each_once if _is_id(name) and p.id == int(name)]


def _like(found: Iterable[Partner], name: str) -> Sequence[Partner]:
    """Those of whose names this is a part, or who have a name that is a part of this."""
    folded = name.casefold()
    return [
        partner
        for partner in found
        if any(folded in each.casefold() or each.casefold() in folded for each in partner.names)
    ]


def _told(partners: Sequence[Partner]) -> str:
    names = [
        f"{partner.name} ({', '.join([*partner.names[1:], str(partner.id)])})"
        for partner in partners[:_CANDIDATES_MAX]
    ]
    return ", ".join([*names, "..."] if len(partners) > _CANDIDATES_MAX else names)


def _is_id(name: str) -> bool:
    return name.isascii() and name.isdecimal() and len(name) <= 18
