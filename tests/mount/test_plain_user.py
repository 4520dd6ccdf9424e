"""All of it as a user without rights, through fusermount3."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from orionfs.mountinfo import read_mountinfo
from tests.cli.processes import PLAIN_UID
from tests.mount.stand import Stand

pytestmark = [
    pytest.mark.own_first,
    pytest.mark.skipif(os.geteuid() != 0, reason="the whole suite runs as a plain user already"),
    pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv is not installed"),
    pytest.mark.skipif(shutil.which("fusermount3") is None, reason="fusermount3 is not installed"),
]

# Reading everything: the program and its interpreter may lie in root's home.
BECOME = [
    "setpriv",
    f"--reuid={PLAIN_UID}",
    f"--regid={PLAIN_UID}",
    "--clear-groups",
    "--inh-caps=+dac_read_search",
    "--ambient-caps=+dac_read_search",
]

SCENARIO = """
set -e
cd "$1/my-data"
mkdir -p "$2/deep"; cd "$2"
echo hello > deep/a
test "$(cat deep/a)" = hello
test "$(stat -c %U:%s deep/a)" = "$(id -un):6"
mv deep moved
cp moved/a moved/b
echo more >> moved/b
cat moved/a > c; mv c moved/a
setfattr -n user.orion.tag.plain moved/a
getfattr -n user.orion.tags --only-values moved/a; echo
ls moved
rm moved/a
chmod 600 moved/b
dd if=/dev/zero of=large bs=1M count=9 status=none
stat -c '%a %s' moved/b large
"""


@pytest.fixture
def plain_stand(shared_server, client):
    """A mount whose files and processes are a plain user's."""
    folder = Path(tempfile.mkdtemp(prefix="orionfs-plain-"))
    stand = Stand(folder, shared_server, client)
    stand.prefix = BECOME
    for path in (folder, *folder.rglob("*")):
        os.chown(path, PLAIN_UID, PLAIN_UID)
    yield stand
    stand.close()
    for entry in read_mountinfo():
        if entry.mountpoint.is_relative_to(folder):
            subprocess.run(["umount", "-l", entry.mountpoint], check=True)
    shutil.rmtree(folder)


def test_plain_user_mounts_works_and_unmounts(plain_stand) -> None:
    stand = plain_stand
    stand.mount()
    status = Path(f"/proc/{stand.pid()}/status").read_text()
    assert f"Uid:\t{PLAIN_UID}\t{PLAIN_UID}" in status
    done = subprocess.run(
        [*BECOME, "sh", "-c", SCENARIO, "sh", stand.point, stand.folder.name],
        env=stand.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done
    assert done.stdout.split() == ["plain", "a", "b", "600", "11", "644", "9437184"]
    there = f"{stand.direct.home}/{stand.folder.name}"
    assert stand.direct.content(f"{there}/moved/b") == b"hello\nmore\n"
    assert len(stand.direct.content(f"{there}/large")) == 9 * 2**20
    stand.umount()
    assert stand.complaints(0, []) == []


def test_mount_of_a_plain_user_is_closed_to_others(plain_stand) -> None:
    stand = plain_stand
    stand.mount()
    with pytest.raises(PermissionError):
        os.listdir(stand.point)
    stand.umount()
