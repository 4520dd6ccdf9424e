"""How somebody reads a folder file by file, and which files come next; pure.

A run is recognised by two files, one opened right after the other, with nothing between them in one of the
orders that programs have: that of the names (a listing, `dir/*`), of the names as people sort them, of the
numbers in them (`seq`), of the inode numbers (`cp -r`). All files of the folder count, or those with the
same suffix (`*.sdf`). Knows names and numbers of files; must not know contents, requests or clocks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

LEAD_AT_FIRST = 2
LEAD_MAX = 64
_LEAP_MAX = 16  # several readers that share a folder open its files a little out of order
_SORTED_MAX = 20_000  # in larger folders only the order of the listing is looked for


@dataclass(frozen=True, slots=True)
class File:
    """A file of a folder: its visible name, and the inode number that users see (0: none yet)."""

    name: str
    number: int


Key = Callable[[File], Any]
Files = Callable[[], Iterable[File]]
"""Gives all files of a folder, each time it is called: from the first of the two on, then those before."""

_DIGITS = re.compile(r"(\d+)")
# Where people's order of characters is not that of their codes; as the C library has it.
_PUNCTUATION = "_-,;:!?/.`^~'\"()[]{}@$*\\&#%+<=>|"
_BEFORE_DIGITS = str.maketrans({mark: chr(1 + at) for at, mark in enumerate(_PUNCTUATION)})


def _collated(file: File) -> tuple[str, str]:
    return file.name.casefold().translate(_BEFORE_DIGITS), file.name


def _counted(file: File) -> list[tuple[int, str]]:
    """Text and numbers take turns, so that two keys compare like with like."""
    parts = _DIGITS.split(file.name)
    return [(int(part) if at % 2 else 0, "" if at % 2 else part) for at, part in enumerate(parts)]


_ORDERS: tuple[Key, ...] = (lambda file: file.name, _collated, _counted, lambda file: file.number)


class Visit(Enum):
    """How well the opening of a file was foreseen."""

    AHEAD = "asked for already"
    NEXT = "would have been asked for next"
    BY_LEAP = "some before it would have been asked for, or were passed by"
    ELSEWHERE = "not one of those that follow"


def recognise(files: Files, count: int, before: File, opened: File) -> Run | None:
    """The run of somebody who has opened these two, one after the other; None where there is none.

    `count` is how many things about are in the folder.
    """
    suffix = _suffix(opened.name)
    for of_same_kind in (None, suffix) if _suffix(before.name) == suffix else (None,):
        for key in _ORDERS if count <= _SORTED_MAX else _ORDERS[:1]:
            if _follows(_only(files, of_same_kind), key, before, opened):
                return Run(_after(_only(files, of_same_kind), key, opened))
    return None


def _only(files: Files, suffix: str | None) -> Iterator[File]:
    return (file for file in files() if suffix is None or _suffix(file.name) == suffix)


def _suffix(name: str) -> str:
    return name[name.rfind(".") :] if "." in name else ""


def _follows(files: Iterable[File], key: Key, before: File, opened: File) -> bool:
    """True if nothing lies between; of two in no order much does, and the first ones looked at show it."""
    low, high = key(before), key(opened)
    return low < high and not any(low < key(file) < high for file in files)


def _after(files: Iterable[File], key: Key, opened: File) -> list[str]:
    last = key(opened)
    return [file.name for file in sorted((file for file in files if key(file) > last), key=key)]


class Run:
    """One reader of one folder; `lead` is how many files may be asked for that it has not opened."""

    def __init__(self, names: list[str]) -> None:
        """`names` are those that follow, in the order of the reader."""
        self._names = names
        self._at = 0  # of the next one to ask for
        self._ahead: dict[str, int] = {}  # asked for and not opened -> where it is in the names
        self.lead = LEAD_AT_FIRST
        self.is_held_back = False

    def __repr__(self) -> str:
        return f"<Run at {self._at} of {len(self._names)}, {len(self._ahead)} of {self.lead} ahead>"

    @property
    def is_at_end(self) -> bool:
        """True if nothing is left to ask for."""
        return self._at >= len(self._names)

    @property
    def ahead_count(self) -> int:
        """How many files were asked for that the reader has not opened."""
        return len(self._ahead)

    def visit(self, name: str) -> tuple[Visit, list[str]]:
        """The reader opens a file; how well that was foreseen, and what was asked for in vain.

        Each one that was foreseen doubles the lead, each one in vain halves it.
        """
        visit, at = self._find(name)
        self._ahead.pop(name, None)
        self._at = max(self._at, at + 1)
        if visit is Visit.ELSEWHERE:
            return visit, []
        self.is_held_back = False
        if visit in (Visit.AHEAD, Visit.NEXT):
            self.lead = min(LEAD_MAX, 2 * self.lead)
        in_vain = [earlier for earlier, place in self._ahead.items() if place < at - _LEAP_MAX]
        for earlier in in_vain:
            del self._ahead[earlier]
            self.lead = max(LEAD_AT_FIRST, self.lead // 2)
        return visit, in_vain

    def _find(self, name: str) -> tuple[Visit, int]:
        at = self._ahead.get(name)
        if at is not None:
            return Visit.AHEAD, at
        first = max(0, self._at - _LEAP_MAX)
        around = self._names[first : self._at + _LEAP_MAX]
        if name not in around:
            return Visit.ELSEWHERE, -1
        at = first + around.index(name)
        return Visit.NEXT if at == self._at else Visit.BY_LEAP, at

    def next(self) -> str | None:
        """The file that may be asked for now; `add` or `skip` it."""
        if self.is_held_back or len(self._ahead) >= self.lead or self._at >= len(self._names):
            return None
        return self._names[self._at]

    def add(self) -> None:
        """The next one is asked for."""
        self._ahead[self._names[self._at]] = self._at
        self._at += 1

    def skip(self) -> None:
        """The next one is not to be asked for."""
        self._at += 1

    def hold_back(self) -> None:
        """The reader was seen elsewhere: nothing more before it goes on here."""
        self.is_held_back = True
