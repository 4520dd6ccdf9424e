"""Looking at what is there, without changing anything: a few folders, breadth first, a few questions each.

Fills `Evidence`. What may not be seen or is strange is passed over; only a stack that does not answer
any longer ends the walk with an error.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from orionfs.errors import OrionFsError, TimedOut
from orionfs.models import Account, Kind
from orionfs.probe.answers import Listing, Row, has_tags, id_of, kind_of, name_of, size_of
from orionfs.probe.asking import Desk
from orionfs.probe.findings import Cut, Evidence, Filtered, Paged, name_or_id

_QUESTIONED_FOLDERS = 2
_UNCOUNTED_FOLDERS = 3
_QUESTIONED_FILES = 3
_SMALL_FILE_BYTES = 1 << 20
_SHARE_OF_TIME = 1 / 3


def tops_of(account: Account) -> list[str]:
    """Where an account has its data, the nearest first."""
    project = f"/project/{account.project_id}"
    return [account.home, f"{project}/team", f"{project}/workspace", "/organization"]


def walk(desk: Desk, seen: Evidence, starts: Iterable[str]) -> None:
    """Look into these folders and what is below them, as far as the pace allows. Raises TimedOut."""
    waiting = deque(dict.fromkeys(starts))
    ends_at = desk.now() + desk.pace.experiments_s * _SHARE_OF_TIME
    for path in list(waiting)[:1]:
        _stat(desk, seen, path)
    looked_into = 0
    while waiting and looked_into < desk.pace.folders and desk.now() < ends_at:
        path = waiting.popleft()
        looked_into += 1
        listing = _list(desk, path)
        if listing is None:
            continue
        seen.listings.append(listing)
        ask_about(desk, seen, path, listing)
        waiting += [f"{path}/{name_of(row)}" for row in listing.rows if _can_be_entered(row)]
    _ask_for_tags(desk, seen)


def small_file(seen: Evidence) -> int | None:
    """The id of a File whose contents are quickly fetched, if its row tells so."""
    sizes = ((size_of(row), id_of(row)) for row in seen.rows(Kind.FILE))
    return next((id for size, id in sizes if id is not None and 0 < (size or 0) <= _SMALL_FILE_BYTES), None)


def ask_about(desk: Desk, seen: Evidence, path: str, listing: Listing) -> None:
    """The questions that a folder of somebody's can answer. Raises TimedOut."""
    try:
        if len({name_of(row) for row in listing.rows}) > 1 and len(seen.paged) < _QUESTIONED_FOLDERS:
            ask_for_pages(desk, seen, path, name_of(listing.rows[-1]))
        is_uncounted = listing.total is None and len(listing.rows) > 1
        if listing.is_cut() or (is_uncounted and len(seen.listings) <= _UNCOUNTED_FOLDERS):
            ask_for_more(desk, seen, path, listing)
    except TimedOut:
        raise
    except OrionFsError:
        return


def ask_for_pages(desk: Desk, seen: Evidence, path: str, name: str) -> None:
    """Whether pages and filters count in a folder with several names, one of them `name`."""
    pages = [desk.ls(path, {"limit": 1, "offset": offset}) for offset in (0, 1)]
    seen.paged.append(Paged(pages[0], pages[1]))
    seen.filtered.append(Filtered(name, desk.ls(path, {"name": name})))


def ask_for_more(desk: Desk, seen: Evidence, path: str, listing: Listing) -> None:
    """Whether a folder holds more than a listing gave of it, which was then cut. Raises OrionFsError."""
    if 0 < len(listing.rows) < desk.rows_asked:
        more = desk.ls_most(path, len(listing.rows))
        known = {name_or_id(row) for row in listing.rows}
        if any(name_or_id(row) not in known for row in more.rows):
            seen.cuts.append(Cut(len(listing.rows), desk.rows_asked))


def _list(desk: Desk, path: str) -> Listing | None:
    try:
        return desk.ls_most(path)
    except TimedOut:
        raise
    except OrionFsError:
        return None


def _stat(desk: Desk, seen: Evidence, path: str) -> None:
    try:
        found = desk.stat(path)
    except TimedOut:
        raise
    except OrionFsError:
        return
    if found is not None:
        seen.stats.append(found)


def _can_be_entered(row: Row) -> bool:
    name = name_of(row)
    return kind_of(row) is Kind.FOLDER and bool(name) and "/" not in name


def _ask_for_tags(desk: Desk, seen: Evidence) -> None:
    """Find an item that carries tags its row does not tell, if no row tells any."""
    if any(has_tags(row) for row in seen.rows()):
        return
    ids = [id for row in seen.rows(Kind.FILE) if (id := id_of(row)) is not None]
    for id in ids[:_QUESTIONED_FILES]:
        try:
            tags = desk.ask("list_tags", Kind.FILE.value, id)
        except TimedOut:
            raise
        except OrionFsError:
            continue
        seen.tag_rows += [tag for tag in tags if isinstance(tag, dict)]
        if tags:
            seen.tagged.add(id)
