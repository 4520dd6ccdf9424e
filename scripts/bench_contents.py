"""The lines of the request budget about contents: large files, small ones, what is copied and removed."""

from __future__ import annotations

import math
import os
import random
import shutil
import subprocess
from io import FileIO
from pathlib import Path

from scripts.bench_subjects import IN_FLIGHT, PART_BYTES, Bare, Subject
from scripts.bench_work import (
    MEBI,
    SMALL_BYTES,
    Group,
    Line,
    Sizes,
    again,
    changed_folder,
    list_names,
    local_files,
    look_at,
    run,
    shell,
)

FILES_OF_DEEP = 2
RANDOM_READS = 100
WRITERS = 100
_READ_BYTES = 4096


def content_groups(sizes: Sizes) -> list[Group]:
    """All lines about contents, for files of these sizes."""
    return [
        _one_small_file(),
        _several_files(sizes),
        _searched_files(sizes),
        _searched_tree(sizes),
        _large_file(sizes),
        _random_reads(sizes),
        _one_by_one(),
        _copied_folder(sizes),
        _copied_folder_written_back(sizes),
    ]


# -- reading ---------------------------------------------------------------------------------------


def _one_small_file() -> Group:
    cat = run("cat", "@small/item-00000")
    return Group(list_names("small"), (
        Line("cat", "cat of a small file, cold", cat, 2, 2, 2, bare=Bare.SAME_REQUESTS),
        again("cat-again", "  again", cat),
    ))  # fmt: skip


def _several_files(sizes: Sizes) -> Group:
    count = sizes.several
    cat = shell('cat "$0"/*', "several")
    return Group(list_names("several"), (
        Line("cat-many", f"cat dir/*, {count} small files, cold", cat, 2 * count, 2 * count,
             _round_trips(2 * count), bare=Bare.SAME_REQUESTS),
        again("cat-many-again", "  again", cat),
    ))  # fmt: skip


def _searched_files(sizes: Sizes) -> Group:
    count = sizes.small
    grep = run("grep", "-rc", "1", "@small")
    return Group(list_names("small"), (
        Line("grep", f"grep -r, {count} small files, cold", grep, 2 * count, 2 * count,
             _round_trips(2 * count), bare=Bare.SAME_REQUESTS),
        again("grep-again", "  again", grep),
    ))  # fmt: skip


def _searched_tree(sizes: Sizes) -> Group:
    folders, files = 1 + sum(sizes.deep), FILES_OF_DEEP * sizes.deep[1]
    most = folders + 2 * files
    grep = run("grep", "-rc", "1", "@deep")
    return Group(look_at("deep"), (
        Line("grep-tree", f"grep -r, {files} files in {folders} folders, cold", grep, most, most,
             _round_trips(most), bare=Bare.SAME_REQUESTS),
    ))  # fmt: skip


def _round_trips(requests: int) -> float:
    return requests / IN_FLIGHT + 4


def _large_file(sizes: Sizes) -> Group:
    size = sizes.large_mib * MEBI
    parts = math.ceil(size / PART_BYTES)

    written: dict[str, FileIO] = {}  # by subject: what is not closed yet

    def write(subject: Subject) -> None:
        _write(subject.top / f"written-{subject.name}", sizes.large_mib).close()

    def write_before(subject: Subject) -> None:
        written[subject.name] = _write(subject.top / f"closed-{subject.name}", sizes.large_mib)

    def close(subject: Subject) -> None:
        written.pop(subject.name).close()

    def remount(subject: Subject) -> None:
        subject.remount()
        (subject.top / "large").stat()

    return Group(look_at("large"), (
        Line("read", f"read of {sizes.large_mib} MiB in order, cold", _read, parts + 4, 2,
             bare=Bare.PARTS, moved_bytes=size),
        Line("read-again", "  again", _read, 0, 0, moved_bytes=size),
        Line("read-remounted", "  again, after a remount", _read, 0, 0, moved_bytes=size, before=remount),
        Line("write", f"write of {sizes.large_mib} MiB", write, parts + 5, moved_bytes=size),
        Line("close", "  close of as many that were written before", close, before=write_before),
    ))  # fmt: skip


def _write(path: Path, size_mib: int) -> FileIO:
    """A new file of so many MiB, open still."""
    block = random.Random(2).randbytes(MEBI)
    file = path.open("wb", buffering=0)
    for _ in range(size_mib):
        file.write(block)
    return file


def _read(subject: Subject) -> None:
    with (subject.top / "large").open("rb", buffering=0) as file:
        while file.read(MEBI):
            pass


def _random_reads(sizes: Sizes) -> Group:
    def read(subject: Subject) -> None:
        dice = random.Random(1)
        with (subject.top / "huge").open("rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            for _ in range(RANDOM_READS):
                os.pread(file.fileno(), _READ_BYTES, dice.randrange(size - _READ_BYTES))

    title = f"{RANDOM_READS} random reads of 4 KiB in {sizes.huge_mib} MiB"
    return Group(look_at("huge"), (
        Line("read-randomly", title, read, RANDOM_READS + 2, 2, 1.15 * RANDOM_READS),
    ))  # fmt: skip


# -- writing ---------------------------------------------------------------------------------------


def _one_by_one() -> Group:
    def cp(subject: Subject) -> None:
        subprocess.run(["cp", local_files(subject)[0], changed_folder(subject) / "one"], check=True)

    def rm(subject: Subject) -> None:
        (changed_folder(subject) / "one").unlink()

    def redirect(subject: Subject) -> None:
        script = f'for i in $(seq {WRITERS}); do /bin/echo $i; done > "$0"'
        command = ["sh", "-c", script, str(changed_folder(subject) / "log")]
        subprocess.run(command, stderr=subprocess.DEVNULL, check=True)

    return Group(_make_folder, (
        Line("cp", "cp of a new small file", cp, 3, 2, 2),
        Line("cp-over", "cp over it", cp, 4, 4, 3),
        Line("rm", "rm", rm, 1, 2, 1),
        # Three uploads: each with its name, two of them with the item that they replace.
        Line("redirect", f"{WRITERS} children of a shell write to one file", redirect, 8, 10),
    ))  # fmt: skip


def _make_folder(subject: Subject) -> None:
    changed_folder(subject).mkdir(exist_ok=True)
    os.listdir(changed_folder(subject))


def _cp(subject: Subject) -> None:
    subprocess.run(["cp", "-r", subject.local, changed_folder(subject) / "many"], check=True)


def _rm(subject: Subject) -> None:
    subprocess.run(["rm", "-r", changed_folder(subject) / "many"], check=True)


def _copied_folder(sizes: Sizes) -> Group:
    count = sizes.small

    def look(subject: Subject) -> None:
        """That the new name is absent has been asked for: copying took longer than that holds."""
        (changed_folder(subject) / "moved").exists()

    def mv(subject: Subject) -> None:
        (changed_folder(subject) / "many").rename(changed_folder(subject) / "moved")

    def mv_back(subject: Subject) -> None:
        (changed_folder(subject) / "moved").rename(changed_folder(subject) / "many")

    return Group(_make_folder, (
        Line("cp-r", f"cp -r of {count} small files", _cp, 2 * count + 3, 2 * count + 3, 3.5 * count),
        Line("mv-folder", "mv of their folder", mv, 2, 2, 2, before=look),
        Line("rm-r", f"rm -r of {count} files", _rm, count + 3, 2 * count + 3, count + 3, before=mv_back),
    ))  # fmt: skip


def _copied_folder_written_back(sizes: Sizes) -> Group:
    count = sizes.small

    def prepare(subject: Subject) -> None:
        _make_folder(subject)
        many = changed_folder(subject) / "many"
        if many.exists():
            shutil.rmtree(many)

    return Group(prepare, (
        Line("cp-r-back", f"cp -r of {count} small files, written back", _cp, 2 * count + 3, 2 * count + 3,
             _round_trips(2 * count), arrives=lambda folder: _has_all(folder / "many", count)),
        Line("rm-r-back", f"rm -r of {count} files, written back", _rm, count + 3, 2 * count + 3,
             _round_trips(count), arrives=lambda folder: not (folder / "many").exists()),
    ), writes_back=True)  # fmt: skip


def _has_all(folder: Path, count: int) -> bool:
    """Whether a peer's server has all of the copies, whole."""
    try:
        sizes = [path.stat().st_size for path in folder.iterdir()]
    except FileNotFoundError:
        return False
    return sizes == [SMALL_BYTES] * count
