"""Folders that were renamed here where Orion can't move folders: how far they are, and how they look.

A relocation re-creates a tree at its new path and assigns the items, folder by folder. Here it shows the
tree at its new path from the start. Until the items of a folder are there its listing is the one of its
old path and the one of its new path, each item once; the old path of the tree is hidden. All of it goes by
Orion's paths, so a mount that resumes a relocation shows the same. `relocating` does the work and alone
changes this; must not know inodes or sessions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from math import inf

import trio

from orionfs.durable.journal import RelocationRow
from orionfs.errors import OrionFsError
from orionfs.models import Item, Kind
from orionfs.orion.limiter import Priority, Urgency
from orionfs.orion.listings import FolderAnswer
from orionfs.orion.recent import RecentChanges

Identity = tuple[Kind, int | str]


class Relocation:
    """One tree on its way. Its folders are named by what follows the path of its top: "", "/a", "/a/b"."""

    def __init__(self, row: RelocationRow, *, is_made: bool) -> None:
        """`is_made`: the top is at the new path already, with nothing in it."""
        self.row = row
        self.is_made = is_made
        self.is_tagged = False  # the top has the tags of the old one
        self.is_of_before = not is_made  # an earlier daemon has promised it
        self.pending: dict[str, None] = {"": None}  # folders whose items, and all below, are not there yet
        self.taken: set[str] = set()  # of these, being worked on
        self.old_folders: set[str] = {""}  # what there is to remove at the old place
        self.left: dict[str, dict[Identity, tuple[Item, OrionFsError]]] = {}  # folder -> what stays, and why
        self.error: OrionFsError | None = None  # why it does not go on for the moment
        self.progress = trio.Event()
        self.urgency = Urgency(Priority.BACKGROUND)  # of its calls
        self._wanted: set[str] = set()

    def __repr__(self) -> str:
        return f"<Relocation {self.row.old!r} -> {self.row.new!r}, {len(self.pending)} pending>"

    def inner(self, path: str) -> str | None:
        """The folder of the tree that a path of its new place means, None for a path elsewhere."""
        return path[len(self.row.new) :] if is_below(path, self.row.new) else None

    def pending_above(self, folder: str) -> str | None:
        """The pending folder that `folder` is or lies in; None: what is to be there is there."""
        return next((above for above in _down_to(folder) if above in self.pending), None)

    def is_at_both(self, folder: str) -> bool:
        """True if items of a folder may still be at its old place."""
        return self.pending_above(folder) is not None or folder in self.left

    def want(self, path: str) -> None:
        """Somebody waits for a path of the new place: what it lies in goes first."""
        folder = self.inner(path)
        if folder is not None:
            self._wanted.add(folder)

    def take(self) -> str | None:
        """A pending folder that nobody works on; who takes it gives it back, or lets it arrive."""
        wanted = [above for above in map(self.pending_above, self._wanted) if above is not None]
        for folder in (*wanted, *self.pending):
            if folder not in self.taken:
                self.taken.add(folder)
                return folder
        return None

    def arrive(self, folder: str, below: Iterable[str]) -> None:
        """All items of a folder are at their new place; the folders below it come next."""
        self.pending.pop(folder, None)
        self.pending.update(dict.fromkeys(below))
        self.old_folders.update(below)
        self._wanted = {wanted for wanted in self._wanted if self.pending_above(wanted) is not None}

    def leave(self, folder: str, item: Item, why: OrionFsError) -> None:
        """Something of a folder stays at its old place."""
        self.left.setdefault(folder, {})[_identity(item)] = (item, why)

    def leave_folder(self, folder: str, why: OrionFsError) -> None:
        """All that may be in a folder stays at its old place."""
        above, _, name = folder.rpartition("/")
        self.leave(above, Item(Kind.FOLDER, None, name), why)

    def stays(self, folder: str, row: Item) -> bool:
        """True for a row of an old folder that is not to be moved now: refused, or looked through."""
        is_old = row.kind is Kind.FOLDER and f"{folder}/{row.name}" in self.old_folders
        return is_old or _identity(row) in self.left.get(folder, ())

    def note_progress(self) -> None:
        """Whoever waits for this looks again."""
        self.progress.set()
        self.progress = trio.Event()


class Relocations:
    """All trees on their way, and what they change in what Orion tells."""

    def __init__(self, recent: RecentChanges, clock: Callable[[], float]) -> None:
        """`recent` knows what this mount has just changed on Orion."""
        self._recent = recent
        self._clock = clock
        self._corrects_until_s = -inf  # answers may lag behind the end of the last relocation so long
        self.active: list[Relocation] = []

    def end(self, move: Relocation) -> None:
        """A relocation is over."""
        self.active.remove(move)
        self._corrects_until_s = self._clock() + 2 * self._recent.read_lag_s

    def blocking(self, path: str, *, is_deep: bool) -> Relocation | None:
        """A relocation that must go on before the name at a path is changed.

        `is_deep`: before what is below it is moved or removed as well, so nothing of it may be under way.
        """
        folder = path.rpartition("/")[0]
        for move in self.active:
            if is_below(path, move.row.old) or (path == move.row.new and not move.is_tagged):
                return move
            inner = move.inner(folder)
            if inner is not None and move.is_at_both(inner):
                return move
            if is_deep and any(is_below(path, top) or is_below(top, path) for top in _tops(move)):
                return move
        return None

    def at_both(self, path: str) -> tuple[Relocation, str] | None:
        """The relocation of a folder whose items may be at its old place, and that place."""
        for move in self.active:
            folder = move.inner(path)
            if folder is not None and move.is_at_both(folder):
                return move, move.row.old + folder
        return None

    # What answers look like

    def corrected(self, path: str, answer: FolderAnswer, asked_at_s: float) -> FolderAnswer:
        """A listing with what this mount has just moved, as long as that may be much."""
        if not self.active and self._clock() > self._corrects_until_s:
            return answer
        return replace(answer, items=self._recent.corrected(path, answer.items, asked_at_s))

    def is_expected(self, path: str, asked_at_s: float) -> bool:
        """True for a folder that was made so lately that nobody may have heard of it."""
        return any(move.row.new == path for move in self.active) or self._recent.is_made(path, asked_at_s)

    def shown(self, path: str, answer: FolderAnswer) -> FolderAnswer:
        """A listing of a folder as users here are to see it: old places of trees hidden, new ones there."""
        if not self.active:
            return answer
        is_inside = any(move.inner(path) is not None for move in self.active)
        old = {move.row.old for move in self.active}
        rows: dict[Identity, Item] = {}
        for item in (*answer.items, *self._new_tops(path)):
            if item.kind is not Kind.FOLDER:
                rows.setdefault(_identity(item), item)
            elif f"{path.rstrip('/')}/{item.name}" not in old:
                rows.setdefault(_identity(item), replace(item, id=None) if is_inside else item)
        return replace(answer, items=tuple(rows.values()))

    def _new_tops(self, path: str) -> list[Item]:
        tops = [each.row.new.rpartition("/") for each in self.active]
        return [Item(Kind.FOLDER, None, name) for folder, _, name in tops if folder == path.rstrip("/")]


def is_below(path: str, folder: str) -> bool:
    """True for the folder itself as well."""
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def merged(answers: Sequence[FolderAnswer]) -> FolderAnswer:
    """Listings of several places of one folder as one, the old place first.

    An item is as it was told last; a folder as at its old place: the new one gets its tags a moment later.
    """
    rows: dict[Identity, Item] = {}
    for item in (item for answer in answers for item in answer.items):
        if item.kind is not Kind.FOLDER or _identity(item) not in rows:
            rows[_identity(item)] = item
    return FolderAnswer(
        tuple(rows.values()),
        is_complete=all(answer.is_complete for answer in answers),
        pages=sum(answer.pages for answer in answers),
    )


def batches(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """The items in pieces of at most `size`."""
    edges = [*range(0, len(items), size), len(items)]
    return (items[start:end] for start, end in pairwise(edges))


def _tops(move: Relocation) -> tuple[str, str]:
    return move.row.old, move.row.new


def _down_to(folder: str) -> Iterator[str]:
    """The folders from the top down to this one: "", "/a", "/a/b" for "/a/b"."""
    yield ""
    yield from (folder[:at] for at, letter in enumerate(folder) if at and letter == "/")
    if folder:
        yield folder


def _identity(item: Item) -> Identity:
    """A folder is its name: the two places of one have two ids."""
    is_named = item.id is None or item.kind is Kind.FOLDER
    return (item.kind, item.name if is_named or item.id is None else item.id)
