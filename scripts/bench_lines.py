"""The lines of the request budget as data: what is done, what it may cost, and the trees it is done on.

A line's work is given a subject and does what any program does to a folder, so that it runs on other
mounts as well. Lines of one group follow each other on one mount, which the group finds cold.
"""

from __future__ import annotations

import math
import os
import random
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from scripts.bench_subjects import IN_FLIGHT, PART_BYTES, Bare, Subject

MEBI = 2**20
PAGE_ROWS = 1000
ABSENT = 1000
ABSENCE_TTL_S = 5.0
RANDOM_READS = 100
WRITERS = 100
Work = Callable[[Subject], object]


@dataclass(frozen=True)
class Sizes:
    """How much there is of everything."""

    items: int  # of the large folder
    wide: int  # folders in one folder
    deep: tuple[int, int]  # folders, and all folders within them
    tree: tuple[int, int]  # folders of the large tree, and files in each
    small: int  # files that are read and copied
    large_mib: int
    unused_s: float


SIZES = {
    "full": Sizes(10_000, 200, (10, 190), (1_000, 20), 100, 512, 60.0),
    "small": Sizes(2_000, 40, (4, 36), (50, 20), 20, 32, 5.0),
}


@dataclass(frozen=True)
class Line:
    """One line of the table.

    `own` and `documented` are the most requests that the budget allows each session, `round_trips` the
    time that it aims at, in round trips. None: the budget says nothing.
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
    pause_s: float = 0.0  # before it, unmeasured

    def most(self, subject: str) -> int | None:
        """The budget of a subject."""
        return {"orionfs": self.own, "documented": self.documented}.get(subject)


@dataclass(frozen=True)
class Group:
    """Lines that follow each other; `prepare` is done on the cold mount, unmeasured."""

    prepare: Work
    lines: tuple[Line, ...]


def groups(sizes: Sizes) -> list[Group]:
    """All lines, for trees of these sizes."""
    return [
        _listing(sizes),
        _absences(),
        _walk("find", "wide", 1 + sizes.wide, 2),
        _walk("find-deep", "deep", 1 + sum(sizes.deep), 3),
        _large_walk(sizes),
        _small_files(sizes),
        _one_by_one(),
        _many_changes(sizes),
        _attributes(sizes),
        _large_file(sizes),
        Group(_look_at("."), (Line("unused", f"a mount that nobody uses, {sizes.unused_s:.0f} s",
                                   lambda _: time.sleep(sizes.unused_s), 0, 0, is_for_peers=False),)),
    ]  # fmt: skip


def make_tree(top: Path, sizes: Sizes) -> None:
    """What is there before anything is measured."""
    _fill(top / "many", sizes.items)
    for number in range(sizes.wide):
        _fill(top / "wide" / f"folder-{number:03}", 5)
    outer, inner = sizes.deep
    for number in range(inner):
        _fill(top / "deep" / f"outer-{number % outer:03}" / f"inner-{number:03}", 2)
    for number in range(sizes.tree[0]):
        _fill(top / "tree" / f"part-{number // 100:02}" / f"folder-{number:04}", sizes.tree[1])
    _fill(top / "small", sizes.small, 2000)
    (top / "large").write_bytes(random.Random(1).randbytes(MEBI) * sizes.large_mib)


def make_local(folder: Path, sizes: Sizes) -> None:
    """What is copied from here."""
    _fill(folder, sizes.small, 2000)


def _fill(folder: Path, count: int, size_bytes: int = 100) -> None:
    folder.mkdir(parents=True)
    for number in range(count):
        (folder / f"item-{number:05}").write_bytes(f"{number:09}\n".encode() * (size_bytes // 10))


# -- what is done ----------------------------------------------------------------------------------


def _run(*words: str) -> Work:
    """A command; a word that begins with @ is a path below the top."""

    def work(subject: Subject) -> None:
        found = [str(subject.top / word[1:]) if word.startswith("@") else word for word in words]
        subprocess.run(found, stdout=subprocess.DEVNULL, check=True)

    return work


def _look_at(name: str) -> Work:
    """The name is known, its content not: as after a walk to its parent."""
    return lambda subject: (subject.top / name).stat()


def _list(name: str) -> Work:
    return lambda subject: os.listdir(subject.top / name)


def _again(line: str, title: str, work: Work) -> Line:
    return Line(line, title, work, 0, 0)


def _look_for_absent(subject: Subject) -> None:
    small = subject.top / "small"
    assert not any((small / f"absent-{number}").exists() for number in range(ABSENT))


def _change(subject: Subject) -> Path:
    """Where a subject changes things: each in a folder of its own."""
    return subject.top / f"changed-{subject.name}"


def _local(subject: Subject) -> list[Path]:
    return sorted(subject.local.iterdir())


# -- groups ----------------------------------------------------------------------------------------


def _listing(sizes: Sizes) -> Group:
    pages = math.ceil(sizes.items / PAGE_ROWS)
    listing = _run("ls", "-l", "@many")
    return Group(_look_at("many"), (
        Line("ls", f"ls -l, {sizes.items:,} items, cold", listing, pages, pages, 2 if pages > 1 else 1,
             bare=Bare.SAME_REQUESTS),
        _again("ls-again", "  again", listing),
    ))  # fmt: skip


def _absences() -> Group:
    return Group(_list("small"), (
        _again("absent", f"stat of {ABSENT:,} absent names in a listed folder", _look_for_absent),
        Line("absent-later", "  again, when the absences have ended", _look_for_absent, 1, 1, 1,
             is_for_peers=False, pause_s=1.1 * ABSENCE_TTL_S),
    ))  # fmt: skip


def _walk(name: str, folder: str, count: int, depth: int) -> Group:
    walk = _run("find", f"@{folder}", "-size", "+0")
    goal = depth + count / IN_FLIGHT + 2
    return Group(_look_at(folder), (
        Line(name, f"find, {count:,} folders, depth {depth}, cold", walk, count, count, goal,
             bare=Bare.SAME_REQUESTS),
        _again(f"{name}-again", "  again", walk),
    ))  # fmt: skip


def _large_walk(sizes: Sizes) -> Group:
    folders = 1 + math.ceil(sizes.tree[0] / 100) + sizes.tree[0]
    files = sizes.tree[0] * sizes.tree[1]
    walk = _run("ls", "-lR", "@tree")
    goal = 3 + folders / IN_FLIGHT + 2
    title = f"ls -lR, {folders:,} folders, {files:,} files, cold"
    return Group(_look_at("tree"), (
        Line("ls-R", title, walk, folders, folders, goal, bare=Bare.SAME_REQUESTS),
        _again("ls-R-again", "  again", walk),
    ))  # fmt: skip


def _small_files(sizes: Sizes) -> Group:
    count = sizes.small
    goal = 2 * (count - 1) / IN_FLIGHT + 4
    return Group(_list("small"), (
        Line("cat", "cat of a small file, cold", _run("cat", "@small/item-00000"), 2, 2, 2,
             bare=Bare.SAME_REQUESTS),
        _again("cat-again", "  again", _run("cat", "@small/item-00000")),
        Line("grep", f"grep -r, {count} small files, cold", _run("grep", "-rc", "1", "@small"),
             2 * count, 2 * count, goal, bare=Bare.SAME_REQUESTS),
        _again("grep-again", "  again", _run("grep", "-rc", "1", "@small")),
    ))  # fmt: skip


def _one_by_one() -> Group:
    def cp(subject: Subject) -> None:
        subprocess.run(["cp", _local(subject)[0], _change(subject) / "one"], check=True)

    def redirect(subject: Subject) -> None:
        script = f'for i in $(seq {WRITERS}); do /bin/echo $i; done > "$0"'
        subprocess.run(["sh", "-c", script, _change(subject) / "log"], stderr=subprocess.DEVNULL, check=True)

    def prepare(subject: Subject) -> None:
        _change(subject).mkdir()
        os.listdir(_change(subject))

    def at(name: str, change: Callable[[Path], object]) -> Work:
        return lambda subject: change(_change(subject) / name)

    return Group(prepare, (
        Line("mkdir", "mkdir", at("sub", Path.mkdir), 1, 1, 1),
        Line("rmdir", "rmdir", at("sub", Path.rmdir), 2, 2, 2),
        Line("cp", "cp of a new small file", cp, 3, 2, 2),
        Line("cp-over", "cp over it", cp, 4, 4, 3),
        Line("mv", "mv of a file", at("one", lambda path: path.rename(path.with_name("two"))), 1, 1, 1),
        Line("rm", "rm", at("two", Path.unlink), 1, 2, 1),
        Line("redirect", f"{WRITERS} children of a shell write to one file", redirect, 8, 10),
    ))  # fmt: skip


def _many_changes(sizes: Sizes) -> Group:
    count = sizes.small

    def cp(subject: Subject) -> None:
        subprocess.run(["cp", *_local(subject), _change(subject) / "many"], check=True)

    def mv(subject: Subject) -> None:
        (_change(subject) / "many").rename(_change(subject) / "moved")

    def rm(subject: Subject) -> None:
        subprocess.run(["rm", "-r", _change(subject) / "moved"], check=True)

    def prepare(subject: Subject) -> None:
        _change(subject).mkdir(exist_ok=True)
        (_change(subject) / "many").mkdir()
        os.listdir(_change(subject))
        os.listdir(_change(subject) / "many")

    return Group(prepare, (
        Line("cp-many", f"cp of {count} new small files", cp, 3 * count, 2 * count, 2 * count),
        Line("mv-folder", "mv of their folder", mv, 1, 1, 1),
        Line("rm-r", f"rm -r, {count} files", rm, count + 2, 2 * count + 2, count + 2),
    ))  # fmt: skip


def _attributes(sizes: Sizes) -> Group:
    count = sizes.small

    def tag(subject: Subject) -> None:
        os.setxattr(subject.top / "small" / "item-00000", f"user.orion.tag.{subject.name}", b"")

    def show(subject: Subject) -> None:
        for path in sorted((subject.top / "small").iterdir()):
            for name in os.listxattr(path):
                os.getxattr(path, name)

    return Group(_list("small"), (
        Line("setfattr", "setfattr", tag, 1, 2, 1, is_for_peers=False),
        Line("getfattr", f"getfattr -d of {count} listed items", show, 1, 1 + count, 0, is_for_peers=False),
    ))  # fmt: skip


def _large_file(sizes: Sizes) -> Group:
    size = sizes.large_mib * MEBI
    parts = math.ceil(size / PART_BYTES)

    def write(subject: Subject) -> None:
        block = random.Random(2).randbytes(MEBI)
        with (subject.top / f"written-{subject.name}").open("wb", buffering=0) as file:
            for _ in range(sizes.large_mib):
                file.write(block)

    return Group(_look_at("large"), (
        Line("read", f"read of {sizes.large_mib} MiB in order, cold", _read, parts + 4, 2,
             bare=Bare.PARTS, moved_bytes=size),
        Line("read-again", "  again, not from the page cache", partial(_read, is_afresh=True), 0, 0,
             moved_bytes=size),
        Line("read-randomly", f"  {RANDOM_READS} random reads of 4 KiB", _read_randomly, 0, 0),
        Line("write", f"write of {sizes.large_mib} MiB", write, moved_bytes=size),
    ))  # fmt: skip


def _read(subject: Subject, *, is_afresh: bool = False) -> None:
    with (subject.top / "large").open("rb", buffering=0) as file:
        if is_afresh:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        while file.read(MEBI):
            pass


def _read_randomly(subject: Subject) -> None:
    dice = random.Random(1)
    with (subject.top / "large").open("rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        for _ in range(RANDOM_READS):
            os.pread(file.fileno(), 4096, dice.randrange(size - 4096))


def chosen(all_groups: list[Group], names: list[str]) -> Iterator[tuple[Group, list[tuple[Line, bool]]]]:
    """Groups with a wanted line, their lines up to the last wanted one, and whether each is wanted."""
    for group in all_groups:
        wanted = [not names or line.name in names for line in group.lines]
        if any(wanted):
            last = max(at for at, is_wanted in enumerate(wanted) if is_wanted)
            yield group, list(zip(group.lines, wanted, strict=True))[: last + 1]
