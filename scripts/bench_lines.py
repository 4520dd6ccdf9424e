"""The lines of the request budget: what is done, what it may cost, and the trees it is done on.

Those about contents are `bench_contents`.
"""

from __future__ import annotations

import math
import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from scripts.bench_contents import FILES_OF_DEEP, content_groups
from scripts.bench_subjects import IN_FLIGHT, Bare, Subject
from scripts.bench_work import (
    MEBI,
    SMALL_BYTES,
    Group,
    Line,
    Sizes,
    Work,
    again,
    changed_folder,
    list_names,
    look_at,
    run,
)

PAGE_ROWS = 1000
ABSENT = 1000
ABSENCE_TTL_S = 5.0

SIZES = {
    "full": Sizes(10_000, 200, (10, 190), (1_000, 20), 100, 200, 512, 1024, 60.0),
    "small": Sizes(2_000, 40, (4, 36), (50, 20), 20, 40, 32, 64, 5.0),
}


def groups(sizes: Sizes) -> list[Group]:
    """All lines, for trees of these sizes."""
    return [
        _listing(sizes),
        _absences(),
        _walk("find", "wide", 1 + sizes.wide, 2),
        _walk("find-deep", "deep", 1 + sum(sizes.deep), 3),
        _large_walk(sizes),
        _names(),
        *content_groups(sizes),
        _attributes(sizes),
        Group(look_at("."), (Line("unused", f"a mount that nobody uses, {sizes.unused_s:.0f} s",
                                  lambda _: time.sleep(sizes.unused_s), 0, 0, is_for_peers=False),)),
    ]  # fmt: skip


def make_tree(top: Path, sizes: Sizes) -> None:
    """What is there before anything is measured."""
    _fill(top / "many", sizes.items)
    for number in range(sizes.wide):
        _fill(top / "wide" / f"folder-{number:03}", 5)
    outer, inner = sizes.deep
    for number in range(inner):
        _fill(top / "deep" / f"outer-{number % outer:03}" / f"inner-{number:03}", FILES_OF_DEEP)
    for number in range(sizes.tree[0]):
        _fill(top / "tree" / f"part-{number // 100:02}" / f"folder-{number:04}", sizes.tree[1])
    _fill(top / "small", sizes.small, SMALL_BYTES)
    _fill(top / "several", sizes.several, SMALL_BYTES)
    (top / "large").write_bytes(random.Random(1).randbytes(MEBI) * sizes.large_mib)
    with (top / "huge").open("wb") as huge:
        huge.truncate(sizes.huge_mib * MEBI)


def make_local(folder: Path, sizes: Sizes) -> None:
    """What is copied from here."""
    _fill(folder, sizes.small, SMALL_BYTES)


def _fill(folder: Path, count: int, size_bytes: int = 100) -> None:
    folder.mkdir(parents=True)
    for number in range(count):
        (folder / f"item-{number:05}").write_bytes(f"{number:09}\n".encode() * (size_bytes // 10))


def _look_for_absent(subject: Subject) -> None:
    small = subject.top / "small"
    assert not any((small / f"absent-{number}").exists() for number in range(ABSENT))


# -- groups ----------------------------------------------------------------------------------------


def _listing(sizes: Sizes) -> Group:
    pages = math.ceil(sizes.items / PAGE_ROWS)
    listing = run("ls", "-l", "@many")
    return Group(look_at("many"), (
        Line("ls", f"ls -l, {sizes.items:,} items, cold", listing, pages, pages, 2 if pages > 1 else 1,
             bare=Bare.SAME_REQUESTS),
        again("ls-again", "  again", listing),
    ))  # fmt: skip


def _absences() -> Group:
    return Group(list_names("small"), (
        again("absent", f"stat of {ABSENT:,} absent names in a listed folder", _look_for_absent),
        Line("absent-later", "  again, when the absences have ended", _look_for_absent, 1, 1, 1,
             is_for_peers=False, before=lambda _: time.sleep(1.1 * ABSENCE_TTL_S)),
    ))  # fmt: skip


def _walk(name: str, folder: str, count: int, depth: int) -> Group:
    walk = run("find", f"@{folder}", "-size", "+0")
    goal = depth + count / IN_FLIGHT + 2
    return Group(look_at(folder), (
        Line(name, f"find, {count:,} folders, depth {depth}, cold", walk, count, count, goal,
             bare=Bare.SAME_REQUESTS),
        again(f"{name}-again", "  again", walk),
    ))  # fmt: skip


def _large_walk(sizes: Sizes) -> Group:
    folders = 1 + math.ceil(sizes.tree[0] / 100) + sizes.tree[0]
    files = sizes.tree[0] * sizes.tree[1]
    walk = run("ls", "-lR", "@tree")
    goal = 3 + folders / IN_FLIGHT + 2
    title = f"ls -lR, {folders:,} folders, {files:,} files, cold"
    return Group(look_at("tree"), (
        Line("ls-R", title, walk, folders, folders, goal, bare=Bare.SAME_REQUESTS),
        again("ls-R-again", "  again", walk),
    ))  # fmt: skip


def _names() -> Group:
    def prepare(subject: Subject) -> None:
        changed_folder(subject).mkdir(exist_ok=True)
        (changed_folder(subject) / "one").touch()
        os.listdir(changed_folder(subject))

    def at(name: str, change: Callable[[Path], object]) -> Work:
        return lambda subject: change(changed_folder(subject) / name)

    return Group(prepare, (
        Line("mkdir", "mkdir", at("sub", Path.mkdir), 1, 1, 1),
        Line("rmdir", "rmdir", at("sub", Path.rmdir), 2, 2, 2),
        Line("mv", "mv of a file", at("one", lambda path: path.rename(path.with_name("two"))), 1, 1, 1),
    ))  # fmt: skip


def _attributes(sizes: Sizes) -> Group:
    count = sizes.small

    def tag(subject: Subject) -> None:
        os.setxattr(subject.top / "small" / "item-00000", f"user.orion.tag.{subject.name}", b"")

    def show(subject: Subject) -> None:
        for path in sorted((subject.top / "small").iterdir()):
            for name in os.listxattr(path):
                os.getxattr(path, name)

    return Group(list_names("small"), (
        Line("setfattr", "setfattr", tag, 1, 2, 1, is_for_peers=False),
        Line("getfattr", f"getfattr -d of {count} listed items", show, 1, 1 + count, 0, is_for_peers=False),
    ))  # fmt: skip


def chosen(all_groups: list[Group], names: list[str]) -> Iterator[tuple[Group, list[tuple[Line, bool]]]]:
    """Groups with a wanted line, their lines up to the last wanted one, and whether each is wanted."""
    for group in all_groups:
        wanted = [not names or line.name in names for line in group.lines]
        if any(wanted):
            last = max(at for at, is_wanted in enumerate(wanted) if is_wanted)
            yield group, list(zip(group.lines, wanted, strict=True))[: last + 1]
