"""Which of the versions that wait for Orion starts next, and which may have its name; pure.

Versions are known by their marks. They start in the order in which they were closed, files of one folder
above all, and get their names in that order: whoever waits for `DONE` finds `result`. Once the ordinary
places are taken the rest is for small files of other folders, so that a few large ones do not stand in the
way of everything. Whoever carries a version tells here how far it is. Must not know uploads, folders beyond
their paths, or clocks.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import Enum

PLACES = 16
PLACES_OF_SMALL = 4
SMALL_BYTES = 2**20
_SENT_MAX = 256  # versions of one folder that have their bytes on Orion and wait for one before them
_LOOKED_AT_MAX = 1000  # of those that wait, when only a small one may start


class Stage(Enum):
    """How far a version is."""

    WAITING = "waiting"  # for a place
    STARTED = "started"  # its bytes are on their way, in a place
    RESTING = "resting"  # an attempt has failed, or its time has not come
    SENT = "sent"  # its bytes are on Orion; it waits for its name


@dataclass(slots=True)
class _Entry:
    mark: str
    turn: int
    folder: str
    size_bytes: int
    stage: Stage

    @property
    def is_small(self) -> bool:
        return self.size_bytes < SMALL_BYTES


class Order:
    """The versions of one mount that are to reach Orion in order."""

    def __init__(self, places: int = PLACES, places_of_small: int = PLACES_OF_SMALL) -> None:
        self._places = places
        self._ordinary_places = places - places_of_small
        self._turns = itertools.count(1)
        self._entries: dict[str, _Entry] = {}
        self._folders: dict[str, list[tuple[int, str]]] = {}  # folder -> (turn, mark), in the order of close
        self._waiting: list[tuple[int, str]] = []
        self._started: dict[str, _Entry] = {}
        self._sent: Counter[str] = Counter()  # folder -> how many wait there for their names

    def __contains__(self, mark: str) -> bool:
        return mark in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    # What there is

    def enter(self, mark: str, folder: str, size_bytes: int) -> None:
        """A version was closed: it is the last of all. It rests until `wait`."""
        entry = _Entry(mark, next(self._turns), folder, size_bytes, Stage.RESTING)
        self._entries[mark] = entry
        insort(self._folders.setdefault(folder, []), (entry.turn, mark))

    def move(self, mark: str, folder: str) -> None:
        """A version goes to another folder; its place in the order stays."""
        entry = self._entries.get(mark)
        if entry is None or entry.folder == folder:
            return
        stage = entry.stage
        self._set_stage(entry, Stage.RESTING)
        self._leave_folder(entry)
        entry.folder = folder
        insort(self._folders.setdefault(folder, []), (entry.turn, mark))
        self._set_stage(entry, stage)

    def leave(self, mark: str) -> None:
        """A version has its name, or is not wanted any more."""
        entry = self._entries.get(mark)
        if entry is not None:
            self._set_stage(entry, Stage.RESTING)
            self._leave_folder(entry)
            del self._entries[mark]

    # How far it is

    def wait(self, mark: str) -> None:
        """A version may start as soon as there is a place for it."""
        self._set_stage(self._entries[mark], Stage.WAITING)

    def rest(self, mark: str) -> None:
        """A version is not to start for now; those behind it in its folder do not get their names either."""
        entry = self._entries.get(mark)
        if entry is not None:
            self._set_stage(entry, Stage.RESTING)

    def sent(self, mark: str) -> None:
        """The bytes of a version are on Orion; its place is free."""
        entry = self._entries.get(mark)
        if entry is not None:
            self._set_stage(entry, Stage.SENT)

    # What comes next

    def start(self) -> Iterator[str]:
        """The marks of those that start now, each in a place of its own."""
        while (entry := self._next()) is not None:
            self._set_stage(entry, Stage.STARTED)
            yield entry.mark

    def has_turn(self, mark: str) -> bool:
        """True if every version before it in its folder has its bytes on Orion, too."""
        entry = self._entries.get(mark)
        return entry is None or all(before.stage is Stage.SENT for before in self._before(entry))

    def before(self, mark: str) -> list[str]:
        """The versions of its folder that were closed before it and have no names yet."""
        entry = self._entries.get(mark)
        return [before.mark for before in self._before(entry)] if entry is not None else []

    def held_up_by(self, marks: Collection[str]) -> set[str]:
        """These versions, and all that can't have their names before them."""
        folders = {self._entries[mark].folder for mark in marks if mark in self._entries}
        held_up = set(marks)
        for folder in folders:
            turns = itertools.dropwhile(lambda turn: turn[1] not in marks, self._folders[folder])
            held_up.update(mark for _, mark in turns)
        return held_up

    def first(self, folder: str) -> Iterator[str]:
        """The versions that wait for names in a folder, as far as they may have them, in order."""
        for _, mark in self._folders.get(folder, ()):
            if self._entries[mark].stage is not Stage.SENT:
                return
            yield mark

    def _before(self, entry: _Entry) -> Iterator[_Entry]:
        for turn, mark in self._folders[entry.folder]:
            if turn >= entry.turn:
                return
            yield self._entries[mark]

    def _next(self) -> _Entry | None:
        """Who takes the next place, if anybody may."""
        if len(self._started) >= self._places:
            return None
        is_ordinary = len(self._started) < self._ordinary_places
        occupied = {each.folder for each in self._started.values() if not each.is_small}
        passed: set[str] = set()
        for _, mark in itertools.islice(self._waiting, _LOOKED_AT_MAX):
            entry = self._entries[mark]
            is_allowed = is_ordinary or (entry.is_small and entry.folder not in occupied)
            if is_allowed and entry.folder not in passed and self._sent[entry.folder] < _SENT_MAX:
                return entry
            passed.add(entry.folder)
        return None

    def _set_stage(self, entry: _Entry, stage: Stage) -> None:
        if entry.stage is Stage.WAITING:
            _remove(self._waiting, entry)
        elif entry.stage is Stage.STARTED:
            del self._started[entry.mark]
        elif entry.stage is Stage.SENT:
            self._sent[entry.folder] -= 1
        entry.stage = stage
        if stage is Stage.WAITING:
            insort(self._waiting, (entry.turn, entry.mark))
        elif stage is Stage.STARTED:
            self._started[entry.mark] = entry
        elif stage is Stage.SENT:
            self._sent[entry.folder] += 1

    def _leave_folder(self, entry: _Entry) -> None:
        turns = self._folders[entry.folder]
        _remove(turns, entry)
        if not turns:
            del self._folders[entry.folder]


def _remove(turns: list[tuple[int, str]], entry: _Entry) -> None:
    del turns[bisect_left(turns, (entry.turn, entry.mark))]
