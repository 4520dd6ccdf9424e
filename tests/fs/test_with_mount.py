"""`orion://` beside a mount of the same account: one cache of contents, one book of promises."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.cli.processes import wait_for
from tests.mount.server import REPOSITORY, Direct
from tests.mount.stand import Stand

pytestmark = pytest.mark.needs_fuse

CONTENTS = {"download", "blob"}


def in_python(stand: Stand, program: str) -> str:
    """What a program prints that runs as the mount's user."""
    done = subprocess.run(
        [sys.executable, "-c", f"import fsspec, time; fs = fsspec.filesystem('orion'); {program}"],
        cwd=REPOSITORY,
        env=stand.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


@pytest.fixture
def stand(orion, tmp_path):
    made = Stand(tmp_path, orion)
    made.mount()
    yield made
    made.close()
    assert made.complaints(0, []) == []


def test_what_one_has_fetched_the_other_reads_and_a_promise_is_kept_by_the_next_mount(orion, stand):
    home = f"{Direct.home}/shared"
    orion.direct.make_folder(home)
    for name in ("by-mount", "by-fs"):
        orion.direct.put(f"{home}/{name}", name.encode())

    assert (stand.mine / "shared" / "by-mount").read_bytes() == b"by-mount"
    stand.drain()
    with stand.counting() as asked:
        assert in_python(stand, "print(fs.cat('my-data/shared/by-mount'))") == "b'by-mount'"
    assert not CONTENTS & set(asked.cost)

    assert in_python(stand, "print(fs.cat('my-data/shared/by-fs'))") == "b'by-fs'"
    with stand.counting() as asked:
        assert (stand.mine / "shared" / "by-fs").read_bytes() == b"by-fs"
    assert not CONTENTS & set(asked.cost)

    # A process that ends before what it replaced is removed: here it never gets to ask.
    orion.misbehave({"path": "/files/", "method": "DELETE", "action": "delay", "seconds": 60})
    child = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import fsspec; fsspec.filesystem('orion').pipe('my-data/shared/by-fs', b'new')",
        ],
        cwd=REPOSITORY,
        env=stand.environment,
    )
    try:
        wait_for(lambda: len(orion.direct.names(home)) == 3)
    finally:
        child.kill()
        child.wait()
        orion.misbehave()
    stand.remount()
    wait_for(lambda: orion.direct.names(home) == ["by-fs", "by-mount"])
    assert orion.direct.content(f"{home}/by-fs") == b"new"
    assert (stand.mine / "shared" / "by-fs").read_bytes() == b"new"
