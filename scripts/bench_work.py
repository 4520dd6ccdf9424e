"""What a line of the benchmark is, and the pieces that its work is made of.

A line's work is given a subject and does what any program does to a folder, so that it runs on other
mounts as well. Lines of one group follow each other on one mount, which the group finds cold.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from scripts.bench_subjects import Bare, Subject

MEBI = 2**20
SMALL_BYTES = 2000
Work = Callable[[Subject], object]


@dataclass(frozen=True)
class Sizes:
    """How much there is of everything."""

    items: int  # of the large folder
    wide: int  # folders in one folder
    deep: tuple[int, int]  # folders, and all folders within them
    tree: tuple[int, int]  # folders of the large tree, and files in each
    small: int  # files that are searched and copied
    several: int  # files that are read by one command
    large_mib: int
    huge_mib: int
    unused_s: float


@dataclass(frozen=True)
class Line:
    """One line of the table.

    `own` and `documented` are the most requests that the budget allows each session, `round_trips` the
    time that it aims at, in round trips. None: the budget says nothing. `before` is done first, unmeasured.
    `arrives` tells by the folder that a peer serves whether all is there that was done.
    """

    name: str
    title: str
    work: Work
    own: int | None = None
    documented: int | None = None
    round_trips: float | None = None
    bare: Bare = Bare.NONE
    is_for_peers: bool = True
    moved_bytes: int = 0
    before: Work = lambda _: None
    arrives: Callable[[Path], bool] | None = None

    def most(self, subject: str) -> int | None:
        """The budget of a subject."""
        return {"orionfs": self.own, "documented": self.documented}.get(subject)


@dataclass(frozen=True)
class Group:
    """Lines that follow each other; `prepare` is done on the cold mount, unmeasured.

    `writes_back`: the mount has everything that is written on this machine first.
    """

    prepare: Work
    lines: tuple[Line, ...]
    writes_back: bool = False


def run(*words: str) -> Work:
    """A command; a word that begins with @ is a path below the top."""

    def work(subject: Subject) -> None:
        found = [str(subject.top / word[1:]) if word.startswith("@") else word for word in words]
        subprocess.run(found, stdout=subprocess.DEVNULL, check=True)

    return work


def shell(script: str, name: str) -> Work:
    """A script, whose $0 is a path below the top."""

    def work(subject: Subject) -> None:
        command = ["sh", "-c", script, str(subject.top / name)]
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)

    return work


def look_at(name: str) -> Work:
    """The name is known, its content not: as after a walk to its parent."""
    return lambda subject: (subject.top / name).stat()


def list_names(name: str) -> Work:
    """The names in a folder are known."""
    return lambda subject: os.listdir(subject.top / name)


def again(line: str, title: str, work: Work) -> Line:
    """What was just done, once more, may ask nothing."""
    return Line(line, title, work, 0, 0)


def changed_folder(subject: Subject) -> Path:
    """Where a subject changes things: each in a folder of its own."""
    return subject.top / changed_name(subject)


def changed_name(subject: Subject) -> str:
    """What that folder is called."""
    return f"changed-{subject.name}"


def local_files(subject: Subject) -> list[Path]:
    """What is copied, in order."""
    return sorted(subject.local.iterdir())
