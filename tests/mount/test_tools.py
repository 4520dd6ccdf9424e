"""The programs that people use, on the mount as on a disk."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.usefixtures("mounted"), pytest.mark.own_first]


def run(*command, **more) -> str:
    """Standard output of a command that must succeed without complaints."""
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=False, timeout=90, **more
    )
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed")


@pytest.fixture
def sample(tmp_path):
    """A small tree of everything that trees have."""
    top = tmp_path / "sample"
    for number, path in enumerate(("a", "a/b", "a/b/c", "empty", "with space")):
        (top / path).mkdir(parents=True, exist_ok=True)
        if path != "empty":
            (top / path / "text.txt").write_text(f"text {number}\n")
            (top / path / "data.bin").write_bytes(os.urandom(20_000 * number))
    (top / "run.sh").write_text("#!/bin/sh\necho it runs\n")
    (top / "run.sh").chmod(0o755)
    for path in top.rglob("*"):
        os.utime(path, (10**9, 10**9))
    return top


def test_cp_copies_a_tree_in_and_out(sample, folder, tmp_path) -> None:
    run("cp", "-r", sample, folder / "in")
    assert run("diff", "-r", sample, folder / "in") == ""
    run("cp", "-a", folder / "in", tmp_path / "out")
    assert run("diff", "-r", sample, tmp_path / "out") == ""


def test_cp_that_keeps_times_and_modes_keeps_them(sample, folder) -> None:
    run("cp", "-a", sample, folder / "in")
    told = (folder / "in" / "run.sh").stat()
    assert (told.st_mtime, told.st_mode & 0o777) == (10**9, 0o755)
    assert run(folder / "in" / "run.sh") == "it runs\n"


def test_second_rsync_transfers_nothing(mounted, sample, folder) -> None:
    run("rsync", "-a", f"{sample}/", folder / "in")
    assert run("diff", "-r", sample, folder / "in") == ""
    with mounted.counting() as counted:
        changes = run("rsync", "-a", "--itemize-changes", f"{sample}/", folder / "in")
    # Times of folders are the mount's own; no file is sent again.
    assert [line for line in changes.splitlines() if not line.startswith(".d")] == []
    assert counted.rows == []
    mounted.remount()
    changes = run("rsync", "-a", "--itemize-changes", f"{sample}/", folder / "in")
    assert [line for line in changes.splitlines() if not line.startswith(".d")] == []


def test_rsync_brings_over_what_changed_and_removes_what_is_gone(mounted, sample, folder) -> None:
    run("rsync", "-a", f"{sample}/", folder / "in")
    (sample / "a" / "text.txt").write_text("changed\n")
    shutil.rmtree(sample / "a" / "b")
    with mounted.counting() as counted:
        run("rsync", "-a", "--delete", f"{sample}/", folder / "in")
    assert run("diff", "-r", sample, folder / "in") == ""
    assert len(counted.of("upload")) == 1
    run("rsync", "-a", "--inplace", "--append-verify", f"{sample}/", folder / "in")


def test_tar_packs_and_unpacks(sample, folder, tmp_path) -> None:
    run("tar", "-C", sample, "-czf", folder / "x.tar.gz", ".")
    (folder / "out").mkdir()
    run("tar", "-C", folder / "out", "-xzf", folder / "x.tar.gz")
    assert run("diff", "-r", sample, folder / "out") == ""
    assert (folder / "out" / "run.sh").stat().st_mtime == 10**9


@needs("vim")
@pytest.mark.parametrize("backup", ["nobackup nowritebackup", "backupcopy=yes", "backupcopy=no"])
def test_vim_saves_a_file(mounted, folder, backup) -> None:
    (folder / "x.txt").write_text("before\n")
    commands = [f"set {backup}", "%s/before/after/", "wq"]
    run("vim", "-u", "NONE", "-es", *(part for each in commands for part in ("-c", each)), folder / "x.txt")
    assert (folder / "x.txt").read_text() == "after\n"
    assert os.listdir(folder) == ["x.txt"]
    mounted.drain()
    assert mounted.direct.content(mounted.orion_path(folder / "x.txt")) == b"after\n"
    assert mounted.direct.names(mounted.orion_path(folder)) == ["x.txt"]


def test_sed_edits_in_place(mounted, folder) -> None:
    (folder / "x.txt").write_text("before\n" * 1000)
    run("sed", "-i", "s/before/after/", folder / "x.txt")
    assert (folder / "x.txt").read_text() == "after\n" * 1000
    assert mounted.direct.names(mounted.orion_path(folder)) == ["x.txt"]


@pytest.mark.long
@needs("git")
def test_git_keeps_a_repository(mounted, sample, folder, tmp_path) -> None:
    def git(*arguments, at=folder / "repository") -> str:
        names = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "advice.detachedHead=false"]
        return run("git", *names, "-c", "init.defaultBranch=main", "-C", at, *arguments)

    run("cp", "-r", sample, folder / "repository")
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "all of it")
    assert git("status", "--porcelain") == ""
    (folder / "repository" / "a" / "text.txt").write_text("changed\n")
    assert git("status", "--porcelain") == " M a/text.txt\n"
    git("commit", "-qam", "a change")
    run("git", "clone", "-q", folder / "repository", tmp_path / "clone")
    assert (tmp_path / "clone" / "a" / "text.txt").read_text() == "changed\n"
    mounted.remount()
    assert git("status", "--porcelain") == ""
    assert git("fsck", "--strict", "--no-progress") == ""
    assert len(git("log", "--oneline").splitlines()) == 2
    git("gc", "-q")
    git("checkout", "-q", "HEAD~1")
    assert (folder / "repository" / "a" / "text.txt").read_text() == (sample / "a" / "text.txt").read_text()


@needs("git")
def test_git_clones_into_the_mount(sample, folder, tmp_path) -> None:
    identity = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    run("git", "-c", "init.defaultBranch=main", "init", "-q", sample)
    run("git", "-C", sample, "add", ".")
    run("git", *identity, "-C", sample, "commit", "-qm", "x")
    run("git", "clone", "-q", sample, folder / "clone")
    assert run("git", "-C", folder / "clone", "status", "--porcelain") == ""
    shutil.rmtree(sample / ".git")
    shutil.rmtree(folder / "clone" / ".git")
    (sample / "empty").rmdir()
    assert run("diff", "-r", sample, folder / "clone") == ""


def test_python_imports_from_the_mount(folder) -> None:
    (folder / "package").mkdir()
    (folder / "package" / "__init__.py").write_text("from package.inner import answer\n")
    (folder / "package" / "inner.py").write_text("answer = 42\n")
    command = [sys.executable, "-c", "import package; print(package.answer)"]
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": ""}
    assert run(*command, env=environment) == "42\n"
    assert os.listdir(folder / "package" / "__pycache__")
    assert run(*command, env=environment) == "42\n"


@pytest.mark.parametrize("journal", ["delete", "truncate", "memory"])
def test_sqlite_keeps_a_database(mounted, folder, tmp_path, journal) -> None:
    for number in range(3):
        database = sqlite3.connect(folder / "x.db")
        with database:
            database.execute(f"PRAGMA journal_mode={journal}")
            database.execute("CREATE TABLE IF NOT EXISTS numbers (number INTEGER PRIMARY KEY, text TEXT)")
            rows = [(number * 100 + each, "text " * 20) for each in range(100)]
            database.executemany("INSERT INTO numbers VALUES (?, ?)", rows)
        database.close()
    mounted.drain()
    (tmp_path / "x.db").write_bytes(mounted.direct.content(mounted.orion_path(folder / "x.db")))
    for path in (folder / "x.db", tmp_path / "x.db"):
        database = sqlite3.connect(path)
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert database.execute("SELECT count(*), max(number) FROM numbers").fetchall() == [(300, 299)]
        database.close()


def test_hdf5_files_and_mapped_arrays_are_kept(mounted, folder, tmp_path) -> None:
    h5py, numpy = pytest.importorskip("h5py"), pytest.importorskip("numpy")
    wanted = numpy.arange(60_000).reshape(600, 100)
    with h5py.File(folder / "x.h5", "w") as file:
        file.create_dataset("a", (0, 100), "i8", maxshape=(None, 100), chunks=(64, 100), compression="gzip")
    for start in range(0, 600, 200):
        with h5py.File(folder / "x.h5", "a") as file:
            file["a"].resize(start + 200, 0)
            file["a"][start:] = wanted[start : start + 200]
            file.flush()
    numpy.save(folder / "x.npy", wanted)
    mapped = numpy.load(folder / "x.npy", mmap_mode="r+")
    mapped[5] = 7
    mapped.flush()
    del mapped
    mounted.remount()
    for name in ("x.h5", "x.npy"):
        (tmp_path / name).write_bytes(mounted.direct.content(mounted.orion_path(folder / name)))
    for place in (folder, tmp_path):
        with h5py.File(place / "x.h5") as file:
            assert numpy.array_equal(file["a"][...], wanted)
        array = numpy.load(place / "x.npy")
        assert (array[5] == 7).all()
        assert numpy.array_equal(array[6:], wanted[6:])


def test_locks_hold_between_processes(folder) -> None:
    (folder / "lock").touch()
    run("flock", "-n", folder / "lock", "flock", "-w", "0", "-E", "0", folder / "lock", "false")


def test_grep_and_wc_and_md5sum_read_it_all(sample, folder) -> None:
    run("cp", "-r", sample, folder / "in")
    here = folder / "in"
    found = [sorted(run("grep", "-rc", "text", ".", cwd=top).splitlines()) for top in (here, sample)]
    assert found[0] == found[1]
    files = sorted(str(path.relative_to(sample)) for path in sample.rglob("*") if path.is_file())
    assert run("md5sum", *files, cwd=here) == run("md5sum", *files, cwd=sample)
    assert run("wc", "-c", *files, cwd=here) == run("wc", "-c", *files, cwd=sample)


def test_head_and_tail_of_a_large_file(folder) -> None:
    (folder / "x").write_text("".join(f"{number}\n" for number in range(300_000)))
    assert run("head", "-n", "1", folder / "x") == "0\n"
    assert run("tail", "-n", "1", folder / "x") == "299999\n"


def test_zip_is_written_and_read(sample, folder) -> None:
    archive = shutil.make_archive(str(folder / "x"), "zip", sample)
    shutil.unpack_archive(archive, folder / "out")
    assert run("diff", "-r", sample, folder / "out") == ""


IN_PLACE = """
tar -cf x.tar a
tar -rf x.tar run.sh
tar --delete -f x.tar a/data.bin
tar -xOf x.tar run.sh > listed
printf 'b\\na\\nc\\n' > sorted
sort -o sorted sorted
perl -pi.bak -e s/a/first/ sorted
printf '1d\\nw\\nq\\n' | ed -s sorted 2>/dev/null || sed -i 1d sorted
cp a/b/data.bin parts
dd if=a/b/data.bin of=parts bs=1000 seek=7 count=3 conv=notrunc status=none
dd if=a/b/data.bin of=parts bs=1000 count=3 oflag=append conv=notrunc status=none
truncate -s -50 parts
truncate -s +5000 parts
gzip -kn parts
split -b 10000 parts part-
cp -b sorted listed
install -b -m 600 sorted listed
exec 5<>sorted
read -u 5 line
echo X >&5
exec 5>&-
rm -r "with space"
"""


def test_programs_that_change_files_in_place_leave_what_they_leave_on_a_disk(mounted, sample, folder) -> None:
    run("cp", "-r", sample, folder / "in")
    for place in (folder / "in", sample):
        run("bash", "-c", IN_PLACE, cwd=place)
    packed = [sorted(run("tar", "-tf", place / "x.tar").split()) for place in (folder / "in", sample)]
    assert packed[0] == packed[1]
    assert run("diff", "-r", "--exclude=*.tar", sample, folder / "in") == ""
    mounted.drain()
    there = mounted.direct.tree(mounted.orion_path(folder / "in"))
    wanted = sorted(os.listdir(sample))
    assert sorted(name for name, _ in there if "/" not in name) == [n for n in wanted if not n.endswith("~")]


def test_find_deletes_what_it_finds(sample, folder) -> None:
    run("cp", "-r", sample, folder / "in")
    run("find", folder / "in", "-name", "*.bin", "-delete")
    assert list((folder / "in").rglob("*.bin")) == []
    assert len(list((folder / "in").rglob("*.txt"))) == 4


def test_dd_writes_in_blocks_and_syncs(mounted, folder) -> None:
    run("dd", "if=/dev/zero", f"of={folder}/x", "bs=64k", "count=32", "conv=fsync", "status=none")
    assert len(mounted.direct.content(mounted.orion_path(folder / "x"))) == 2**21


def test_install_and_tee_and_redirections_write_files(folder) -> None:
    run("install", "-m", "750", "/bin/sh", folder / "sh")
    assert (folder / "sh").stat().st_mode & 0o777 == 0o750
    run("sh", "-c", f"cd '{folder}' && echo one > x && echo two >> x && echo three | tee -a x >/dev/null")
    assert (folder / "x").read_text() == "one\ntwo\nthree\n"
