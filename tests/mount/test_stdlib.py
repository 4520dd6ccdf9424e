"""A real tree goes in and comes out the same: Python's own standard library, by the usual ways.

Some of its packages by each tool on each session, and all of it by cp.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

pytestmark = pytest.mark.own_first

STDLIB = Path(sysconfig.get_paths()["stdlib"])
# About a hundred files on several levels.
PACKAGES = ["asyncio", "concurrent", "importlib", "json", "unittest", "xml"]
LEFT_OUT = ["site-packages", "dist-packages", "__pycache__"]


def run(*command: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


@pytest.fixture(scope="session")
def packages(tmp_path_factory):
    """Some packages of the standard library."""
    top = tmp_path_factory.mktemp("stdlib") / "lib"
    for package in PACKAGES:
        shutil.copytree(STDLIB / package, top / package, ignore=shutil.ignore_patterns(*LEFT_OUT))
    return top


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    """All of the standard library, without what is installed into it and what is compiled."""
    top = tmp_path_factory.mktemp("stdlib") / "lib"
    ignore = shutil.ignore_patterns(*LEFT_OUT, "config-*")
    shutil.copytree(STDLIB, top, ignore=ignore, symlinks=False)
    return top


def by_cp(source: Path, target: Path) -> None:
    run("cp", "-r", source, target)


def by_rsync(source: Path, target: Path) -> None:
    run("rsync", "-a", f"{source}/", f"{target}/")


def by_tar(source: Path, target: Path) -> None:
    target.mkdir()
    command = 'tar -C "$0" -cf - . | tar -C "$1" -xf -'
    run("bash", "-o", "pipefail", "-c", command, source, target)


def move_about(top: Path, names: list[str]) -> None:
    """Folders and files to other places, names and levels."""
    run("mkdir", "-p", top / "moved" / "deep")
    run("mv", top / names[0], top / "moved" / "deep")
    run("mv", top / names[1], top / f"{names[1]}-renamed")
    files = sorted(path for path in (top / names[2]).iterdir() if path.is_file())
    run("mv", *files, top / "moved")
    run("mv", top / "moved" / files[0].name, top / "moved" / "renamed.txt")
    run("mv", "-f", top / "moved" / files[1].name, top / "moved" / files[2].name)


def go_through(mounted, folder: Path, source: Path, bring) -> None:
    """In, moved about like the original, the same before and after a remount, and away."""
    names = sorted(path.name for path in source.iterdir() if path.is_dir() and len(os.listdir(path)) > 4)
    twin = source.with_name(f"{source.name}-twin")
    shutil.copytree(source, twin)
    try:
        bring(source, folder / "in")
        assert run("diff", "-r", source, folder / "in") == ""
        for top in (twin, folder / "in"):
            move_about(top, names)
        mounted.remount()
        assert run("diff", "-r", twin, folder / "in") == ""
    finally:
        shutil.rmtree(twin)
    run("rm", "-r", folder / "in")
    assert os.listdir(folder) == []
    mounted.drain()
    assert mounted.direct.names(mounted.orion_path(folder)) == []
    assert [name for name in mounted.direct.names(mounted.direct.home) if name.startswith(".orionfs")] == []


@pytest.mark.long
@pytest.mark.parametrize(
    "bring",
    [pytest.param(by_cp, marks=pytest.mark.long), by_rsync, pytest.param(by_tar, marks=pytest.mark.long)],
)
def test_some_packages_come_out_as_they_went_in(mounted, folder, packages, bring) -> None:
    go_through(mounted, folder, packages, bring)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("bring", [by_cp, by_rsync, by_tar])
def test_whole_library_comes_out_as_it_went_in(mounted, folder, library, bring) -> None:
    go_through(mounted, folder, library, bring)
