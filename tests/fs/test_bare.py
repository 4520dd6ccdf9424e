"""`orion://` in a fresh interpreter: what it loads, and how it does where a platform lacks things."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.fs.conftest import place_of
from tests.mount.server import REPOSITORY

pytestmark = pytest.mark.started

_AS_ON_WINDOWS = """
import os, sys
import fsspec, fsspec.implementations.local, msgspec, platformdirs, requests, shutil, sqlite3, subprocess
for name in ("fcntl", "resource", "grp", "pwd"):
    sys.modules[name] = None
for name in ("getuid", "geteuid", "getgid", "pread", "pwrite", "copy_file_range", "statvfs", "fstatvfs",
             "killpg", "register_at_fork", "O_CLOEXEC", "O_NONBLOCK", "O_DIRECTORY", "fork", "waitid"):
    if hasattr(os, name):
        delattr(os, name)
"""
_WORK = """
import json, sys
import fsspec
folder = sys.argv[1]
fs = fsspec.filesystem("orion")
fs.pipe(folder + "/made.bin", bytes(range(256)) * 8192)
fs.invalidate_cache()
there = fs.cat_file(folder + "/there.bin", 1_000_000, 1_000_010)
whole = fs.cat(folder + "/made.bin") == bytes(range(256)) * 8192
print(json.dumps([fs.ls(folder, detail=False), there.decode(), whole, sorted(sys.modules)]))
"""


@pytest.mark.parametrize("before", ["", _AS_ON_WINDOWS], ids=["linux", "like-windows"])
def test_fresh_interpreter_loads_neither_fuse_nor_trio(before, orion, folder):
    orion.direct.put(f"{place_of(folder)}/there.bin", b"x" * 1_000_000 + b"0123456789" + b"y" * 1_000_000)
    environment = {**os.environ, "ORIONFS_URL": orion.url, "ORIONFS_TOKEN": orion.token}
    done = subprocess.run(
        [sys.executable, "-c", before + _WORK, folder],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    names, there, is_same, modules = json.loads(done.stdout)
    assert names == [f"{folder}/made.bin", f"{folder}/there.bin"]
    assert there == "0123456789"
    assert is_same
    assert "orionfs.fs" in modules
    heavy = ("pyfuse3", "trio", "starlette", "uvicorn", "orionfs.server", "orionfs.fuse", "orionfs.daemon")
    assert [name for name in modules if f"{name}.".startswith(tuple(f"{each}." for each in heavy))] == []
